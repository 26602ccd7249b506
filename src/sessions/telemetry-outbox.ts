import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import type { Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import { Priority, type Sample } from '../base/sample.ts';
import { batchEnd, leapTo } from '../flow/batch-size.ts';
import { judgeQueue } from '../flow/watermark.ts';
import type { TelemetryLossCause, TelemetryServerMessage, TelemetrySubprotocol } from '../protocol/telemetry.ts';
import type { RangeLoss, Span } from '../stream/range-reader.ts';
import type { TelemetryMessage } from '../stream/topics.ts';
import type { Feed } from './telemetry-feed.ts';
import { controlFrame, type EncodedRange, type RangeEncoder } from './telemetry-frames.ts';

/** Bytes that a topic may send before the next one has its turn. */
const TURN_BYTES = 64 * 1024;
/** What critical messages may put into a socket that takes no more data. */
const CRITICAL_BYTES = 64 * 1024;
/** A reader that says that it lags gets its batches at most so far apart. */
const GATHER_MAX_MS = 20;

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
}

export interface OutboxParts {
  readonly host: OutboxHost;
  readonly socket: WebSocket;
  readonly protocol: TelemetrySubprotocol;
  /** The reader cannot be served any more. */
  readonly fail: (reason: SightlineError) => void;
  /** A feed of missed messages has come to its end. */
  readonly onDone: (feed: Feed) => void;
}

/**
 * What goes to one socket. Everything is dropped before the socket or not at all: what the socket does not take stays in
 * the topics, where a cursor costs nothing. Critical messages go first, then the topics take turns by bytes (deficit round
 * robin: Shreedhar and Varghese 1995), then, on an idle line, what was missed long ago.
 */
export class Outbox {
  readonly protocol: TelemetrySubprotocol;
  /** A group may be waiting for this socket too. */
  isShared = false;
  readonly #parts: OutboxParts;
  readonly #socket: WebSocket;
  readonly #raw: Socket;
  /** Feeds with something to send, in the order of their turns. */
  #active: Feed[] = [];
  #backfills: Feed[] = [];
  #criticals: { feed: Feed; sample: Sample<TelemetryMessage> }[] = [];
  /** Feeds whose next sample has its moment in the future. */
  #sleeping: Set<Feed> | undefined;
  /** Reliable publications to be confirmed: topic → highest seq. */
  #confirmations: Map<string, number> | undefined;
  #waitingSinceMs: number | undefined;
  #gatherMs = 0;
  #warned = false;
  #progressMs: number;
  /** Bytes of control messages since the socket was last empty. */
  #controlBytes = 0;
  #isDeaf = false;
  /** It publishes faster than it may, or than the server carries on. */
  #isThrottled = false;
  #isAhead = false;
  #closed = false;

  constructor(parts: OutboxParts) {
    this.#parts = parts;
    this.protocol = parts.protocol;
    this.#socket = parts.socket;
    // `ws` has no public way to send a frame that is framed already, and framing once for all readers is the point.
    this.#raw = (parts.socket as unknown as { _socket: Socket })._socket;
    this.#progressMs = parts.host.clock.now();
  }

  /** Bytes that were given to the socket and that it has not passed on. */
  get unsentBytes(): number {
    return this.#raw.writableLength;
  }

  get canTake(): boolean {
    return !this.#closed && this.#raw.writableLength < this.#parts.host.settings.socketBytesMax;
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
    this.#controlBytes += frame.length;
    if (this.#controlBytes > this.#parts.host.settings.socketBytesMax) {
      this.#isDeaf = true;
      this.#pauseOrResume();
    }
  }

  confirm(topic: string, seq: number): void {
    this.#confirmations ??= new Map();
    this.#confirmations.set(topic, seq);
    this.#parts.host.enqueue(this);
  }

