import { SightlineError, type ErrorCode } from '../../base/errors.ts';
import type { Clock } from '../../base/clock.ts';
import type { Still } from './feed.ts';

export interface StillsOptions {
  readonly clock: Clock;
  /** Asks the process; false: it cannot be asked. */
  readonly ask: (request: number, widthMax: number) => boolean;
}

interface Asked {
  readonly width: number;
  readonly answer: PromiseWithResolvers<Still>;
  readonly timer: NodeJS.Timeout;
}

/** One of this age is as good as a new one. */
const AGE_MAX_MS = 1_000;
const TIMEOUT_MS = 5_000;
/** Widths that are asked for at once, and of which the last one is kept: a wall and a page need two or three. */
const WIDTHS_MAX = 8;
/** Requests of nearly the same width are one. */
const WIDTH_STEP = 16;
const WIDTH_MAX = 8_192;

/** Stills of one camera: one request for each width at a time, whoever asks, and its answer for all who ask within a second. */
export class Stills {
  readonly #options: StillsOptions;
  readonly #asked = new Map<number, Asked>();
  /** By width, the one used last at the end. */
  readonly #kept = new Map<number, { readonly still: Still; readonly atMs: number }>();
  #lastRequest = 0;

  constructor(options: StillsOptions) {
    this.#options = options;
  }

  /** Errors: CAMERA_NO_PICTURE, and what the process says. */
  get(widthMax: number): Promise<Still> {
    const width = widthOf(widthMax);
    const kept = this.#kept.get(width);
    if (kept && this.#options.clock.now() - kept.atMs <= AGE_MAX_MS) return Promise.resolve(kept.still);
    for (const asked of this.#asked.values()) if (asked.width === width) return asked.answer.promise;
    return this.#ask(width);
  }

  #ask(width: number): Promise<Still> {
    if (this.#asked.size >= WIDTHS_MAX) {
      return Promise.reject(noPicture(`stills of ${WIDTHS_MAX} other widths are under way`));
    }
    const request = ++this.#lastRequest;
    if (!this.#options.ask(request, width)) return Promise.reject(noPicture('its connection is about to begin'));
    const answer = Promise.withResolvers<Still>();
    // Whoever asked may have gone.
    answer.promise.catch(() => undefined);
    const timer = setTimeout(
      () => this.failed(request, 'CAMERA_NO_PICTURE', `no still came within ${TIMEOUT_MS} ms`),
      TIMEOUT_MS,
    );
    this.#asked.set(request, { width, answer, timer });
    return answer.promise;
  }

  came(request: number, still: Still): void {
    const asked = this.#take(request);
    if (!asked) return;
    this.#kept.delete(asked.width);
    this.#kept.set(asked.width, { still, atMs: this.#options.clock.now() });
    if (this.#kept.size > WIDTHS_MAX) this.#kept.delete(this.#kept.keys().next().value!);
    asked.answer.resolve(still);
  }

  failed(request: number, code: ErrorCode, reason: string): void {
    this.#take(request)?.answer.reject(new SightlineError(code, reason));
  }

  /** Forgets what is too old. To be called now and then: pictures are large. */
  expire(): void {
    const nowMs = this.#options.clock.now();
    for (const [width, { atMs }] of this.#kept) if (nowMs - atMs > AGE_MAX_MS) this.#kept.delete(width);
  }

  /** The connection has ended: nothing comes any more, and what was kept is of another one. */
  reset(): void {
    for (const request of this.#asked.keys()) this.failed(request, 'CAMERA_NO_PICTURE', 'its connection has ended');
    this.#kept.clear();
  }

  #take(request: number): Asked | undefined {
    const asked = this.#asked.get(request);
    this.#asked.delete(request);
    clearTimeout(asked?.timer);
    return asked;
  }
}

function widthOf(widthMax: number): number {
  if (!(widthMax >= WIDTH_STEP)) return WIDTH_STEP;
  return Math.min(WIDTH_MAX, Math.floor(widthMax / WIDTH_STEP) * WIDTH_STEP);
}

function noPicture(message: string): SightlineError {
  return new SightlineError('CAMERA_NO_PICTURE', message);
}
