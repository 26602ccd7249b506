/**
 * Time as a dependency: Unix milliseconds with a fraction. Everything that decides by time takes a `Clock`, so that a
 * simulation can hand in its own.
 */
export interface Clock {
  now(): number;
}

/**
 * Wall time that never steps back: the process's start on the wall clock plus the monotonic time since. Threads of one
 * process agree to a few microseconds, so that a stage may begin in one thread and end in another.
 */
export const systemClock: Clock = {
  now: () => performance.timeOrigin + performance.now(),
};

/** A clock that stands still until it is told to move. For tests and simulations. */
export class ManualClock implements Clock {
  #nowMs: number;

  constructor(nowMs = 1_700_000_000_000) {
    this.#nowMs = nowMs;
  }

  now(): number {
    return this.#nowMs;
  }

  advance(byMs: number): void {
    this.#nowMs += byMs;
  }
}