  /** The client says how far it is behind in its own work. */
  report(lagMs: number): void {
    const { targetLatencyMs } = this.#parts.host.settings;
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

  /** The feed has something to send, or may have. */
  activate(feed: Feed): void {
    if (feed.isActive || this.#closed) return;
    feed.isActive = true;
    (feed.isBackfill ? this.#backfills : this.#active).push(feed);
  }

  /** A critical message for the feed, to be sent ahead of what waits. */
  critical(feed: Feed, sample: Sample<TelemetryMessage>): void {
    if (this.#closed || !feed.reader.hold(sample.position)) return;
    this.#criticals.push({ feed, sample });
    const { criticalMessagesMax } = this.#parts.host.settings;
    if (this.#criticals.length <= criticalMessagesMax) return;
    this.#parts.fail(
      new SightlineError('CRITICAL_BACKLOG', `more than ${criticalMessagesMax} critical messages wait for this client`),
    );
  }

  remove(feed: Feed): void {
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
    if (this.#mayWrite(nowMs)) {
      if (this.#active.length > 1) this.#corked(() => this.#sendTurns());
      else this.#sendTurns();
    }
    if (this.#active.length > 0) this.#judge();
    else if (this.#backfills.length > 0 && this.#raw.writableLength === 0) this.#sendBackfill();
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
    const { slowConsumerMs } = this.#parts.host.settings;
    if (nowMs - this.#progressMs < slowConsumerMs) return;
    this.#parts.fail(
      new SightlineError(
        'SLOW_CONSUMER',
        `the client has taken nothing of ${this.#raw.writableLength} bytes for ${slowConsumerMs} ms`,
      ),
    );
  }

  /** Sends a range that was encoded for a feed or group, with the layouts that its reader does not know yet. */
  sendRange(
    reader: { readonly topicId: number; mustTell(schemaId: number): boolean },
    { bytes, schemas }: EncodedRange,
  ): void {
    for (const { id, fields } of schemas) {
      if (!reader.mustTell(id)) continue;
      this.control({ type: 'schema', topic_id: reader.topicId, schema_id: id, fields: [...fields] });
    }
    this.#write(bytes);
  }

  /** Nothing is sent any more. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#active = [];
    this.#backfills = [];
    this.#criticals = [];
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
  }

  #write(frame: Buffer): void {
    if (this.#socket.readyState === this.#socket.OPEN) this.#raw.write(frame, this.#onWritten);
  }

  readonly #onWritten = (error?: Error | null): void => {
    if (error || this.#closed) return;
    this.#progressMs = this.#parts.host.clock.now();
    if (this.#raw.writableLength > 0) return;
    this.#controlBytes = 0;
    if (this.#isDeaf) {
      this.#isDeaf = false;
      this.#pauseOrResume();
    }
    const waiting = this.#active.length + this.#criticals.length + this.#backfills.length;
    if (waiting > 0 || this.isShared) this.#parts.host.enqueue(this);
  };

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
    const { encoder, settings } = this.#parts.host;
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
      const at = (position: number) => run[position - from]!;
      const span = { from, to: from + run.length };
      this.sendRange(feed, encoder.encode(feed.topic, feed.topicId, span, feed.subscription.writing, at));
      for (const { position } of run) feed.reader.settle(position);
    }
  }

  #mayWrite(nowMs: number): boolean {
    if (this.#active.length === 0) return false;
    const { host } = this.#parts;
    const { socketBytesMax, batchDelayMs, batchMessagesMax } = host.settings;
    const unsent = this.#raw.writableLength;
    if (unsent >= socketBytesMax) return false;
    if (unsent === 0 && this.#gatherMs === 0) return true;
    this.#waitingSinceMs ??= nowMs;
    const dueMs = this.#waitingSinceMs + Math.max(batchDelayMs, this.#gatherMs);
    if (nowMs >= dueMs || this.#queuedMessages() >= batchMessagesMax) return true;
    host.wakeAt(this, dueMs);
    return false;
  }

  #queuedMessages(): number {
    return this.#active.reduce((sum, feed) => sum + feed.reader.queued, 0);
  }

  /** Turn after turn, until nothing is left or the socket has enough. */
  #sendTurns(): void {
    const { socketBytesMax } = this.#parts.host.settings;
    this.#waitingSinceMs = undefined;
    while (this.#active.length > 0 && this.#raw.writableLength < socketBytesMax && !this.#closed) {
      const feed = this.#active.shift()!;
      if (this.#sendTurn(feed)) this.#active.push(feed);
      else this.#rest(feed);
    }
  }

  /** One turn of a topic. False: it has nothing to send now. */
  #sendTurn(feed: Feed): boolean {
    const { host } = this.#parts;
    const span = this.#lookAt(feed);
    if (span === undefined) return false;
    feed.deficitBytes += TURN_BYTES;
    const isAlone = this.#active.length === 0;
    const { batchBytesMax, socketBytesMax } = host.settings;
    const room = Math.min(batchBytesMax, socketBytesMax - this.#raw.writableLength);
    const bytesMax = isAlone ? room : Math.min(room, feed.deficitBytes);
    const to = batchEnd(span.from, span.to, bytesMax, feed.bytesBefore);
    const bytes = feed.bytesOf({ from: span.from, to });
    // A message that is larger than its topic's allowance waits for further turns, while others send.
    if (bytes > feed.deficitBytes && !isAlone) return true;
    this.#send(feed, to - span.from);
    feed.deficitBytes = Math.max(0, feed.deficitBytes - bytes);
    return feed.reader.queued > 0;
  }

  #send(feed: Feed, count: number): void {
    const taken = feed.reader.takeRange(count);
    if (taken === undefined) return;
    const { encoder } = this.#parts.host;
    this.sendRange(feed, encoder.encode(feed.topic, feed.topicId, taken, feed.subscription.writing));
  }

  #rest(feed: Feed): void {
    feed.isActive = false;
    feed.deficitBytes = 0;
    // What came after the round began wakes it in the next one.
    if (feed.reader.queued === 0 || feed.reader.readyAtMs <= this.#parts.host.clock.now()) return;
    this.#sleeping ??= new Set();
    this.#sleeping.add(feed);
    this.#parts.host.wakeAt(this, feed.reader.readyAtMs);
  }

  #wakeSleepers(nowMs: number): void {
    for (const feed of this.#sleeping!) {
      if (feed.reader.readyAtMs > nowMs) this.#parts.host.wakeAt(this, feed.reader.readyAtMs);
      else {
        this.#sleeping!.delete(feed);
        this.activate(feed);
      }
    }
  }

  #sendBackfill(): void {
    const feed = this.#backfills.shift()!;
    const span = this.#lookAt(feed);
    if (span !== undefined) {
      const { batchBytesMax } = this.#parts.host.settings;
      this.#send(feed, batchEnd(span.from, span.to, batchBytesMax, feed.bytesBefore) - span.from);
    }
    if (feed.reader.done) this.#parts.onDone(feed);
    else this.#backfills.push(feed);
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
    const { queueBytesMax } = this.#parts.host.settings;
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

/** The first messages of the list that follow each other in one topic of one subscription. */
function neighbours(
  criticals: readonly { feed: Feed; sample: Sample<TelemetryMessage> }[],
  countMax: number,
): Sample<TelemetryMessage>[] {
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
