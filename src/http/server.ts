import { constants, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import {
  createServer,
  maxHeaderSize,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { BlockList, type Socket, type SocketAddress } from 'node:net';
import { dirname } from 'node:path';
import { Readable, type Duplex } from 'node:stream';
import { Server as SecureServer, type SecureContextOptions, type TLSSocket } from 'node:tls';
import fastifyStatic from '@fastify/static';
import Fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { WebSocketServer, type ServerOptions, type WebSocket } from 'ws';
import type { Principal } from '../auth/principal.ts';
import { statusOf } from '../base/error-catalogue.ts';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import type { Clock } from '../base/clock.ts';
import type { Fences } from '../fences/fences.ts';
import type { Descriptors } from '../observe/descriptors.ts';
import type { ConnectionsReport, EndpointReport, SocketEnding, SocketsReport } from '../observe/metrics.ts';
import type { Log } from '../log/log.ts';
import { decodeUtf8, parseJson } from '../protocol/wire-value.ts';
import type { Identity } from '../tls/identity.ts';
import { Access, type AccessParts } from './access.ts';
import { errorBody, headersOf, SECURITY_HEADERS, WEBSOCKET_VERSION } from './answers.ts';
import { behindBase } from './base-path.ts';
import { RequestQueues } from './request-queue.ts';
import { Connections, type Connection, type ConnectionSettings } from './connections.ts';
import { checkAddress, checkChange, checkSingle, corsHeaders, type AddressRules } from './guard.ts';
import { Listeners } from './listeners.ts';
import { isEncrypted, Proxies } from './proxies.ts';
import { readRange } from './range.ts';
import { logRefusal } from './refusals.ts';
import { Http2Connections, STREAMS_MAX } from './http2.ts';
import {
  CREDENTIAL_PARAMETERS,
  CsvText,
  methodOf,
  pathOf,
  PlainText,
  readInput,
  TEXT_TYPES,
  type Caller,
  type FileRoute,
  type Permission,
  type Route,
} from './route.ts';

export interface SocketRoute {
  readonly path: string;
  /** One line for people. */
  readonly summary: string;
  /** The caller needs one of them to open the socket; its messages are checked by the session. */
  readonly permissions: readonly Permission[];
  /** The server agrees on the first of these that a client offers; not given: the client's first one. */
  readonly protocols?: readonly string[];
  readonly open: (socket: WebSocket, request: SocketRequest) => void;
}

/** Facts about the client that opens a WebSocket; keep no more of it than is needed, since sockets stay for long. */
export interface SocketRequest {
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** Of the client, also behind a proxy that is trusted; undefined: it is gone already. */
  readonly address: string | undefined;
  /** It may do one of the route's permissions; those on single streams and topics are the session's to ask for. */
  readonly principal: Principal;
}

export interface HttpServerOptions {
  readonly clock: Clock;
  readonly access: Pick<AccessParts, 'authenticator' | 'logins' | 'tickets'>;
  readonly fences: Pick<Fences, 'turns' | 'penalties' | 'refusals'>;
  readonly host: string;
  readonly port: number;
  readonly rules: AddressRules;
  /** Under which everything is, such as `/sightline`; empty: none. */
  readonly basePath?: string;
  /** Networks of proxies whose word on where a request comes from counts. */
  readonly trustedProxies: readonly string[];
  readonly connections: ConnectionSettings;
  /** Of this process. */
  readonly descriptors: Descriptors;
  readonly headerTimeoutMs: number;
  readonly requestTimeoutMs: number;
  /** How long a connection may be idle between two requests. */
  readonly keepAliveTimeoutMs: number;
  readonly shutdownTimeoutMs: number;
  /** A longer WebSocket message is not even read: its socket is closed with 1009. */
  readonly messageBytesHardMax: number;
  readonly routes: readonly Route[];
  readonly sockets: readonly SocketRoute[];
  /** Folder of the page; without it `/` says how to build it. */
  readonly pageDir: string;
  /** Not given: connections are not encrypted. */
  readonly tls?: TlsOptions | undefined;
  readonly log: Log;
}

export interface TlsOptions {
  readonly certificates: {
    readonly identity: Identity;
    onChange(listener: (identity: Identity) => void): void;
  };
  /** Clients may agree on HTTP/2. */
  readonly http2: boolean;
  /** For how long browsers are to use TLS alone, s; 0: they are not told (RFC 6797). */
  readonly hstsS: number;
}

/** Node looks for requests that are too slow at most this often. */
const CHECKS_MS_MAX = 1_000;
/** The address of the server's health. */
const WATCHED = '/health';
/** The largest useful body of the API takes a few KiB. */
const BODY_BYTES_MAX = 65_536;
/** https://nodejs.org/api/tls.html#session-tickets */
const TICKET_KEYS_BYTES = 48;

const PAGE_MISSING = `<!doctype html><html lang="en"><title>Sightline</title><p>The server runs, but its page is not built:
run <code>npm run build:page</code> in the project's folder and load this page again.</p></html>`;

/** Asked by Node about each connection. */
class Doorkeeper extends BlockList {
  readonly #connections: Connections;

  constructor(connections: Connections) {
    super();
    this.#connections = connections;
  }

  override check(address: string | SocketAddress): boolean {
    return this.#connections.drops(typeof address === 'string' ? address : address.address);
  }
}

/** REST, files and event streams on Fastify; WebSockets on bare `ws` beside it. */
export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #fastify: FastifyInstance;
  readonly #sockets: WebSocketServer;
  readonly #connections: Connections;
  readonly #requests: RequestQueues;
  readonly #handshakes: RequestQueues;
  /** Whoever watches the server hears of it while requests wait. */
  readonly #watchers: RequestQueues;
  readonly #access: Access;
  readonly #proxies: Proxies;
  readonly #basePath: string;
  readonly #listeners: Listeners;
  readonly #http2: Http2Connections;
  /** On every answer. */
  readonly #headers: Map<string, string>;
  #transport: SecureContextOptions | undefined;
  /** Responses of `stream` routes that have not ended. */
  readonly #streams = new Set<OpenConnection>();
  /** Who makes a request. */
  readonly #principals = new WeakMap<IncomingMessage, Principal>();
  #openedCount = 0;
  #refusedCount = 0;
  readonly #mounted: string[] = [];
  #isDraining = false;
  #closing: Promise<void> | undefined;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    const { clock, log, descriptors, connections: settings, fences } = options;
    const isBanned = (address: string): boolean => fences.penalties.isBanned(address);
    const { tls, headerTimeoutMs } = options;
    const handshakeMs = tls && headerTimeoutMs;
    this.#connections = new Connections({ clock, log, descriptors, settings, isBanned, handshakeMs });
    this.#http2 = new Http2Connections({
      clock,
      connections: this.#connections,
      settings: { ...options, unreadTimeoutMs: settings.unreadTimeoutMs },
      onRequest: ({ request, response, connection, isOver }) =>
        // Of some that have ended it is not known yet.
        this.#answer(request, response, { connection, isOver, atOnceMax: 2 * STREAMS_MAX }),
    });
    this.#headers = new Map([...SECURITY_HEADERS, ...(tls ? hstsHeader(tls.hstsS) : [])]);
    tls?.certificates.onChange((identity) => this.#secure(identity));
    this.#proxies = new Proxies(options.trustedProxies);
    this.#basePath = options.basePath ?? '';
    const addressOf = (request: IncomingMessage) => this.#proxies.addressOf(request);
    this.#access = new Access({ ...options.access, addressOf, refusals: fences.refusals, log });
    const queues = { clock, turns: fences.turns };
    this.#requests = new RequestQueues(queues);
    this.#handshakes = new RequestQueues(queues);
    this.#watchers = new RequestQueues(queues);
    this.#listeners = new Listeners(() => this.#createServer());
    // It routes requests; they come from the listeners, or from another program's server.
    this.#fastify = Fastify({
      bodyLimit: BODY_BYTES_MAX,
      // Requests that are refused before there is a route, such as a broken URL.
      frameworkErrors: (thrown, _request, reply) => {
        const error = this.#knownError(thrown);
        void (reply as FastifyReply).status(statusOf(error)).send(errorBody(error));
      },
      routerOptions: { maxParamLength: 200 },
    });
    // `closeTimeout` (ws 8.19) is not in the published types yet.
    const socketOptions: ServerOptions & { closeTimeout: number } = {
      noServer: true,
      // Their connections are known already.
      clientTracking: false,
      maxPayload: options.messageBytesHardMax,
      perMessageDeflate: false,
      closeTimeout: settings.closeTimeoutMs,
      handleProtocols: (offered, request) => this.#agreeOn(offered, request),
      // The session answers pings: it sees whether the answers are read.
      autoPong: false,
    };
    this.#sockets = new WebSocketServer(socketOptions);
    this.#sockets.on('wsClientError', ({ message }, socket, request) => {
      const isOther =
        request.method !== 'GET' ||
        (request.headers['sec-websocket-version'] ?? WEBSOCKET_VERSION) !== WEBSOCKET_VERSION;
      const error = isOther ? upgradeRequired(request, message) : new SightlineError('QUERY_BAD', message);
      this.#connections.refuse(socket, error);
    });
    this.#mount();
  }

  /** Open WebSockets and event streams, which `connectionsMax` bounds. */
  get connectionCount(): number {
    return this.#connections.webSockets.size + this.#streams.size;
  }

  /** As many as the settings say, or fewer for want of file descriptors. */
  get connectionsMax(): number {
    return this.#connections.places.connections;
  }

  /** The operations that it answers, such as `GET /health`; files of the page are `GET /*`. */
  get mounted(): readonly string[] {
    return this.#mounted;
  }

  /** Bytes of all TCP connections since the start. */
  get traffic(): { readonly received_bytes: number; readonly sent_bytes: number } {
    return this.#connections.traffic;
  }

  /** All TCP connections. */
  socketsReport(): SocketsReport {
    const waiting = this.#requests.size + this.#handshakes.size + this.#watchers.size;
    return { ...this.#connections.report(), requests_waiting: waiting };
  }

  connections(): ConnectionsReport {
    return {
      open: this.connectionCount,
      max: this.connectionsMax,
      opened: this.#openedCount,
      refused: this.#refusedCount,
      endpoints: this.#endpoints(),
    };
  }

  #endpoints(): EndpointReport[] {
    const nowMs = this.#options.clock.now();
    const webSockets = Array.from(this.#connections.webSockets, ({ endpoint, sinceMs, socket }): OpenConnection => ({
      endpoint: endpoint!,
      openedMs: sinceMs,
      socket,
    }));
    const byEndpoint = Map.groupBy([...webSockets, ...this.#streams], ({ endpoint }) => endpoint);
    return Array.from(byEndpoint, ([endpoint, connections]) => figuresOf(endpoint, connections, nowMs));
  }

  /** `http://127.0.0.1:8080`, or `https:`, once it listens. Throws USAGE where it does not. */
  get url(): string {
    const listening = this.#listeners.address;
    if (listening === undefined) throw new SightlineError('USAGE', 'the server has no address of its own');
    const { address, port, family } = listening;
    return `${this.#options.tls ? 'https' : 'http'}://${family === 'IPv6' ? `[${address}]` : address}:${port}${this.#basePath}`;
  }

  /** Errors: ADDRESS_IN_USE, CONFIG_VALUE_BAD. */
  async listen(): Promise<string> {
    const { host, port } = this.#options;
    await this.prepare();
    await this.#listeners.listen(host, port);
    return this.url;
  }

  /** Says so where the process may not open enough files for the connections that it should take. */
  tellPlaces(): void {
    const { connections, descriptors, log } = this.#options;
    const possible = this.connectionsMax;
    if (possible >= connections.connectionsMax || descriptors.max === undefined) return;
    log.write('descriptors_few', {
      descriptors_max: descriptors.max,
      connections_max: connections.connectionsMax,
      possible,
    });
  }

  #createServer(): Server {
    const { headerTimeoutMs, requestTimeoutMs, keepAliveTimeoutMs, tls } = this.#options;
    const options = {
      headersTimeout: headerTimeoutMs,
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: keepAliveTimeoutMs,
      connectionsCheckingInterval: Math.min(CHECKS_MS_MAX, Math.ceil(headerTimeoutMs / 4)),
      // Refused below like all else, in our own words.
      requireHostHeader: false,
      // `curl --http2` offers an upgrade that a server may ignore. Node before 24.9 cannot ignore it: there it is refused.
      shouldUpgradeCallback: ({ headers }: IncomingMessage) => headers.upgrade?.toLowerCase() === 'websocket',
    };
    const server = tls
      ? createSecureServer({
          ...options,
          ...this.#contextOf(tls),
          handshakeTimeout: headerTimeoutMs,
          ALPNProtocols: tls.http2 ? ['h2', 'http/1.1'] : ['http/1.1'],
        })
      : createServer(options);
    if (tls) this.#shareConnections(server);
    server.on('tlsClientError', (error: Error, socket: Socket) => this.#connections.handshakeFailed(socket, error));
    const answer = (request: IncomingMessage, response: ServerResponse): void => this.#answer(request, response);
    server.on('request', answer);
    // What else a client may expect is left unfulfilled (RFC 9110 §10.1.1).
    server.on('checkExpectation', answer);
    server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
    server.on('connection', (socket: Socket) => this.#connections.accept(socket));
    // Of `net.Server`, which asks it before it makes a socket; that of `http` does not take it as an option.
    Object.assign(server, { blockList: new Doorkeeper(this.#connections) });
    server.on('clientError', (error, socket) => this.#refuseBroken(error, socket as Socket));
    server.on('timeout', (socket: Socket) => this.#connections.silent(socket));
    // `listen` waits for its own errors; later ones come of accepting.
    server.on(
      'error',
      ({ message }) => server.listening && this.#options.log.write('accept_failed', { reason: message }),
    );
    return server;
  }

  /** Between HTTP/1.1, which is what the server itself speaks, and HTTP/2, as client and server have agreed (ALPN, RFC 7301). */
  #shareConnections(server: Server): void {
    const [speakHttp1] = server.listeners('secureConnection') as ((socket: TLSSocket) => void)[];
    server.removeAllListeners('secureConnection');
    server.on('secureConnection', (socket: TLSSocket) => {
      this.#connections.secured(socket);
      if (socket.destroyed) return;
      if (socket.alpnProtocol === 'h2') this.#http2.take(socket);
      else speakHttp1!.call(server, socket);
    });
  }

  #contextOf({ certificates }: TlsOptions): SecureContextOptions {
    return (this.#transport ??= contextOptions(certificates.identity));
  }

  /** New connections get this certificate; open ones go on. */
  #secure(identity: Identity): void {
    this.#transport = contextOptions(identity);
    for (const server of this.#listeners.servers) {
      if (server instanceof SecureServer) server.setSecureContext(this.#transport);
    }
  }

  /** In place of `listen`, where requests come from another program's server. */
  async prepare(): Promise<void> {
    await this.#fastify.ready();
  }

  /** Answers a request that another server has received; after `prepare`. */
  handleRequest(request: IncomingMessage, response: ServerResponse): void {
    this.#answer(request, response);
  }

  /** The same for a WebSocket: the arguments of the `upgrade` event. */
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#connections.adopt(socket);
    this.#upgrade(request, socket, head);
  }

  /** From now on nobody gets a WebSocket or an event stream; those that are open go on, and so do requests. */
  drain(): void {
    this.#isDraining = true;
  }

  /**
   * Waits for sockets to close (their owners have closed them), cuts the rest after `timeoutMs` (default: that of the settings), and stops.
   * Idempotent.
   */
  close(timeoutMs = this.#options.shutdownTimeoutMs): Promise<void> {
    this.#closing ??= this.#close(timeoutMs);
    return this.#closing;
  }

  async #close(timeoutMs: number): Promise<void> {
    const webSockets = Array.from(this.#connections.webSockets, ({ socket }) => socket);
    const cut = setTimeout(() => {
      for (const socket of webSockets) socket.destroy();
    }, timeoutMs);
    const closed = Promise.all(webSockets.map((socket) => new Promise((done) => socket.once('close', done))));
    this.#listeners.closeIdleConnections();
    await closed;
    clearTimeout(cut);
    this.#http2.close();
    this.#connections.close();
    await Promise.all([this.#listeners.close(), this.#fastify.close()]);
  }

  #mount(): void {
    const { rules, routes, pageDir } = this.#options;
    const app = this.#fastify;
    app.addHook('onRoute', ({ method, url }) => {
      for (const one of [method].flat()) this.#mounted.push(`${one} ${url}`);
    });
    app.addHook('onRequest', async (request, reply) => {
      this.#checkAddress(request.raw);
      const cors = corsHeaders(request.method, request.headers, rules);
      void reply.headers(cors.headers);
      if (cors.isPreflight) return await reply.status(204).send();
      if (!READING.has(request.method)) checkChange(request.headers);
      if (this.#socketRoute(request.raw)) throw upgradeRequired(request.raw, 'the request asks for no upgrade');
      const { permission = PUBLIC } = request.routeOptions.config as { permission?: Permission };
      const params = request.params as Record<string, string>;
      const principal = await this.#access.require(request.raw, [permission], params);
      if (principal) this.#principals.set(request.raw, principal);
      return undefined;
    });
    app.addHook('onSend', async (request, reply, payload) => {
      const body = sizeOf(payload);
      if (body !== 0) this.#connections.send(request.raw.socket, reply.raw, body);
    });
    // A form of a foreign page could send text; JSON only where CORS allowed it.
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => {
      try {
        done(null, body.length === 0 ? undefined : parseJson(body as Buffer));
      } catch (thrown) {
        const message = toSightlineError(thrown).message.replace(/^the (data|text)/, 'the body');
        done(new SightlineError('BODY_BAD', message, { cause: thrown }));
      }
    });
    app.addContentTypeParser('text/csv', { parseAs: 'buffer' }, (_request, body, done) => {
      try {
        done(null, new CsvText(decodeUtf8(body as Buffer)));
      } catch (thrown) {
        done(new SightlineError('BODY_BAD', 'the table is not UTF-8 text: save it as "CSV UTF-8"', { cause: thrown }));
      }
    });
    for (const type of TEXT_TYPES) {
      app.addContentTypeParser(type, { parseAs: 'buffer' }, (_request, body, done) => {
        try {
          done(null, new PlainText(type, decodeUtf8(body as Buffer)));
        } catch (thrown) {
          done(new SightlineError('BODY_BAD', 'the body is not UTF-8 text', { cause: thrown }));
        }
      });
    }
    app.setErrorHandler((thrown, request, reply) => {
      const error = this.#knownError(thrown, request);
      const { headers } = thrown as { headers?: Record<string, string> };
      // For an impossible range: the file's length.
      const all = { ...headersOf(error, request.raw.httpVersionMajor), ...(error.code === 'RANGE_BAD' && headers) };
      // Fastify's own, of which HTTP/2 knows nothing.
      if (request.raw.httpVersionMajor > 1) void reply.removeHeader('connection');
      return reply.status(statusOf(error)).headers(all).send(errorBody(error));
    });
    app.setNotFoundHandler((request, reply) => {
      const error = new SightlineError('NOT_FOUND', `there is nothing at ${request.method} ${pathIn(request.url)}`);
      return reply.status(statusOf(error)).send(errorBody(error));
    });
    const hasPage = existsSync(pageDir);
    void app.register(fastifyStatic, hasPage ? { root: pageDir } : { root: dirname(pageDir), serve: false });
    if (!hasPage) app.get('/', (_request, reply) => reply.type('text/html').send(PAGE_MISSING));
    for (const route of routes) this.#mountRoute(route);
  }

  /** Every request comes by here. */
  #answer(request: IncomingMessage, response: ServerResponse, by?: Multiplexed): void {
    const { socket } = request;
    const connection = by?.connection ?? this.#connections.of(socket);
    const url = behindBase(this.#basePath, request.url ?? '/');
    const isElsewhere = url === undefined || url === '';
    if (!isElsewhere) request.url = url;
    const queue = request.url === WATCHED ? this.#watchers : this.#requests;
    const start = (): void => {
      const { refusal } = connection ?? {};
      for (const [name, value] of this.#headers) response.setHeader(name, value);
      if (refusal) return refuseRequest(response, refusal);
      if (isElsewhere) return this.#answerElsewhere(request, response, url);
      queue.submit(this.#proxies.addressOf(request), {
        get isOver() {
          return by ? by.isOver() : socket.destroyed;
        },
        run: () => this.#fastify.routing(request, response),
      });
    };
    if (connection) this.#connections.begin(connection, response, start, by?.atOnceMax);
    else start();
  }

  /** Nothing is beside the base path; the path itself leads to what is under it. */
  #answerElsewhere({ url = '' }: IncomingMessage, response: ServerResponse, path: '' | undefined): void {
    if (path === '') {
      response.writeHead(308, { Location: `${this.#basePath}/${url.slice(this.#basePath.length)}` }).end();
    } else {
      refuseRequest(response, new SightlineError('NOT_FOUND', `everything is under ${this.#basePath}/ here`));
    }
  }

  /** Of Node's HTTP parser: what comes is no request, or comes too slowly. */
  #refuseBroken({ code }: NodeJS.ErrnoException, socket: Socket): void {
    const connection = this.#connections.of(socket);
    const state = connection?.state;
    if (!connection || state === undefined || state === 'closing') return;
    const isLate = code === 'ERR_HTTP_REQUEST_TIMEOUT';
    if (isLate && socket.bytesRead === 0) return this.#connections.cut(connection, 'silent');
    const [first] = connection.answers?.keys() ?? [];
    const ending = isLate ? (first ? 'request_timeout' : 'header_timeout') : 'bad_request';
    // It is gone, or has got a part of its answer.
    if (code === 'ECONNRESET') return this.#connections.cut(connection, 'closed');
    if (!socket.writable || first?.headersSent) return this.#connections.cut(connection, ending);
    this.#connections.refuse(socket, brokenError(code, ending), ending);
  }

  #mountRoute(route: Route): void {
    const config = { permission: route.permission };
    if (route.kind === 'answer') {
      this.#fastify.route({
        method: methodOf(route),
        url: route.url,
        config,
        ...(route.bodyBytesMax !== undefined && { bodyLimit: route.bodyBytesMax }),
        handler: async (request, reply) => {
          const made = await route.handle({ ...readInput(route, request), caller: this.#callerOf(request, reply) });
          if (route.status === 204) return await reply.status(204).send();
          if (route.status !== undefined) void reply.status(route.status);
          if (route.contentType !== undefined) void reply.type(route.contentType);
          return made;
        },
      });
    } else if (route.kind === 'bytes') {
      this.#fastify.get(route.url, { config }, async (request, reply) => {
        const { params, query } = readInput(route, {
          params: request.params,
          query: request.query,
          body: undefined,
        });
        const made = await route.bytes({ params, query, body: undefined, caller: this.#callerOf(request, reply) });
        if (made === undefined) return await reply.status(304).send();
        if (made instanceof Readable) {
          // It ends with the credential.
          const unend = this.#principals.get(request.raw)?.onEnd(() => made.destroy());
          if (unend) reply.raw.once('close', unend);
          return await reply.type(route.contentType).send(made);
        }
        // Fastify takes its buffers alone for bytes.
        const all = Buffer.from(made.buffer, made.byteOffset, made.byteLength);
        void reply.type(route.contentType);
        return await reply.send(route.hasRanges ? rangeOf(all, request, reply) : all);
      });
    } else if (route.kind === 'stream') {
      // The answer to a HEAD request would never end.
      this.#fastify.get(route.url, { exposeHeadRoute: false, config }, (request, reply) => {
        readInput(route, request);
        this.#refuseWhenDraining();
        this.#refuseWhenFull();
        const connection = {
          endpoint: pathOf(route.url),
          openedMs: this.#options.clock.now(),
          socket: request.raw.socket,
        };
        // It writes its own answer, to which these belong as well.
        for (const [name, value] of Object.entries(reply.getHeaders())) reply.raw.setHeader(name, value!);
        const principal = this.#principals.get(request.raw)!;
        route.stream(request.raw, reply.raw, request.params as Record<string, string>, principal);
        // It ends with the credential.
        reply.raw.once(
          'close',
          principal.onEnd(() => reply.raw.destroy()),
        );
        this.#connections.stream(request.raw.socket);
        this.#openedCount++;
        this.#streams.add(connection);
        reply.raw.once('close', () => this.#streams.delete(connection));
        reply.hijack();
      });
    } else {
      this.#fastify.get(route.url, { config }, (request, reply) => sendFile(route, request, reply));
    }
  }

  #callerOf({ raw: request }: FastifyRequest, reply: FastifyReply): Caller {
    return {
      principal: this.#principals.get(request),
      request,
      address: this.#proxies.addressOf(request),
      isSecure: this.#proxies.isSecure(request),
      setHeader: (name, value) => void reply.header(name, value),
      onGone: (listener) => {
        // Of a client that has gone already nothing is told any more.
        if (reply.raw.destroyed) listener();
        else reply.raw.once('close', listener);
      },
    };
  }

  /** Throws HOST_FORBIDDEN, ORIGIN_FORBIDDEN or REQUEST_BAD, and logs it. */
  #checkAddress({ headers, rawHeaders, socket }: IncomingMessage): void {
    try {
      checkSingle(rawHeaders);
      checkAddress(headers, this.#options.rules, isEncrypted(socket));
    } catch (thrown) {
      logRefusal(this.#options.log, this.#options.rules, toSightlineError(thrown).code, headers);
      throw thrown;
    }
  }

  /** Fastify's own refusals get the API's messages and codes; unforeseen errors are logged. */
  #knownError(thrown: unknown, request?: FastifyRequest): SightlineError {
    if (thrown instanceof SightlineError) return thrown;
    const { statusCode = 500, code = '' } = thrown as Partial<FastifyError>;
    if (statusCode === 413) {
      const { bodyLimit = BODY_BYTES_MAX } = request?.routeOptions ?? {};
      return new SightlineError('BODY_TOO_LARGE', `the body is over ${bodyLimit} bytes`);
    }
    if (statusCode === 415) {
      const contentType = request?.headers['content-type'];
      const got =
        contentType === undefined ? 'it has no Content-Type' : `not ${JSON.stringify(contentType.slice(0, 80))}`;
      return new SightlineError('BODY_TYPE_BAD', `a body must be application/json, ${got}`);
    }
    if (statusCode === 416) return new SightlineError('RANGE_BAD', 'the file ends before the requested part');
    if (code === 'FST_ERR_CTP_INVALID_CONTENT_LENGTH') {
      return new SightlineError('BODY_BAD', 'the length of the body does not match its Content-Length');
    }
    if (code.startsWith('FST_ERR_CTP_')) return new SightlineError('BODY_BAD', 'the body cannot be read');
    if (code === 'EMFILE' || code === 'ENFILE') {
      return new SightlineError('CONNECTIONS_EXHAUSTED', 'the server has no file descriptor left');
    }
    if (statusCode < 500) return new SightlineError('QUERY_BAD', 'the address cannot be read: it is badly encoded');
    const { code: internal, message, stack } = toSightlineError(thrown);
    this.#options.log.write('request_failed', { code: internal, reason: message, stack });
    return new SightlineError('INTERNAL', 'the server failed to answer; see its log');
  }

  /** Throws SHUTTING_DOWN. */
  #refuseWhenDraining(): void {
    if (this.#isDraining || this.#closing) throw new SightlineError('SHUTTING_DOWN', 'the server shuts down');
  }

  #refuseWhenFull(): void {
    const { connectionsMax } = this;
    if (this.connectionCount < connectionsMax) return;
    this.#refusedCount++;
    this.#options.log.write('connections_exhausted', {
      code: 'CONNECTIONS_EXHAUSTED',
      connections_max: connectionsMax,
    });
    throw new SightlineError('CONNECTIONS_EXHAUSTED', `all ${connectionsMax} connections are taken`);
  }

  /** False: none; a browser then closes the connection itself (RFC 6455 §4.1). */
  #agreeOn(offered: ReadonlySet<string>, request: IncomingMessage): string | false {
    const protocols = this.#socketRoute(request)?.protocols;
    for (const protocol of offered) {
      // The route's own text: that of the request would be kept for each connection.
      const agreed = protocols ? protocols.find((known) => known === protocol) : protocol;
      if (agreed !== undefined) return agreed;
    }
    return false;
  }

  #socketRoute({ url }: IncomingMessage): SocketRoute | undefined {
    const pathname = URL.parse(url ?? '/', 'http://localhost')?.pathname;
    return this.#options.sockets.find(({ path }) => path === pathname);
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // A peer that vanishes between the request and our answer needs none.
    socket.on('error', destroy);
    const connection = this.#connections.of(socket);
    // What is beside the base path leads to no WebSocket.
    request.url = behindBase(this.#basePath, request.url ?? '/') || '/';
    // It is refused already, or has not waited for its answers.
    if (connection?.state === 'closing' || connection?.answers) return void socket.destroy();
    if (connection) this.#connections.upgrade(connection);
    const refuse = (thrown: unknown): void => this.#connections.refuse(socket, toSightlineError(thrown));
    const run = (): void => {
      try {
        if (connection?.refusal) throw connection.refusal;
        const opened = this.#open(request, socket, head);
        if (opened instanceof Promise) opened.catch(refuse);
      } catch (thrown) {
        refuse(thrown);
      }
    };
    // A refusal takes next to nothing, and its socket need not wait.
    if (connection?.refusal || this.connectionCount >= this.connectionsMax) return run();
    this.#handshakes.submit(this.#proxies.addressOf(request), {
      get isOver() {
        return socket.destroyed;
      },
      run,
    });
  }

  /** Errors: those of a refused address or caller, NOT_FOUND, SHUTTING_DOWN, CONNECTIONS_EXHAUSTED. */
  #open(request: IncomingMessage, socket: Duplex, head: Buffer): void | Promise<void> {
    this.#checkAddress(request);
    const url = URL.parse(request.url ?? '/', 'http://localhost');
    const route = this.#socketRoute(request);
    if (!url || !route) {
      throw new SightlineError('NOT_FOUND', `there is no WebSocket at ${pathIn(request.url)}`);
    }
    const named = { client_id: url.searchParams.get('client_id') ?? undefined };
    const principal = this.#access.require(request, route.permissions, named);
    const parts = { socket, head, route, query: url.searchParams };
    if (!(principal instanceof Promise)) return this.#openAs(principal!, request, parts);
    return principal.then((checked) => this.#openAs(checked!, request, parts));
  }

  /** Errors: SHUTTING_DOWN, CONNECTIONS_EXHAUSTED. */
  #openAs(principal: Principal, request: IncomingMessage, { socket, head, route, query }: Opening): void {
    // It may have left while it was found out who it is.
    if (socket.destroyed) return;
    this.#refuseWhenDraining();
    this.#refuseWhenFull();
    this.#sockets.handleUpgrade(request, socket, head, (webSocket) => {
      // From now on `ws` listens.
      socket.off('error', destroy);
      this.#connections.webSocket(socket, route.path);
      this.#openedCount++;
      const { headers } = request;
      const address = this.#proxies.addressOf(request);
      for (const name of CREDENTIAL_PARAMETERS) query.delete(name);
      route.open(webSocket, { query, headers, address, principal });
    });
  }
}

