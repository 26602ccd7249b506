import type { ErrorCode } from '../base/errors.ts';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import { decodeBatchHeader, envelopeBytes, type BatchEnvelope } from '../protocol/batch.ts';
import { quote } from '../protocol/quote.ts';
import {
  checkTelemetryClientMessage,
  decodeTelemetryServerMessage,
  encodeTelemetryClientMessage,
} from '../protocol/telemetry-codec.ts';
import type {
  DataMessage,
  NoticeMessage,
  TelemetryClientMessage,
  TelemetryError,
  TelemetryServerMessage,
  TelemetrySubprotocol,
  TelemetryWelcome,
  TopicMessage,
} from '../protocol/telemetry.ts';
import { checkFilter } from '../protocol/topic.ts';
import type { ClockEstimate } from './clock-sync.ts';
import { platformCompressors, platformDecompressors } from './compression.ts';
import type { Unsubscribe } from './emitter.ts';
import { Emitter } from './emitter.ts';
import { Inbox } from './inbox.ts';
import { LagMeter } from './lag.ts';
import type { LinkSettings, SessionState, StateChange } from './link.ts';
import { Link } from './link.ts';
import { sessionUrl } from './socket.ts';
import type { BatchDecoder, BatchUse, DecodedBatch, WorkerLike } from './telemetry-decoder.ts';
import { exactly, LocalDecoder, ValueBatch, WorkerDecoder } from './telemetry-decoder.ts';
import type { PublishMetrics, PublishOptions } from './telemetry-publisher.ts';
import { Publisher } from './telemetry-publisher.ts';
import type { SubscribeOptions, SubscriptionTerms } from './telemetry-subscription.ts';
import { Subscription } from './telemetry-subscription.ts';

const LANE_PATH = '/ws/telemetry';
const SUBPROTOCOLS = {
  json: 'sightline.v1.json',
  msgpack: 'sightline.v1.msgpack',
  binary: 'sightline.v1.binary',
} as const satisfies Record<TelemetryFormat, TelemetrySubprotocol>;
/** Messages that may wait for a decoder that is not done with those before. */
const INBOX_MAX = 1_000;

/** How messages are written: JSON for people, MessagePack for small programs, binary batches for everything else. */
export type TelemetryFormat = 'json' | 'msgpack' | 'binary';

export interface ConnectTelemetryOptions extends LinkSettings {
  /** `ws:`, `wss:`, `http:` or `https:`; in a browser also relative to the page. Without a path: `/ws/telemetry`. */
  readonly url: string;
  /** Hz: subscriptions without a contract are `sampled` at this rate. */
  readonly targetFrequency?: number;
  /** Milliseconds: subscriptions leave out what is older, and give up rate when this program lags more. */
  readonly maxLatency?: number;
  /** Of what is published in binary batches, above 512 bytes, where the platform has zlib at hand (Node); on by default. */
  readonly enableCompression?: boolean;
  /** Gather what is published while the socket is busy (50 messages, 5 ms); on by default. */
  readonly enableBatching?: boolean;
  /** `binary` unless told otherwise. */
  readonly format?: TelemetryFormat;
  /** Decode binary batches in this worker; the session ends it. Without one they are decoded in place. */
  readonly worker?: WorkerLike | undefined;
}

export interface TelemetryEvents {
  state: StateChange;
  /** `queue`, `rate` (with `penalty`) or `drain`: the session moves to another connection by itself. */
  notice: NoticeMessage;
  error: { readonly error: SightlineError; readonly topic?: string; readonly seq?: number };
}

export interface TelemetryMetrics {
  readonly reconnects: number;
  readonly subscriptions: number;
  /** Binary batches that could not be read. */
  readonly damagedBatches: number;
  /** Batches that were not read since the decoder was too far behind. */
  readonly undecodedBatches: number;
  /** Errors that the server told of. */
  readonly errors: number;
  /** How far this program was behind, as last reported to the server, ms. */
  readonly lagMs: number;
  readonly clock: ClockEstimate;
  readonly publish: PublishMetrics;
}

interface BatchMessage {
  readonly type: 'batch';
  readonly bytes: Uint8Array<ArrayBuffer>;
}

interface MeasuredData {
  readonly type: 'measured_data';
  readonly data: DataMessage;
  readonly bytes: number;
}

