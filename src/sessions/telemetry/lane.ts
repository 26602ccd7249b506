import type { WebSocket } from 'ws';
import type { Clock } from '../../base/clock.ts';
import { SightlineError, toSightlineError } from '../../base/errors.ts';
import { Priority, type Sample } from '../../base/sample.ts';
import { restAfter } from '../../flow/batch-size.ts';
import { Bans } from '../../flow/rate-limit.ts';
import { noLog, type Log } from '../../log/log.ts';
import type { TelemetryReport } from '../../observe/metrics.ts';
import { encodeTelemetryServerMessage } from '../../protocol/telemetry-codec.ts';
import { TELEMETRY_SUBPROTOCOLS, type TelemetrySubprotocol } from '../../protocol/telemetry.ts';
import type { ReaderCounts } from '../../stream/reader.ts';
import type { TelemetryMessage, Topic, Topics } from '../../stream/topics.ts';
import { compressors, decompressors } from '../compression.ts';
import { parseTelemetryQuery } from '../query.ts';
import { SessionRegistry } from '../registry.ts';
import { endSocket, remoteAddressOf, type OpeningRequest } from '../session-socket.ts';
import { addCounts, NO_COUNTS } from '../../stream/reader-counts.ts';
import type { CompressionSettings } from './compression.ts';
import { Convoy } from './fanout-group.ts';
import type { Feed, Subscription } from './subscribed-topic.ts';
import { RangeEncoder } from './encoder.ts';
import { Group } from './queue-group.ts';
import type { Outbox, OutboxSettings } from './outbox.ts';
import {
  TelemetrySession,
  type SessionHost,
  type TelemetrySessionParts,
  type TelemetrySessionSettings,
} from './session.ts';

/** Longest time that one turn of the event loop spends on sending, so that video is not held up. */
const SLICE_MS = 2;
/** Encoded ranges that are kept for readers that come for them a little later. */
const ENCODED_BYTES_MAX = 16 * 1024 * 1024;
const RECONNECT_AFTER_MS = 1_000;
const GROUPS_MAX = 1_000;
const LOOPBACK = /^(127\.|::1$|::ffff:127\.)/;

export interface TelemetryLaneOptions {
  readonly topics: Topics;
  readonly clock: Clock;
  readonly log?: Log;
  readonly settings: OutboxSettings &
    CompressionSettings &
    TelemetrySessionSettings & {
      readonly idleTimeoutMs: number;
      readonly resumeWindowMs: number;
      readonly sessionsMax: number;
      readonly banMs: number;
    };
}

/** `WS /ws/telemetry`: opens sessions, and carries what is published to who has subscribed, once each turn of the event loop. */
export class TelemetryLane {
  readonly #options: TelemetryLaneOptions;
  readonly #registry: SessionRegistry<TelemetrySession>;
  readonly #encoder: RangeEncoder;
  readonly #host: SessionHost;
  readonly #sessionParts: TelemetrySessionParts;
  readonly #bans: Bans;
  readonly #unlisten: () => void;
  /** Feeds that are sent for by themselves. */
  readonly #feeds = new Map<Topic, Set<Feed>>();
  /** By what they want: the last one that was made for it, which may have room. */
  readonly #convoys = new Map<string, Convoy>();
  readonly #convoysOf = new Map<Topic, Set<Convoy>>();
  /** Outboxes that may travel with others from the next round on. */
  readonly #offered = new Set<Outbox>();
  readonly #convoyWork = new Set<Convoy>();
  readonly #groups = new Map<string, Group>();
  /** How many connections have the same subscriptions, by the hash of these. */
  readonly #enlisted = new Map<number, number>();
  /** Topics with something new since the last flush. */
  readonly #dirty = new Set<Topic>();
  /** Outboxes that are to be flushed. */
  readonly #work = new Set<Outbox>();
  readonly #criticalWork = new Set<Outbox>();
  readonly #wakes = new Map<Outbox, number>();
  #wakeTimer: NodeJS.Timeout | undefined;
  #wakeTimerMs = Infinity;
  #isScheduled = false;
  /** Outboxes of the last flush are still to come. */
  #isMidRound = false;
  #round = 0;
  /** What the round has taken so far, and until when there is no other one. */
  #roundMs = 0;
  /** Messages since the last round began, and how many of each topic it had. */
  #published = 0;
  #density = 0;
  #restUntilMs = 0;
  #restTimer: NodeJS.Timeout | undefined;
  /** Of publishers that wait for the end of the round. */
  readonly #heldBack = new Set<Outbox>();
  #bannedRefusals = 0;
  /** Of readers of sessions that have ended, and messages that were published by whoever. */
  #endedCounts = NO_COUNTS;
  #publishedEver = 0;

