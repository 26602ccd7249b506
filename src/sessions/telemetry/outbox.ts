import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import type { Clock } from '../../base/clock.ts';
import { SightlineError } from '../../base/errors.ts';
import { Priority, type Sample } from '../../base/sample.ts';
import { batchEnd, leapTo, shareBatches } from '../../flow/batch-size.ts';
import { judgeQueue } from '../../flow/watermark.ts';
import type { BatchSchema } from '../../protocol/schema-book.ts';
import type { TelemetryLossCause, TelemetryServerMessage, TelemetrySubprotocol } from '../../protocol/telemetry.ts';
import type { RangeLoss, Span } from '../../stream/range-reader.ts';
import type { TelemetryMessage } from '../../stream/topics.ts';
import type { Convoy } from './fanout-group.ts';
import type { Feed } from './subscribed-topic.ts';
import { controlFrame, type EncodedRange, type Part, type RangeEncoder } from './encoder.ts';

/** Bytes that a topic may send before the next one has its turn. */
const TURN_BYTES = 64 * 1024;
/** What critical messages may put into a socket that takes no more data. */
const CRITICAL_BYTES = 64 * 1024;
/** A reader that says that it lags gets its batches at most so far apart. */
const GATHER_MAX_MS = 20;
/** Topics and messages of one batch. */
const PARTS_MAX = 256;
const MESSAGES_MAX = 8_000;
const NOTHING = Buffer.alloc(0);
/** Flushes in a row after which nothing was left, before it travels with others. */
const LEVEL_FLUSHES = 4;

export interface OutboxSettings {
  readonly targetLatencyMs: number;
  readonly batchDelayMs: number;
  readonly batchMessagesMax: number;
  readonly batchBytesMax: number;
  readonly socketBytesMax: number;
  readonly queueBytesMax: number;
  readonly criticalMessagesMax: number;
  readonly slowConsumerMs: number;
}

export interface OutboxHost {
  readonly clock: Clock;
  readonly encoder: RangeEncoder;
  readonly settings: OutboxSettings;
  /** Has `flush` called soon. */
  enqueue(outbox: Outbox): void;
  /** Has `flush` called at a moment (Unix ms), or before. */
  wakeAt(outbox: Outbox, timeMs: number): void;
  /** It has kept up for a while: it may travel with others (`convoy`). */
  offer(outbox: Outbox): void;
  /** It goes on by itself. */
  leave(outbox: Outbox): void;
}

/** The session whose outbox it is. */
export interface OutboxOwner {
  /** The reader cannot be served any more. */
  fail(reason: SightlineError): void;
  /** A feed of missed messages has come to its end. */
  onDone(feed: Feed): void;
  /** Connections that have the same subscriptions, this one among them. */
  peers(): number;
}

export interface OutboxParts {
  readonly host: OutboxHost;
  readonly socket: WebSocket;
  readonly protocol: TelemetrySubprotocol;
  readonly owner: OutboxOwner;
}

interface Critical {
  readonly feed: Feed;
  readonly sample: Sample<TelemetryMessage>;
}

/** Of outboxes that have nothing: most connections of a large server. Nobody adds to them. */
const NO_FEEDS = Object.freeze<Feed[]>([]) as Feed[];
const NO_CRITICALS = Object.freeze<Critical[]>([]) as Critical[];
const NO_FEED_SET: Set<Feed> = new Set();

interface FeedPart extends Part {
  readonly feed: Feed;
}

/** The topic has something to send and has to wait for another turn. */
const WAITS = Symbol('waits');

/**
 * What goes to one socket. Everything is dropped before the socket or not at all: what the socket does not take stays in
 * the topics, where a cursor costs nothing. Critical messages go first, then the topics take turns by bytes (deficit round
 * robin: Shreedhar and Varghese 1995), then, on an idle line, what was missed long ago.
 */