type Incoming = TelemetryServerMessage | BatchMessage | MeasuredData | { readonly type: 'unknown' };

/** What passes the inbox: messages whose order counts, batches read, and what became of those that were not. */
type Ordered =
  | Extract<TelemetryServerMessage, { type: 'topic' | 'loss' | 'subscribed' | 'unsubscribed' }>
  | { readonly type: 'decoded'; readonly batch: DecodedBatch; readonly arrived: Arrived }
  | { readonly type: 'damaged'; readonly envelope: BatchEnvelope | undefined; readonly error: SightlineError };

interface Arrived {
  readonly envelope: BatchEnvelope;
  readonly wireBytes: number;
  readonly receivedTimeMs: number;
}

/** A session from its first `welcome` on. Rejects with SightlineError: the server's code, or CONNECTION_FAILED. */
export function connectTelemetry(options: ConnectTelemetryOptions): Promise<TelemetrySession> {
  return TelemetrySession.connect(options);
}

/**
 * One telemetry session: many subscriptions and publications over one socket, across as many connections as it takes. Made
 * by `connectTelemetry`; whoever made it closes it.
 */
export class TelemetrySession {
  readonly #options: ConnectTelemetryOptions;
  readonly #link: Link<TelemetryWelcome, Incoming>;
  readonly #protocol: TelemetrySubprotocol;
  readonly #decoder: BatchDecoder;
  readonly #publisher: Publisher;
  readonly #inbox = new Inbox<Ordered>(INBOX_MAX, (item) => this.#onOrdered(item));
  readonly #lag: LagMeter;
  readonly #emitter = new Emitter<TelemetryEvents>();
  readonly #subscriptions = new Map<number, Subscription>();
  /** Whom a topic id of this connection belongs to. */
  readonly #routes = new Map<number, readonly Subscription[]>();
  /** Asked for on this connection, and neither taken nor refused yet. */
  readonly #pending = new Set<number>();
  #lastWireId = 0;
  #counts = { damagedBatches: 0, undecodedBatches: 0, errors: 0 };

