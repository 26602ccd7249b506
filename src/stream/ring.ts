import type { Sample } from '../base/sample.ts';

/** The bounded memory of a stream: the last `capacity` samples by position, O(1) to write and to look up. */
export class Ring<T> {
  readonly capacity: number;
  /** Position that the next sample gets. */
  head = 0;
  /** First position that is still held. */
  oldest = 0;
  readonly #slots: (Sample<T> | undefined)[];

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#slots = Array.from({ length: capacity }, () => undefined);
  }

  /** Writes the sample at `head` and returns the one whose slot it took, if the ring was full. */
  push(sample: Sample<T>): Sample<T> | undefined {
    const slot = this.head % this.capacity;
    const evicted = this.#slots[slot];
    this.#slots[slot] = sample;
    this.head++;
    if (evicted !== undefined) this.oldest++;
    return evicted;
  }

  at(position: number): Sample<T> | undefined {
    if (position < this.oldest || position >= this.head) return undefined;
    return this.#slots[position % this.capacity];
  }

  /** Takes out everything that is held, oldest first. Positions go on counting. */
  clear(): Sample<T>[] {
    const held: Sample<T>[] = [];
    for (let position = this.oldest; position < this.head; position++) held.push(this.at(position)!);
    this.#slots.fill(undefined);
    this.oldest = this.head;
    return held;
  }
}
