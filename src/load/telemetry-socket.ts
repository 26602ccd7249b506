import { WebSocket } from 'ws';
import { ERRORS, SightlineError, toSightlineError, type ErrorCode } from '../base/errors.ts';
import { Priority } from '../base/sample.ts';
import { BatchDrafts, bodyOf, headOf } from '../protocol/batch-drafts.ts';
import { decodeBatch, encodeBatch, type BatchMessage, type SchemaLookup } from '../protocol/batch.ts';
import { ColumnGatherer } from '../protocol/columns.ts';
import { Payload } from '../protocol/payload.ts';
import { SchemaBook, type BatchSchema } from '../protocol/schema-book.ts';
import {
  CLIENT_SCHEMAS_MAX,
  type PayloadCodec,
  type SchemaField,
  type TelemetryClientMessage,
  type TelemetryServerMessage,
  type TelemetrySubprotocol,
} from '../protocol/telemetry.ts';
import { decodeTelemetryServerMessage, encodeTelemetryClientMessage } from '../protocol/telemetry-codec.ts';
import { decompressors } from '../sessions/compression.ts';

export interface TelemetryHandler {
  /** One message of a topic, decoded. */
  onMessage?(topic: string, timeMs: number, data: unknown): void;
  /** A whole batch as it came, before anything is decoded; `true`: it is taken care of, do not decode it. */
  onBatch?(bytes: Uint8Array, schemaOf: SchemaLookup, topicOf: TopicLookup): boolean;
  /** Payload bytes of each WebSocket message, before it is decoded. */
  onReceived?(bytes: number): void;
  /** All other messages, except the answers to the socket's own requests. */
  onControl?(message: TelemetryServerMessage): void;
  /** A message violates the protocol. */
  onDamaged?(error: SightlineError): void;
  /** The connection is gone, and this side did not close it. */
  onLost?(code: number): void;
}

export type TopicLookup = (topicId: number) => string | undefined;

export interface TelemetrySocketOptions {
  /** `ws:` or `wss:`, with its path. */
  readonly url: string;
  readonly subprotocol: TelemetrySubprotocol;
  /** Payload codecs of the subscriptions, best first. */
  readonly codecs: readonly PayloadCodec[];
  readonly handler: TelemetryHandler;
  readonly signal?: AbortSignal;
  /** A connection on which nothing comes for this long, not even an answer to a ping, is lost, ms; not given: never. */
  readonly lineTimeoutMs?: number;
}

/** Stands for a topic that is published on. */
interface Alias {
  readonly number: number;
}

/** Well below the default limit of a server. */
const BATCH_MAX = { messagesMax: 5_000, bytesMax: 512 * 1024 };
const CONNECT_TIMEOUT_MS = 10_000;
const ANSWER_BYTES_MAX = 16_384;

/**
 * A client of the telemetry lane that is nothing but the protocol: no reconnecting, no clock, no queues of its own, so that
 * measurements through it show the server.
 */
export class TelemetrySocket {
  readonly #socket: WebSocket;
  readonly #options: TelemetrySocketOptions;
  readonly #topics = new Map<number, string>();
  readonly #schemas = new Map<number, readonly SchemaField[]>();
  readonly #aliases = new Map<string, Alias>();
  readonly #book = new SchemaBook<Alias>(CLIENT_SCHEMAS_MAX);
  /** Layouts that the server knows, by number. */
  readonly #told = new Map<number, BatchSchema>();
  readonly #waiting = new Map<string, () => void>();
  /** Publications of this turn by topic; `flush` sends them. */
  readonly #gathered = new Map<string, BatchMessage[]>();
  readonly #ended = Promise.withResolvers<void>();
  #pinging: NodeJS.Timeout | undefined;
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
    if (options.lineTimeoutMs !== undefined) this.#watchLine(options.lineTimeoutMs);
    this.#socket.on('close', (code) => {
      clearInterval(this.#pinging);
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
    // Stays: an error without a listener would end the process; 'close' follows and is handled.
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
      // From here on `onLost` reports the end.
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
    const message = { timeMs, priority: Priority.normal, payload: this.#payload(topic, data, timeMs) };
    const gathered = this.#gathered.get(topic);
    if (gathered) gathered.push(message);
    else this.#gathered.set(topic, [message]);
  }

  /** Sends the messages published since the last time, in as few batches as their shapes allow. */
  flush(): void {
    if (this.#gathered.size === 0) return;
    const drafts = new BatchDrafts(this.#book, this.#options.codecs, BATCH_MAX);
    for (const [topic, own] of this.#gathered) {
      const alias = this.#alias(topic);
      drafts.add(alias, { topicId: alias.number, epoch: 0, firstSeq: 0 }, own);
    }
    for (const draft of drafts.drafts) {
      const { schema } = draft;
      if (schema !== undefined && this.#told.get(schema.id) !== schema) {
        this.#told.set(schema.id, schema);
        this.#send({ type: 'schema', schema_id: schema.id, fields: [...schema.fields] });
      }
      this.#write(encodeBatch(headOf(draft, 'none'), bodyOf(draft), {}));
    }
    this.#gathered.clear();
  }

  /** Resolves when it is gone; idempotent. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#socket.close();
    await this.#ended.promise;
  }

  /** A link that dies silently leaves its socket open. Turns are counted, so that a machine that slept does not look like one. */
  #watchLine(timeoutMs: number): void {
    let silentTurns = 0;
    const heard = (): void => void (silentTurns = 0);
    for (const event of ['message', 'ping', 'pong']) this.#socket.on(event, heard);
    this.#pinging = setInterval(() => {
      if (silentTurns++ >= 2) this.#socket.terminate();
      else if (this.#socket.readyState === WebSocket.OPEN) this.#socket.ping();
    }, timeoutMs / 2);
  }

  /** The data may be changed by its owner after this: its form on the wire is made now. */
  #payload(topic: string, data: unknown, timeMs: number): Payload {
    const payload = Payload.of(data);
    const fields = this.#book.expected(this.#alias(topic))?.fields;
    const row = fields && ColumnGatherer.row(fields, { timeMs, priority: Priority.normal, payload });
    return row === undefined ? Payload.copyOf(data) : Payload.row(row, 0);
  }

  #alias(topic: string): Alias {
    const known = this.#aliases.get(topic);
    if (known !== undefined) return known;
    const alias = { number: this.#aliases.size + 1 };
    this.#aliases.set(topic, alias);
    this.#send({ type: 'advertise', alias: alias.number, topic });
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
    if (handler.onBatch?.(bytes, this.#schemaOf, this.#topicOf) === true) return;
    const { envelope, messages } = decodeBatch(bytes, this.#schemaOf, decompressors);
    let from = 0;
    for (const { topicId, count } of envelope.sections) {
      const topic = this.#topics.get(topicId);
      for (const { timeMs, payload } of messages.slice(from, from + count)) {
        if (topic !== undefined) handler.onMessage?.(topic, timeMs, payload.value());
      }
      from += count;
    }
  }

  readonly #schemaOf: SchemaLookup = (schemaId) => this.#schemas.get(schemaId);
  readonly #topicOf: TopicLookup = (topicId) => this.#topics.get(topicId);

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
        this.#schemas.set(message.schema_id, message.fields);
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
