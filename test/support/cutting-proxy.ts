import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Random } from '../../src/base/random.ts';

/** A TCP proxy that cuts each connection after a random number of bytes, in the middle of whatever is under way. */
export class CuttingProxy {
  cuts = 0;
  /** While set, connections live. */
  isHealed = false;
  /** New connections as well. */
  #isHeld = false;
  readonly #random: Random;
  readonly #targetPort: number;
  readonly #bytesMax: number;
  readonly #server: Server;
  readonly #pairs = new Set<[Socket, Socket]>();

  constructor(random: Random, targetPort: number, bytesMax: number) {
    this.#random = random;
    this.#targetPort = targetPort;
    this.#bytesMax = bytesMax;
    this.#server = createServer((client) => this.#join(client));
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    this.#server.close();
    this.cut();
  }

  /** All connections, now. */
  cut(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }

  /** While held, nothing comes from the server: what it sends fills the buffers on the way, and then it has to wait. */
  hold(isHeld: boolean): void {
    this.#isHeld = isHeld;
    for (const [, server] of this.#pairs) this.#holdOne(server);
  }

  #holdOne(server: Socket): void {
    if (this.#isHeld) server.pause();
    else server.resume();
  }

  #join(client: Socket): void {
    const server = connect(this.#targetPort, '127.0.0.1');
    const pair: [Socket, Socket] = [client, server];
    this.#pairs.add(pair);
    let left = Math.floor(this.#random() * this.#bytesMax);
    const end = () => {
      this.#pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    const pass = (to: Socket) => (chunk: Buffer) => {
      left -= chunk.length;
      if (left > 0 || this.isHealed) {
        to.write(chunk);
        return;
      }
      this.cuts++;
      // Part of the chunk still gets through: a frame may be cut in two.
      to.write(chunk.subarray(0, Math.max(0, chunk.length + left)), end);
    };
    client.on('data', pass(server)).on('error', end).on('close', end);
    server.on('data', pass(client)).on('error', end).on('close', end);
    this.#holdOne(server);
  }
}
