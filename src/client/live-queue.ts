/**
 * A bounded queue read by `for await`: when the reader is slower than the writer the oldest item goes, since in live data
 * the newest is worth most. Items may count for several (`weigh`); one alone is kept, however heavy. One reader.
 */
export class LiveQueue<T> implements AsyncIterableIterator<T> {
  readonly #weightMax: number;
  readonly #onEnd: () => void;
  readonly #weigh: (item: T) => number;
  readonly #items: T[] = [];
  #waiting: { resolve(next: IteratorResult<T>): void; reject(error: Error): void } | undefined;
  #ended = false;
  #error: Error | undefined;
  #weight = 0;
  /** Items that the reader was too slow for, by weight. */
  dropped = 0;

  /** `onEnd` is called once, when the reader stops or the queue is ended. */
  constructor(weightMax: number, onEnd: () => void, weigh: (item: T) => number = () => 1) {
    this.#weightMax = weightMax;
    this.#onEnd = onEnd;
    this.#weigh = weigh;
  }

  /** Weight of the waiting items. */
  get weight(): number {
    return this.#weight;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** The item that has waited longest. */
  get oldest(): T | undefined {
    return this.#items[0];
  }

  /** Would `push` keep an item of this weight without dropping another? */
  hasRoomFor(weight: number): boolean {
    return this.#waiting !== undefined || this.#items.length === 0 || this.#weight + weight <= this.#weightMax;
  }

  push(item: T): void {
    if (this.#ended) return;
    if (this.#waiting) {
      this.#waiting.resolve({ done: false, value: item });
      this.#waiting = undefined;
      return;
    }
    this.#items.push(item);
    this.#weight += this.#weigh(item);
    while (this.#weight > this.#weightMax && this.#items.length > 1) this.dropped += this.#shiftWeight();
  }

  /** Queued items can still be read; then the reader's loop ends, or throws `error`. */
  end(error?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#onEnd();
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (error) waiting?.reject(error);
    else waiting?.resolve({ done: true, value: undefined });
  }

  next(): Promise<IteratorResult<T>> {
    const item = this.#items[0];
    if (item !== undefined) {
      this.#shiftWeight();
      return Promise.resolve({ done: false, value: item });
    }
    if (this.#error) return Promise.reject(this.#error);
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => (this.#waiting = { resolve, reject }));
  }

  return(): Promise<IteratorResult<T>> {
    this.#items.length = 0;
    this.#weight = 0;
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #shiftWeight(): number {
    const weight = this.#weigh(this.#items.shift() as T);
    this.#weight -= weight;
    return weight;
  }
}
