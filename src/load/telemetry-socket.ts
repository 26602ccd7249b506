import { WebSocket } from 'ws';
import { ERRORS, SightlineError, toSightlineError, type ErrorCode } from '../base/errors.ts';
import { Priority } from '../base/sample.ts';
import { decodeBatch, decodeBatchHeader, encodeBatch, type BatchMessage } from '../protocol/batch.ts';
import { Payload } from '../protocol/payload.ts';
import type {
  PayloadCodec,
  SchemaField,
  TelemetryClientMessage,
  TelemetryServerMessage,
  TelemetrySubprotocol,
} from '../protocol/telemetry.ts';
import { decodeTelemetryServerMessage, encodeTelemetryClientMessage } from '../protocol/telemetry-codec.ts';
import { decompressors } from '../sessions/compression.ts';

export interface TelemetryHandler {
  /** One message of a topic, decoded. */
  onMessage?(topic: string, timeMs: number, data: unknown): void;
  /** A whole batch as it came, before anything is decoded; `true`: it is taken care of, do not decode it. */
  onBatch?(topic: string, bytes: Uint8Array, schemaOf: SchemaLookup): boolean;
  /** Payload bytes of each WebSocket message, before it is decoded. */
  onReceived?(bytes: number): void;
  /** Everything else but what the socket itself asked for. */
  onControl?(message: TelemetryServerMessage): void;
  /** What came is not what the protocol says. */
  onDamaged?(error: SightlineError): void;
  /** The connection is gone and nobody here closed it. */
  onLost?(code: number): void;
}

export type SchemaLookup = (topicId: number, schemaId: number) => readonly SchemaField[] | undefined;

export interface TelemetrySocketOptions {
  /** `ws:` or `wss:`, with its path. */
  readonly url: string;
  readonly subprotocol: TelemetrySubprotocol;
  /** Payload codecs of what is subscribed to, best first. */
  readonly codecs: readonly PayloadCodec[];
  readonly handler: TelemetryHandler;
  readonly signal?: AbortSignal;
}

const CONNECT_TIMEOUT_MS = 10_000;
const ANSWER_BYTES_MAX = 16_384;

/**
 * A client of the telemetry lane that is nothing but the protocol: no reconnecting, no clock, no queues of its own, so that what is
 * measured through it is the server.
 */
export class TelemetrySocket {
  readonly #socket: WebSocket;
  readonly #options: TelemetrySocketOptions;
  readonly #topics = new Map<number, string>();
  /** By `schemaKey`. */
  readonly #schemas = new Map<number, readonly SchemaField[]>();
  readonly #aliases = new Map<string, number>();
  readonly #waiting = new Map<string, () => void>();
  /** Publications of this turn by topic; `flush` sends them. */
  readonly #gathered = new Map<string, BatchMessage[]>();
  readonly #ended = Promise.withResolvers<void>();
  #isClosing = false;
  #bytesReceived = 0;
  #bytesSent = 0;

