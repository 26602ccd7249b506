import type { Clock } from '../base/clock.ts';

const TICK_MS = 250;
const TICKS_PER_REPORT = 4;
/** Usual lateness of a timer on a healthy machine: less is not worth a report. */
const REPORT_FROM_MS = 10;
const HZ_MIN = 1;
const RECOVERY = 1.25;
/** Below this part of the allowed lag the rate goes up again. */
const CALM = 0.25;

/** The rate to ask for: half of it at once when the program lags, more again step by step when it does not. Pure. */
export function adaptedHz(hz: number, wantedHz: number, lagMs: number, lagMaxMs: number): number {
  if (lagMs > lagMaxMs) return Math.max(Math.min(HZ_MIN, wantedHz), hz / 2);
  return lagMs < lagMaxMs * CALM ? Math.min(wantedHz, hz * RECOVERY) : hz;
}

/**
 * How far a program is behind in its own processing: the age of its waiting items, or the lateness of a timer, which shows
 * an event loop that is held up. Reports the worst of each second while there is something to report, and the end of it.
 */
export class LagMeter {
  readonly #clock: Clock;
  readonly #waitedMs: (nowMs: number) => number;
  readonly #onSecond: (lagMs: number) => void;
  readonly #report: (lagMs: number) => void;
  #timer: ReturnType<typeof setInterval> | undefined;
  #lastTickMs = 0;
  #ticks = 0;
  #worstMs = 0;
  #reportedMs = 0;

  constructor(parts: {
    readonly clock: Clock;
    readonly waitedMs: (nowMs: number) => number;
    /** Each second, with the worst lag of it. */
    readonly onSecond: (lagMs: number) => void;
    readonly report: (lagMs: number) => void;
  }) {
    this.#clock = parts.clock;
    this.#waitedMs = parts.waitedMs;
    this.#onSecond = parts.onSecond;
    this.#report = parts.report;
  }

  /** The lag last reported, ms. */
  get lagMs(): number {
    return this.#reportedMs;
  }

  start(): void {
    this.stop();
    this.#lastTickMs = this.#clock.now();
    this.#timer = setInterval(() => this.tick(), TICK_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** One look; called by the timer. */
  tick(): void {
    const nowMs = this.#clock.now();
    // Browsers slow the timers of hidden pages down, which says nothing about their messages.
    const lateMs = isHidden() ? 0 : nowMs - this.#lastTickMs - TICK_MS;
    this.#lastTickMs = nowMs;
    this.#worstMs = Math.max(this.#worstMs, lateMs, this.#waitedMs(nowMs));
    if (++this.#ticks % TICKS_PER_REPORT !== 0) return;
    const lagMs = this.#worstMs >= REPORT_FROM_MS ? Math.round(this.#worstMs) : 0;
    this.#worstMs = 0;
    this.#onSecond(lagMs);
    if (lagMs === 0 && this.#reportedMs === 0) return;
    this.#reportedMs = lagMs;
    this.#report(lagMs);
  }
}

function isHidden(): boolean {
  return (globalThis as { document?: { hidden: boolean } }).document?.hidden === true;
}
