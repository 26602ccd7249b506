import type { Clock } from '../../base/clock.ts';
import { SightlineError, toSightlineError } from '../../base/errors.ts';
import type { Sample } from '../../base/sample.ts';
import { shareBatches } from '../../flow/batch-size.ts';
import type { MemoryAccount } from '../../fences/memory-ledger.ts';
import type { TimeAccount } from '../../fences/turns.ts';
import { judgeQueue } from '../../flow/watermark.ts';
import type { TelemetryMessage } from '../../stream/topics.ts';
import { Backfill } from './backfill.ts';
import { CriticalQueue } from './critical-queue.ts';
import type { RangeEncoder } from './encoder.ts';
import { FanoutMember } from './fanout-group.ts';
import { shed } from './shed.ts';
import type { Membership } from './queue-group.ts';
import type { SocketWriter } from './socket-writer.ts';
import type { Sender, SubscribedTopic } from './subscribed-topic.ts';
import { Turns, type TurnPart } from './turns.ts';

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
  readonly rounds: {
    /** Has `flush` called soon. */
    enqueue(sender: Sender): void;
    /** Has `flush` called at a moment (ms of the clock), or before. */
    wakeAt(sender: Sender, timeMs: number): void;
  };
  readonly fanout: {
    /** The connection has kept up for a while: it may join a fan-out group. */
    offer(member: FanoutMember): void;
    /** The connection is sent to individually from now on. */
    leave(member: FanoutMember): void;
  };
}

/** The session whose outbox it is. */
export interface OutboxOwner {
  /** To whom critical messages are charged that wait. */
  readonly memory: MemoryAccount;
  /** To whom sending is charged. */
  readonly time: TimeAccount;
  /** The reader cannot be served any more. */
  fail(reason: SightlineError): void;
  /** The client has all messages of a backfill. */
  onDone(subscribed: SubscribedTopic): void;
  /** Connections that have the same subscriptions, this one among them. */
  peers(): number;
}

export interface OutboxParts {
  readonly host: OutboxHost;
  readonly writer: SocketWriter;
  readonly owner: OutboxOwner;
}

/**
 * What goes to one connection, and in which order: confirmations and critical messages first, then the topics in turns, then, on
 * an idle line, what the client missed long ago. Everything is dropped before the socket or not at all: what the socket does not
 * take stays in the topics, where a cursor costs nothing.
 */
export class Outbox implements Sender {
  readonly writer: SocketWriter;
  /** Queue groups that may wait for this socket, too. Made when it joins the first one. */
  memberships: Set<Membership> | undefined;
  readonly #host: OutboxHost;
  readonly #owner: OutboxOwner;
  // Made when they are first needed: most connections of a large server have nothing to send.
  #member: FanoutMember | undefined;
  #criticals: CriticalQueue | undefined;
  #turns: Turns | undefined;
  #backfill: Backfill | undefined;
  /** Reliable publications to be confirmed: topic → highest seq. */
  #confirmations: Map<string, number> | undefined;
  /** Least time between two batches, ms. */
  #gatherMs = 0;
  /** Since when messages have been gathering for a socket that holds unsent bytes. */
  #waitingSinceMs: number | undefined;
  /** The last flush ended because its time was over. */
  #hasMore = false;
  /** The client was told that much is waiting. */
  #warned = false;

  constructor({ host, owner, writer }: OutboxParts) {
    this.#host = host;
    this.#owner = owner;
    this.writer = writer;
  }

  get time(): TimeAccount {
    return this.#owner.time;
  }

  /** Nothing waits here, and the socket takes whatever comes. */
  isIdle(nowMs: number): boolean {
    return this.writer.unsentBytes === 0 && this.mayGoOn(nowMs);
  }

  /** Nothing waits here, as far as the socket is not concerned. */
  mayGoOn(nowMs: number): boolean {
    const { writer } = this;
    return nowMs - writer.sentMs >= this.#gatherMs && this.criticalQueue === 0 && writer.isOpen;
  }

  /** Bytes that wait in the topics for this connection. */
  get queuedBytes(): number {
    return this.#turns?.queuedBytes ?? 0;
  }

  /** Critical messages that wait for the socket. */
  get criticalQueue(): number {
    return this.#criticals?.length ?? 0;
  }

