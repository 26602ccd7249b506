import { batchEnd } from '../../flow/batch-size.ts';
import type { RangeReader } from '../../stream/range-reader.ts';
import type { TelemetryMessage, Topic, Topics } from '../../stream/topics.ts';
import type { Part, RangeEncoder } from './encoder.ts';
import type { SocketWriter } from './socket-writer.ts';
import type { Subscription } from './subscribed-topic.ts';
import { topicMessage } from './topic-messages.ts';

/** A subscription that shares. */
export interface QueueMember {
  readonly subscription: Subscription;
  readonly writer: SocketWriter;
  /** The number by which this connection knows the topic; undefined: it has too many. */
  numberOf(topic: Topic): number | undefined;
}

export interface QueueGroupHost {
  readonly topics: Topics;
  readonly encoder: RangeEncoder;
  readonly settings: { readonly batchMessagesMax: number; readonly batchBytesMax: number };
}

interface Joined extends QueueMember {
  /** The numbers of those that it was told of. */
  readonly topics: Map<Topic, number>;
  /** Messages that it was given. */
  given: number;
}

/**
 * Subscriptions of several clients that share the messages of a filter (the protocol's option `group`; a queue group in NATS's terms).
 * Each message goes to one of them: to the one with the fewest unsent bytes, of equals to the one that has had the fewest. The group
 * reads each topic once, in order, with the contract `all`; a message that was given to a member whose socket then breaks is not
 * given to another.
 */
export class QueueGroup {
  readonly #host: QueueGroupHost;
  readonly #onEmpty: () => void;
  readonly #members = new Set<Joined>();
  readonly #readers = new Map<Topic, RangeReader<TelemetryMessage>>();
  readonly #unwatch: () => void;
  /** Topics with something to give out. */
  readonly #dirty = new Set<Topic>();

  /** `onEmpty`: nobody is in the group any more. */
  constructor(host: QueueGroupHost, filter: string, onEmpty: () => void) {
    this.#host = host;
    this.#onEmpty = onEmpty;
    this.#unwatch = host.topics.watch(filter, (topic) => {
      this.#readers.set(topic, topic.stream.subscribeRanges({ contract: { kind: 'all' } }));
    });
  }

  /** Returns how to leave. */
  join(member: QueueMember): () => void {
    // A newcomer starts level with the others, or it would get everything until it has caught up.
    const given = Math.min(...[...this.#members].map((other) => other.given), Infinity);
    const joined: Joined = { ...member, topics: new Map(), given: Number.isFinite(given) ? given : 0 };
    this.#members.add(joined);
    return () => {
      if (!this.#members.delete(joined) || this.#members.size > 0) return;
      this.#unwatch();
      for (const reader of this.#readers.values()) reader.close();
      this.#readers.clear();
      this.#onEmpty();
    };
  }

  /** Something was published to the topic. */
  mark(topic: Topic): void {
    if (this.#readers.has(topic)) this.#dirty.add(topic);
  }

  /** Gives out what waits, as far as members can take it; the rest stays for the next call. */
  flush(nowMs: number): void {
    for (const topic of this.#dirty) {
      const reader = this.#readers.get(topic)!;
      if (!reader.closed && !this.#flushTopic(topic, reader, nowMs)) return;
      this.#dirty.delete(topic);
      if (reader.closed) this.#readers.delete(topic);
    }
  }

  #flushTopic(topic: Topic, reader: RangeReader<TelemetryMessage>, nowMs: number): boolean {
    const { batchMessagesMax, batchBytesMax } = this.#host.settings;
    const bytesBefore = (position: number) => topic.bytesBefore(position);
    for (let span = reader.peek(); span !== undefined; span = reader.peek()) {
      const member = this.#leastLoaded();
      const topicId = member && this.#numberOf(member, topic, span.from);
      if (member === undefined || topicId === undefined) return false;
      const share = Math.min(batchMessagesMax, Math.ceil((span.to - span.from) / this.#members.size));
      const to = batchEnd(span.from, span.from + share, batchBytesMax, bytesBefore);
      const taken = reader.takeRange(to - span.from);
      if (taken === undefined) return true;
      member.given += taken.to - taken.from;
      this.#give(member, { topic, topicId, ...taken }, nowMs);
    }
    return true;
  }

  /** The member is told of the topic before its first message. */
  #numberOf(member: Joined, topic: Topic, seq: number): number | undefined {
    const { subscription, writer, topics } = member;
    const known = topics.get(topic);
    if (known !== undefined) return known;
    const topicId = member.numberOf(topic);
    if (topicId === undefined) return undefined;
    writer.control(topicMessage({ subscription, topic, topicId }, seq, true));
    topics.set(topic, topicId);
    return topicId;
  }

  #give({ subscription, writer }: Joined, part: Part, nowMs: number): void {
    writer.send(this.#host.encoder.encode([part], subscription.format), nowMs);
  }

  #leastLoaded(): Joined | undefined {
    let least: Joined | undefined;
    for (const member of this.#members) {
      if (!member.writer.canTake) continue;
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

function loadOf({ writer }: Joined): number {
  return writer.unsentBytes;
}
