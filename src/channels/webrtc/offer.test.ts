import { describe, expect, test } from 'vitest';
import { ERRORS } from '../../base/error-catalogue.ts';
import { answerTo, formatFor, readFragment, readOffer, trimmedOffer, type LocalEnd } from './offer.ts';
import { distanceOf, profileOf, profileOfCodec } from './profiles.ts';

const FINGERPRINT = `sha-256 ${Array.from({ length: 32 }, () => 'AB').join(':')}`;
const LOCAL: LocalEnd = {
  ufrag: 'srvr',
  password: 'server-password-0123456',
  fingerprints: [FINGERPRINT],
  role: 'active',
  candidates: [{ address: '127.0.0.1', port: 5000 }],
  source: 7,
  rtxSource: 8,
  name: 'name',
};

/** As a browser makes it: sound, pictures, and a channel of data. */
function offered(changes: Readonly<Record<string, string>> = {}): string {
  const text = [
    'v=0',
    'o=- 4611731400430051336 2 IN IP4 127.0.0.1',
    's=-',
    't=0 0',
    'a=group:BUNDLE 0 1 2',
    'a=ice-ufrag:abcd',
    'a=ice-pwd:abcdefghijklmnopqrstuvwx',
    `a=fingerprint:${FINGERPRINT}`,
    'a=setup:actpass',
    'm=audio 9 UDP/TLS/RTP/SAVPF 111',
    'a=mid:0',
    'a=recvonly',
    'm=video 9 UDP/TLS/RTP/SAVPF 96 102 103 104 105',
    'a=candidate:1 1 udp 1 0f1c2b.local 9 typ host',
    'a=mid:1',
    'a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay',
    'a=recvonly',
    'a=rtcp-mux',
    'a=rtpmap:96 VP8/90000',
    'a=rtpmap:102 H264/90000',
    'a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f',
    'a=rtpmap:103 rtx/90000',
    'a=fmtp:103 apt=102',
    'a=rtpmap:104 H264/90000',
    'a=fmtp:104 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=640c1f',
    'a=rtpmap:105 H264/90000',
    'a=fmtp:105 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f',
    'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
    'a=mid:2',
    'a=sctp-port:5000',
    '',
  ].join('\r\n');
  return Object.entries(changes).reduce((changed, [from, to]) => {
    if (!changed.includes(from)) throw new Error(from);
    return changed.replaceAll(from, to);
  }, text);
}

const formats = readOffer(offered(), 'sendonly').formats;

test('the formats of H.264 with packetization-mode 1 are found, with those of packets that are sent again', () => {
  expect(formats.map(({ payloadType, profile, rtxPayloadType }) => [payloadType, profile, rtxPayloadType])).toEqual([
    [102, 'baseline', 103],
    [105, 'main', undefined],
  ]);
  expect(readOffer(offered(), 'sendonly')).toMatchObject({ video: 1, data: 2, playoutDelayId: 5 });
});

test.each([
  ['constrained-baseline', 102],
  ['baseline', 102],
  ['main', 105],
  ['high', undefined],
] as const)('a stream of %s goes by payload type %s', (profile, payloadType) =>
  expect(formatFor(formats, profile)?.payloadType).toBe(payloadType),
);

test.each([
  ['42e01f', 'constrained-baseline'],
  ['42c028', 'constrained-baseline'],
  ['42001f', 'baseline'],
  ['4d001f', 'main'],
  ['4d801f', 'constrained-baseline'],
  ['640028', 'high'],
  ['640c1f', 'constrained-high'],
  ['f4001f', 'high-444'],
  ['6e001f', undefined],
  ['zz', undefined],
])('%s is %s', (id, profile) => expect(profileOf(id)).toBe(profile));

test('who can decode what', () => {
  expect(profileOfCodec('avc1.64001f')).toBe('high');
  expect(profileOfCodec('hvc1.1.6.L93.B0')).toBeUndefined();
  expect(profileOfCodec(null)).toBeUndefined();
  expect(distanceOf('high', 'high-444')).toBe(1);
  expect(distanceOf('high', 'main')).toBeUndefined();
});

test('the trimmed offer has what is taken, and no address', () => {
  const trimmed = trimmedOffer(readOffer(offered(), 'sendonly'), formats[0]!);
  expect(trimmed.match(/^m=.*$/gm)).toEqual([
    'm=video 9 UDP/TLS/RTP/SAVPF 102 103',
    'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
  ]);
  expect(trimmed).not.toMatch(/candidate|VP8|audio/);
  expect(readOffer(trimmed, 'sendonly')).toMatchObject({ video: 0, data: 1 });
});

test('the answer takes the pictures and the channel of data, and refuses the sound in its place', () => {
  const answer = answerTo(readOffer(offered(), 'sendonly'), formats[0]!, LOCAL);
  expect(answer.match(/^m=.*$/gm)).toEqual([
    'm=audio 0 UDP/TLS/RTP/SAVPF 111',
    'm=video 9 UDP/TLS/RTP/SAVPF 102 103',
    'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
  ]);
  expect(answer).toContain('a=group:BUNDLE 1 2\r\n');
  expect(answer).toContain('a=candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host\r\n');
  expect(answer.split('\r\n').every((line) => line === '' || /^[a-z]=/.test(line))).toBe(true);
});

test('a channel of data with a transport of its own is refused', () => {
  const offer = readOffer(offered({ 'BUNDLE 0 1 2': 'BUNDLE 0 1' }), 'sendonly');
  expect(offer.data).toBeUndefined();
  expect(answerTo(offer, formats[0]!, LOCAL)).toContain('m=application 0 ');
});

