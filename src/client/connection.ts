import { SightlineError, toSightlineError } from '../base/errors.ts';
import { decodeServerMessage } from '../protocol/video-codec.ts';
import type { ServerMessage, WelcomeMessage } from '../protocol/video.ts';
import { isFinalRefusal } from './reconnect.ts';
import type { WebSocketConstructor, WebSocketLike } from './socket.ts';

const WELCOME_TIMEOUT_MS = 10_000;
const NORMAL_CLOSURE = 1000;

/** Why a connection is over; `final`: the server would refuse this client again. */
export interface ConnectionEnd {
  readonly error: SightlineError;
  readonly final: boolean;
}

export interface ConnectionListener {
  onWelcome(welcome: WelcomeMessage): void;
  /** Every message after the welcome. */
  onMessage(message: ServerMessage): void;
  /** Once, whether the welcome came or not; nothing is called afterwards. */
  onEnd(end: ConnectionEnd): void;
}

/** One socket, from the attempt to its end. Its owner is told of everything through the listener, never by a throw. */
export class Connection {
  readonly #address: string;
  readonly #listener: ConnectionListener;
  readonly #welcomeTimer: ReturnType<typeof setTimeout>;
  readonly #socket: WebSocketLike;
  #welcomed = false;
  #ended = false;
  /** An error that belongs to no frame and came last: a server says so why it closes. */
  #lastError: SightlineError | undefined;

  constructor(WebSocket: WebSocketConstructor, address: string, listener: ConnectionListener) {
    this.#address = address;
    this.#listener = listener;
    this.#socket = new WebSocket(address);
    this.#socket.binaryType = 'arraybuffer';
    this.#socket.addEventListener('message', ({ data }) => this.#onData(data));
    this.#socket.addEventListener('close', ({ code }) => this.#onClose(code));
    // A close follows, and says as much as a browser lets anybody know. Without a listener `ws` would throw.
    this.#socket.addEventListener('error', () => {});
    this.#welcomeTimer = setTimeout(() => {
      const message = `${this.#host} sent no welcome within ${WELCOME_TIMEOUT_MS} ms`;
      this.#end({ error: new SightlineError('CONNECTION_FAILED', message), final: false });
    }, WELCOME_TIMEOUT_MS);
  }

  /** Bytes that the socket has not got rid of. */
  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  send(data: string | Uint8Array<ArrayBuffer>): void {
    this.#socket.send(data);
  }

  /** Closes the socket; `onEnd` follows when it is closed. */
  close(): void {
    clearTimeout(this.#welcomeTimer);
    this.#socket.close(NORMAL_CLOSURE);
  }

  get #host(): string {
    return new URL(this.#address).host;
  }

  #onData(data: unknown): void {
    if (this.#ended) return;
    let message: ServerMessage;
    try {
      message = decodeServerMessage(typeof data === 'string' ? data : new Uint8Array(data as ArrayBuffer));
    } catch (thrown) {
      this.#end({ error: toSightlineError(thrown), final: true });
      return;
    }
    this.#lastError =
      message.type === 'error' && message.seq === undefined
        ? new SightlineError(message.code, message.message)
        : undefined;
    if (message.type === 'welcome') {
      clearTimeout(this.#welcomeTimer);
      this.#welcomed = true;
      this.#listener.onWelcome(message);
    } else if (this.#welcomed) this.#listener.onMessage(message);
  }

  #onClose(code: number): void {
    const error = this.#lastError ?? this.#closeError(code);
    this.#end({ error, final: isFinalRefusal(error.code, code) });
  }

  #closeError(code: number): SightlineError {
    return this.#welcomed
      ? new SightlineError('CONNECTION_LOST', `the connection to ${this.#host} was lost (close code ${code})`)
      : new SightlineError('CONNECTION_FAILED', `no session at ${this.#host} (close code ${code})`);
  }

  #end(end: ConnectionEnd): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#welcomeTimer);
    this.#socket.close(NORMAL_CLOSURE);
    this.#listener.onEnd(end);
  }
}
