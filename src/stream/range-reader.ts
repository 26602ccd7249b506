import type { Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { Sample } from '../base/sample.ts';
import { intervalMsOf, nextDueMs, queueMaxOf, type Contract, type LossCause, type ReaderCounts } from './reader.ts';
import type { Ring } from './ring.ts';

/** Positions `from` to `to`, the latter not included. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** `count` samples between the positions `from` and `to` (not included) that the reader will never give. */
export interface RangeLoss extends Span {
  readonly count: number;
  readonly cause: LossCause;
}

/** A position in a stream that several readers follow: whoever moves it moves all of them at once. */
export interface SharedPosition {
  position: number;
}

const NO_LOSSES: readonly RangeLoss[] = [];

export interface RangeReaderOptions {
  readonly contract: Contract;
  /** As for `Reader`. */
  readonly from?: 'live' | number;
  /** The reader ends before this position. Default: never. */
  readonly until?: number;
  /** A sample that entered the stream longer ago is not given any more. Default: `Infinity`. */
  readonly ttlMs?: number;
}

/** The part of a stream that a reader of ranges needs. */
export interface RangeReaderHost<T> {
  readonly ring: Ring<T>;
  readonly clock: Clock;
  detach(): void;
}

/**
 * A cursor in a stream that takes whole spans of positions, so that a batch costs its reader the same, however many samples
 * it has: the number of delivered samples is a difference of positions. Samples taken out of the order (a critical one that went
 * ahead, ones dropped by class) are *holes* between cursor and head. Losses are not reported when they happen, which would
 * cost every publication a call for every reader that is behind, but kept as one sum per cause until `takeLosses`.
 *
 * At every instant: published = delivered + conflated + dropped + expired + queued.
 */
export class RangeReader<T> {
  /** Samples between the requested position and the first one that could still be given; not part of the accounts. */
  readonly missed: number;
  readonly #host: RangeReaderHost<T>;
  readonly #start: number;
  readonly #until: number;
  readonly #queueMax: number;
  readonly #intervalMs: number;
  readonly #ttlMs: number;
  readonly #conflates: boolean;
  #cursor: number;
  #dueMs = 0;
  #delivered = 0;
  #conflated = 0;
  #expired = 0;
  /** Samples in the holes. */
  #inHoles = 0;
  /** Sorted, apart from each other, all at or beyond the cursor. */
  #holes: { from: number; to: number }[] = [];
  /** Taken out by `hold` and not settled yet; part of `queued`. */
  #held = 0;
  #dropped: Map<string, number> | undefined;
  #losses: Map<LossCause, { from: number; to: number; count: number }> | undefined;
  #closedAt: number | undefined;
  #followed: SharedPosition | undefined;

  /** For `Stream.subscribeRanges`. Errors: STREAM_OPTION_BAD. */
  constructor(host: RangeReaderHost<T>, options: RangeReaderOptions) {
    const { contract, from = 'live', until = Infinity, ttlMs = Infinity } = options;
    const { ring } = host;
    if (from !== 'live' && !(Number.isInteger(from) && from >= 0 && from <= ring.head)) {
      throw new SightlineError('STREAM_OPTION_BAD', `from ${from} is not a position between 0 and ${ring.head}`);
    }
    if (!(ttlMs > 0)) throw new SightlineError('STREAM_OPTION_BAD', `ttlMs ${ttlMs} is not a positive number`);
    this.#host = host;
    this.#queueMax = queueMaxOf(contract, ring.capacity);
    this.#intervalMs = intervalMsOf(contract);
    this.#conflates = contract.kind !== 'all';
    this.#ttlMs = ttlMs;
    this.#start = from === 'live' ? ring.head : Math.max(from, ring.head - this.#queueMax, ring.oldest);
    this.missed = from === 'live' ? 0 : this.#start - from;
    this.#until = Math.max(until, this.#start);
    this.#cursor = this.#start;
  }

  get closed(): boolean {
    return this.#closedAt !== undefined;
  }

  /** Everything before it was given, or is lost. */
  get position(): number {
    this.#catchUp();
    return this.#cursor;
  }

  /** The reader is at the shared position, with no loss to report and no sample taken out of the order. */
  canFollow({ position }: SharedPosition): boolean {
    return (
      !this.closed &&
      this.position === position &&
      !this.#conflates &&
      this.#until === Infinity &&
      this.#ttlMs === Infinity &&
      this.#inHoles + this.#held === 0 &&
      this.#losses === undefined
    );
  }

  /** From now on samples that the shared position passes count as delivered to this reader, without a call. Only where `canFollow`. */
  follow(shared: SharedPosition): void {
    this.#followed = shared;
  }

  /** The reader has its own position again, where the shared one is now. */
  unfollow(): void {
    this.#catchUp();
    this.#followed = undefined;
  }

  /** It has come to its `until`, or is closed: nothing will come any more. */
  get done(): boolean {
    return this.closed || (this.#cursor >= this.#until && this.#held === 0);
  }

  /** Samples that wait, including those that have expired but were not looked at since. */
  get queued(): number {
    if (this.closed) return 0;
    this.#skipOverwritten();
    return this.#end - this.#cursor - this.#inHoles + this.#held;
  }

  /** When (Unix ms) a take gives the queued samples; a moment of the past when it does already. */
  get readyAtMs(): number {
    return this.#dueMs;
  }

  /** The samples that the next take could give: up to the next hole or the head. Expired ones in front are skipped. */
  peek(): Span | undefined {
    return this.#look(this.#host.clock.now());
  }

  /** At most `countMax` samples, taken: they count as delivered. O(1), but where samples have deadlines of their own. */
  takeRange(countMax: number): Span | undefined {
    const nowMs = this.#host.clock.now();
    const span = this.#look(nowMs);
    if (span === undefined) return undefined;
    const to = Math.min(span.to, span.from + countMax);
    this.#delivered += to - span.from;
    this.#moveTo(to);
    this.#dueMs = nextDueMs(this.#dueMs, this.#intervalMs, nowMs);
    return { from: span.from, to };
  }

  /** The waiting samples, oldest first, without those taken out of the order. */
  spans(): Span[] {
    if (this.closed) return [];
    this.#skipOverwritten();
    const spans: Span[] = [];
    let from = this.#cursor;
    for (const hole of this.#holes) {
      if (hole.from > from) spans.push({ from, to: hole.from });
      from = hole.to;
    }
    if (from < this.#end) spans.push({ from, to: this.#end });
    return spans;
  }

  /**
   * Takes one sample out of the order, to be given ahead of the others; it stays queued until `settle` reports its end. False:
   * it is not among those that wait.
   */
  hold(position: number): boolean {
    if (!this.#waits(position)) return false;
    this.#punch([{ from: position, to: position + 1 }]);
    this.#held++;
    return true;
  }

  /** A sample that was held is delivered, or lost by a cause. */
  settle(position: number, cause?: LossCause): void {
    if (this.closed) return;
    this.#held--;
    if (cause === undefined) this.#delivered++;
    else if (cause === 'expired') this.#expire(position, position + 1);
    else this.#lose({ from: position, to: position + 1, count: 1, cause });
  }

  /** Drops the samples before a position. O(1), but for holes. */
  skipTo(position: number, cause: string): void {
    if (this.closed) return;
    this.#skipOverwritten();
    const to = Math.min(position, this.#end);
    if (to <= this.#cursor) return;
    const from = this.#cursor;
    const count = to - from - this.#holesUpTo(to);
    this.#moveTo(to);
    if (count > 0) this.#lose({ from, to, count, cause });
  }

  /** Drops waiting samples, oldest first, that `isLost` chooses, and returns their number. O(samples that wait). */
  drop(cause: string, isLost: (sample: Sample<T>) => boolean = () => true): number {
    const chosen: { from: number; to: number }[] = [];
    let count = 0;
    for (const { from, to } of this.spans()) {
      for (let position = from; position < to; position++) {
        if (!isLost(this.#host.ring.at(position)!)) continue;
        count++;
        append(chosen, position);
      }
    }
    if (count === 0) return 0;
    this.#lose({ from: chosen[0]!.from, to: chosen.at(-1)!.to, count, cause });
    this.#punch(chosen);
    return count;
  }

  /** Losses since the last call, one sum for each cause. */
  takeLosses(): readonly RangeLoss[] {
    if (!this.closed) this.#skipOverwritten();
    if (this.#losses === undefined) return NO_LOSSES;
    const losses = [...this.#losses].map(([cause, { from, to, count }]) => ({ from, to, count, cause }));
    this.#losses = undefined;
    return losses;
  }

  counts(): ReaderCounts {
    const { queued } = this;
    return {
      published: (this.#closedAt ?? this.#end) - this.#start,
      delivered: this.#delivered,
      conflated: this.#conflated,
      dropped: { overflow: 0, closed: 0, ...Object.fromEntries(this.#dropped ?? []) },
      expired: this.#expired,
      queued,
    };
  }

  /** Ends the reader; unread samples count as dropped, cause `closed`. Idempotent. */
  close(): void {
    const { queued } = this;
    if (this.closed) return;
    if (queued > 0) this.#count('closed', queued);
    this.#closedAt = this.#end;
    this.#holes = [];
    this.#inHoles = 0;
    this.#held = 0;
    this.#losses = undefined;
    this.#followed = undefined;
    this.#host.detach();
  }

  #catchUp(): void {
    // What has expired was passed already: the position is behind until it moves.
    if (this.#followed === undefined || this.#followed.position <= this.#cursor) return;
    this.#delivered += this.#followed.position - this.#cursor;
    this.#cursor = this.#followed.position;
  }

  get #end(): number {
    return Math.min(this.#host.ring.head, this.#until);
  }

  #waits(position: number): boolean {
    if (this.closed) return false;
    this.#skipOverwritten();
    return (
      position >= this.#cursor &&
      position < this.#end &&
      !this.#holes.some((h) => position >= h.from && position < h.to)
    );
  }

  #look(nowMs: number): Span | undefined {
    if (this.closed) return undefined;
    this.#skipOverwritten();
    this.#skipExpired(nowMs);
    const to = this.#holes[0]?.from ?? this.#end;
    if (this.#cursor >= to || nowMs < this.#dueMs) return undefined;
    return { from: this.#cursor, to: this.#untilExpired(to, nowMs) };
  }

  /** Past the samples that newer ones have pushed out of the queue. */
  #skipOverwritten(): void {
    this.#catchUp();
    const { head, oldest } = this.#host.ring;
    const to = Math.min(this.#until, Math.max(oldest, head - this.#queueMax));
    if (this.#cursor >= to) return;
    const from = this.#cursor;
    const count = to - from - this.#holesUpTo(to);
    this.#moveTo(to);
    if (count === 0) return;
    if (this.#conflates) this.#conflated += count;
    else this.#lose({ from, to, count, cause: 'overflow' });
  }

  #skipExpired(nowMs: number): void {
    const { ring } = this.#host;
    while (this.#cursor < this.#end && this.#isExpired(ring.at(this.#cursor)!, nowMs)) {
      this.#expire(this.#cursor, this.#cursor + 1);
      this.#moveTo(this.#cursor + 1);
    }
  }

  /** The end of the span that begins at the cursor and has no expired sample. The reader's own limit expires the front only. */
  #untilExpired(to: number, nowMs: number): number {
    const { ring } = this.#host;
    if (ring.lastDeadline < this.#cursor) return to;
    let end = this.#cursor + 1;
    while (end < to && nowMs <= ring.at(end)!.deadlineMs) end++;
    return end;
  }

  #isExpired(sample: Sample<T>, nowMs: number): boolean {
    return nowMs > sample.deadlineMs || nowMs > sample.publishedTimeMs + this.#ttlMs;
  }

  #expire(from: number, to: number): void {
    this.#expired += to - from;
    this.#note({ from, to, count: to - from, cause: 'expired' });
  }

  #lose(loss: RangeLoss): void {
    this.#count(loss.cause, loss.count);
    this.#note(loss);
  }

  #count(cause: string, count: number): void {
    this.#dropped ??= new Map();
    this.#dropped.set(cause, (this.#dropped.get(cause) ?? 0) + count);
  }

  #note({ from, to, count, cause }: RangeLoss): void {
    this.#losses ??= new Map();
    const sum = this.#losses.get(cause);
    if (sum === undefined) this.#losses.set(cause, { from, to, count });
    else {
      sum.from = Math.min(sum.from, from);
      sum.to = Math.max(sum.to, to);
      sum.count += count;
    }
  }

  /** Moves the cursor, and on over holes that begin there. */
  #moveTo(position: number): void {
    this.#cursor = position;
    let hole = this.#holes[0];
    while (hole !== undefined && hole.from <= this.#cursor) {
      this.#cursor = Math.max(this.#cursor, hole.to);
      this.#inHoles -= hole.to - hole.from;
      this.#holes.shift();
      hole = this.#holes[0];
    }
  }

  #holesUpTo(position: number): number {
    let count = 0;
    for (const { from, to } of this.#holes) count += Math.max(0, Math.min(to, position) - from);
    return count;
  }

  /** Adds holes, sorted and apart from those that are there. */
  #punch(added: { from: number; to: number }[]): void {
    for (const { from, to } of added) this.#inHoles += to - from;
    const last = this.#holes.at(-1);
    if (last === undefined || last.to <= added[0]!.from) this.#holes.push(...added);
    else this.#holes = [...this.#holes, ...added].toSorted((a, b) => a.from - b.from);
    this.#moveTo(this.#cursor);
  }
}

function append(spans: { from: number; to: number }[], position: number): void {
  const last = spans.at(-1);
  if (last?.to === position) last.to++;
  else spans.push({ from: position, to: position + 1 });
}
