import type { Clock } from '../../base/clock.ts';
import { isBusy, restAfter } from '../../flow/batch-size.ts';

/**
 * When the next slice of a round is due: after the input of this turn of the event loop has been read, so that one turn's publications
 * become one batch; later when much is going on.
 */
export class RoundTimer {
  readonly #clock: Clock;
  readonly #settings: { readonly batchDelayMs: number };
  readonly #onDue: () => void;
  #isSet = false;
  #rest: NodeJS.Timeout | undefined;
  /** Of the round: what it has taken so far, the time before it in which there was nothing to do, and its messages of each topic. */
  #spentMs = 0;
  #idleMs = 0;
  #density = 0;
  #isAfterBusy = false;
  #restUntilMs = 0;

  /** `batchDelayMs`: the longest rest between rounds. */
  constructor(clock: Clock, settings: { readonly batchDelayMs: number }, onDue: () => void) {
    this.#clock = clock;
    this.#settings = settings;
    this.#onDue = onDue;
  }

  /** `isMidRound`: a round is under way, and goes on without a rest. */
  set(isMidRound: boolean): void {
    if (this.#isSet) return;
    this.#isSet = true;
    const restMs = isMidRound ? 0 : this.#restUntilMs - this.#clock.now();
    if (restMs > 0) this.#rest = setTimeout(this.#onTime, restMs);
    else setImmediate(this.#onTime);
  }

  /** A round begins. `density`: messages of each topic that has any. */
  begin(nowMs: number, density: number): void {
    this.#idleMs = nowMs - this.#restUntilMs;
    this.#density = density;
    this.#spentMs = 0;
  }

  /** A slice of the round took so long. */
  spend(ms: number): void {
    this.#spentMs += ms;
  }

  /** The round is over: the next one begins after a rest. */
  end(nowMs: number): void {
    const round = {
      tookMs: this.#spentMs,
      idleMs: this.#idleMs,
      isAfterBusy: this.#isAfterBusy,
      messages: this.#density,
    };
    this.#isAfterBusy = isBusy(round);
    this.#restUntilMs = nowMs + restAfter(round, this.#settings.batchDelayMs);
  }

  close(): void {
    clearTimeout(this.#rest);
  }

  readonly #onTime = (): void => {
    this.#isSet = false;
    this.#onDue();
  };
}