  constructor(options: TelemetryLaneOptions) {
    const { topics, clock, settings, log = noLog(clock) } = options;
    this.#options = options;
    this.#bans = new Bans(settings.banMs);
    this.#encoder = new RangeEncoder({
      compression: settings.compression,
      compressionThresholdBytes: settings.compressionThresholdBytes,
      nsPerByte: settings.nsPerByte,
      compressors,
      decompressors,
      now: () => clock.now(),
      cacheBytesMax: ENCODED_BYTES_MAX,
    });
    const round = () => this.#round;
    this.#host = {
      get round() {
        return round();
      },
      holdBack: (outbox) => this.#holdBack(outbox),
      clock,
      topics,
      settings,
      encoder: this.#encoder,
      enqueue: (outbox) => this.#enqueue(outbox),
      wakeAt: (outbox, timeMs) => this.#wakeAt(outbox, timeMs),
      attach: (feed) => this.#attach(feed),
      detach: (feed) => this.#detach(feed),
      group: (name, subscription) => this.#group(name, subscription),
      offer: (outbox) => void this.#offered.add(outbox),
      leave: (outbox) => this.#leaveConvoy(outbox),
      enlist: (hash, isThere) => this.#enlist(hash, isThere ? 1 : -1),
      enlisted: (hash) => this.#enlisted.get(hash) ?? 0,
    };
    this.#sessionParts = {
      clock,
      settings,
      host: this.#host,
      log,
      onOffence: (socket, clientId) => {
        const nowMs = clock.now();
        for (const name of namesOf(remoteAddressOf(socket), clientId)) {
          this.#bans.disconnected(name, nowMs);
          const untilMs = this.#bans.bannedUntil(name, nowMs);
          if (untilMs !== undefined)
            log.write('client_banned', { lane: 'telemetry', name, ban_s: (untilMs - nowMs) / 1000 });
        }
      },
    };
    this.#registry = new SessionRegistry({
      kind: 'telemetry',
      clock,
      log,
      settings,
      onSweep: (session, nowMs) => session.check(nowMs),
      onTick: () => topics.sweep(),
      onEnded: (session) => {
        this.#endedCounts = addCounts(this.#endedCounts, session.accounts());
      },
    });
    this.#unlisten = topics.listen((topic, sample) => this.#onPublished(topic, sample));
  }

  get connected(): number {
    return this.#registry.connected;
  }

  get sessions(): number {
    return this.#registry.size;
  }

  /** Messages published since the start, by whoever. */
  get published(): number {
    return this.#publishedEver;
  }

  /** Of the readers of all sessions, those that have ended included. */
  accounts(): ReaderCounts {
    return [...this.#registry.sessions].reduce((sum, session) => addCounts(sum, session.accounts()), this.#endedCounts);
  }

  /** Takes over an accepted socket. What cannot be is told on the socket, which is then closed. */
  async open(socket: WebSocket, { query, address }: OpeningRequest): Promise<void> {
    const protocol = protocolOf(socket);
    socket.pause();
    socket.on('error', ignore);
    try {
      const identity = parseTelemetryQuery(query);
      this.#refuseBanned(namesOf(address, identity.clientId));
      const { session, resumed } = await this.#registry.claim(identity, (clientId) => this.#create(clientId));
      if (socket.readyState !== socket.OPEN) return;
      session.connect(socket, protocol, resumed);
      socket.resume();
    } catch (thrown) {
      socket.resume();
      const reason = toSightlineError(thrown);
      const message = { type: 'error', code: reason.code, message: reason.message } as const;
      endSocket(socket, encodeTelemetryServerMessage(message, protocol), reason);
    }
  }

  report(): TelemetryReport {
    const { topics } = this.#options;
    return {
      sessions: [...this.#registry.sessions].map((session) => session.report()),
      topics: topics.list().map((topic) => ({
        stats: topic.stats(),
        accounts: [...topic.stream.rangeReaders].reduce((sum, reader) => addCounts(sum, reader.counts()), NO_COUNTS),
      })),
      history_bytes: topics.historyBytes,
      topics_forgotten: topics.forgotten,
      batches_encoded: this.#encoder.encoded,
      batches_reused: this.#encoder.reused,
      banned_refusals: this.#bannedRefusals,
      convoys: this.#allConvoys().size,
      convoy_members: [...this.#allConvoys()].reduce((sum, { size }) => sum + size, 0),
    };
  }

  /** Sends what waits, tells every client to go elsewhere, and ends every session. Idempotent. */
  close(): void {
    if (this.#registry.closed) return;
    this.#unlisten();
    this.#flushAll();
    for (const session of this.#registry.sessions) session.drain(RECONNECT_AFTER_MS);
    this.#registry.close();
    clearTimeout(this.#wakeTimer);
    clearTimeout(this.#restTimer);
  }

  #create(clientId: string): TelemetrySession {
    return new TelemetrySession(clientId, this.#sessionParts);
  }

  #refuseBanned(names: readonly string[]): void {
    const nowMs = this.#options.clock.now();
    for (const name of names) {
      const untilMs = this.#bans.bannedUntil(name, nowMs);
      if (untilMs === undefined) continue;
      this.#bannedRefusals++;
      throw new SightlineError('RATE_EXCEEDED', `${name} may not connect for ${Math.ceil((untilMs - nowMs) / 1000)} s`);
    }
  }

  #attach(feed: Feed): void {
    addTo(this.#feeds, feed.topic, feed);
  }

  #detach(feed: Feed): void {
    removeFrom(this.#feeds, feed.topic, feed);
  }

  #enlist(hash: number, change: 1 | -1): void {
    const count = (this.#enlisted.get(hash) ?? 0) + change;
    if (count > 0) this.#enlisted.set(hash, count);
    else this.#enlisted.delete(hash);
  }

  #group(name: string, { filter }: Subscription): Group {
    const key = `${name}\n${filter}`;
    const known = this.#groups.get(key);
    if (known !== undefined) return known;
    if (this.#groups.size >= GROUPS_MAX) {
      throw new SightlineError(
        'SUBSCRIPTION_LIMIT_REACHED',
        `group "${name}" would exceed the limit of ${GROUPS_MAX} groups`,
      );
    }
    const { topics, settings } = this.#options;
    const group: Group = new Group(
      {
        topics,
        encoder: this.#encoder,
        batchMessagesMax: settings.batchMessagesMax,
        batchBytesMax: settings.batchBytesMax,
        onEmpty: () => this.#groups.delete(key),
      },
      filter,
    );
    this.#groups.set(key, group);
    return group;
  }

  #onPublished(topic: Topic, sample: Sample<TelemetryMessage>): void {
    this.#dirty.add(topic);
    this.#published++;
    this.#publishedEver++;
    this.#schedule();
    if (sample.priority !== Priority.critical) return;
    // They go ahead of the others: each connection by itself.
    for (const convoy of this.#convoysOf.get(topic) ?? []) {
      for (const member of convoy.members) this.#leaveConvoy(member);
    }
    for (const feed of this.#feeds.get(topic) ?? []) {
      feed.outbox.critical(feed, sample);
      // Once all that this call publishes is there: a batch of critical messages leaves as one.
      if (this.#criticalWork.size === 0) queueMicrotask(() => this.#flushCriticals());
      this.#criticalWork.add(feed.outbox);
    }
  }

  #flushCriticals(): void {
    const nowMs = this.#options.clock.now();
    for (const outbox of this.#criticalWork) outbox.flushCriticals(nowMs);
    this.#criticalWork.clear();
  }

  #enqueue(outbox: Outbox): void {
    this.#work.add(outbox);
    this.#schedule();
  }

  /** After the turn's input has been read, so that one turn's publications become one batch; later when much is going on. */
  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    const restMs = this.#isMidRound ? 0 : this.#restUntilMs - this.#options.clock.now();
    if (restMs > 0) this.#restTimer = setTimeout(this.#onScheduled, restMs);
    else setImmediate(this.#onScheduled);
  }

  readonly #onScheduled = (): void => {
    this.#isScheduled = false;
    this.#flush();
  };

  #flush(): void {
    const startMs = this.#options.clock.now();
    // What is published while a round is under way waits for the next one: then all readers get the same batches.
    if (!this.#isMidRound) this.#spreadDirty();
    let nowMs = startMs;
    for (const convoy of this.#convoyWork) {
      if (nowMs - startMs >= SLICE_MS) break;
      this.#convoyWork.delete(convoy);
      convoy.flush(nowMs, (member) => this.#leaveConvoy(member));
      nowMs = this.#options.clock.now();
    }
    for (const outbox of this.#work) {
      if (nowMs - startMs >= SLICE_MS) break;
      this.#work.delete(outbox);
      outbox.flush(nowMs);
      nowMs = this.#options.clock.now();
    }
    for (const group of this.#groups.values()) group.flush(nowMs);
    this.#isMidRound = this.#work.size + this.#convoyWork.size > 0;
    nowMs = this.#options.clock.now();
    this.#roundMs += nowMs - startMs;
    if (!this.#isMidRound) this.#endRound(nowMs);
    if (this.#isMidRound || this.#dirty.size > 0) this.#schedule();
  }

  #endRound(nowMs: number): void {
    this.#round++;
    this.#restUntilMs = nowMs + restAfter(this.#roundMs, this.#density, this.#options.settings.batchDelayMs);
    this.#roundMs = 0;
    for (const outbox of this.#offered) this.#joinConvoy(outbox, nowMs);
    this.#offered.clear();
    for (const outbox of this.#heldBack) outbox.holdBack(false);
    this.#heldBack.clear();
  }

  #holdBack(outbox: Outbox): void {
    if (this.#heldBack.has(outbox)) return;
    this.#heldBack.add(outbox);
    outbox.holdBack(true);
    this.#schedule();
  }

  #flushAll(): void {
    const nowMs = this.#options.clock.now();
    this.#spreadDirty();
    for (const convoy of this.#convoyWork) convoy.flush(nowMs, (member) => this.#leaveConvoy(member));
    this.#convoyWork.clear();
    for (const outbox of this.#work) outbox.flush(nowMs);
    for (const group of this.#groups.values()) group.flush(nowMs);
    this.#work.clear();
  }

  #spreadDirty(): void {
    this.#density = this.#published / Math.max(1, this.#dirty.size);
    this.#published = 0;
    for (const topic of this.#dirty) {
      for (const feed of this.#feeds.get(topic) ?? []) {
        feed.sendUntil = topic.stream.head;
        feed.outbox.activate(feed);
        this.#work.add(feed.outbox);
      }
      for (const convoy of this.#convoysOf.get(topic) ?? []) {
        convoy.mark(topic, topic.stream.head);
        this.#convoyWork.add(convoy);
      }
      for (const group of this.#groups.values()) group.mark(topic);
    }
    this.#dirty.clear();
  }

  /** Between rounds: everybody who keeps up stands at the end of the last one. */
  #joinConvoy(outbox: Outbox, nowMs: number): void {
    const key = outbox.convoyKey;
    if (key === undefined || outbox.convoy !== undefined || !outbox.isIdle(nowMs)) return;
    const { batchBytesMax, socketBytesMax } = this.#options.settings;
    let convoy = this.#convoys.get(key);
    if (convoy?.join(outbox) !== true) {
      convoy = new Convoy({ key, encoder: this.#encoder, batchBytesMax, socketBytesMax }, outbox.feeds);
      if (!convoy.join(outbox)) return;
      this.#convoys.set(key, convoy);
      for (const topic of convoy.topics) addTo(this.#convoysOf, topic, convoy);
    }
    outbox.convoy = convoy;
    for (const feed of outbox.feeds) this.#detach(feed);
  }

  #leaveConvoy(outbox: Outbox): void {
    this.#offered.delete(outbox);
    const { convoy } = outbox;
    if (convoy === undefined) return;
    outbox.convoy = undefined;
    for (const feed of outbox.feeds) this.#attach(feed);
    if (convoy.leave(outbox)) this.#enqueue(outbox);
    if (convoy.size > 0) return;
    this.#convoyWork.delete(convoy);
    if (this.#convoys.get(convoy.key) === convoy) this.#convoys.delete(convoy.key);
    for (const topic of convoy.topics) removeFrom(this.#convoysOf, topic, convoy);
  }

  #allConvoys(): Set<Convoy> {
    const all = new Set<Convoy>();
    for (const convoys of this.#convoysOf.values()) for (const convoy of convoys) all.add(convoy);
    return all;
  }

  #wakeAt(outbox: Outbox, timeMs: number): void {
    const before = this.#wakes.get(outbox);
    if (before !== undefined && before <= timeMs) return;
    this.#wakes.set(outbox, timeMs);
    if (timeMs >= this.#wakeTimerMs) return;
    this.#setWakeTimer(timeMs);
  }

  #setWakeTimer(timeMs: number): void {
    clearTimeout(this.#wakeTimer);
    this.#wakeTimerMs = timeMs;
    this.#wakeTimer = setTimeout(() => this.#wakeDue(), Math.max(0, timeMs - this.#options.clock.now()));
  }

  #wakeDue(): void {
    const nowMs = this.#options.clock.now();
    this.#wakeTimerMs = Infinity;
    let nextMs = Infinity;
    for (const [outbox, timeMs] of this.#wakes) {
      // A timer may fire a little before its time.
      if (timeMs > nowMs + 1) {
        nextMs = Math.min(nextMs, timeMs);
        continue;
      }
      this.#wakes.delete(outbox);
      this.#enqueue(outbox);
    }
    if (nextMs < Infinity) this.#setWakeTimer(nextMs);
  }
}

function addTo<T>(sets: Map<Topic, Set<T>>, topic: Topic, item: T): void {
  const items = sets.get(topic);
  if (items === undefined) sets.set(topic, new Set([item]));
  else items.add(item);
}

function removeFrom<T>(sets: Map<Topic, Set<T>>, topic: Topic, item: T): void {
  const items = sets.get(topic);
  items?.delete(item);
  if (items?.size === 0) sets.delete(topic);
}

/** `ws` closes the socket itself (1009 for a message over the hard limit, 1002 for a broken one); the session sees the close. */
function ignore(): void {}

function protocolOf({ protocol }: WebSocket): TelemetrySubprotocol {
  return TELEMETRY_SUBPROTOCOLS.find((known) => known === protocol) ?? 'sightline.v1.json';
}

/** Whom a ban would hit: the name that a client gave itself, and where it comes from, but for a proxy on this machine. */
function namesOf(address: string | undefined, clientId: string | undefined): string[] {
  const names = clientId === undefined ? [] : [`client ${clientId}`];
  if (address !== undefined && !LOOPBACK.test(address)) names.push(`address ${address}`);
  return names;
}
