import type { Clock } from '../base/clock.ts';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import { Priority } from '../base/sample.ts';
import type { Compressors } from '../protocol/batch.ts';
import { BatchDrafts, bodyOf, headOf, type BatchDraft } from '../protocol/batch-drafts.ts';
import { encodeBatch, envelopeBytes } from '../protocol/batch.ts';
import { ColumnGatherer } from '../protocol/columns.ts';
import { Payload } from '../protocol/payload.ts';
import { programValue } from '../protocol/program-value.ts';
import { quote } from '../protocol/quote.ts';
import { SchemaBook, type BatchSchema } from '../protocol/schema-book.ts';
import {
  CLIENT_SCHEMAS_MAX,
  type AdvertiseMessage,
  type ClientSchemaMessage,
  type Compression,
  type PayloadCodec,
  type PublishedMessage,
  type PublishMessage,
  type SkipMessage,
} from '../protocol/telemetry.ts';
import { checkTopic } from '../protocol/topic.ts';
import { Pace } from './pace.ts';

const BATCH_MESSAGES_MAX = 50;
const BATCH_DELAY_MS = 5;
/** In a batch, beside each message: time, priority and size, and what a section of its own would take. */
const BESIDE_BYTES = 13 + envelopeBytes(1);
/** Beside the batch's messages: their number and size. */
const BATCH_BYTES = 8;
/** In a message of its own the topic and all other fields never take more beside the data. */
const BESIDE_DATA_BYTES_MAX = 2048;
/** Numbers by field where messages have one shape; everything else as it is. */
const CODECS: readonly PayloadCodec[] = ['columns', 'msgpack'];
/** Messages that wait while there is no connection or the socket is behind. */
const PENDING_MAX = 10_000;
/** Of reliable messages, waiting and sent: those that the server has not confirmed. */
const UNCONFIRMED_MAX = 1_000;
/** With so much unsent in the socket nothing but critical messages is added. */
const BUFFERED_BYTES_MAX = 1024 * 1024;
const TOPICS_MAX = 1_000;
/** How much goes at once when the queue is full: one look at all that waits then pays for many messages. */
const SHED_FRACTION = 0.1;
const RETRY_MIN_MS = 500;
const RETRY_MAX_MS = 10_000;
const encoder = new TextEncoder();

export interface PublishOptions {
  readonly priority?: Priority;
  /** On the client's clock, Unix ms; now unless told otherwise. */
  readonly timeMs?: number;
  /** Nobody gets the message when it is older than this; an unreliable one that waits so long is not even sent. */
  readonly ttlMs?: number;
  /** The promise of `publish` resolves when the message is in the topic's history. */
  readonly reliable?: boolean;
}

/**
 * At every moment `published = sent + Σ dropped + waiting` for unreliable messages, and
 * `reliable = confirmed + refused + unconfirmed` for reliable ones.
 */
export interface PublishMetrics {
  readonly published: number;
  readonly sent: number;
  /** Not sent: `queue_full`, `expired`, or `closed` with the session. Sent, and not taken by the server: `refused`. */
  readonly dropped: Readonly<Record<PublishDropCause, number>>;
  readonly waiting: number;
  readonly reliable: number;
  readonly confirmed: number;
  readonly refused: number;
  readonly unconfirmed: number;
  /** Reliable messages that were sent again. */
  readonly retried: number;
  readonly batches: number;
  readonly bytesSent: number;
}

export type PublishDropCause = 'queue_full' | 'expired' | 'closed' | 'refused';

/** What the server refuses of what was published; see `TelemetryError`. */
export interface Refusal {
  readonly error: SightlineError;
  readonly topic?: string | undefined;
  readonly seq?: number | undefined;
  readonly count?: number | undefined;
  readonly alias?: number | undefined;
  readonly expected?: number | undefined;
}

/** What the publisher needs of its session. */
export interface PublisherHost {
  readonly clock: Clock;
  readonly random: Random;
  readonly isOpen: () => boolean;
  readonly bufferedBytes: () => number;
  /** Server's clock minus client's, ms. */
  readonly offsetMs: (nowMs: number) => number;
  readonly messageBytesMax: () => number;
  /** What the server lets a client publish. */
  readonly messagesPerS: () => number;
  readonly send: (data: string | Uint8Array<ArrayBuffer>) => boolean;
  readonly encode: (
    message: PublishMessage | SkipMessage | AdvertiseMessage | ClientSchemaMessage,
  ) => string | Uint8Array<ArrayBuffer>;
}

