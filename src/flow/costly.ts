import type { Demand } from './share.ts';
import { Priority } from '../base/sample.ts';

/**
 * Pictures that hold a worker for far longer than their kind of work does, and sessions that send them. A picture's header tells
 * what decoding it will cost, so such a picture is known before it costs anything. Pure.
 */

/** Times the expected cost of its kind of work from which on a picture is dear. */
const DEAR_TIMES = 1.5;
/** A worker that is held for less than this holds up nobody for long, ms. */
const DEAR_MS_MIN = 40;
/** A source is costly for so long after its last dear picture. */
export const COSTLY_MS = 10_000;

/** Nominal cost of decoding above which a picture is dear, ms. `promisedMs`: cost of a frame by the first runs of its models, if it is known. */
export function dearFrom(promisedMs = 0): number {
  return Math.max(DEAR_MS_MIN, DEAR_TIMES * promisedMs);
}

/** Dear pictures that the engine may have at once while others need it: one worker is left to those. */
export function dearMax(workers: number): number {
  return Math.max(1, workers - 1);
}

/** The part of the workers' time that costly sources may have together while others need it. */
export function costlyShare(workers: number): number {
  return dearMax(workers) / Math.max(2, workers);
}

/** A class means that frames are urgent, not that they may cost more: a dear one has none above normal. */
export function classOfDear(priority: Priority): Priority {
  return Math.min(priority, Priority.normal) as Priority;
}

export function demandOfCostly<D extends Demand>(demand: D): D {
  return { ...demand, priority: classOfDear(demand.priority) };
}

/** Grants are told after a moment, and sources are never quite even. */
const ROOM = 1.25;
/** Dear frames that may come at once. */
const BURST = 2;
/** A source may be over its grant for so long before it is held to it. */
const PATIENCE_MS = 2_000;
/** Time within its grant after which it is held no longer. */
const FORGIVE_MS = 5_000;

/** Holds a source of dear frames to its grant, once it has been over it for a while. */
export class CostlyGate {
  #tokens = BURST;
  #atMs: number | undefined;
  /** The first frame over the grant since it last kept to it. */
  #overSinceMs: number | undefined;
  #lastOverMs = -Infinity;

  /** Is it held to its grant? */
  isHeld(nowMs: number): boolean {
    return this.#overSinceMs !== undefined && nowMs - this.#overSinceMs >= PATIENCE_MS && !this.#isForgiven(nowMs);
  }

  /** A dear frame came, of a source that is granted so many a second: may it wait for a worker? */
  admits(nowMs: number, rateFps: number): boolean {
    const elapsedMs = Math.max(0, nowMs - (this.#atMs ?? nowMs));
    this.#atMs = Math.max(nowMs, this.#atMs ?? nowMs);
    this.#tokens = Math.min(BURST, this.#tokens + (elapsedMs / 1000) * rateFps * ROOM);
    if (this.#isForgiven(nowMs)) this.#overSinceMs = undefined;
    if (this.#tokens >= 1) {
      this.#tokens -= 1;
      return true;
    }
    this.#overSinceMs ??= nowMs;
    this.#lastOverMs = nowMs;
    return !this.isHeld(nowMs);
  }

  #isForgiven(nowMs: number): boolean {
    return nowMs - this.#lastOverMs >= FORGIVE_MS;
  }
}
