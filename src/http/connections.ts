import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import { inPlaceOf } from '../net/listeners.ts';
import type { Log } from '../log/log.ts';
import type { Descriptors } from '../observe/descriptors.ts';
import {
  HANDSHAKE_FAULTS,
  SOCKET_ENDINGS,
  SOCKET_STATES,
  type HandshakeFault,
  type SocketEnding,
  type SocketsReport,
  type SocketState,
} from '../observe/metrics.ts';
import { AddressBook, type AddressBound, type AddressEntry, type AddressSettings } from './addresses.ts';
import { rawAnswer } from './answers.ts';
import { greediest, judgeSilence, placesFor, type Places } from './places.ts';

/**
 * The owner of every TCP connection: what it is doing, until when it may, and who makes room when there is none. A request's
 * arrival and the time between two requests are watched by Node's own timers (`headersTimeout`, `requestTimeout`,
 * `keepAliveTimeout`); a WebSocket's session watches whether its client is there, `ws` the closing handshake.
 */

export interface ConnectionSettings {
  /** WebSockets and event streams at once. */
  readonly connectionsMax: number;
  readonly addresses: AddressSettings;
  /** A client that takes nothing of what waits for it for this long is cut. */
  readonly unreadTimeoutMs: number;
  /** Bytes of answers that wait for their clients, in all. */
  readonly answerBytesMax: number;
  readonly reservedDescriptors: number;
  /** How long a refused client has to read why. */
  readonly lingerMs: number;
  /** How long a WebSocket whose client has ended its side has to write the rest. */
  readonly closeTimeoutMs: number;
}

/** One TCP connection. */
export interface Connection {
  /** Of the system. */
  readonly raw: Socket;
  /** By which requests come: where the connection is encrypted, once its handshake is done, another than `raw`. */
  socket: Socket;
  /** Bytes that the system had yet to take, where that was last looked at; of an encrypted connection. */
  queuedBytes: number | undefined;
  /** Its TLS handshake has not ended yet. */
  handshake: Handshake | undefined;
  /** undefined: another program's server has accepted it. */
  readonly address: AddressEntry | undefined;
  /** undefined: it was cut. */
  state: SocketState | undefined;
  /** Since when it has been in this state. */
  sinceMs: number;
  /** Whatever it asks for is answered by this. */
  refusal: SightlineError | undefined;
  ending: SocketEnding;
  /** Of a WebSocket: the path by which it came. */
  endpoint: string | undefined;
  /** Requests without a whole answer, in their order. */
  answers: Map<ServerResponse, Answer> | undefined;
}

interface Handshake {
  /** Both ends of the connection, by which the socket that comes out of it is known. */
  readonly ends: string;
  fault: HandshakeFault | undefined;
}

interface Answer {
  bytes: number;
  files: number;
  /** Begins with it; undefined: it has begun. */
  start: (() => void) | undefined;
}

/** Requests that a client may send ahead of their answers. */
const PIPELINE_MAX = 16;
/** No handler of the server takes as long. */
export const ANSWER_MS_MAX = 600_000;
/** Clients at once that are told why they are refused; further ones are cut. */
const REFUSALS_MAX = 64;
/** Connections among which one is chosen to make room. */
const LOOK_MAX = 64;
/** Memory that sending a file takes. */
const FILE_BUFFER_BYTES = 128 * 1024;
/** Errors of handshakes whose cause is known; others are faults of the protocol. */
const FAULTS: Readonly<Record<string, HandshakeFault>> = {
  ERR_SSL_HTTP_REQUEST: 'plain_http',
  ERR_TLS_HANDSHAKE_TIMEOUT: 'timeout',
  ECONNRESET: 'ended',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'untrusted',
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: 'untrusted',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: 'untrusted',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: 'untrusted',
};
/** Endings that are ordinary, come of any scanner's rubbish, or are logged where they are caused. */
const UNLOGGED: ReadonlySet<SocketEnding> = new Set([
  'closed',
  'silent',
  'idle',
  'bad_request',
  'handshake_failed',
  'refused',
  'stopped',
]);

/** After these nothing waits for the client, but an answer that it is about to read. */
const GENTLE: ReadonlySet<SocketEnding> = new Set(['closed', 'silent', 'idle', 'stopped']);

