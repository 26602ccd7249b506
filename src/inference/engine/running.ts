import { BATCH_MAX } from '../../flow/batching.ts';

/**
 * The ids of the calls that a worker is running, in memory that it shares with its owner, since a dying thread sends no message. One
 * writes, the other reads.
 */
export class RunningIds {
  static readonly BYTES = (1 + BATCH_MAX) * Int32Array.BYTES_PER_ELEMENT;
  /** Their number, then the ids. */
  readonly #cells: Int32Array<SharedArrayBuffer>;

  constructor(memory: SharedArrayBuffer) {
    this.#cells = new Int32Array(memory);
  }

  get memory(): SharedArrayBuffer {
    return this.#cells.buffer;
  }

  /** At most `BATCH_MAX`. The reader looks only when the writer has died or hangs; in between it would see none. */
  set(ids: readonly number[]): void {
    Atomics.store(this.#cells, 0, 0);
    ids.forEach((id, i) => Atomics.store(this.#cells, 1 + i, id));
    Atomics.store(this.#cells, 0, ids.length);
  }

  get(): number[] {
    return Array.from({ length: Atomics.load(this.#cells, 0) }, (_, i) => Atomics.load(this.#cells, 1 + i));
  }
}
