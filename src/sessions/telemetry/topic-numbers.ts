import type { Topic } from '../../stream/topics.ts';

/** Subscriptions of one connection that may take in the same topic: a topic's number on the wire holds which one it is. */
const OVERLAPS_MAX = 16;
const ALL_TAKEN = (1 << OVERLAPS_MAX) - 1;

/**
 * The numbers by which one connection knows its topics. The first subscription to a topic has the same number on every
 * connection, so that it gets the same bytes.
 */
export class TopicNumbers {
  readonly #topicsMax: number;
  /** By topic: which of its numbers are taken, bit by bit. */
  readonly #taken = new Map<Topic, number>();
  #count = 0;

  constructor(topicsMax: number) {
    this.#topicsMax = topicsMax;
  }

  get count(): number {
    return this.#count;
  }

  /** The topic can have one more; `refusalOf` says why not. */
  hasRoom(topic: Topic): boolean {
    return this.#count < this.#topicsMax && this.#taken.get(topic) !== ALL_TAKEN;
  }

  /** Only where there is room. */
  take(topic: Topic): number {
    const taken = this.#taken.get(topic) ?? 0;
    let overlap = 0;
    while ((taken & (1 << overlap)) !== 0) overlap++;
    this.#taken.set(topic, taken | (1 << overlap));
    this.#count++;
    return topic.number * OVERLAPS_MAX + overlap;
  }

  /** Why the topic gets no number. */
  refusalOf(topic: Topic): string {
    return this.#taken.get(topic) === ALL_TAKEN
      ? `${OVERLAPS_MAX} subscriptions take it in`
      : `the connection has ${this.#topicsMax} topics`;
  }

  release(topic: Topic, topicId: number): void {
    this.#count--;
    const left = this.#taken.get(topic)! & ~(1 << (topicId % OVERLAPS_MAX));
    if (left === 0) this.#taken.delete(topic);
    else this.#taken.set(topic, left);
  }
}

/** It is the number that a topic has for most connections. */
export function isCommonNumber(topicId: number): boolean {
  return topicId % OVERLAPS_MAX === 0;
}
