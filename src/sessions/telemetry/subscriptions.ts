import { SightlineError } from '../../base/errors.ts';
import { fnv1a } from '../../base/hash.ts';
import { textBytes } from '../../base/text-bytes.ts';
import { ChargedMap } from '../../fences/charged-map.ts';
import type * as t from '../../protocol/telemetry.ts';
import { matches } from '../../protocol/topic.ts';
import type { RangeReader } from '../../stream/range-reader.ts';
import { addCounts, NO_COUNTS } from '../../stream/reader-counts.ts';
import type { Contract, ReaderCounts } from '../../stream/reader.ts';
import type { TelemetryMessage, Topic, Topics } from '../../stream/topics.ts';
import {
  BACKFILL_BYTES,
  positionBytes,
  SHARED_TOPIC_BYTES,
  sinceBytes,
  SUBSCRIBED_TOPIC_BYTES,
  SUBSCRIPTION_BYTES,
} from '../session-bytes.ts';
import type { IndividualDelivery } from './fanout-groups.ts';
import type { Peers } from './peers.ts';
import type { Membership } from './queue-group.ts';
import type { QueueGroups } from './queue-groups.ts';
import type { SessionClient } from './session-client.ts';
import { decideStart, type Position } from './start.ts';
import { SubscribedTopic, type Subscription } from './subscribed-topic.ts';
import { topicMessage } from './topic-messages.ts';
import { isCommonNumber, TopicNumbers } from './topic-numbers.ts';
import { wireFormatOf } from './wire-format.ts';

/** Queue groups that a connection may be in. */
const GROUPS_MAX = 100;

export interface SubscriptionsHost {
  readonly topics: Topics;
  readonly rounds: IndividualDelivery;
  readonly queueGroups: QueueGroups;
  readonly peers: Peers;
  readonly settings: { readonly subscriptionsMax: number; readonly topicsMax: number };
}

interface OpenSubscription extends Subscription {
  readonly topics: Map<number, SubscribedTopic>;
  readonly hz: number | undefined;
  readonly ttlMs: number | undefined;
  /** The last message that the client has of topics that have not been taken in yet. */
  since: ChargedMap<string, Position> | undefined;
  /** In its queue group. */
  membership: Membership | undefined;
  /** Of all that decides which bytes it gets. */
  readonly hash: number;
  /** What is charged for it, without its topics. */
  readonly bytes: number;
  leave: () => void;
  /** The client was told that there are more topics than it may have. */
  isCut: boolean;
}

/** The subscriptions of one client. They end with the connection; what was acknowledged and the accounts are those of the session. */
export class Subscriptions {
  readonly #host: SubscriptionsHost;
  readonly #client: SessionClient;
  readonly #subscriptions = new Map<number, OpenSubscription>();
  readonly #numbers: TopicNumbers;
  /** Hash of all subscriptions: connections that have the same ones get the same batches. */
  #hash: number | undefined;
  /** By topic: what `reliable` subscriptions have taken over. */
  #acknowledged: ChargedMap<string, Position> | undefined;
  #closedCounts = NO_COUNTS;

  constructor(host: SubscriptionsHost, client: SessionClient) {
    this.#host = host;
    this.#client = client;
    this.#numbers = new TopicNumbers(host.settings.topicsMax);
  }

  get size(): number {
    return this.#subscriptions.size;
  }

  get topics(): number {
    return this.#numbers.count;
  }

  /** Connections that have the same subscriptions, this one among them. */
  get peers(): number {
    return this.#hash === undefined ? 1 : this.#host.peers.of(this.#hash);
  }

  /** Of all readers that the client has had. */
  accounts(): ReaderCounts {
    let sum = this.#closedCounts;
    for (const { topics } of this.#subscriptions.values()) {
      for (const { reader } of topics.values()) sum = addCounts(sum, reader.counts());
    }
    return sum;
  }