/** Files of the page. */
const PUBLIC: Permission = { action: 'public' };
/** These change nothing. */
const READING: ReadonlySet<string> = new Set(['GET', 'HEAD']);

/** A request of a connection that may have several under way. */
interface Multiplexed {
  readonly connection: Connection;
  readonly atOnceMax: number;
  readonly isOver: () => boolean;
}

/** A WebSocket that is about to be opened. */
interface Opening {
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly route: SocketRoute;
  readonly query: URLSearchParams;
}

/** A WebSocket or an event stream. */
interface OpenConnection {
  readonly endpoint: string;
  readonly openedMs: number;
  readonly socket: Socket;
}

function figuresOf(endpoint: string, connections: readonly OpenConnection[], nowMs: number): EndpointReport {
  let [ageMs, longestMs, received, sent, buffered] = [0, 0, 0, 0, 0];
  for (const { openedMs, socket } of connections) {
    ageMs += nowMs - openedMs;
    longestMs = Math.max(longestMs, nowMs - openedMs);
    received += socket.bytesRead;
    sent += socket.bytesWritten;
    buffered += socket.writableLength;
  }
  return {
    endpoint,
    open: connections.length,
    mean_age_s: ageMs / connections.length / 1000,
    longest_age_s: longestMs / 1000,
    received_bytes: received,
    sent_bytes: sent,
    buffered_bytes: buffered,
  };
}

