import type { CodedClip, CodedFrame } from '../coded-clip.ts';
import type { NalCodec } from '../../../src/media/nal.ts';

/** RTP payloads of coded pictures: RFC 6184 (H.264), RFC 7798 (H.265). */

/** Below the usual MTU with the headers of IP, UDP and RTP. */
const PAYLOAD_BYTES_MAX = 1400;

export const RTP_HEADER_BYTES = 12;
/** RFC 2326, 10.12: `$`, a channel and a length before each packet. */
export const INTERLEAVED_BYTES = 4;

/** The packets of a frame, one behind the other, each with an interleaved header: all but the fields of its player is filled in. */
export interface FramePackets {
  readonly bytes: Buffer;
  /** Where each packet's interleaved header begins. */
  readonly starts: readonly number[];
}

export interface PacketFields {
  readonly channel: number;
  /** Of the first packet. */
  readonly sequence: number;
  readonly timestamp: number;
  readonly ssrc: number;
  readonly payloadType: number;
  /** Whether the last packet says that the frame is whole. */
  readonly hasMarker: boolean;
}

/** A copy with these fields. */
export function stampedPackets({ bytes, starts }: FramePackets, fields: PacketFields): Buffer {
  const stamped = Buffer.from(bytes);
  for (const [index, start] of starts.entries()) {
    const at = start + INTERLEAVED_BYTES;
    stamped[start + 1] = fields.channel;
    stamped[at + 1] = fields.payloadType | (fields.hasMarker && index === starts.length - 1 ? 0x80 : 0);
    stamped.writeUInt16BE((fields.sequence + index) & 0xffff, at + 2);
    stamped.writeUInt32BE(fields.timestamp >>> 0, at + 4);
    stamped.writeUInt32BE(fields.ssrc, at + 8);
  }
  return stamped;
}

export function packetsOf(payloads: readonly Uint8Array[]): FramePackets {
  const starts: number[] = [];
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const payload of payloads) {
    const bytes = RTP_HEADER_BYTES + payload.length;
    const header = Buffer.alloc(INTERLEAVED_BYTES + RTP_HEADER_BYTES);
    header[0] = 0x24;
    header.writeUInt16BE(bytes, 2);
    // Version 2.
    header[INTERLEAVED_BYTES] = 0x80;
    starts.push(at);
    parts.push(header, payload);
    at += INTERLEAVED_BYTES + bytes;
  }
  return { bytes: Buffer.concat(parts), starts };
}

/** Of each frame of a clip, made when it is first asked for and kept as long as the clip; key frames with the parameter sets before them, or without. */
export function clipPackets(clip: CodedClip, index: number, hasSets: boolean): FramePackets {
  let kept = KEPT.get(clip);
  if (!kept) KEPT.set(clip, (kept = []));
  const frame = clip.frames[index]!;
  const place = 2 * index + (hasSets && frame.isKey ? 1 : 0);
  return (kept[place] ??= packetsOf(payloadsOf(clip, frame, hasSets)));
}

const KEPT = new WeakMap<CodedClip, FramePackets[]>();

function payloadsOf({ codec, sets }: CodedClip, { units, isKey }: CodedFrame, hasSets: boolean): Uint8Array[] {
  const all = hasSets && isKey ? [...sets.vps, ...sets.sps, ...sets.pps, ...units] : units;
  return all.flatMap((unit) => (unit.length <= PAYLOAD_BYTES_MAX ? [unit] : fragments(codec, unit)));
}

/** FU-A of RFC 6184 5.8, FU of RFC 7798 4.4.3. */
function fragments(codec: NalCodec, unit: Uint8Array): Uint8Array[] {
  const isH264 = codec === 'h264';
  const headerBytes = isH264 ? 1 : 2;
  const type = isH264 ? unit[0]! & 31 : (unit[0]! >> 1) & 63;
  const head = isH264 ? [(unit[0]! & 0xe0) | 28] : [(unit[0]! & 0x81) | (49 << 1), unit[1]!];
  const step = PAYLOAD_BYTES_MAX - head.length - 1;
  const parts: Uint8Array[] = [];
  for (let from = headerBytes; from < unit.length; from += step) {
    const flags = (from === headerBytes ? 0x80 : 0) | (from + step >= unit.length ? 0x40 : 0);
    parts.push(Buffer.concat([Buffer.from([...head, flags | type]), unit.subarray(from, from + step)]));
  }
  return parts;
}

/** RFC 3550, 6.4.1: which moment of the wall clock a timestamp belongs to; with an interleaved header. */
export function senderReport(report: {
  readonly channel: number;
  readonly ssrc: number;
  readonly ntpMs: number;
  readonly timestamp: number;
  readonly packets: number;
  readonly octets: number;
}): Buffer {
  const REPORT_BYTES = 28;
  const SECONDS_1900_TO_1970 = 2_208_988_800;
  const bytes = Buffer.alloc(INTERLEAVED_BYTES + REPORT_BYTES);
  bytes.set([0x24, report.channel, 0, REPORT_BYTES, 0x80, 200, 0, REPORT_BYTES / 4 - 1]);
  const seconds = report.ntpMs / 1000 + SECONDS_1900_TO_1970;
  bytes.writeUInt32BE(report.ssrc, 8);
  bytes.writeUInt32BE(Math.floor(seconds) >>> 0, 12);
  bytes.writeUInt32BE(Math.floor((seconds % 1) * 2 ** 32), 16);
  bytes.writeUInt32BE(report.timestamp >>> 0, 20);
  bytes.writeUInt32BE(report.packets >>> 0, 24);
  bytes.writeUInt32BE(report.octets >>> 0, 28);
  return bytes;
}

/** RFC 8866, with the parameters of RFC 6184 8.1 or RFC 7798 7.1. `clip` undefined: sound alone (G.711, RFC 3551). */
export function sessionDescription(clip: CodedClip | undefined, rateFps: number, hasSets: boolean): string {
  const head = ['v=0', 'o=- 1 1 IN IP4 0.0.0.0', 's=camera', 'c=IN IP4 0.0.0.0', 't=0 0', 'a=control:*'];
  const media = clip ? pictureLines(clip, rateFps, hasSets) : ['m=audio 0 RTP/AVP 0', 'a=rtpmap:0 PCMU/8000'];
  return [...head, ...media, 'a=control:track1', ''].join('\r\n');
}

function pictureLines({ codec, sets }: CodedClip, rateFps: number, hasSets: boolean): string[] {
  const lines = ['m=video 0 RTP/AVP 96', `a=rtpmap:96 ${codec === 'h264' ? 'H264' : 'H265'}/90000`];
  if (codec === 'h264') {
    const level = Buffer.from(sets.sps[0]!.subarray(1, 4)).toString('hex');
    const told = `;profile-level-id=${level};sprop-parameter-sets=${base64([...sets.sps, ...sets.pps])}`;
    lines.push(`a=fmtp:96 packetization-mode=1${hasSets ? told : ''}`);
  } else if (hasSets) {
    const { vps, sps, pps } = sets;
    lines.push(`a=fmtp:96 sprop-vps=${base64(vps)};sprop-sps=${base64(sps)};sprop-pps=${base64(pps)}`);
  }
  return [...lines, `a=framerate:${rateFps}`];
}

function base64(sets: readonly Uint8Array[]): string {
  return sets.map((set) => Buffer.from(set).toString('base64')).join(',');
}
