import type { Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { Sample } from '../base/sample.ts';
import type { Guard } from './guard.ts';
import type { Ring } from './ring.ts';

/**
 * The samples that a reader gets.
 * - `latest`: the newest sample; older unread ones are conflated into it.
 * - `sampled`: as `latest`, but at most `hz` a second (one more where a late take is made up for).
 * - `all`: every sample in order; of more than `queueMax` unread ones the oldest are dropped, cause `overflow`.
 */
export type Contract =
  | { readonly kind: 'latest' }
  | { readonly kind: 'sampled'; readonly hz: number }
  /** `queueMax`: 1 to the stream's capacity, which is the default. */
  | { readonly kind: 'all'; readonly queueMax?: number };

/** Why samples were lost: `overflow`, `closed`, `expired`, or the word given to `drop`. */
export type LossCause = 'overflow' | 'closed' | 'expired' | (string & {});

/** Callbacks run synchronously, after the books are straight, so that they may call back into stream and reader. */
export interface ReaderOptions {
  readonly contract: Contract;
  /**
   * `live` (default): only samples published from now on. A position: from there on, as far back as the queue of this
   * contract reaches; `Reader.missed` is the number of samples that this leaves out.
   */
  readonly from?: 'live' | number;
  readonly name?: string;
  /** It keeps what was, and takes samples whose time is over as well. Left out: they are of no use to it. */
  readonly takesExpired?: boolean;
  /**
   * Something is queued where nothing was: called once, then not again until the reader has been found empty by `next`,
   * `peek`, `ready` or `drop`. Not called for what waits already at the subscription. For `sampled` the sample may lie
   * in the future still: see `readyAtMs`.
   */
  onReady?(): void;
  /**
   * Sequence numbers of samples that this reader will never give, oldest first, at most the stream's capacity. Called at the
   * moment of the loss; for an expiry at the next look at the queue. Not for conflated samples, as the contract says.
   */
  onLost?(seqs: number[], cause: LossCause): void;
  /** The stream ends: queued samples can be taken in this call, and count as lost afterwards. Not called by the reader's own `close`. */
  onEnding?(): void;
  /** The reader has closed, by its own `close` or the stream's. Called once, last. */
  onClosed?(): void;
}

/** At every instant: published = delivered + conflated + sum of dropped + expired + queued. */
export interface ReaderCounts {
  /** Samples since the reader's first position. */
  readonly published: number;
  readonly delivered: number;
  readonly conflated: number;
  /** By cause; `overflow` and `closed` are always there. */
  readonly dropped: Readonly<Record<string, number>>;
  readonly expired: number;
  readonly queued: number;
}

/** The part of a stream that a reader needs. */
export interface ReaderHost<T> {
  readonly ring: Ring<T>;
  readonly clock: Clock;
  readonly guard: Guard;
  /** Readers to be woken by the next sample. */
  readonly idle: Set<Reader<T>>;
  detach(reader: Reader<T>): void;
}

/**
 * A cursor in a stream. It holds no samples itself: the queue lies between the cursor and the stream's head,
 * the number of skipped samples is the difference of positions. `latest` is `all` with a queue of one whose overflow is called
 * conflation, `sampled` is `latest` with a moment before which nothing is given.
 */
export class Reader<T> {
  readonly name: string;
  /** Samples between the requested position and the first one that could still be given; not part of the accounts. */
  readonly missed: number;
  readonly #host: ReaderHost<T>;
  readonly #options: ReaderOptions;
  readonly #start: number;
  readonly #queueMax: number;
  readonly #intervalMs: number;
  #cursor: number;
  #dueMs = 0;
  #delivered = 0;
  #expired = 0;
  /** Pushed out of the queue by newer samples: overflow for `all`, conflated for the others. */
  #skipped = 0;
  readonly #dropped = new Map<string, number>();
  #closed = false;

  /** For `Stream.subscribe`. Errors: STREAM_OPTION_BAD. */
  constructor(host: ReaderHost<T>, options: ReaderOptions) {
    const { contract, from = 'live' } = options;
    const { ring } = host;
    if (from !== 'live' && !(Number.isInteger(from) && from >= 0 && from <= ring.head)) {
      throw new SightlineError('STREAM_OPTION_BAD', `from ${from} is not a position between 0 and ${ring.head}`);
    }
    this.name = options.name ?? contract.kind;
    this.#host = host;
    this.#options = options;
    this.#queueMax = queueMaxOf(contract, ring.capacity);
    this.#intervalMs = intervalMsOf(contract);
    this.#start = from === 'live' ? ring.head : Math.max(from, ring.head - this.#queueMax, ring.oldest);
    this.missed = from === 'live' ? 0 : this.#start - from;
    this.#cursor = this.#start;
    this.#armIfEmpty();
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Samples that wait, including those that have expired but were not looked at since. */
  get queued(): number {
    if (this.#closed) return 0;
    const { head, oldest } = this.#host.ring;
    return Math.min(this.#behind, this.#queueMax, head - oldest);
  }

  /** `next` would give a sample now. */
  get ready(): boolean {
    return this.peek() !== undefined;
  }

  /**
   * When (Unix ms) `next` gives the queued sample: `Infinity` when there is none, a moment of the past when it does
   * already. The owner of a `sampled` reader sets its timer by this: the hub keeps none.
   */
  get readyAtMs(): number {
    return this.queued === 0 ? Infinity : this.#dueMs;
  }

  /** The next sample, taken: it counts as delivered. Expired ones in front of it are skipped and reported first. */
  next(): Sample<T> | undefined {
    const nowMs = this.#host.clock.now();
    const sample = this.#look(nowMs);
    if (sample === undefined) return undefined;
    this.#cursor++;
    this.#delivered++;
    this.#dueMs = nextDueMs(this.#dueMs, this.#intervalMs, nowMs);
    this.#armIfEmpty();
    return sample;
  }

  /** The sample that `next` would give, which stays queued. Expired ones in front of it are skipped and reported. */
  peek(): Sample<T> | undefined {
    return this.#look(this.#host.clock.now());
  }

  counts(): ReaderCounts {
    const pushedOut = this.#skipped + (this.#closed ? 0 : this.#behind - this.queued);
    const conflates = this.#options.contract.kind !== 'all';
    return {
      published: (this.#closed ? this.#cursor : this.#host.ring.head) - this.#start,
      delivered: this.#delivered,
      conflated: conflates ? pushedOut : 0,
      dropped: { overflow: conflates ? 0 : pushedOut, closed: 0, ...Object.fromEntries(this.#dropped) },
      expired: this.#expired,
      queued: this.queued,
    };
  }

  /** Discards the oldest `count` queued samples, all of them by default; reported under `cause`: not `overflow` or `expired`. */
  drop(cause: string, count = Infinity): void {
    if (cause === 'overflow' || cause === 'expired') {
      throw new SightlineError('STREAM_OPTION_BAD', `cause "${cause}" is reserved for the stream`);
    }
    if (count !== Infinity && !(Number.isInteger(count) && count >= 0)) {
      throw new SightlineError('STREAM_OPTION_BAD', `count ${count} is not an integer from 0`);
    }
    if (this.#closed) return;
    const seqs = this.#discard(cause, count);
    this.#armIfEmpty();
    this.#tell(seqs, cause);
  }

  /** Ends the reader; unread samples count as dropped, cause `closed`. Idempotent. */
  close(): void {
    if (this.#closed) return;
    const seqs = this.#discard('closed', Infinity);
    this.#closed = true;
    this.#host.idle.delete(this);
    this.#host.detach(this);
    this.#tell(seqs, 'closed');
    if (this.#options.onClosed !== undefined) this.#host.guard.run(() => this.#options.onClosed?.());
  }

  /** For the stream, which closes. */
  end(): void {
    if (!this.#closed && this.#options.onEnding !== undefined) this.#host.guard.run(() => this.#options.onEnding?.());
    this.close();
  }

  /** For the stream: this reader wants a report of samples that are pushed out of its queue. */
  get tellsOverflow(): boolean {
    return this.#options.contract.kind === 'all' && this.#options.onLost !== undefined;
  }

  /** For the stream: the head position at which the next sample pushes the oldest out of the queue. */
  get overflowAt(): number {
    return this.#cursor + this.#queueMax;
  }

  /**
   * For the stream, right before the ring changes: gives up samples that cannot be kept once its head is `head` and it begins at
   * `oldest`, and returns their numbers.
   */
  makeRoom(head: number, oldest: number): number[] {
    const { ring } = this.#host;
    const seqs: number[] = [];
    const end = Math.min(ring.head, Math.max(head - this.#queueMax, oldest));
    for (; this.#cursor < end; this.#cursor++) seqs.push(ring.at(this.#cursor)!.seq);
    this.#skipped += seqs.length;
    return seqs;
  }

  /** For the stream: reports the samples that `makeRoom` gave up. */
  tellOverflow(seqs: number[]): void {
    this.#tell(seqs, 'overflow');
  }

  /** For the stream: a sample came while the reader was idle. */
  wake(): void {
    if (this.#closed) return;
    // Another callback may have emptied the reader since.
    if (this.#behind === 0) this.#armIfEmpty();
    else this.#host.guard.run(() => this.#options.onReady?.());
  }

  get #behind(): number {
    return this.#host.ring.head - this.#cursor;
  }

  #look(nowMs: number): Sample<T> | undefined {
    // Until nothing expires any more: a callback about an expiry may publish, take or close.
    while (!this.#closed) {
      const expired = this.#settle(nowMs);
      if (expired.length === 0) return nowMs < this.#dueMs ? undefined : this.#host.ring.at(this.#cursor);
      this.#tell(expired, 'expired');
    }
    return undefined;
  }

  /** Moves the cursor to the sample that comes next, past those that were pushed out or have expired; returns the latter's numbers. */
  #settle(nowMs: number): number[] {
    const { ring } = this.#host;
    const pushedOut = this.#behind - this.queued;
    this.#skipped += pushedOut;
    this.#cursor += pushedOut;
    const expired: number[] = [];
    for (;;) {
      const sample = ring.at(this.#cursor);
      if (sample === undefined || this.#options.takesExpired === true || nowMs <= sample.deadlineMs) break;
      expired.push(sample.seq);
      this.#cursor++;
    }
    this.#expired += expired.length;
    this.#armIfEmpty();
    return expired;
  }

  #discard(cause: string, count: number): number[] {
    const { ring } = this.#host;
    const { queued } = this;
    const discarded = Math.min(queued, count);
    this.#skipped += this.#behind - queued;
    this.#cursor = ring.head - queued + discarded;
    if (discarded === 0) return [];
    this.#dropped.set(cause, (this.#dropped.get(cause) ?? 0) + discarded);
    return Array.from({ length: discarded }, (_, i) => ring.at(this.#cursor - discarded + i)!.seq);
  }

  #armIfEmpty(): void {
    if (this.#options.onReady !== undefined && this.#behind === 0) this.#host.idle.add(this);
  }

  #tell(seqs: number[], cause: LossCause): void {
    if (seqs.length > 0 && this.#options.onLost !== undefined) {
      this.#host.guard.run(() => this.#options.onLost?.(seqs, cause));
    }
  }
}

export function queueMaxOf(contract: Contract, capacity: number): number {
  if (contract.kind !== 'all') return 1;
  const queueMax = contract.queueMax ?? capacity;
  if (!Number.isInteger(queueMax) || queueMax < 1 || queueMax > capacity) {
    throw new SightlineError(
      'STREAM_OPTION_BAD',
      `queueMax ${queueMax} is not an integer from 1 to the capacity ${capacity}`,
    );
  }
  return queueMax;
}

export function intervalMsOf(contract: Contract): number {
  if (contract.kind !== 'sampled') return 0;
  if (!(contract.hz > 0 && contract.hz < Infinity)) {
    throw new SightlineError('STREAM_OPTION_BAD', `hz ${contract.hz} is not a positive number`);
  }
  return 1000 / contract.hz;
}

/**
 * The end of the pause after a take. It counts from when the take was due, not from when it came, so that a source whose
 * rate is not a multiple of `hz` still gives `hz` on average; a take that is a whole interval late starts afresh.
 */
export function nextDueMs(dueMs: number, intervalMs: number, nowMs: number): number {
  return (dueMs + intervalMs > nowMs ? dueMs : nowMs) + intervalMs;
}