export class Outbox {
  readonly protocol: TelemetrySubprotocol;
  /** A group may be waiting for this socket too. */
  isShared = false;
  /** Whom it travels with: then its feeds are sent for all together. */
  convoy: Convoy | undefined;
  readonly #host: OutboxHost;
  readonly #owner: OutboxOwner;
  readonly #socket: WebSocket;
  readonly #raw: Socket;
  /** Feeds with something to send, in the order of their turns. */
  #active: Feed[] = NO_FEEDS;
  #backfills: Feed[] = NO_FEEDS;
  #criticals: Critical[] = NO_CRITICALS;
  /** Feeds whose next sample has its moment in the future. */
  #sleeping: Set<Feed> | undefined;
  /** Reliable publications to be confirmed: topic → highest seq. */
  #confirmations: Map<string, number> | undefined;
  #waitingSinceMs: number | undefined;
  #gatherMs = 0;
  /** When it last sent data. */
  #sentMs = -Infinity;
  #warned = false;
  #progressMs: number;
  /** Bytes of control messages since the socket was last empty. */
  #controlBytes = 0;
  #isDeaf = false;
  /** It publishes faster than it may, or than the server carries on. */
  #isThrottled = false;
  #isAhead = false;
  #closed = false;
  /** The layouts that the client has been told, by number. */
  #told: Map<number, BatchSchema> | undefined;
  #isWatched = false;
  #feeds: Set<Feed> = NO_FEED_SET;
  /** Feeds that want something of their own. */
  #loners: Set<Feed> = NO_FEED_SET;
  /** Made when somebody has to be called. */
  #written: ((error?: Error | null) => void) | undefined;
  #convoyKey: string | undefined;
  #levelFlushes = 0;

  constructor({ host, owner, protocol, socket }: OutboxParts) {
    this.#host = host;
    this.#owner = owner;
    this.protocol = protocol;
    this.#socket = socket;
    // `ws` has no public way to send a frame that is framed already, and framing once for all readers is the point.
    this.#raw = (socket as unknown as { _socket: Socket })._socket;
    this.#progressMs = host.clock.now();
  }

  /** Bytes that were given to the socket and that it has not passed on. */
  get unsentBytes(): number {
    return this.#raw.writableLength;
  }

  get feeds(): Iterable<Feed> {
    return this.#feeds;
  }

  /** Nothing waits here, and the socket takes whatever comes. */
  isIdle(nowMs: number): boolean {
    return (
      this.#raw.writableLength === 0 &&
      nowMs - this.#sentMs >= this.#gatherMs &&
      this.#criticals.length === 0 &&
      !this.#closed &&
      this.#socket.readyState === this.#socket.OPEN
    );
  }

