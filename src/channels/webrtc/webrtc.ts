import { SightlineError } from '../../base/errors.ts';
import { Publishers } from './publishers.ts';
import type { WebRtcOptions } from './session-book.ts';
import { PeerThread } from './thread.ts';
import { Viewers } from './viewers.ts';

const SWEEP_INTERVAL_MS = 1_000;

/** Viewers that watch cameras by WebRTC, and publishers that are cameras, in one thread. */
export class WebRtc {
  readonly viewers: Viewers;
  readonly publishers: Publishers;
  readonly #options: WebRtcOptions;
  readonly #thread: PeerThread;
  readonly #forgetFeeds: () => void;
  readonly #sweep: NodeJS.Timeout;
  #closing: Promise<void> | undefined;

  constructor(options: WebRtcOptions) {
    this.#options = options;
    const { clock, log, feeds } = options;
    this.#thread = new PeerThread({
      clock,
      log,
      onEvent: (event) => void this.#books.some((book) => book.onEvent(event)),
      onLost: () => {
        for (const book of this.#books) book.endAll('thread');
      },
    });
    let lastId = 0;
    const shared = { ...options, thread: this.#thread, nextId: () => ++lastId };
    this.viewers = new Viewers(shared);
    this.publishers = new Publishers(shared);
    this.#forgetFeeds = feeds.watchAll((id) => {
      for (const book of this.#books) book.cameraChanged(id);
    });
    this.#sweep = setInterval(() => this.#onSweep(), SWEEP_INTERVAL_MS);
    this.#sweep.unref();
  }

  facts() {
    return { viewers: this.viewers.facts(), publishers: this.publishers.sessions.facts(), thread: this.#thread.counts };
  }

  /** From now on there are no new sessions. */
  drain(): void {
    for (const book of this.#books) book.drain();
  }

  /** Ends all sessions. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.drain();
    clearInterval(this.#sweep);
    this.#forgetFeeds();
    for (const book of this.#books) {
      book.endAll('shutdown', new SightlineError('SHUTTING_DOWN', 'the server shuts down'));
    }
    this.viewers.close();
    await this.#thread.allEnded();
    await this.#thread.close();
  }

  get #books() {
    return [this.viewers.sessions, this.publishers.sessions];
  }

  get #hasSessions(): boolean {
    return this.#books.some(({ size }) => size > 0);
  }

  #onSweep(): void {
    const nowMs = this.#options.clock.now();
    this.viewers.sweep(nowMs);
    this.publishers.sessions.sweep(nowMs);
    if (!this.#hasSessions) this.#thread.rest(nowMs);
  }
}
