import type { Clock } from '../base/clock.ts';
import { ownTimeMs, systemClock, wallAheadMs, wallTimeMs } from '../base/clock.ts';
import { SightlineError, toSightlineError, type ErrorCode } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import type { ClockReply, VideoClockRequest } from '../protocol/video.ts';
import type { ClockEstimate } from './clock-sync.ts';
import { ClockSync } from './clock-sync.ts';
import type { ConnectionEnd, Greeting } from './connection.ts';
import { Connection } from './connection.ts';
import { Liveness, SILENT_TICKS_MAX } from './liveness.ts';
import type { ReconnectPolicy } from './reconnect.ts';
import { RECONNECT_DEFAULTS, reconnectDelayMs } from './reconnect.ts';
import type { WebSocketConstructor } from './socket.ts';
import { platformWebSocket } from './socket.ts';
import { readToken, storeError, writeToken, type TokenStore } from './token-store.ts';

const CLOSE_TIMEOUT_MS = 1_000;
const CLOCK_EXCHANGES = 5;
const CLOCK_SPACING_MS = 20;
const LINE_TIMEOUT_MS = 10_000;
/** Without a time-out the client still asks the server for its time. */
const TICK_MS = 1_000;
/** An estimate of the server's clock is good for so long: asked for with every batch, it is worked out now and then. */
const OFFSET_MS = 1_000;
/** Between two ticks a wall clock moves by this much only when it is set, or the machine slept. */
const WALL_STEP_MS = 100;

/** `reconnecting`: the connection is lost and another one is being made. `closed` is for good. */
export type SessionState = 'open' | 'reconnecting' | 'closed';

/** With `error`: why the connection was lost, or why the session is over. */
export interface StateChange {
  readonly state: SessionState;
  readonly error?: SightlineError;
}

/** The options that every kind of session has. */
export interface LinkSettings {
  /** The session's name; the server makes one up otherwise. */
  readonly clientId?: string;
  /** From an earlier `welcome` for the same `clientId`: takes that session up again. */
  readonly token?: string;
  /** Keeps name and token, so that the program gets its name back when it is restarted; the session begins anew. */
  readonly tokenStore?: TokenStore;
  /**
   * The key, where the server asks for one. A function is asked before each connection, and once more where its last answer has expired
   * or counts no more.
   */
  readonly accessToken?: string | (() => string | Promise<string>);
  /** For platforms without a global WebSocket. */
  readonly WebSocket?: WebSocketConstructor;
  /** Unix milliseconds; all times that the session returns and takes are its time of day unless they say otherwise. */
  readonly clock?: Clock;
  readonly random?: Random;
  /** What to do when the connection is lost; `false`: the session ends. */
  readonly reconnect?: Partial<ReconnectPolicy> | false;
  /**
   * A connection is lost when the server leaves a question unanswered for this long, ms; default 10,000, `Infinity`: it counts
   * as alive as long as its socket is open. The client asks for the server's time every half of it.
   */
  readonly lineTimeoutMs?: number;
}

/** A connection's query. */
export interface Identity {
  readonly access_token?: string | undefined;
  readonly client_id?: string | undefined;
  readonly token?: string | undefined;
  readonly resume?: false;
}

export interface LinkOptions<Message> {
  readonly settings: LinkSettings;
  /** The path of the lane: a stored token is good for it alone. */
  readonly lane: string;
  readonly address: (identity: Identity) => string;
  readonly subprotocol?: string | undefined;
  readonly decode: (data: string | Uint8Array) => Message;
  readonly encodeClock: (request: VideoClockRequest) => string | Uint8Array<ArrayBuffer>;
}

export interface LinkListener<Welcome, Message> {
  /** A connection is up: repeat the state that its server must know. Before any listener learns of it. */
  onOpen(welcome: Welcome): void;
  /** Every message but welcomes and the clock's. */
  onMessage(message: Message): void;
  /** A connection is gone, or never came: outstanding answers will not come. */
  onLost(): void;
  /** After the first opening; `closed` comes once and last. */
  onState(change: StateChange): void;
  /** An error that does not end the session. After the first opening. */
  onFault(error: SightlineError): void;
}

/**
 * The common part of all lanes: one session across as many connections as it takes. It connects, greets, reconnects with backoff and
 * its token, and keeps the server's time; its owner handles the messages.
 */