  /** The same for outboxes that get the same bytes while they keep up. Undefined: it has to go by itself. */
  get convoyKey(): string | undefined {
    if (this.#loners.size > 0 || this.#feeds.size === 0) return undefined;
    this.#convoyKey ??= keyOf(this.#feeds);
    return this.#convoyKey;
  }

  get canTake(): boolean {
    return !this.#closed && this.#raw.writableLength < this.#host.settings.socketBytesMax;
  }

  /** Bytes that wait in the topics for this socket. */
  get queuedBytes(): number {
    return this.#active.reduce((sum, feed) => sum + feed.queuedBytes, 0);
  }

  /** Critical messages that wait for the socket. */
  get criticalQueue(): number {
    return this.#criticals.length;
  }

  /** Sends a control message now. Who asks for ever and reads nothing is not read either. */
  control(message: TelemetryServerMessage): void {
    if (this.#closed) return;
    const frame = controlFrame(message, this.protocol);
    this.#write(frame);
    this.#controlBytes = this.#raw.writableLength === 0 ? 0 : this.#controlBytes + frame.length;
    if (this.#controlBytes > this.#host.settings.socketBytesMax) {
      this.#isDeaf = true;
      this.#pauseOrResume();
    }
  }

  confirm(topic: string, seq: number): void {
    this.#confirmations ??= new Map();
    this.#confirmations.set(topic, seq);
    this.#host.enqueue(this);
  }

  /** The client says how far it is behind in its own work. */
  report(lagMs: number): void {
    const { targetLatencyMs } = this.#host.settings;
    this.#gatherMs = lagMs > targetLatencyMs / 2 ? Math.min(GATHER_MAX_MS, lagMs / 2) : 0;
  }

  /** The socket is not read for a while. */
  throttle(isThrottled: boolean): void {
    this.#isThrottled = isThrottled;
    this.#pauseOrResume();
  }

  /** It has published as much as one round carries: the rest waits in its socket until the round is over. */
  holdBack(isAhead: boolean): void {
    this.#isAhead = isAhead;
    this.#pauseOrResume();
  }

  add(feed: Feed): void {
    this.#host.leave(this);
    if (this.#feeds === NO_FEED_SET) this.#feeds = new Set();
    const [first = feed] = this.#feeds;
    if (this.#loners === NO_FEED_SET) this.#loners = new Set();
    if (feed.isLoner || feed.subscription.writing.key !== first.subscription.writing.key) this.#loners.add(feed);
    this.#feeds.add(feed);
    this.#convoyKey = undefined;
    this.#levelFlushes = 0;
  }

  /** The feed has something to send, or may have. */
  activate(feed: Feed): void {
    if (feed.isActive || this.#closed) return;
    feed.isActive = true;
    if (feed.isBackfill) this.#backfills = [...this.#backfills, feed];
    else if (this.#active === NO_FEEDS) this.#active = [feed];
    else this.#active.push(feed);
  }

  /** A critical message for the feed, to be sent ahead of what waits. */
  critical(feed: Feed, sample: Sample<TelemetryMessage>): void {
    if (this.#closed) return;
    this.#host.leave(this);
    if (!feed.reader.hold(sample.position)) return;
    if (this.#criticals === NO_CRITICALS) this.#criticals = [];
    this.#criticals.push({ feed, sample });
    const { criticalMessagesMax } = this.#host.settings;
    if (this.#criticals.length <= criticalMessagesMax) return;
    this.#owner.fail(
      new SightlineError('CRITICAL_BACKLOG', `more than ${criticalMessagesMax} critical messages wait for this client`),
    );
  }

  remove(feed: Feed): void {
    this.#host.leave(this);
    this.#feeds.delete(feed);
    this.#loners.delete(feed);
    this.#convoyKey = undefined;
    feed.isActive = false;
    this.#active = this.#active.filter((other) => other !== feed);
    this.#backfills = this.#backfills.filter((other) => other !== feed);
    this.#criticals = this.#criticals.filter((critical) => critical.feed !== feed);
    this.#sleeping?.delete(feed);
  }

  /** Sends what may go now. Frames of one call leave in one system call. */
  flush(nowMs: number): void {
    if (this.#closed) return;
    if (this.#confirmations !== undefined || this.#criticals.length > 0) {
      this.#corked(() => {
        this.#sendConfirmations();
        this.#sendCriticals(nowMs);
      });
    }
    if (this.#sleeping !== undefined) this.#wakeSleepers(nowMs);
    if (this.#mayWrite(nowMs)) this.#sendTurns(nowMs);
    if (this.#active.length > 0) this.#judge();
    else if (this.#backfills.length > 0 && this.#raw.writableLength === 0) this.#sendBackfill(nowMs);
    if (this.convoy === undefined) this.#countLevel(nowMs);
  }

  #countLevel(nowMs: number): void {
    if (this.#active.length > 0 || this.#loners.size > 0 || !this.isIdle(nowMs)) this.#levelFlushes = 0;
    else if (++this.#levelFlushes >= LEVEL_FLUSHES) this.#host.offer(this);
  }

  /** Sends what must not be lost, whether the socket takes it at once or not. */
  flushCriticals(nowMs: number): void {
    if (!this.#closed) this.#corked(() => this.#sendCriticals(nowMs));
  }

  /** About once a second. */
  check(nowMs: number): void {
    if (this.#closed || this.#raw.writableLength === 0) {
      this.#progressMs = nowMs;
      return;
    }
    const { slowConsumerMs } = this.#host.settings;
    if (nowMs - this.#progressMs < slowConsumerMs) return;
    this.#owner.fail(
      new SightlineError(
        'SLOW_CONSUMER',
        `the client has taken nothing of ${this.#raw.writableLength} bytes for ${slowConsumerMs} ms`,
      ),
    );
  }

  /** Sends what was encoded for a feed or group, with the layouts that its reader does not know yet. */
  send({ bytes, schemas }: EncodedRange, nowMs: number): void {
    this.#sentMs = nowMs;
    for (const schema of schemas) {
      if (this.#told?.get(schema.id) === schema) continue;
      this.#told ??= new Map();
      this.#told.set(schema.id, schema);
      this.control({ type: 'schema', schema_id: schema.id, fields: [...schema.fields] });
    }
    this.#write(bytes);
  }

  /** Nothing is sent any more. Idempotent. */
  close(): void {
    this.#host.leave(this);
    this.#closed = true;
    this.#feeds = NO_FEED_SET;
    this.#loners = NO_FEED_SET;
    this.#active = NO_FEEDS;
    this.#backfills = NO_FEEDS;
    this.#criticals = NO_CRITICALS;
    this.#sleeping = undefined;
    this.#confirmations = undefined;
  }

  #corked(send: () => void): void {
    this.#raw.cork();
    try {
      send();
    } finally {
      this.#raw.uncork();
    }
    this.#watch();
  }

  /** On an idle socket the kernel takes a write at once, and a callback for each would cost a third of it. */
  #write(frame: Buffer): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    if (this.#raw.writableLength > 0) this.#raw.write(frame, this.#callback());
    else this.#raw.write(frame);
    this.#watch();
  }

  /** Bytes are left in the socket: whoever waits for it is called when they are gone. */
  #watch(): void {
    if (this.#isWatched || this.#raw.writableLength === 0 || this.#raw.writableCorked > 0) return;
    this.#isWatched = true;
    this.#raw.write(NOTHING, this.#callback());
  }

  #callback(): (error?: Error | null) => void {
    this.#written ??= (error) => this.#onWritten(error);
    return this.#written;
  }

  #onWritten(error?: Error | null): void {
    this.#isWatched = false;
    if (error || this.#closed) return;
    this.#progressMs = this.#host.clock.now();
    if (this.#raw.writableLength > 0) return;
    this.#controlBytes = 0;
    if (this.#isDeaf) {
      this.#isDeaf = false;
      this.#pauseOrResume();
    }
    const waiting = this.#active.length + this.#criticals.length + this.#backfills.length;
    if (waiting > 0 || this.isShared) this.#host.enqueue(this);
  }

  #pauseOrResume(): void {
    if (this.#closed) return;
    const shouldPause = this.#isDeaf || this.#isThrottled || this.#isAhead;
    if (shouldPause && !this.#socket.isPaused) this.#socket.pause();
    else if (!shouldPause && this.#socket.isPaused) this.#socket.resume();
  }

  #sendConfirmations(): void {
    if (this.#confirmations === undefined) return;
    for (const [topic, seq] of this.#confirmations) this.control({ type: 'published', topic, seq });
    this.#confirmations = undefined;
  }

  #sendCriticals(nowMs: number): void {
    const { encoder, settings } = this.#host;
    while (this.#criticals.length > 0 && this.#raw.writableLength < settings.socketBytesMax + CRITICAL_BYTES) {
      const { feed, sample } = this.#criticals[0]!;
      if (nowMs > sample.deadlineMs) {
        this.#criticals.shift();
        feed.reader.settle(sample.position, 'expired');
        continue;
      }
      const run = neighbours(this.#criticals, settings.batchMessagesMax);
      this.#criticals.splice(0, run.length);
      const from = sample.position;
      const part = { topic: feed.topic, topicId: feed.topicId, from, to: from + run.length };
      this.send(
        encoder.encode([part], feed.subscription.writing, (_, position) => run[position - from]!),
        nowMs,
      );
      for (const { position } of run) feed.reader.settle(position);
    }
  }

  #mayWrite(nowMs: number): boolean {
    if (this.#active.length === 0) return false;
    const host = this.#host;
    const { socketBytesMax, batchDelayMs, batchMessagesMax } = host.settings;
    const unsent = this.#raw.writableLength;
    if (unsent >= socketBytesMax) return false;
    // Who says that it lags gets its batches so far apart: what comes more seldom does not wait.
    const gatheredMs = this.#sentMs + this.#gatherMs;
    if (unsent === 0 && nowMs >= gatheredMs) return true;
    this.#waitingSinceMs ??= nowMs;
    const dueMs = unsent === 0 ? gatheredMs : Math.max(gatheredMs, this.#waitingSinceMs + batchDelayMs);
    if (nowMs >= dueMs || this.#queuedMessages() >= batchMessagesMax) return true;
    host.wakeAt(this, dueMs);
    return false;
  }

  #queuedMessages(): number {
    return this.#active.reduce((sum, feed) => sum + feed.reader.queued, 0);
  }

  /** Round after round, until nothing is left or the socket has enough. */
  #sendTurns(nowMs: number): void {
    const { socketBytesMax } = this.#host.settings;
    this.#waitingSinceMs = undefined;
    while (this.#active.length > 0 && this.#raw.writableLength < socketBytesMax && !this.#closed) {
      this.#sendParts(this.#takeTurns(), nowMs);
    }
  }

  /** A turn for each active topic, as far as one batch and the socket have room. Who had its turn stands at the end of the line. */
  #takeTurns(): FeedPart[] {
    const { batchBytesMax, socketBytesMax } = this.#host.settings;
    let room = Math.min(batchBytesMax, socketBytesMax - this.#raw.writableLength);
    let messages = 0;
    const parts: FeedPart[] = [];
    const line = this.#active;
    const again: Feed[] = [];
    this.#active = NO_FEEDS;
    let turn = 0;
    for (; turn < line.length && room > 0 && parts.length < PARTS_MAX && messages < MESSAGES_MAX; turn++) {
      const feed = line[turn]!;
      const part = this.#takeTurn(feed, room, line.length === 1);
      if (part === undefined) this.#rest(feed);
      else again.push(feed);
      if (part === undefined || part === WAITS) continue;
      parts.push(part);
      room -= feed.bytesOf(part);
      messages += part.to - part.from;
    }
    if (this.#closed) return [];
    if (turn < line.length || again.length > 0) this.#active = [...line.slice(turn), ...again, ...this.#active];
    return parts;
  }

  /** Undefined: the topic has nothing to send now. */
  #takeTurn(feed: Feed, room: number, isAlone: boolean): FeedPart | typeof WAITS | undefined {
    const span = this.#lookAt(feed);
    if (span === undefined) return undefined;
    feed.deficitBytes += TURN_BYTES;
    const bytesMax = isAlone ? room : Math.min(room, feed.deficitBytes);
    const to = batchEnd(span.from, span.to, bytesMax, bytesBeforeOf(feed));
    const bytes = feed.bytesOf({ from: span.from, to });
    // A message that is larger than its topic's allowance waits for further turns, while others send.
    if (bytes > feed.deficitBytes && !isAlone) return WAITS;
    const taken = feed.reader.takeRange(to - span.from);
    if (taken === undefined) return undefined;
    feed.deficitBytes = Math.max(0, feed.deficitBytes - bytes);
    return { feed, topic: feed.topic, topicId: feed.topicId, from: taken.from, to: taken.to };
  }

  /** All in one batch, or each as every reader of its topic gets it: whatever has to be encoded less often. */
  #sendParts(parts: readonly FeedPart[], nowMs: number): void {
    if (parts.length === 0) return;
    const { encoder } = this.#host;
    const [{ feed: first }] = parts as [FeedPart];
    const { writing } = first.subscription;
    const readers = Math.max(...parts.map(({ topic }) => topic.stream.readerCount));
    const isOneWriting = parts.every(({ feed }) => feed.subscription.writing.key === writing.key);
    if (parts.length === 1 || (isOneWriting && shareBatches(this.#owner.peers(), readers))) {
      return this.send(encoder.encode(parts, writing), nowMs);
    }
    this.#corked(() => {
      for (const part of parts) this.send(encoder.encode([part], part.feed.subscription.writing), nowMs);
    });
  }

  #rest(feed: Feed): void {
    feed.isActive = false;
    feed.deficitBytes = 0;
    // What came after the round began wakes it in the next one.
    if (feed.reader.queued === 0 || feed.reader.position >= feed.sendUntil) return;
    this.#sleeping ??= new Set();
    this.#sleeping.add(feed);
    this.#host.wakeAt(this, feed.reader.readyAtMs);
  }

  #wakeSleepers(nowMs: number): void {
    for (const feed of this.#sleeping!) {
      if (feed.reader.readyAtMs > nowMs) this.#host.wakeAt(this, feed.reader.readyAtMs);
      else {
        this.#sleeping!.delete(feed);
        this.activate(feed);
      }
    }
  }

  #sendBackfill(nowMs: number): void {
    const feed = this.#backfills.shift()!;
    const span = this.#lookAt(feed);
    const { batchBytesMax } = this.#host.settings;
    const countMax = span && batchEnd(span.from, span.to, batchBytesMax, bytesBeforeOf(feed)) - span.from;
    const taken = countMax === undefined ? undefined : feed.reader.takeRange(countMax);
    if (taken !== undefined) this.#sendParts([{ feed, topic: feed.topic, topicId: feed.topicId, ...taken }], nowMs);
    if (this.#closed) return;
    if (feed.reader.done) this.#owner.onDone(feed);
    else this.#backfills.push(feed);
    // One batch a round: whatever is new goes between.
    if (this.#backfills.length > 0 && this.#raw.writableLength === 0) this.#host.enqueue(this);
  }

  /** What the feed could send; the client is told first of what it will not get. */
  #lookAt(feed: Feed): Span | undefined {
    let span = feed.reader.peek();
    const losses = feed.reader.takeLosses();
    if (losses.length > 0) {
      this.#tellLosses(feed, losses);
      span = feed.reader.peek();
    }
    if (span === undefined || span.to <= feed.sendUntil) return span;
    return span.from < feed.sendUntil ? { from: span.from, to: feed.sendUntil } : undefined;
  }

  #tellLosses(feed: Feed, losses: readonly RangeLoss[]): void {
    for (const loss of losses) this.control(lossMessage(feed, loss));
    if (!losses.some(({ cause }) => cause === 'overflow')) return;
    // Overtaken by the history. A reliable reader begins anew at the latest message, and is told; the others leap ahead, to
    // where all that are late meet: a chase along the edge of the history would cost a batch of its own for each of them.
    const { head, oldest } = feed.topic.stream;
    const isReliable = feed.subscription.contract === 'reliable';
    feed.reader.skipTo(isReliable ? head - 1 : leapTo(oldest, head), 'overtaken');
    for (const loss of feed.reader.takeLosses()) this.control(lossMessage(feed, loss));
    if (isReliable) this.control(topicMessage(feed, head - 1, false));
  }

  /** Of a backlog: warns of it, and drops by class what is too much. */
  #judge(): void {
    const { queueBytesMax } = this.#host.settings;
    const verdict = judgeQueue(this.queuedBytes, queueBytesMax, this.#warned);
    this.#warned = verdict.warned;
    if (verdict.warns) {
      this.control({
        type: 'notice',
        reason: 'queue',
        message: `over 70 % of ${queueBytesMax} bytes wait for this client`,
      });
    }
    if (verdict.excessBytes > 0) this.#shed(verdict.excessBytes);
  }

  /** The lowest class first, and within a class the topic with the most bytes; reliable readers keep what the history holds. */
  #shed(excessBytes: number): void {
    const feeds = this.#active
      .filter(({ subscription }) => subscription.contract !== 'reliable')
      .map((feed) => ({ feed, bytes: feed.queuedBytes }))
      .toSorted((a, b) => b.bytes - a.bytes);
    let left = excessBytes;
    for (const lowest of [Priority.low, Priority.normal, Priority.high]) {
      for (const { feed } of feeds) {
        if (left <= 0) return;
        feed.reader.drop('slow_reader', ({ priority, data }) => {
          if (priority !== lowest || left <= 0) return false;
          left -= data.bytes;
          return true;
        });
      }
    }
  }
}

function bytesBeforeOf({ topic }: Feed): (position: number) => number {
  return (position) => topic.bytesBefore(position);
}

/** All of them are written in the same way. */
function keyOf(feeds: ReadonlySet<Feed>): string {
  const [first] = feeds;
  const numbers = Array.from(feeds, ({ topicId }) => topicId).toSorted((a, b) => a - b);
  return `${first!.subscription.writing.key} ${numbers.join()}`;
}

/** The first messages of the list that follow each other in one topic of one subscription. */
function neighbours(criticals: readonly Critical[], countMax: number): Sample<TelemetryMessage>[] {
  const { feed, sample: first } = criticals[0]!;
  const run = [first];
  for (let i = 1; i < criticals.length && run.length < countMax; i++) {
    const next = criticals[i]!;
    if (next.feed !== feed || next.sample.position !== first.position + i) break;
    run.push(next.sample);
  }
  return run;
}

/** `seq`: of the last message before the one that comes next. */
export function topicMessage(
  { subscription, topic, topicId }: Pick<Feed, 'subscription' | 'topic' | 'topicId'>,
  seq: number,
  recovered: boolean,
): TelemetryServerMessage {
  return {
    type: 'topic',
    id: subscription.id,
    topic: topic.name,
    topic_id: topicId,
    epoch: topic.epoch,
    seq,
    recovered,
  };
}

/** Positions count from 0, sequence numbers from 1. */
function lossMessage({ subscription, topicId }: Feed, loss: RangeLoss): TelemetryServerMessage {
  return {
    type: 'loss',
    id: subscription.id,
    topic_id: topicId,
    from: loss.from + 1,
    to: loss.to,
    count: loss.count,
    cause: CAUSES[loss.cause] ?? 'overflow',
  };
}

const CAUSES: Readonly<Record<string, TelemetryLossCause>> = {
  overflow: 'overflow',
  overtaken: 'overflow',
  expired: 'expired',
  slow_reader: 'slow_reader',
};
