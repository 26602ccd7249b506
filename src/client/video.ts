import type { Clock } from '../base/clock.ts';
import { systemClock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import { Priority } from '../base/sample.ts';
import type { LimiterVerdict } from '../flow/limiter.ts';
import { FrameLimiter } from '../flow/limiter.ts';
import { FRAME_HEADER_BYTES, encodeFrame } from '../protocol/video-codec.ts';
import type {
  ClockReply,
  ClockRequest,
  DropCause,
  DroppedMessage,
  ErrorMessage,
  GrantFields,
  MessageFormat,
  Pin,
  PinMessage,
  ResultMessage,
  ServerMessage,
  WelcomeMessage,
} from '../protocol/video.ts';
import type { ClockEstimate } from './clock-sync.ts';
import { ClockSync } from './clock-sync.ts';
import type { ConnectionEnd } from './connection.ts';
import { Connection } from './connection.ts';
import type { Unsubscribe } from './emitter.ts';
import { Emitter } from './emitter.ts';
import { DurationHistogram } from './histogram.ts';
import { LiveQueue } from './live-queue.ts';
import type { ReconnectPolicy } from './reconnect.ts';
import { RECONNECT_DEFAULTS, reconnectDelayMs } from './reconnect.ts';
import type { WebSocketConstructor } from './socket.ts';
import { platformWebSocket, sessionUrl } from './socket.ts';

/** The client's own limit of a message; the server's (2 MB unless set otherwise) is in the welcome. */
export const CLIENT_MESSAGE_BYTES_MAX = 1_000_000;

const CLOSE_TIMEOUT_MS = 1_000;
const CLOCK_EXCHANGES = 5;
const CLOCK_SPACING_MS = 20;
const CLOCK_INTERVAL_MS = 30_000;
/** A socket tells nobody when its buffer has drained, so that one who waits has to look again. */
const BUFFER_POLL_MS = 20;
const BUFFERED_BYTES_MAX = 256 * 1024;
const RESULTS_QUEUE_MAX = 16;

export interface ConnectVideoOptions {
  /** `ws:`, `wss:`, `http:` or `https:`; in a browser also relative to the page. Without a path: `/ws/video`. */
  readonly url: string;
  readonly pipeline?: string;
  /** Id of a model that the server has. */
  readonly model?: string;
  /** 0..1: detections below it are left out. */
  readonly confidence?: number;
  /** The session's name; the server makes one up otherwise. */
  readonly clientId?: string;
  /** Of an earlier `welcome` for the same `clientId`: takes that session up again. */
  readonly token?: string;
  /** How the server writes its messages; `json` unless told otherwise. */
  readonly format?: MessageFormat;
  /** For platforms without a global WebSocket. */
  readonly WebSocket?: WebSocketConstructor;
  /** Unix milliseconds; all times that the session gives out are on this clock unless they say otherwise. */
  readonly clock?: Clock;
  readonly random?: Random;
  /** What to do when the connection is lost; `false`: the session ends. */
  readonly reconnect?: Partial<ReconnectPolicy> | false;
  /** While the socket holds more unsent bytes than this, no frame goes; 256 KiB unless told otherwise. */
  readonly bufferedBytesMax?: number;
}

/** A picture to send. The bytes are copied before `send` returns. */
export interface FrameToSend {
  readonly jpeg: Uint8Array | ArrayBuffer;
  /** On the client's clock, Unix ms; now unless told otherwise. */
  readonly captureTimeMs?: number;
  readonly priority?: Priority;
}

/** `reconnecting`: the connection is lost and another one is being made. `closed` is for good. */
export type SessionState = 'open' | 'reconnecting' | 'closed';

/** Why a frame got no result: what the server says, or `lost` with its connection. */
export type LossCause = DropCause | 'lost';

/** Why a frame was not sent. `buffer`: the socket has not got rid of earlier ones. */
export type SkipCause = Exclude<LimiterVerdict, 'go'> | 'buffer' | 'not_open';

/** A result, and the times that only the client knows; all on the client's clock, Unix ms. */
export interface VideoResult {
  readonly result: ResultMessage;
  readonly captureTimeMs: number;
  readonly sentTimeMs: number;
  readonly receivedTimeMs: number;
}

export interface VideoEvents {
  result: VideoResult;
  dropped: { readonly seqs: readonly number[]; readonly cause: LossCause };
  /** With `seq`: that frame got this error instead of a result. */
  error: { readonly error: SightlineError; readonly seq?: number };
  grant: GrantFields;
  /** With `error`: why the connection was lost, or why the session is over. */
  state: { readonly state: SessionState; readonly error?: SightlineError };
}

/**
 * The accounts of a session since it began, at every moment:
 * `sent = results + Σ dropped + frameErrors + unanswered` (`dropped` includes `lost`).
 */
export interface VideoMetrics {
  readonly sent: number;
  readonly results: number;
  readonly dropped: Readonly<Record<LossCause, number>>;
  /** Frames that got an error for an answer. */
  readonly frameErrors: number;
  /** Error messages in all. */
  readonly errors: number;
  readonly unanswered: number;
  /** Frames that were offered to `send` and not sent. */
  readonly skipped: Readonly<Record<SkipCause, number>>;
  /** Answers to frames that were given up already. */
  readonly late: number;
  /** Results that the reader of `results()` was too slow for. */
  readonly unread: number;
  readonly reconnects: number;
  readonly bytesSent: number;
  /** Sent to result received. */
  readonly roundTripMs: { readonly p50: number; readonly p95: number; readonly p99: number; readonly count: number };
  readonly clock: ClockEstimate;
}

interface UnansweredFrame {
  readonly captureTimeMs: number;
  readonly sentTimeMs: number;
}

/** A session from its first `welcome` on. Rejects with SightlineError: the server's code, or CONNECTION_FAILED. */
export function connectVideo(options: ConnectVideoOptions): Promise<VideoSession> {
  return VideoSession.connect(options);
}

/** One video session, across as many connections as it takes. Made by `connectVideo`; whoever made it closes it. */
export class VideoSession {
  readonly #options: ConnectVideoOptions;
  readonly #WebSocket: WebSocketConstructor;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #reconnect: ReconnectPolicy | false;
  readonly #bufferedBytesMax: number;
  readonly #emitter = new Emitter<VideoEvents>();
  readonly #queues = new Set<LiveQueue<VideoResult>>();
  readonly #waiters = new Set<() => void>();
  readonly #sync = new ClockSync();
  readonly #roundTrips = new DurationHistogram();
  /** What the session remembers of the frames in `#limiter`; the window bounds both. */
  readonly #unanswered = new Map<number, UnansweredFrame>();
  readonly #dropped: Record<LossCause, number> = {
    queue_full: 0,
    expired: 0,
    stale: 0,
    slow_reader: 0,
    disconnected: 0,
    lost: 0,
  };
  readonly #skipped: Record<SkipCause, number> = { rate: 0, window: 0, buffer: 0, not_open: 0 };
  #counts = { sent: 0, results: 0, frameErrors: 0, errors: 0, late: 0, unread: 0, reconnects: 0, bytesSent: 0 };

  readonly #opened = Promise.withResolvers<void>();
  #limiter = new FrameLimiter({ rateFps: 0, window: 0 }, 0);
  /** Undefined only until the first welcome, before anybody gets hold of the session. So is the grant. */
  #welcome: WelcomeMessage | undefined;
  #grant: GrantFields | undefined;
  #connection: Connection | undefined;
  #state: SessionState = 'reconnecting';
  #lastSeq = 0;
  #pin: Pin | undefined;
  /** Connections tried since one lasted. */
  #attempt = 0;
  #openedMs = 0;
  #reconnectTimer: ReturnType<typeof setTimeout> | undefined;
  #clockTimer: ReturnType<typeof setTimeout> | undefined;
  /** The `t0` that an answer is awaited for. */
  #clockAskedMs: number | undefined;
  #clockExchangesLeft = 0;
  #closing: Promise<void> | undefined;
  #onSocketClosed: (() => void) | undefined;

  private constructor(options: ConnectVideoOptions) {
    this.#options = options;
    this.#WebSocket = options.WebSocket ?? platformWebSocket();
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    this.#reconnect = options.reconnect === false ? false : { ...RECONNECT_DEFAULTS, ...options.reconnect };
    this.#bufferedBytesMax = options.bufferedBytesMax ?? BUFFERED_BYTES_MAX;
  }

  /** @internal Use `connectVideo`. */
  static async connect(options: ConnectVideoOptions): Promise<VideoSession> {
    const session = new VideoSession(options);
    session.#connect();
    await session.#opened.promise;
    return session;
  }

  /** That of the present connection, or of the last one. */
  get welcome(): WelcomeMessage {
    return this.#welcome as WelcomeMessage;
  }

  /** What the server allows now. */
  get grant(): GrantFields {
    return this.#grant as GrantFields;
  }

  get state(): SessionState {
    return this.#state;
  }

  /** The newest `seq` that was sent; 0 before the first. */
  get lastSeq(): number {
    return this.#lastSeq;
  }

  /**
   * Sends a frame, if the grant allows it at this moment, and returns its `seq`; `undefined` when it does not: the frame is
   * counted under `metrics().skipped` and forgotten, so that the next one offered is the newest. Throws FRAME_EMPTY,
   * FRAME_NOT_JPEG or MESSAGE_TOO_LARGE for a picture that no server would take.
   */
  send(frame: FrameToSend): number | undefined {
    const jpeg = frame.jpeg instanceof Uint8Array ? frame.jpeg : new Uint8Array(frame.jpeg);
    this.#refuseBadPicture(jpeg);
    const nowMs = this.#clock.now();
    const verdict = this.#verdict(nowMs);
    if (verdict !== 'go') {
      this.#skipped[verdict]++;
      return undefined;
    }
    const seq = ++this.#lastSeq;
    const captureTimeMs = frame.captureTimeMs ?? nowMs;
    const message = encodeFrame({
      seq,
      captureTimeMs: captureTimeMs + this.#offsetMs(nowMs),
      priority: frame.priority ?? Priority.normal,
      jpeg,
    });
    this.#connection?.send(message);
    this.#limiter.sent(seq, nowMs);
    this.#unanswered.set(seq, { captureTimeMs, sentTimeMs: nowMs });
    this.#counts.sent++;
    this.#counts.bytesSent += message.length;
    return seq;
  }

  /** Would `send` send now? Asking costs and counts nothing. */
  canSend(): boolean {
    return this.#verdict(this.#clock.now()) === 'go';
  }

  /**
   * Milliseconds until a frame may go: 0 for now, `Infinity` when that depends on an answer, a grant or a connection. While
   * the socket's buffer is the obstacle it is the time after which it pays to ask again.
   */
  nextSendInMs(): number {
    const nowMs = this.#clock.now();
    const verdict = this.#verdict(nowMs);
    if (verdict === 'go') return 0;
    if (verdict === 'not_open') return Infinity;
    return verdict === 'buffer' ? BUFFER_POLL_MS : this.#limiter.nextInMs(nowMs);
  }

  /** Waits until a frame may go: `true`; `false` once the session is closed. */
  async ready(): Promise<boolean> {
    while (this.#state !== 'closed') {
      const waitMs = this.nextSendInMs();
      if (waitMs === 0) return true;
      await this.#change(waitMs);
    }
    return false;
  }

  /**
   * The results as they come, from now on: `for await (const { result } of session.results())`. A reader that falls more
   * than `queueMax` behind loses the oldest (`metrics().unread`). Ends with the session; throws the error that ended it.
   */
  results({ queueMax = RESULTS_QUEUE_MAX }: { queueMax?: number } = {}): AsyncIterableIterator<VideoResult> {
    const queue = new LiveQueue<VideoResult>(queueMax, () => {
      this.#queues.delete(queue);
      this.#counts.unread += queue.dropped;
    });
    if (this.#state === 'closed') queue.end();
    else this.#queues.add(queue);
    return queue;
  }

  on<Name extends keyof VideoEvents>(event: Name, listener: (value: VideoEvents[Name]) => void): Unsubscribe {
    return this.#emitter.on(event, listener);
  }

  /** Fixes the quality of this session, or lets go of it (`{}`). The server answers with a `grant`; so does a new one. */
  pin(pin: Pin): void {
    this.#pin = pin;
    this.#sendJson({ type: 'pin', ...pin });
  }

  /** The server's time for a moment on the client's clock, both Unix ms; good to ± `metrics().clock.uncertaintyMs`. */
  toServerTimeMs(clientTimeMs: number): number {
    return clientTimeMs + this.#offsetMs(this.#clock.now());
  }

  metrics(): VideoMetrics {
    const { unread, ...counts } = this.#counts;
    return {
      ...counts,
      dropped: { ...this.#dropped },
      skipped: { ...this.#skipped },
      unanswered: this.#unanswered.size,
      unread: [...this.#queues].reduce((sum, queue) => sum + queue.dropped, unread),
      roundTripMs: {
        p50: this.#roundTrips.percentileMs(0.5),
        p95: this.#roundTrips.percentileMs(0.95),
        p99: this.#roundTrips.percentileMs(0.99),
        count: this.#roundTrips.count,
      },
      clock: this.#sync.estimate(this.#clock.now()) ?? { offsetMs: 0, uncertaintyMs: Infinity, roundTripMs: Infinity },
    };
  }

  /** Ends the session for good; may be called again. Resolves when the socket is closed, after a second at the latest. */
  close(): Promise<void> {
    this.#closing ??= this.#shutDown();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ── Connections ────────────────────────────────────────────────────────────────────────────────────────────────────

  #connect(): void {
    const startMs = this.#clock.now();
    const address = sessionUrl(this.#options.url, {
      ...this.#options,
      clientId: this.#welcome?.client_id ?? this.#options.clientId,
      token: this.#welcome?.token ?? this.#options.token,
    });
    this.#connection = new Connection(this.#WebSocket, address, {
      onWelcome: (welcome) => this.#onWelcome(welcome, startMs),
      onMessage: (message) => this.#onMessage(message),
      onEnd: (end) => this.#onEnd(end),
    });
  }

  #onWelcome(welcome: WelcomeMessage, startMs: number): void {
    const nowMs = this.#clock.now();
    const first = this.#welcome === undefined;
    this.#welcome = welcome;
    this.#openedMs = nowMs;
    if (!first) this.#counts.reconnects++;
    // The session may have been used under this name before: a seq must rise.
    this.#lastSeq = Math.max(this.#lastSeq, welcome.last_seq);
    // The server at the address may be another one than before.
    this.#sync.reset();
    this.#sync.addGreeting(welcome.server_time, startMs, nowMs);
    this.#state = 'open';
    this.#applyGrant(welcome.grant);
    this.#askClock(CLOCK_EXCHANGES);
    if (this.#pin) this.#sendJson({ type: 'pin', ...this.#pin });
    this.#opened.resolve();
    if (!first) this.#emitter.emit('state', { state: 'open' });
  }

  #onEnd({ error, final }: ConnectionEnd): void {
    this.#connection = undefined;
    this.#onSocketClosed?.();
    if (this.#state === 'closed') return;
    const wasOpen = this.#state === 'open';
    this.#stopTimers();
    this.#giveUpUnanswered();
    if (this.#welcome === undefined || final || this.#reconnect === false) return this.#finish(error);
    if (wasOpen && this.#clock.now() - this.#openedMs >= this.#reconnect.delayMaxMs) this.#attempt = 0;
    if (this.#attempt >= this.#reconnect.attemptsMax) {
      const message = `gave up after ${this.#attempt} attempts to reconnect: ${error.message}`;
      return this.#finish(new SightlineError('CONNECTION_LOST', message, { cause: error }));
    }
    const delayMs = reconnectDelayMs(this.#attempt++, this.#reconnect, this.#random);
    this.#reconnectTimer = setTimeout(() => this.#connect(), delayMs);
    this.#state = 'reconnecting';
    if (wasOpen) this.#emitter.emit('state', { state: 'reconnecting', error });
  }

  /** The end of the session: by `close` without an error, else with the one that cannot be mended. */
  #finish(error?: SightlineError): void {
    this.#state = 'closed';
    this.#stopTimers();
    this.#giveUpUnanswered();
    if (error) this.#opened.reject(error);
    for (const queue of this.#queues) queue.end(error);
    this.#emitter.emit('state', error ? { state: 'closed', error } : { state: 'closed' });
    this.#emitter.clear();
    this.#wake();
  }

  async #shutDown(): Promise<void> {
    const connection = this.#connection;
    if (this.#state !== 'closed') this.#finish();
    if (!connection) return;
    const closed = Promise.withResolvers<void>();
    this.#onSocketClosed = closed.resolve;
    const timer = setTimeout(closed.resolve, CLOSE_TIMEOUT_MS);
    connection.close();
    await closed.promise;
    clearTimeout(timer);
  }

  #stopTimers(): void {
    clearTimeout(this.#reconnectTimer);
    clearTimeout(this.#clockTimer);
    this.#clockAskedMs = undefined;
  }

  // ── Messages ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #onMessage(message: ServerMessage): void {
    switch (message.type) {
      case 'result':
        return this.#onResult(message);
      case 'dropped':
        return this.#onDropped(message);
      case 'error':
        return this.#onError(message);
      case 'grant':
        return this.#applyGrant(message);
      case 'clock':
        return this.#onClock(message);
      default:
      // Of a newer server: not for this client.
    }
  }

  #onResult(result: ResultMessage): void {
    const frame = this.#answered(result.seq);
    if (!frame) return;
    const receivedTimeMs = this.#clock.now();
    this.#counts.results++;
    this.#roundTrips.record(receivedTimeMs - frame.sentTimeMs);
    const received: VideoResult = { result, ...frame, receivedTimeMs };
    for (const queue of this.#queues) queue.push(received);
    this.#emitter.emit('result', received);
    this.#wake();
  }

  #onDropped({ seqs, cause }: DroppedMessage): void {
    const ours = seqs.filter((seq) => this.#answered(seq) !== undefined);
    if (ours.length === 0) return;
    this.#dropped[cause] = (this.#dropped[cause] ?? 0) + ours.length;
    this.#emitter.emit('dropped', { seqs: ours, cause });
    this.#wake();
  }

  #onError({ code, message, seq }: ErrorMessage): void {
    this.#counts.errors++;
    const error = new SightlineError(code, message);
    if (seq !== undefined && this.#answered(seq)) this.#counts.frameErrors++;
    this.#emitter.emit('error', seq === undefined ? { error } : { error, seq });
    this.#wake();
  }

  /** What is known of the frame that an answer names; undefined, and counted, when nobody waits for it (any more). */
  #answered(seq: number): UnansweredFrame | undefined {
    const frame = this.#unanswered.get(seq);
    if (!frame) {
      this.#counts.late++;
      return undefined;
    }
    this.#unanswered.delete(seq);
    this.#limiter.answered(seq);
    return frame;
  }

  /** The connection is gone, and with it every answer that was still to come. */
  #giveUpUnanswered(): void {
    const seqs = this.#limiter.abandon();
    if (seqs.length === 0) return;
    this.#unanswered.clear();
    this.#dropped.lost += seqs.length;
    this.#emitter.emit('dropped', { seqs, cause: 'lost' });
  }

  #applyGrant(grant: GrantFields): void {
    const { rate_fps: rateFps, window, width, height, quality, pinned } = grant;
    this.#grant = { rate_fps: rateFps, window, width, height, quality, pinned };
    this.#limiter.setGrant({ rateFps, window }, this.#clock.now());
    this.#emitter.emit('grant', this.#grant);
    this.#wake();
  }

  // ── Clock ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Asks so many times in a row, then again after a while. */
  #askClock(exchanges: number): void {
    this.#clockExchangesLeft = exchanges;
    this.#clockAskedMs = this.#clock.now();
    this.#sendJson({ type: 'clock', t0: this.#clockAskedMs });
  }

  #onClock({ t0, t1, t2 }: ClockReply): void {
    if (t0 !== this.#clockAskedMs) return;
    this.#clockAskedMs = undefined;
    this.#sync.add({ t0, t1, t2, t3: this.#clock.now() });
    const left = this.#clockExchangesLeft - 1;
    this.#clockTimer =
      left > 0
        ? setTimeout(() => this.#askClock(left), CLOCK_SPACING_MS)
        : setTimeout(() => this.#askClock(CLOCK_EXCHANGES), CLOCK_INTERVAL_MS);
  }

  #offsetMs(nowMs: number): number {
    return this.#sync.estimate(nowMs)?.offsetMs ?? 0;
  }

  // ── Sending ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #verdict(nowMs: number): LimiterVerdict | SkipCause {
    if (this.#state !== 'open' || !this.#connection) return 'not_open';
    if (this.#connection.bufferedBytes > this.#bufferedBytesMax) return 'buffer';
    return this.#limiter.check(nowMs);
  }

  #refuseBadPicture(jpeg: Uint8Array): void {
    if (jpeg.length === 0) throw new SightlineError('FRAME_EMPTY', 'the picture has no bytes');
    if (jpeg[0] !== 0xff || jpeg[1] !== 0xd8) {
      throw new SightlineError('FRAME_NOT_JPEG', 'the picture is not a JPEG: it does not begin with FF D8');
    }
    const bytes = jpeg.length + FRAME_HEADER_BYTES;
    const bytesMax = Math.min(CLIENT_MESSAGE_BYTES_MAX, this.welcome.limits.message_bytes_max);
    if (bytes <= bytesMax) return;
    throw new SightlineError(
      'MESSAGE_TOO_LARGE',
      `a picture of ${jpeg.length} bytes makes a message over ${bytesMax} bytes`,
    );
  }

  /** Dropped while there is no connection: what is said here is said again after a welcome. */
  #sendJson(message: ClockRequest | PinMessage): void {
    if (this.#state === 'open') this.#connection?.send(JSON.stringify(message));
  }

  /** Resolves when something has changed that `ready` depends on, after `timeoutMs` at the latest. */
  #change(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(done);
        resolve();
      };
      const timer = timeoutMs === Infinity ? undefined : setTimeout(done, timeoutMs);
      this.#waiters.add(done);
    });
  }

  #wake(): void {
    for (const done of this.#waiters) done();
  }
}
