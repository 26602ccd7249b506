import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A TCP proxy whose connections can all be cut at once. */
export class Cutter implements Disposable {
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  readonly #server: ReturnType<typeof createServer>;

  private constructor(targetPort: number) {
    this.#server = createServer((client) => this.#join(client, connect(targetPort, '127.0.0.1')));
  }

  static async open(targetPort: number): Promise<{ readonly cutter: Cutter; readonly port: number }> {
    const cutter = new Cutter(targetPort);
    cutter.#server.listen(0, '127.0.0.1');
    await once(cutter.#server, 'listening');
    return { cutter, port: (cutter.#server.address() as AddressInfo).port };
  }

  /** Returns how many there were. */
  cut(): number {
    const count = this.#pairs.size;
    for (const pair of this.#pairs) for (const socket of pair) socket.resetAndDestroy();
    return count;
  }

  [Symbol.dispose](): void {
    this.#server.close();
    this.cut();
  }

  #join(client: Socket, server: Socket): void {
    const pair = [client, server] as const;
    this.#pairs.add(pair);
    const end = (): void => {
      this.#pairs.delete(pair);
      for (const socket of pair) socket.destroy();
    };
    for (const socket of pair) socket.on('error', end).on('close', end);
    client.pipe(server);
    server.pipe(client);
  }
}
