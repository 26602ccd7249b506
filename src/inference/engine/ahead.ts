/**
 * When the next job may be handed to a worker that is busy. A job in a worker is out of the scheduler's reach, and waits there while a
 * newer or more important one may come; too late, and the worker idles for the time that a message takes. So the next one is let
 * in shortly before the running one is expected to end.
 */

/** Runs that are shorter are over before a timer is worth it. */
const RUN_MS_MIN = 8;
/** Timers are late, messages take their time on a busy machine, and runs are not all alike: so long before the end, and this share. */
const LEAD_MS = 4;
const LEAD_SHARE = 0.25;
const LEARNING = 0.2;

export class Ahead {
  readonly #onOpen: () => void;
  #runMs = 0;
  #startedMs: number | undefined;
  #isOpen = true;
  #timer: NodeJS.Timeout | undefined;

  /** `onOpen` is called when a run that goes on lets the next job in. */
  constructor(onOpen: () => void) {
    this.#onOpen = onOpen;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** What a run takes, of late; 0 before the first one has ended. */
  get runMs(): number {
    return this.#runMs;
  }

  /** Until the run that goes on is expected to end; 0 when none does, or it is overdue. */
  get leftMs(): number {
    return this.#startedMs === undefined ? 0 : Math.max(0, this.#runMs - (performance.now() - this.#startedMs));
  }

  /**
   * A run has ended, if one was going on, and the next one has begun (`isBusy`), or none has. `isUsual`: the one that has ended says what
   * others will take.
   */
  turn(isBusy: boolean, isUsual = true): void {
    const nowMs = performance.now();
    if (this.#startedMs !== undefined && isUsual) this.#learn(nowMs - this.#startedMs);
    clearTimeout(this.#timer);
    this.#startedMs = isBusy ? nowMs : undefined;
    this.#isOpen = !isBusy || this.#runMs < RUN_MS_MIN;
    if (this.#isOpen) return;
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