/** The library guards the folder as well. Throws NOT_FOUND, QUERY_BAD. */
async function sendFile(route: FileRoute, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const { params } = readInput(route.params ? { params: route.params } : {}, {
    ...request,
    query: {},
    body: undefined,
  });
  const file = await route.file(params);
  if (file === undefined || file.name.split(/[\\/]/).some(isUnfit)) {
    throw new SightlineError('NOT_FOUND', `there is nothing at ${pathIn(request.url)}`);
  }
  return reply.sendFile(file.name, file.folder);
}

/** The part that the client asks for, of which the answer says so. Throws RANGE_BAD. */
function rangeOf(all: Buffer, { method, headers }: FastifyRequest, reply: FastifyReply): Buffer {
  void reply.header('Accept-Ranges', 'bytes');
  // RFC 9110 §14.2.
  if (method !== 'GET') return all;
  const range = readRange(headers, all.length, reply.getHeader('etag'));
  if (range === 'whole') return all;
  if (range === 'none') {
    const error = new SightlineError('RANGE_BAD', `it has ${all.length} bytes, and ends before the requested part`);
    throw Object.assign(error, { headers: { 'Content-Range': `bytes */${all.length}` } });
  }
  const { from, to } = range;
  void reply.status(206).header('Content-Range', `bytes ${from}-${to - 1}/${all.length}`);
  return all.subarray(from, to);
}

