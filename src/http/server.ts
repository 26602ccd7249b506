import { existsSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename, dirname } from 'node:path';
import type { Duplex } from 'node:stream';
import fastifyStatic from '@fastify/static';
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import { WebSocketServer, type ServerOptions, type WebSocket } from 'ws';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import { checkAddress, type AddressRules } from './guard.ts';

/** One row of a room's route table. */
export type Route =
  | {
      readonly url: string;
      /** What is returned becomes the answer, text as it is, all else as JSON; a thrown SightlineError becomes its status. */
      readonly get: () => unknown;
    }
  | {
      readonly url: string;
      /** Writes the answer itself; may throw a SightlineError before it has written anything. */
      readonly stream: (
        request: IncomingMessage,
        response: ServerResponse,
        params: Readonly<Record<string, string>>,
      ) => void;
    }
  | {
      readonly url: string;
      /** Path of the file to serve, with ranges and caching; undefined: there is none, a 404. */
      readonly file: () => Promise<string | undefined>;
    };

export interface SocketRoute {
  readonly path: string;
  /** Of those that a client offers the first that stands here is agreed on; not given: the client's first one. */
  readonly protocols?: readonly string[];
  readonly open: (socket: WebSocket, query: URLSearchParams) => void;
}

export interface HttpServerOptions {
  readonly host: string;
  readonly port: number;
  readonly rules: AddressRules;
  readonly connectionsMax: number;
  readonly headerTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly shutdownTimeoutMs: number;
  /** A longer WebSocket message is not even read: its socket is closed with 1009. */
  readonly messageBytesHardMax: number;
  readonly closeTimeoutMs: number;
  readonly routes: readonly Route[];
  readonly sockets: readonly SocketRoute[];
  /** Folder of the page; without it `/` tells how to build it. */
  readonly pageDir: string;
  /** A request failed in a way that nobody planned for. */
  readonly onError: (error: unknown) => void;
}

const SECURITY_HEADERS = {
  'Content-Security-Policy':
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self' ws: wss:; worker-src 'self' blob:; frame-ancestors 'none'",
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
};

const SHORT_CONNECTIONS = 64;

const PAGE_MISSING = `<!doctype html><html lang="en"><title>Sightline</title><p>The server runs, but its page is not built:
run <code>npm run build:page</code> in the project's folder and load this page again.</p></html>`;

