import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { Socket } from 'node:net';
import type { RawData, WebSocket } from 'ws';
import type { Dependant, Principal } from '../auth/principal.ts';
import type { Clock } from '../base/clock.ts';
import { RETRY_AFTER_MS } from '../base/retry-after.ts';
import { closeCodeOf } from '../base/error-catalogue.ts';
import { SightlineError } from '../base/errors.ts';
import { inPlaceOf } from '../net/listeners.ts';
import type { Fences } from '../fences/fences.ts';
import { redactText } from '../log/redact.ts';
import type { IncomingMessage } from '../fences/incoming.ts';
import type { MemoryAccount } from '../fences/memory-ledger.ts';
import type { AddressTime, TimeAccount } from '../fences/turns.ts';
import { Inbox, type InboxOwner } from './inbox.ts';
import { PauseReason, SocketReading } from './socket-reading.ts';

const TOKEN_BYTES = 24;
/** The close code with which a client ends its session (RFC 6455 §7.4.1: a normal closure). */
const DONE = 1000;

export interface KeepAliveSettings {
  readonly pingIntervalMs: number;
  readonly pongTimeoutMs: number;
}

/** The session whose socket it is. An interface, and no callbacks: thousands of sessions may have nothing to do but be there. */
export interface SocketOwner extends InboxOwner {
  /** Says why on the socket, in the session's encoding, and closes it. */
  endSocket(socket: WebSocket, reason: SightlineError): void;
  /** The session has no socket any more. */
  onLost(): void;
}

/** The same for all sessions of a lane. */
export interface SessionSocketHost {
  readonly clock: Clock;
  readonly settings: KeepAliveSettings;
  readonly fences: Fences;
}

export interface SessionSocketParts {
  /** Of the session, for reports. */
  readonly lane: string;
  readonly clientId: string;
  readonly host: SessionSocketHost;
  readonly owner: SocketOwner;
}

/** The part of the opening request that a lane reads. */
export interface OpeningRequest {
  readonly query: URLSearchParams;
  /** undefined: the connection is gone. */
  readonly address: string | undefined;
  /** Who opens it, who may do one of the permissions of the lane's row. */
  readonly principal: Principal;
}

function rawOf(socket: WebSocket): Socket | null {
  return (socket as unknown as { _socket: Socket | null })._socket;
}

/** What `ws` has of a message that is not complete, bytes; it has no public way to tell. */
function gatheredBytesOf(socket: WebSocket): number {
  const receiver = (socket as unknown as { _receiver?: { _bufferedBytes: number; _messageLength: number } })._receiver;
  return receiver === undefined ? 0 : receiver._bufferedBytes + receiver._messageLength;
}

/** Unsent bytes of a socket with which its pings stop to be answered. */
const PONGS_UNSENT_BYTES_MAX = 64 * 1024;

/** The code of a close frame that has already come; `ws` reports it only when the connection is down. */
function receivedCloseCode(socket: WebSocket): number {
  return (socket as unknown as { _closeCode: number })._closeCode;
}

/** Compares in constant time, so that a token cannot be guessed digit by digit. */
export function isSameToken(token: string, given: string | undefined): boolean {
  const [one, other] = [Buffer.from(token), Buffer.from(given ?? '')];
  return one.length === other.length && timingSafeEqual(one, other);
}

/** Where a WebSocket finds its session: the listeners are the same for all. */
const LINK = Symbol('link');
type LinkedSocket = WebSocket & { [LINK]?: SessionSocket };
type LinkedRaw = Socket & { [LINK]?: LinkedSocket };

/** The common part of sessions on all lanes: a name, a token, and a socket that may be lost, taken over and found dead. */
export class SessionSocket implements IncomingMessage, Dependant {
  readonly clientId: string;
  readonly token: string = randomBytes(TOKEN_BYTES).toString('base64url');
  readonly openedTimeMs: number;
  /** What the client makes the server keep. */
  readonly memory: MemoryAccount;
  readonly #inbox: Inbox;
  readonly #host: SessionSocketHost;
  readonly #owner: SocketOwner;
  #socket: WebSocket | undefined;
  #address: string | undefined;
  #principal: Principal | undefined;
  #lastActivityMs: number;
  #wasUsed = false;
  #isDone = false;
  #lostMs: number | undefined;
  /** While somebody waits for what the socket has left. */
  #settled: PromiseWithResolvers<void> | undefined;
  /** When the ping was sent that has no answer yet, Unix ms. */
  #pingSentMs: number | undefined;
  #lastPongMs: number;

  constructor({ lane, clientId, host, owner }: SessionSocketParts) {
    this.clientId = clientId;
    this.memory = host.fences.memory.open(lane, clientId);
    this.#host = host;
    this.#inbox = new Inbox({ host, memory: this.memory, owner });
    this.#owner = owner;
    this.openedTimeMs = host.clock.now();
    this.#lastActivityMs = this.openedTimeMs;
    this.#lastPongMs = this.openedTimeMs;
    // Until it is connected: a socket may be gone before its session is made.
    this.#lostMs = this.openedTimeMs;
  }

