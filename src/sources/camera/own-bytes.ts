/** A view may be this part of what it keeps alive. */
const SHARE_MIN = 0.5;

/** The same bytes, in memory that is not much larger than they are: a view of a chunk of a pipe would keep all of that chunk. */
export function ownBytes(bytes: Uint8Array): Uint8Array {
  return bytes.length >= bytes.buffer.byteLength * SHARE_MIN ? bytes : new Uint8Array(bytes);
}
