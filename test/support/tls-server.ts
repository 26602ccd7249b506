import { z } from 'zod';
import type { WebSocket } from 'ws';
import { answer, type Route } from '../../src/http/route.ts';
import { HttpServer, type HttpServerOptions } from '../../src/http/server.ts';
import type { Log } from '../../src/log/log.ts';
import type { Identity } from '../../src/tls/identity.ts';
import { httpOptions } from './http-options.ts';
import { TestAuthority } from './certificates.ts';

export const AUTHORITY = new TestAuthority();
export const BIG_BYTES = 24_000_000;
export const SOME_BYTES = 90_000;
export const LOCAL = ['127.0.0.0/8'];
const PUBLIC = { action: 'public' } as const;

const ROUTES: readonly Route[] = [
  answer({
    method: 'GET',
    url: '/secure',
    permission: PUBLIC,
    tag: 'a',
    summary: 'whether the caller speaks TLS',
    response: z.boolean(),
    handle: ({ caller }) => caller.isSecure,
  }),
  answer({
    method: 'GET',
    url: '/big',
    permission: PUBLIC,
    tag: 'a',
    summary: 'a lot',
    response: z.string(),
    handle: () => 'x'.repeat(BIG_BYTES),
  }),
  answer({
    method: 'GET',
    url: '/some',
    permission: PUBLIC,
    tag: 'a',
    summary: 'more than a client of HTTP/2 takes without a word',
    response: z.string(),
    handle: () => 'x'.repeat(SOME_BYTES),
  }),
  answer({
    method: 'PUT',
    url: '/take',
    permission: PUBLIC,
    tag: 'a',
    summary: 'takes something',
    body: z.strictObject({ a: z.number() }),
    response: z.number(),
    handle: ({ body }) => body.a,
  }),
  answer({
    method: 'GET',
    url: '/never',
    permission: PUBLIC,
    tag: 'a',
    summary: 'no answer',
    response: z.string(),
    handle: () => new Promise<string>(() => {}),
  }),
  {
    kind: 'stream',
    url: '/stream',
    permission: PUBLIC,
    tag: 'a',
    summary: 'a stream',
    contentType: 'text/event-stream',
    stream: (_request, response) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      response.write(': nothing yet\n\n');
    },
  },
];

/** The server's own, which a test may replace. */
export class TestCertificates {
  identity: Identity = AUTHORITY.issue();
  #listener: ((identity: Identity) => void) | undefined;

  onChange(listener: (identity: Identity) => void): void {
    this.#listener = listener;
  }

  replace(): void {
    this.identity = AUTHORITY.issue();
    this.#listener?.(this.identity);
  }
}

export type TlsServerChanges = Partial<Omit<HttpServerOptions, 'connections' | 'tls' | 'log'>> & {
  readonly hstsS?: number;
  readonly unbounded?: readonly string[];
  readonly unreadTimeoutMs?: number;
  readonly connectionsMax?: number;
};

/** A server that speaks TLS, with routes of its own; it listens. */
export async function openTlsServer(
  certificates: TestCertificates,
  log: Log,
  { hstsS = 0, unbounded = LOCAL, unreadTimeoutMs = 10_000, connectionsMax = 100, ...changes }: TlsServerChanges = {},
): Promise<HttpServer> {
  const options = httpOptions();
  const { connections } = options;
  const server = new HttpServer({
    ...options,
    log,
    sockets: [{ path: '/ws', summary: 'echoes', permissions: [PUBLIC], open: (socket) => echo(socket) }],
    routes: ROUTES,
    tls: { certificates, hstsS, http2: true },
    ...changes,
    connections: {
      ...connections,
      connectionsMax,
      addresses: { ...connections.addresses, unbounded },
      unreadTimeoutMs,
    },
  });
  await server.listen();
  return server;
}

function echo(socket: WebSocket): void {
  socket.on('message', (data) => socket.send(String(data)));
}