/** Bad part of a path: empty, hidden, the folder above, or invalid for a file system. */
function isUnfit(part: string): boolean {
  return part === '' || part.startsWith('.') || part.includes('\0');
}

/** For messages: without the query, where secrets come. */
function pathIn(url = '/'): string {
  return url.split('?')[0]!.slice(0, 200);
}

/** Not a closure: a listener lives as long as its connection, and with it everything in its scope. */
function destroy(this: Duplex): void {
  this.destroy();
}

/** Most often a proxy in front has left the upgrade out: so the answer says which headers it has to pass on. */
function upgradeRequired({ method, url }: IncomingMessage, why: string): SightlineError {
  const path = pathIn(url);
  return new SightlineError(
    'UPGRADE_REQUIRED',
    `${method} ${path} is not a WebSocket handshake: ${why}. Connect by a WebSocket client (GET, version 13). A proxy in front must speak HTTP/1.1 to this server and pass on the headers Upgrade, Connection and Sec-WebSocket-*; in nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";`,
  );
}

/** The same keys for tickets on all sockets of the port, so that a client may go on with a session on any of them. */
function contextOptions({ certificate, key }: Identity): SecureContextOptions {
  return {
    cert: certificate,
    key,
    minVersion: 'TLSv1.2',
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    ticketKeys: randomBytes(TICKET_KEYS_BYTES),
  };
}

