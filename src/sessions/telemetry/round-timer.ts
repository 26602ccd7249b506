import type { Clock } from '../../base/clock.ts';
import { restAfter } from '../../flow/batch-size.ts';

/** When the next part of a round is due: after the turn's input has been read, so that one turn's publications become one batch; later when much is going on. */
export class RoundTimer {
  readonly #clock: Clock;
  readonly #settings: { readonly batchDelayMs: number };
  readonly #onDue: () => void;
  #isSet = false;
  #rest: NodeJS.Timeout | undefined;
  /** What the round has taken so far, ms. */
  #spentMs = 0;
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

  /** A part of the round took so long. */
  spend(ms: number): void {
    this.#spentMs += ms;
  }

  /** The round is over. `density`: messages that it had of each topic. */
  rest(nowMs: number, density: number): void {
    this.#restUntilMs = nowMs + restAfter(this.#spentMs, density, this.#settings.batchDelayMs);
    this.#spentMs = 0;
  }

  close(): void {
    clearTimeout(this.#rest);
  }

  readonly #onTime = (): void => {
    this.#isSet = false;
    this.#onDue();
  };
}