export class Link<Welcome extends Greeting, Message extends { readonly type: string }> {
  readonly clock: Clock;
  readonly random: Random;
  readonly #options: LinkOptions<Message>;
  readonly #listener: LinkListener<Welcome, Message>;
  readonly #WebSocket: WebSocketConstructor;
  readonly #reconnect: ReconnectPolicy | false;
  readonly #lineTimeoutMs: number;
  readonly #sync = new ClockSync();
  #offsetMs = 0;
  /** There is a new estimate from here on. */
  #offsetUntilMs = -Infinity;
  readonly #opened = Promise.withResolvers<void>();
  /** The program was asked for another key since the last welcome. */
  #hasRenewed = false;
  /** Token of the next connection. */
  #identity: Identity;
  #welcome: Welcome | undefined;
  #connection: Connection<Welcome, Message> | undefined;
  #state: SessionState = 'reconnecting';
  #reconnects = 0;
  /** Connections tried since one lasted. */
  #attempt = 0;
  #openedMs = 0;
  /** Delay that the server gave for coming back: it overrides the backoff, once. */
  #toldDelayMs: number | undefined;
  #reconnectTimer: ReturnType<typeof setTimeout> | undefined;
  #clockTimer: ReturnType<typeof setTimeout> | undefined;
  #ticker: ReturnType<typeof setInterval> | undefined;
  #liveness = new Liveness();
  #wallAheadMs = 0;
  /** Why there is no connection, as last reported to the owner. */
  #toldCode: ErrorCode | undefined;
  /** The `t0` of the outstanding question. */
  #clockAskedMs: number | undefined;
  #clockExchangesLeft = 0;
  #closing: Promise<void> | undefined;
  #onSocketClosed: (() => void) | undefined;