export class Connections {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #settings: ConnectionSettings;
  readonly #descriptors: Descriptors;
  readonly #addresses: AddressBook;
  readonly #isBanned: (address: string) => boolean;
  /** Sockets that have not closed yet, those that were cut included. */
  readonly #all = new Map<Socket, Connection>();
  /** Those whose TLS handshake has not ended, by their ends. */
  readonly #handshakes = new Map<string, Connection>();
  /** Of encrypted connections, by the sockets that came out of their handshakes. */
  readonly #secured = new WeakMap<Duplex, Connection>();
  /** How long a TLS handshake may take; undefined: connections are not encrypted. */
  readonly #handshakeMs: number | undefined;
  readonly #handshakesFailed = Object.fromEntries(HANDSHAKE_FAULTS.map((fault) => [fault, 0])) as Record<
    HandshakeFault,
    number
  >;
  /** In the order in which they came into their state. */
  readonly #byState = Object.fromEntries(SOCKET_STATES.map((state) => [state, new Set()])) as Record<
    SocketState,
    Set<Connection>
  >;
  /** Those with bytes of answers that wait, the longest waiting first. */
  readonly #owing = new Map<Connection, number>();
  readonly #endings = Object.fromEntries(SOCKET_ENDINGS.map((ending) => [ending, 0])) as Record<SocketEnding, number>;
  readonly #refused: Record<AddressBound, number> = { connections: 0, rate: 0, handshakes: 0 };
  #accepted = 0;
  #answerBytes = 0;
  #files = 0;
  #beingRefused = 0;
  /** Descriptors that are neither sockets nor files of these connections, when they were counted last. */
  #otherDescriptors: number | undefined;
  #countedMs = -Infinity;
  #receivedBytes = 0;
  #sentBytes = 0;
  /** One for all sockets: a closure for each would live as long as its connection. */
  readonly #onClose: (this: Socket) => void;
  /** For a WebSocket. */
  readonly #closeOf: (socket: Socket, event: 'close') => void;
  readonly #endOf: (socket: Socket, event: 'end') => void;