export interface PublisherSettings {
  /** Binary batches; otherwise one `publish` for each message. */
  readonly batches: boolean;
  /** The format can carry payloads of bytes. */
  readonly takesBytes: boolean;
  /** Gather messages while the socket is busy. */
  readonly gathers: boolean;
  readonly compression: Compression;
  readonly compressors: Compressors;
}

interface Entry {
  readonly topic: TopicLane;
  readonly payload: Payload;
  /** On the server's clock. */
  readonly timeMs: number;
  readonly priority: Priority;
  readonly ttlMs: number;
  /** On the client's clock. */
  readonly deadlineMs: number;
  /** The client's own number when it is reliable, else 0. */
  seq: number;
  readonly confirmed: PromiseWithResolvers<void> | undefined;
  /** Its promise is rejected; its number is to be given up, so that those after it can go on. */
  refused: boolean;
}

/** What is to be published on one topic, in order. */
interface TopicLane {
  readonly name: string;
  readonly alias: number;
  /** This connection's server knows the alias. */
  advertised: boolean;
  /** To be sent. */
  waiting: Entry[];
  /** Reliable ones, in order and without a gap, whether they wait or are out. */
  unconfirmed: Entry[];
  lastSeq: number;
  confirmedSeq: number;
  /** Another program has published here in this session: how far its numbers go is asked first. */
  asksFirst: boolean;
  attempt: number;
  retryTimer: ReturnType<typeof setTimeout> | undefined;
}

/**
 * The publishing side of a telemetry session. What is published in one turn of the event loop goes out at its end when the
 * socket is idle; while it is busy, up to 50 messages or 5 ms are gathered. Reliable messages are kept until they are
 * confirmed and sent again with exponential backoff and jitter (Brooker 2015, as in `reconnect.ts`); the server knows
 * their numbers and takes each once.
 */