  /** Throws CONNECTION_FAILED on a platform without a WebSocket, and for an invalid time-out. */
  constructor(options: LinkOptions<Message>, listener: LinkListener<Welcome, Message>) {
    const { settings } = options;
    this.#options = options;
    this.#listener = listener;
    this.#identity = { client_id: settings.clientId, token: settings.token };
    this.#WebSocket = settings.WebSocket ?? platformWebSocket();
    this.clock = settings.clock ?? systemClock;
    this.random = settings.random ?? Math.random;
    this.#reconnect = settings.reconnect === false ? false : { ...RECONNECT_DEFAULTS, ...settings.reconnect };
    this.#lineTimeoutMs = settings.lineTimeoutMs ?? LINE_TIMEOUT_MS;
    if (!(this.#lineTimeoutMs >= SILENT_TICKS_MAX)) {
      const told = String(settings.lineTimeoutMs);
      throw new SightlineError('CONNECTION_FAILED', `lineTimeoutMs is ${told}: give ${SILENT_TICKS_MAX} ms or more`);
    }
  }

  /** Resolves with the first welcome; rejects with the server's refusal, or CONNECTION_FAILED. */
  async open(): Promise<void> {
    await this.#recall();
    if (this.#state !== 'closed') this.#connect();
    return this.#opened.promise;
  }

  /** Welcome of the present connection, or of the last one. Undefined only until the first. */
  get welcome(): Welcome | undefined {
    return this.#welcome;
  }

  get state(): SessionState {
    return this.#state;
  }

  get reconnects(): number {
    return this.#reconnects;
  }

  /** Bytes that the socket has not sent yet; 0 without a connection. */
  get bufferedBytes(): number {
    return this.#connection?.bufferedBytes ?? 0;
  }

  /** False, and nothing is sent, while there is no connection: repeat lost state in `onOpen`. */
  send(data: string | Uint8Array<ArrayBuffer>): boolean {
    if (this.#state !== 'open' || !this.#connection) return false;
    this.#connection.send(data);
    return true;
  }

  /** Server's time of day minus `clock.now()`, ms: setting the client's clock does not change it. 0 before the first welcome. */
  offsetMs(nowMs: number): number {
    if (nowMs >= this.#offsetUntilMs || nowMs < this.#offsetUntilMs - OFFSET_MS) {
      this.#offsetMs = this.#sync.estimate(nowMs)?.offsetMs ?? 0;
      this.#offsetUntilMs = nowMs + OFFSET_MS;
    }
    return this.#offsetMs;
  }

  /** Of both sides' times of day. */
  clockEstimate(): ClockEstimate {
    const estimate = this.#sync.estimate(this.clock.now());
    if (!estimate) return { offsetMs: 0, uncertaintyMs: Infinity, roundTripMs: Infinity };
    return { ...estimate, offsetMs: estimate.offsetMs - wallAheadMs(this.clock) };
  }

  /** Of the server's clock, ms; Infinity: not known yet. */
  uncertaintyMs(nowMs: number): number {
    return this.#sync.estimate(nowMs)?.uncertaintyMs ?? Infinity;
  }

  /** The client's time of day at a moment of its `clock`, in which the program gets its times. */
  toWallMs(timeMs: number): number {
    return wallTimeMs(this.clock, timeMs);
  }

  /** The moment of its `clock` for a time of day of the program. */
  toOwnMs(wallMs: number): number {
    return ownTimeMs(this.clock, wallMs);
  }

  /** The server's time of day for the client's, both Unix ms. */
  toServerMs(wallMs: number): number {
    return this.toOwnMs(wallMs) + this.offsetMs(this.clock.now());
  }

  /** Leaves this connection and makes another one in `delayMs`: a server that drains asks for it. */
  moveIn(delayMs: number): void {
    this.#toldDelayMs = delayMs;
    this.#connection?.close({ comesBack: true });
  }

  /** Ends the session for good; may be called again. Resolves when the socket is closed, after a second at the latest. */
  close(): Promise<void> {
    this.#closing ??= this.#shutDown();
    return this.#closing;
  }

  #connect(): void {
    const { accessToken } = this.#options.settings;
    if (typeof accessToken !== 'function') return this.#connectBy(accessToken);
    void this.#connectAsking(accessToken);
  }

  async #connectAsking(ask: () => string | Promise<string>): Promise<void> {
    let token: string;
    try {
      token = await ask();
    } catch (thrown) {
      return this.#onEnd({ error: toSightlineError(thrown, 'CREDENTIALS_MISSING'), final: false });
    }
    if (this.#state !== 'closed' && !this.#closing) this.#connectBy(token);
  }

  #connectBy(accessToken: string | undefined): void {
    const startMs = this.clock.now();
    const { address, subprotocol, decode } = this.#options;
    const identity = { ...this.#identity, access_token: accessToken };
    this.#connection = new Connection<Welcome, Message>(
      { WebSocket: this.#WebSocket, address: address(identity), subprotocol, decode },
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
    this.#hasRenewed = false;
    this.#keep(welcome);
    this.#openedMs = nowMs;
    if (!first) this.#reconnects++;
    // The server at the address may be another one than before.
    this.#sync.reset();
    this.#sync.addGreeting(welcome.server_time, startMs, nowMs);
    this.#offsetUntilMs = -Infinity;
    this.#state = 'open';
    this.#toldCode = undefined;
    this.#listener.onOpen(welcome);
    this.#opened.resolve();
    // A listener may have closed the session meanwhile.
    if (this.#connection === undefined || this.#closing) return;
    this.#watchLine();
    this.#askClock(CLOCK_EXCHANGES);
    if (!first) this.#listener.onState({ state: 'open' });
  }

  #onMessage(message: Message): void {
    this.#liveness.heard();
    if (message.type === 'clock') this.#onClock(message as unknown as ClockReply);
    else this.#listener.onMessage(message);
  }

  #onEnd({ error, final, afterMs = 0 }: ConnectionEnd): void {
    this.#connection = undefined;
    this.#onSocketClosed?.();
    if (this.#state === 'closed') return;
    const wasOpen = this.#state === 'open';
    this.#stopTimers();
    this.#state = 'reconnecting';
    this.#listener.onLost();
    const isFinal = final && !this.#mayRenew(error);
    if (this.#welcome === undefined || isFinal || this.#reconnect === false) return this.#finish(error);
    if (wasOpen && this.clock.now() - this.#openedMs >= this.#reconnect.delayMaxMs) this.#attempt = 0;
    if (this.#attempt >= this.#reconnect.attemptsMax) {
      const message = `gave up after ${this.#attempt} attempts to reconnect: ${error.message}`;
      return this.#finish(new SightlineError('CONNECTION_LOST', message, { cause: error }));
    }
    const delayMs = this.#toldDelayMs ?? afterMs + reconnectDelayMs(this.#attempt++, this.#reconnect, this.random);
    this.#toldDelayMs = undefined;
    this.#reconnectTimer = setTimeout(() => this.#connect(), delayMs);
    // A server that is there and refuses is another matter than one that is gone.
    const isRefused = error.code !== 'CONNECTION_FAILED' && error.code !== this.#toldCode;
    if (!wasOpen && !isRefused) return;
    this.#toldCode = error.code;
    this.#listener.onState({ state: 'reconnecting', error });
  }

  /** Another key may be let in where this one was not: once after each connection that was. */
  #mayRenew({ code }: SightlineError): boolean {
    if (typeof this.#options.settings.accessToken !== 'function' || !code.startsWith('CREDENTIALS_')) return false;
    const isFirst = !this.#hasRenewed;
    this.#hasRenewed = true;
    return isFirst;
  }

  /** The end of the session: by `close` without an error, else with the one that cannot be recovered from. */
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
    // Messages in transit go on after that: a slow connection is not cut.
    const timer = setTimeout(closed.resolve, CLOSE_TIMEOUT_MS);
    connection.close();
    await closed.promise;
    clearTimeout(timer);
  }

  #stopTimers(): void {
    clearTimeout(this.#reconnectTimer);
    clearTimeout(this.#clockTimer);
    clearInterval(this.#ticker);
    this.#clockAskedMs = undefined;
  }

  /** Name and token of the program's earlier run. */
  async #recall(): Promise<void> {
    const { settings, lane } = this.#options;
    const { tokenStore, clientId, token } = settings;
    if (!tokenStore || token !== undefined) return;
    try {
      const stored = readToken(await tokenStore.load(), lane, clientId);
      if (stored) this.#identity = { client_id: stored.client_id, token: stored.token, resume: false };
    } catch (thrown) {
      this.#tellFault(thrown);
    }
  }

  /** The next connection takes up this session; so does, where there is a store, the next run of the program with its name. */
  #keep({ client_id, token }: Welcome): void {
    const isKnown = this.#identity.client_id === client_id && this.#identity.token === token;
    this.#identity = { client_id, token };
    const { settings, lane } = this.#options;
    if (isKnown || !settings.tokenStore || token === undefined) return;
    try {
      const saved = settings.tokenStore.save(writeToken({ lane, client_id, token }));
      if (saved) saved.catch((thrown: unknown) => this.#tellFault(thrown));
    } catch (thrown) {
      this.#tellFault(thrown);
    }
  }

  /** Later: a program can listen only once it has its session. */
  #tellFault(thrown: unknown): void {
    const tell = (): void => this.#listener.onFault(storeError(thrown));
    this.#opened.promise.then(
      () => setTimeout(tell, 0),
      () => {},
    );
  }

  /** From now on: asks for the server's time now and then, and gives the connection up when no answer comes. */
  #watchLine(): void {
    this.#liveness = new Liveness();
    this.#wallAheadMs = wallAheadMs(this.clock);
    const tickMs = this.#lineTimeoutMs === Infinity ? TICK_MS : this.#lineTimeoutMs / SILENT_TICKS_MAX;
    this.#ticker = setInterval(() => this.#onTick(), tickMs);
  }

  #onTick(): void {
    const verdict = this.#liveness.tick(this.#connection!.line);
    if (verdict === 'dead' && this.#lineTimeoutMs !== Infinity) {
      return this.#connection!.giveUp(`has not answered for ${this.#lineTimeoutMs} ms: the line is dead`);
    }
    const aheadMs = wallAheadMs(this.clock);
    // The clock was set, which changes nothing here; or the machine slept, and its own time stood still meanwhile.
    const hasStepped = Math.abs(aheadMs - this.#wallAheadMs) > WALL_STEP_MS;
    this.#wallAheadMs = aheadMs;
    if ((verdict === 'ask' || hasStepped) && this.#clockAskedMs === undefined) this.#askClock(1);
  }

  /** Asks this many times in a row. */
  #askClock(exchanges: number): void {
    clearTimeout(this.#clockTimer);
    this.#clockExchangesLeft = exchanges;
    this.#clockAskedMs = this.clock.now();
    const round_trip_ms = this.#sync.roundTripMs(this.#clockAskedMs);
    const request: VideoClockRequest = { type: 'clock', t0: this.#clockAskedMs };
    this.send(this.#options.encodeClock(round_trip_ms === undefined ? request : { ...request, round_trip_ms }));
    this.#liveness.asked(this.#connection!.line.sentBytes);
  }

  #onClock({ t0, t1, t2 }: ClockReply): void {
    if (t0 !== this.#clockAskedMs) return;
    this.#clockAskedMs = undefined;
    this.#liveness.answered();
    this.#sync.add({ t0, t1, t2, t3: this.clock.now() });
    this.#offsetUntilMs = -Infinity;
    const left = this.#clockExchangesLeft - 1;
    if (left > 0) this.#clockTimer = setTimeout(() => this.#askClock(left), CLOCK_SPACING_MS);
  }
}
