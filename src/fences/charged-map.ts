import type { MemoryAccount } from './memory-ledger.ts';

/** A map of what a client has told of itself, each entry charged to it. */
export class ChargedMap<K, V> implements Iterable<[K, V]> {
  readonly #memory: MemoryAccount;
  readonly #bytesOf: (key: K, value: V) => number;
  readonly #entries = new Map<K, V>();

  /** `bytesOf`: what the process takes for an entry. */
  constructor(memory: MemoryAccount, bytesOf: (key: K, value: V) => number) {
    this.#memory = memory;
    this.#bytesOf = bytesOf;
  }

  get size(): number {
    return this.#entries.size;
  }

  has(key: K): boolean {
    return this.#entries.has(key);
  }

  get(key: K): V | undefined {
    return this.#entries.get(key);
  }

  [Symbol.iterator](): IterableIterator<[K, V]> {
    return this.#entries[Symbol.iterator]();
  }

  /** The entry is the one that was set last from now on. Throws MEMORY_LIMIT_REACHED, and leaves everything as it was. */
  set(key: K, value: V): void {
    const before = this.#entries.get(key);
    const more = this.#bytesOf(key, value) - (before === undefined ? 0 : this.#bytesOf(key, before));
    if (more > 0) this.#memory.charge('session', more);
    else if (more < 0) this.#memory.release('session', -more);
    if (before !== undefined) this.#entries.delete(key);
    this.#entries.set(key, value);
  }

  delete(key: K): boolean {
    const value = this.#entries.get(key);
    if (value === undefined) return false;
    this.#entries.delete(key);
    this.#memory.release('session', this.#bytesOf(key, value));
    return true;
  }

  /** Drops the entry that was set longest ago when there are too many. */
  forgetOldest(sizeMax: number): void {
    if (this.#entries.size > sizeMax) this.delete(this.#entries.keys().next().value!);
  }

  clear(): void {
    for (const key of this.#entries.keys()) this.delete(key);
  }
}