  constructor(parts: {
    clock: Clock;
    log: Log;
    descriptors: Descriptors;
    settings: ConnectionSettings;
    /** Clients of the address are refused for what they did. */
    isBanned: (address: string) => boolean;
    handshakeMs: number | undefined;
  }) {
    this.#handshakeMs = parts.handshakeMs;
    this.#isBanned = parts.isBanned;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#settings = parts.settings;
    this.#descriptors = parts.descriptors;
    this.#addresses = new AddressBook(parts.clock, parts.settings.addresses, parts.isBanned);
    const closed = (socket: Socket): void => this.#closed(socket);
    this.#onClose = function onClose() {
      closed(this);
    };
    this.#closeOf = inPlaceOf<Socket, [boolean]>(
      (close) =>
        function onClose(hadError) {
          closed(this);
          close.call(this, hadError);
        },
    );
    const halfClosed = (socket: Socket): void => this.#halfClosed(socket);
    this.#endOf = inPlaceOf<Socket, []>(
      (end) =>
        function onEnd() {
          end.call(this);
          halfClosed(this);
        },
    );
  }

  /** Places at this moment: other descriptors of the process come and go. */
  get places(): Places {
    return placesFor(this.#settings.connectionsMax, this.#descriptorUse());
  }

  /** Bytes of all connections since the start. */
  get traffic(): { readonly received_bytes: number; readonly sent_bytes: number } {
    let [received, sent] = [this.#receivedBytes, this.#sentBytes];
    for (const { bytesRead = 0, bytesWritten = 0 } of this.#all.keys() as Iterable<Partial<Socket>>) {
      received += bytesRead;
      sent += bytesWritten;
    }
    return { received_bytes: received, sent_bytes: sent };
  }

  report(): Omit<SocketsReport, 'requests_waiting'> {
    return {
      open: Object.fromEntries(SOCKET_STATES.map((state) => [state, this.#byState[state].size])) as Record<
        SocketState,
        number
      >,
      max: this.places.sockets,
      accepted: this.#accepted,
      ended: { ...this.#endings },
      refused: { ...this.#refused },
      handshakes_failed: { ...this.#handshakesFailed },
      addresses: this.#addresses.present,
      answer_bytes: this.#answerBytes,
    };
  }

  of(socket: Duplex): Connection | undefined {
    return this.#all.get(socket as Socket) ?? this.#secured.get(socket);
  }

  /**
   * Whether a connection from there is to be dropped before anything is made of it: the address is over its bounds, and has been told so often
   * enough. To refuse each of a flood would take several times as long.
   */
  drops(remoteAddress: string): boolean {
    const bound = this.#addresses.untold(remoteAddress);
    if (bound === undefined) return false;
    this.#accepted++;
    this.#refused[bound]++;
    this.#endings.refused++;
    return true;
  }

  /** Takes a connection that was just accepted. Where there is no place for it, another one ends, or itself. */
  accept(socket: Socket): void {
    const { remoteAddress } = socket;
    // It is gone already.
    if (remoteAddress === undefined) return void socket.destroy();
    const { entry, over } = this.#addresses.enter(remoteAddress);
    const connection = this.#add(socket, entry);
    if (this.#handshakeMs !== undefined) {
      connection.handshake = { ends: endsOf(socket), fault: undefined };
      this.#handshakes.set(connection.handshake.ends, connection);
    }
    if (over !== undefined && !(over === 'connections' && this.#evictOf(entry, connection))) {
      this.#limit(connection, over);
    }
    this.#makeRoom(connection);
  }

  /** The TLS handshake of a connection is done: its requests come by this socket. */
  secured(socket: Socket): void {
    const connection = this.#handshakes.get(endsOf(socket));
    // It has ended meanwhile, or was cut.
    if (connection?.state === undefined) return void socket.destroy();
    this.#handshakeOver(connection);
    connection.socket = socket;
    this.#secured.set(socket, connection);
  }

  /** The TLS handshake of a connection has failed; it counts once the connection is closed. Whoever speaks HTTP without TLS is told. */
  handshakeFailed(socket: Socket, error: NodeJS.ErrnoException & { readonly reason?: string }): void {
    const { code = '', reason = error.message } = error;
    const fault = FAULTS[code] ?? 'protocol';
    const connection = this.#handshakes.get(endsOf(socket));
    if (connection?.handshake) {
      connection.handshake.fault = fault;
      this.#log.write('handshake_failed', { cause: fault, reason, address: connection.address?.key ?? '' });
      // The line is not encrypted yet, and its client not lost.
      if (fault === 'plain_http') connection.raw.write(rawAnswer(new SightlineError('REQUEST_BAD', SPEAKS_TLS)));
    }
    socket.destroy();
  }

  #handshakeOver(connection: Connection): void {
    const { handshake } = connection;
    // Its client may have opened another one by the same ports before this one was seen to close.
    if (handshake && this.#handshakes.get(handshake.ends) === connection) this.#handshakes.delete(handshake.ends);
    connection.handshake = undefined;
  }

  /** Takes a connection of another program's server from its upgrade on: it may be any stream. */
  adopt(socket: Duplex): void {
    if (this.of(socket) === undefined) this.#add(socket as Socket, undefined);
  }

  /**
   * A request has come: `start` is called once those before it on the connection have their answers, or at once, where several may be under way
   * (`atOnceMax`: so many).
   */
  begin(connection: Connection, response: ServerResponse, start: () => void, atOnceMax?: number): void {
    const { state, socket } = connection;
    if (state === undefined || state === 'closing') return;
    const answers = (connection.answers ??= new Map());
    if (answers.size >= (atOnceMax ?? PIPELINE_MAX)) {
      if (atOnceMax === undefined) stopParsing(socket);
      return this.cut(connection, 'pipelined');
    }
    const startsNow = atOnceMax !== undefined || answers.size === 0;
    answers.set(response, { bytes: 0, files: 0, start: startsNow ? undefined : start });
    response.once('close', () => this.#answered(connection, response));
    if (state === 'waiting') {
      this.#move(connection, 'request');
      if (atOnceMax === undefined) socket.setTimeout(this.#settings.unreadTimeoutMs);
    }
    if (startsNow) start();
  }

  /** A request for another protocol has come. */
  upgrade(connection: Connection): void {
    this.#move(connection, 'request');
  }

  /** An answer of this many bytes, or one that is read from a file, goes to its client now, at the client's pace. */
  send(socket: Socket, response: ServerResponse, body: number | 'file'): void {
    const connection = this.of(socket);
    const answer = connection?.answers?.get(response);
    if (!connection || !answer) return;
    const bytes = body === 'file' ? FILE_BUFFER_BYTES : body;
    answer.bytes += bytes;
    this.#answerBytes += bytes;
    this.#owing.set(connection, (this.#owing.get(connection) ?? 0) + bytes);
    if (body === 'file') {
      answer.files++;
      this.#files++;
      this.#makeRoom(connection);
    }
    for (const [other] of this.#owing) {
      if (this.#answerBytes <= this.#settings.answerBytesMax) break;
      if (other !== connection) this.cut(other, 'answers_full');
    }
  }

  /** It lasts from now on, as an event stream. */
  stream(socket: Socket): void {
    const connection = this.of(socket);
    if (connection) this.#move(connection, 'event_stream');
  }

  /** The same as a WebSocket, which came by that path. */
  webSocket(socket: Duplex, endpoint: string): void {
    const connection = this.of(socket);
    if (!connection?.state) return;
    this.#move(connection, 'websocket');
    connection.endpoint = endpoint;
    this.#settle(connection);
    this.#endOf(connection.socket, 'end');
    if (connection.raw !== connection.socket) return;
    connection.raw.off('close', this.#onClose);
    this.#closeOf(connection.raw, 'close');
  }

  /** Open ones; each since it was opened. */
  get webSockets(): ReadonlySet<Connection> {
    return this.#byState.websocket;
  }

  /** Says why, and cuts the connection if the client does not end it soon. For a socket without a response of Node's. */
  refuse(socket: Duplex, error: SightlineError, ending: SocketEnding = 'refused'): void {
    const connection = this.of(socket);
    if (connection?.state) {
      this.#tell(connection, ending);
      connection.ending = ending;
      this.#move(connection, 'closing');
    }
    socket.end(rawAnswer(error));
    // Unread input would turn the end into a reset, by which the answer may be lost.
    socket.resume();
    this.#after(this.#settings.lingerMs, socket, () => {
      if (connection) this.cut(connection, ending);
      else socket.destroy();
    });
  }

  /** Nothing has moved on the socket for the time that it was given. */
  silent(socket: Socket): void {
    const connection = this.of(socket);
    if (!connection?.state) return void socket.destroy();
    if (this.#hasMoved(connection)) return void socket.setTimeout(socket.timeout ?? this.#settings.unreadTimeoutMs);
    const ending = judgeSilence(connection.state, {
      unsentBytes: socket.writableLength,
      ageMs: this.#clock.now() - connection.sinceMs,
      answerMsMax: ANSWER_MS_MAX,
    });
    if (ending === undefined) socket.setTimeout(socket.timeout ?? this.#settings.unreadTimeoutMs);
    else this.cut(connection, ending);
  }

  /**
   * What is written to an encrypted connection is encrypted as a whole, and Node sees the line take it only when it has taken all: so a client that reads
   * slowly looks like one that reads nothing. The system's own queue tells them apart, from the second look on.
   */
  #hasMoved(connection: Connection): boolean {
    const { raw, socket, queuedBytes } = connection;
    if (raw === socket) return false;
    connection.queuedBytes = queueOf(raw);
    return connection.queuedBytes !== (queuedBytes ?? 0);
  }

  /** Ends it at once. */
  cut(connection: Connection, ending: SocketEnding): void {
    const { raw, socket, state, address } = connection;
    if (state === undefined) return;
    if (connection.ending !== ending) this.#tell(connection, ending);
    connection.ending = ending;
    this.#ended(connection);
    const isGentle = GENTLE.has(ending) || (ending === 'evicted' && state !== 'request');
    // Otherwise the system goes on for minutes to offer its client what it has not taken, megabytes of it.
    if (address && !isGentle) raw.resetAndDestroy();
    else socket.destroy();
  }

  /** Cuts all but WebSockets, which their sessions have closed. */
  close(): void {
    for (const connection of this.#all.values()) {
      if (connection.state !== 'websocket') this.cut(connection, 'stopped');
    }
  }

  #add(socket: Socket, address: AddressEntry | undefined): Connection {
    const connection: Connection = {
      raw: socket,
      socket,
      queuedBytes: undefined,
      handshake: undefined,
      address,
      state: 'waiting',
      sinceMs: this.#clock.now(),
      refusal: undefined,
      ending: 'closed',
      endpoint: undefined,
      answers: undefined,
    };
    this.#accepted++;
    this.#all.set(socket, connection);
    this.#byState.waiting.add(connection);
    socket.on('close', this.#onClose);
    return connection;
  }

  /** The client may ask once, and gets the reason for an answer; where too many are told so already, it is cut. */
  #limit(connection: Connection, bound: AddressBound): void {
    const { addresses } = this.#settings;
    const address = connection.address!.key;
    const code = 'ADDRESS_LIMIT_REACHED';
    this.#refused[bound]++;
    this.#log.write('address_limited', { code, address, bound });
    if (this.#beingRefused >= REFUSALS_MAX || !this.#addresses.canTell(connection.address!)) {
      return this.cut(connection, 'refused');
    }
    this.#addresses.told(connection.address!);
    const { remoteAddress } = connection.raw;
    const message =
      remoteAddress !== undefined && this.#isBanned(remoteAddress)
        ? `${address} is banned for what its clients did`
        : bound === 'rate'
          ? `${address} opens more than ${addresses.ratePerS} connections a second`
          : `${address} has all of its ${addresses.connectionsMax} connections`;
    this.#beingRefused++;
    // It takes nothing from the address any more.
    this.#addresses.leave(connection.address!);
    connection.refusal = new SightlineError(code, message);
    connection.ending = 'refused';
    this.#after(this.#settings.lingerMs, connection.raw, () => this.cut(connection, 'refused'));
  }

  get #size(): number {
    return SOCKET_STATES.reduce((sum, state) => sum + this.#byState[state].size, 0);
  }

  #descriptorUse() {
    const { max, intervalMs } = this.#descriptors;
    const nowMs = this.#clock.now();
    if (nowMs - this.#countedMs >= intervalMs) {
      this.#countedMs = nowMs;
      const open = this.#descriptors.count();
      this.#otherDescriptors = open === undefined ? undefined : open - this.#size - this.#files;
    }
    const others = this.#otherDescriptors;
    if (others === undefined || max === undefined) return undefined;
    return { max, others, reserved: this.#settings.reservedDescriptors };
  }

  /** Ends connections until there is a place for each socket and file, this connection's last. */
  #makeRoom(connection: Connection): void {
    while (connection.state !== undefined && this.#size + this.#files > this.places.sockets) {
      const victim = this.#evictable(connection);
      if (victim) this.cut(victim, 'evicted');
      else if (connection.address) return this.cut(connection, 'full');
      else return;
    }
  }

  #evictable(except: Connection): Connection | undefined {
    const { closing, waiting, request } = this.#byState;
    const those = (of: ReadonlySet<Connection>): readonly Connection[] => oldest(of, LOOK_MAX, except);
    return greediest(those(closing)) ?? greediest([...those(waiting), ...those(request)]);
  }

  /** Another connection of the address that only waits makes room for this one. */
  #evictOf(address: AddressEntry, except: Connection): boolean {
    const { closing, waiting } = this.#byState;
    for (const other of [...closing, ...waiting]) {
      if (other.address !== address || other.refusal || other === except) continue;
      this.cut(other, 'evicted');
      return true;
    }
    return false;
  }

  #answered(connection: Connection, response: ServerResponse): void {
    const { answers, state } = connection;
    const answer = answers?.get(response);
    if (!answers || !answer) return;
    answers.delete(response);
    this.#release(connection, answer);
    const [next] = answers.values();
    if (next) {
      const { start } = next;
      next.start = undefined;
      start?.();
      return;
    }
    connection.answers = undefined;
    if (state === 'request' || state === 'event_stream') this.#move(connection, 'waiting');
  }

  #release(connection: Connection, { bytes, files }: Answer): void {
    this.#files -= files;
    this.#answerBytes -= bytes;
    const left = (this.#owing.get(connection) ?? 0) - bytes;
    if (left > 0) this.#owing.set(connection, left);
    else this.#owing.delete(connection);
  }

  /** Forgets its answers: nothing tells any more when they end. */
  #settle(connection: Connection): void {
    for (const answer of connection.answers?.values() ?? []) this.#release(connection, answer);
    connection.answers = undefined;
  }

  #move(connection: Connection, state: SocketState): void {
    if (connection.state === undefined) return;
    this.#byState[connection.state].delete(connection);
    connection.state = state;
    connection.sinceMs = this.#clock.now();
    this.#byState[state].add(connection);
  }

  /** Takes it out of all accounts but that of the bytes, which its socket still counts. */
  #ended(connection: Connection): void {
    const { state, address, ending, refusal } = connection;
    if (state === undefined) return;
    this.#byState[state].delete(connection);
    connection.state = undefined;
    this.#settle(connection);
    this.#endings[ending]++;
    if (refusal) this.#beingRefused--;
    else if (address) this.#addresses.leave(address);
  }

  #closed(socket: Socket): void {
    const connection = this.of(socket);
    if (!connection) return;
    this.#judgeHandshake(connection);
    this.#ended(connection);
    this.#all.delete(socket);
    const { bytesRead = 0, bytesWritten = 0 }: Partial<Socket> = socket;
    this.#receivedBytes += bytesRead;
    this.#sentBytes += bytesWritten;
  }

  /** A connection that closes before its handshake is done has failed, unless the server cut it, or nothing came at all, as when a port is probed. */
  #judgeHandshake(connection: Connection): void {
    const { handshake, state, address, sinceMs, raw } = connection;
    if (handshake === undefined) return;
    this.#handshakeOver(connection);
    if (state === undefined) return;
    const isLate = this.#clock.now() - sinceMs >= this.#handshakeMs!;
    if (raw.bytesRead === 0) {
      if (isLate) connection.ending = 'silent';
      return;
    }
    this.#handshakesFailed[handshake.fault ?? (isLate ? 'timeout' : 'ended')]++;
    if (address) this.#addresses.handshakeFailed(address);
    if (connection.ending === 'closed') connection.ending = 'handshake_failed';
  }

  /** A WebSocket's client has ended its side: `ws` ends ours, and waits without an end for a client that reads nothing. */
  #halfClosed(socket: Socket): void {
    const connection = this.of(socket);
    if (connection?.state !== 'websocket') return;
    this.#after(this.#settings.closeTimeoutMs, socket, () => this.cut(connection, 'half_open'));
  }

  #tell({ state, address }: Connection, ending: SocketEnding): void {
    if (UNLOGGED.has(ending)) return;
    this.#log.write('connection_cut', { cause: ending, state: state ?? '', address: address?.key ?? '' });
  }

  /** Unless the socket has closed by then. */
  #after(ms: number, socket: Duplex, then: () => void): void {
    const timer = setTimeout(then, ms);
    timer.unref();
    socket.once('close', () => clearTimeout(timer));
  }
}

