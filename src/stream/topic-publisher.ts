import type { MemoryAccount } from '../fences/memory-ledger.ts';

/**
 * What a message in a topic's ring takes beside the bytes of its payload, and a topic beside its messages: objects of V8, places in
 * rings and maps, backing stores of typed arrays. Measured in Node 24 by `topics-memory.test.ts`, which holds them to a factor of 1.5.
 */
export const MESSAGE_BYTES = 460;
const TOPIC_BYTES = 2_400;

/** A topic without messages. */
export function topicBytes(name: string): number {
  return TOPIC_BYTES + name.length;
}

/** What one publisher makes one topic keep. Messages point to it, so that what they take can change hands. */
export class Holding {
  bytes = 0;
  publisher: TopicPublisher;
  readonly topic: object;

  constructor(publisher: TopicPublisher, topic: object) {
    this.publisher = publisher;
    this.topic = topic;
  }

  add(bytes: number): void {
    if (this.bytes === 0) this.publisher.keep(this);
    this.bytes += bytes;
    this.publisher.memory.add('history', bytes);
  }

  release(bytes: number): void {
    this.bytes -= bytes;
    this.publisher.memory.release('history', bytes);
    if (this.bytes === 0) this.publisher.forget(this);
  }
}

/** Who publishes: how many topics it has made, and what it makes them keep. */
export class TopicPublisher {
  /** Of the topics that are there. */
  topicsMade = 0;
  readonly memory: MemoryAccount;
  /** By topic; what was taken over from others by itself, since both may hold something of one topic. */
  readonly #holdings = new Map<object, Holding>();

  constructor(memory: MemoryAccount) {
    this.memory = memory;
  }

  holdingOf(topic: object): Holding {
    return this.#holdings.get(topic) ?? new Holding(this, topic);
  }

  /** Those that hold at least the mean. What was looked at comes last the next time, so that small ones are not passed over and over. */
  *larger(): Generator<Holding> {
    const mean = this.memory.bytes('history') / this.#holdings.size;
    let left = this.#holdings.size;
    // One iterator: each new one would pass over all places that are free by now.
    for (const [key, holding] of this.#holdings) {
      if (left-- === 0) return;
      this.#holdings.delete(key);
      this.#holdings.set(key, holding);
      if (holding.bytes >= mean) yield holding;
    }
  }

  /** It begins to hold something. */
  keep(holding: Holding): void {
    this.#holdings.set(this.#holdings.has(holding.topic) ? holding : holding.topic, holding);
  }

  /** It holds nothing any more. */
  forget(holding: Holding): void {
    if (!this.#holdings.delete(holding)) this.#holdings.delete(holding.topic);
  }

  /** Everything is another one's from now on. */
  leaveTo(heir: TopicPublisher): void {
    for (const holding of this.#holdings.values()) {
      this.memory.release('history', holding.bytes);
      heir.memory.add('history', holding.bytes);
      holding.publisher = heir;
      heir.#holdings.set(holding, holding);
    }
    this.#holdings.clear();
    heir.topicsMade += this.topicsMade;
    this.topicsMade = 0;
  }
}