/** REST, files and event streams on Fastify; WebSockets on bare `ws` beside it. */
export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #fastify: FastifyInstance;
  readonly #sockets: WebSocketServer;
  /** Responses of `stream` routes that have not ended. */
  #streams = 0;
  #closing: Promise<void> | undefined;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#fastify = Fastify({
      forceCloseConnections: true,
      requestTimeout: options.requestTimeoutMs,
      bodyLimit: 1_048_576,
      // What is refused before there is a route, such as a broken URL.
      frameworkErrors: (thrown, _request, reply) => {
        const error = this.#knownError(thrown);
        void (reply as FastifyReply).status(error.status).send(errorBody(error));
      },
      routerOptions: { maxParamLength: 200 },
    });
    this.#fastify.server.headersTimeout = options.headerTimeoutMs;
    // Beyond this the kernel's connections are cut unanswered: as many again for pages and short requests.
    this.#fastify.server.maxConnections = 2 * options.connectionsMax + SHORT_CONNECTIONS;
    // `closeTimeout` (ws 8.19) is not in the published types yet.
    const socketOptions: ServerOptions & { closeTimeout: number } = {
      noServer: true,
      maxPayload: options.messageBytesHardMax,
      perMessageDeflate: false,
      closeTimeout: options.closeTimeoutMs,
      handleProtocols: (offered, request) => this.#agreeOn(offered, request),
    };
    this.#sockets = new WebSocketServer(socketOptions);
    this.#mount();
  }

  /** Open WebSockets and event streams: what `connectionsMax` bounds. */
  get connectionCount(): number {
    return this.#sockets.clients.size + this.#streams;
  }

  /** `http://127.0.0.1:8080`, once it listens. */
  get url(): string {
    const { address, port, family } = this.#fastify.server.address() as AddressInfo;
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  /** Errors: ADDRESS_IN_USE. */
  async listen(): Promise<string> {
    const { host, port } = this.#options;
    try {
      await this.#fastify.listen({ host, port });
    } catch (thrown) {
      throw listenError(thrown, host, port);
    }
    return this.url;
  }

  /** Waits for sockets to close (whoever owns them has told them to), cuts what is left, and stops. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const cut = setTimeout(() => {
      for (const socket of this.#sockets.clients) socket.terminate();
    }, this.#options.shutdownTimeoutMs);
    const closed = Promise.all(
      [...this.#sockets.clients].map((socket) => new Promise((done) => socket.once('close', done))),
    );
    this.#fastify.server.closeIdleConnections();
    await closed;
    clearTimeout(cut);
    await this.#fastify.close();
  }

  #mount(): void {
    const { rules, routes, pageDir } = this.#options;
    const app = this.#fastify;
    app.addHook('onRequest', async (request, reply) => {
      checkAddress(request.headers, rules);
      void reply.headers(SECURITY_HEADERS);
    });
    app.setErrorHandler((thrown, _request, reply) => {
      const error = this.#knownError(thrown);
      return reply.status(error.status).send(errorBody(error));
    });
    app.setNotFoundHandler((request, reply) => {
      const error = new SightlineError(
        'NOT_FOUND',
        `there is nothing at ${request.method} ${request.url.slice(0, 200)}`,
      );
      return reply.status(error.status).send(errorBody(error));
    });
    const hasPage = existsSync(pageDir);
    void app.register(fastifyStatic, hasPage ? { root: pageDir } : { root: dirname(pageDir), serve: false });
    if (!hasPage) app.get('/', (_request, reply) => reply.type('text/html').send(PAGE_MISSING));
    for (const route of routes) this.#mountRoute(route);
    app.server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
  }

  #mountRoute(route: Route): void {
    if ('get' in route) {
      this.#fastify.get(route.url, async () => route.get());
    } else if ('stream' in route) {
      this.#fastify.get(route.url, (request, reply) => {
        this.#refuseWhenFull();
        this.#streams++;
        reply.raw.once('close', () => this.#streams--);
        route.stream(request.raw, reply.raw, request.params as Record<string, string>);
        reply.hijack();
      });
    } else {
      this.#fastify.get(route.url, async (request, reply) => {
        const path = await route.file();
        if (path === undefined)
          throw new SightlineError('NOT_FOUND', `there is nothing at ${request.url.slice(0, 200)}`);
        return reply.sendFile(basename(path), dirname(path));
      });
    }
  }

  /** What Fastify itself refuses (a bad URL, a body too large) keeps its status; anything unforeseen is told to the owner. */
  #knownError(thrown: unknown): SightlineError {
    if (thrown instanceof SightlineError) return thrown;
    const status = (thrown as { statusCode?: number }).statusCode ?? 500;
    if (status < 500) return new SightlineError('QUERY_BAD', (thrown as Error).message);
    this.#options.onError(thrown);
    return new SightlineError('INTERNAL', 'the server failed to answer; its log tells more');
  }

  #refuseWhenFull(): void {
    const { connectionsMax } = this.#options;
    if (this.connectionCount < connectionsMax) return;
    throw new SightlineError('CONNECTIONS_EXHAUSTED', `all ${connectionsMax} connections are taken`);
  }

  /** False: none; a browser then closes the connection itself (RFC 6455 §4.1). */
  #agreeOn(offered: ReadonlySet<string>, request: IncomingMessage): string | false {
    const protocols = this.#socketRoute(request)?.protocols;
    return [...offered].find((protocol) => protocols?.includes(protocol) ?? true) ?? false;
  }

  #socketRoute({ url }: IncomingMessage): SocketRoute | undefined {
    const pathname = URL.parse(url ?? '/', 'http://localhost')?.pathname;
    return this.#options.sockets.find(({ path }) => path === pathname);
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // A peer that vanishes between the request and our answer is its own loss.
    socket.on('error', destroy);
    try {
      checkAddress(request.headers, this.#options.rules);
      const url = URL.parse(request.url ?? '/', 'http://localhost');
      const route = this.#socketRoute(request);
      if (!url || !route)
        throw new SightlineError('NOT_FOUND', `there is no WebSocket at ${(request.url ?? '').slice(0, 200)}`);
      if (this.#closing) throw new SightlineError('SHUTTING_DOWN', 'the server shuts down');
      if (this.#sockets.clients.size >= this.#options.connectionsMax) {
        throw new SightlineError('CONNECTIONS_EXHAUSTED', `all ${this.#options.connectionsMax} connections are taken`);
      }
      this.#sockets.handleUpgrade(request, socket, head, (webSocket) => route.open(webSocket, url.searchParams));
    } catch (thrown) {
      refuseUpgrade(socket, toSightlineError(thrown));
    }
  }
}

/** Not a closure: a listener lives as long as its connection, and with it everything that it could see. */
function destroy(this: Duplex): void {
  this.destroy();
}

function errorBody(error: SightlineError) {
  return { error: { code: error.code, message: error.message } };
}

function refuseUpgrade(socket: Duplex, error: SightlineError): void {
  const body = JSON.stringify(errorBody(error));
  socket.end(
    `HTTP/1.1 ${error.status} ${error.code}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

function listenError(thrown: unknown, host: string, port: number): SightlineError {
  const { code, message } = thrown as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') {
    return new SightlineError(
      'ADDRESS_IN_USE',
      `port ${port} on ${host} is in use; choose another with --port or SIGHTLINE_SERVER__PORT`,
    );
  }
  if (code === 'EACCES')
    return new SightlineError('ADDRESS_IN_USE', `port ${port} on ${host} needs more rights; choose one above 1023`);
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
    return new SightlineError('CONFIG_VALUE_BAD', `server.host: ${host} is no address of this machine`);
  return new SightlineError('INTERNAL', `cannot listen on ${host}:${port}: ${message}`, { cause: thrown });
}
