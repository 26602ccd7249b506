import type { TelemetryContract } from '../../protocol/telemetry.ts';
import type { Span } from '../../stream/range-reader.ts';

/** A gap longer than this is filled after what is new. */
const NEWEST_FIRST_FROM = 1_000;

/** The last message that a client has of a topic. */
export interface Position {
  readonly epoch: number;
  readonly seq: number;
}

export interface Start {
  /** Position of the first message that is sent; its `seq` is one more. */
  readonly from: number;
  /** Missed messages that follow once the line is idle. */
  readonly backfill: Span | undefined;
  /** Nothing that the client asked for is missing. */
  readonly recovered: boolean;
}

/** Where in a topic a subscription begins. Pure. */
export function decideStart(
  contract: TelemetryContract,
  topic: { readonly epoch: number; readonly oldest: number; readonly head: number },
  since: Position | undefined,
): Start {
  const { oldest, head } = topic;
  const newest = Math.max(oldest, head - 1);
  const isNewestEnough = contract === 'latest' || contract === 'sampled';
  // Who asks for the newest value gets the one that is there.
  if (since === undefined) return { from: isNewestEnough ? newest : head, backfill: undefined, recovered: true };
  const isHeld = since.epoch === topic.epoch && since.seq >= oldest && since.seq <= head;
  if (!isHeld) return { from: newest, backfill: undefined, recovered: false };
  if (isNewestEnough) return { from: Math.max(newest, since.seq), backfill: undefined, recovered: true };
  if (head - since.seq <= NEWEST_FIRST_FROM) return { from: since.seq, backfill: undefined, recovered: true };
  return { from: newest, backfill: { from: since.seq, to: newest }, recovered: true };
}