  private constructor(options: ConnectTelemetryOptions) {
    this.#options = options;
    const { format = 'binary', enableBatching = true, enableCompression = true, worker } = options;
    this.#protocol = SUBPROTOCOLS[format];
    const local = new LocalDecoder(platformDecompressors());
    this.#decoder = worker ? new WorkerDecoder(worker, local) : local;
    this.#link = new Link<TelemetryWelcome, Incoming>(
      {
        settings: options,
        lane: LANE_PATH,
        address: (identity) => sessionUrl(options.url, LANE_PATH, { ...identity }),
        subprotocol: this.#protocol,
        decode: (data) => decoded(data, format),
        encodeClock: ({ type, t0 }) => this.#encode({ type, t0 }),
      },
      {
        onOpen: () => this.#onOpen(),
        onMessage: (message) => this.#onMessage(message),
        onLost: () => this.#onLost(),
        onState: (change) => this.#onState(change),
        onFault: (error) => this.#emitter.emit('error', { error }),
      },
    );
    const link = this.#link;
    this.#publisher = new Publisher(
      {
        clock: link.clock,
        random: link.random,
        isOpen: () => link.state === 'open',
        bufferedBytes: () => link.bufferedBytes,
        offsetMs: (nowMs) => link.offsetMs(nowMs),
        messageBytesMax: () => this.welcome.limits.message_bytes_max,
        messagesPerS: () => this.welcome.limits.publish_rate_max,
        send: (data) => link.send(data),
        encode: (message) => this.#encode(message),
      },
      {
        batches: format === 'binary',
        takesBytes: format !== 'json',
        gathers: enableBatching,
        compression: enableCompression ? 'zlib' : 'none',
        compressors: platformCompressors(),
      },
    );
    this.#lag = new LagMeter({
      clock: link.clock,
      waitedMs: (nowMs) => this.#waitedMs(nowMs),
      onSecond: (lagMs) => this.#adapt(lagMs),
      report: (lagMs) => this.#send({ type: 'report', lag_ms: lagMs }),
    });
  }

  /** @internal Use `connectTelemetry`. */
  static async connect(options: ConnectTelemetryOptions): Promise<TelemetrySession> {
    const session = new TelemetrySession(options);
    try {
      await session.#link.open();
    } catch (thrown) {
      await session.close();
      throw thrown;
    }
    return session;
  }

  /** That of the present connection, or of the last one. */
  get welcome(): TelemetryWelcome {
    return this.#link.welcome as TelemetryWelcome;
  }

  get state(): SessionState {
    return this.#link.state;
  }

  /**
   * Subscribes to a topic, or to all that a filter matches; returns at once. Throws FILTER_BAD, MESSAGE_FIELD_BAD for terms that no
   * server takes (`sampled` without a rate, a group with another contract than `all`), CONNECTION_LOST once the session is closed.
   */
  subscribe(filter: string, options: SubscribeOptions = {}): Subscription {
    checkFilter(filter);
    if (this.state === 'closed') throw closedError(`"${filter}" is not subscribed to`);
    const { targetFrequency, maxLatency } = this.#options;
    const rate = options.hz ?? targetFrequency;
    const contract = options.contract ?? (rate === undefined || options.group !== undefined ? 'all' : 'sampled');
    if (contract === 'sampled' && !(rate !== undefined && rate > 0)) {
      throw new SightlineError(
        'MESSAGE_FIELD_BAD',
        `"${filter}" is to be sampled at ${rate} Hz: give a positive \`hz\``,
      );
    }
    if (contract !== 'all' && options.group !== undefined) {
      throw new SightlineError(
        'MESSAGE_FIELD_BAD',
        `the group "${options.group}" shares by the contract all, not ${contract}`,
      );
    }
    const terms = {
      contract,
      hz: contract === 'sampled' ? rate : undefined,
      // What is reliable is wanted however late it is.
      ttlMs: options.ttlMs ?? (contract === 'reliable' ? undefined : maxLatency),
      since: options.since ?? [],
      group: options.group,
      queueMax: options.queueMax,
    };
    checkTerms(filter, terms);
    const subscription = new Subscription(filter, terms, {
      clock: this.#link.clock,
      offsetMs: (nowMs) => this.#link.offsetMs(nowMs),
      toWallMs: (timeMs) => this.#link.toWallMs(timeMs),
      send: (message) => this.#send(message),
      refetch: (which) => this.#refetch(which),
      remove: (which) => this.#remove(which),
      drain: (which) => this.#drain(which),
    });
    this.#ask(subscription);
    return subscription;
  }

  /**
   * Publishes a message. With `reliable` the promise resolves when it is in the topic's history, however many connections
   * that takes, and rejects when the message is none, the server refuses it or the session ends. Throws (without `reliable`)
   * TOPIC_BAD, MESSAGE_FIELD_BAD, PAYLOAD_BAD, MESSAGE_TOO_LARGE and TOPIC_LIMIT_REACHED; in any case PUBLISH_QUEUE_FULL, and
   * CONNECTION_LOST once the session is closed.
   */
  publish(topic: string, data: unknown, options: PublishOptions & { readonly reliable: true }): Promise<void>;
  publish(topic: string, data: unknown, options?: PublishOptions): Promise<void> | undefined;
  publish(topic: string, data: unknown, options: PublishOptions = {}): Promise<void> | undefined {
    const { timeMs } = options;
    // What is no number the publisher refuses.
    const own = typeof timeMs === 'number' ? { ...options, timeMs: this.#link.toOwnMs(timeMs) } : options;
    return this.#publisher.publish(topic, data, own);
  }

  on<Name extends keyof TelemetryEvents>(event: Name, listener: (value: TelemetryEvents[Name]) => void): Unsubscribe {
    return this.#emitter.on(event, listener);
  }

  /** The server's time for a moment on the client's clock, both Unix ms; good to ± `metrics().clock.uncertaintyMs`. */
  toServerTimeMs(clientTimeMs: number): number {
    return this.#link.toServerMs(clientTimeMs);
  }

  metrics(): TelemetryMetrics {
    return {
      ...this.#counts,
      reconnects: this.#link.reconnects,
      subscriptions: this.#subscriptions.size,
      lagMs: this.#lag.lagMs,
      clock: this.#link.clockEstimate(),
      publish: this.#publisher.metrics(),
    };
  }

  /** Sends what waits, ends the session for good; may be called again. Resolves within a second. */
  close(): Promise<void> {
    this.#publisher.flush();
    for (const subscription of this.#subscriptions.values()) subscription.flushAcks();
    return this.#link.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ── Connections ────────────────────────────────────────────────────────────────────────────────────────────────────

  #onOpen(): void {
    const subscriptions = [...this.#subscriptions.values()];
    this.#subscriptions.clear();
    for (const subscription of subscriptions) this.#ask(subscription);
    this.#publisher.onOpen(this.welcome.resumed);
    this.#lag.start();
  }

  #onLost(): void {
    this.#lag.stop();
    this.#inbox.clear();
    this.#routes.clear();
    this.#pending.clear();
    this.#decoder.reset();
    this.#publisher.onLost();
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.isDraining) this.#onDrained(subscription);
      else subscription.onLost();
    }
  }

  #onState(change: StateChange): void {
    if (change.state === 'closed') {
      this.#decoder.close();
      this.#publisher.close(change.error ?? closedError('not everything was confirmed'));
      for (const subscription of this.#subscriptions.values()) subscription.end(change.error);
      this.#subscriptions.clear();
    }
    this.#emitter.emit('state', change);
    if (change.state === 'closed') this.#emitter.clear();
  }

  // ── Messages ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #onMessage(message: Incoming): void {
    switch (message.type) {
      case 'batch':
        return this.#onBatch(message.bytes);
      case 'measured_data':
        return this.#onData(message);
      case 'topic':
        this.#route(message);
        return this.#inbox.push(message, this.#link.clock.now());
      case 'subscribed':
        this.#pending.delete(message.id);
        return this.#inbox.push(message, this.#link.clock.now());
      case 'loss':
      case 'unsubscribed':
        return this.#inbox.push(message, this.#link.clock.now());
      case 'schema':
        // Ahead of the batches that need it, and those are begun after it.
        return this.#decoder.setSchema(message.schema_id, message.fields);
      case 'published':
        return this.#publisher.onPublished(message);
      case 'notice':
        return this.#onNotice(message);
      case 'error':
        return this.#onError(message);
      default:
      // Nothing to be done about it.
    }
  }

  #onBatch(bytes: Uint8Array<ArrayBuffer>): void {
    const receivedTimeMs = this.#link.clock.now();
    let envelope: BatchEnvelope | undefined;
    try {
      envelope = decodeBatchHeader(bytes);
      // What nobody has a route for belongs to subscriptions that have ended.
      const use = this.#useOf(envelope);
      if (use === undefined) return;
      if (this.#inbox.isFull) return this.#onUndecoded(envelope);
      const batch = this.#decoder.decode(bytes, envelope, use);
      const arrived = { envelope, wireBytes: bytes.length, receivedTimeMs };
      if (batch instanceof Promise) this.#inbox.push(settled(batch, arrived), receivedTimeMs);
      else if (this.#inbox.isEmpty) this.#onDecoded(batch, arrived, use === 'brief');
      else this.#inbox.push({ type: 'decoded', batch, arrived }, receivedTimeMs);
    } catch (thrown) {
      const error = toSightlineError(thrown, 'BATCH_BAD');
      this.#inbox.push({ type: 'damaged', envelope, error }, receivedTimeMs);
    }
  }

  /** What nobody keeps is read and handed out before the next batch is. Undefined: nobody wants it. */
  #useOf({ sections }: BatchEnvelope): BatchUse | undefined {
    let isWanted = false;
    let use: BatchUse = this.#inbox.isEmpty ? 'brief' : 'own';
    for (const { topicId } of sections) {
      const route = this.#routes.get(topicId);
      if (route === undefined) continue;
      isWanted = true;
      for (const subscription of route) if (subscription.keepsColumns) use = 'own';
    }
    return isWanted ? use : undefined;
  }

  /** Its share of the bytes is that of its messages. */
  #onDecoded(batch: DecodedBatch, { envelope, wireBytes, receivedTimeMs }: Arrived, isBrief: boolean): void {
    const { sections, count: total, plainSize } = envelope;
    const plainBytes = envelopeBytes(sections.length) + plainSize;
    let from = 0;
    for (const { topicId, firstSeq, count } of sections) {
      const route = this.#routes.get(topicId);
      if (route !== undefined) {
        const part = sections.length === 1 ? batch : batch.part(from, count);
        const arrival = {
          topicId,
          firstSeq,
          batch: part,
          wireBytes: (wireBytes * count) / total,
          plainBytes: (plainBytes * count) / total,
          receivedTimeMs,
          isBrief,
        };
        for (const subscription of route) subscription.onArrival(arrival);
      }
      from += count;
    }
  }

  #onData({ data: { topic_id: topicId, seq, messages }, bytes }: MeasuredData): void {
    const receivedTimeMs = this.#link.clock.now();
    const batch = ValueBatch.of(messages);
    const arrival = {
      topicId,
      firstSeq: seq,
      batch,
      wireBytes: bytes,
      plainBytes: bytes,
      receivedTimeMs,
      isBrief: false,
    };
    for (const subscription of this.#routes.get(topicId) ?? []) subscription.onArrival(arrival);
  }

  #onOrdered(item: Ordered): void {
    switch (item.type) {
      case 'topic':
        return this.#subscriptions.get(item.id)?.onTopic(item);
      case 'loss':
        return this.#subscriptions.get(item.id)?.onLoss(item);
      case 'subscribed':
        return this.#subscriptions.get(item.id)?.onSubscribed();
      case 'unsubscribed':
        return this.#onDrained(this.#subscriptions.get(item.id));
      case 'decoded':
        return this.#onDecoded(item.batch, item.arrived, false);
      case 'damaged':
        this.#counts.damagedBatches++;
        if (item.envelope !== undefined) this.#askAgain(item.envelope);
        this.#emitter.emit('error', { error: item.error });
    }
  }

  /** Known from here on, so that what is decoded ahead is decoded for the right readers. */
  #route({ id, topic_id: topicId }: TopicMessage): void {
    const subscription = this.#subscriptions.get(id);
    if (!subscription) return;
    const route = this.#routes.get(topicId) ?? [];
    if (!route.includes(subscription)) this.#routes.set(topicId, [...route, subscription]);
  }

  #onUndecoded(envelope: BatchEnvelope): void {
    this.#counts.undecodedBatches++;
    this.#askAgain(envelope);
  }

  /** A batch is lost on this side: who must have every message asks for it once more. */
  #askAgain({ sections }: BatchEnvelope): void {
    for (const { topicId } of sections) {
      for (const subscription of this.#routes.get(topicId) ?? []) subscription.onDamaged(topicId);
    }
  }

  #onNotice(notice: NoticeMessage): void {
    this.#emitter.emit('notice', notice);
    if (notice.reason !== 'drain') return;
    this.#publisher.flush();
    for (const subscription of this.#subscriptions.values()) subscription.flushAcks();
    this.#link.moveIn(notice.reconnect_after_ms ?? 0);
  }

  #onError({ code, message, id, topic, seq, count, alias, expected }: TelemetryError): void {
    this.#counts.errors++;
    const error = new SightlineError(code, message);
    const subscription = id === undefined ? undefined : this.#subscriptions.get(id);
    // One that was not taken yet never will be, whatever the reason.
    if (subscription && (this.#pending.has(subscription.wireId) || ENDS_SUBSCRIPTION.has(code))) {
      this.#forget(subscription);
      subscription.end(error);
    } else if (subscription?.isDraining && code === 'SUBSCRIPTION_UNKNOWN') this.#onDrained(subscription);
    const isPublication = topic !== undefined || alias !== undefined || count !== undefined;
    if (id === undefined && isPublication) {
      this.#publisher.onRefused({ error, topic, seq, count, alias, expected });
    }
    this.#emitter.emit('error', {
      error,
      ...(topic === undefined ? {} : { topic }),
      ...(seq === undefined ? {} : { seq }),
    });
  }

  // ── Subscriptions ──────────────────────────────────────────────────────────────────────────────────────────────────

  #ask(subscription: Subscription): void {
    const wireId = ++this.#lastWireId;
    this.#subscriptions.set(wireId, subscription);
    this.#pending.add(wireId);
    this.#send(subscription.request(wireId));
  }

  #refetch(subscription: Subscription): void {
    this.#remove(subscription);
    this.#ask(subscription);
  }

  #remove(subscription: Subscription): void {
    this.#send({ type: 'unsubscribe', id: subscription.wireId });
    this.#forget(subscription);
  }

  #drain(subscription: Subscription): void {
    if (this.state === 'open') this.#send({ type: 'unsubscribe', id: subscription.wireId });
    else this.#onDrained(subscription);
  }

  #onDrained(subscription: Subscription | undefined): void {
    if (subscription === undefined) return;
    this.#forget(subscription);
    subscription.end();
  }

  #forget(subscription: Subscription): void {
    this.#subscriptions.delete(subscription.wireId);
    this.#pending.delete(subscription.wireId);
    for (const [topicId, route] of this.#routes) {
      const left = route.filter((other) => other !== subscription);
      if (left.length === 0) this.#routes.delete(topicId);
      else this.#routes.set(topicId, left);
    }
  }

  // ── The program's own pace ─────────────────────────────────────────────────────────────────────────────────────────

  #waitedMs(nowMs: number): number {
    let waitedMs = nowMs - (this.#inbox.oldestMs ?? nowMs);
    for (const subscription of this.#subscriptions.values()) waitedMs = Math.max(waitedMs, subscription.lagMs(nowMs));
    return waitedMs;
  }

  #adapt(lagMs: number): void {
    const { maxLatency } = this.#options;
    if (maxLatency === undefined) return;
    // Those that ask anew are put back under another number.
    for (const subscription of Array.from(this.#subscriptions.values())) subscription.adapt(lagMs, maxLatency);
  }

  // ── Sending ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Dropped while there is no connection: what is said here is said again after a welcome. */
  #send(message: TelemetryClientMessage): void {
    this.#link.send(this.#encode(message));
  }

  #encode(message: TelemetryClientMessage): string | Uint8Array<ArrayBuffer> {
    // Beside binary batches too the data stays what it is: JSON has no NaN, and no bytes.
    const isData = message.type === 'publish' && this.#protocol === 'sightline.v1.binary';
    const protocol = isData ? 'sightline.v1.msgpack' : this.#protocol;
    return encodeTelemetryClientMessage(message, protocol) as string | Uint8Array<ArrayBuffer>;
  }
}