export class Publisher {
  readonly #host: PublisherHost;
  readonly #settings: PublisherSettings;
  readonly #topics = new Map<string, TopicLane>();
  readonly #dropped: Record<PublishDropCause, number> = {
    queue_full: 0,
    expired: 0,
    closed: 0,
    refused: 0,
  };
  readonly #pace = new Pace();
  readonly #counts = {
    published: 0,
    sent: 0,
    reliable: 0,
    confirmed: 0,
    refused: 0,
    retried: 0,
    batches: 0,
    bytesSent: 0,
  };
  /** Unreliable messages that wait. */
  #waiting = 0;
  #unconfirmed = 0;
  #flushTimer: ReturnType<typeof setTimeout> | undefined;
  #flushQueued = false;
  #turn = 0;
  readonly #book = new SchemaBook<TopicLane>(CLIENT_SCHEMAS_MAX);
  /** Layouts that this connection's server knows, by number. */
  readonly #told = new Map<number, BatchSchema>();
  /** Batches that are being put together; they go out before this call returns. */
  #drafts: BatchDrafts<TopicLane> | undefined;
  #closed = false;
  /** This session was begun by another program, whose numbers are not known here. */
  #isTakenUp = false;
  #isFirst = true;

  constructor(host: PublisherHost, settings: PublisherSettings) {
    this.#host = host;
    this.#settings = settings;
  }

  /**
   * Takes a message; a reliable one settles with what became of it. Throws, or rejects for a reliable one, TOPIC_BAD,
   * MESSAGE_FIELD_BAD for options that no server takes, PAYLOAD_BAD, MESSAGE_TOO_LARGE and TOPIC_LIMIT_REACHED. Throws
   * PUBLISH_QUEUE_FULL where nothing may be dropped for it, and CONNECTION_LOST after the end.
   */
  publish(topic: string, data: unknown, options: PublishOptions): Promise<void> | undefined {
    if (this.#closed) throw new SightlineError('CONNECTION_LOST', `the session is closed: "${topic}" is not published`);
    let entry: Entry;
    try {
      entry = this.#entry(topic, data, options);
    } catch (thrown) {
      if (options.reliable) return Promise.reject(toSightlineError(thrown));
      throw thrown;
    }
    this.#makeRoom(entry);
    this.#enqueue(entry);
    if (entry.priority === Priority.critical) this.#flushCriticals(entry.topic);
    else this.#schedule(entry.topic);
    return entry.confirmed?.promise;
  }

  /** Everything of this topic up to `seq` that was not given up is in its history. */
  onPublished({ topic, seq }: PublishedMessage): void {
    const lane = this.#topics.get(topic);
    if (!lane) return;
    // Numbers that this program did not give: the server knows them from another one, and takes ours for repetitions.
    if (lane.asksFirst || seq > lane.lastSeq) return this.#goOnFrom(lane, seq);
    const safe = lane.unconfirmed.filter((entry) => entry.seq <= seq);
    if (safe.length === 0) return;
    lane.unconfirmed = lane.unconfirmed.slice(safe.length);
    // One that waits to be sent again needs that no more.
    lane.waiting = lane.waiting.filter((entry) => entry.seq === 0 || entry.seq > seq);
    lane.attempt = 0;
    lane.confirmedSeq = seq;
    for (const entry of safe) {
      if (entry.refused) continue;
      this.#unconfirmed--;
      this.#counts.confirmed++;
      entry.confirmed?.resolve();
    }
    this.#disarmRetry(lane);
    this.#armRetry(lane);
  }

  /**
   * The server refuses what was published. Haste passes, and the next retry mends a gap; anything else is for good: the message's
   * promise rejects, its number is given up, and those after it go on.
   */
  onRefused(refusal: Refusal): void {
    const { error, topic, seq, count = 1, alias, expected } = refusal;
    const lane = this.#laneOf(topic, alias);
    const isAdvertisement = alias !== undefined && seq === undefined && topic !== undefined;
    if (seq === undefined && !isAdvertisement) return this.#takeBack(count);
    if (!lane) return;
    if (error.code === 'PUBLISH_SEQUENCE_BAD') {
      if (expected !== undefined && lane.unconfirmed.some((entry) => entry.seq === seq)) this.#realign(lane, expected);
      return;
    }
    if (error.code === 'RATE_EXCEEDED') return;
    // What this connection's server does not know it is told again.
    if (error.code === 'ALIAS_UNKNOWN') lane.advertised = false;
    if (error.code === 'SCHEMA_UNKNOWN') this.#told.clear();
    const isMeant = ({ seq: own }: Entry): boolean =>
      own > 0 && (seq === undefined || (own >= seq && own < seq + count));
    for (const entry of lane.unconfirmed) if (isMeant(entry)) this.#reject(entry, error);
    // Nothing passes there, so that there is no number to give up either.
    if (error.code === 'TOPIC_FORBIDDEN' || error.code === 'PERMISSION_DENIED')
      this.#renumber(lane, lane.confirmedSeq + 1);
    this.#sendAgain(lane);
  }

  /** A new connection. Without `resumed` its server knows nothing of what was published before. */
  onOpen(resumed: boolean): void {
    this.#told.clear();
    // Who takes up a session at its start has not numbered anything in it.
    if (this.#isFirst) this.#isTakenUp = resumed;
    else if (!resumed) this.#isTakenUp = false;
    this.#isFirst = false;
    for (const lane of this.#topics.values()) {
      lane.advertised = false;
      if (!resumed) {
        lane.asksFirst = false;
        this.#renumber(lane, 1);
      }
      this.#requeue(lane);
    }
    this.flush();
  }

  onLost(): void {
    for (const lane of this.#topics.values()) this.#disarmRetry(lane);
    clearTimeout(this.#flushTimer);
    this.#flushTimer = undefined;
  }

  /** Sends what waits, as far as the socket takes it. */
  flush(): void {
    clearTimeout(this.#flushTimer);
    this.#flushTimer = undefined;
    // The one that was first last time is last now: where the pace is short, topics take turns.
    const lanes = [...this.#topics.values()];
    const start = lanes.length === 0 ? 0 : this.#turn++ % lanes.length;
    for (const lane of [...lanes.slice(start), ...lanes.slice(0, start)]) this.#collect(lane);
    this.#sendDrafts();
  }

  /** What is not out by now is lost, and whoever waits for a confirmation learns so. */
  close(error: SightlineError): void {
    this.#closed = true;
    this.onLost();
    for (const lane of this.#topics.values()) for (const entry of lane.unconfirmed) this.#reject(entry, error);
    this.#dropped.closed += this.#waiting;
    this.#waiting = 0;
    this.#topics.clear();
  }

  metrics(): PublishMetrics {
    return {
      ...this.#counts,
      dropped: { ...this.#dropped },
      waiting: this.#waiting,
      unconfirmed: this.#unconfirmed,
    };
  }

  #entry(topic: string, data: unknown, options: PublishOptions): Entry {
    checkOptions(topic, options);
    const lane = this.#lane(topic);
    const nowMs = this.#host.clock.now();
    const { priority = Priority.normal, ttlMs = Infinity, reliable = false } = options;
    const timeMs = (options.timeMs ?? nowMs) + this.#host.offsetMs(nowMs);
    const payload = this.#payload(lane, data, timeMs, priority, ttlMs);
    return {
      topic: lane,
      payload,
      timeMs,
      priority,
      ttlMs,
      deadlineMs: reliable ? Infinity : nowMs + ttlMs,
      seq: reliable ? lane.lastSeq + 1 : 0,
      confirmed: reliable ? Promise.withResolvers<void>() : undefined,
      refused: false,
    };
  }

  #lane(topic: string): TopicLane {
    const known = this.#topics.get(topic);
    if (known) return known;
    checkTopic(topic);
    const alias = this.#topics.size < TOPICS_MAX ? this.#topics.size + 1 : this.#takeAlias(topic);
    const lane: TopicLane = {
      name: topic,
      alias,
      advertised: false,
      waiting: [],
      unconfirmed: [],
      lastSeq: 0,
      confirmedSeq: 0,
      asksFirst: this.#isTakenUp,
      attempt: 0,
      retryTimer: undefined,
    };
    this.#topics.set(topic, lane);
    return lane;
  }

  /** Of the first topic that nothing waits on. One with numbers of its own stays: the server knows them. */
  #takeAlias(topic: string): number {
    for (const lane of this.#topics.values()) {
      if (lane.waiting.length > 0 || lane.lastSeq > 0) continue;
      this.#topics.delete(lane.name);
      return lane.alias;
    }
    throw new SightlineError(
      'TOPIC_LIMIT_REACHED',
      `"${topic}" would be more than ${TOPICS_MAX} topics on which messages wait, or were published reliably`,
    );
  }

  #payload(lane: TopicLane, data: unknown, timeMs: number, priority: Priority, ttlMs: number): Payload {
    const { name: topic } = lane;
    const payload = this.#written(lane, data, timeMs, priority);
    const limit = this.#host.messageBytesMax();
    if (payload.byteLength + BESIDE_DATA_BYTES_MAX <= limit) return payload;
    const isBatch = this.#settings.batches && ttlMs === Infinity;
    const bytesMax = limit - (isBatch ? BESIDE_BYTES + BATCH_BYTES : this.#bytesBesideData(topic, timeMs, ttlMs));
    if (payload.byteLength <= bytesMax) return payload;
    throw new SightlineError(
      'MESSAGE_TOO_LARGE',
      `a message on "${topic}" has ${payload.byteLength} bytes of at most ${bytesMax}`,
    );
  }

  #bytesBesideData(topic: string, time: number, ttlMs: number): number {
    const ttl = ttlMs === Infinity ? {} : { ttl_ms: ttlMs };
    const rest = {
      type: 'publish',
      topic,
      data: 0,
      time,
      priority: Priority.low,
      seq: Number.MAX_SAFE_INTEGER,
    } as const;
    const message = this.#host.encode({ ...rest, ...ttl });
    return (typeof message === 'string' ? encoder.encode(message) : message).length - 1;
  }

  /** The data as it is now, since the caller may go on and change it. */
  #written(lane: TopicLane, data: unknown, timeMs: number, priority: Priority): Payload {
    if (this.#settings.takesBytes) return this.#row(lane, Payload.of(data), timeMs, priority) ?? Payload.copyOf(data);
    if (!(data instanceof Uint8Array)) return Payload.of(programValue(data));
    throw new SightlineError('PAYLOAD_BAD', `bytes on "${lane.name}" cannot be written as JSON: use another format`);
  }

  /** Its leaves taken out, where the topic's messages have a shape that the message has as well. */
  #row(lane: TopicLane, payload: Payload, timeMs: number, priority: Priority): Payload | undefined {
    const fields = this.#settings.batches ? this.#book.expected(lane)?.fields : undefined;
    const row = fields && ColumnGatherer.row(fields, { timeMs, priority, payload });
    return row && Payload.row(row, 0);
  }

  #makeRoom(entry: Entry): void {
    if (entry.confirmed) {
      if (this.#unconfirmed < UNCONFIRMED_MAX) return;
      throw queueFull(entry.topic.name, `${UNCONFIRMED_MAX} reliable messages are not confirmed`);
    }
    if (this.#waiting < PENDING_MAX) return;
    this.#shed(entry.priority);
    if (this.#waiting >= PENDING_MAX) {
      throw queueFull(entry.topic.name, `${PENDING_MAX} messages of its priority or a higher one wait`);
    }
  }

  /** Drops what waits: lower classes first, oldest first; nothing above `priority`, and nothing critical. */
  #shed(priority: Priority): void {
    let left = Math.ceil(PENDING_MAX * SHED_FRACTION);
    for (let level: number = Priority.low; level <= priority && level < Priority.critical; level++) {
      for (const lane of this.#topics.values()) {
        if (left === 0) return;
        const before = lane.waiting.length;
        lane.waiting = lane.waiting.filter(
          (entry) => entry.confirmed !== undefined || entry.priority !== level || left-- <= 0,
        );
        left = Math.max(0, left);
        this.#lose('queue_full', before - lane.waiting.length);
      }
    }
  }

  /** The alias alone names a lane whose advertisement the server does not know. */
  #laneOf(topic: string | undefined, alias: number | undefined): TopicLane | undefined {
    if (topic !== undefined) return this.#topics.get(topic);
    for (const lane of this.#topics.values()) if (lane.alias === alias) return lane;
    return undefined;
  }

  /** Messages without numbers: they were sent, and did not arrive. */
  #takeBack(count: number): void {
    const refused = Math.min(count, this.#counts.sent);
    this.#counts.sent -= refused;
    this.#dropped.refused += refused;
  }

  #reject(entry: Entry, error: SightlineError): void {
    if (entry.refused) return;
    entry.refused = true;
    this.#unconfirmed--;
    this.#counts.refused++;
    entry.confirmed?.reject(error);
  }

  /** The server waits for a number before those that are out. */
  #realign(lane: TopicLane, expected: number): void {
    const first = lane.unconfirmed[0]!.seq;
    if (expected >= first) return;
    // It has forgotten what it had confirmed, or has never seen what this program gave up.
    this.#renumber(lane, expected);
    this.#sendAgain(lane);
  }

  #renumber(lane: TopicLane, from: number): void {
    lane.unconfirmed = lane.unconfirmed.filter((entry) => !entry.refused);
    lane.waiting = lane.waiting.filter((entry) => !entry.refused);
    for (const [i, entry] of lane.unconfirmed.entries()) entry.seq = from + i;
    lane.confirmedSeq = from - 1;
    lane.lastSeq = lane.confirmedSeq + lane.unconfirmed.length;
  }

  /** The last number that this session has published under, whoever did. */
  #goOnFrom(lane: TopicLane, seq: number): void {
    lane.asksFirst = false;
    this.#renumber(lane, seq + 1);
    this.#sendAgain(lane);
  }

  #sendAgain(lane: TopicLane): void {
    this.#disarmRetry(lane);
    this.#requeue(lane);
    this.#flushLane(lane);
    this.#armRetry(lane);
  }

  #lose(cause: PublishDropCause, count: number): void {
    this.#dropped[cause] += count;
    this.#waiting -= count;
  }

  #enqueue(entry: Entry): void {
    const lane = entry.topic;
    lane.waiting.push(entry);
    if (!entry.confirmed) {
      this.#counts.published++;
      this.#waiting++;
      return;
    }
    lane.lastSeq = entry.seq;
    lane.unconfirmed.push(entry);
    this.#counts.reliable++;
    this.#unconfirmed++;
  }

  // ── When ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  #schedule(lane: TopicLane): void {
    // Every fiftieth: a long queue is not looked through for each message that joins it.
    const isBatch = lane.waiting.length % BATCH_MESSAGES_MAX === 0;
    if (isBatch || (!this.#settings.gathers && this.#flushTimer === undefined)) return this.#flushLane(lane);
    if (this.#host.bufferedBytes() > 0) return this.#flushLater();
    if (this.#flushQueued) return;
    this.#flushQueued = true;
    // The end of this turn: what is published in one breath goes as one batch, and nothing waits for it.
    queueMicrotask(() => {
      this.#flushQueued = false;
      this.flush();
    });
  }

  #flushLater(): void {
    this.#flushTimer ??= setTimeout(() => this.flush(), BATCH_DELAY_MS);
  }

  /** Ahead of whatever waits; but reliable ones are numbered, so that those before them must go along. */
  #flushCriticals(lane: TopicLane): void {
    if (!this.#host.isOpen()) return;
    const goesAhead = lane.waiting.at(-1)!.confirmed
      ? (entry: Entry) => entry.confirmed !== undefined
      : (entry: Entry) => entry.confirmed === undefined && entry.priority === Priority.critical;
    const urgent = lane.waiting.filter(goesAhead);
    lane.waiting = lane.waiting.filter((entry) => !goesAhead(entry));
    this.#sendNow(lane, urgent);
    this.#sendDrafts();
  }

  #flushLane(lane: TopicLane): void {
    this.#collect(lane);
    this.#sendDrafts();
  }

  /** What may go now, sent or put into the drafts. */
  #collect(lane: TopicLane): void {
    if (lane.waiting.length === 0 || !this.#host.isOpen()) return;
    if (this.#host.bufferedBytes() > BUFFERED_BYTES_MAX) return this.#flushLater();
    const nowMs = this.#host.clock.now();
    const due = lane.waiting.filter((entry) => nowMs <= entry.deadlineMs);
    this.#lose('expired', lane.waiting.length - due.length);
    const allowed = this.#pace.allowed(nowMs, this.#host.messagesPerS());
    lane.waiting = due.slice(allowed);
    this.#sendNow(lane, due.slice(0, allowed));
    if (lane.waiting.length > 0) this.#flushLater();
  }

  #sendNow(lane: TopicLane, entries: readonly Entry[]): void {
    this.#pace.spend(entries.length);
    const asksFirst = lane.asksFirst && entries.some(({ confirmed }) => confirmed !== undefined);
    // The answer is the last number that is known; those that wait for it are as good as sent.
    if (asksFirst) this.#send(this.#host.encode({ type: 'skip', topic: lane.name, seq: 0 }));
    const own = asksFirst ? entries.filter(({ confirmed }) => confirmed === undefined) : entries;
    for (const run of runsOf(own, this.#settings.batches)) this.#sendRun(lane, run);
    this.#armRetry(lane);
  }

  /** What is not confirmed in time is sent again, later and later. A timer that runs goes on: new messages do not put it off. */
  #armRetry(lane: TopicLane): void {
    if (lane.retryTimer !== undefined || lane.unconfirmed.length === 0 || !this.#host.isOpen()) return;
    const ceilingMs = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** lane.attempt);
    const delayMs = ceilingMs * (0.5 + this.#host.random() / 2);
    lane.retryTimer = setTimeout(() => {
      lane.retryTimer = undefined;
      lane.attempt++;
      this.#requeue(lane);
      this.#flushLane(lane);
      this.#armRetry(lane);
    }, delayMs);
  }

  #disarmRetry(lane: TopicLane): void {
    clearTimeout(lane.retryTimer);
    lane.retryTimer = undefined;
  }

  /** Those that are out go in front of those that wait: their order is that of publication. */
  #requeue(lane: TopicLane): void {
    const waits = new Set(lane.waiting);
    const out = lane.unconfirmed.filter((entry) => !waits.has(entry));
    this.#counts.retried += out.length;
    lane.waiting = [...out, ...lane.waiting];
  }

  // ── How ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  #sendRun(lane: TopicLane, run: readonly Entry[]): void {
    const first = run[0]!;
    if (this.#settings.batches && fitsBatch(first)) this.#addToDrafts(lane, run);
    else {
      // In the order of publication.
      this.#sendDrafts();
      for (const entry of run)
        this.#send(this.#host.encode(entry.refused ? skipMessage(entry) : publishMessage(entry)));
    }
    if (!first.confirmed) {
      this.#waiting -= run.length;
      this.#counts.sent += run.length;
    }
  }

  /** Topics that are published on in one turn share a batch where their messages have one shape. */
  #addToDrafts(lane: TopicLane, run: readonly Entry[]): void {
    if (!lane.advertised) {
      this.#send(this.#host.encode({ type: 'advertise', alias: lane.alias, topic: lane.name }));
      lane.advertised = true;
    }
    const bytesMax = this.#host.messageBytesMax() - BATCH_MESSAGES_MAX * BESIDE_BYTES;
    this.#drafts ??= new BatchDrafts(this.#book, CODECS, { messagesMax: BATCH_MESSAGES_MAX, bytesMax });
    this.#drafts.add(lane, { topicId: lane.alias, epoch: 0, firstSeq: run[0]!.seq }, run);
  }

  #sendDrafts(): void {
    const drafts = this.#drafts?.drafts ?? [];
    this.#drafts = undefined;
    for (const draft of drafts) this.#sendDraft(draft);
  }

  #sendDraft(draft: BatchDraft): void {
    const { schema, codec } = draft;
    const { compression, compressors } = this.#settings;
    if (schema !== undefined && this.#told.get(schema.id) !== schema) {
      this.#told.set(schema.id, schema);
      this.#send(this.#host.encode({ type: 'schema', schema_id: schema.id, fields: [...schema.fields] }));
    }
    // Columns are packed already: to look for more would cost more than all the rest.
    const head = headOf(draft, codec === 'columns' ? 'none' : compression);
    this.#send(encodeBatch(head, bodyOf(draft), compressors));
    this.#counts.batches++;
  }

  #send(data: string | Uint8Array<ArrayBuffer>): void {
    this.#host.send(data);
    this.#counts.bytesSent += data.length;
  }
}