  confirm(topic: string, seq: number): void {
    this.#confirmations ??= new Map();
    this.#confirmations.set(topic, seq);
    this.#host.rounds.enqueue(this);
  }

  /** The client says how far it is behind in its own work. */
  report(lagMs: number): void {
    const { targetLatencyMs } = this.#host.settings;
    this.#gatherMs = lagMs > targetLatencyMs / 2 ? Math.min(GATHER_MAX_MS, lagMs / 2) : 0;
  }

  add(subscribed: SubscribedTopic): void {
    this.#leaveGroup();
    this.#member ??= new FanoutMember(this);
    this.#member.add(subscribed);
  }

  remove(subscribed: SubscribedTopic): void {
    this.#leaveGroup();
    this.#member?.remove(subscribed);
    subscribed.isActive = false;
    this.#turns?.remove(subscribed);
    this.#backfill?.remove(subscribed);
    this.#criticals?.remove(subscribed);
  }

  activate(subscribed: SubscribedTopic): void {
    if (subscribed.isActive || this.writer.closed) return;
    subscribed.isActive = true;
    if (subscribed.isBackfill) {
      this.#backfill ??= new Backfill(this.#host, this.writer);
      this.#backfill.add(subscribed);
    } else {
      this.#turns ??= new Turns(this.#host, this, this.writer);
      this.#turns.add(subscribed);
    }
  }

  critical(subscribed: SubscribedTopic, sample: Sample<TelemetryMessage>): void {
    if (this.writer.closed) return;
    this.#leaveGroup();
    if (!subscribed.reader.hold(sample.position)) return;
    this.#criticals ??= new CriticalQueue(this.#host, this.writer, this.#owner.memory);
    const { criticalMessagesMax } = this.#host.settings;
    try {
      this.#criticals.add(subscribed, sample);
    } catch (thrown) {
      return this.#failBehind(`critical messages wait for this client: ${toSightlineError(thrown).message}`);
    }
    if (this.#criticals.length > criticalMessagesMax) {
      this.#failBehind(`more than ${criticalMessagesMax} critical messages wait for this client`);
    }
  }

