import { WebSocket } from 'ws';
import {
  decodeCamerasMessage,
  type CameraChannel,
  type CamerasServerMessage,
  type FragmentMessage,
} from '../../src/protocol/cameras.ts';

type Of<T extends CamerasServerMessage['type']> = Extract<CamerasServerMessage, { type: T }>;

/** A plain `ws` client that keeps what it gets: the tests' view of the cameras' lane, without the SDK. */
export class CamerasClient {
  readonly socket: WebSocket;
  readonly messages: CamerasServerMessage[] = [];
  /** Close code, once closed. */
  closed: number | undefined;
  #wake: (() => void)[] = [];

  constructor(url: string) {
    this.socket = new WebSocket(url);
    this.socket.on('message', (data, isBinary) => {
      this.messages.push(decodeCamerasMessage(isBinary ? (data as Buffer) : (data as Buffer).toString()));
      this.#changed();
    });
    this.socket.on('close', (code) => {
      this.closed = code;
      this.#changed();
    });
    this.socket.on('error', () => {
      // `closed` tells.
    });
  }

  /** Connected and welcomed, or refused. */
  static async open(url: string): Promise<CamerasClient> {
    const client = new CamerasClient(url);
    await client.until(() => client.messages.length > 0 || client.closed !== undefined);
    return client;
  }

  of<T extends CamerasServerMessage['type']>(type: T, id?: number): Of<T>[] {
    return this.messages.filter(
      (message) => message.type === type && (id === undefined || (message as { id?: number }).id === id),
    ) as Of<T>[];
  }

  /** Fragments of a view, as `epoch index:seq`, a key frame with a `k`: the epochs are numbered in the order in which they came. */
  names(id: number): string[] {
    const epochs: number[] = [];
    return this.of('fragment', id).map(({ epoch, seq, isKey }: FragmentMessage) => {
      if (!epochs.includes(epoch)) epochs.push(epoch);
      return `${epochs.indexOf(epoch)}:${seq}${isKey ? 'k' : ''}`;
    });
  }

  view(id: number, camera: string, channels: readonly CameraChannel[] = ['raw'], more: object = {}): void {
    this.send({ type: 'open', id, camera, channels, ...more });
  }

  send(data: string | Uint8Array | object): void {
    this.socket.send(typeof data === 'string' || data instanceof Uint8Array ? data : JSON.stringify(data));
  }

  /** Everything that was sent before has come to the server, and its answers are here. */
  async settled(): Promise<void> {
    const t0 = Math.random();
    this.send({ type: 'clock', t0 });
    await this.until(() => this.of('clock').some((reply) => reply.t0 === t0) || this.closed !== undefined);
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
