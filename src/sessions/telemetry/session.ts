import type { WebSocket } from 'ws';
import { wallAheadMs, wallTimeMs, type Clock } from '../../base/clock.ts';
import { SightlineError, toSightlineError } from '../../base/errors.ts';
import { fnv1a } from '../../base/hash.ts';
import { freshRate, judgeRate, type RateSettings, type RateState } from '../../flow/rate-limit.ts';
import type { Log } from '../../log/log.ts';
import { decodePublications, faultOfSection, sectionsOfBatch, type BatchSection } from '../../protocol/batch.ts';
import type { TelemetrySessionReport } from '../../observe/metrics.ts';
import { aboutMessage, isMsgpackMap } from '../../protocol/message-about.ts';
import { Payload } from '../../protocol/payload.ts';
import { decodeTelemetryClientMessage, encodeTelemetryServerMessage } from '../../protocol/telemetry-codec.ts';
import type * as t from '../../protocol/telemetry.ts';
import { checkTopic, isServerTopic } from '../../protocol/topic.ts';
import { PROTOCOL_VERSION } from '../../protocol/video.ts';
import type { ReaderCounts } from '../../stream/reader.ts';
import type { Topic, TopicInput, TopicMaker, Topics } from '../../stream/topics.ts';
import { decompressors } from '../compression.ts';
import { endSocket, SessionSocket, type KeepAliveSettings, type SocketOwner } from '../session-socket.ts';
import { Feed, type Subscription } from './subscribed-topic.ts';
import { writingOf } from './encoder.ts';
import type { Group, GroupMember } from './queue-group.ts';
import { Outbox, topicMessage, type OutboxHost, type OutboxOwner } from './outbox.ts';
import { decideStart, type Position } from './start.ts';
import { addCounts, NO_COUNTS } from '../../stream/reader-counts.ts';

/** Subscriptions of one connection that may take in the same topic: a topic's number on the wire holds which one it is. */
const OVERLAPS_MAX = 16;
/**
 * Messages that a client may publish in one round. What it sends beyond waits in its socket: input that is taken faster than
 * it is passed on would only be lost on the way, for all readers.
 */
const ROUND_MESSAGES = 512;
/** Who is muted is told so again, at most so often. */
const REFUSAL_INTERVAL_MS = 1_000;

export interface TelemetrySessionSettings extends KeepAliveSettings {
  readonly rate: RateSettings;
  readonly messageBytesMax: number;
  readonly batchMessagesMax: number;
  readonly subscriptionsMax: number;
  readonly topicsMax: number;
  readonly historyMessages: number;
}

/** What a session needs of its lane. */
export interface SessionHost extends OutboxHost {
  readonly topics: Topics;
  /** The feed is woken by its topic from now on. */
  attach(feed: Feed): void;
  detach(feed: Feed): void;
  group(name: string, subscription: Subscription): Group;
  /** A connection has the subscriptions of this hash from now on, or no more. */
  enlist(hash: number, isThere: boolean): void;
  /** Connections that have them. */
  enlisted(hash: number): number;
  /** Counts the rounds of flushing. */
  readonly round: number;
  /** Has the outbox released when the round is over. */
  holdBack(outbox: Outbox): void;
}

/** The same for all sessions of a lane. */
export interface TelemetrySessionParts {
  readonly clock: Clock;
  readonly settings: TelemetrySessionSettings;
  readonly host: SessionHost;
  readonly log: Log;
  /** The client was disconnected because it publishes too fast. */
  readonly onOffence: (socket: WebSocket, clientId: string) => void;
}

/** What a refusal is about. */
type About = Omit<t.TelemetryError, 'type' | 'code' | 'message'>;

