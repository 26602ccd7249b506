/**
 * Time as a dependency. Everything that decides by time takes a `Clock`, so that a simulation can pass in its own.
 *
 * There are two kinds of time here. *Durations*, deadlines and the order of things are taken from `now()`, which never steps.
 * *Times of day*, which go to and come from people and other machines, are the wall clock's: that can be set at any moment
 * (NTP after the start, a person, a laptop that wakes up). Both are Unix milliseconds with a fraction, and the same until
 * the wall clock is set. Where a time leaves the process or enters it, it is converted: `wallTimeMs`, `ownTimeMs`.
 */
export interface Clock {
  now(): number;
  /** How far the wall clock is ahead of `now()` at this moment, ms. Left out: never at all. */
  wallAheadMs?(): number;
}

/** How far the wall clock is ahead of `clock.now()`, ms. */
export function wallAheadMs(clock: Clock): number {
  return clock.wallAheadMs?.() ?? 0;
}

/** The time of day at a moment of the clock, Unix ms. */
export function wallTimeMs(clock: Clock, timeMs = clock.now()): number {
  return timeMs + wallAheadMs(clock);
}

/** The moment of the clock at a time of day. */
export function ownTimeMs(clock: Clock, wallMs: number): number {
  return wallMs - wallAheadMs(clock);
}

/** Clocks that differ by less count as equal: timers are coarse in some browsers. A step that NTP makes is 128 ms or more. */
const STEP_MS_MIN = 20;

/** The platform's clocks: the wall clock in whole milliseconds, and a time that never steps. */
export interface TimeReadings {
  readonly wallMs: () => number;
  readonly monotonicMs: () => number;
}

/**
 * `now()`: the process's start on the wall clock plus the monotonic time since. Threads of one process agree to a few
 * microseconds, so that a stage may begin in one thread and end in another, even if the wall clock is set between.
 */
export class SteadyClock implements Clock {
  readonly now: () => number;
  readonly #wallMs: () => number;
  #aheadMs = 0;
  #wallSteps = 0;

  constructor({ wallMs, monotonicMs }: TimeReadings) {
    this.now = monotonicMs;
    this.#wallMs = wallMs;
  }

  wallAheadMs(): number {
    const beforeMs = this.now() + this.#aheadMs;
    const wallMs = this.#wallMs();
    const afterMs = this.now() + this.#aheadMs;
    // It was somewhere between both readings, and in that millisecond: a thread that is put off in between proves nothing.
    const wasSet = wallMs - STEP_MS_MIN > afterMs || wallMs + 1 + STEP_MS_MIN < beforeMs;
    if (wasSet) {
      this.#wallSteps++;
      this.#aheadMs += wallMs + 0.5 - (beforeMs + afterMs) / 2;
    }
    return this.#aheadMs;
  }

  /** Times that the wall clock was found at another time than it should have had. */
  get wallSteps(): number {
    return this.#wallSteps;
  }
}

/** Of this thread; a getter of the platform, asked once. */
const { timeOrigin } = performance;

export const systemClock = new SteadyClock({
  wallMs: () => Date.now(),
  monotonicMs: () => timeOrigin + performance.now(),
});

/** A clock that stands still until the caller moves it. For tests and simulations. */
export class ManualClock implements Clock {
  #nowMs: number;
  #aheadMs = 0;

  constructor(nowMs = 1_700_000_000_000) {
    this.#nowMs = nowMs;
  }

  now(): number {
    return this.#nowMs;
  }

  wallAheadMs(): number {
    return this.#aheadMs;
  }

  advance(byMs: number): void {
    this.#nowMs += byMs;
  }

  /** Sets the wall clock. */
  stepWall(byMs: number): void {
    this.#aheadMs += byMs;
  }
}