test.each([
  ['SDP_BAD', '', 'v=0'],
  ['SDP_BAD', 'garbage', 'v=0'],
  ['SDP_BAD', offered({ 'a=setup:actpass': 'nothing' }), 'line 9'],
  ['SDP_BAD', offered({ 'a=ice-pwd:abcdefghijklmnopqrstuvwx': 'a=ice-pwd:short' }), 'ICE'],
  ['SDP_BAD', offered({ [FINGERPRINT]: 'sha-1 AB:CD' }), 'fingerprint'],
  ['SDP_BAD', offered({ 'a=setup:actpass': 'a=setup:holdconn' }), 'setup'],
  ['SDP_BAD', offered({ 'a=mid:1': 'a=mid:a b' }), 'mid'],
  ['SDP_BAD', `v=0\r\n${'a=x\r\n'.repeat(5_000)}`, '4000 lines'],
  ['SDP_BAD', `v=0\r\n${'m=video 9 UDP/TLS/RTP/SAVPF 96\r\n'.repeat(40)}`, '32 media'],
  ['SDP_UNFIT', 'v=0\r\n', 'no video'],
  ['SDP_UNFIT', offered({ 'm=video': 'm=text' }), 'no video'],
  ['SDP_UNFIT', offered({ 'a=recvonly': 'a=sendonly' }), 'receive'],
  ['SDP_UNFIT', offered({ 'm=video 9': 'm=video 0' }), 'receive'],
  ['SDP_UNFIT', offered({ 'H264/90000': 'H265/90000' }), 'H.264'],
  ['SDP_UNFIT', offered({ 'packetization-mode=1': 'packetization-mode=2' }), 'packetization-mode 1'],
  ['SDP_UNFIT', offered({ 'a=rtcp-mux\r\n': '' }), 'rtcp-mux'],
] as const)('%s (%#)', (code, text, why) => {
  expect(Object.hasOwn(ERRORS, code)).toBe(true);
  expect(() => readOffer(text, 'sendonly')).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining(why) }),
  );
});

describe('of a publisher', () => {
  /** As a browser makes it: its pictures, once more for what is sent again, and a channel of data. */
  const SOURCES = 'a=ssrc-group:FID 11 12\r\na=ssrc:11 cname:x\r\na=ssrc:12 cname:x';
  const published = (changes: Readonly<Record<string, string>> = {}) =>
    offered({ 'a=recvonly\r\na=rtcp-mux': `a=sendonly\r\n${SOURCES}\r\na=rtcp-mux`, ...changes });

  test('the trimmed offer sends, names the sources, and leaves it to the server what is asked for', () => {
    const offer = readOffer(published(), 'recvonly');
    expect(offer).toMatchObject({ direction: 'recvonly', source: { media: 11, rtx: 12 }, playoutDelayId: undefined });
    const trimmed = trimmedOffer(offer, offer.formats[0]!);
    expect(trimmed.match(/^a=(sendonly|recvonly|ssrc.*|rtcp-fb.*)$/gm)).toEqual([
      'a=sendonly',
      ...SOURCES.split('\r\n').map((line) => line.replace('cname:x', 'cname:publisher')),
    ]);
    expect(readOffer(trimmed, 'recvonly')).toMatchObject({ video: 0, source: { media: 11, rtx: 12 } });
  });

  test('the answer receives, and names no source of its own', () => {
    const offer = readOffer(published(), 'recvonly');
    const answer = answerTo(offer, offer.formats[0]!, LOCAL);
    expect(answer.match(/^a=(sendonly|recvonly|ssrc.*|msid.*|rtcp-fb.*)$/gm)).toEqual([
      'a=recvonly',
      'a=rtcp-fb:102 nack',
      'a=rtcp-fb:102 nack pli',
    ]);
    expect(answer.match(/^m=.*$/gm)![1]).toBe('m=video 9 UDP/TLS/RTP/SAVPF 102 103');
  });

  test('where what is sent again has no source nothing is sent again', () => {
    const offer = readOffer(published({ 'a=ssrc-group:FID 11 12\r\n': '' }), 'recvonly');
    expect(offer.source).toEqual({ media: 11, rtx: undefined });
    expect(offer.formats.map(({ rtxPayloadType }) => rtxPayloadType)).toEqual([undefined, undefined]);
  });

  test('of several sizes of the same pictures the first is taken', () => {
    const groups = 'a=ssrc-group:SIM 21 31\r\na=ssrc-group:FID 21 22\r\na=ssrc-group:FID 31 32';
    expect(readOffer(published({ 'a=ssrc-group:FID 11 12': groups }), 'recvonly').source).toEqual({
      media: 21,
      rtx: 22,
    });
  });

  test.each([
    ['v=0\r\n', 'has no video'],
    [offered(), 'none that it would send'],
    [published({ 'm=video': 'm=text' }), 'has no video'],
    [published({ 'H264/90000': 'VP8/90000' }), 'H.264'],
    [published({ [`${SOURCES}\r\n`]: '' }), 'no source'],
    [published({ 'FID 11 12': 'FID 0 12' }), 'no source'],
    [published({ 'FID 11 12': 'FID 4294967296 12' }), 'no source'],
  ])('SDP_UNFIT (%#)', (text, why) => {
    const fault = { code: 'SDP_UNFIT', message: expect.stringContaining(why) };
    expect(() => readOffer(text, 'recvonly')).toThrow(expect.objectContaining(fault));
  });
});

test('a later fragment tells candidates, or credentials; else it is none', () => {
  expect(readFragment('a=ice-ufrag:abcd\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n')).toEqual({
    ufrag: 'abcd',
    candidates: 1,
  });
  expect(readFragment('m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=end-of-candidates\r\n').candidates).toBe(0);
  expect(() => readFragment('a=mid:0\r\n')).toThrow(expect.objectContaining({ code: 'SDP_BAD' }));
});
