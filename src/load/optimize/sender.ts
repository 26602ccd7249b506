import { wallTimeMs, type Clock } from '../../base/clock.ts';
import { connectVideo, type VideoResult, type VideoSession } from '../../client/video.ts';
import type { GrantFields } from '../../protocol/video.ts';
import { connectUnless } from '../connect.ts';

export interface SenderOptions {
  readonly url: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly onResult: (received: VideoResult) => void;
}

/**
 * A session of the SDK, as a user has it, whose every wait has an end: at a moment of the clock, with the session, or when the signal
 * says so.
 */
export class Sender {
  readonly #session: VideoSession;
  readonly #clock: Clock;
  /** Rejects when the session is lost, or by the signal. */
  readonly #over = Promise.withResolvers<never>();

  private constructor(session: VideoSession, { clock, signal, onResult }: SenderOptions) {
    this.#session = session;
    this.#clock = clock;
    // Whoever waits for something is told; that nobody does is no fault.
    this.#over.promise.catch(() => undefined);
    const onAbort = (): void => this.#over.reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    session.on('result', onResult);
    session.on('state', ({ state, error }) => {
      if (state !== 'closed') return;
      signal.removeEventListener('abort', onAbort);
      if (error) this.#over.reject(error);
    });
  }

  /** Errors: CONNECTION_FAILED, or the code with which the server refused; the signal's reason. */
  static async open(options: SenderOptions): Promise<Sender> {
    const { url, clock, signal } = options;
    const session = await connectUnless(signal, () => connectVideo({ url, clock, reconnect: false }));
    return new Sender(session, options);
  }

  /** The current grant. */
  get grant(): GrantFields {
    return this.#session.grant;
  }

  /** Waits until a frame may go: `true`; `false` when the time is `untilMs`. Errors: CONNECTION_LOST; the signal's reason. */
  async ready(untilMs: number): Promise<boolean> {
    return (await this.#before(untilMs, () => this.#session.ready())) ?? false;
  }

  /** A frame that was captured at `captureMs` of the clock, and its `seq`. Only after `ready`. */
  send(jpeg: Uint8Array, captureMs = this.#clock.now()): number | undefined {
    return this.#session.send({ jpeg, captureTimeMs: wallTimeMs(this.#clock, captureMs) });
  }

  /** Waits for the answers to the frames sent, until `untilMs` at the latest. Errors as of `ready`. */
  async answered(untilMs: number): Promise<void> {
    const done = Promise.withResolvers<void>();
    const look = (): void => {
      if (this.#session.metrics().unanswered === 0) done.resolve();
    };
    const stop = this.#session.on('answered', look);
    look();
    try {
      await this.#before(untilMs, () => done.promise);
    } finally {
      stop();
    }
  }

  /** Resolves when it is gone; idempotent. */
  close(): Promise<void> {
    return this.#session.close();
  }

  /** Undefined when the time has come before `what` has. */
  async #before<T>(untilMs: number, what: () => Promise<T>): Promise<T | undefined> {
    const leftMs = untilMs - this.#clock.now();
    const late = Promise.withResolvers<undefined>();
    if (leftMs <= 0) late.resolve(undefined);
    const timer = setTimeout(late.resolve, leftMs, undefined);
    try {
      // The first of those that are settled already wins.
      return await Promise.race([this.#over.promise, late.promise, what()]);
    } finally {
      clearTimeout(timer);
    }
  }
}
