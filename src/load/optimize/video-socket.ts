import { WebSocket } from 'ws';
import type { Clock } from '../../base/clock.ts';
import { SightlineError, toSightlineError } from '../../base/errors.ts';
import { CROWDED, FrameLimiter } from '../../flow/limiter.ts';
import { decodeServerMessage, encodeFrame } from '../../protocol/video-codec.ts';
import type {
  GrantFields,
  ResultMessage,
  ServerMessage,
  VideoClockRequest,
  WelcomeMessage,
} from '../../protocol/video.ts';

export interface VideoHandler {
  onResult(message: ResultMessage): void;
  /** Frames that get no result: dropped, refused, or answered by an error. */
  onLost(seqs: readonly number[]): void;
}

export interface VideoSocketOptions {
  /** `http:` or `ws:`; the path is the video lane's. */
  readonly url: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly handler: VideoHandler;
}

const CONNECT_TIMEOUT_MS = 30_000;
/** While a socket holds more unsent bytes, no frame goes; no event reports when they are gone, so that one has to poll. */
const BUFFERED_BYTES_MAX = 256 * 1024;
const BUFFER_POLL_MS = 5;
/** As the SDK asks for the time: a few times quickly, so that the path is known at once, then now and then. */
const CLOCK_QUICK = 5;
const CLOCK_QUICK_MS = 20;
const CLOCK_SLOW_MS = 30_000;

/**
 * A client of the video lane that is nothing but the protocol, and honest: it keeps to the granted rate and window, and to the
 * granted picture, as far as its user asks it for the grant. It does the same as the SDK, and so gets the same as a
 * user of the SDK: it reports its round trip, without which the server knows little of the path, and comes apart from others in step.
 */
export class VideoSocket {
  readonly #socket: WebSocket;
  readonly #options: VideoSocketOptions;
  readonly #limiter = new FrameLimiter({ rateFps: 0, window: 0 }, 0);
  #welcome: WelcomeMessage | undefined;
  #grant: GrantFields | undefined;
  #lastSeq = 0;
  #isClosing = false;
  #clocksAsked = 0;
  /** The shortest of the exchanges so far. */
  #roundTripMs = Infinity;
  #clockTimer: NodeJS.Timeout | undefined;
  #lost: Error | undefined;
  #wake: () => void = () => {};

