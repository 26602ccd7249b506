import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readCameraUrl } from './camera-urls.ts';

describe('an address of a camera', () => {
  test.each([
    'rtsp://10.0.0.7/live',
    'rtsp://admin:secret@cam.local:554/Streaming/Channels/101?transportmode=unicast',
    'RTSP://cam/live',
    'rtsps://[fe80::1]:322/x',
    'rtmp://127.0.0.1/live/gate',
    'http://cam/mjpg/video.mjpg',
    'https://example.org/live/index.m3u8',
    'file:///var/clips/north gate.mp4',
    'clips/north gate.mp4',
    './a.mp4',
    'gate.mp4',
    '/dev/video0',
    'C:\\clips\\a.mp4',
    'clips/at 10:30.mp4',
    'whip:',
  ])('%s', (text) => expect(readCameraUrl(`  ${text} `)).toEqual({ value: text }));

  test.each([
    ['', /empty/],
    ['  ', /empty/],
    ['rtsp://cam/a\nb', /control character/],
    ['rtsp://[redacted]@cam/live', /not shown/],
    ['rtsp://cam/a\0', /control character/],
    ['10.0.0.7/live', /begins with its scheme/],
    ['admin@10.0.0.7:554/live', /begins with its scheme/],
    ['cam.local:554/live', /begins with its scheme/],
    ['rtsp//cam/live', /:\/\//],
    ['rtsp:/cam/live', /:\/\//],
    ['rtsp:cam', /:\/\//],
    ['rtsp:///live', /no host/],
    ['http://', /not valid/],
    ['rtsp://admin:p#ss@cam/live', /%23 for #/],
    ['rtsp://cam:99999/live', /not valid/],
    ['ftp://cam/a.mp4', /begins with one of rtsp:, /],
    ['concat:a.mp4|b.mp4', /begins with one of/],
    ['subfile,,start,0,end,9,,:/etc/passwd', /begins with one of/],
    ['pipe:0', /begins with one of/],
    ['data:video/mp4;base64,AAAA', /begins with one of/],
    ['crypto:file.mp4', /begins with one of/],
    ['file://host/share/a.mp4', /no host/],
    ['whip://gate', /stands alone/],
    ['whip:gate', /stands alone/],
    ['WHIP:', /stands alone/],
  ])('not %j', (text, fault) => {
    const read = readCameraUrl(text);
    expect(read.fault).toMatch(fault);
  });

  test('whatever is given, it is taken as it is, or refused without being repeated (property)', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.webUrl({ withQueryParameters: true })), (text) => {
        const read = readCameraUrl(text);
        if (read.fault === undefined) expect(read.value).toBe(text.trim());
        else expect(read.fault.length).toBeLessThan(200);
      }),
    );
  });
});
