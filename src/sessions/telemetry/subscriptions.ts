import { SightlineError } from '../../base/errors.ts';
import { fnv1a } from '../../base/hash.ts';
import type * as t from '../../protocol/telemetry.ts';
import type { RangeReader } from '../../stream/range-reader.ts';
import { addCounts, NO_COUNTS } from '../../stream/reader-counts.ts';
import type { Contract, ReaderCounts } from '../../stream/reader.ts';
import type { TelemetryMessage, Topic, Topics } from '../../stream/topics.ts';
import type { IndividualDelivery } from './fanout-groups.ts';
import type { Peers } from './peers.ts';
import type { Membership } from './queue-group.ts';
import type { QueueGroups } from './queue-groups.ts';
import { forgetOldest, type SessionClient } from './session-client.ts';
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
  readonly message: t.SubscribeMessage;
  readonly since: ReadonlyMap<string, Position> | undefined;
  /** In its queue group. */
  membership: Membership | undefined;
  /** Of all that decides which bytes it gets. */
  readonly hash: number;
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
  #acknowledged: Map<string, Position> | undefined;
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
    const { outbox, protocol } = this.#client;
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
      message,
      format,
      hash: fnv1a([filter, contract, format.key, group].join('\n')),
      topics: new Map(),
      membership: undefined,
      since: message.since && new Map(message.since.map(({ topic, epoch, seq }) => [topic, { epoch, seq }])),
      leave: () => {},
      isCut: false,
    };
    this.#subscriptions.set(id, subscription);
    this.#updateHash();
    outbox!.writer.control({ type: 'subscribed', id, filter });
    if (group !== undefined) this.#join(subscription, group);
    subscription.leave = topics.watch(filter, (topic) => this.#takeIn(subscription, topic));
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
    this.#acknowledged ??= new Map();
    const before = this.#acknowledged.get(topic.name);
    if (before?.epoch === topic.epoch && before.seq >= seq) return;
    this.#acknowledged.delete(topic.name);
    this.#acknowledged.set(topic.name, { epoch: topic.epoch, seq });
    forgetOldest(this.#acknowledged, this.#host.settings.topicsMax);
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
    if (isBackfill) return;
    this.#host.rounds.detach(subscribed);
    this.#numbers.release(topic, topicId);
  }

  #join(subscription: OpenSubscription, group: string): void {
    const outbox = this.#client.outbox!;
    subscription.membership = this.#host.queueGroups.join(group, { subscription, writer: outbox.writer });
    outbox.memberships ??= new Set();
    outbox.memberships.add(subscription.membership);
  }

  /** A topic belongs to a subscription from now on. */
  #takeIn(subscription: OpenSubscription, topic: Topic): void {
    const outbox = this.#client.outbox!;
    const topicId = this.#takeNumber(subscription, topic);
    if (topicId === undefined) return;
    const { contract, membership } = subscription;
    if (membership !== undefined) return membership.take(topic, topicId);
    const { epoch, stream } = topic;
    const since = this.#sinceOf(subscription, topic);
    const start = decideStart(contract, { epoch, oldest: stream.oldest, head: stream.head }, since);
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
    const { contract, message } = subscription;
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
        message.ttl_ms !== undefined ||
        !isCommonNumber(topicId),
      reader: readerOf(message, topic, from, until),
    });
  }

  /** The last message of the topic that the client has, as far as anybody knows. */
  #sinceOf({ since, contract }: OpenSubscription, topic: Topic): Position | undefined {
    const acknowledged = contract === 'reliable' ? this.#acknowledged?.get(topic.name) : undefined;
    // Who says what it has has nothing of a topic that it leaves out: the topic came while it was away.
    return since?.get(topic.name) ?? acknowledged ?? (since && { epoch: topic.epoch, seq: 0 });
  }

  /** Undefined: there are too many topics. The client is told so once for each subscription. */
  #takeNumber(subscription: OpenSubscription, topic: Topic): number | undefined {
    const topicId = this.#numbers.take(topic);
    if (topicId === undefined && !subscription.isCut) {
      subscription.isCut = true;
      const message = `topic "${topic.name}" and more are left out: ${this.#numbers.refusalOf(topic)}`;
      this.#client.tell(new SightlineError('TOPIC_LIMIT_REACHED', message), { id: subscription.id });
    }
    return topicId;
  }

  #updateHash(): void {
    const { peers } = this.#host;
    if (this.#hash !== undefined) peers.remove(this.#hash);
    this.#hash = undefined;
    // In the order in which they came: it decides by which number a topic is known that several take in.
    for (const { hash } of this.#subscriptions.values()) this.#hash = fnv1a(String(hash), this.#hash);
    if (this.#hash !== undefined) peers.add(this.#hash);
  }

  #leave(subscription: OpenSubscription): void {
    this.#subscriptions.delete(subscription.id);
    subscription.leave();
    for (const subscribed of subscription.topics.values()) this.closeTopic(subscribed);
    const { membership } = subscription;
    if (membership === undefined) return;
    this.#client.outbox!.memberships!.delete(membership);
    membership.leave();
    for (const [topic, { topicId }] of membership.topics) this.#numbers.release(topic, topicId);
  }
}

function readerOf(
  { contract, hz, ttl_ms: ttlMs }: t.SubscribeMessage,
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
