/** Learned cost of a frame of one kind of work (certain programs with certain models). Pure. */

/** Weight of one frame. */
const LEARNING = 0.1;
/** Hardly any frame takes longer than the mean and this many mean deviations, as time-outs are estimated (Jacobson, 1988). */
const DEVIATIONS = 2;

export class WorkCost {
  #costMs: number | undefined;
  #serviceMs: number | undefined;
  /** Mean deviation from it. */
  #deviationMs = 0;

  /**
   * `promisedMs`: cost expected from the first runs of its models, worker milliseconds. Learning begins there: a first frame with
   * cold caches says little of the next ones.
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

  /** How much more a slow frame may take, ms. */
  get slackMs(): number {
    return DEVIATIONS * this.#deviationMs;
  }

  /** A frame is done: it used this much worker time, this long after it was handed to the worker. */
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
