/** Payloads of RTP for H.264 (RFC 6184, packetization-mode 1): units as they are, several small ones together (STAP-A), large ones in parts (FU-A). Pure. */

const STAP_A = 24;
const FU_A = 28;
/** `forbidden_zero_bit` and `nal_ref_idc` of a unit's header; the rest is its type. */
const IMPORTANCE = 0xe0;
const TYPE = 0x1f;
const LENGTH_BYTES = 2;
const FRAGMENT_HEADER_BYTES = 2;

/** The payloads of one access unit, in their order; the packet of the last one carries the mark. `bytesMax`: of a payload. */
export function payloadsOf(units: readonly Uint8Array[], bytesMax: number): Buffer[] {
  const payloads: Buffer[] = [];
  let together: Uint8Array[] = [];
  let togetherBytes = 1;
  const flush = (): void => {
    if (together.length > 0) payloads.push(together.length === 1 ? bufferOf(together[0]!) : aggregate(together));
    together = [];
    togetherBytes = 1;
  };
  for (const unit of units) {
    if (unit.length === 0) continue;
    if (togetherBytes + LENGTH_BYTES + unit.length > bytesMax) flush();
    if (unit.length > bytesMax) payloads.push(...fragments(unit, bytesMax));
    else {
      together.push(unit);
      togetherBytes += LENGTH_BYTES + unit.length;
    }
  }
  flush();
  return payloads;
}

/** 5.7.1: its header has the greatest importance of its units. */
function aggregate(units: readonly Uint8Array[]): Buffer {
  const importance = units.reduce((most, unit) => Math.max(most, unit[0]! & IMPORTANCE), 0);
  const bytes = Buffer.allocUnsafe(units.reduce((sum, unit) => sum + LENGTH_BYTES + unit.length, 1));
  bytes[0] = importance | STAP_A;
  let at = 1;
  for (const unit of units) {
    bytes.writeUInt16BE(unit.length, at);
    bytes.set(unit, at + LENGTH_BYTES);
    at += LENGTH_BYTES + unit.length;
  }
  return bytes;
}

/** 5.8: the unit's own header goes into that of each part. */
function fragments(unit: Uint8Array, bytesMax: number): Buffer[] {
  const parts: Buffer[] = [];
  const step = bytesMax - FRAGMENT_HEADER_BYTES;
  for (let at = 1; at < unit.length; at += step) {
    const end = Math.min(unit.length, at + step);
    const part = Buffer.allocUnsafe(FRAGMENT_HEADER_BYTES + end - at);
    part[0] = (unit[0]! & IMPORTANCE) | FU_A;
    part[1] = (at === 1 ? 0x80 : 0) | (end === unit.length ? 0x40 : 0) | (unit[0]! & TYPE);
    part.set(unit.subarray(at, end), FRAGMENT_HEADER_BYTES);
    parts.push(part);
  }
  return parts;
}

function bufferOf({ buffer, byteOffset, length }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, length);
}
