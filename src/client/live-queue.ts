/**
 * A bounded queue read by `for await`: when the reader is slower than the writer the oldest item goes, since in live video
 * the newest is worth most. One reader.
 */
export class LiveQueue<T> implements AsyncIterableIterator<T> {
  readonly #itemsMax: number;
  readonly #onEnd: () => void;
  readonly #items: T[] = [];
  #waiting: { resolve(next: IteratorResult<T>): void; reject(error: Error): void } | undefined;
  #ended = false;
  #error: Error | undefined;
  /** Items that the reader was too slow for. */
  dropped = 0;

  /** `onEnd` is called once, when the reader stops or the queue is ended. */
  constructor(itemsMax: number, onEnd: () => void) {
    this.#itemsMax = itemsMax;
    this.#onEnd = onEnd;
  }

  push(item: T): void {
    if (this.#ended) return;
    if (this.#waiting) {
      this.#waiting.resolve({ done: false, value: item });
      this.#waiting = undefined;
      return;
    }
    this.#items.push(item);
    if (this.#items.length <= this.#itemsMax) return;
    this.#items.shift();
    this.dropped++;
  }

  /** What is queued can still be read; then the reader's loop ends, or throws `error`. */
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
    const item = this.#items.shift();
    if (item !== undefined) return Promise.resolve({ done: false, value: item });
    if (this.#error) return Promise.reject(this.#error);
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => (this.#waiting = { resolve, reject }));
  }

  return(): Promise<IteratorResult<T>> {
    this.#items.length = 0;
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
