import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { WebSocket } from 'ws';
import type { Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';

const TOKEN_BYTES = 24;

export interface KeepAliveSettings {
  readonly pingIntervalMs: number;
  readonly pongTimeoutMs: number;
}

export interface SessionSocketParts {
  readonly clientId: string;
  readonly clock: Clock;
  readonly settings: KeepAliveSettings;
  /** Says why on the socket, in the session's encoding, and closes it. */
  readonly end: (socket: WebSocket, reason: SightlineError) => void;
  readonly onMessage: (data: Buffer, isBinary: boolean, nowMs: number) => void;
  /** The session has no socket any more. */
  readonly onLost: () => void;
}

/** What a session of any lane has: a name, a token, and a socket that may be lost, taken over and found dead. */
export class SessionSocket {
  readonly clientId: string;
  readonly token: string = randomBytes(TOKEN_BYTES).toString('base64url');
  readonly openedTimeMs: number;
  readonly #parts: SessionSocketParts;
  #socket: WebSocket | undefined;
  #lastActivityMs: number;
  #wasUsed = false;
  #lostMs: number | undefined;
  /** When the ping was sent that has no answer yet, Unix ms. */
  #pingSentMs: number | undefined;
  #lastPongMs: number;

  constructor(parts: SessionSocketParts) {
    this.#parts = parts;
    this.clientId = parts.clientId;
    this.openedTimeMs = parts.clock.now();
    this.#lastActivityMs = this.openedTimeMs;
    this.#lastPongMs = this.openedTimeMs;
    // Until it is connected: a socket may be gone before its session is made.
    this.#lostMs = this.openedTimeMs;
  }

  get socket(): WebSocket | undefined {
    return this.#socket;
  }

  /** When the socket was lost, Unix ms; undefined while there is one. */
  get lostMs(): number | undefined {
    return this.#lostMs;
  }

  get lastActivityMs(): number {
    return this.#lastActivityMs;
  }

  /** A message has come, ever: before that the client may not even have had its token. */
  get wasUsed(): boolean {
    return this.#wasUsed;
  }

  /** Compares in constant time, so that a token cannot be guessed digit by digit. */
  hasToken(token: string | undefined): boolean {
    const given = Buffer.from(token ?? '');
    const own = Buffer.from(this.token);
    return given.length === own.length && timingSafeEqual(given, own);
  }

  /** Gives the session a socket; one that it had is closed as taken over. */
  connect(socket: WebSocket): void {
    const { clock, end, onMessage } = this.#parts;
    const previous = this.#socket;
    if (previous) {
      end(previous, new SightlineError('SESSION_TAKEN_OVER', `session ${this.clientId} goes on in another connection`));
      this.#lose(previous);
    }
    this.#socket = socket;
    this.#lostMs = undefined;
    this.#lastActivityMs = clock.now();
    this.#answered(this.#lastActivityMs);
    socket.on('message', (data, isBinary) => {
      if (socket !== this.#socket) return;
      this.#lastActivityMs = clock.now();
      this.#answered(this.#lastActivityMs);
      this.#wasUsed = true;
      onMessage(data as Buffer, isBinary, this.#lastActivityMs);
    });
    socket.on('pong', () => {
      if (socket === this.#socket) this.#answered(clock.now());
    });
    socket.on('close', () => this.#lose(socket));
  }

  /** Called about once a second: sends a ping when one is due, and gives up a socket that left one unanswered. */
  keepAlive(nowMs: number): void {
    const { pingIntervalMs, pongTimeoutMs } = this.#parts.settings;
    const socket = this.#socket;
    if (!socket) return;
    if (this.#pingSentMs !== undefined && nowMs - this.#pingSentMs >= pongTimeoutMs) {
      this.end(new SightlineError('SESSION_IDLE', `no pong within ${pongTimeoutMs} ms`));
    } else if (this.#pingSentMs === undefined && nowMs - this.#lastPongMs >= pingIntervalMs) {
      this.#pingSentMs = nowMs;
      socket.ping();
    }
  }

  /** Closes the socket with a reason; the session is without one from now on. */
  end(reason: SightlineError): void {
    const socket = this.#socket;
    if (!socket) return;
    this.#parts.end(socket, reason);
    this.#lose(socket);
  }

  /** Any sign of life counts as a pong: on a slow uplink the pong itself may wait behind data. */
  #answered(nowMs: number): void {
    this.#pingSentMs = undefined;
    this.#lastPongMs = nowMs;
  }

  #lose(socket: WebSocket): void {
    if (socket !== this.#socket) return;
    this.#socket = undefined;
    this.#lostMs = this.#parts.clock.now();
    this.#parts.onLost();
  }
}

/** Says why in the bytes of an `error` message, then closes. */
export function endSocket(socket: WebSocket, message: string | Uint8Array, reason: SightlineError): void {
  if (socket.readyState === socket.OPEN) socket.send(message, { binary: typeof message !== 'string' });
  socket.close(reason.code === 'SHUTTING_DOWN' ? 1001 : reason.closeCode, reason.code);
}
