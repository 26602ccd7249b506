/** What a frame of one kind of work (certain programs with certain models) takes, as learned from those that are done. Pure. */

/** Weight of one frame. */
const LEARNING = 0.1;
/** Hardly any frame takes longer than the mean and so many mean deviations, as time-outs are estimated (Jacobson, 1988). */
const DEVIATIONS = 2;

export class WorkCost {
  #costMs: number | undefined;
  #serviceMs: number | undefined;
  /** Mean deviation from it. */
  #deviationMs = 0;

  /**
   * `promisedMs`: what the first runs of its models let expect, worker milliseconds. Learning begins there: a first frame that
   * finds everything cold says little of the next ones.
   */
  constructor(promisedMs?: number) {
    this.#costMs = promisedMs;
  }

  /** Worker milliseconds; undefined: nothing is known. */
  get costMs(): number | undefined {
    return this.#costMs;
  }

  /** From handed to a worker to done, ms; 0 before the first one. */
  get serviceMs(): number {
    return this.#serviceMs ?? 0;
  }

  /** By how much more one may take that takes long, ms. */
  get slackMs(): number {
    return DEVIATIONS * this.#deviationMs;
  }

  /** A frame is done: it took so much of a worker, and so long since it was handed to it. */
  observe(workerMs: number, tookMs: number): void {
    this.#costMs = learn(this.#costMs, workerMs);
    const errorMs = this.#serviceMs === undefined ? 0 : Math.abs(tookMs - this.#serviceMs);
    this.#serviceMs = learn(this.#serviceMs, tookMs);
    this.#deviationMs = learn(this.#deviationMs, errorMs);
  }
}

function learn(known: number | undefined, measured: number): number {
  return known === undefined ? measured : known + LEARNING * (measured - known);
}
