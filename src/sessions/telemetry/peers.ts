/** How many connections have the same subscriptions, by the hash of these. */
export class Peers {
  readonly #counts = new Map<number, number>();

  of(hash: number): number {
    return this.#counts.get(hash) ?? 0;
  }

  add(hash: number): void {
    this.#counts.set(hash, this.of(hash) + 1);
  }

  remove(hash: number): void {
    const count = this.of(hash) - 1;
    if (count > 0) this.#counts.set(hash, count);
    else this.#counts.delete(hash);
  }
}
