/** Learned cost of a frame of one kind of work (certain programs with certain models). Pure. */

/** Weight of one frame in its times. */
const LEARNING = 0.1;
/**
 * Least weight of one frame in the cost, which is the mean of the first ones. Small, since frames of one kind differ: a picture in which hands are
 * searched for costs three times one in which they are followed. With a larger weight grants would sway with every search.
 */
const COST_LEARNING = 0.03;
/** A promise weighs as much as this many frames. */
const PROMISED_FRAMES = 9;
/** Hardly any frame takes longer than the mean and this many mean deviations, as time-outs are estimated (Jacobson, 1988). */
const DEVIATIONS = 2;

export class WorkCost {
  #costMs: number | undefined;
  /** Of that, the decoding of the pictures. */
  #decodeMs = 0;
  /** Frames that the cost is the mean of. */
  #frames = 0;
  #serviceMs: number | undefined;
  /** Mean deviation from it. */
  #deviationMs = 0;

  /**
   * `promisedMs`: cost expected from the first runs of its models, worker milliseconds. Learning begins there: a first frame with
   * cold caches says little of the next ones.
   */
  constructor(promisedMs?: number) {
    this.#costMs = promisedMs;
    if (promisedMs !== undefined) this.#frames = PROMISED_FRAMES;
  }

  /** Worker milliseconds; undefined: nothing is known. */
  get costMs(): number | undefined {
    return this.#costMs;
  }

  /** The same for a source whose pictures take this long to decode: the rest is alike for all of the kind. */
  costWith(decodeMs: number): number | undefined {
    return this.#costMs === undefined ? undefined : this.#costMs - this.#decodeMs + decodeMs;
  }

  /** From handed to a worker to done, ms; 0 before the first one. */
  get serviceMs(): number {
    return this.#serviceMs ?? 0;
  }

  /** How much more a slow frame may take, ms. */
  get slackMs(): number {
    return DEVIATIONS * this.#deviationMs;
  }

  /** A frame is done: it used this much worker time, `decodeMs` of it for decoding, and was done this long after it was handed to the worker. */
  observe(workerMs: number, tookMs: number, decodeMs = 0): void {
    const weight = Math.max(COST_LEARNING, 1 / ++this.#frames);
    this.#costMs = learn(this.#costMs, workerMs, weight);
    this.#decodeMs = learn(this.#decodeMs, decodeMs, weight);
    const errorMs = this.#serviceMs === undefined ? 0 : Math.abs(tookMs - this.#serviceMs);
    this.#serviceMs = learn(this.#serviceMs, tookMs);
    this.#deviationMs = learn(this.#deviationMs, errorMs);
  }
}

function learn(known: number | undefined, measured: number, weight = LEARNING): number {
  return known === undefined ? measured : known + weight * (measured - known);
}
