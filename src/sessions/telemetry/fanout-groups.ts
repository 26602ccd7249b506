import type { Clock } from '../../base/clock.ts';
import type { Turns } from '../../fences/turns.ts';
import type { Topic } from '../../stream/topics.ts';
import { FanoutGroup, type FanoutGroupHost, type FanoutMember } from './fanout-group.ts';
import { FlushList } from './flush-list.ts';
import type { Sender, SubscribedTopic } from './subscribed-topic.ts';
import { TopicSets } from './topic-sets.ts';

export interface FanoutGroupsHost extends Omit<FanoutGroupHost, 'leave'> {
  readonly clock: Clock;
  readonly turns: Turns;
}

/** Where connections that are in no group get what they want. */
export interface IndividualDelivery {
  /** The topic's sender is called when something is published to it. */
  attach(subscribed: SubscribedTopic): void;
  detach(subscribed: SubscribedTopic): void;
  /** Has `flush` called soon. */
  enqueue(sender: Sender): void;
}

/** The fan-out groups of a lane: which connections are in which, and which groups have something to send. */
export class FanoutGroups {
  /** Groups that have something to send in this round. */
  readonly work: FlushList<FanoutGroup>;
  readonly #host: FanoutGroupHost;
  readonly #individuals: IndividualDelivery;
  /** By what its members want: the last group that was made for it, which may have room. */
  readonly #newest = new Map<string, FanoutGroup>();
  readonly #groups = new TopicSets<FanoutGroup>();
  /** Connections that may join a group after this round. */
  readonly #offered = new Set<FanoutMember>();

  constructor(host: FanoutGroupsHost, individuals: IndividualDelivery) {
    this.#host = { encoder: host.encoder, settings: host.settings, leave: (member) => this.leave(member) };
    const { clock, turns } = host;
    this.work = new FlushList({
      clock,
      isLight: (group, nowMs) => group.times.some((time) => turns.isLight(time, nowMs)),
      flush: (group, nowMs) => group.flush(nowMs),
      charge: ({ times }, ms, nowMs) => {
        for (const time of times) turns.charge(time, ms / times.length, nowMs);
      },
    });
    this.#individuals = individuals;
  }

  get all(): ReadonlySet<FanoutGroup> {
    const all = new Set<FanoutGroup>();
    for (const groups of this.#groups.all()) for (const group of groups) all.add(group);
    return all;
  }

  /** The connection has kept up for a while. */
  offer(member: FanoutMember): void {
    this.#offered.add(member);
  }

  /** Between rounds: all connections that keep up are at the end of the last one. */
  joinOffered(nowMs: number): void {
    for (const member of this.#offered) this.#join(member, nowMs);
    this.#offered.clear();
  }

  /** The connection is sent to individually from now on. */
  leave(member: FanoutMember): void {
    this.#offered.delete(member);
    const { group } = member;
    if (group === undefined) return;
    for (const subscribed of member.topics) this.#individuals.attach(subscribed);
    if (group.leave(member)) this.#individuals.enqueue(member.outbox);
    if (group.size > 0) return;
    this.work.delete(group);
    if (this.#newest.get(group.key) === group) this.#newest.delete(group.key);
    for (const topic of group.topics) this.#groups.remove(topic, group);
  }

  /** All connections that get the topic from a group are sent to individually from now on. */
  dissolve(topic: Topic): void {
    for (const group of this.#groups.of(topic)) for (const member of group.members) this.leave(member);
  }

  /** In this round the topic is sent up to its present head. */
  mark(topic: Topic, nowMs: number): void {
    for (const group of this.#groups.of(topic)) {
      group.mark(topic, topic.stream.head);
      this.work.add(group, nowMs);
    }
  }

  /** The same, in the middle of a round, for groups with a light member. */
  markLight(topic: Topic, nowMs: number): void {
    for (const group of this.#groups.of(topic)) {
      if (this.work.addLight(group, nowMs)) group.mark(topic, topic.stream.head);
    }
  }

  #join(member: FanoutMember, nowMs: number): void {
    const { key } = member;
    // What this round has written is still in an encrypted socket. The next one leaves out whoever has not taken it.
    if (key === undefined || member.group !== undefined || !member.outbox.mayGoOn(nowMs)) return;
    if (this.#newest.get(key)?.join(member) !== true) {
      const group = new FanoutGroup(this.#host, key, member.topics);
      if (!group.join(member)) return;
      this.#newest.set(key, group);
      for (const topic of group.topics) this.#groups.add(topic, group);
    }
    for (const subscribed of member.topics) this.#individuals.detach(subscribed);
  }
}