  /** Sends what may go now, until a moment; asks for another flush where that came first. */
  flush(nowMs: number, untilMs: number): void {
    if (this.writer.closed) return;
    // What the last flush has written is gone. What this one writes is not, on an encrypted socket, before the next turn.
    const hasKeptUp = this.writer.unsentBytes === 0;
    if (this.#confirmations !== undefined || this.criticalQueue > 0) this.#sendUrgent(nowMs);
    const turns = this.#turns;
    if (turns !== undefined) {
      turns.wake(nowMs);
      if (turns.length > 0 && (this.#hasMore || this.#mayWrite(turns, nowMs))) {
        this.#hasMore = this.#sendTurns(turns, nowMs, untilMs);
        if (this.#hasMore) return this.#host.rounds.enqueue(this);
      }
    }
    const hasSentAll = turns === undefined || turns.length === 0;
    if (!hasSentAll) this.#judge(turns);
    else if (this.#backfill !== undefined) this.#sendBackfill(this.#backfill, nowMs);
    const member = this.#member;
    if (member === undefined || member.group !== undefined) return;
    if (member.countFlush(hasSentAll && hasKeptUp && this.mayGoOn(nowMs))) this.#host.fanout.offer(member);
  }

  /** Sends what must not be lost, whether the socket takes it at once or not. */
  flushCriticals(nowMs: number): void {
    if (this.#criticals === undefined) return;
    this.writer.cork();
    try {
      this.#criticals.send(nowMs);
    } finally {
      this.writer.uncork();
    }
    this.#goOn();
  }

  /** The socket has passed everything on. */
  onEmptied(): void {
    const waiting = (this.#turns?.length ?? 0) + this.criticalQueue + (this.#backfill?.length ?? 0);
    if (waiting > 0 || this.memberships !== undefined) this.#host.rounds.enqueue(this);
    for (const membership of this.memberships ?? []) membership.wake();
  }

  /** Nothing is sent any more. Idempotent. */
  close(): void {
    this.#leaveGroup();
    this.writer.close();
    this.#criticals?.close();
    this.#member = undefined;
    this.#criticals = undefined;
    this.#turns = undefined;
    this.#backfill = undefined;
    this.#confirmations = undefined;
  }

  #failBehind(why: string): void {
    this.#owner.fail(new SightlineError('CRITICAL_BACKLOG', why));
  }

  #leaveGroup(): void {
    if (this.#member !== undefined) this.#host.fanout.leave(this.#member);
  }

  /** In one system call. */
  #sendUrgent(nowMs: number): void {
    this.writer.cork();
    try {
      for (const [topic, seq] of this.#confirmations ?? []) this.writer.control({ type: 'published', topic, seq });
      this.#confirmations = undefined;
      this.#criticals?.send(nowMs);
    } finally {
      this.writer.uncork();
    }
    this.#goOn();
  }

  /** What was written in one go counted as unsent until then. Where the system took all of it at once, no event of the socket tells of room. */
  #goOn(): void {
    if (this.criticalQueue > 0 && this.writer.unsentBytes === 0 && this.writer.isOpen) this.#host.rounds.enqueue(this);
  }

  #mayWrite(turns: Turns, nowMs: number): boolean {
    const { settings, rounds } = this.#host;
    const { socketBytesMax, batchDelayMs, batchMessagesMax } = settings;
    const { unsentBytes, sentMs } = this.writer;
    if (unsentBytes >= socketBytesMax) return false;
    // Who says that it lags gets its batches so far apart: what comes more seldom does not wait.
    const gatheredMs = sentMs + this.#gatherMs;
    if (unsentBytes === 0 && nowMs >= gatheredMs) return true;
    this.#waitingSinceMs ??= nowMs;
    const dueMs = unsentBytes === 0 ? gatheredMs : Math.max(gatheredMs, this.#waitingSinceMs + batchDelayMs);
    if (nowMs >= dueMs || turns.queuedMessages >= batchMessagesMax) return true;
    rounds.wakeAt(this, dueMs);
    return false;
  }

  /** Turn after turn, until nothing is left or the socket has enough. True: until the moment came, so there is more to send. */
  #sendTurns(turns: Turns, nowMs: number, untilMs: number): boolean {
    this.#waitingSinceMs = undefined;
    while (this.writer.canTake) {
      this.#sendParts(turns.take(), nowMs);
      if (turns.length === 0) return false;
      if (this.writer.canTake && this.#host.clock.now() >= untilMs) return true;
    }
    return false;
  }

  /** All in one batch, or each as every reader of its topic gets it: whatever has to be encoded less often. */
  #sendParts(parts: readonly TurnPart[], nowMs: number): void {
    if (parts.length === 0 || this.writer.closed) return;
    const { encoder } = this.#host;
    const { format } = parts[0]!.subscribed.subscription;
    const readers = Math.max(...parts.map(({ topic }) => topic.stream.readerCount));
    const isOneFormat = parts.every(({ subscribed }) => subscribed.subscription.format.key === format.key);
    if (parts.length === 1 || (isOneFormat && shareBatches(this.#owner.peers(), readers))) {
      return this.writer.send(encoder.encode(parts, format), nowMs);
    }
    this.writer.cork();
    try {
      for (const part of parts) {
        this.writer.send(encoder.encode([part], part.subscribed.subscription.format), nowMs);
      }
    } finally {
      this.writer.uncork();
    }
  }

  /** One batch in a round, on an idle line: whatever is new goes between. */
  #sendBackfill(backfill: Backfill, nowMs: number): void {
    if (backfill.length === 0 || this.writer.unsentBytes > 0) return;
    const done = backfill.send(nowMs);
    if (done !== undefined) this.#owner.onDone(done);
    if (backfill.length > 0 && this.writer.unsentBytes === 0) this.#host.rounds.enqueue(this);
  }

  /** Of a backlog: warns the client of it, and drops by class what is too much. */
  #judge(turns: Turns): void {
    const { queueBytesMax } = this.#host.settings;
    const { warned, warns, excessBytes } = judgeQueue(turns.queuedBytes, queueBytesMax, this.#warned);
    this.#warned = warned;
    if (warns) {
      const message = `over 70 % of ${queueBytesMax} bytes wait for this client`;
      this.writer.control({ type: 'notice', reason: 'queue', message });
    }
    if (excessBytes > 0) shed(turns.active, excessBytes);
  }
}