/** Consecutive entries that can share a batch: of one kind and codec, in step with their numbers, at most 50. */
function* runsOf(entries: readonly Entry[], batches: boolean): Generator<readonly Entry[]> {
  let start = 0;
  for (let i = 1; i <= entries.length; i++) {
    const [last, next] = [entries[i - 1]!, entries[i]];
    if (next && batches && i - start < BATCH_MESSAGES_MAX && belongTogether(last, next)) continue;
    yield entries.slice(start, i);
    start = i;
  }
}

function belongTogether(a: Entry, b: Entry): boolean {
  const inStep = a.seq === 0 ? b.seq === 0 : b.seq === a.seq + 1;
  return inStep && fitsBatch(a) && fitsBatch(b) && (a.payload.raw === undefined) === (b.payload.raw === undefined);
}

/** A batch has no place for a time to live, nor for a number that is given up. */
function fitsBatch({ ttlMs, refused }: Entry): boolean {
  return ttlMs === Infinity && !refused;
}

function skipMessage({ topic, seq }: Entry): SkipMessage {
  return { type: 'skip', topic: topic.name, seq };
}

function publishMessage(entry: Entry): PublishMessage {
  return {
    type: 'publish',
    topic: entry.topic.name,
    data: entry.payload.value(),
    time: entry.timeMs,
    priority: entry.priority,
    ...(entry.ttlMs === Infinity ? {} : { ttl_ms: entry.ttlMs }),
    ...(entry.seq === 0 ? {} : { seq: entry.seq }),
  };
}

/** As the server will look at them: a message that it refuses is not even sent. */
function checkOptions(topic: string, { timeMs, ttlMs, priority }: PublishOptions): void {
  const bad = (field: string, value: unknown, expected: string): SightlineError =>
    new SightlineError('MESSAGE_FIELD_BAD', `${field} ${quote(value)} on ${quote(topic)} is not ${expected}`);
  if (timeMs !== undefined && !Number.isFinite(timeMs)) throw bad('timeMs', timeMs, 'a time in Unix ms');
  const isTtl = typeof ttlMs === 'number' && ttlMs > 0 && (ttlMs <= Number.MAX_SAFE_INTEGER || ttlMs === Infinity);
  if (ttlMs !== undefined && !isTtl) throw bad('ttlMs', ttlMs, 'a number over 0');
  if (priority !== undefined && ![0, 1, 2, 3].includes(priority)) throw bad('priority', priority, '0 to 3');
}

function queueFull(topic: string, why: string): SightlineError {
  return new SightlineError('PUBLISH_QUEUE_FULL', `"${topic}" is not published: ${why}`);
}
