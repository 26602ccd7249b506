import { WebSocket } from 'ws';
import { decodeServerMessage } from '../../src/protocol/video-codec.ts';
import type { PipelineName } from '../../src/base/result.ts';
import type { ServerMessage } from '../../src/protocol/video.ts';

/** A plain `ws` client that keeps what it gets: the tests' view of the protocol, without the SDK. */
export class SocketClient<P extends PipelineName = 'objects'> {
  readonly socket: WebSocket;
  readonly messages: ServerMessage<P>[] = [];
  /** Close code, once closed. */
  closed: number | undefined;
  #wake: (() => void)[] = [];

  constructor(url: string, options?: ConstructorParameters<typeof WebSocket>[2]) {
    this.socket = new WebSocket(url, options);
    this.socket.on('message', (data, isBinary) => {
      this.messages.push(decodeServerMessage<P>(isBinary ? (data as Buffer) : (data as Buffer).toString()));
      this.#changed();
    });
    this.socket.on('close', (code) => {
      this.closed = code;
      this.#changed();
    });
    this.socket.on('error', () => {
      // A refused upgrade or a cut connection: `closed` tells.
    });
  }

  /** Connected and welcomed. */
  static async open<P extends PipelineName = 'objects'>(
    url: string,
    options?: ConstructorParameters<typeof WebSocket>[2],
  ): Promise<SocketClient<P>> {
    const client = new SocketClient<P>(url, options);
    await client.until(() => client.of('welcome').length > 0 || client.closed !== undefined);
    return client;
  }

  get welcome() {
    return this.of('welcome').at(-1)!;
  }

  of<T extends ServerMessage['type']>(type: T): Extract<ServerMessage<P>, { type: T }>[] {
    return this.messages.filter((message) => message.type === type) as Extract<ServerMessage<P>, { type: T }>[];
  }

  /** `seq:result`, `seq:cause` or `seq:CODE` for every answered frame, in the order of the answers. */
  answers(): string[] {
    return this.messages.flatMap((message) => {
      if (message.type === 'result') return [`${message.seq}:result`];
      if (message.type === 'dropped') return message.seqs.map((seq) => `${seq}:${message.cause}`);
      if (message.type === 'error') return [`${message.seq ?? '-'}:${message.code}`];
      return [];
    });
  }

  send(data: string | Uint8Array | object): void {
    this.socket.send(typeof data === 'string' || data instanceof Uint8Array ? data : JSON.stringify(data));
  }

  /** Waits for a condition on what came in; the test's own timeout ends it. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  async close(): Promise<void> {
    this.socket.close();
    await this.until(() => this.closed !== undefined);
  }

  #changed(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}
