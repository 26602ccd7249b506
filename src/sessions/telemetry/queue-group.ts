import type { Clock } from '../../base/clock.ts';
import { batchEnd } from '../../flow/batch-size.ts';
import type { RangeReader } from '../../stream/range-reader.ts';
import type { TelemetryMessage, Topic } from '../../stream/topics.ts';
import type { Part, RangeEncoder } from './encoder.ts';
import type { SocketWriter } from './socket-writer.ts';
import type { Subscription } from './subscribed-topic.ts';
import { topicMessage } from './topic-messages.ts';

/** A subscription that shares. */
export interface QueueMember {
  readonly subscription: Subscription;
  readonly writer: SocketWriter;
}

/** A subscription's place in a group. */
export interface Membership {
  /** The topics of which it takes its share, and the numbers by which its connection knows them. */
  readonly topics: ReadonlyMap<Topic, { readonly topicId: number }>;
  /** Takes its share of the topic from now on, which the connection knows by that number. */
  take(topic: Topic, topicId: number): void;
  /** Its socket has passed everything on. */
  wake(): void;
  leave(): void;
}

export interface QueueGroupHost {
  readonly clock: Clock;
  readonly encoder: RangeEncoder;
  readonly settings: { readonly batchMessagesMax: number; readonly batchBytesMax: number };
}

export interface QueueGroupEvents {
  /** The group reads the topic from now on, or no longer. */
  onTopic(topic: Topic, isRead: boolean): void;
  /** There may be something to give out. */
  onWork(): void;
  /** Nobody is in the group any more. */
  onEmpty(): void;
}

interface Joined extends QueueMember {
  readonly topics: Map<Topic, { readonly topicId: number; isTold: boolean }>;
  /** Messages that it was given. */
  given: number;
}

interface ReadTopic {
  readonly reader: RangeReader<TelemetryMessage>;
  /** That take their share of it. */
  members: number;
}

/**
 * Subscriptions of several clients that share the messages of a filter (the protocol's option `group`; a queue group in NATS's terms).
 * Each message goes to one of them: to the one with the fewest unsent bytes, of equals to the one that has had the fewest. The group
 * reads each topic once, in order, with the contract `all`, and only topics that a member has among its own, so that the bound of a
 * client's topics is one of the work that its groups make. A message that was given to a member whose socket then breaks is not
 * given to another.
 */
export class QueueGroup {
  readonly #host: QueueGroupHost;
  readonly #events: QueueGroupEvents;
  readonly #members = new Set<Joined>();
  readonly #topics = new Map<Topic, ReadTopic>();
  /** Topics with something to give out. */
  readonly #dirty = new Set<Topic>();

  constructor(host: QueueGroupHost, events: QueueGroupEvents) {
    this.#host = host;
    this.#events = events;
  }

  join(member: QueueMember): Membership {
    // A newcomer starts level with the others, or it would get everything until it has caught up.
    const given = Math.min(...[...this.#members].map((other) => other.given), Infinity);
    const joined: Joined = { ...member, topics: new Map(), given: Number.isFinite(given) ? given : 0 };
    this.#members.add(joined);
    return {
      topics: joined.topics,
      take: (topic, topicId) => this.#take(joined, topic, topicId),
      wake: () => {
        if (this.#dirty.size > 0) this.#events.onWork();
      },
      leave: () => this.#leave(joined),
    };
  }

  /** Something was published to the topic, which the group reads. */
  mark(topic: Topic): void {
    this.#dirty.add(topic);
    this.#events.onWork();
  }

  /**
   * Gives out what waits until a moment, as far as members can take it; the rest stays until one can take more. Returns the time.
   */
  flush(startMs: number, untilMs: number): number {
    let nowMs = startMs;
    for (const topic of this.#dirty) {
      if (nowMs >= untilMs) {
        this.#events.onWork();
        break;
      }
      if (this.#flushTopic(topic, this.#topics.get(topic)!.reader, nowMs)) this.#dirty.delete(topic);
      else if (!this.#canAnyTake()) break;
      nowMs = this.#host.clock.now();
    }
    return nowMs;
  }

  #take(member: Joined, topic: Topic, topicId: number): void {
    member.topics.set(topic, { topicId, isTold: false });
    const read = this.#topics.get(topic);
    if (read !== undefined) {
      read.members++;
      return;
    }
    const reader = topic.stream.subscribeRanges({ contract: { kind: 'all' } });
    this.#topics.set(topic, { reader, members: 1 });
    this.#events.onTopic(topic, true);
  }

  #leave(member: Joined): void {
    if (!this.#members.delete(member)) return;
    for (const topic of member.topics.keys()) {
      const read = this.#topics.get(topic)!;
      if (--read.members > 0) continue;
      read.reader.close();
      this.#topics.delete(topic);
      this.#dirty.delete(topic);
      this.#events.onTopic(topic, false);
    }
    if (this.#members.size === 0) this.#events.onEmpty();
    else if (this.#dirty.size > 0) this.#events.onWork();
  }

  #flushTopic(topic: Topic, reader: RangeReader<TelemetryMessage>, nowMs: number): boolean {
    const { batchMessagesMax, batchBytesMax } = this.#host.settings;
    const bytesBefore = (position: number) => topic.bytesBefore(position);
    for (let span = reader.peek(); span !== undefined; span = reader.peek()) {
      const member = this.#leastLoaded(topic);
      if (member === undefined) return false;
      const topicId = numberOf(member, topic, span.from);
      const share = Math.min(batchMessagesMax, Math.ceil((span.to - span.from) / this.#members.size));
      const to = batchEnd(span.from, span.from + share, batchBytesMax, bytesBefore);
      const taken = reader.takeRange(to - span.from);
      if (taken === undefined) return true;
      member.given += taken.to - taken.from;
      this.#give(member, { topic, topicId, ...taken }, nowMs);
    }
    return true;
  }

  #give({ subscription, writer }: Joined, part: Part, nowMs: number): void {
    writer.send(this.#host.encoder.encode([part], subscription.format), nowMs);
  }

  #canAnyTake(): boolean {
    for (const { writer } of this.#members) if (writer.canTake) return true;
    return false;
  }

  #leastLoaded(topic: Topic): Joined | undefined {
    let least: Joined | undefined;
    for (const member of this.#members) {
      if (!member.writer.canTake || !member.topics.has(topic)) continue;
      if (
        least === undefined ||
        loadOf(member) < loadOf(least) ||
        (loadOf(member) === loadOf(least) && member.given < least.given)
      ) {
        least = member;
      }
    }
    return least;
  }
}

/** The member is told of the topic before its first message. */
function numberOf({ subscription, writer, topics }: Joined, topic: Topic, seq: number): number {
  const taken = topics.get(topic)!;
  const { topicId } = taken;
  if (!taken.isTold) {
    taken.isTold = true;
    writer.control(topicMessage({ subscription, topic, topicId }, seq, true));
  }
  return topicId;
}

function loadOf({ writer }: Joined): number {
  return writer.unsentBytes;
}
