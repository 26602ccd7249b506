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

export interface WatchCounts {
  readonly fragments: number;
  /** Fragments that are missing within an epoch, by their numbers. */
  readonly missing: number;
  /** Fragments that do not begin where the one before has ended. */
  readonly holes: number;
  /** Fragments of a new epoch that did not begin with its first key frame. */
  readonly headless: number;
  readonly epochs: number;
  /** Times that the server said that it leaves something out. */
  readonly gaps: number;
  /** Views that the server has ended. */
  readonly ends: number;
  readonly results: number;
}

export interface WatchReport extends WatchCounts {
  /** Longest time without a fragment, up to now, ms. */
  readonly fragmentsApartMsMax: number;
  /** The same of results. */
  readonly resultsApartMsMax: number;
}

export const NO_COUNTS: WatchCounts = {
  fragments: 0,
  missing: 0,
  holes: 0,
  headless: 0,
  epochs: 0,
  gaps: 0,
  ends: 0,
  results: 0,
};

export class WatchLog {
  #last: WatchedFragment | undefined;
  #counts = { ...NO_COUNTS };
  readonly #fragments: Gauge;
  readonly #results: Gauge;

  constructor(nowMs: number) {
    this.#fragments = new Gauge(nowMs);
    this.#results = new Gauge(nowMs);
  }

  /** Undefined: there was no fragment yet. */
  get epoch(): number | undefined {
    return this.#last?.frame.epoch;
  }

  fragment(next: WatchedFragment, nowMs: number): void {
    const last = this.#last;
    this.#last = next;
    this.#fragments.mark(nowMs);
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

  gap(): void {
    this.#counts.gaps += 1;
  }

  end(): void {
    this.#counts.ends += 1;
  }

  result(nowMs: number): void {
    this.#counts.results += 1;
    this.#results.mark(nowMs);
  }

  /** Since the last one. Times without something begin with the span. */
  take(nowMs: number): WatchReport {
    const report = {
      ...this.#counts,
      fragmentsApartMsMax: this.#fragments.take(nowMs),
      resultsApartMsMax: this.#results.take(nowMs),
    };
    this.#counts = { ...NO_COUNTS };
    return report;
  }
}

/** The longest time between two moments. */
class Gauge {
  #lastMs: number;
  #apartMsMax = 0;

  constructor(nowMs: number) {
    this.#lastMs = nowMs;
  }

  mark(nowMs: number): void {
    this.#apartMsMax = Math.max(this.#apartMsMax, nowMs - this.#lastMs);
    this.#lastMs = nowMs;
  }

  take(nowMs: number): number {
    this.mark(nowMs);
    const longest = this.#apartMsMax;
    this.#apartMsMax = 0;
    return longest;
  }
}

export function addCounts<C extends WatchCounts>(one: C, other: WatchCounts): C {
  const sum = Object.keys(NO_COUNTS).map((name) => [
    name,
    one[name as keyof WatchCounts] + other[name as keyof WatchCounts],
  ]);
  return { ...one, ...Object.fromEntries(sum) };
}

/** Of the same camera, seen by two viewers. */
export function joined(one: WatchReport, other: WatchReport): WatchReport {
  return {
    ...addCounts(one, other),
    fragmentsApartMsMax: Math.max(one.fragmentsApartMsMax, other.fragmentsApartMsMax),
    resultsApartMsMax: Math.max(one.resultsApartMsMax, other.resultsApartMsMax),
  };
}

/** What a viewer has none of whose camera goes on undisturbed, since it was watched already. */
export function lossesOf({ missing, holes, epochs, gaps, ends }: WatchCounts): number {
  return missing + holes + epochs + gaps + ends;
}

export function inWords({ fragments, missing, holes, epochs, gaps, ends }: WatchCounts): string {
  return `${fragments} fragments, ${missing} missing, ${holes} holes, ${epochs} new epochs, ${gaps} gaps, ${ends} ended`;
}
