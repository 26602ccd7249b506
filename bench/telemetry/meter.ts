import { checkOf, isGenuine, type RoverMessage } from '../../src/load/rover-messages.ts';
import { Latencies } from './latencies.ts';

/** The columns that tell whether a message is genuine, `CHECK_PATHS` in their order. */
export type CheckColumns = readonly [Column, Column, Column, Column, Column];
export type Column = ArrayLike<number>;

export interface Measured {
  /** Messages that were decoded and checked, of those published from `fromMs` on, and of all. */
  readonly measured: number;
  readonly decoded: number;
  /** Messages that came to subscribers that only read. */
  readonly read: number;
  /** Messages that are missing, came twice or out of order, or are not what was published. */
  readonly faults: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/** What the subscribers of one team have seen. Every message of every decoding subscriber is checked here. */
export class Meter {
  readonly #now: () => number;
  readonly #latencies = new Latencies();
  #nextSeqs: Float64Array;
  #fromMs = Infinity;
  #decoded = 0;
  #faults = 0;
  /** Since the team was connected. */
  total = 0;
  read = 0;

  constructor(now: () => number) {
    this.#now = now;
    this.#nextSeqs = new Float64Array(0);
  }

  /** `pairs`: of one subscriber and one topic each; every vehicle's count begins with 1. */
  expect(pairs: number): void {
    this.#nextSeqs = new Float64Array(pairs).fill(1);
  }

  /** `nowMs`: on the clock of `timeMs`, where that is another one than the publisher's. */
  object(pair: number, timeMs: number, message: RoverMessage, nowMs = this.#now()): void {
    this.#sequence(pair, message.seq, isGenuine(message));
    this.#latency(timeMs, nowMs);
  }

  columns(pair: number, times: Column, [seqs, checks, xs, accels, volts]: CheckColumns, nowMs = this.#now()): void {
    for (let i = 0; i < times.length; i += 1) {
      const seq = seqs[i]!;
      this.#sequence(pair, seq, checks[i] === checkOf(seq, xs[i]!, accels[i]!, volts[i]!));
      this.#latency(times[i]!, nowMs);
    }
  }

  /** Something came that cannot be decoded. */
  damaged(): void {
    this.#faults += 1;
  }

  begin(fromMs: number): void {
    this.#latencies.reset();
    this.#fromMs = fromMs;
    this.#decoded = 0;
    this.#faults = 0;
    this.read = 0;
  }

  end(): Measured {
    return {
      measured: this.#latencies.count,
      decoded: this.#decoded,
      read: this.read,
      faults: this.#faults,
      p50: this.#latencies.percentile(50),
      p95: this.#latencies.percentile(95),
      p99: this.#latencies.percentile(99),
      max: this.#latencies.percentile(100),
    };
  }

  #sequence(pair: number, seq: number, genuine: boolean): void {
    if (!genuine || seq !== this.#nextSeqs[pair]) this.#faults += 1;
    this.#nextSeqs[pair] = seq + 1;
    this.#decoded += 1;
    this.total += 1;
  }

  #latency(timeMs: number, nowMs: number): void {
    if (timeMs >= this.#fromMs) this.#latencies.record(nowMs - timeMs);
  }
}
