import type { ErrorCode } from '../base/errors.ts';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import type { LineFigures } from './liveness.ts';
import { isFinalRefusal } from './reconnect.ts';
import { onFailure, onMessages, type WebSocketConstructor, type WebSocketLike } from './socket.ts';

const WELCOME_TIMEOUT_MS = 10_000;
/** Close codes: the session is over; its client comes back in another connection. */
const DONE = 1000;
const COMES_BACK = 4000;
/** Most bytes that a WebSocket puts before a message, with its mask (RFC 6455 §5.2). */
const FRAME_HEAD_BYTES = 14;

/** The first message of every lane. */
export interface Greeting {
  readonly type: 'welcome';
  readonly client_id: string;
  /** With it the client gets its session back; a lane without one has nothing to give back. */
  readonly token?: string;
  readonly server_time: number;
}

/** An error message of any lane; the names in it (a frame, a subscription, a topic) say what it is about. */
interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
  readonly seq?: number;
  readonly id?: number;
  readonly topic?: string;
  readonly retry_after_ms?: number;
}

/** Why a connection is over; `final`: the server would refuse this client again. */
export interface ConnectionEnd {
  readonly error: SightlineError;
  readonly final: boolean;
  /** The server wants it back after so long, ms. */
  readonly afterMs?: number | undefined;
}

export interface ConnectionListener<Welcome, Message> {
  onWelcome(welcome: Welcome): void;
  /** Every message after the welcome. */
  onMessage(message: Message): void;
  /** Once, whether the welcome came or not; nothing is called afterwards. */
  onEnd(end: ConnectionEnd): void;
}

export interface ConnectionOptions<Message> {
  readonly WebSocket: WebSocketConstructor;
  readonly address: string;
  /** The WebSocket subprotocol to ask for. */
  readonly subprotocol?: string | undefined;
  /** A message's `type` must be readable; throws SightlineError for bytes that are not a message: the connection ends. */
  readonly decode: (data: string | Uint8Array) => Message;
}

/** One socket, from the attempt to its end. Its owner learns everything through the listener, never by a throw. */
export class Connection<Welcome extends Greeting, Message extends { readonly type: string }> {
  readonly #address: string;
  readonly #decode: (data: string | Uint8Array) => Message;
  readonly #listener: ConnectionListener<Welcome, Message>;
  readonly #welcomeTimer: ReturnType<typeof setTimeout>;
  readonly #socket: WebSocketLike;
  #welcomed = false;
  #ended = false;
  #sentBytes = 0;
  /** The last error that belongs to nothing in particular: a server gives its reason for closing so. */
  #lastError: SightlineError | undefined;
  #afterMs: number | undefined;
  /** Why there is no connection, as far as the platform tells. */
  #failure: SightlineError | undefined;
  /** HTTP status of the server's refusal. */
  #status: number | undefined;

  constructor(options: ConnectionOptions<Message>, listener: ConnectionListener<Welcome, Message>) {
    const { WebSocket, address, subprotocol, decode } = options;
    this.#address = address;
    this.#decode = decode;
    this.#listener = listener;
    this.#socket = subprotocol === undefined ? new WebSocket(address) : new WebSocket(address, subprotocol);
    onMessages(this.#socket, (data) => this.#onData(data));
    this.#socket.addEventListener('close', ({ code }) => this.#onClose(code));
    onFailure(this.#socket, subprotocol, (error, status) => {
      this.#failure ??= error;
      this.#status ??= status;
    });
    this.#welcomeTimer = setTimeout(() => {
      const message = `${this.#host} sent no welcome within ${WELCOME_TIMEOUT_MS} ms`;
      this.#end({ error: new SightlineError('CONNECTION_FAILED', message), final: false });
    }, WELCOME_TIMEOUT_MS);
  }

  /** Bytes that the socket has not sent yet. */
  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  get line(): LineFigures {
    return { sentBytes: this.#sentBytes, bufferedBytes: this.#socket.bufferedAmount };
  }

  send(data: string | Uint8Array<ArrayBuffer>): void {
    this.#sentBytes += data.length + FRAME_HEAD_BYTES;
    this.#socket.send(data);
  }

  /** Closes the socket, and with it the session unless its client `comesBack`; `onEnd` follows when it is closed. */
  close({ comesBack = false } = {}): void {
    clearTimeout(this.#welcomeTimer);
    this.#socket.close(comesBack ? COMES_BACK : DONE);
  }

  /** Ends a connection whose other side does not answer, without waiting. */
  giveUp(why: string): void {
    this.#end({ error: new SightlineError('CONNECTION_LOST', `${this.#host} ${why}`), final: false });
  }

  get #host(): string {
    return new URL(this.#address).host;
  }

  #onData(data: string | Uint8Array): void {
    if (this.#ended) return;
    let message: Message;
    try {
      message = this.#decode(data);
    } catch (thrown) {
      this.#end({ error: toSightlineError(thrown), final: true });
      return;
    }
    this.#lastError = message.type === 'error' ? closingError(message as unknown as Refusal) : undefined;
    this.#afterMs = (message as { retry_after_ms?: number }).retry_after_ms;
    if (message.type === 'welcome') {
      clearTimeout(this.#welcomeTimer);
      this.#welcomed = true;
      this.#listener.onWelcome(message as unknown as Welcome);
    } else if (this.#welcomed) this.#listener.onMessage(message);
  }

  #onClose(code: number): void {
    const error = this.#lastError ?? this.#closeError(code);
    const closeCode = this.#status === undefined ? code : 4_000 + this.#status;
    this.#end({ error, final: isFinalRefusal(error.code, closeCode), afterMs: this.#afterMs });
  }

  #closeError(code: number): SightlineError {
    if (this.#welcomed) {
      return new SightlineError('CONNECTION_LOST', `the connection to ${this.#host} was lost (close code ${code})`);
    }
    const cause = this.#failure;
    if (cause !== undefined)
      return new SightlineError(cause.code, `no session at ${this.#host}: ${cause.message}`, { cause });
    return new SightlineError('CONNECTION_FAILED', `no session at ${this.#host} (close code ${code})`);
  }

  #end(end: ConnectionEnd): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#welcomeTimer);
    this.#socket.close(end.final ? DONE : COMES_BACK);
    // A silent peer will not answer the close either.
    if (!end.final) this.#socket.terminate?.();
    this.#listener.onEnd(end);
  }
}

function closingError({ code, message, seq, id, topic }: Refusal): SightlineError | undefined {
  return seq === undefined && id === undefined && topic === undefined ? new SightlineError(code, message) : undefined;
}
