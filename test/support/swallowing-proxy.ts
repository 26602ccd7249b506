import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/**
 * A TCP proxy whose connections go dead without a word: from then on it takes everything and passes nothing on, in one direction or
 * in both, and tells neither side of the other's end. New connections live.
 */
export class SwallowingProxy {
  readonly #targetPort: number;
  readonly #server: Server;
  readonly #pairs = new Set<{ client: Socket; server: Socket; up: boolean; down: boolean }>();

  constructor(targetPort: number) {
    this.#targetPort = targetPort;
    this.#server = createServer((client) => this.#join(client));
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  /** Of the connections that there are. `up`: from the client to the server. */
  swallow(directions: { readonly up?: boolean; readonly down?: boolean } = { up: true, down: true }): void {
    for (const pair of this.#pairs) Object.assign(pair, directions);
  }

  close(): void {
    this.#server.close();
    for (const { client, server } of this.#pairs) for (const socket of [client, server]) socket.destroy();
  }

  #join(client: Socket): void {
    const server = connect(this.#targetPort, '127.0.0.1');
    const pair = { client, server, up: false, down: false };
    this.#pairs.add(pair);
    client.on('data', (chunk) => void (pair.up || server.write(chunk)));
    server.on('data', (chunk) => void (pair.down || client.write(chunk)));
    client.on('error', () => {}).on('close', () => void (pair.up || server.destroy()));
    server.on('error', () => {}).on('close', () => void (pair.down || client.destroy()));
  }
}
