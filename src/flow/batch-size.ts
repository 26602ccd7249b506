/** Readers that are further behind than this take aligned blocks, so that those at different places soon ask for the same ones. */
const ALIGN_FROM = 256;
const BLOCK_MAX = 1_024;

/**
 * Where a batch ends that begins at `from` and could reach to `to` (not included), with at least one message and, beyond that,
 * at most `bytesMax` bytes. `bytesBefore` gives the bytes of all messages before a position.
 *
 * A reader that keeps up takes what there is. One that is far behind, or has not room for all, takes up to a multiple of a
 * power of two: whoever else is behind then ends its batches at the same places, and a batch that was encoded for one
 * serves all. Without it readers that lag each want ranges of their own, and encoding for each makes them lag more.
 */
export function batchEnd(
  from: number,
  to: number,
  bytesMax: number,
  bytesBefore: (position: number) => number,
): number {
  const start = bytesBefore(from);
  const fits = (end: number) => end <= to && bytesBefore(end) - start <= bytesMax;
  if (to - from <= ALIGN_FROM && fits(to)) return to;
  for (let block = BLOCK_MAX; block > 1; block /= 2) {
    const end = nextMultiple(from, block);
    if (fits(end)) return end;
  }
  return from + 1;
}

/** Where a reader goes on that was overtaken by the history: a quarter further, at a place that others take too. */
export function leapTo(oldest: number, head: number): number {
  return Math.min(head, nextMultiple(oldest + Math.floor((head - oldest) / 4), BLOCK_MAX));
}

function nextMultiple(position: number, of: number): number {
  return (Math.floor(position / of) + 1) * of;
}
