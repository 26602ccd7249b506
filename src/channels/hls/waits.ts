import { SightlineError } from '../../base/errors.ts';

/** Requests that wait for what is to come, within bounds. */

/** A request. */
export interface Asker {
  /** Calls back when its client has gone, or has its answer. */
  onGone(listener: () => void): void;
}

/** Of all channels together. */
export class WaitPlaces {
  readonly #max: () => number;
  #taken = 0;
  #refused = 0;
  #timedOut = 0;

  constructor(max: () => number) {
    this.#max = max;
  }

  report(): { readonly waiting: number; readonly refused: number; readonly timedOut: number } {
    return { waiting: this.#taken, refused: this.#refused, timedOut: this.#timedOut };
  }

  /** Throws WAIT_LIMIT_REACHED. */
  take(): void {
    if (this.#taken < this.#max()) return void this.#taken++;
    this.#refused++;
    throw new SightlineError('WAIT_LIMIT_REACHED', `${this.#max()} requests wait for what is to come already`);
  }

  leave(): void {
    this.#taken--;
  }

  noteTimeout(): void {
    this.#timedOut++;
  }
}

interface Waiting {
  readonly isThere: () => boolean;
  readonly done: (error?: SightlineError) => void;
}

export class Waits {
  readonly #places: WaitPlaces;
  readonly #waiting = new Set<Waiting>();
  #failed: SightlineError | undefined;

  constructor(places: WaitPlaces) {
    this.#places = places;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** Resolves when it is there, the time is over, or the client has gone: whoever asks looks again. Errors: WAIT_LIMIT_REACHED, those of `fail`. */
  async until(isThere: () => boolean, timeoutMs: number, asker: Asker): Promise<void> {
    if (isThere()) return;
    if (this.#failed) throw this.#failed;
    this.#places.take();
    try {
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => {
          this.#places.noteTimeout();
          waiting.done();
        }, timeoutMs);
        const waiting: Waiting = {
          isThere,
          done: (error) => {
            clearTimeout(timer);
            this.#waiting.delete(waiting);
            if (error) reject(error);
            else resolve();
          },
        };
        this.#waiting.add(waiting);
        asker.onGone(() => waiting.done());
      });
    } finally {
      this.#places.leave();
    }
  }

  /** Something has come. */
  look(): void {
    for (const waiting of this.#waiting) if (waiting.isThere()) waiting.done();
  }

  /** Nothing more comes, for those who wait and those who would. */
  fail(error: SightlineError): void {
    this.#failed ??= error;
    for (const waiting of this.#waiting) waiting.done(error);
  }
}
