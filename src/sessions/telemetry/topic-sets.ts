import type { Topic } from '../../stream/topics.ts';

/** For each topic those that have to do with it. */
export class TopicSets<T> {
  readonly #sets = new Map<Topic, Set<T>>();
  readonly #none: ReadonlySet<T> = new Set();

  of(topic: Topic): ReadonlySet<T> {
    return this.#sets.get(topic) ?? this.#none;
  }

  all(): IterableIterator<ReadonlySet<T>> {
    return this.#sets.values();
  }

  add(topic: Topic, item: T): void {
    const items = this.#sets.get(topic);
    if (items === undefined) this.#sets.set(topic, new Set([item]));
    else items.add(item);
  }

  remove(topic: Topic, item: T): void {
    const items = this.#sets.get(topic);
    items?.delete(item);
    if (items?.size === 0) this.#sets.delete(topic);
  }
}
