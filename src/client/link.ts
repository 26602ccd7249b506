import type { Clock } from '../base/clock.ts';
import { systemClock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import type { ClockReply, VideoClockRequest } from '../protocol/video.ts';
import type { ClockEstimate } from './clock-sync.ts';
import { ClockSync } from './clock-sync.ts';
import type { ConnectionEnd, Greeting } from './connection.ts';
import { Connection } from './connection.ts';
import type { ReconnectPolicy } from './reconnect.ts';
import { RECONNECT_DEFAULTS, reconnectDelayMs } from './reconnect.ts';
import type { WebSocketConstructor } from './socket.ts';
import { platformWebSocket } from './socket.ts';

const CLOSE_TIMEOUT_MS = 1_000;
const CLOCK_EXCHANGES = 5;
const CLOCK_SPACING_MS = 20;
const CLOCK_INTERVAL_MS = 30_000;

/** `reconnecting`: the connection is lost and another one is being made. `closed` is for good. */
export type SessionState = 'open' | 'reconnecting' | 'closed';

/** With `error`: why the connection was lost, or why the session is over. */
export interface StateChange {
  readonly state: SessionState;
  readonly error?: SightlineError;
}

/** The options that every kind of session has. */
export interface LinkSettings {
  /** For platforms without a global WebSocket. */
  readonly WebSocket?: WebSocketConstructor;
  /** Unix milliseconds; all times that the session gives out are on this clock unless they say otherwise. */
  readonly clock?: Clock;
  readonly random?: Random;
  /** What to do when the connection is lost; `false`: the session ends. */
  readonly reconnect?: Partial<ReconnectPolicy> | false;
}

export interface LinkOptions<Welcome extends Greeting, Message> {
  readonly settings: LinkSettings;
  /** Of the next connection; `last` is undefined before the first welcome. */
  readonly address: (last: Welcome | undefined) => string;
  readonly subprotocol?: string | undefined;
  readonly decode: (data: string | Uint8Array) => Message;
  readonly encodeClock: (request: VideoClockRequest) => string | Uint8Array<ArrayBuffer>;
}

export interface LinkListener<Welcome, Message> {
  /** A connection is up: say again what its server must know. Before anybody else learns of it. */
  onOpen(welcome: Welcome): void;
  /** Every message but welcomes and the clock's. */
  onMessage(message: Message): void;
  /** A connection is gone, or never came: whatever was to be answered on it will not be. */
  onLost(): void;
  /** After the first opening; `closed` comes once and last. */
  onState(change: StateChange): void;
}

/**
 * What all lanes share: one session across as many connections as it takes. It connects, greets, reconnects with backoff and
 * its token, and keeps the server's time; what the messages mean is its owner's business.
 */
export class Link<Welcome extends Greeting, Message extends { readonly type: string }> {
  readonly clock: Clock;
  readonly random: Random;
  readonly #options: LinkOptions<Welcome, Message>;
  readonly #listener: LinkListener<Welcome, Message>;
  readonly #WebSocket: WebSocketConstructor;
  readonly #reconnect: ReconnectPolicy | false;
  readonly #sync = new ClockSync();
  readonly #opened = Promise.withResolvers<void>();
  #welcome: Welcome | undefined;
  #connection: Connection<Welcome, Message> | undefined;
  #state: SessionState = 'reconnecting';
  #reconnects = 0;
  /** Connections tried since one lasted. */
  #attempt = 0;
  #openedMs = 0;
  /** The server told when to come back: that leads over the backoff, once. */
  #toldDelayMs: number | undefined;
  #reconnectTimer: ReturnType<typeof setTimeout> | undefined;
  #clockTimer: ReturnType<typeof setTimeout> | undefined;
  /** The `t0` that an answer is awaited for. */
  #clockAskedMs: number | undefined;
  #clockExchangesLeft = 0;
  #closing: Promise<void> | undefined;
  #onSocketClosed: (() => void) | undefined;

  /** Throws CONNECTION_FAILED on a platform without a WebSocket. */
  constructor(options: LinkOptions<Welcome, Message>, listener: LinkListener<Welcome, Message>) {
    const { settings } = options;
    this.#options = options;
    this.#listener = listener;
    this.#WebSocket = settings.WebSocket ?? platformWebSocket();
    this.clock = settings.clock ?? systemClock;
    this.random = settings.random ?? Math.random;
    this.#reconnect = settings.reconnect === false ? false : { ...RECONNECT_DEFAULTS, ...settings.reconnect };
  }

  /** Resolves with the first welcome; rejects with the server's refusal, or CONNECTION_FAILED. */
  open(): Promise<void> {
    this.#connect();
    return this.#opened.promise;
  }

  /** That of the present connection, or of the last one. Undefined only until the first. */
  get welcome(): Welcome | undefined {
    return this.#welcome;
  }

  get state(): SessionState {
    return this.#state;
  }

  get reconnects(): number {
    return this.#reconnects;
  }

  /** Bytes that the socket has not got rid of; 0 without a connection. */
  get bufferedBytes(): number {
    return this.#connection?.bufferedBytes ?? 0;
  }

  /** False, and nothing is sent, while there is no connection: what is lost so must be said again in `onOpen`. */
  send(data: string | Uint8Array<ArrayBuffer>): boolean {
    if (this.#state !== 'open' || !this.#connection) return false;
    this.#connection.send(data);
    return true;
  }

  /** Server's clock minus client's, ms; 0 before the first welcome. */
  offsetMs(nowMs: number): number {
    return this.#sync.estimate(nowMs)?.offsetMs ?? 0;
  }

  clockEstimate(): ClockEstimate {
    return this.#sync.estimate(this.clock.now()) ?? { offsetMs: 0, uncertaintyMs: Infinity, roundTripMs: Infinity };
  }

  /** Leaves this connection and makes another one in `delayMs`: a server that drains asks for it. */
  moveIn(delayMs: number): void {
    this.#toldDelayMs = delayMs;
    this.#connection?.close();
  }

  /** Ends the session for good; may be called again. Resolves when the socket is closed, after a second at the latest. */
  close(): Promise<void> {
    this.#closing ??= this.#shutDown();
    return this.#closing;
  }

  #connect(): void {
    const startMs = this.clock.now();
    const { address, subprotocol, decode } = this.#options;
    this.#connection = new Connection<Welcome, Message>(
      { WebSocket: this.#WebSocket, address: address(this.#welcome), subprotocol, decode },
      {
        onWelcome: (welcome) => this.#onWelcome(welcome, startMs),
        onMessage: (message) => this.#onMessage(message),
        onEnd: (end) => this.#onEnd(end),
      },
    );
  }

  #onWelcome(welcome: Welcome, startMs: number): void {
    const nowMs = this.clock.now();
    const first = this.#welcome === undefined;
    this.#welcome = welcome;
    this.#openedMs = nowMs;
    if (!first) this.#reconnects++;
    // The server at the address may be another one than before.
    this.#sync.reset();
    this.#sync.addGreeting(welcome.server_time, startMs, nowMs);
    this.#state = 'open';
    this.#listener.onOpen(welcome);
    this.#askClock(CLOCK_EXCHANGES);
    this.#opened.resolve();
    if (!first) this.#listener.onState({ state: 'open' });
  }

  #onMessage(message: Message): void {
    if (message.type === 'clock') this.#onClock(message as unknown as ClockReply);
    else this.#listener.onMessage(message);
  }

  #onEnd({ error, final }: ConnectionEnd): void {
    this.#connection = undefined;
    this.#onSocketClosed?.();
    if (this.#state === 'closed') return;
    const wasOpen = this.#state === 'open';
    this.#stopTimers();
    this.#state = 'reconnecting';
    this.#listener.onLost();
    if (this.#welcome === undefined || final || this.#reconnect === false) return this.#finish(error);
    if (wasOpen && this.clock.now() - this.#openedMs >= this.#reconnect.delayMaxMs) this.#attempt = 0;
    if (this.#attempt >= this.#reconnect.attemptsMax) {
      const message = `gave up after ${this.#attempt} attempts to reconnect: ${error.message}`;
      return this.#finish(new SightlineError('CONNECTION_LOST', message, { cause: error }));
    }
    const delayMs = this.#toldDelayMs ?? reconnectDelayMs(this.#attempt++, this.#reconnect, this.random);
    this.#toldDelayMs = undefined;
    this.#reconnectTimer = setTimeout(() => this.#connect(), delayMs);
    if (wasOpen) this.#listener.onState({ state: 'reconnecting', error });
  }

  /** The end of the session: by `close` without an error, else with the one that cannot be mended. */
  #finish(error?: SightlineError): void {
    const wasOpen = this.#state === 'open';
    this.#state = 'closed';
    this.#stopTimers();
    if (wasOpen) this.#listener.onLost();
    if (error) this.#opened.reject(error);
    this.#listener.onState(error ? { state: 'closed', error } : { state: 'closed' });
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

  /** Asks so many times in a row, then again after a while. */
  #askClock(exchanges: number): void {
    this.#clockExchangesLeft = exchanges;
    this.#clockAskedMs = this.clock.now();
    const round_trip_ms = this.#sync.roundTripMs(this.#clockAskedMs);
    const request: VideoClockRequest = { type: 'clock', t0: this.#clockAskedMs };
    this.send(this.#options.encodeClock(round_trip_ms === undefined ? request : { ...request, round_trip_ms }));
  }

  #onClock({ t0, t1, t2 }: ClockReply): void {
    if (t0 !== this.#clockAskedMs) return;
    this.#clockAskedMs = undefined;
    this.#sync.add({ t0, t1, t2, t3: this.clock.now() });
    const left = this.#clockExchangesLeft - 1;
    this.#clockTimer =
      left > 0
        ? setTimeout(() => this.#askClock(left), CLOCK_SPACING_MS)
        : setTimeout(() => this.#askClock(CLOCK_EXCHANGES), CLOCK_INTERVAL_MS);
  }
}
