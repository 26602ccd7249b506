/** Pictures of frames that are on their way, by `seq`, and how to free each of them. */
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

  /** Hands the picture of `seq` to `use`, then frees it, also when `use` throws. False when there is none. */
  use(seq: number, use: (picture: T) => void): boolean {
    const picture = this.#bySeq.get(seq);
    if (picture === undefined) return false;
    this.#bySeq.delete(seq);
    try {
      use(picture);
    } finally {
      this.#free(picture);
    }
    return true;
  }

  free(seqs: Iterable<number>): void {
    for (const seq of seqs) this.use(seq, () => {});
  }

  freeAll(): void {
    this.free([...this.#bySeq.keys()]);
  }
}
