import { SightlineError } from '../base/errors.ts';

/**
 * LZ4 blocks unpacked in plain JavaScript, for where no native library is (browsers). The format: "LZ4 Block Format
 * Description", https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md; no frame and no size in front.
 */

const MATCH_MIN = 4;
/** One more byte of input stands for at most so many of output, so that a claim can be judged before anything is allocated. */
const RATIO_MAX = 255;
/** From so many bytes on a call that copies them at once is cheaper than a loop. */
const LONG_BYTES = 24;

/** Exactly `plainSize` bytes. Throws COMPRESSION_BAD, without having allocated more than the block can hold. */
export function decompressLz4(packed: Uint8Array, plainSize: number): Uint8Array<ArrayBuffer> {
  if (plainSize > packed.length * RATIO_MAX) throw bad(`${packed.length} bytes cannot hold ${plainSize}`);
  const out = new Uint8Array(plainSize);
  const end = packed.length;
  let from = 0;
  let to = 0;
  while (from < end) {
    const token = packed[from++]!;
    let literals = token >>> 4;
    if (literals === 15) {
      let more: number;
      do {
        if (from >= end) throw bad('a length is cut');
        more = packed[from++]!;
        literals += more;
      } while (more === 255);
    }
    if (from + literals > end || to + literals > plainSize) throw bad('literals reach beyond the end');
    if (literals >= LONG_BYTES) {
      out.set(packed.subarray(from, from + literals), to);
    } else {
      for (let i = 0; i < literals; i++) out[to + i] = packed[from + i]!;
    }
    from += literals;
    to += literals;
    // The last sequence ends with its literals.
    if (from === end) break;
    if (from + 2 > end) throw bad('an offset is cut');
    const offset = packed[from]! | (packed[from + 1]! << 8);
    from += 2;
    if (offset === 0 || offset > to) throw bad(`an offset of ${offset} after ${to} bytes`);
    let length = (token & 15) + MATCH_MIN;
    if (length === 15 + MATCH_MIN) {
      let more: number;
      do {
        if (from >= end) throw bad('a length is cut');
        more = packed[from++]!;
        length += more;
      } while (more === 255);
    }
    if (to + length > plainSize) throw bad('a match reaches beyond the end');
    if (length >= LONG_BYTES && offset >= length) {
      out.copyWithin(to, to - offset, to - offset + length);
    } else {
      // A match may overlap itself: it repeats what it has just written.
      for (let i = 0; i < length; i++) out[to + i] = out[to - offset + i]!;
    }
    to += length;
  }
  if (to !== plainSize) throw bad(`it holds ${to} bytes instead of ${plainSize}`);
  return out;
}

function bad(what: string): SightlineError {
  return new SightlineError('COMPRESSION_BAD', `LZ4: ${what}`);
}