  subscribe(message: t.SubscribeMessage): void {
    const { id, filter, contract, group } = message;
    const { topics, settings } = this.#host;
    const { outbox, protocol, memory } = this.#client;
    this.#client.requireTopic('subscribe', filter);
    if (this.#subscriptions.has(id))
      throw new SightlineError('MESSAGE_FIELD_BAD', `id ${id} is that of another subscription`);
    if (this.#subscriptions.size >= settings.subscriptionsMax) {
      throw new SightlineError(
        'SUBSCRIPTION_LIMIT_REACHED',
        `there are ${settings.subscriptionsMax} subscriptions already`,
      );
    }
    if (group !== undefined && (outbox!.memberships?.size ?? 0) >= GROUPS_MAX) {
      throw new SightlineError('SUBSCRIPTION_LIMIT_REACHED', `the connection is in ${GROUPS_MAX} groups already`);
    }
    const format = wireFormatOf(protocol, message.codecs);
    const subscription: OpenSubscription = {
      id,
      filter,
      contract,
      hz: message.hz,
      ttlMs: message.ttl_ms,
      format,
      hash: fnv1a([filter, contract, format.key, group].join('\n')),
      topics: new Map(),
      membership: undefined,
      bytes: SUBSCRIPTION_BYTES + textBytes(filter) + textBytes(group ?? ''),
      since: undefined,
      leave: () => {},
      isCut: false,
    };
    memory.charge('session', subscription.bytes);
    try {
      this.#keepSince(subscription, message.since);
    } catch (thrown) {
      this.#release(subscription);
      throw thrown;
    }
    this.#subscriptions.set(id, subscription);
    this.#updateHash();
    outbox!.writer.control({ type: 'subscribed', id, filter });
    if (group !== undefined) this.#join(subscription, group);
    subscription.leave = topics.watch(filter, (topic) => this.#takeIn(subscription, topic));
    if (subscription.since?.size === 0) subscription.since = undefined;
  }

  unsubscribe(id: number): void {
    const subscription = this.#subscriptions.get(id);
    if (subscription === undefined) throw new SightlineError('SUBSCRIPTION_UNKNOWN', `there is no subscription ${id}`);
    this.#leave(subscription);
    this.#updateHash();
    this.#client.outbox!.writer.control({ type: 'unsubscribed', id });
  }

  acknowledge({ id, topic_id: topicId, seq }: t.AckMessage): void {
    const subscribed = this.#subscriptions.get(id)?.topics.get(topicId);
    if (subscribed === undefined)
      throw new SightlineError('SUBSCRIPTION_UNKNOWN', `subscription ${id} has no topic ${topicId}`);
    const { topic } = subscribed;
    if (seq > topic.lastSeq) throw new SightlineError('MESSAGE_FIELD_BAD', `seq ${seq} was not sent yet`);
    this.#acknowledged ??= new ChargedMap(this.#client.memory, positionBytes);
    const before = this.#acknowledged.get(topic.name);
    if (before?.epoch === topic.epoch && before.seq >= seq) return;
    this.#acknowledged.set(topic.name, { epoch: topic.epoch, seq });
    this.#acknowledged.forgetOldest(this.#host.settings.topicsMax);
  }

  /** The session has lost its socket; it still has its outbox. */
  onLost(): void {
    for (const subscription of this.#subscriptions.values()) this.#leave(subscription);
    this.#updateHash();
  }

  /** Ends one topic of a subscription. */
  closeTopic(subscribed: SubscribedTopic): void {
    const { topic, topicId, reader, isBackfill, subscription } = subscribed;
    const { topics } = subscription as OpenSubscription;
    this.#client.outbox?.remove(subscribed);
    reader.close();
    this.#closedCounts = addCounts(this.#closedCounts, reader.counts());
    topics.delete(isBackfill ? -topicId : topicId);
    if (isBackfill) return this.#client.memory.release('session', BACKFILL_BYTES);
    this.#host.rounds.detach(subscribed);
    this.#releaseNumber(topic, topicId, SUBSCRIBED_TOPIC_BYTES);
  }

  #join(subscription: OpenSubscription, group: string): void {
    const outbox = this.#client.outbox!;
    subscription.membership = this.#host.queueGroups.join(group, { subscription, writer: outbox.writer });
    outbox.memberships ??= new Set();
    outbox.memberships.add(subscription.membership);
  }

  /** A topic belongs to a subscription from now on. */
  #takeIn(subscription: OpenSubscription, topic: Topic): void {
    const { contract, membership } = subscription;
    if (membership !== undefined) {
      if (!this.#hasRoom(subscription, topic, SHARED_TOPIC_BYTES)) return;
      return membership.take(topic, this.#takeNumber(topic, SHARED_TOPIC_BYTES));
    }
    if (!this.#hasRoom(subscription, topic, SUBSCRIBED_TOPIC_BYTES + BACKFILL_BYTES)) return;
    const outbox = this.#client.outbox!;
    const { epoch, stream } = topic;
    const since = this.#takeSince(subscription, topic);
    const start = decideStart(contract, { epoch, oldest: stream.oldest, head: stream.head }, since);
    const backfillBytes = start.backfill === undefined ? 0 : BACKFILL_BYTES;
    const topicId = this.#takeNumber(topic, SUBSCRIBED_TOPIC_BYTES + backfillBytes);
    const subscribed = this.#open(subscription, topic, topicId, start.from);
    subscription.topics.set(topicId, subscribed);
    outbox.add(subscribed);
    outbox.writer.control(topicMessage(subscribed, start.from, start.recovered));
    this.#host.rounds.attach(subscribed);
    if (start.backfill !== undefined) {
      const missed = this.#open(subscription, topic, topicId, start.backfill.from, start.backfill.to);
      subscription.topics.set(-topicId, missed);
      outbox.add(missed);
      outbox.activate(missed);
    }
    outbox.activate(subscribed);
    this.#host.rounds.enqueue(outbox);
  }

  /** `until`: for a backfill. */
  #open(subscription: OpenSubscription, topic: Topic, topicId: number, from: number, until?: number): SubscribedTopic {
    const { contract, ttlMs } = subscription;
    const isBackfill = until !== undefined;
    return new SubscribedTopic({
      subscription,
      sender: this.#client.outbox!,
      topic,
      topicId,
      isBackfill,
      needsOwnBatches:
        isBackfill ||
        contract === 'latest' ||
        contract === 'sampled' ||
        ttlMs !== undefined ||
        !isCommonNumber(topicId),
      reader: readerOf(subscription, topic, from, until),
    });
  }

  /** Keeps what the client has of topics that the subscription may come to. Throws MEMORY_LIMIT_REACHED. */
  #keepSince(subscription: OpenSubscription, since: readonly t.TopicPosition[] | undefined): void {
    if (since === undefined) return;
    subscription.since = new ChargedMap(this.#client.memory, sinceBytes);
    for (const { topic, epoch, seq } of since) {
      if (matches(subscription.filter, topic)) subscription.since.set(topic, { epoch, seq });
    }
  }

  /** The last message of the topic that the client has, as far as anybody knows. It is asked once for each topic. */
  #takeSince({ since, contract }: OpenSubscription, topic: Topic): Position | undefined {
    const told = since?.get(topic.name);
    if (told !== undefined) since!.delete(topic.name);
    const acknowledged = contract === 'reliable' ? this.#acknowledged?.get(topic.name) : undefined;
    // Who says what it has has nothing of a topic that it leaves out: the topic came while it was away.
    return told ?? acknowledged ?? (since && { epoch: topic.epoch, seq: 0 });
  }

  /**
   * Whether the topic may belong to the subscription. If not, the client is told so once for each subscription: whoever makes the topic must not
   * pay for all that cannot have it.
   */
  #hasRoom(subscription: OpenSubscription, topic: Topic, bytes: number): boolean {
    const { memory } = this.#client;
    const isNumbered = this.#numbers.hasRoom(topic);
    if (isNumbered && memory.hasRoom('session', bytes)) return true;
    if (subscription.isCut) return false;
    subscription.isCut = true;
    const { code, message } = isNumbered
      ? memory.refuse('session', bytes)
      : new SightlineError('TOPIC_LIMIT_REACHED', this.#numbers.refusalOf(topic));
    const reason = new SightlineError(code, `topic "${topic.name}" and more are left out: ${message}`);
    this.#client.tell(reason, { id: subscription.id });
    return false;
  }

  #takeNumber(topic: Topic, bytes: number): number {
    this.#client.memory.add('session', bytes);
    return this.#numbers.take(topic);
  }

  #releaseNumber(topic: Topic, topicId: number, bytes: number): void {
    this.#numbers.release(topic, topicId);
    this.#client.memory.release('session', bytes);
  }