const SPEAKS_TLS = 'this port speaks TLS: its address begins with https:// or wss://';

/** Of a connection, the same for the system's socket and for the one that comes out of its TLS handshake. */
function endsOf({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}

/** Bytes that libuv has yet to write: none of Node's public parts. 0: none, or there is no such thing. */
function queueOf(socket: Socket): number {
  const { _handle: handle } = socket as Socket & { readonly _handle?: { readonly writeQueueSize?: number } | null };
  return handle?.writeQueueSize ?? 0;
}

/** The first so many of them, without one. */
function oldest<C>(connections: Iterable<C>, max: number, except: C): C[] {
  const found: C[] = [];
  for (const connection of connections) {
    if (found.length === max) break;
    if (connection !== except) found.push(connection);
  }
  return found;
}

/**
 * Node parses what it has read to its end, 64 KiB that may hold thousands of requests, also where the connection was cut meanwhile; each
 * costs 10 µs. Its parser stops where its callback says that another protocol follows. The callback is none of its public parts: where
 * there is no such thing they are parsed.
 */
function stopParsing(socket: Socket): void {
  const { parser } = socket as Socket & { readonly parser?: { onIncoming?: unknown } | null };
  if (typeof parser?.onIncoming === 'function') parser.onIncoming = () => ANOTHER_PROTOCOL;
}

const ANOTHER_PROTOCOL = 2;
