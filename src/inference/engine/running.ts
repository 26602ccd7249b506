import { BATCH_MAX } from '../../flow/batching.ts';

/**
 * The ids of the runs that a worker is at, in memory that it shares with its owner: who dies has no time for a message. One
 * writes, the other reads.
 */
export class RunningIds {
  static readonly BYTES = (1 + BATCH_MAX) * Int32Array.BYTES_PER_ELEMENT;
  /** Their number, then they. */
  readonly #cells: Int32Array<SharedArrayBuffer>;

  constructor(memory: SharedArrayBuffer) {
    this.#cells = new Int32Array(memory);
  }

  get memory(): SharedArrayBuffer {
    return this.#cells.buffer;
  }

  /** At most `BATCH_MAX`. The reader looks when the writer has died or hangs; in between it would see none. */
  set(ids: readonly number[]): void {
    Atomics.store(this.#cells, 0, 0);
    ids.forEach((id, i) => Atomics.store(this.#cells, 1 + i, id));
    Atomics.store(this.#cells, 0, ids.length);
  }

  get(): number[] {
    return Array.from({ length: Atomics.load(this.#cells, 0) }, (_, i) => Atomics.load(this.#cells, 1 + i));
  }
}
