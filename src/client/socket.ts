import { SightlineError, type ErrorCode } from '../base/errors.ts';
import { builtin } from './builtin.ts';

/** The part of a WebSocket that the client needs; the browser's, Node's own and that of the package `ws` all fit. */
export interface WebSocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void;
  addEventListener(type: 'close', listener: (event: { readonly code: number }) => void): void;
  addEventListener(type: 'error', listener: () => void): void;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number): void;
  /** Cuts the connection without waiting for the other side; that of the package `ws` can. */
  terminate?(): void;
}

export type WebSocketConstructor = new (url: string, subprotocol?: string) => WebSocketLike;

/**
 * The address of a session: `url` may be `ws:`, `wss:`, `http:` or `https:`, and in a browser also relative to the page;
 * without a path it is `lanePath`. Undefined values of `query` are left out. Throws CONNECTION_FAILED.
 */
export function sessionUrl(url: string, lanePath: string, query: Readonly<Record<string, unknown>>): string {
  const page = (globalThis as { location?: { href: string } }).location?.href;
  if (!URL.canParse(url, page))
    throw new SightlineError('CONNECTION_FAILED', `"${url}" is not the address of a server`);
  const address = new URL(url, page);
  address.protocol = address.protocol.replace(/^http/, 'ws');
  if (address.protocol !== 'ws:' && address.protocol !== 'wss:') {
    throw new SightlineError('CONNECTION_FAILED', `"${url}" begins with neither ws:, wss:, http: nor https:`);
  }
  if (address.pathname === '/') address.pathname = lanePath;
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined) address.searchParams.set(key, String(value));
  }
  return address.href;
}

/**
 * The package `ws` in Node, where the program has it: a message costs it a third less than Node's own WebSocket. Else the
 * platform's own: browsers, and Node from version 22. Throws CONNECTION_FAILED.
 */
export function platformWebSocket(): WebSocketConstructor {
  const found = packageWs() ?? (globalThis as { WebSocket?: unknown }).WebSocket;
  if (typeof found === 'function') return found as WebSocketConstructor;
  throw new SightlineError(
    'CONNECTION_FAILED',
    'there is no global WebSocket here: pass one as the option `WebSocket`',
  );
}

/** Bundlers do not see it, and a page needs none of it. */
function packageWs(): unknown {
  const module = builtin<{ createRequire(from: string): (name: string) => unknown }>('node:module');
  try {
    return module?.createRequire(import.meta.url)('ws');
  } catch {
    return undefined;
  }
}

/** What the package `ws` has beside: it gives reasons that browsers hide, and a message without an event object and a copy. */
type Emit = (event: string, listener: (...args: never[]) => void) => void;

function emitterOf(socket: WebSocketLike): Emit | undefined {
  const { on } = socket as { on?: Emit };
  return typeof on === 'function' ? on.bind(socket) : undefined;
}

interface HttpAnswer {
  readonly statusCode?: number;
  on(event: 'data', listener: (chunk: Uint8Array) => void): void;
  on(event: 'close', listener: () => void): void;
}

/** Calls back with each message: the text, or the bytes, which may lie in one memory with those of others. */
export function onMessages(socket: WebSocketLike, take: (data: string | Uint8Array<ArrayBuffer>) => void): void {
  const on = emitterOf(socket);
  if (on !== undefined) {
    socket.binaryType = 'nodebuffer';
    on('message', (data: Uint8Array<ArrayBuffer>, isBinary: boolean) =>
      take(isBinary ? new Uint8Array(data.buffer, data.byteOffset, data.length) : String(data)),
    );
    return;
  }
  socket.binaryType = 'arraybuffer';
  socket.addEventListener('message', ({ data }) =>
    take(typeof data === 'string' ? data : new Uint8Array(data as ArrayBuffer)),
  );
}

/** Of an answer that is no WebSocket's. */
const ANSWER_BYTES_MAX = 4_096;

/** Tells why a connection cannot be made, in the platform's or the server's words, where there are any: browsers hide them. */
export function onFailure(
  socket: WebSocketLike,
  subprotocol: string | undefined,
  /** `status`: of a refusal by the server itself. */
  tell: (error: SightlineError, status?: number) => void,
): void {
  // A close follows, with as much as a browser reveals. Without a listener `ws` would throw.
  socket.addEventListener('error', () => {});
  const on = emitterOf(socket);
  on?.('error', (error: SocketError) =>
    tell(new SightlineError('CONNECTION_FAILED', reasonOf(error, subprotocol), { cause: error })),
  );
  on?.('unexpected-response', (_: unknown, response: HttpAnswer) => {
    const decoder = new TextDecoder();
    let body = '';
    response.on('data', (chunk) => {
      if (body.length < ANSWER_BYTES_MAX) body += decoder.decode(chunk, { stream: true });
    });
    response.on('close', () => {
      const status = response.statusCode ?? 0;
      const error = refusalOf(status, body);
      tell(error, error.code === 'CONNECTION_FAILED' ? undefined : status);
      socket.terminate?.();
    });
  });
}

type SocketError = Error & { readonly code?: string };

function reasonOf(error: SocketError, subprotocol: string | undefined): string {
  if (error.message.includes('subprotocol')) return `it does not speak ${subprotocol}`;
  return (error.message || error.code) ?? 'it cannot be reached';
}

/** The server's own words, where it is a Sightline. */
function refusalOf(status: number, body: string): SightlineError {
  try {
    const { code, message } = (JSON.parse(body) as { error: { code: string; message: string } }).error;
    // One of a newer server may not be known here.
    if (/^[A-Z]+_[A-Z_]+$/.test(code)) return new SightlineError(code as ErrorCode, String(message));
  } catch {
    // Something else answered.
  }
  return new SightlineError('CONNECTION_FAILED', `it answered with HTTP status ${status} and no WebSocket`);
}
