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

export interface Taken {
  /** What was done: the same pipelines with the same model take alike. */
  readonly work: string;
  /** From the frame's arrival. */
  readonly tookMs: number;
  /** A worker was at it for so long. */
  readonly runMs: number;
}

export class PictureShare {
  #used = FIRST;
  #results: Taken[] = [];

  /** 0 to 1. */
  get used(): number {
    return this.#used;
  }

  /** The work on a frame is done. */
  note(done: Taken): void {
    this.#results.push(done);
    if (this.#results.length < RESULTS) return;
    const kinds = Map.groupBy(this.#results, ({ work }) => work);
    const late = [...kinds.values()].reduce((sum, ofKind) => sum + lateOf(ofKind), 0) / RESULTS;
    if (late > LATE_MAX) this.#used = Math.max(LEAST, this.#used * FALL);
    else if (late < LATE_FEW) this.#used = Math.min(1, this.#used * RISE);
    this.#results = [];
  }
}

/** Of results of one kind of work, those that are late by what such work takes. */
function lateOf(results: readonly Taken[]): number {
  const runsMs = results.map(({ runMs }) => runMs).toSorted((a, b) => a - b);
  const lateMs = LATE_RUNS * runsMs[Math.floor(runsMs.length / 2)]!;
  return results.filter(({ tookMs }) => tookMs > lateMs).length;
}