interface OpenSubscription extends Subscription {
  readonly feeds: Map<number, Feed>;
  readonly message: t.SubscribeMessage;
  readonly since: ReadonlyMap<string, Position> | undefined;
  /** Topics that came by a group. */
  readonly shared: { readonly topic: Topic; readonly topicId: number }[];
  /** Of what makes it get the same as another one. */
  readonly hash: number;
  leave: () => void;
  /** The client was told that there are more topics than it may have. */
  isCut: boolean;
}

/** One client's session: lives on for a while when its socket is lost. Subscriptions end with the socket; what was acknowledged and published stays. */
export class TelemetrySession implements SocketOwner, OutboxOwner {
  readonly link: SessionSocket;
  readonly #parts: TelemetrySessionParts;
  #protocol: t.TelemetrySubprotocol = 'sightline.v1.json';
  #outbox: Outbox | undefined;
  #subscriptions: Map<number, OpenSubscription> | undefined;
  /** Over all subscriptions of this connection, the same for others that have the same ones. */
  #wanted: number | undefined;
  #topicCount = 0;
  /** By topic: which of its numbers are taken, bit by bit. */
  #overlaps: Map<Topic, number> | undefined;
  /** By alias. */
  #advertised: Map<number, string> | undefined;
  /** By the client's number. */
  #schemas: Map<number, readonly t.SchemaField[]> | undefined;
  /** By topic: what `reliable` subscriptions have taken over. */
  #acknowledged: Map<string, Position> | undefined;
  /** By topic: the client's own number of its last reliable publication. */
  #publications: Map<string, number> | undefined;
  /** Since its first publication. */
  #rate: RateState | undefined;
  #refusalToldMs = -Infinity;
  /** Messages without numbers that were refused since that was told. */
  #refusedUntold = 0;
  #throttle: NodeJS.Timeout | undefined;
  #round = 0;
  #roundMessages = 0;
  /** An object of its own: a topic outlives the session that made it, and must not keep it. */
  readonly #maker: TopicMaker = { topicsMade: 0 };
  #published = 0;
  #duplicates = 0;
  #refusedPublications = 0;
  #refusedMessages = 0;
  #lagMs: number | null = null;
  #closedCounts = NO_COUNTS;

  constructor(clientId: string, parts: TelemetrySessionParts) {
    const { clock, settings } = parts;
    this.#parts = parts;
    this.link = new SessionSocket({ clientId, clock, settings, owner: this });
  }

  /** Who has subscribed has reason to be silent: a ping tells whether it is still there. */
  get lastActivityMs(): number {
    return this.#subscriptions !== undefined && this.#subscriptions.size > 0 ? Infinity : this.link.lastActivityMs;
  }

  get protocol(): t.TelemetrySubprotocol {
    return this.#protocol;
  }