  #updateHash(): void {
    const { peers } = this.#host;
    if (this.#hash !== undefined) peers.remove(this.#hash);
    this.#hash = undefined;
    // In the order in which they came: it decides by which number a topic is known that several take in.
    for (const { hash } of this.#subscriptions.values()) this.#hash = fnv1a(String(hash), this.#hash);
    if (this.#hash !== undefined) peers.add(this.#hash);
  }

  #release({ bytes, since }: OpenSubscription): void {
    since?.clear();
    this.#client.memory.release('session', bytes);
  }

  #leave(subscription: OpenSubscription): void {
    this.#subscriptions.delete(subscription.id);
    subscription.leave();
    for (const subscribed of subscription.topics.values()) this.closeTopic(subscribed);
    this.#release(subscription);
    const { membership } = subscription;
    if (membership === undefined) return;
    this.#client.outbox!.memberships!.delete(membership);
    membership.leave();
    for (const [topic, { topicId }] of membership.topics) this.#releaseNumber(topic, topicId, SHARED_TOPIC_BYTES);
  }
}

function readerOf(
  { contract, hz, ttlMs }: OpenSubscription,
  { stream }: Topic,
  from: number,
  until: number | undefined,
): RangeReader<TelemetryMessage> {
  const kind: Contract =
    contract === 'latest'
      ? { kind: 'latest' }
      : contract === 'sampled'
        ? { kind: 'sampled', hz: hz! }
        : { kind: 'all' };
  return stream.subscribeRanges({
    contract: kind,
    from,
    ...(until !== undefined && { until }),
    ...(ttlMs !== undefined && { ttlMs }),
  });
}
