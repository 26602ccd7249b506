import { WebSocket } from 'ws';
import { decodeBatch } from '../../src/protocol/batch.ts';
import { writeMsgpack } from '../../src/protocol/msgpack-writer.ts';
import { decodeTelemetryServerMessage } from '../../src/protocol/telemetry-codec.ts';
import type {
  SchemaField,
  TelemetryServerMessage,
  TelemetrySubprotocol,
  TopicMessage,
} from '../../src/protocol/telemetry.ts';
import { decompressors } from '../../src/sessions/compression.ts';

export interface Received {
  readonly topic: string;
  readonly id: number;
  readonly epoch: number;
  readonly seq: number;
  readonly time: number;
  readonly priority: number;
  readonly data: unknown;
}

/** A plain `ws` client of the telemetry lane: the tests' view of the protocol, without the SDK. */
export class TelemetryTestClient {
  readonly socket: WebSocket;
  readonly protocol: TelemetrySubprotocol;
  /** Everything but data. */
  readonly messages: TelemetryServerMessage[] = [];
  readonly received: Received[] = [];
  /** WebSocket messages that held data. */
  batches = 0;
  closed: number | undefined;
  readonly #topics = new Map<number, TopicMessage>();
  readonly #schemas = new Map<number, SchemaField[]>();
  #wake: (() => void)[] = [];

  /** `ca`: the authority that it trusts, in place of the usual ones. */
  constructor(url: string, protocol: TelemetrySubprotocol = 'sightline.v1.json', ca?: string) {
    this.protocol = protocol;
    this.socket = new WebSocket(url, protocol, ca === undefined ? {} : { ca });
    this.socket.on('message', (data, isBinary) => {
      this.#onMessage(data as Buffer, isBinary);
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
  static async open(url: string, protocol?: TelemetrySubprotocol, ca?: string): Promise<TelemetryTestClient> {
    const client = new TelemetryTestClient(url, protocol, ca);
    await client.until(() => client.of('welcome').length > 0 || client.closed !== undefined);
    return client;
  }

  get welcome() {
    return this.of('welcome').at(-1)!;
  }

  of<T extends TelemetryServerMessage['type']>(type: T): Extract<TelemetryServerMessage, { type: T }>[] {
    return this.messages.filter((message) => message.type === type) as Extract<TelemetryServerMessage, { type: T }>[];
  }

  get errors(): string[] {
    return this.of('error').map(({ code }) => code);
  }

  get seqs(): number[] {
    return this.received.map(({ seq }) => seq);
  }

  get values(): unknown[] {
    return this.received.map(({ data }) => data);
  }

  send(message: object | string | Uint8Array): void {
    if (typeof message === 'string' || message instanceof Uint8Array) this.socket.send(message);
    else if (this.protocol === 'sightline.v1.msgpack') this.socket.send(writeMsgpack(message));
    else this.socket.send(JSON.stringify(message));
  }

  /** Subscribed, and told of the topics that there are. */
  async subscribe(filter: string, contract: string, more: object = {}): Promise<void> {
    const { id = 1 } = more as { id?: number };
    this.send({ type: 'subscribe', id, filter, contract, ...more });
    await this.until(() => this.of('subscribed').some((message) => message.id === id) || this.errors.length > 0);
  }

  /** The server has handled everything that was sent before. */
  async settled(): Promise<void> {
    const t0 = Math.random();
    this.send({ type: 'clock', t0 });
    await this.until(() => this.of('clock').some((message) => message.t0 === t0) || this.closed !== undefined);
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  async close(): Promise<void> {
    this.socket.close();
    await this.until(() => this.closed !== undefined);
  }

  #onMessage(data: Buffer, isBinary: boolean): void {
    if (isBinary && this.protocol === 'sightline.v1.binary') {
      this.#onBatch(data);
      return;
    }
    const message = decodeTelemetryServerMessage(isBinary ? data : data.toString());
    if (message.type === 'data') {
      this.batches++;
      for (const [i, { time, priority, data: value }] of message.messages.entries()) {
        this.#take(message.topic_id, message.seq + i, time, priority, value);
      }
      return;
    }
    this.messages.push(message);
    if (message.type === 'topic') this.#topics.set(message.topic_id, message);
    if (message.type === 'schema') this.#schemas.set(message.schema_id, message.fields);
  }

  #onBatch(data: Buffer): void {
    const schemaOf = (schemaId: number) => this.#schemas.get(schemaId);
    const { envelope, messages } = decodeBatch(data, schemaOf, decompressors);
    this.batches++;
    let next = 0;
    for (const { topicId, epoch, firstSeq, count } of envelope.sections) {
      const told = this.#topics.get(topicId)?.epoch;
      if (told !== epoch) throw new Error(`data of topic ${topicId} in epoch ${epoch}, but ${told} was told`);
      for (let i = 0; i < count; i++, next++) {
        const { timeMs, priority, payload } = messages[next]!;
        this.#take(topicId, firstSeq + i, timeMs, priority, payload.value());
      }
    }
  }

  #take(topicId: number, seq: number, time: number, priority: number, data: unknown): void {
    const topic = this.#topics.get(topicId);
    if (topic === undefined) throw new Error(`data of topic ${topicId}, which was not told`);
    this.received.push({ topic: topic.topic, id: topic.id, epoch: topic.epoch, seq, time, priority, data });
  }

  #changed(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}
