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

/** Of those who read a topic, so many have to want it together with the same others. */
const SHARE_MIN = 0.25;

/**
 * Whether the topics of a round go to a connection in one batch. That is cheaper for who reads it, and for the server as long as
 * others get the same batch: `peers` connections have the same subscriptions, of the `readers` of the most wanted of these
 * topics. Otherwise each topic goes in the batch that all of its readers get.
 */
export function shareBatches(peers: number, readers: number): boolean {
  return peers >= readers * SHARE_MIN;
}

/** Of the time, sending takes one part in four at most: what comes meanwhile shares the next round. */
const REST_FACTOR = 3;
/** Less than a timer can wait for. */
const REST_MIN_MS = 1;
/** From so many messages of each topic in a round on, the longest rest makes their batches worth while. */
const DENSE_MESSAGES = 4;

/**
 * How long to wait with the next round after one that took `roundMs` and had `messages` of each topic, at most `restMsMax`. Nothing
 * while rounds are short against the time between them; under load fewer and larger batches, which cost everybody less
 * for each message.
 */
export function restAfter(roundMs: number, messages: number, restMsMax: number): number {
  const restMs = Math.min(roundMs * REST_FACTOR, restMsMax);
  if (restMs < REST_MIN_MS) return 0;
  return messages >= DENSE_MESSAGES ? restMsMax : restMs;
}
