import { SightlineError, type ErrorCode } from '../../base/errors.ts';
import type { Clock } from '../../base/clock.ts';
import type { Still } from './feed.ts';

export interface StillsOptions {
  readonly clock: Clock;
  /** Asks the process; false: it cannot be asked. */
  readonly ask: (request: number, form: StillForm) => boolean;
}

export interface StillForm {
  readonly widthMax: number;
  /** With what was found drawn on it. */
  readonly isDrawn: boolean;
}

interface Asked {
  readonly form: string;
  readonly answer: PromiseWithResolvers<Still>;
  readonly timer: NodeJS.Timeout;
}

/** One of this age is as good as a new one. */
const AGE_MAX_MS = 1_000;
const TIMEOUT_MS = 5_000;
/** Forms that are asked for at once, and of which the last one is kept: a wall and a page need two or three. */
const FORMS_MAX = 8;
/** Requests of nearly the same width are one. */
const WIDTH_STEP = 16;
const WIDTH_MAX = 8_192;

/** Stills of one camera: one request for each width at a time, drawn on or not, whoever asks, and its answer for all who ask within a second. */
export class Stills {
  readonly #options: StillsOptions;
  readonly #asked = new Map<number, Asked>();
  /** By form, the one used last at the end. */
  readonly #kept = new Map<string, { readonly still: Still; readonly atMs: number }>();
  #lastRequest = 0;

  constructor(options: StillsOptions) {
    this.#options = options;
  }

  /** Errors: CAMERA_NO_PICTURE, and what the process says. */
  get({ widthMax, isDrawn }: StillForm): Promise<Still> {
    const width = widthOf(widthMax);
    const form = `${width} ${isDrawn}`;
    const kept = this.#kept.get(form);
    if (kept && this.#options.clock.now() - kept.atMs <= AGE_MAX_MS) return Promise.resolve(kept.still);
    for (const asked of this.#asked.values()) if (asked.form === form) return asked.answer.promise;
    return this.#ask(form, { widthMax: width, isDrawn });
  }

  #ask(name: string, form: StillForm): Promise<Still> {
    if (this.#asked.size >= FORMS_MAX) {
      return Promise.reject(noPicture(`stills of ${FORMS_MAX} other widths are under way`));
    }
    const request = ++this.#lastRequest;
    if (!this.#options.ask(request, form)) return Promise.reject(noPicture('its connection is about to begin'));
    const answer = Promise.withResolvers<Still>();
    // Whoever asked may have gone.
    answer.promise.catch(() => undefined);
    const timer = setTimeout(
      () => this.failed(request, 'CAMERA_NO_PICTURE', `no still came within ${TIMEOUT_MS} ms`),
      TIMEOUT_MS,
    );
    this.#asked.set(request, { form: name, answer, timer });
    return answer.promise;
  }

  came(request: number, still: Still): void {
    const asked = this.#take(request);
    if (!asked) return;
    this.#kept.delete(asked.form);
    this.#kept.set(asked.form, { still, atMs: this.#options.clock.now() });
    if (this.#kept.size > FORMS_MAX) this.#kept.delete(this.#kept.keys().next().value!);
    asked.answer.resolve(still);
  }

  failed(request: number, code: ErrorCode, reason: string): void {
    this.#take(request)?.answer.reject(new SightlineError(code, reason));
  }

  /** Forgets what is too old. To be called now and then: pictures are large. */
  expire(): void {
    const nowMs = this.#options.clock.now();
    for (const [form, { atMs }] of this.#kept) if (nowMs - atMs > AGE_MAX_MS) this.#kept.delete(form);
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
