import { Priority } from '../../base/sample.ts';

/**
 * How many pictures a second of an annotated channel are made: as many as are wanted, or as many as the machine has time for. A lower rate that is kept is better to look at than a higher one with
 * holes, and leaves time to others. Pure but for what was seen.
 */

/** Since the camera was connected. */
export interface AnnotatedCounts {
  readonly annotated: number;
  readonly annotatedDropped: number;
}

/** Decided over so many pictures, or tries, at least, and so many ms. */
const PICTURES = 5;
const SPAN_MS = 2_000;
/** More of them left out than this is too many; the higher the class, the later it gives way. */
const DROPPED_MAX: Readonly<Record<Priority, number>> = {
  [Priority.low]: 0.05,
  [Priority.normal]: 0.1,
  [Priority.high]: 0.2,
  [Priority.critical]: 0.4,
};
/** As good as none; where it was so several times in a row the rate rises. */
const DROPPED_FEW = 0.02;
const CALM_TIMES = 3;
const FALL = 0.75;
const RISE = 1.25;
const FPS_MIN = 1;

export class AnnotatedRate {
  /** Of what is wanted. */
  #share = 1;
  #since: (AnnotatedCounts & { readonly atMs: number }) | undefined;
  #calm = 0;

  /** Pictures a second, of those that are wanted. */
  fps(wantedFps: number): number {
    return Math.min(wantedFps, Math.max(FPS_MIN, wantedFps * this.#share));
  }

  /** What was made, and what not, up to now. True: another rate is right from now on. */
  note(counts: AnnotatedCounts, atMs: number, priority: Priority, wantedFps: number): boolean {
    const since = this.#since;
    const made = counts.annotated - (since?.annotated ?? 0);
    const dropped = counts.annotatedDropped - (since?.annotatedDropped ?? 0);
    // Another connection has begun to count anew.
    if (!since || made < 0 || dropped < 0) {
      this.#since = { ...counts, atMs };
      return false;
    }
    if (made + dropped < PICTURES || atMs - since.atMs < SPAN_MS) return false;
    this.#since = { ...counts, atMs };
    const before = this.fps(wantedFps);
    const share = dropped / (made + dropped);
    this.#calm = share <= DROPPED_FEW ? this.#calm + 1 : 0;
    if (share > DROPPED_MAX[priority]) this.#share = (before / wantedFps) * FALL;
    else if (this.#calm >= CALM_TIMES) {
      this.#share = Math.min(1, this.#share * RISE);
      this.#calm = 0;
    }
    return this.fps(wantedFps) !== before;
  }

  /** Somebody watches, who did not: it begins with all that is wanted. */
  reset(): void {
    this.#share = 1;
    this.#calm = 0;
    this.#since = undefined;
  }
}
