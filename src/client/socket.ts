import { SightlineError } from '../base/errors.ts';
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

/** The part of the package `ws` that spares an event object and a copy for each message. */
interface EmittingSocket {
  on?(event: 'message', listener: (data: Uint8Array<ArrayBuffer>, isBinary: boolean) => void): void;
}

/** Calls back with each message: the text, or the bytes, which may lie in one memory with those of others. */
export function onMessages(socket: WebSocketLike, take: (data: string | Uint8Array<ArrayBuffer>) => void): void {
  const { on } = socket as EmittingSocket;
  if (typeof on === 'function') {
    socket.binaryType = 'nodebuffer';
    on.call(socket, 'message', (data, isBinary) =>
      take(isBinary ? new Uint8Array(data.buffer, data.byteOffset, data.length) : String(data)),
    );
    return;
  }
  socket.binaryType = 'arraybuffer';
  socket.addEventListener('message', ({ data }) =>
    take(typeof data === 'string' ? data : new Uint8Array(data as ArrayBuffer)),
  );
}
