import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import type { Server as HttpServer } from 'node:http';
import { createServer, type AddressInfo, type ListenOptions, type Server } from 'node:net';
import { SightlineError } from '../base/errors.ts';

/** Connections that the operating system keeps for each socket until the main thread takes them. */
const BACKLOG = 1_024;
/**
 * Node takes one connection from each listening socket in a turn of the event loop, in the order in which they came. Sockets that
 * share the port shorten the line by their number: the system spreads connections over them (SO_REUSEPORT, Linux).
 */
export const SOCKETS_PER_ADDRESS = process.platform === 'linux' ? 8 : 1;

/** The sockets by which a server is reached, all on one port. */
export class Listeners {
  readonly #create: () => HttpServer;
  readonly #servers: HttpServer[] = [];

  /** `create` makes one of several servers that answer alike. */
  constructor(create: () => HttpServer) {
    this.#create = create;
  }

  get servers(): readonly HttpServer[] {
    return this.#servers;
  }

  /** Of the first of them; undefined: nothing listens. */
  get address(): AddressInfo | undefined {
    return (this.#servers[0]?.address() as AddressInfo | null | undefined) ?? undefined;
  }

  /** Errors: ADDRESS_IN_USE, CONFIG_VALUE_BAD. */
  async listen(host: string, port: number): Promise<void> {
    try {
      await this.#listenAt(host, port);
    } catch (thrown) {
      throw listenError(thrown, host, port);
    }
    if (host !== 'localhost') return;
    // It has an address of each family; the server listens on one of them by now.
    const own = this.address!;
    for (const { address } of await lookup('localhost', { all: true })) {
      // One family may be missing on this machine.
      if (address !== own.address) await this.#listenAt(address, own.port).catch(() => undefined);
    }
  }

  /** Ends connections that wait for another request. */
  closeIdleConnections(): void {
    for (const server of this.#servers) server.closeIdleConnections();
  }

  /** Ends all connections, but not those that were upgraded. */
  async close(): Promise<void> {
    const closed = this.#servers.map((server) => new Promise<void>((done) => server.close(() => done())));
    for (const server of this.#servers) server.closeAllConnections();
    await Promise.all(closed);
  }

  async #listenAt(host: string, port: number): Promise<void> {
    // A socket that shares its port would share it with another program of this user as well, such as another Sightline.
    if (SOCKETS_PER_ADDRESS > 1 && port !== 0) await checkFree({ host, port });
    const first = await this.#open({ host, port });
    const own = first.address() as AddressInfo;
    for (let i = 1; i < SOCKETS_PER_ADDRESS; i++) await this.#open({ host: own.address, port: own.port });
  }

  async #open(where: ListenOptions): Promise<HttpServer> {
    const server = this.#create();
    await start(server, { ...where, backlog: BACKLOG, reusePort: SOCKETS_PER_ADDRESS > 1 });
    this.#servers.push(server);
    return server;
  }
}

/** Throws what the system says against it. */
async function checkFree(where: ListenOptions): Promise<void> {
  const probe = createServer();
  await start(probe, where);
  await new Promise<void>((done) => probe.close(() => done()));
}

async function start(server: Server, options: ListenOptions): Promise<void> {
  server.listen(options);
  await once(server, 'listening');
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
  // EAI_AGAIN: whoever knows names does not answer, as for a name that there is not where a machine is alone.
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return new SightlineError('CONFIG_VALUE_BAD', `server.host: ${host} is not an address of this machine`);
  return new SightlineError('INTERNAL', `cannot listen on ${host}:${port}: ${message}`, { cause: thrown });
}
