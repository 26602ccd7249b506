import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bestVariant, isPlaylist, parsePlaylist } from './playlist.ts';

const BASE = new URL('http://cam.example/live/list.m3u8?token=1');
const parse = (...lines: string[]) => parsePlaylist(['#EXTM3U', ...lines].join('\r\n'), BASE);

describe('a playlist', () => {
  test('of segments, with their header and parts of files', () => {
    const list = parse(
      '#EXT-X-TARGETDURATION:4',
      '#EXT-X-MEDIA-SEQUENCE:7',
      '#EXT-X-MAP:URI="init.mp4",BYTERANGE="10@5"',
      '#EXTINF:3.5,title',
      '#EXT-X-BYTERANGE:100@50',
      'a.mp4',
      '#EXTINF:4,',
      '#EXT-X-BYTERANGE:20',
      'a.mp4',
      '#EXT-X-ENDLIST',
    );
    const map = { url: new URL('http://cam.example/live/init.mp4'), range: [5, 14] };
    const url = new URL('http://cam.example/live/a.mp4');
    expect(list).toEqual({
      kind: 'media',
      targetS: 4,
      isEnded: true,
      segments: [
        { url, range: [50, 149], sequence: 7, durationS: 3.5, map },
        { url, range: [150, 169], sequence: 8, durationS: 4, map },
      ],
    });
  });

  test('of variants: the largest one that is not too large', () => {
    const list = parse(
      '#EXT-X-STREAM-INF:BANDWIDTH=9,CODECS="a,b",RESOLUTION=3840x2160',
      'https://other.example/large',
      '#EXT-X-STREAM-INF:RESOLUTION=1280x720,BANDWIDTH=5',
      'middle',
      '#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=640x360',
      '/small',
    );
    if (list.kind !== 'master') throw new Error('it has segments');
    expect(list.variants.map(({ url }) => url.href)).toEqual([
      'https://other.example/large',
      'http://cam.example/live/middle',
      'http://cam.example/small',
    ]);
    expect(bestVariant(list.variants, 1e6).pixels).toBe(1280 * 720);
    // None fits: the size that it has in truth decides.
    expect(bestVariant(list.variants, 1).pixels).toBe(640 * 360);
  });

  test.each([
    ['encrypted', ['#EXT-X-KEY:METHOD=AES-128,URI="k"'], 'CAMERA_FORMAT'],
    ['empty', ['#EXT-X-ENDLIST'], 'CAMERA_FORMAT'],
    ['with an entry of the disk', ['#EXTINF:1,', 'file:///etc/passwd'], 'CAMERA_FORBIDDEN'],
    ['with an entry of no host', ['#EXTINF:1,', 'http://'], 'CAMERA_FORMAT'],
    ['with a number that is none', ['#EXT-X-MEDIA-SEQUENCE:-1'], 'CAMERA_FORMAT'],
    ['with a duration that is none', ['#EXTINF:x,'], 'CAMERA_FORMAT'],
    ['with a part of no bytes', ['#EXT-X-BYTERANGE:0', 'a'], 'CAMERA_FORMAT'],
  ])('%s is refused', (_what, lines, code) => {
    expect(() => parse(...lines)).toThrow(expect.objectContaining({ code }));
  });

  test('is one by its first line', () => {
    expect([isPlaylist('\uFEFF#EXTM3U\n'), isPlaylist('#EXTM3U'), isPlaylist('<html>#EXTM3U')]).toEqual([
      true,
      true,
      false,
    ]);
    expect(() => parsePlaylist('hello', BASE)).toThrow('it is no playlist');
  });

  test('of anything is read or refused', () => {
    const line = fc.oneof(
      fc.string({ maxLength: 20 }),
      fc.constantFrom('#EXTINF:1', '#EXT-X-BYTERANGE:5', '#EXT-X-MAP:URI="x"', '#EXT-X-STREAM-INF:BANDWIDTH=x', 'a.ts'),
    );
    fc.assert(
      fc.property(fc.array(line), (lines) => {
        try {
          parse(...lines);
        } catch (thrown) {
          expect((thrown as { code: string }).code).toMatch(/^CAMERA_/);
        }
      }),
    );
  });
});
