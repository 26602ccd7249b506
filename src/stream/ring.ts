import type { Sample } from '../base/sample.ts';

const SLOTS_MIN = 16;

/** The bounded memory of a stream: the last `capacity` samples by position, O(1) to write and to look up. */
export class Ring<T> {
  readonly capacity: number;
  /** Position that the next sample gets. */
  head = 0;
  /** First position that is still held. */
  oldest = 0;
  /** Position of the newest sample that has a deadline; -1: there was none. */
  lastDeadline = -1;
  /** Grows by doubling up to `capacity`: ten thousand streams with little in each must not cost what full ones do. */
  #slots: (Sample<T> | undefined)[];

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#slots = Array.from({ length: Math.min(capacity, SLOTS_MIN) }, () => undefined);
  }

  /** Writes the sample at `head` and returns the one whose slot it took, if the ring was full. */
  push(sample: Sample<T>): Sample<T> | undefined {
    const evicted = this.head - this.oldest === this.capacity ? this.shift() : undefined;
    if (this.head - this.oldest === this.#slots.length) this.#grow();
    this.#slots[this.head % this.#slots.length] = sample;
    if (sample.deadlineMs !== Infinity) this.lastDeadline = this.head;
    this.head++;
    return evicted;
  }

  /** Takes out the oldest sample; undefined when none is held. */
  shift(): Sample<T> | undefined {
    const sample = this.at(this.oldest);
    if (sample === undefined) return undefined;
    this.#slots[this.oldest % this.#slots.length] = undefined;
    this.oldest++;
    return sample;
  }

  at(position: number): Sample<T> | undefined {
    if (position < this.oldest || position >= this.head) return undefined;
    return this.#slots[position % this.#slots.length];
  }

  /** Takes out everything that is held, oldest first. Positions go on counting. */
  clear(): Sample<T>[] {
    const held: Sample<T>[] = [];
    for (let position = this.oldest; position < this.head; position++) held.push(this.at(position)!);
    this.#slots.fill(undefined);
    this.oldest = this.head;
    return held;
  }

  #grow(): void {
    const length = Math.min(this.capacity, this.#slots.length * 2);
    const slots: (Sample<T> | undefined)[] = Array.from({ length }, () => undefined);
    for (let position = this.oldest; position < this.head; position++) slots[position % length] = this.at(position);
    this.#slots = slots;
  }
}
