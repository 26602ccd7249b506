/**
 * How much to ask of a shared resource so that its queue stays short: the same loop serves the link of a session (bits a second) and
 * the inference engine (frames a second). In the manner of NADA (RFC 8698) it rises at a set pace while
 * there is no queue and falls in proportion to the queue; unlike NADA it also knows the capacity of the resource, since every
 * frame measures both, and never asks for more than a share of that.
 *
 * Several loops on one resource share it evenly in the long run: all rise by the same amount in a second (of the peak, which
 * they all have seen) and fall by the same factor (Chiu and Jain, "Analysis of the increase and decrease algorithms", 1989).
 *
 * Pure; the unit of rate is the caller's.
 */

export interface RateLoopSettings {
  /** Rate before anything is known. */
  readonly initial: number;
  readonly min: number;
  /** Share of the capacity to ask for while there is no queue. */
  readonly headroom: number;
}

export interface RateLoopInput {
  readonly nowMs: number;
  /** Waiting time at the resource now. */
  readonly queueMs: number;
  /** A shorter wait counts as none: it is jitter, or keeps the resource from idling. */
  readonly quietMs: number;
  /** Throughput of the resource when it is busy; undefined: not known yet. */
  readonly capacity: number | undefined;
  /** Its recent peak. */
  readonly peak: number | undefined;
}

/** A queue must be gone in this time: the rate is lowered by what that takes. */
const DRAIN_MS = 250;
const DRAIN_SHARE_MAX = 0.8;
/** Share of the peak, a second: from half of a link to all of it in a second and a half. */
const RISE_PER_S = 0.4;
/** A queue of this length makes the rate fall by the factor e in `FALL_MS`. */
const FALL_QUEUE_MS = 20;
const FALL_MS = 500;
const FALL_SPEED_MAX = 3;
/** While there is a queue its service rate is known, so there is no reason to fall further than empties the queue soon. */
const FALL_FLOOR = 0.8;
/** After a pause nothing is known of the time between: it counts as this long. */
const STEP_MS_MAX = 200;
/** While nothing is known of the resource the rate rises, up to this bound. */
const RATE_MAX = 1e12;

export class RateLoop {
  readonly #settings: RateLoopSettings;
  #rate: number;
  #drained = 1;
  #lastMs: number | undefined;

  constructor(settings: RateLoopSettings) {
    this.#settings = settings;
    this.#rate = settings.initial;
  }

  /** The rate to ask for now. */
  get rate(): number {
    return Math.max(this.#settings.min, this.#rate * this.#drained);
  }

  /** The same without the part held back to drain a queue: the basis of slow decisions. */
  get steadyRate(): number {
    return this.#rate;
  }

  update({ nowMs, queueMs, quietMs, capacity, peak }: RateLoopInput): number {
    const stepS = Math.min(STEP_MS_MAX, Math.max(0, nowMs - (this.#lastMs ?? nowMs))) / 1000;
    this.#lastMs = nowMs;
    const excessMs = Math.max(0, queueMs - quietMs);
    if (excessMs === 0) this.#rate += RISE_PER_S * (peak ?? this.#rate) * stepS;
    else {
      const speed = Math.min(FALL_SPEED_MAX, excessMs / FALL_QUEUE_MS) * (1000 / FALL_MS);
      const floor = Math.min(this.#rate, FALL_FLOOR * (capacity ?? 0));
      this.#rate = Math.max(floor, this.#rate * Math.exp(-speed * stepS));
    }
    if (capacity !== undefined) this.#rate = Math.min(this.#rate, this.#settings.headroom * capacity);
    this.#rate = Math.min(RATE_MAX, Math.max(this.#settings.min, this.#rate));
    this.#drained = 1 - Math.min(DRAIN_SHARE_MAX, excessMs / DRAIN_MS);
    return this.rate;
  }
}
