import type { Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import { Priority } from '../base/sample.ts';
import type { Sample } from '../base/sample.ts';
import type { Guard } from './guard.ts';
import { RangeReader } from './range-reader.ts';
import type { RangeReaderOptions } from './range-reader.ts';
import { Reader } from './reader.ts';
import type { ReaderHost, ReaderOptions } from './reader.ts';
import { Ring } from './ring.ts';

const READERS_MAX = 1_000;

export interface StreamOptions<T = unknown> {
  /** Slots of the ring: how many samples a slow reader may lag and a late one may look back. */
  readonly capacity: number;
  /** Default 1,000. */
  readonly readersMax?: number;
  /** The sample is in the ring; its readers were not told yet. */
  onPublish?(sample: Sample<T>): void;
  /**
   * The sample's slot was overwritten, or the stream closed: it cannot be taken any more, and pooled data may be released.
   * A reader that took it before and still uses it has its own copy or its own hold.
   */
  onEvict?(sample: Sample<T>): void;
}

export interface PublishInput<T> {
  readonly data: T;
  /** Default: the last one plus 1, from 1. */
  readonly seq?: number;
  /** Unix ms; default: now. */
  readonly captureTimeMs?: number;
  /** Default: normal. */
  readonly priority?: Priority;
  /** Unix ms; default: never. */
  readonly deadlineMs?: number;
}

/** The settings that `Hub` passes to a stream. */
export interface StreamContext {
  readonly name: string;
  readonly epoch: string;
  readonly clock: Clock;
  readonly guard: Guard;
  onClosed(): void;
}

/**
 * A named, ordered sequence of samples in one bounded ring.
 *
 * `publish` writes once. Beyond that it costs the wake-up of readers that were idle, and, only for `all` readers that asked
 * for reports of losses (`onLost`) and whose queue is full, the note of their losses. Those are found by one comparison
 * with the nearest overflow of all tellers, so that the ring needs no memory of overwritten sequence numbers and a
 * loss is reported when it happens. All other losses are found later, by subtracting positions.
 */
export class Stream<T> {
  readonly name: string;
  /** Tells this stream's positions from those of an earlier stream of the same name; letters and digits. */
  readonly epoch: string;
  readonly #context: StreamContext;
  readonly #options: StreamOptions<T>;
  readonly #ring: Ring<T>;
  readonly #host: ReaderHost<T>;
  readonly #readersMax: number;
  readonly #readers = new Set<Reader<T>>();
  readonly #tellers = new Set<Reader<T>>();
  readonly #rangeReaders = new Set<RangeReader<T>>();
  /** No teller overflows before the head reaches this position; may be too low, since takes do not raise it. */
  #overflowAt = Infinity;
  #lastSeq = 0;
  #closed = false;

  /** For `Hub.create`. Errors: STREAM_OPTION_BAD. */
  constructor(context: StreamContext, options: StreamOptions<T>) {
    requireCount('capacity', options.capacity);
    this.#readersMax = requireCount('readersMax', options.readersMax ?? READERS_MAX);
    this.name = context.name;
    this.epoch = context.epoch;
    this.#context = context;
    this.#options = options;
    this.#ring = new Ring<T>(options.capacity);
    this.#host = {
      ring: this.#ring,
      clock: context.clock,
      guard: context.guard,
      idle: new Set(),
      detach: (reader) => {
        this.#readers.delete(reader);
        this.#tellers.delete(reader);
      },
    };
  }

  get capacity(): number {
    return this.#ring.capacity;
  }

  /** Position that the next sample gets. */
  get head(): number {
    return this.#ring.head;
  }

  /** First position that the ring still holds; equal to `head` when it holds none. */
  get oldest(): number {
    return this.#ring.oldest;
  }

  /** Position of the newest sample that has a deadline; -1: there was none. */
  get lastDeadline(): number {
    return this.#ring.lastDeadline;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The open readers. */
  get readers(): Iterable<Reader<T>> {
    return this.#readers.values();
  }

  /**
   * Appends a sample. Never waits, and nothing that a reader does or throws reaches the publisher.
   * Errors: STREAM_CLOSED.
   */
  publish(input: PublishInput<T>): Sample<T> {
    if (this.#closed) throw new SightlineError('STREAM_CLOSED', `stream "${this.name}" is closed`);
    const nowMs = this.#context.clock.now();
    const sample: Sample<T> = {
      position: this.#ring.head,
      seq: input.seq ?? this.#lastSeq + 1,
      captureTimeMs: input.captureTimeMs ?? nowMs,
      publishedTimeMs: nowMs,
      priority: input.priority ?? Priority.normal,
      deadlineMs: input.deadlineMs ?? Infinity,
      data: input.data,
    };
    this.#lastSeq = sample.seq;
    // The accounts of all readers and the ring come first, callbacks after: these may publish, close or subscribe.
    const losses = this.#ring.head >= this.#overflowAt ? this.#makeRoom(this.#ring.head + 1) : undefined;
    const evicted = this.#ring.push(sample);
    if (evicted !== undefined) this.#evict(evicted);
    if (this.#options.onPublish !== undefined) this.#context.guard.run(() => this.#options.onPublish?.(sample));
    if (losses !== undefined) for (const { reader, seqs } of losses) reader.tellOverflow(seqs);
    if (this.#host.idle.size > 0) this.#wakeIdle();
    return sample;
  }

  /** Gives up the samples before a position, as if newer samples had overwritten them. */
  trim(toPosition: number): void {
    const to = Math.min(toPosition, this.#ring.head);
    const losses = this.#makeRoom(this.#ring.head, to);
    while (this.#ring.oldest < to) this.#evict(this.#ring.shift()!);
    for (const { reader, seqs } of losses) reader.tellOverflow(seqs);
  }

  /** The sample at a position. Takes nothing. */
  at(position: number): Sample<T> | undefined {
    return this.#ring.at(position);
  }

  /** The open readers of ranges. */
  get rangeReaders(): Iterable<RangeReader<T>> {
    return this.#rangeReaders.values();
  }

  get readerCount(): number {
    return this.#readers.size + this.#rangeReaders.size;
  }

  /** Errors: STREAM_CLOSED, STREAM_LIMIT_REACHED, STREAM_OPTION_BAD. */
  subscribe(options: ReaderOptions): Reader<T> {
    this.#requirePlace();
    const reader = new Reader<T>(this.#host, options);
    this.#readers.add(reader);
    if (reader.tellsOverflow) {
      this.#tellers.add(reader);
      this.#overflowAt = Math.min(this.#overflowAt, reader.overflowAt);
    }
    return reader;
  }

  /** As `subscribe`, for readers that take many samples at once. */
  subscribeRanges(options: RangeReaderOptions): RangeReader<T> {
    this.#requirePlace();
    const detach = () => this.#rangeReaders.delete(reader);
    const reader: RangeReader<T> = new RangeReader<T>(
      { ring: this.#ring, clock: this.#context.clock, detach },
      options,
    );
    this.#rangeReaders.add(reader);
    return reader;
  }

  /** The samples that the ring still holds from a position on, up to the present head, in order. Takes nothing. */
  *history(fromPosition: number): Generator<Sample<T>, void, undefined> {
    const end = this.#ring.head;
    for (let position = fromPosition; position < end; position++) {
      // The consumer of the generator may let time pass between two samples.
      position = Math.max(position, this.#ring.oldest);
      const sample = this.#ring.at(position);
      if (sample !== undefined && position < end) yield sample;
    }
  }

  /** Ends the stream: closes its readers (unread samples: cause `closed`), then evicts the ring's samples. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const reader of this.#readers) reader.end();
    for (const reader of this.#rangeReaders) reader.close();
    for (const sample of this.#ring.clear()) this.#evict(sample);
    this.#context.onClosed();
  }

  #requirePlace(): void {
    if (this.#closed) throw new SightlineError('STREAM_CLOSED', `stream "${this.name}" is closed`);
    if (this.readerCount >= this.#readersMax) {
      throw new SightlineError(
        'STREAM_LIMIT_REACHED',
        `stream "${this.name}" has its limit of ${this.#readersMax} readers`,
      );
    }
  }

  /** Lets readers that report losses give up samples that they cannot keep once the head is `head` and the ring begins at `oldest`. */
  #makeRoom(head: number, oldest = 0): { reader: Reader<T>; seqs: number[] }[] {
    const losses: { reader: Reader<T>; seqs: number[] }[] = [];
    let overflowAt = Infinity;
    for (const reader of this.#tellers) {
      const seqs = reader.makeRoom(head, oldest);
      if (seqs.length > 0) losses.push({ reader, seqs });
      overflowAt = Math.min(overflowAt, reader.overflowAt);
    }
    this.#overflowAt = overflowAt;
    return losses;
  }

  #wakeIdle(): void {
    const woken = [...this.#host.idle];
    this.#host.idle.clear();
    for (const reader of woken) reader.wake();
  }

  #evict(sample: Sample<T>): void {
    if (this.#options.onEvict !== undefined) this.#context.guard.run(() => this.#options.onEvict?.(sample));
  }
}

function requireCount(name: string, value: number): number {
  if (!Number.isInteger(value) || value < 1) {
    throw new SightlineError('STREAM_OPTION_BAD', `${name} ${value} is not an integer from 1`);
  }
  return value;
}
