import type { Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { Priority } from '../base/sample.ts';
import type {
  AckMessage,
  LossMessage,
  SubscribeMessage,
  TelemetryContract,
  TelemetryLossCause,
  TopicMessage,
  TopicPosition,
} from '../protocol/telemetry.ts';
import type { Unsubscribe } from './emitter.ts';
import { Emitter } from './emitter.ts';
import { DurationHistogram } from './histogram.ts';
import { LiveQueue } from './live-queue.ts';
import type { SeqSpan } from './seq-cursor.ts';
import { SeqCursor } from './seq-cursor.ts';
import { adaptedHz } from './lag.ts';
import type { DecodedBatch } from './telemetry-decoder.ts';

const QUEUE_MESSAGES_MAX = 10_000;
const ACK_DELAY_MS = 20;
/** Positions that a server takes with one subscription. */
const SINCE_MAX = 1_000;
/** A reliable subscription that stopped taking begins again when so much of its queue has been read. */
const REFETCH_BELOW = 0.5;

/** `unrecovered`: the server had forgotten them when the client came back. `unexplained`: missing, and nobody said why. */
export type TelemetryLost = TelemetryLossCause | 'unrecovered' | 'unexplained';

export interface SubscribeOptions {
  /** What to do when the reader is too slow; `sampled` at the session's `targetFrequency`, or `all` without one. */
  readonly contract?: TelemetryContract;
  /** For `sampled`: messages a second of each topic. */
  readonly hz?: number;
  /** Messages that are older are not sent any more; the session's `maxLatency` unless told otherwise. */
  readonly ttlMs?: number;
  /** The last message that this program has of each topic: what came later is sent. */
  readonly since?: readonly TopicPosition[];
  /** Subscriptions with the same group and filter share the messages of contract `all`. */
  readonly group?: string;
  /** Messages that may wait for the reader; 10,000 unless told otherwise. */
  readonly queueMax?: number;
}

export interface TelemetryMessage {
  readonly topic: string;
  readonly seq: number;
  /** The publisher's, Unix ms on the server's clock. */
  readonly timeMs: number;
  readonly priority: Priority;
  readonly data: unknown;
}

interface BatchHead {
  readonly topic: string;
  readonly epoch: number;
  /** Of the first message; the others follow without gaps. */
  readonly seq: number;
  /** Of the newest message, Unix ms on the server's clock. */
  readonly timestamp: number;
  /** From `timestamp` to the arrival, on one clock. */
  readonly latencyMs: number;
  /** On the client's clock. */
  readonly receivedTimeMs: number;
}

export interface TelemetryBatch extends BatchHead {
  readonly messages: readonly TelemetryMessage[];
}

/** A batch field by field, without objects. */
export interface TelemetryColumns extends BatchHead {
  readonly count: number;
  /** `timeMs` of each message. */
  readonly times: Float64Array;
  /** Of all fields, as `imu.accel.0`. */
  readonly paths: readonly string[];
  /** The numbers of a field, one for each message; truth values are 0 and 1, and NaN stands where a message has none. */
  column(path: string): Float64Array | undefined;
  /** The values of a field of text, where the topic has a schema. */
  texts(path: string): readonly unknown[] | undefined;
}

export interface SubscriptionEvents {
  /** Messages that this subscription will not get. */
  loss: {
    readonly topic: string;
    readonly from: number;
    readonly to: number;
    readonly count: number;
    readonly cause: TelemetryLost;
  };
  /** A topic joined the subscription, or came back; `recovered: false` after a reconnection: there is a gap before `seq` + 1. */
  topic: { readonly topic: string; readonly epoch: number; readonly seq: number; readonly recovered: boolean };
  error: { readonly error: SightlineError };
}

export interface SubscriptionMetrics {
  readonly received: number;
  readonly batches: number;
  /** Messages that came twice and were given once. */
  readonly duplicates: number;
  readonly lost: Readonly<Record<TelemetryLost, number>>;
  /** Left out by the contract (`latest`, `sampled`). */
  readonly conflated: number;
  /** Given to other members of the group. */
  readonly shared: number;
  /** Received, and dropped because the program's own loop was too slow. */
  readonly unread: number;
  /** Times that a `reliable` subscription stopped taking, and asked again, because the program was too slow. */
  readonly refetches: number;
  /** On the wire. */
  readonly bytes: number;
  readonly bytesPerMessage: number;
  /** Bytes after decompression by bytes on the wire. */
  readonly compressionRatio: number;
  /** Publisher to arrival, of every message. */
  readonly latencyMs: { readonly p50: number; readonly p95: number; readonly p99: number; readonly count: number };
  /** How long the oldest message waits for the program. */
  readonly lagMs: number;
  /** Asked for at present: less than wanted while the program lags. */
  readonly hz: number | undefined;
}

/** What a subscription needs of its session. */
export interface SubscriptionHost {
  readonly clock: Clock;
  readonly offsetMs: (nowMs: number) => number;
  /** The client's time of day at a moment of its clock. */
  readonly toWallMs: (timeMs: number) => number;
  readonly send: (message: AckMessage) => void;
  /** Asks the server anew, from where the subscription is. */
  readonly refetch: (subscription: Subscription) => void;
  readonly remove: (subscription: Subscription) => void;
  /** Tells the server, and ends the subscription with the answer. */
  readonly drain: (subscription: Subscription) => void;
}

export interface SubscriptionTerms {
  readonly contract: TelemetryContract;
  readonly hz: number | undefined;
  readonly ttlMs: number | undefined;
  readonly since: readonly TopicPosition[];
  readonly group: string | undefined;
  readonly queueMax: number | undefined;
}

/** A batch as it came, for every subscription that its topic belongs to. */
export interface Arrival {
  readonly topicId: number;
  readonly firstSeq: number;
  readonly batch: DecodedBatch;
  readonly wireBytes: number;
  /** After decompression. */
  readonly plainBytes: number;
  readonly receivedTimeMs: number;
  /** Its columns lie where those of the next batch will: nobody may keep them. */
  readonly isBrief: boolean;
}

export type TelemetryColumnsCallback = (columns: TelemetryColumns) => void;
export type TelemetryCallback = (messages: readonly TelemetryMessage[], timestamp: number, latencyMs: number) => void;

/** What is known of one topic in one epoch, across connections. */
interface TopicState {
  readonly topic: string;
  readonly epoch: number;
  readonly cursor: SeqCursor;
  /** What the program has taken over. */
  readonly taken: SeqCursor;
  /** Losses that the server told of. */
  told: number;
}

interface Queued<Batch> {
  readonly batch: Batch;
  readonly state: TopicState;
  readonly span: SeqSpan;
  /** On the client's own clock. */
  readonly arrivedMs: number;
}

/**
 * One subscription of a telemetry session, across reconnections: what a filter matches, each message once. Read it with
 * `for await`, by `onTelemetry`, or as `columns()`. Made by `TelemetrySession.subscribe`.
 */
export class Subscription implements AsyncIterable<TelemetryBatch> {
  readonly filter: string;
  readonly contract: TelemetryContract;
  /** Resolves when the server has taken it; rejects with its refusal, or with CONNECTION_LOST where it ended before. */
  readonly ready: Promise<void>;
  readonly #host: SubscriptionHost;
  readonly #terms: SubscriptionTerms;
  readonly #ready = Promise.withResolvers<void>();
  readonly #drained = Promise.withResolvers<void>();
  #isDraining = false;
  readonly #emitter = new Emitter<SubscriptionEvents>();
  readonly #callbacks = new Set<TelemetryCallback>();
  readonly #columnCallbacks = new Set<TelemetryColumnsCallback>();
  readonly #queueMax: number;
  readonly #queue: LiveQueue<Queued<TelemetryBatch>>;
  #columnQueue: LiveQueue<Queued<TelemetryColumns>> | undefined;
  #iterating = false;
  #ended = false;
  /** Of the present connection. */
  #wireId = 0;
  readonly #byTopicId = new Map<number, TopicState>();
  readonly #byTopic = new Map<string, TopicState>();
  /** Topics with messages that were taken and not acknowledged. */
  readonly #unacknowledged = new Set<number>();
  #ackTimer: ReturnType<typeof setTimeout> | undefined;
  #stalled = false;
  /** What is asked for now of a `sampled` subscription: less than its terms while the program lags. */
  #hz: number | undefined;

  readonly #latency = new DurationHistogram();
  readonly #lost: Record<TelemetryLost, number> = {
    overflow: 0,
    expired: 0,
    slow_reader: 0,
    disconnected: 0,
    unrecovered: 0,
    unexplained: 0,
  };
  #counts = { received: 0, batches: 0, duplicates: 0, refetches: 0, bytes: 0 };
  #plainBytes = 0;
  /** Of epochs that are over. */
  #missingBefore = 0;

  /** @internal Use `TelemetrySession.subscribe`. */
  constructor(filter: string, terms: SubscriptionTerms, host: SubscriptionHost) {
    this.filter = filter;
    this.contract = terms.contract;
    this.#terms = terms;
    this.#host = host;
    this.#hz = terms.hz;
    this.#queueMax = terms.queueMax ?? QUEUE_MESSAGES_MAX;
    this.#queue = new LiveQueue(
      this.#queueMax,
      () => {},
      ({ batch }) => batch.messages.length,
    );
    this.ready = this.#ready.promise;
    // Who does not wait for it learns of a refusal by `error` or by the end of the loop.
    this.ready.catch(() => {});
    for (const { topic, epoch, seq } of terms.since) this.#byTopic.set(topic, freshState(topic, epoch, seq + 1));
  }

  /** The batches as they come. One reader; one that leaves its loop may come back for what waits. */
  [Symbol.asyncIterator](): AsyncIterableIterator<TelemetryBatch> {
    this.#iterating = true;
    return this.#iterate(this.#queue, () => (this.#iterating = false));
  }

  /** Calls back with the messages of each batch, the newest one's time, and its latency on the synchronised clock. */
  onTelemetry(callback: TelemetryCallback): Unsubscribe {
    this.#callbacks.add(callback);
    return () => this.#callbacks.delete(callback);
  }

  /**
   * Calls back with each batch as typed arrays per field. These are borrowed: they may lie where those of the next batch will,
   * so copy what has to last. The fastest way to read; without another reader beside it no object is made for a message.
   */
  onColumns(callback: TelemetryColumnsCallback): Unsubscribe {
    this.#columnCallbacks.add(callback);
    return () => this.#columnCallbacks.delete(callback);
  }

  /** The batches as typed arrays per field, from now on. Without another reader beside it no object is made for a message. */
  columns(): AsyncIterableIterator<TelemetryColumns> {
    const queue = (this.#columnQueue ??= new LiveQueue(
      this.#queueMax,
      () => {},
      ({ batch }) => batch.count,
    ));
    if (this.#ended) queue.end();
    return this.#iterate(queue, () => {});
  }

  on<Name extends keyof SubscriptionEvents>(
    event: Name,
    listener: (value: SubscriptionEvents[Name]) => void,
  ): Unsubscribe {
    return this.#emitter.on(event, listener);
  }

  /** Where it is in each topic: hand it to `since` of a later subscription. */
  positions(): TopicPosition[] {
    return [...this.#byTopic.values()].map((state) => ({
      topic: state.topic,
      epoch: state.epoch,
      seq: positionOf(state),
    }));
  }

  /**
   * Ends it with all that the server has sent by then: resolves when its last message was given to callbacks or queued for
   * loops, or the connection is lost. What a `reliable` one has no room for it does not take: `positions()` says where to go
   * on. Idempotent.
   */
  drain(): Promise<void> {
    if (!this.#ended && !this.#isDraining) {
      this.#isDraining = true;
      this.flushAcks();
      this.#host.drain(this);
    }
    return this.#drained.promise;
  }

  /** Ends it; loops over it end. What was received and not read is still given; what is on its way is not. Idempotent. */
  unsubscribe(): void {
    if (this.#ended) return;
    this.flushAcks();
    this.#host.remove(this);
    this.end();
  }

  metrics(): SubscriptionMetrics {
    const { received, bytes } = this.#counts;
    const missing = this.#missing();
    const told = this.#lost.overflow + this.#lost.expired + this.#lost.slow_reader + this.#lost.disconnected;
    const silent = Math.max(0, missing - told);
    return {
      ...this.#counts,
      bytes: Math.round(bytes),
      lost: { ...this.#lost, unexplained: this.#isWhole ? silent : 0 },
      conflated: this.#conflates ? silent : 0,
      shared: this.#isShared ? silent : 0,
      unread: this.#queue.dropped + (this.#columnQueue?.dropped ?? 0),
      bytesPerMessage: received === 0 ? 0 : bytes / received,
      compressionRatio: bytes === 0 ? 1 : this.#plainBytes / bytes,
      latencyMs: {
        p50: this.#latency.percentileMs(0.5),
        p95: this.#latency.percentileMs(0.95),
        p99: this.#latency.percentileMs(0.99),
        count: this.#latency.count,
      },
      lagMs: this.lagMs(this.#host.clock.now()),
      hz: this.#hz,
    };
  }

  // ── For the session ────────────────────────────────────────────────────────────────────────────────────────────────

  /** @internal Objects are wanted unless columns alone are read. */
  get wantsObjects(): boolean {
    return this.#callbacks.size > 0 || this.#iterating || !this.wantsColumns;
  }

  /** @internal */
  get wantsColumns(): boolean {
    return this.#columnQueue !== undefined || this.#columnCallbacks.size > 0;
  }

  /** @internal What it is given has to last. */
  get keepsColumns(): boolean {
    return this.#columnQueue !== undefined;
  }

  /** @internal It ends with the server's answer, or with the connection. */
  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** @internal Of the present connection. */
  get wireId(): number {
    return this.#wireId;
  }

  /** @internal How the server is asked, on a new connection or anew on this one. */
  request(wireId: number): SubscribeMessage {
    const { contract, ttlMs, group } = this.#terms;
    const hz = this.#hz;
    // Asked again, an empty list says that nothing has come yet: topics that are new since then count from their beginning.
    const asksAgain = this.#wireId !== 0 || this.#terms.since.length > 0;
    const since = asksAgain && this.#isWhole ? this.positions().slice(-SINCE_MAX) : undefined;
    this.#wireId = wireId;
    this.#byTopicId.clear();
    this.#unacknowledged.clear();
    return {
      type: 'subscribe',
      id: wireId,
      filter: this.filter,
      contract,
      ...(hz === undefined ? {} : { hz }),
      ...(ttlMs === undefined ? {} : { ttl_ms: ttlMs }),
      ...(group === undefined ? {} : { group }),
      ...(since === undefined ? {} : { since }),
    };
  }

  /** @internal */
  onSubscribed(): void {
    this.#ready.resolve();
  }

  /** @internal */
  onTopic({ topic, topic_id: topicId, epoch, seq, recovered }: TopicMessage): void {
    const known = this.#byTopic.get(topic);
    const goesOn = known?.epoch === epoch && (recovered || !this.#isWhole || seq < known.cursor.next);
    if (known && goesOn) {
      known.cursor.skipTo(seq + 1);
      this.#byTopicId.set(topicId, known);
    } else {
      if (known) this.#giveUp(known, epoch, seq);
      const state = freshState(topic, epoch, seq + 1);
      this.#byTopic.set(topic, state);
      this.#byTopicId.set(topicId, state);
    }
    this.#emitter.emit('topic', { topic, epoch, seq, recovered: known === undefined || goesOn });
  }

  /** @internal */
  onLoss({ topic_id: topicId, from, to, count, cause }: LossMessage): void {
    const state = this.#byTopicId.get(topicId);
    if (!state) return;
    this.#lost[cause] += count;
    state.told += count;
    // They will not come: an acknowledgement does not wait for them.
    if (this.contract === 'reliable') this.#take(state, { from, to: to + 1 });
    this.#emitter.emit('loss', { topic: state.topic, from, to, count, cause });
  }

  /** @internal */
  onArrival(arrival: Arrival): void {
    const state = this.#byTopicId.get(arrival.topicId);
    if (!state || this.#ended) return;
    const { firstSeq, batch } = arrival;
    const { count } = batch;
    this.#counts.bytes += arrival.wireBytes;
    this.#plainBytes += arrival.plainBytes;
    if (this.contract === 'reliable' && !this.#hasRoomFor(count)) this.#stalled = true;
    if (this.#stalled) return;
    let fresh = 0;
    if (state.cursor.advance(firstSeq, count)) {
      fresh = count;
      this.#deliver(state, firstSeq, batch, arrival);
    } else {
      for (const { from, to } of state.cursor.accept(firstSeq, count)) {
        fresh += to - from;
        this.#deliver(state, from, batch.part(from - firstSeq, to - from), arrival);
      }
    }
    this.#counts.received += fresh;
    this.#counts.duplicates += count - fresh;
    if (fresh > 0) this.#counts.batches++;
  }

  /** @internal The connection is gone; the positions stay. */
  onLost(): void {
    clearTimeout(this.#ackTimer);
    this.#ackTimer = undefined;
    this.#byTopicId.clear();
    this.#unacknowledged.clear();
  }

  /** @internal A part of what arrived could not be read: a reliable subscription asks for it again. */
  onDamaged(topicId: number): void {
    if (this.contract !== 'reliable' || !this.#byTopicId.has(topicId)) return;
    this.#stalled = true;
    this.#resumeWhenRead();
  }

  /** @internal The program is too slow for the rate, or fast enough again. */
  adapt(lagMs: number, lagMaxMs: number): void {
    const wanted = this.#terms.hz;
    if (this.contract !== 'sampled' || wanted === undefined || this.#hz === undefined) return;
    const hz = adaptedHz(this.#hz, wanted, lagMs, lagMaxMs);
    if (hz === this.#hz || this.#isDraining) return;
    this.#hz = hz;
    this.#host.refetch(this);
  }

  /** @internal How long the oldest item waits for the program; 0 where nobody reads. */
  lagMs(nowMs: number): number {
    const queue = this.#iterating ? this.#queue : this.#columnQueue;
    const oldest = queue?.oldest?.arrivedMs;
    return oldest === undefined ? 0 : Math.max(0, nowMs - oldest);
  }

  /** @internal */
  flushAcks(): void {
    clearTimeout(this.#ackTimer);
    this.#ackTimer = undefined;
    for (const topicId of this.#unacknowledged) {
      const seq = this.#byTopicId.get(topicId)?.taken.contiguous;
      if (seq !== undefined) this.#host.send({ type: 'ack', id: this.#wireId, topic_id: topicId, seq });
    }
    this.#unacknowledged.clear();
  }

  /** @internal With an error: why the server ended it, or the session. */
  end(error?: SightlineError): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#ackTimer);
    if (error) {
      this.#ready.reject(error);
      this.#emitter.emit('error', { error });
    } else {
      const why = `"${this.filter}" was ended before the server had taken it`;
      this.#ready.reject(new SightlineError('CONNECTION_LOST', why));
    }
    this.#queue.end(error);
    this.#columnQueue?.end(error);
    this.#callbacks.clear();
    this.#columnCallbacks.clear();
    this.#emitter.clear();
    this.#drained.resolve();
  }

  // ── Delivery ───────────────────────────────────────────────────────────────────────────────────────────────────────

  get #conflates(): boolean {
    return this.contract === 'latest' || this.contract === 'sampled';
  }

  get #isShared(): boolean {
    return this.#terms.group !== undefined;
  }

  /** Every message is to come: a gap means something. */
  get #isWhole(): boolean {
    return !this.#conflates && !this.#isShared;
  }

  /** The queue of objects is read, or will be: there is nobody else to give the messages to. */
  get #readsQueue(): boolean {
    return this.#iterating || (this.#callbacks.size === 0 && !this.wantsColumns);
  }

  #hasRoomFor(count: number): boolean {
    if (this.#readsQueue) return this.#queue.hasRoomFor(count);
    return this.#callbacks.size + this.#columnCallbacks.size > 0 || this.#columnQueue?.hasRoomFor(count) === true;
  }

  /** The messages from `seq` on. */
  #deliver(state: TopicState, seq: number, batch: DecodedBatch, { receivedTimeMs: arrivedMs, isBrief }: Arrival): void {
    const { count } = batch;
    const host = this.#host;
    const nowMs = arrivedMs + host.offsetMs(arrivedMs);
    for (let i = 0; i < count; i++) this.#latency.record(nowMs - batch.timeMs(i));
    const timestamp = batch.timeMs(count - 1);
    const latencyMs = nowMs - timestamp;
    const span = { from: seq, to: seq + count };
    if (this.wantsColumns) {
      const columns = new ArrivedColumns(state, seq, batch, {
        timestamp,
        latencyMs,
        arrivedMs,
        toWallMs: host.toWallMs,
      });
      // A callback may have asked for `columns()` just now: they begin with the next batch.
      if (!isBrief) this.#columnQueue?.push({ batch: columns, state, span, arrivedMs });
      for (const callback of this.#columnCallbacks) call(callback, columns);
    }
    const hasCallbacks = this.#callbacks.size + this.#columnCallbacks.size > 0;
    if (!this.#readsQueue && hasCallbacks) this.#take(state, span);
    if (!this.wantsObjects) return;
    const { topic, epoch } = state;
    const messages = messagesOf(batch, topic, seq);
    if (this.#readsQueue) {
      const receivedTimeMs = host.toWallMs(arrivedMs);
      const whole = { topic, epoch, seq, timestamp, latencyMs, receivedTimeMs, messages };
      this.#queue.push({ batch: whole, state, span, arrivedMs });
    }
    for (const callback of this.#callbacks) call(callback, messages, timestamp, latencyMs);
  }

  /** An item counts as taken over when the reader comes for the next one, or leaves. */
  #iterate<Batch>(queue: LiveQueue<Queued<Batch>>, onReturn: () => void): AsyncIterableIterator<Batch> {
    let last: Queued<Batch> | undefined;
    const takeLast = (): void => {
      if (last) this.#take(last.state, last.span);
      last = undefined;
      this.#resumeWhenRead();
    };
    const iterator: AsyncIterableIterator<Batch> = {
      next: async () => {
        takeLast();
        const { done, value } = await queue.next();
        if (done) return { done: true, value: undefined };
        last = value;
        return { done: false, value: value.batch };
      },
      return: async () => {
        takeLast();
        onReturn();
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  #take(state: TopicState, span: SeqSpan): void {
    if (this.contract !== 'reliable') return;
    state.taken.accept(span.from, span.to - span.from);
    for (const [topicId, current] of this.#byTopicId) if (current === state) this.#unacknowledged.add(topicId);
    this.#ackTimer ??= setTimeout(() => this.flushAcks(), ACK_DELAY_MS);
  }

  /** What was refused for want of room is asked for again: since the positions, so that nothing is lost. */
  #resumeWhenRead(): void {
    if (!this.#stalled || this.#ended || this.#isDraining) return;
    const waiting = this.#readsQueue ? this.#queue.weight : (this.#columnQueue?.weight ?? 0);
    if (waiting > this.#queueMax * REFETCH_BELOW) return;
    this.#stalled = false;
    this.#counts.refetches++;
    this.flushAcks();
    this.#host.refetch(this);
  }

  /** The server's history of this topic does not reach back to where the subscription was. */
  #giveUp(state: TopicState, epoch: number, seq: number): void {
    this.#missingBefore += state.cursor.missing;
    const count = state.epoch === epoch ? Math.max(0, seq + 1 - state.cursor.next) : 0;
    this.#lost.unrecovered += count;
    if (count === 0) return;
    const { topic } = state;
    this.#emitter.emit('loss', { topic, from: state.cursor.next, to: seq, count, cause: 'unrecovered' });
  }

  #missing(): number {
    let missing = this.#missingBefore;
    for (const { cursor } of this.#byTopic.values()) missing += cursor.missing;
    return missing;
  }
}

/** A callback that throws holds up nobody: its error surfaces as an uncaught one. */
function call<Args extends unknown[]>(callback: (...args: Args) => void, ...args: Args): void {
  try {
    callback(...args);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

function freshState(topic: string, epoch: number, next: number): TopicState {
  return { topic, epoch, cursor: new SeqCursor(next), taken: new SeqCursor(next), told: 0 };
}

/** The last message that need not be sent again. Holes that the server has explained as losses stay what they are. */
function positionOf({ cursor, told }: TopicState): number {
  return cursor.missing > told ? cursor.contiguous : cursor.next - 1;
}

function messagesOf(batch: DecodedBatch, topic: string, seq: number): TelemetryMessage[] {
  return batch
    .objects()
    .map((data, i) => ({ topic, seq: seq + i, timeMs: batch.timeMs(i), priority: batch.priority(i), data }));
}

/** What of it is not asked for is not made. */
class ArrivedColumns implements TelemetryColumns {
  readonly topic: string;
  readonly epoch: number;
  readonly seq: number;
  readonly count: number;
  readonly timestamp: number;
  readonly latencyMs: number;
  readonly #batch: DecodedBatch;
  readonly #arrivedMs: number;
  readonly #toWallMs: (timeMs: number) => number;

  constructor(
    { topic, epoch }: TopicState,
    seq: number,
    batch: DecodedBatch,
    times: {
      readonly timestamp: number;
      readonly latencyMs: number;
      readonly arrivedMs: number;
      readonly toWallMs: (timeMs: number) => number;
    },
  ) {
    this.topic = topic;
    this.epoch = epoch;
    this.seq = seq;
    this.count = batch.count;
    this.timestamp = times.timestamp;
    this.latencyMs = times.latencyMs;
    this.#batch = batch;
    this.#arrivedMs = times.arrivedMs;
    this.#toWallMs = times.toWallMs;
  }

  get receivedTimeMs(): number {
    return this.#toWallMs(this.#arrivedMs);
  }

  get times(): Float64Array {
    return this.#batch.times;
  }

  get paths(): readonly string[] {
    return this.#batch.paths;
  }

  /** Functions of their own: programs take them out, as in `({ times, column }) => …`. */
  get column(): TelemetryColumns['column'] {
    const batch = this.#batch;
    return (path) => batch.column(path);
  }

  get texts(): TelemetryColumns['texts'] {
    const batch = this.#batch;
    return (path) => batch.texts(path);
  }
}
