import type { Clock } from '../../src/base/clock.ts';

/**
 * A clock that goes on whenever it is read, and never else: whatever lies between two readings takes equally long, runs of one
 * picture and of many.
 */
export class RunawayClock implements Clock {
  stepMs = 1;
  #nowMs = 1_000_000;

  now(): number {
    this.#nowMs += this.stepMs;
    return this.#nowMs;
  }
}