function hstsHeader(maxAgeS: number): [string, string][] {
  return maxAgeS === 0 ? [] : [['Strict-Transport-Security', `max-age=${maxAgeS}`]];
}

function refuseRequest(response: ServerResponse, error: SightlineError): void {
  const body = JSON.stringify(errorBody(error));
  response.setHeader('Content-Type', 'application/json');
  // HTTP/2 knows no such header (RFC 9113 §8.2.2).
  if (response.req.httpVersionMajor === 1) response.setHeader('Connection', 'close');
  response.writeHead(statusOf(error)).end(body);
}

function brokenError(code: string | undefined, ending: SocketEnding): SightlineError {
  if (ending === 'header_timeout') return new SightlineError('REQUEST_TIMEOUT', 'the header took too long to arrive');
  if (ending === 'request_timeout') return new SightlineError('REQUEST_TIMEOUT', 'the request took too long to arrive');
  if (code === 'HPE_HEADER_OVERFLOW')
    return new SightlineError('HEADER_TOO_LARGE', `the header is over ${maxHeaderSize} bytes`);
  return new SightlineError('REQUEST_BAD', 'this is no HTTP request');
}

/** Bytes of an answer; 0: none, or as good as none. */
function sizeOf(payload: unknown): number | 'file' {
  if (typeof payload === 'string') return payload.length;
  if (payload instanceof Uint8Array) return payload.byteLength;
  return payload instanceof Readable ? 'file' : 0;
}
