import type { Clock } from '../../base/clock.ts';

/** Calls back for each item at its moment, with one timer for all. */
export class WakeUps<T> {
  readonly #clock: Clock;
  readonly #onDue: (item: T) => void;
  /** In ms of the clock. */
  readonly #moments = new Map<T, number>();
  #timer: NodeJS.Timeout | undefined;
  #timerMs = Infinity;

  constructor(clock: Clock, onDue: (item: T) => void) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  /** At this moment, or at an earlier one that was asked for before. */
  at(item: T, timeMs: number): void {
    const before = this.#moments.get(item);
    if (before !== undefined && before <= timeMs) return;
    this.#moments.set(item, timeMs);
    if (timeMs < this.#timerMs) this.#setTimer(timeMs);
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #setTimer(timeMs: number): void {
    clearTimeout(this.#timer);
    this.#timerMs = timeMs;
    this.#timer = setTimeout(() => this.#wake(), Math.max(0, timeMs - this.#clock.now()));
  }

  #wake(): void {
    const nowMs = this.#clock.now();
    this.#timerMs = Infinity;
    let nextMs = Infinity;
    for (const [item, timeMs] of this.#moments) {
      // A timer may fire a little before its time.
      if (timeMs > nowMs + 1) {
        nextMs = Math.min(nextMs, timeMs);
        continue;
      }
      this.#moments.delete(item);
      this.#onDue(item);
    }
    if (nextMs < Infinity) this.#setTimer(nextMs);
  }
}
