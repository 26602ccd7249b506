/** Readers that are further behind than this take aligned blocks, so that those at different places soon ask for the same ones. */
const ALIGN_FROM = 256;
const BLOCK_MAX = 1_024;

/**
 * Where a batch ends that begins at `from` and could reach to `to` (not included). A reader that keeps up takes what there
 * is. One that is far behind takes up to a multiple of a power of two: whoever else is behind then ends its batches at the
 * same places, and a batch that was encoded for one serves all.
 */
export function batchEnd(from: number, to: number): number {
  const behind = to - from;
  if (behind <= ALIGN_FROM) return to;
  let block = BLOCK_MAX;
  while (Math.floor(from / block) * block + block > to) block /= 2;
  return Math.floor(from / block) * block + block;
}

/** The last position up to which a batch from `from` stays within `bytesMax`, at least one message. `bytesBefore` rises with the position. */
export function fitBytes(
  from: number,
  to: number,
  bytesMax: number,
  bytesBefore: (position: number) => number,
): number {
  const start = bytesBefore(from);
  if (bytesBefore(to) - start <= bytesMax) return to;
  let low = from + 1;
  let high = to;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (bytesBefore(middle) - start <= bytesMax) low = middle;
    else high = middle;
  }
  return low;
}