  /** Gives the session a socket and welcomes it; a socket that it had is closed as taken over. */
  connect(socket: WebSocket, protocol: t.TelemetrySubprotocol, resumed: boolean): void {
    const { host, clock, settings } = this.#parts;
    this.link.connect(socket);
    this.#protocol = protocol;
    this.#outbox = new Outbox({ host, socket, protocol, owner: this });
    this.#outbox.control({
      type: 'welcome',
      protocol: PROTOCOL_VERSION,
      client_id: this.link.clientId,
      token: this.link.token,
      resumed,
      server_time: wallTimeMs(clock),
      limits: {
        message_bytes_max: settings.messageBytesMax,
        batch_messages_max: settings.batchMessagesMax,
        subscriptions_max: settings.subscriptionsMax,
        publish_rate_max: settings.rate.messagesPerS,
        history_messages: settings.historyMessages,
      },
    });
  }

  /** About once a second. */
  check(nowMs: number): void {
    this.#outbox?.check(nowMs);
    if (this.#refusedUntold > 0 && this.#outbox !== undefined) this.#tellRefused(nowMs, {});
  }

  /** The client should go elsewhere; what is critical leaves first. */
  drain(reconnectAfterMs: number): void {
    this.#outbox?.flushCriticals(this.#parts.clock.now());
    this.#outbox?.control({
      type: 'notice',
      reason: 'drain',
      message: 'the server shuts down: connect again',
      reconnect_after_ms: reconnectAfterMs,
    });
  }

  /** Ends the session for good. Idempotent. */
  close(reason: SightlineError): void {
    this.link.end(reason);
  }

  /** Of all readers that the session has had. */
  accounts(): ReaderCounts {
    const subscriptions = [...(this.#subscriptions?.values() ?? [])];
    const readers = subscriptions.flatMap(({ feeds }) => [...feeds.values()].map(({ reader }) => reader));
    return readers.reduce((sum, reader) => addCounts(sum, reader.counts()), this.#closedCounts);
  }

  report(): TelemetrySessionReport {
    const { clock } = this.#parts;
    return {
      client_id: this.link.clientId,
      connected: this.link.socket !== undefined,
      protocol: this.#protocol,
      age_s: (clock.now() - this.link.openedTimeMs) / 1000,
      subscriptions: this.#subscriptions?.size ?? 0,
      topics: this.#topicCount,
      accounts: this.accounts(),
      published: this.#published,
      duplicates: this.#duplicates,
      refused_publications: this.#refusedPublications,
      refused_messages: this.#refusedMessages,
      unsent_bytes: this.#outbox?.unsentBytes ?? 0,
      queued_bytes: this.#outbox?.queuedBytes ?? 0,
      critical_queue: this.#outbox?.criticalQueue ?? 0,
      lag_ms: this.#lagMs,
    };
  }

  // For the link and the outbox.

  endSocket(socket: WebSocket, reason: SightlineError): void {
    // What was paused would not see the other side's close.
    if (socket.isPaused) socket.resume();
    const message = { type: 'error', code: reason.code, message: reason.message } as const;
    endSocket(socket, encodeTelemetryServerMessage(message, this.#protocol), reason);
  }

  onLost(): void {
    clearTimeout(this.#throttle);
    for (const subscription of this.#subscriptions?.values() ?? []) this.#leave(subscription);
    if (this.#subscriptions !== undefined) this.#enlist();
    this.#outbox?.close();
    this.#outbox = undefined;
    this.#advertised = undefined;
    this.#schemas = undefined;
  }

  fail(reason: SightlineError): void {
    this.link.end(reason);
  }

  onDone(feed: Feed): void {
    this.#closeFeed(feed);
  }

  peers(): number {
    return this.#wanted === undefined ? 1 : this.#parts.host.enlisted(this.#wanted);
  }

  onMessage(data: Buffer, isBinary: boolean, nowMs: number): void {
    const isBatch = isBinary && this.#protocol === 'sightline.v1.binary' && !isMsgpackMap(data);
    try {
      if (data.length > this.#parts.settings.messageBytesMax) {
        throw new SightlineError(
          'MESSAGE_TOO_LARGE',
          `a message of ${data.length} bytes is over the limit of ${this.#parts.settings.messageBytesMax}`,
        );
      }
      if (isBatch) this.#onBatch(data, nowMs);
      else this.#onControl(decodeTelemetryClientMessage(isBinary ? data : data.toString('utf8')), data.length, nowMs);
    } catch (thrown) {
      const error = toSightlineError(thrown);
      if (isBatch) this.#refuseBatch(error, data);
      else this.#refuse(error, aboutMessage(data));
    }
  }

  #onControl(message: t.TelemetryClientMessage, bytes: number, nowMs: number): void {
    switch (message.type) {
      case 'publish':
        return this.#onPublish(message, bytes, nowMs);
      case 'subscribe':
        return this.#guarded({ id: message.id }, () => this.#subscribe(message));
      case 'unsubscribe':
        return this.#guarded({ id: message.id }, () => this.#unsubscribe(message.id));
      case 'advertise':
        return this.#guarded({ topic: message.topic, alias: message.alias }, () => this.#advertise(message));
      case 'skip':
        return this.#guarded({ topic: message.topic, seq: message.seq }, () => this.#skip(message));
      case 'schema':
        this.#schemas ??= new Map();
        this.#schemas.set(message.schema_id, this.#parts.host.encoder.internFields(message.fields));
        return;
      case 'ack':
        return this.#guarded({ id: message.id }, () => this.#acknowledge(message));
      case 'report':
        this.#lagMs = message.lag_ms;
        return this.#outbox?.report(message.lag_ms);
      case 'clock':
        return this.#tellTime(message.t0, nowMs);
    }
  }

  /** Runs what a message asks for; what it throws is told with what it is about. */
  #guarded(about: About, act: () => void): void {
    try {
      act();
    } catch (thrown) {
      this.#refuse(toSightlineError(thrown), about);
    }
  }

  #tellTime(t0: number, nowMs: number): void {
    const { clock } = this.#parts;
    const aheadMs = wallAheadMs(clock);
    this.#outbox?.control({ type: 'clock', t0, t1: nowMs + aheadMs, t2: clock.now() + aheadMs });
  }

  #refuse(error: SightlineError, about: About): void {
    const { topic, seq = 0, count = 1 } = about;
    const last = (topic !== undefined && this.#publications?.get(topic)) || 0;
    let refused = about;
    if (seq > 0 && seq <= last) {
      // What is in the history stays there, however its repetition looks.
      this.#outbox?.confirm(topic!, last);
      const left = seq + count - 1 - last;
      if (left <= 0) return;
      refused = { ...about, seq: last + 1, count: left };
    }
    this.#refusedMessages += refused.count || 1;
    this.#tell(error, refused);
  }

  #tell({ code, message }: SightlineError, about: About): void {
    this.#outbox?.control({ type: 'error', code, message, ...about });
  }

  // Subscribing.

  #subscribe(message: t.SubscribeMessage): void {
    const { id, filter, contract, group } = message;
    const { subscriptionsMax } = this.#parts.settings;
    const { host } = this.#parts;
    this.#subscriptions ??= new Map();
    if (this.#subscriptions.has(id))
      throw new SightlineError('MESSAGE_FIELD_BAD', `id ${id} is that of another subscription`);
    if (this.#subscriptions.size >= subscriptionsMax) {
      throw new SightlineError('SUBSCRIPTION_LIMIT_REACHED', `there are ${subscriptionsMax} subscriptions already`);
    }
    const writing = writingOf(this.#protocol, message.codecs);
    const subscription: OpenSubscription = {
      id,
      filter,
      contract,
      message,
      writing,
      hash: fnv1a([filter, contract, writing.key, group].join('\n')),
      feeds: new Map(),
      shared: [],
      since: message.since && new Map(message.since.map(({ topic, epoch, seq }) => [topic, { epoch, seq }])),
      leave: () => {},
      isCut: false,
    };
    this.#subscriptions.set(id, subscription);
    this.#enlist();
    this.#outbox!.control({ type: 'subscribed', id, filter });
    if (group === undefined)
      subscription.leave = host.topics.watch(filter, (topic) => this.#takeIn(subscription, topic));
    else subscription.leave = host.group(group, subscription).join(this.#memberOf(subscription));
  }

  #memberOf(subscription: OpenSubscription): GroupMember {
    const numberOf = (topic: Topic) => {
      const topicId = this.#takeNumber(subscription, topic);
      if (topicId !== undefined) subscription.shared.push({ topic, topicId });
      return topicId;
    };
    return { subscription, outbox: this.#outbox!, numberOf };
  }

  /** A topic belongs to a subscription from now on. */
  #takeIn(subscription: OpenSubscription, topic: Topic): void {
    const outbox = this.#outbox!;
    const topicId = this.#takeNumber(subscription, topic);
    if (topicId === undefined) return;
    const { contract, message } = subscription;
    const { epoch, stream } = topic;
    const since =
      subscription.since?.get(topic.name) ??
      this.#acknowledgedOf(subscription, topic) ??
      // Who says what it has has nothing of a topic that it leaves out: the topic came while it was away.
      (subscription.since && { epoch, seq: 0 });
    const start = decideStart(contract, { epoch, oldest: stream.oldest, head: stream.head }, since);
    const open = (from: number, until?: number) =>
      new Feed({
        subscription,
        outbox,
        topic,
        topicId,
        isBackfill: until !== undefined,
        isLoner:
          until !== undefined ||
          contract === 'latest' ||
          contract === 'sampled' ||
          message.ttl_ms !== undefined ||
          topicId % OVERLAPS_MAX !== 0,
        reader: stream.subscribeRanges({
          contract:
            contract === 'latest'
              ? { kind: 'latest' }
              : contract === 'sampled'
                ? { kind: 'sampled', hz: message.hz! }
                : { kind: 'all' },
          from,
          ...(until !== undefined && { until }),
          ...(message.ttl_ms !== undefined && { ttlMs: message.ttl_ms }),
        }),
      });
    const feed = open(start.from);
    subscription.feeds.set(topicId, feed);
    outbox.add(feed);
    outbox.control(topicMessage(feed, start.from, start.recovered));
    this.#parts.host.attach(feed);
    if (start.backfill !== undefined) {
      const missed = open(start.backfill.from, start.backfill.to);
      subscription.feeds.set(-topicId, missed);
      outbox.add(missed);
      outbox.activate(missed);
    }
    outbox.activate(feed);
    this.#parts.host.enqueue(outbox);
  }

  #acknowledgedOf({ contract }: Subscription, topic: Topic): Position | undefined {
    return contract === 'reliable' ? this.#acknowledged?.get(topic.name) : undefined;
  }

  /** The number that this subscription knows the topic by; the first subscription of every connection has the same one, so that it gets the same bytes. */
  #takeNumber(subscription: OpenSubscription, topic: Topic): number | undefined {
    const { topicsMax } = this.#parts.settings;
    this.#overlaps ??= new Map();
    const taken = this.#overlaps.get(topic) ?? 0;
    let overlap = 0;
    while (overlap < OVERLAPS_MAX && (taken & (1 << overlap)) !== 0) overlap++;
    if (overlap === OVERLAPS_MAX || this.#topicCount >= topicsMax) {
      if (!subscription.isCut) {
        subscription.isCut = true;
        const why =
          overlap === OVERLAPS_MAX
            ? `${OVERLAPS_MAX} subscriptions take it in`
            : `the connection has ${topicsMax} topics`;
        const message = `topic "${topic.name}" and more are left out: ${why}`;
        this.#tell(new SightlineError('TOPIC_LIMIT_REACHED', message), { id: subscription.id });
      }
      return undefined;
    }
    this.#overlaps.set(topic, taken | (1 << overlap));
    this.#topicCount++;
    return topic.number * OVERLAPS_MAX + overlap;
  }

  #unsubscribe(id: number): void {
    const subscription = this.#subscriptions?.get(id);
    if (subscription === undefined) throw new SightlineError('SUBSCRIPTION_UNKNOWN', `there is no subscription ${id}`);
    this.#leave(subscription);
    this.#enlist();
    this.#outbox!.control({ type: 'unsubscribed', id });
  }

  #enlist(): void {
    const { host } = this.#parts;
    if (this.#wanted !== undefined) host.enlist(this.#wanted, false);
    this.#wanted = undefined;
    // In the order in which they came: it decides by which number a topic is known that several take in.
    for (const { hash } of this.#subscriptions!.values()) this.#wanted = fnv1a(String(hash), this.#wanted);
    if (this.#wanted !== undefined) host.enlist(this.#wanted, true);
  }

  #leave(subscription: OpenSubscription): void {
    this.#subscriptions!.delete(subscription.id);
    subscription.leave();
    for (const feed of subscription.feeds.values()) this.#closeFeed(feed);
    for (const { topic, topicId } of subscription.shared) this.#releaseNumber(topic, topicId);
  }

  #closeFeed(feed: Feed): void {
    const { topic, topicId, reader, isBackfill, subscription } = feed;
    const { feeds } = subscription as OpenSubscription;
    this.#outbox?.remove(feed);
    reader.close();
    this.#closedCounts = addCounts(this.#closedCounts, reader.counts());
    feeds.delete(isBackfill ? -topicId : topicId);
    if (isBackfill) return;
    this.#parts.host.detach(feed);
    this.#releaseNumber(topic, topicId);
  }

  #releaseNumber(topic: Topic, topicId: number): void {
    this.#topicCount--;
    const left = this.#overlaps!.get(topic)! & ~(1 << (topicId % OVERLAPS_MAX));
    if (left === 0) this.#overlaps!.delete(topic);
    else this.#overlaps!.set(topic, left);
  }

  #acknowledge({ id, topic_id: topicId, seq }: t.AckMessage): void {
    const feed = this.#subscriptions?.get(id)?.feeds.get(topicId);
    if (feed === undefined)
      throw new SightlineError('SUBSCRIPTION_UNKNOWN', `subscription ${id} has no topic ${topicId}`);
    const { topic } = feed;
    if (seq > topic.lastSeq) throw new SightlineError('MESSAGE_FIELD_BAD', `seq ${seq} was not sent yet`);
    this.#acknowledged ??= new Map();
    const before = this.#acknowledged.get(topic.name);
    if (before?.epoch === topic.epoch && before.seq >= seq) return;
    this.#acknowledged.delete(topic.name);
    this.#acknowledged.set(topic.name, { epoch: topic.epoch, seq });
    forgetOldest(this.#acknowledged, this.#parts.settings.topicsMax);
  }

  // Publishing.

  #advertise({ alias, topic }: t.AdvertiseMessage): void {
    const { subscriptionsMax } = this.#parts.settings;
    this.#advertised ??= new Map();
    if (!this.#advertised.has(alias) && this.#advertised.size >= subscriptionsMax) {
      throw new SightlineError('TOPIC_LIMIT_REACHED', `the connection has ${subscriptionsMax} aliases already`);
    }
    // Also where it may not be published on: what comes under the alias is refused by the topic's name then.
    this.#advertised.set(alias, topic);
    requireOpenTopic(topic);
  }

  #onPublish(message: t.PublishMessage, bytes: number, nowMs: number): void {
    const { topic, seq } = message;
    const about = seq === undefined ? { topic } : { topic, seq };
    this.#guarded(about, () => {
      if (!this.#mayPublish(1, bytes, nowMs, about)) return;
      requireOpenTopic(topic);
      this.#publish(topic, seq, [
        {
          payload: Payload.of(message.data),
          ...(message.time !== undefined && { timeMs: message.time }),
          ...(message.priority !== undefined && { priority: message.priority }),
          ...(message.ttl_ms !== undefined && { ttlMs: message.ttl_ms }),
        },
      ]);
    });
  }

  #onBatch(data: Buffer, nowMs: number): void {
    const schemaOf = (schemaId: number) => this.#schemas?.get(schemaId);
    const { envelope, messages, plainBytes } = decodePublications(data, schemaOf, decompressors);
    const { sections, count: total } = envelope;
    let from = 0;
    for (const section of sections) {
      const { count } = section;
      const own = sections.length === 1 ? messages : messages.slice(from, from + count);
      from += count;
      this.#onSection(section, own, (plainBytes * count) / total, nowMs);
    }
  }

  /** A batch that cannot be taken apart: each of its sections is refused by name, as far as they can be told. */
  #refuseBatch(error: SightlineError, data: Buffer): void {
    const sections = sectionsOfBatch(data);
    if (sections.length === 0) this.#refuse(error, {});
    for (const section of sections) this.#refuse(error, this.#aboutSection(section));
  }

  #aboutSection({ topicId: alias, firstSeq, count }: BatchSection): About {
    const topic = this.#advertised?.get(alias);
    const isNumbered = Number.isSafeInteger(firstSeq) && firstSeq > 0;
    return { ...(topic === undefined ? { alias } : { topic }), ...(isNumbered && { seq: firstSeq }), count };
  }

  /** What a batch publishes on one topic; its refusal is no reason to refuse the others. */
  #onSection(
    section: BatchSection,
    messages: readonly (TopicInput | SightlineError)[],
    bytes: number,
    nowMs: number,
  ): void {
    const about = this.#aboutSection(section);
    this.#guarded(about, () => {
      const { topic, seq } = about;
      const fault = faultOfSection(section);
      if (fault !== undefined) throw fault;
      if (topic === undefined) {
        throw new SightlineError('ALIAS_UNKNOWN', `alias ${section.topicId} was not advertised`);
      }
      if (!this.#mayPublish(messages.length, bytes, nowMs, about)) return;
      requireOpenTopic(topic);
      this.#publish(topic, seq, messages);
    });
  }

  /** Each message by itself: one that is none is refused alone, but for those whose numbers come after it. */
  #publish(topic: string, firstSeq: number | undefined, inputs: readonly (TopicInput | SightlineError)[]): void {
    this.#countInRound(inputs.length);
    if (firstSeq !== undefined) return this.#publishReliably(topic, firstSeq, inputs);
    let fault: SightlineError | undefined;
    let count = 0;
    for (const input of inputs) {
      if (input instanceof SightlineError) {
        fault ??= input;
        count++;
      } else this.#publishOne(topic, input);
    }
    if (fault !== undefined) this.#refuse(fault, { topic, count });
  }

  /**
   * What was published before is left out, and the client is told up to where all is in: its numbers go from 1, without a gap,
   * so that whatever is below a number in the history is in the history too, unless the client gave it up.
   */
  #publishReliably(topic: string, firstSeq: number, inputs: readonly (TopicInput | SightlineError)[]): void {
    let last = this.#publications?.get(topic) ?? 0;
    const about = { topic, seq: firstSeq, count: inputs.length };
    if (firstSeq > last + 1) return this.#refuseGap(about, last + 1);
    const duplicates = Math.min(inputs.length, last + 1 - firstSeq);
    this.#duplicates += duplicates;
    for (const [i, input] of inputs.entries()) {
      if (i < duplicates) continue;
      if (input instanceof SightlineError) {
        const seq = firstSeq + i;
        this.#refuse(input, { topic, seq });
        const count = inputs.length - i - 1;
        if (count > 0) this.#refuseGap({ topic, seq: seq + 1, count }, seq);
        break;
      }
      this.#publishOne(topic, input);
      this.#remember(topic, ++last);
    }
    if (last > 0) this.#outbox?.confirm(topic, last);
  }

  #publishOne(topic: string, input: TopicInput): void {
    const { topics } = this.#parts.host;
    if (topics.get(topic) === undefined) this.#requireRoomForTopic(topic);
    topics.publish(topic, input, this.#maker);
    this.#published++;
  }

  #refuseGap(about: { topic: string; seq: number; count: number }, expected: number): void {
    const why = `seq ${about.seq} on "${about.topic}" leaves out ${expected}`;
    this.#refuse(new SightlineError('PUBLISH_SEQUENCE_BAD', why), { ...about, expected });
  }

  #remember(topic: string, seq: number): void {
    this.#publications ??= new Map();
    this.#publications.delete(topic);
    this.#publications.set(topic, seq);
    forgetOldest(this.#publications, this.#parts.settings.topicsMax);
  }

  /** The client gives up a number that was refused. Also how it asks for the last one: the answer is the same. */
  #skip({ topic, seq }: t.SkipMessage): void {
    requireOpenTopic(topic);
    const last = this.#publications?.get(topic) ?? 0;
    if (seq > last + 1) return this.#refuseGap({ topic, seq, count: 1 }, last + 1);
    if (seq === last + 1) this.#remember(topic, seq);
    this.#outbox?.confirm(topic, Math.max(last, seq));
  }

  #countInRound(messages: number): void {
    const { host } = this.#parts;
    if (this.#round !== host.round) this.#roundMessages = 0;
    this.#round = host.round;
    this.#roundMessages += messages;
    if (this.#roundMessages > ROUND_MESSAGES && this.#outbox !== undefined) host.holdBack(this.#outbox);
  }

  /** One client must not use up the server's topics. Those that were forgotten count no more. */
  #requireRoomForTopic(topic: string): void {
    const { topicsMax } = this.#parts.settings;
    if (this.#maker.topicsMade < topicsMax) return;
    throw new SightlineError(
      'TOPIC_LIMIT_REACHED',
      `"${topic}" would be more than the ${topicsMax} topics that a client may have made (telemetry.subscribed_topics_max)`,
    );
  }

  #mayPublish(messages: number, bytes: number, nowMs: number, about: About): boolean {
    const { settings, log, onOffence } = this.#parts;
    const before = this.#rate ?? freshRate(settings.rate, nowMs);
    const { state, allowed, penalty, pauseMs } = judgeRate(before, messages, bytes, nowMs, settings.rate);
    this.#rate = state;
    if (!allowed) this.#refusedPublications += messages;
    if (penalty === 'disconnect' || penalty === 'mute') {
      log.write('rate_limited', { lane: 'telemetry', client_id: this.link.clientId, penalty });
    }
    if (penalty === 'disconnect') {
      const socket = this.link.socket!;
      this.link.end(new SightlineError('RATE_EXCEEDED', `more than ${settings.rate.messagesPerS} messages a second`));
      onOffence(socket, this.link.clientId);
      return false;
    }
    if (penalty !== 'none') {
      const message = `publishing faster than ${settings.rate.messagesPerS} messages or ${settings.rate.bytesPerS} bytes a second`;
      this.#outbox?.control({ type: 'notice', reason: 'rate', message, penalty });
    }
    if (penalty === 'slow') this.#pauseReading(pauseMs);
    if (allowed) return true;
    if (about.seq === undefined) this.#refusedUntold += messages;
    if (nowMs - this.#refusalToldMs >= REFUSAL_INTERVAL_MS) this.#tellRefused(nowMs, about);
    return false;
  }

  /** Those with a number come again by themselves; of the others it is told how many there were. */
  #tellRefused(nowMs: number, about: About): void {
    this.#refusalToldMs = nowMs;
    const error = new SightlineError('RATE_EXCEEDED', 'publications are refused for a while');
    if (about.seq !== undefined) return this.#tell(error, about);
    this.#tell(error, { ...about, count: this.#refusedUntold });
    this.#refusedUntold = 0;
  }

  #pauseReading(forMs: number): void {
    const outbox = this.#outbox;
    outbox?.throttle(true);
    clearTimeout(this.#throttle);
    this.#throttle = setTimeout(() => outbox?.throttle(false), forMs);
    this.#throttle.unref();
  }
}

function requireOpenTopic(topic: string): void {
  checkTopic(topic);
  if (isServerTopic(topic))
    throw new SightlineError('TOPIC_FORBIDDEN', `topic "${topic.slice(0, 80)}" is the server's own`);
}

/** Maps keep the order in which keys were set. */
function forgetOldest(map: Map<string, unknown>, sizeMax: number): void {
  if (map.size > sizeMax) map.delete(map.keys().next().value!);
}
