/** Pictures of frames that are under way, by `seq`, and how to free each of them. */
export class PendingPictures<T> {
  readonly #bySeq = new Map<number, T>();
  readonly #free: (picture: T) => void;

  constructor(free: (picture: T) => void) {
    this.#free = free;
  }

  get size(): number {
    return this.#bySeq.size;
  }

  keep(seq: number, picture: T): void {
    this.#bySeq.set(seq, picture);
  }

  /** Undefined when there is none (any more). */
  get(seq: number): T | undefined {
    return this.#bySeq.get(seq);
  }

  free(seqs: Iterable<number>): void {
    for (const seq of seqs) {
      const picture = this.#bySeq.get(seq);
      if (picture === undefined) continue;
      this.#bySeq.delete(seq);
      this.#free(picture);
    }
  }

  freeAll(): void {
    this.free([...this.#bySeq.keys()]);
  }
}