/** Errors that name a subscription and mean that there is none. */
const ENDS_SUBSCRIPTION: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'FILTER_BAD',
  'MESSAGE_FIELD_BAD',
  'SUBSCRIPTION_LIMIT_REACHED',
  'TOPIC_FORBIDDEN',
  'PERMISSION_DENIED',
]);

/** As the server will look at them, so that what it would refuse is told where it was said. */
function checkTerms(filter: string, { contract, hz, ttlMs: ttl_ms, since, group, queueMax }: SubscriptionTerms): void {
  checkTelemetryClientMessage({ type: 'subscribe', id: 0, filter, contract, hz, ttl_ms, since, group });
  if (queueMax === undefined || queueMax > 0) return;
  throw new SightlineError('MESSAGE_FIELD_BAD', `queueMax ${quote(queueMax)} of "${filter}" is not a number over 0`);
}

function decoded(data: string | Uint8Array, format: TelemetryFormat): Incoming {
  if (format === 'binary' && typeof data !== 'string') return { type: 'batch', bytes: data as Uint8Array<ArrayBuffer> };
  try {
    // Values of bytes are parts of the message.
    const message = decodeTelemetryServerMessage(typeof data === 'string' ? data : exactly(data));
    return message.type === 'data' ? { type: 'measured_data', data: message, bytes: data.length } : message;
  } catch (thrown) {
    // Of a newer server: not for this client.
    if (thrown instanceof SightlineError && thrown.code === 'MESSAGE_TYPE_UNKNOWN') return { type: 'unknown' };
    throw thrown;
  }
}

async function settled(batch: Promise<DecodedBatch>, arrived: Arrived): Promise<Ordered> {
  try {
    return { type: 'decoded', batch: await batch, arrived };
  } catch (thrown) {
    return { type: 'damaged', envelope: arrived.envelope, error: toSightlineError(thrown, 'BATCH_BAD') };
  }
}

function closedError(what: string): SightlineError {
  return new SightlineError('CONNECTION_LOST', `the session is closed: ${what}`);
}