  private constructor(options: TelemetrySocketOptions) {
    this.#options = options;
    const { url, subprotocol } = options;
    this.#socket = new WebSocket(url, [subprotocol], {
      perMessageDeflate: false,
      handshakeTimeout: CONNECT_TIMEOUT_MS,
    });
    this.#socket.on('message', (bytes: Buffer, isBinary) => this.#received(bytes, isBinary));
    this.#socket.on('close', (code) => {
      this.#ended.resolve();
      if (!this.#isClosing) options.handler.onLost?.(code);
    });
  }

  /** Connected and welcomed. Errors: CONNECTION_FAILED, or the code with which the server refused. */
  static async open(options: TelemetrySocketOptions): Promise<TelemetrySocket> {
    const { signal } = options;
    signal?.throwIfAborted();
    const made = new TelemetrySocket(options);
    const welcome = made.#answer('welcome');
    const failed = Promise.withResolvers<never>();
    const onAbort = (): void => failed.reject(signal!.reason as Error);
    signal?.addEventListener('abort', onAbort, { once: true });
    const socket = made.#socket;
    // Stays: an error without a listener would end the process; 'close' follows and tells.
    socket.on('error', (error) => failed.reject(connectionFailed(options, error)));
    socket.on('unexpected-response', (_request, response) => {
      let body = '';
      response.on('data', (chunk: Buffer) => (body = (body + chunk.toString()).slice(0, ANSWER_BYTES_MAX)));
      response.on('end', () => failed.reject(refused(options, response.statusCode ?? 0, body)));
    });
    socket.on('close', (code) => failed.reject(connectionFailed(options, new Error(`closed with ${code}`))));
    const timer = setTimeout(
      () => failed.reject(connectionFailed(options, new Error('no welcome'))),
      CONNECT_TIMEOUT_MS,
    );
    try {
      await Promise.race([welcome, failed.promise]);
      return made;
    } catch (thrown) {
      made.#isClosing = true;
      socket.terminate();
      throw thrown;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      // What happens from here on is told by `onLost`.
      failed.promise.catch(() => {});
    }
  }

  /** Payload bytes of all WebSocket messages so far. */
  get bytesReceived(): number {
    return this.#bytesReceived;
  }

  get bytesSent(): number {
    return this.#bytesSent;
  }

  /** Bytes that the socket has not taken yet. */
  get backlogBytes(): number {
    return this.#socket.bufferedAmount;
  }

  /** Contract `all`. Resolves when the subscription is in force. */
  async subscribe(id: number, filter: string): Promise<void> {
    const subscribed = this.#answer(`subscribed ${id}`);
    this.#send({ type: 'subscribe', id, filter, contract: 'all', codecs: [...this.#options.codecs] });
    await Promise.race([subscribed, this.#ended.promise]);
  }

  /** Tells the server how far this program is behind in its own work. */
  report(lagMs: number): void {
    this.#send({ type: 'report', lag_ms: lagMs });
  }

  /** In the binary protocol nothing is sent before `flush`. */
  publish(topic: string, data: unknown, timeMs: number): void {
    if (this.#options.subprotocol !== 'sightline.v1.binary') {
      this.#send({ type: 'publish', topic, data, time: timeMs });
      return;
    }
    const message = { timeMs, priority: Priority.normal, payload: Payload.of(data) };
    // The data may be changed by its owner after this: its form on the wire is made now.
    message.payload.msgpack();
    const gathered = this.#gathered.get(topic);
    if (gathered) gathered.push(message);
    else this.#gathered.set(topic, [message]);
  }

  /** Sends what was published since the last time, one batch a topic. */
  flush(): void {
    if (this.#gathered.size === 0) return;
    for (const [topic, messages] of this.#gathered) {
      const head = {
        topicId: this.#alias(topic),
        epoch: 0,
        firstSeq: 0,
        codec: 'msgpack',
        compression: 'none',
      } as const;
      this.#write(encodeBatch(head, messages, {}));
    }
    this.#gathered.clear();
  }

  /** Resolves when it is gone; idempotent. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#socket.close();
    await this.#ended.promise;
  }

  #alias(topic: string): number {
    const known = this.#aliases.get(topic);
    if (known !== undefined) return known;
    const alias = this.#aliases.size + 1;
    this.#aliases.set(topic, alias);
    this.#send({ type: 'advertise', alias, topic });
    return alias;
  }

  #send(message: TelemetryClientMessage): void {
    this.#write(encodeTelemetryClientMessage(message, this.#options.subprotocol));
  }

  #write(data: string | Uint8Array): void {
    this.#bytesSent += typeof data === 'string' ? Buffer.byteLength(data) : data.length;
    this.#socket.send(data, () => {
      // A message that did not go out shows as lost.
    });
  }

  #answer(name: string): Promise<void> {
    return new Promise((resolve) => this.#waiting.set(name, resolve));
  }

  #answered(name: string): void {
    this.#waiting.get(name)?.();
    this.#waiting.delete(name);
  }

  #received(bytes: Buffer, isBinary: boolean): void {
    this.#bytesReceived += bytes.length;
    this.#options.handler.onReceived?.(bytes.length);
    try {
      if (isBinary && this.#options.subprotocol === 'sightline.v1.binary') this.#batch(bytes);
      else this.#control(decodeTelemetryServerMessage(isBinary ? bytes : bytes.toString()));
    } catch (thrown) {
      this.#options.handler.onDamaged?.(toSightlineError(thrown));
    }
  }

  #batch(bytes: Buffer): void {
    const { handler } = this.#options;
    const { topicId } = decodeBatchHeader(bytes);
    const topic = this.#topics.get(topicId);
    if (topic === undefined) return;
    if (handler.onBatch?.(topic, bytes, this.#schemaOf) === true) return;
    const { messages } = decodeBatch(bytes, this.#schemaOf, decompressors);
    for (const { timeMs, payload } of messages) handler.onMessage?.(topic, timeMs, payload.value());
  }

  readonly #schemaOf: SchemaLookup = (topicId, schemaId) => this.#schemas.get(schemaKey(topicId, schemaId));

  #control(message: TelemetryServerMessage): void {
    const { handler } = this.#options;
    switch (message.type) {
      case 'welcome':
        return this.#answered('welcome');
      case 'subscribed':
        return this.#answered(`subscribed ${message.id}`);
      case 'topic':
        this.#topics.set(message.topic_id, message.topic);
        break;
      case 'schema':
        this.#schemas.set(schemaKey(message.topic_id, message.schema_id), message.fields);
        break;
      case 'data': {
        const topic = this.#topics.get(message.topic_id);
        if (topic === undefined) return;
        for (const { time, data } of message.messages) handler.onMessage?.(topic, time, data);
        return;
      }
      default:
    }
    handler.onControl?.(message);
  }
}

/** Topic ids have 32 bits, schema ids 8. */
function schemaKey(topicId: number, schemaId: number): number {
  return topicId * 256 + schemaId;
}

function connectionFailed({ url, subprotocol }: TelemetrySocketOptions, error: Error): SightlineError {
  const why = error.message.includes('subprotocol')
    ? `it does not speak ${subprotocol}`
    : ((error.message || (error as NodeJS.ErrnoException).code) ?? 'it cannot be reached');
  return new SightlineError('CONNECTION_FAILED', `${url}: ${why}`, { cause: error });
}

/** The server's own words, where it is a Sightline. */
function refused({ url }: TelemetrySocketOptions, status: number, body: string): SightlineError {
  try {
    const { error } = JSON.parse(body) as { error: { code: string; message: string } };
    if (error.code in ERRORS) return new SightlineError(error.code as ErrorCode, `${url}: ${error.message}`);
  } catch {
    // Something else answered.
  }
  return new SightlineError('CONNECTION_FAILED', `${url} answered ${status} and no WebSocket`);
}
