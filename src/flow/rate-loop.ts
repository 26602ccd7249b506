/**
 * How much a shared resource is asked to carry, so that its queue stays short: the link of a session (bits a second) and the
 * inference engine (frames a second) are held by the same loop. In the manner of NADA (RFC 8698) it rises at a set pace while
 * there is no queue and gives way in proportion to the queue; unlike NADA it also knows what the resource can carry, since both
 * are measured by every frame, and never asks for more than a share of that.
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
  /** Share of the capacity that is asked for when no queue stands. */
  readonly headroom: number;
}

export interface RateLoopInput {
  readonly nowMs: number;
  /** Waiting time at the resource now. */
  readonly queueMs: number;
  /** A shorter one is none: jitter, or what keeps the resource from idling. */
  readonly quietMs: number;
  /** What the resource carries when it is busy; undefined: not known yet. */
  readonly capacity: number | undefined;
  /** The most that it carried of late. */
  readonly peak: number | undefined;
}

/** A queue is to be gone in so long: the rate is lowered by what that takes. */
const DRAIN_MS = 250;
const DRAIN_SHARE_MAX = 0.8;
/** Of the peak, a second: from half of a link to all of it in a second and a half. */
const RISE_PER_S = 0.4;
/** A queue of this length makes the rate fall by the factor e in `FALL_MS`. */
const FALL_QUEUE_MS = 20;
const FALL_MS = 500;
const FALL_SPEED_MAX = 3;
/** While a queue stands its service rate is known, so that there is no reason to fall further than what empties the queue soon. */
const FALL_FLOOR = 0.8;
/** After a pause nothing is known of the time between: it counts as this much. */
const STEP_MS_MAX = 200;
/** While nothing is known of the resource the rate rises, but not for ever. */
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

  /** To be asked for now. */
  get rate(): number {
    return Math.max(this.#settings.min, this.#rate * this.#drained);
  }

  /** The same without what is held back until a queue has drained: what slow decisions rest on. */
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
