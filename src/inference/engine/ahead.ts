/**
 * When to hand the next job to a busy worker. A job in a worker is out of the scheduler's reach, and waits there while a
 * newer or more important one may come; too late, and the worker idles for the time that a message takes. So the worker gets the
 * next job shortly before the running one is expected to end.
 */

/** Shorter runs are over before a timer is worth it. */
const RUN_MS_MIN = 8;
/** How long before the expected end, and as a share: timers are late, messages take their time on a busy machine, and runs vary. */
const LEAD_MS = 4;
const LEAD_SHARE = 0.25;
const LEARNING = 0.2;

export class Ahead {
  readonly #onOpen: () => void;
  #runMs = 0;
  /** Of the current run, when it takes far longer than others. */
  #longMs: number | undefined;
  #startedMs: number | undefined;
  #isOpen = true;
  #timer: NodeJS.Timeout | undefined;

  /** Calls `onOpen` when the current run lets the next job in. */
  constructor(onOpen: () => void) {
    this.#onOpen = onOpen;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Recent time of a run; 0 before the first one has ended. */
  get runMs(): number {
    return this.#runMs;
  }

  /** Time until the current run is expected to end; 0 when there is none, or it is overdue. A long one always has some time to go. */
  get leftMs(): number {
    if (this.#startedMs === undefined) return 0;
    const leftMs = (this.#longMs ?? this.#runMs) - (performance.now() - this.#startedMs);
    return Math.max(this.#longMs === undefined ? 0 : this.#runMs, leftMs);
  }

  /**
   * A run has ended, if there was one, and the next one has begun (`isBusy`), or none has. `isUsual`: the ended one is a measure for
   * others. `longMs`: how long the next one takes, where that is far longer than others; it lets no job in before its end.
   */
  turn(isBusy: boolean, isUsual = true, longMs?: number): void {
    const nowMs = performance.now();
    if (this.#startedMs !== undefined && isUsual) this.#learn(nowMs - this.#startedMs);
    clearTimeout(this.#timer);
    this.#startedMs = isBusy ? nowMs : undefined;
    this.#longMs = longMs;
    this.#isOpen = !isBusy || (longMs === undefined && this.#runMs < RUN_MS_MIN);
    if (this.#isOpen || longMs !== undefined) return;
    const inMs = this.#runMs - Math.max(LEAD_MS, LEAD_SHARE * this.#runMs);
    this.#timer = setTimeout(() => {
      this.#isOpen = true;
      this.#onOpen();
    }, inMs);
  }

  #learn(runMs: number): void {
    this.#runMs += (this.#runMs === 0 ? 1 : LEARNING) * (runMs - this.#runMs);
  }
}
