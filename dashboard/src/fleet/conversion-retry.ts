import type { CamerasSession, CameraView } from 'sightline/client/cameras';

const FIRST_MS = 2_000;
const LONGEST_MS = 60_000;
/** Without a refusal for so long the pauses begin anew. */
const FORGET_MS = 180_000;

/** Before the next try, ms; `random`: 0 to 1, so that pages do not ask at the same time. */
export function retryMs(tries: number, random: number): number {
  return Math.min(LONGEST_MS, FIRST_MS * 2 ** tries) * (0.75 + random / 2);
}

/** Where the server has no place to convert a camera, or failed to: asks again, ever less often, by a view that shows nothing. */
export class ConversionRetry {
  readonly #camera: string;
  readonly #onConverted: () => void;
  #tries = 0;
  #triedMs = -Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #view: CameraView | undefined;

  /** `onConverted`: the server converts it; it goes on with that for a moment. */
  constructor(camera: string, onConverted: () => void) {
    this.#camera = camera;
    this.#onConverted = onConverted;
  }

  /** It was refused. */
  begin(session: CamerasSession): void {
    this.stop();
    const nowMs = performance.now();
    if (nowMs - this.#triedMs > FORGET_MS) this.#tries = 0;
    this.#triedMs = nowMs;
    this.#timer = setTimeout(() => this.#ask(session), retryMs(this.#tries++, Math.random()));
  }

  /** Idempotent. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#view?.close();
    this.#view = undefined;
  }

  #ask(session: CamerasSession): void {
    if (session.state === 'closed') return;
    const view = session.open(this.#camera, { results: false, state: false, transcode: true });
    this.#view = view;
    view.on('init', () => {
      this.stop();
      this.#onConverted();
    });
    view.on('closed', ({ error }) => error && this.begin(session));
  }
}
