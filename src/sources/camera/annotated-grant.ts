import { Priority } from '../../base/sample.ts';

/**
 * How many pictures a second of an annotated channel are made, and how large they are: as is wanted, or as the machine has time for. A lower rate that is kept is better to look at than a
 * higher one with holes, and leaves time to others. Pure but for what was seen.
 */

/** Since the camera was connected. */
export interface AnnotatedCounts {
  readonly annotated: number;
  readonly annotatedDropped: number;
}

export interface AnnotatedForm {
  readonly fps: number;
  /** The longer side of its pictures, pixels, at most. */
  readonly side: number;
}

/** Shares of what is wanted. Half of the rate goes first, since another size is seen at once, and players begin a picture anew for it. */
const RUNGS: readonly { readonly fps: number; readonly side: number }[] = [
  { fps: 1, side: 1 },
  { fps: 0.75, side: 1 },
  { fps: 0.5, side: 1 },
  { fps: 0.5, side: 0.75 },
  { fps: 0.35, side: 0.75 },
  { fps: 0.35, side: 0.5 },
  { fps: 0.25, side: 0.5 },
  { fps: 0.15, side: 0.5 },
  { fps: 0, side: 0.5 },
];
const FPS_MIN = 1;
/** Smaller pictures cost hardly less. */
const SIDE_MIN = 320;
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
/** As good as none; where it was so several times in a row the next rung is tried. */
const DROPPED_FEW = 0.02;
const CALM_TIMES = 3;
/** Twice as long each time that the next rung was too much: up to a few minutes. */
const CALM_TIMES_MAX = 96;

export class AnnotatedGrant {
  #rung = 0;
  #since: (AnnotatedCounts & { readonly atMs: number }) | undefined;
  #calm = 0;
  #patience = CALM_TIMES;
  /** It has risen to this rung, and was not there for long yet. */
  #isTrying = false;

  form(wanted: AnnotatedForm): AnnotatedForm {
    const { fps, side } = RUNGS[this.#rung]!;
    return {
      fps: Math.min(wanted.fps, Math.max(FPS_MIN, wanted.fps * fps)),
      side: Math.min(wanted.side, Math.max(SIDE_MIN, Math.round(wanted.side * side))),
    };
  }

  /** What was made, and what not, up to now. True: something else may be right from now on. */
  note(counts: AnnotatedCounts, atMs: number, priority: Priority): boolean {
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
    const before = this.#rung;
    const share = dropped / (made + dropped);
    this.#calm = share <= DROPPED_FEW ? this.#calm + 1 : 0;
    if (share > DROPPED_MAX[priority]) this.#fall();
    else if (this.#calm >= this.#patience) this.#rise();
    return this.#rung !== before;
  }

  /** Somebody watches, who did not: it begins with all that is wanted. */
  reset(): void {
    this.#rung = 0;
    this.#since = undefined;
    this.#calm = 0;
    this.#patience = CALM_TIMES;
    this.#isTrying = false;
  }

  #fall(): void {
    if (this.#isTrying) this.#patience = Math.min(CALM_TIMES_MAX, this.#patience * 2);
    this.#isTrying = false;
    this.#rung = Math.min(RUNGS.length - 1, this.#rung + 1);
  }

  #rise(): void {
    // The last rise was no mistake.
    if (this.#isTrying) this.#patience = CALM_TIMES;
    this.#calm = 0;
    this.#isTrying = this.#rung > 0;
    this.#rung = Math.max(0, this.#rung - 1);
  }
}
