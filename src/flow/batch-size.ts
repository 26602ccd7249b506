/** Readers that are further behind than this take aligned blocks, so that those at different places soon ask for the same ones. */
const ALIGN_FROM = 256;
const BLOCK_MAX = 1_024;

/**
 * Where a batch ends that begins at `from` and could reach to `to` (not included), with at least one message and, beyond that,
 * at most `bytesMax` bytes. `bytesBefore` gives the bytes of all messages before a position.
 *
 * A reader that keeps up takes all available messages. One that is far behind, or has no room for all, takes up to a multiple of a
 * power of two: other readers that are behind then end their batches at the same positions, and a batch that was encoded for one
 * serves all. Without that, lagging readers want ranges of their own, and encoding for each makes them lag more.
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

/** Where a reader that the history has overtaken goes on: a quarter further, at a position that others take too. */
export function leapTo(oldest: number, head: number): number {
  return Math.min(head, nextMultiple(oldest + Math.floor((head - oldest) / 4), BLOCK_MAX));
}

function nextMultiple(position: number, of: number): number {
  return (Math.floor(position / of) + 1) * of;
}

/** Share of a topic's readers that must want it together with the same others. */
const SHARE_MIN = 0.25;

/**
 * Whether the topics of a round go to a connection in one batch. That is cheaper for its reader, and for the server as long as
 * others get the same batch: `peers` connections have the same subscriptions, of the `readers` of the most wanted of these
 * topics. Otherwise each topic goes in the batch that all of its readers get.
 */
export function shareBatches(peers: number, readers: number): boolean {
  return peers >= readers * SHARE_MIN;
}

/** Share of the time that sending takes at most: one part in four. What comes meanwhile shares the next round. */
const REST_FACTOR = 3;
/** Shorter than any timer can wait. */
const REST_MIN_MS = 1;
/** Messages of each topic in a round from which the longest rest makes larger batches worth while. */
const DENSE_MESSAGES = 4;

/** What the rest after a round depends on. */
export interface Round {
  /** How long it took. */
  readonly tookMs: number;
  /** For how long nothing was there to be sent before it began. */
  readonly idleMs: number;
  /** The round before was a busy one. */
  readonly isAfterBusy: boolean;
  /** Messages of each topic. */
  readonly messages: number;
}

/** The time before the round was shorter than the round. */
export function isBusy({ tookMs, idleMs }: Pick<Round, 'tookMs' | 'idleMs'>): boolean {
  return idleMs < tookMs;
}

/**
 * How long to wait before the next round, at most `restMsMax`. No time while rounds are shorter than the time between them, and
 * none after one that was held up once: a message that comes alone goes at once. Under load it makes fewer and larger batches,
 * which cost everybody less for each message.
 */
export function restAfter(round: Round, restMsMax: number): number {
  const { tookMs, messages, isAfterBusy } = round;
  if (!isAfterBusy || !isBusy(round)) return 0;
  const restMs = Math.min(tookMs * REST_FACTOR, restMsMax);
  if (restMs < REST_MIN_MS) return 0;
  return messages >= DENSE_MESSAGES ? restMsMax : restMs;
}