  /** What it has used of the main thread. */
  get time(): TimeAccount {
    return this.#inbox.time;
  }

  get socket(): WebSocket | undefined {
    return this.#socket;
  }

  /** Where its client comes from: of a proxy that is not trusted, the proxy. */
  get remoteAddress(): string | undefined {
    return this.#socket && this.#address;
  }

  /** Who has the session, also while there is no socket; undefined: it has not had one. */
  get principal(): Principal | undefined {
    return this.#principal;
  }

  /** When the socket was lost, Unix ms; undefined while there is one. */
  get lostMs(): number | undefined {
    return this.#lostMs;
  }

  get lastActivityMs(): number {
    return this.#lastActivityMs;
  }

  /** Some message has come: before that the client may not even have had its token. */
  get wasUsed(): boolean {
    return this.#wasUsed;
  }

  /** Its client has closed the last socket with the code that ends a session. */
  get isDone(): boolean {
    return this.#isDone;
  }

  hasToken(token: string | undefined): boolean {
    return isSameToken(this.token, token);
  }

  /** Attaches a socket to the session; an earlier one is closed as taken over. `address`: of its client. */
  connect(socket: WebSocket, principal: Principal, address: string | undefined): void {
    const previous = this.#socket;
    if (previous) {
      this.#owner.endSocket(
        previous,
        new SightlineError('SESSION_TAKEN_OVER', `session ${this.clientId} continues in another connection`),
      );
      this.#lose(previous);
    }
    this.#socket = socket;
    this.#isDone = false;
    this.#lostMs = undefined;
    this.#lastActivityMs = this.#host.clock.now();
    this.#answered(this.#lastActivityMs);
    this.#address = address;
    this.#inbox.open(socket, address);
    (socket as LinkedSocket)[LINK] = this;
    socket.on('message', onMessage);
    socket.on('ping', onPing);
    socket.on('pong', onPong);
    socket.on('close', onClose);
    const raw: LinkedRaw = rawOf(socket)!;
    raw[LINK] = socket;
    meterReads(raw, 'data');
    this.#principal = principal;
    principal.add(this);
  }

  /** For any socket that the session has had; only the current one counts. */
  received(socket: WebSocket, data: Buffer, isBinary: boolean): void {
    if (socket !== this.#socket) return;
    this.#lastActivityMs = this.#host.clock.now();
    this.#answered(this.#lastActivityMs);
    this.#wasUsed = true;
    this.#inbox.receive(data, isBinary, this.#lastActivityMs);
  }

  /** Bytes have come. Gives a mark for `endRead`. */
  beginRead(): number {
    return this.#inbox.beginRead();
  }

  /** What was complete of them was received. */
  endRead(socket: WebSocket, mark: number): void {
    if (socket === this.#socket) this.#host.fences.incoming.update(this, gatheredBytesOf(socket));
    // The session may have ended with what it said.
    if (socket === this.#socket) this.#inbox.endRead(mark);
  }

  get address(): AddressTime {
    return this.time.address;
  }

  get isBanned(): boolean {
    return this.#address !== undefined && this.#host.fences.penalties.isBanned(this.#address);
  }

  /** Too much is gathered of messages that are not complete. */
  onCut(reason: SightlineError): void {
    const socket = this.#socket;
    this.expel(reason);
    // What is gathered would stay until the other side has closed, too.
    socket?.terminate();
  }

  /** Asks to be answered by the same bytes. A client that pings and takes no answer is not read either. */
  pinged(socket: WebSocket, data: Buffer): void {
    if (socket !== this.#socket || socket.readyState !== socket.OPEN) return;
    this.#answered(this.#host.clock.now());
    socket.pong(data, false, () => this.#onPongSent());
    if (socket.bufferedAmount > PONGS_UNSENT_BYTES_MAX) SocketReading.of(socket).pause(PauseReason.pings);
  }

  ponged(socket: WebSocket): void {
    if (socket === this.#socket) this.#answered(this.#host.clock.now());
  }

  /** A piece of work for the client has taken so long; fulfilled when it has its next turn. */
  nextTurn(spentMs: number): Promise<void> {
    return this.#inbox.nextTurn(spentMs);
  }

  /** What came before it is worked on before. */
  closed(socket: WebSocket, code: number): void {
    if (socket !== this.#socket) return;
    // It takes no answers any more.
    const reading = SocketReading.of(socket);
    reading.resume(PauseReason.deaf);
    reading.resume(PauseReason.pings);
    this.#inbox.whenEmpty(() => {
      this.#isDone = code === DONE;
      this.#lose(socket);
    });
  }

  /**
   * Takes a close frame that has come for the close that follows it: a client that has seen the server's answer may be back
   * before the old connection is down. Fulfilled when all that came before it is worked on; undefined: that is so now.
   */
  settle(): Promise<void> | undefined {
    const socket = this.#socket;
    if (!socket || socket.readyState === socket.OPEN) return undefined;
    this.closed(socket, receivedCloseCode(socket));
    if (this.#socket === undefined) return undefined;
    this.#settled ??= Promise.withResolvers();
    return this.#settled.promise;
  }

  /** Called about once a second: sends a ping when one is due, and gives up a socket that left one unanswered. */
  keepAlive(nowMs: number): void {
    const { pingIntervalMs, pongTimeoutMs } = this.#host.settings;
    this.time.rest(nowMs);
    if (!this.#socket) return;
    if (this.#pingSentMs !== undefined && nowMs - this.#pingSentMs >= pongTimeoutMs) {
      this.end(new SightlineError('SESSION_IDLE', `no pong within ${pongTimeoutMs} ms`));
    } else if (nowMs - this.#lastPongMs >= pingIntervalMs) this.askWhetherThere(nowMs);
  }

  /** Sends a ping early, since another client wants the name. */
  askWhetherThere(nowMs: number): void {
    if (!this.#socket || this.#pingSentMs !== undefined) return;
    this.#pingSentMs = nowMs;
    this.#socket.ping();
  }

  /** Closes the socket with a reason; the session is without one from now on. */
  end(reason: SightlineError): void {
    const socket = this.#socket;
    if (!socket) return;
    this.#owner.endSocket(socket, reason);
    this.#lose(socket);
  }

  /** The same, for what the client did: who does that again and again is banned. */
  expel(reason: SightlineError): void {
    const { penalties } = this.#host.fences;
    penalties.disconnected(this.memory.lane, this.clientId, { address: this.remoteAddress, token: this.token });
    this.end(reason);
  }

  /** Any sign of life counts as a pong: on a slow uplink the pong itself may wait behind data. */
  #answered(nowMs: number): void {
    this.#pingSentMs = undefined;
    this.#lastPongMs = nowMs;
  }

  #onPongSent(): void {
    const socket = this.#socket;
    if (socket && socket.bufferedAmount <= PONGS_UNSENT_BYTES_MAX / 2) {
      SocketReading.of(socket).resume(PauseReason.pings);
    }
  }

  #lose(socket: WebSocket): void {
    if (socket !== this.#socket) return;
    this.#inbox.close();
    this.#host.fences.incoming.forget(this);
    this.#principal?.remove(this);
    this.#socket = undefined;
    this.#lostMs = this.#host.clock.now();
    this.#settled?.resolve();
    this.#settled = undefined;
    this.#owner.onLost();
  }
}

function onMessage(this: LinkedSocket, data: RawData, isBinary: boolean): void {
  this[LINK]?.received(this, data as Buffer, isBinary);
}

/** Around what `ws` does with the bytes that come. */
const meterReads = inPlaceOf<LinkedRaw, [Buffer]>(
  (receive) =>
    function onData(bytes) {
      const socket = this[LINK];
      const link = socket?.[LINK];
      if (!link) return receive.call(this, bytes);
      const mark = link.beginRead();
      receive.call(this, bytes);
      link.endRead(socket!, mark);
    },
);

function onPing(this: LinkedSocket, data: Buffer): void {
  this[LINK]?.pinged(this, data);
}

function onPong(this: LinkedSocket): void {
  this[LINK]?.ponged(this);
}

function onClose(this: LinkedSocket, code: number): void {
  this[LINK]?.closed(this, code);
}

/** Why a session ends, or does not begin: the reason may quote the query, or a setting. */
export function endMessage({ code, message }: SightlineError) {
  const comesBack = code === 'SHUTTING_DOWN' && { retry_after_ms: RETRY_AFTER_MS };
  return { type: 'error', code, message: redactText(message), ...comesBack } as const;
}

/** Says why in the bytes of an `error` message, then closes. */
export function endSocket(socket: WebSocket, message: string | Uint8Array, reason: SightlineError): void {
  if (socket.readyState === socket.OPEN) socket.send(message, { binary: typeof message !== 'string' });
  socket.close(reason.code === 'SHUTTING_DOWN' ? 1001 : closeCodeOf(reason), reason.code);
  // Until the other side has closed as well, `ws` gathers what it still sends.
  const raw = rawOf(socket);
  const endedAtBytes = raw?.bytesRead ?? 0;
  raw?.on('data', () => {
    if (raw.bytesRead - endedAtBytes > LATE_BYTES_MAX) socket.terminate();
  });
}

/** What a client may still send after its session has ended: it was on its way. */
const LATE_BYTES_MAX = 256 * 1024;
