/**
 * What goes through the inlet of a camera that is published to, a local socket of the process that reads it: packets of RTP and RTCP, each behind its length (RFC 4571, 2). The other way comes a byte
 * for each key frame that is wanted. Pure.
 */

/** Of the packets of RTP, whatever their publisher has agreed on. */
export const INLET_PAYLOAD_TYPE = 96;
export const KEY_WANTED = Uint8Array.of(1);

const LENGTH_BYTES = 2;
const RTP_HEADER_BYTES = 12;

export interface InletRtp {
  readonly sequence: number;
  readonly stamp: number;
  readonly isMarked: boolean;
  readonly payload: Uint8Array;
}

/** A packet of RTP with its length in front. */
export function rtpForInlet({ sequence, stamp, isMarked, payload }: InletRtp): Buffer {
  const length = RTP_HEADER_BYTES + payload.length;
  const bytes = Buffer.alloc(LENGTH_BYTES + length);
  bytes.writeUInt16BE(length, 0);
  bytes[2] = 0x80;
  bytes[3] = INLET_PAYLOAD_TYPE | (isMarked ? 0x80 : 0);
  bytes.writeUInt16BE(sequence, 4);
  bytes.writeUInt32BE(stamp, 6);
  bytes.set(payload, LENGTH_BYTES + RTP_HEADER_BYTES);
  return bytes;
}

/** Any packet, likewise. */
export function forInlet(packet: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(LENGTH_BYTES + packet.length);
  bytes.writeUInt16BE(packet.length, 0);
  bytes.set(packet, LENGTH_BYTES);
  return bytes;
}

/** RFC 5761, 4: which of the two it is shows in its second byte. */
export function isRtcp(packet: Uint8Array): boolean {
  const type = (packet[1] ?? 0) & 0x7f;
  return type >= 64 && type < 96;
}

/** The packets in a row of bytes. */
export class InletReader {
  #rest: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): Buffer[] {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const packets: Buffer[] = [];
    while (bytes.length >= LENGTH_BYTES) {
      const end = LENGTH_BYTES + bytes.readUInt16BE(0);
      if (bytes.length < end) break;
      packets.push(bytes.subarray(LENGTH_BYTES, end));
      bytes = bytes.subarray(end);
    }
    // One packet at most.
    this.#rest = Buffer.from(bytes);
    return packets;
  }
}
