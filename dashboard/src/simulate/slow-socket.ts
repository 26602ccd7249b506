import type { WebSocketConstructor, WebSocketLike } from 'sightline/client';
import type { LinkProfile } from './link-line.ts';
import { LinkLine } from './link-line.ts';

/** A browser closes a socket whose buffer is full; so does this one. */
const QUEUE_BYTES_MAX = 4 * 1024 * 1024;

type Downward =
  | { readonly type: 'message'; readonly data: unknown }
  | { readonly type: 'close'; readonly code: number }
  | { readonly type: 'error' };
type Upward =
  | { readonly type: 'data'; readonly data: string | Uint8Array<ArrayBuffer> }
  | { readonly type: 'close'; readonly code: number | undefined };

export interface SlowSocketOptions {
  readonly profile: LinkProfile;
  /** The real socket below. */
  readonly Platform: WebSocketConstructor;
  /** ms, never steps back. */
  readonly now: () => number;
  /** 0..1. */
  readonly random: () => number;
}

/** For the option `WebSocket` of a session: sockets whose messages take the time of a slower link, both ways. */
export function slowWebSocket(options: SlowSocketOptions): WebSocketConstructor {
  const beginMs = options.now();
  return class extends SlowSocket {
    constructor(url: string, subprotocol?: string) {
      super(options, beginMs, url, subprotocol);
    }
  };
}

class SlowSocket implements WebSocketLike {
  readonly #options: SlowSocketOptions;
  readonly #socket: WebSocketLike;
  readonly #up: LinkLine<Upward>;
  readonly #down: LinkLine<Downward>;
  readonly #listeners = new Map<string, ((event: never) => void)[]>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosing = false;

  constructor(options: SlowSocketOptions, beginMs: number, url: string, subprotocol: string | undefined) {
    const { profile, Platform, random } = options;
    this.#options = options;
    this.#up = new LinkLine(profile, beginMs, QUEUE_BYTES_MAX, random);
    this.#down = new LinkLine(profile, beginMs, QUEUE_BYTES_MAX, random);
    this.#socket = subprotocol === undefined ? new Platform(url) : new Platform(url, subprotocol);
    this.#socket.addEventListener('message', ({ data }) => this.#receive({ type: 'message', data }, bytesOf(data)));
    this.#socket.addEventListener('close', ({ code }) => this.#receive({ type: 'close', code }, 0));
    this.#socket.addEventListener('error', () => this.#receive({ type: 'error' }, 0));
  }

  get binaryType(): string {
    return this.#socket.binaryType;
  }

  set binaryType(type: string) {
    this.#socket.binaryType = type;
  }

  /** Bytes that wait for the simulated link, and for the real one. */
  get bufferedAmount(): number {
    return this.#up.queuedBytes(this.#options.now()) + this.#socket.bufferedAmount;
  }

  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void;
  addEventListener(type: 'close', listener: (event: { readonly code: number }) => void): void;
  addEventListener(type: 'error', listener: () => void): void;
  addEventListener(type: string, listener: (event: never) => void): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  send(data: string | Uint8Array<ArrayBuffer>): void {
    if (this.#isClosing) return;
    // The caller may use its bytes again at once.
    const own = typeof data === 'string' ? data : data.slice();
    if (!this.#up.push({ type: 'data', data: own }, bytesOf(own), this.#options.now())) return this.#socket.close();
    this.#pump();
  }

  /** Earlier messages go first. */
  close(code?: number): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#up.push({ type: 'close', code }, 0, this.#options.now());
    this.#pump();
  }

  #receive(event: Downward, bytes: number): void {
    if (!this.#down.push(event, bytes, this.#options.now())) return this.#socket.close();
    this.#pump();
  }

  #pump(): void {
    const nowMs = this.#options.now();
    for (const item of this.#up.take(nowMs)) {
      if (item.type === 'data') this.#socket.send(item.data);
      else this.#socket.close(item.code);
    }
    for (const event of this.#down.take(nowMs)) {
      for (const listener of this.#listeners.get(event.type) ?? []) listener(event as never);
    }
    clearTimeout(this.#timer);
    const nextMs = Math.min(this.#up.nextMs, this.#down.nextMs);
    if (nextMs < Infinity) this.#timer = setTimeout(() => this.#pump(), Math.max(0, nextMs - nowMs));
  }
}

function bytesOf(data: unknown): number {
  return typeof data === 'string' ? data.length : (data as ArrayBufferLike | ArrayBufferView).byteLength;
}
