import type { FrameName } from '../../src/base/frame-name.ts';

/** What a viewer has seen of one camera. Pure but for its state. */

/** Times in the medium are rounded to its ticks, 90,000 a second. */
const TICK_S = 2 / 90_000;

export interface WatchedFragment {
  readonly frame: Pick<FrameName, 'epoch' | 'seq'>;
  readonly isKey: boolean;
  readonly mediaTimeS: number;
  readonly durationS: number;
}

export interface WatchReport {
  readonly fragments: number;
  /** Fragments that are missing within an epoch, by their numbers. */
  readonly missing: number;
  /** Fragments that do not begin where the one before has ended. */
  readonly holes: number;
  /** Fragments of a new epoch that did not begin with its first key frame. */
  readonly headless: number;
  readonly epochs: number;
  readonly results: number;
  /** Longest time without a result, up to now, ms. */
  readonly resultsApartMsMax: number;
}

export class WatchLog {
  #last: WatchedFragment | undefined;
  #counts = { fragments: 0, missing: 0, holes: 0, headless: 0, epochs: 0, results: 0 };
  #apartMsMax = 0;
  #resultMs: number;
  #fragmentMs = 0;

  constructor(nowMs: number) {
    this.#resultMs = nowMs;
  }

  /** When the last fragment came. */
  get fragmentMs(): number {
    return this.#fragmentMs;
  }

  get epoch(): number | undefined {
    return this.#last?.frame.epoch;
  }

  fragment(next: WatchedFragment, nowMs: number): void {
    const last = this.#last;
    this.#last = next;
    this.#fragmentMs = nowMs;
    this.#counts.fragments += 1;
    if (last?.frame.epoch !== next.frame.epoch) {
      this.#counts.epochs += 1;
      if (!next.isKey) this.#counts.headless += 1;
      return;
    }
    const skipped = next.frame.seq - last.frame.seq - 1;
    this.#counts.missing += skipped;
    if (skipped === 0 && Math.abs(next.mediaTimeS - last.mediaTimeS - last.durationS) > TICK_S) this.#counts.holes += 1;
  }

  result(nowMs: number): void {
    this.#counts.results += 1;
    this.#apartMsMax = Math.max(this.#apartMsMax, nowMs - this.#resultMs);
    this.#resultMs = nowMs;
  }

  /** Since the last one. The time without a result begins with the span. */
  take(nowMs: number): WatchReport {
    const report = { ...this.#counts, resultsApartMsMax: Math.max(this.#apartMsMax, nowMs - this.#resultMs) };
    this.#counts = { fragments: 0, missing: 0, holes: 0, headless: 0, epochs: 0, results: 0 };
    this.#apartMsMax = 0;
    this.#resultMs = nowMs;
    return report;
  }
}