  private constructor(options: VideoSocketOptions) {
    this.#options = options;
    const url = new URL('/ws/video', options.url);
    url.protocol = url.protocol.replace(/^http/, 'ws');
    this.#socket = new WebSocket(url, { perMessageDeflate: false, handshakeTimeout: CONNECT_TIMEOUT_MS });
    this.#socket.on('message', (bytes: Buffer) => this.#received(bytes.toString()));
    // 'close' follows and is handled.
    this.#socket.on('error', (error) => (this.#lost ??= connectionFailed(options, error.message)));
    this.#socket.on('close', (code) => {
      clearTimeout(this.#clockTimer);
      this.#lost ??= connectionFailed(options, `closed with ${code}`);
      this.#wake();
    });
  }

  /** Connected and welcomed. Errors: CONNECTION_FAILED, or the code with which the server refused; the signal's reason. */
  static async open(options: VideoSocketOptions): Promise<VideoSocket> {
    const { clock, signal } = options;
    signal.throwIfAborted();
    const made = new VideoSocket(options);
    const deadlineMs = clock.now() + CONNECT_TIMEOUT_MS;
    try {
      while (!made.#welcome) {
        made.#throwIfLost();
        const leftMs = deadlineMs - clock.now();
        if (leftMs <= 0) throw connectionFailed(options, 'no welcome');
        await made.#change(leftMs);
      }
      return made;
    } catch (thrown) {
      made.#isClosing = true;
      made.#socket.terminate();
      throw thrown;
    }
  }

  /** The current grant. */
  get grant(): GrantFields {
    return this.#grant!;
  }

  get unanswered(): number {
    return this.#limiter.unanswered;
  }

  /** Waits until a frame may go: `true`; `false` when the time is `untilMs`. Errors: CONNECTION_*; the signal's reason. */
  async ready(untilMs: number): Promise<boolean> {
    for (;;) {
      this.#throwIfLost();
      const nowMs = this.#options.clock.now();
      if (nowMs >= untilMs) return false;
      const isFull = this.#socket.bufferedAmount > BUFFERED_BYTES_MAX;
      const waitMs = isFull ? BUFFER_POLL_MS : this.#limiter.nextInMs(nowMs);
      if (waitMs === 0) return true;
      await this.#change(Math.min(waitMs, untilMs - nowMs));
    }
  }

  /** A frame that was captured now, and its `seq`. Only after `ready`. */
  send(jpeg: Uint8Array): number {
    const nowMs = this.#options.clock.now();
    const seq = (this.#lastSeq += 1);
    this.#limiter.sent(seq, nowMs);
    this.#socket.send(encodeFrame({ seq, captureTimeMs: nowMs, jpeg }), () => {
      // A frame that did not go out is never answered.
    });
    return seq;
  }

  /** Waits for the answers to the frames sent, until `untilMs` at the latest. */
  async answered(untilMs: number): Promise<void> {
    while (this.unanswered > 0) {
      this.#throwIfLost();
      const leftMs = untilMs - this.#options.clock.now();
      if (leftMs <= 0) return;
      await this.#change(leftMs);
    }
  }

  /** Resolves when it is gone; idempotent. */
  async close(): Promise<void> {
    this.#isClosing = true;
    const socket = this.#socket;
    if (socket.readyState === socket.CLOSED) return;
    await new Promise<void>((resolve) => {
      socket.once('close', () => resolve());
      socket.close();
    });
  }

  /** Resolves when a message has come, the socket is gone, or the signal says so; after `timeoutMs` at the latest. */
  async #change(timeoutMs: number): Promise<void> {
    const { signal } = this.#options;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, timeoutMs);
      signal.addEventListener('abort', done, { once: true });
      this.#wake = done;
      function done(): void {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      }
    });
    signal.throwIfAborted();
  }

  #throwIfLost(): void {
    if (this.#lost && !this.#isClosing) throw this.#lost;
  }

  #received(text: string): void {
    try {
      this.#take(decodeServerMessage(text));
    } catch (thrown) {
      this.#lost ??= toSightlineError(thrown);
    }
    this.#wake();
  }

  #take(message: ServerMessage): void {
    switch (message.type) {
      case 'welcome':
        this.#welcome = message;
        this.#askClock();
        return this.#granted(message.grant);
      case 'clock': {
        const roundTripMs = this.#options.clock.now() - message.t0 - (message.t2 - message.t1);
        this.#roundTripMs = Math.min(this.#roundTripMs, Math.max(0, roundTripMs));
        return;
      }
      case 'grant':
        return this.#granted(message);
      case 'result':
        this.#limiter.answered(message.seq);
        return this.#options.handler.onResult(message);
      case 'dropped':
        for (const seq of message.seqs) this.#limiter.answered(seq);
        if (CROWDED.has(message.cause)) this.#limiter.putOff(Math.random(), this.#options.clock.now());
        return this.#options.handler.onLost(message.seqs);
      case 'error':
        if (message.seq === undefined) {
          this.#lost ??= new SightlineError(message.code, message.message);
          return;
        }
        this.#limiter.answered(message.seq);
        return this.#options.handler.onLost([message.seq]);
      default:
      // From a newer server: ignored.
    }
  }

  #askClock(): void {
    const request: VideoClockRequest = {
      type: 'clock',
      t0: this.#options.clock.now(),
      ...(this.#roundTripMs < Infinity && { round_trip_ms: this.#roundTripMs }),
    };
    this.#socket.send(JSON.stringify(request), () => {
      // One that did not go out is never answered.
    });
    const nextMs = ++this.#clocksAsked < CLOCK_QUICK ? CLOCK_QUICK_MS : CLOCK_SLOW_MS;
    this.#clockTimer = setTimeout(() => this.#askClock(), nextMs);
  }

  #granted(grant: GrantFields): void {
    this.#grant = grant;
    const { rate_fps: rateFps, window } = grant;
    this.#limiter.setGrant({ rateFps, window }, this.#options.clock.now(), Math.random());
  }
}

function connectionFailed({ url }: VideoSocketOptions, why: string): SightlineError {
  return new SightlineError('CONNECTION_FAILED', `${url}: ${why}`);
}
