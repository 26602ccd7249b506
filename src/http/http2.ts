import { maxHeaderSize, type IncomingMessage, type ServerResponse } from 'node:http';
import {
  createServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type Http2Session,
  type ServerHttp2Session,
} from 'node:http2';
import type { Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';
import type { SocketEnding } from '../observe/metrics.ts';
import { ANSWER_MS_MAX, type Connection, type Connections } from './connections.ts';

/**
 * Connections by HTTP/2 (RFC 9113): many requests at once on one of them. They have the same places and times as all others, but Node's
 * own timers know only HTTP/1.1, and a client that sends pings is never idle to a socket: so they are looked at now and then.
 */

export interface Http2Settings {
  readonly headerTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
  readonly unreadTimeoutMs: number;
}

export interface Http2Request {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly connection: Connection;
  /** Its client has given it up. */
  readonly isOver: () => boolean;
}

/** Requests of a connection at once; further ones are refused by the protocol. */
export const STREAMS_MAX = 64;
/** Memory of a connection for headers, and for answers that wait in it, which have a bound of their own for all connections together, MB. */
const SESSION_MB_MAX = 64;
/** Streams that a client may give up at once, and further ones a second; beyond it the connection ends (CVE-2023-44487). */
const RESETS_MAX = 200;
const RESETS_PER_S = 50;
/** Pings and settings that a client may send at once, and more each time that its connection is looked at; each has an answer. */
const CONTROL_FRAMES_MAX = 200;
const CONTROL_FRAMES_PER_LOOK = 10;
/** Frames that are not valid, and streams that are refused, until the connection ends. */
const INVALID_FRAMES_MAX = 10;
const REJECTED_STREAMS_MAX = 100;
const HEADER_PAIRS_MAX = 128;
/** What a client takes of an answer at least, bytes a second, beside the time in which it need take nothing: of a part of it Node sees no progress. */
const TAKES_PER_S_MIN = 65_536;
const LOOK_MS = 500;

interface Session {
  readonly connection: Connection;
  readonly session: ServerHttp2Session;
  readonly exchanges: Set<Exchange>;
  hasAsked: boolean;
  /** Its pings and settings, less those that time has forgiven. */
  controlFrames: number;
}

interface Exchange {
  readonly request: Http2ServerRequest;
  readonly response: Http2ServerResponse;
  readonly sinceMs: number;
  /** Bytes that wait for its client, and since when they are no fewer. */
  left: number;
  leftSinceMs: number;
}

export class Http2Connections {
  readonly #clock: Clock;
  readonly #settings: Http2Settings;
  readonly #connections: Pick<Connections, 'of' | 'cut'>;
  readonly #onRequest: (request: Http2Request) => void;
  readonly #server: Http2Server;
  readonly #sessions = new Map<Http2Session, Session>();
  /** Whose session is being made. */
  #taken: Connection | undefined;
  #look: NodeJS.Timeout | undefined;

  constructor(parts: {
    readonly clock: Clock;
    readonly settings: Http2Settings;
    readonly connections: Pick<Connections, 'of' | 'cut'>;
    readonly onRequest: (request: Http2Request) => void;
  }) {
    this.#clock = parts.clock;
    this.#settings = parts.settings;
    this.#connections = parts.connections;
    this.#onRequest = parts.onRequest;
    this.#server = createServer({
      settings: { maxConcurrentStreams: STREAMS_MAX, enablePush: false, maxHeaderListSize: maxHeaderSize },
      maxSessionMemory: SESSION_MB_MAX,
      maxHeaderListPairs: HEADER_PAIRS_MAX,
      maxSessionInvalidFrames: INVALID_FRAMES_MAX,
      maxSessionRejectedStreams: REJECTED_STREAMS_MAX,
      streamResetBurst: RESETS_MAX,
      streamResetRate: RESETS_PER_S,
    });
    this.#server.on('session', (session) => this.#opened(session));
    const asked = (request: Http2ServerRequest, response: Http2ServerResponse): void => this.#asked(request, response);
    this.#server.on('request', asked);
    // What else a client may expect is left unfulfilled, as by HTTP/1.1.
    this.#server.on('checkContinue', asked);
  }

  /** Connections by HTTP/2. */
  get size(): number {
    return this.#sessions.size;
  }

  /** Takes a connection whose client has agreed on HTTP/2. */
  take(socket: Socket): void {
    const connection = this.#connections.of(socket);
    if (connection?.state === undefined) return void socket.destroy();
    this.#taken = connection;
    this.#server.emit('connection', socket);
    this.#taken = undefined;
  }

  /** Idempotent. The connections are cut by their owner. */
  close(): void {
    clearInterval(this.#look);
    this.#look = undefined;
  }

  #opened(session: ServerHttp2Session): void {
    const connection = this.#taken!;
    const entry: Session = { connection, session, exchanges: new Set(), hasAsked: false, controlFrames: 0 };
    this.#sessions.set(session, entry);
    this.#look ??= setInterval(() => this.#lookAtAll(), LOOK_MS).unref();
    // Node tells of it only once the connection has closed.
    session.on('error', ignore);
    const destroy = session.destroy.bind(session);
    session.destroy = (error, code) => {
      // Bad frames, too many of them, too many streams that were given up.
      if (isOfProtocol(error) && connection.ending === 'closed') connection.ending = 'bad_request';
      destroy(error, code);
    };
    const count = (): void => {
      if (++entry.controlFrames > CONTROL_FRAMES_MAX) this.#cut(entry, 'bad_request');
    };
    session.on('ping', count).on('remoteSettings', count);
    session.once('close', () => {
      this.#sessions.delete(session);
      if (this.#sessions.size === 0) this.close();
      // The session has said its last word; its client may keep the connection open.
      this.#cut(entry, 'closed');
    });
  }

  #asked(request: Http2ServerRequest, response: Http2ServerResponse): void {
    const { stream, headers } = request;
    const entry = stream.session && this.#sessions.get(stream.session);
    if (!entry || entry.connection.state === undefined) return stream.close();
    const nowMs = this.#clock.now();
    const exchange = { request, response, sinceMs: nowMs, left: 0, leftSinceMs: nowMs };
    entry.hasAsked = true;
    entry.exchanges.add(exchange);
    stream.once('close', () => entry.exchanges.delete(exchange));
    stream.on('error', ignore);
    const { socket } = entry.connection;
    // Node's own stands for the session, and throws once that has gone.
    Object.defineProperty(request, 'socket', { value: socket });
    // One that contradicts the authority is malformed (RFC 9113 §8.3.1): it names no host of ours then.
    const { host, ':authority': authority } = headers;
    if (authority !== undefined) headers.host = host === undefined || host === authority ? authority : '';
    this.#onRequest({
      request: request as unknown as IncomingMessage,
      response: response as unknown as ServerResponse,
      connection: entry.connection,
      isOver: () => stream.destroyed || socket.destroyed,
    });
  }

  #lookAtAll(): void {
    const nowMs = this.#clock.now();
    for (const entry of this.#sessions.values()) {
      entry.controlFrames = Math.max(0, entry.controlFrames - CONTROL_FRAMES_PER_LOOK);
      const ending = this.#judge(entry, nowMs);
      if (ending !== undefined) this.#cut(entry, ending);
    }
  }

  #judge({ connection, exchanges, hasAsked }: Session, nowMs: number): SocketEnding | undefined {
    const { headerTimeoutMs, requestTimeoutMs, keepAliveTimeoutMs, unreadTimeoutMs } = this.#settings;
    if (connection.state === 'waiting') {
      const waitsMs = nowMs - connection.sinceMs;
      if (hasAsked) return waitsMs >= keepAliveTimeoutMs ? 'idle' : undefined;
      return waitsMs >= headerTimeoutMs ? 'silent' : undefined;
    }
    for (const exchange of exchanges) {
      const { request, response, sinceMs } = exchange;
      const isWhole = request.stream.endAfterHeaders || request.complete;
      if (!isWhole && nowMs - sinceMs >= requestTimeoutMs) return 'request_timeout';
      const left = response.writableLength;
      if (left === 0 || left < exchange.left) exchange.leftSinceMs = nowMs;
      exchange.left = left;
      if (nowMs - exchange.leftSinceMs >= unreadTimeoutMs + (left * 1_000) / TAKES_PER_S_MIN) return 'unread';
      if (connection.state === 'request' && nowMs - sinceMs >= ANSWER_MS_MAX) return 'unanswered';
    }
    return undefined;
  }

  #cut({ connection, session }: Session, ending: SocketEnding): void {
    if (!session.destroyed) session.destroy();
    this.#connections.cut(connection, ending);
  }
}

function isOfProtocol(error: Error | undefined): boolean {
  return (error as NodeJS.ErrnoException | undefined)?.code?.startsWith('ERR_HTTP2') === true;
}

function ignore(): void {
  // A client that goes away in the middle; the stream closes.
}
