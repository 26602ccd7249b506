import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RtspReader, type RtspMessage } from './rtsp-messages.ts';
import { videoOf } from './sdp.ts';

const ANSWER =
  'RTSP/1.0 200 OK\r\nCSeq: 2\r\nWWW-Authenticate: a\r\nwww-authenticate: b\r\nContent-Length: 4\r\n\r\nv=0\n';
const REQUEST = 'OPTIONS rtsp://x/ RTSP/1.0\r\nCSeq: 9\r\n\r\n';
const PACKET = Buffer.of(0x24, 1, 0, 3, 7, 0x24, 9);

function readAll(bytes: Buffer, sizes: readonly number[]): RtspMessage[] {
  const reader = new RtspReader();
  const messages: RtspMessage[] = [];
  for (let at = 0, i = 0; at < bytes.length; at += sizes[i++ % sizes.length]!) {
    messages.push(...reader.push(Buffer.from(bytes.subarray(at, at + sizes[i % sizes.length]!))));
  }
  return messages;
}

test('answers, requests and packets are taken apart, in whatever pieces they come', () => {
  const bytes = Buffer.concat([Buffer.from(ANSWER), PACKET, Buffer.from('\r\n'), Buffer.from(REQUEST), PACKET]);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 4 }), (sizes) => {
      const [answer, first, request, second] = readAll(bytes, sizes);
      expect(answer).toMatchObject({ kind: 'answer', status: 200, words: 'OK', sequence: 2, body: 'v=0\n' });
      expect(answer?.kind === 'answer' && answer.headers.get('www-authenticate')).toEqual(['a', 'b']);
      expect(request).toEqual({ kind: 'request', method: 'OPTIONS', sequence: 9 });
      for (const packet of [first, second]) {
        expect(packet).toMatchObject({ kind: 'packet', channel: 1 });
        expect(packet?.kind === 'packet' && [...packet.bytes]).toEqual([7, 0x24, 9]);
      }
    }),
  );
});

test.each([
  ['bytes that are no text', Buffer.of(0, 1, 2, 3)],
  ['another protocol', Buffer.from('HTTP/1.1 200 OK\r\n\r\n')],
  ['a head without end', Buffer.alloc(20_000, 'a')],
  ['a body without bounds', Buffer.from('RTSP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n')],
])('%s are refused', (_what, bytes) => {
  expect(() => readAll(bytes, [bytes.length])).toThrow(/does not speak RTSP/);
});

test('garbage is refused or waited for', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      try {
        readAll(Buffer.from(bytes), [64]);
      } catch (thrown) {
        expect(thrown).toMatchObject({ code: 'CAMERA_FORMAT' });
      }
    }),
  );
});

const SDP = [
  'v=0',
  's=x',
  'a=control:*',
  'm=audio 0 RTP/AVP 0',
  'a=control:track0',
  'm=video 0 RTP/AVP 26',
  'a=control:track1',
  'm=video 0 RTP/AVP 97',
  'a=rtpmap:97 H265/90000',
  'a=fmtp:97 sprop-vps=QAE=; sprop-sps=QgE=;sprop-pps=RAE=',
  'a=control:rtsp://x/track2',
];

test('the stream that we can read is taken out of a description', () => {
  expect(videoOf(SDP.join('\r\n'))).toEqual({
    payloadType: 97,
    encoding: 'H265',
    clockRate: 90_000,
    extradata: Buffer.from('000000014001000000014201000000014401', 'hex'),
    control: 'rtsp://x/track2',
    isInterleaved: false,
  });
  expect(videoOf(SDP.slice(0, 7).join('\n'))).toMatchObject({
    encoding: 'JPEG',
    extradata: undefined,
    control: 'track1',
  });
  expect(() => videoOf(SDP.slice(0, 5).join('\n'))).toThrow('it sends sound and no video');
  expect(() => videoOf('')).toThrow('it offers no video');
});

test('whatever a description is, it is read or refused', () => {
  fc.assert(
    fc.property(fc.shuffledSubarray(SDP), fc.string({ maxLength: 30 }), (lines, more) => {
      try {
        videoOf([...lines, more].join('\n'));
      } catch (thrown) {
        expect(thrown).toMatchObject({ code: 'CAMERA_FORMAT' });
      }
    }),
  );
});
