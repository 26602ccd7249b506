import type { Clock } from '../../base/clock.ts';

const RETRY_MS = 2_000;

/** Whether something outside works, and when it may be tried again. It is told of every try. */
export class Outage {
  readonly #clock: Clock;
  readonly #onChanged: (reason: string | undefined) => void;
  #reason: string | undefined;
  #failedMs = -Infinity;

  /** `onChanged`: it fails for this reason, or works again (undefined). */
  constructor(clock: Clock, onChanged: (reason: string | undefined) => void) {
    this.#clock = clock;
    this.#onChanged = onChanged;
  }

  get mayTry(): boolean {
    return this.#reason === undefined || this.#clock.now() - this.#failedMs >= RETRY_MS;
  }

  failed(reason: string): void {
    this.#failedMs = this.#clock.now();
    const isNew = this.#reason === undefined;
    this.#reason = reason;
    if (isNew) this.#onChanged(reason);
  }

  worked(): void {
    if (this.#reason === undefined) return;
    this.#reason = undefined;
    this.#onChanged(undefined);
  }

  report() {
    return { state: this.#reason === undefined ? 'working' : 'failing', reason: this.#reason } as const;
  }
}
