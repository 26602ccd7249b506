/**
 * How much of their shares of the engine many cameras use. Pictures of many come at odds with each other, and the machine does other things beside: with all of the engine used each
 * picture would wait for some others, and results would be late. So as much is used as leaves nearly all results in time. Pure but for what was seen.
 */

/** A result is late when it has taken longer than so many runs of the model, from the frame's arrival: it has to be with its viewer within four. */
const LATE_RUNS = 3.3;
/** Of all results so many may be. A little less than that is no reason for more. */
const LATE_MAX = 0.05;
const LATE_FEW = 0.03;
/** Decided once so many results have come. */
const RESULTS = 100;

const FIRST = 0.65;
const LEAST = 0.15;
const FALL = 0.8;
const RISE = 1.05;

export class PictureShare {
  #used = FIRST;
  #runsMs: number[] = [];
  #tookMs: number[] = [];

  /** 0 to 1. */
  get used(): number {
    return this.#used;
  }

  /** A result has come so long after its frame; a worker was at it for so long. */
  note(tookMs: number, runMs: number): void {
    this.#tookMs.push(tookMs);
    this.#runsMs.push(runMs);
    if (this.#tookMs.length < RESULTS) return;
    const medianMs = this.#runsMs.toSorted((a, b) => a - b)[RESULTS / 2]!;
    const lateMs = LATE_RUNS * medianMs;
    const late = this.#tookMs.filter((ms) => ms > lateMs).length / RESULTS;
    if (late > LATE_MAX) this.#used = Math.max(LEAST, this.#used * FALL);
    else if (late < LATE_FEW) this.#used = Math.min(1, this.#used * RISE);
    this.#tookMs = [];
    this.#runsMs = [];
  }
}
