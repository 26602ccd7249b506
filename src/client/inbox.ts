interface Place<T> {
  item: T | undefined;
  made: boolean;
  readonly sinceMs: number;
}

/**
 * Hands items on in their order, though some take a while to be made (decompressed, decoded in a worker).
 * While none does, an item passes straight through. Bounded: its owner asks `isFull` before it begins to make one.
 */
export class Inbox<T> {
  readonly #itemsMax: number;
  readonly #handle: (item: T) => void;
  #waiting: Place<T>[] = [];

  constructor(itemsMax: number, handle: (item: T) => void) {
    this.#itemsMax = itemsMax;
    this.#handle = handle;
  }

  get isFull(): boolean {
    return this.#waiting.length >= this.#itemsMax;
  }

  /** A pushed item is handed on at once. */
  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** Arrival of the item that has waited longest, as given to `push`. */
  get oldestMs(): number | undefined {
    return this.#waiting[0]?.sinceMs;
  }

  /** A promise must not reject. */
  push(item: T | Promise<T>, nowMs: number): void {
    if (!(item instanceof Promise)) {
      if (this.#waiting.length === 0) this.#handle(item);
      else this.#waiting.push({ item, made: true, sinceMs: nowMs });
      return;
    }
    const place: Place<T> = {
      item: undefined,
      made: false,
      sinceMs: nowMs,
    };
    this.#waiting.push(place);
    void this.#await(item, place);
  }

  /** Forgets the waiting items. */
  clear(): void {
    this.#waiting = [];
  }

  async #await(item: Promise<T>, place: Place<T>): Promise<void> {
    place.item = await item;
    place.made = true;
    this.#drain();
  }

  #drain(): void {
    while (this.#waiting[0]?.made) this.#handle(this.#waiting.shift()!.item as T);
  }
}
