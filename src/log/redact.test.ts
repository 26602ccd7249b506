import { describe, expect, test } from 'vitest';
import { collectingLog } from '../../test/support/log.ts';
import { redactAddress, redactFields, redactText, REDACTED, SECRET_WORDS } from './redact.ts';

const SECRET = 'hunter2-aGVsbG8';

describe('secrets', () => {
  test.each([
    `ws://127.0.0.1:8080/ws/video?client_id=a&token=${SECRET}&pipeline=objects`,
    `?access_token=${SECRET}`,
    `api-key=${SECRET}`,
    `ACCESS%5FTOKEN=${SECRET}&x=1`,
    `rtsp://admin:${SECRET}@camera.local/stream1`,
    `Authorization: Bearer ${SECRET}`,
    `it was {"client_id":"a","sessionToken": "${SECRET}"}`,
    `password=${SECRET};user=me`,
    `rtsp://admin:p@${SECRET}@camera.local/stream1`,
    `rtsp://admin:a/b?c#${SECRET}@camera.local/stream1`,
    `rtsp://${SECRET}@camera.local/stream1`,
    `rtsp://camera.local/user=admin_password=${SECRET}_channel=1_stream=0.sdp`,
    `rtsp://camera.local/live?usr=admin&psw=${SECRET}`,
    `Could not open rtsp://camera.local/live?user=${SECRET}&channel=1`,
    `{"token":"${SECRET}`,
    `?ticket=${SECRET}`,
    `?url=${encodeURIComponent(`rtsp://admin:${SECRET}@camera.local:554/stream`)}&x=1`,
    'sightline_3kd82m1p_' + SECRET.padEnd(43, 'x'),
    'sightline_ticket_' + SECRET.padEnd(43, 'x'),
    `eyJhbGciOiJSUzI1NiJ9.${SECRET}.c2lnbmF0dXJl`,
    `$scrypt$ln=15,r=8,p=3$${SECRET}$x`,
  ])('%s', (text) => {
    expect(redactText(text)).not.toContain(SECRET);
    expect(redactText(text)).toContain(REDACTED);
  });

  test.each(SECRET_WORDS)('a field whose name has %s in it', (word) => {
    for (const name of [
      word,
      `client_${word}`,
      `${word}_of_client`,
      `client${word[0]!.toUpperCase()}${word.slice(1)}`,
    ]) {
      expect(redactFields({ [name]: SECRET, other: 'this' })).toEqual({ [name]: REDACTED, other: 'this' });
    }
  });

  test('lists too, and the sentence that is made of the fields', () => {
    const { log, entries } = collectingLog();
    log.write('record_connected', { url: `ws://a/ws?token=${SECRET}`, topics: [`t?key=${SECRET}`] });
    expect(JSON.stringify(entries)).not.toContain(SECRET);
    expect(entries[0]!.text).toContain('ws://a/ws?token=[redacted]');
  });
});

describe('what is none', () => {
  test.each([
    'refused: Origin "http://localhost:5173"; server: { allowed_origins: ["https://viewer.example"] }',
    'streaming.max_fps=20, monkey=5',
    'user=me, login=twice',
    'there is no key "x"; the token is not that of session "a"',
    'http://user.example/@home',
    'http://user.example:8080/a@b',
    'file:///usr/lib/node_modules/@scope/one.js:7:11',
    'sightline_frames_received_total',
    'opened sightline_3kd82m1p',
  ])('%s', (text) => expect(redactText(text)).toBe(text));

  test('what is cut has no half of a secret at its end', () => {
    for (const text of [`rtsp://admin:${SECRET}`, `x {"token": "${SECRET}`, `?token=${SECRET}`, `Bearer ${SECRET}`]) {
      for (let at = text.indexOf(SECRET) + 4; at <= text.length; at++) {
        const cut = redactText(`${text}@camera.local/a long way`, at);
        expect(cut, cut).not.toContain(SECRET.slice(0, 4));
      }
    }
  });

  test('a long text is cut, and does not take long however it is made', () => {
    expect(redactText('a'.repeat(1_000_000)).length).toBe(2_001);
    expect(redactText('a://'.repeat(1_000)).length).toBeLessThanOrEqual(2_001);
    expect(redactText('%'.repeat(3_000)).length).toBe(2_001);
    for (const show of [redactText, redactAddress]) {
      expect(show('a='.repeat(100_000)).length).toBeLessThan(20_000);
      expect(show('rtsp://a@'.repeat(100_000)).length).toBeLessThan(20_000);
    }
  });
});

describe('the address of a camera', () => {
  test.each([
    [
      'rtsp://admin:hunter2@cam.local:554/live?channel=1&subtype=0',
      'rtsp://[redacted]@cam.local:554/live?channel=1&subtype=0',
    ],
    [
      'rtsp://cam/x?user=hunter2&password=hunter2&channel=1',
      'rtsp://cam/x?user=[redacted]&password=[redacted]&channel=1',
    ],
    ['rtsp://cam/user=hunter2_password=hunter2_channel=1.sdp', 'rtsp://cam/user=[redacted]'],
    [
      'http://cam/video.mjpg?resolution=1280x720&userName=hunter2',
      'http://cam/video.mjpg?resolution=1280x720&userName=[redacted]',
    ],
    ['https://cdn/live.m3u8?st=hunter2AbCdEf01234&e=17', 'https://cdn/live.m3u8?st=[redacted]&e=17'],
    ['rtsp//admin:hunter2@cam/live', '[redacted]@cam/live'],
    ['admin:hunter2@cam', '[redacted]@cam'],
    ['rtsp://admin:hunter2#@cam/live', 'rtsp://[redacted]@cam/live'],
    ['/dev/video0', '/dev/video0'],
    ['clips/north gate.mp4', 'clips/north gate.mp4'],
  ])('%s', (address, shown) => {
    expect(redactAddress(address)).toBe(shown);
    expect(redactAddress(shown)).toBe(shown);
  });
});
