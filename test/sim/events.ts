/** A discrete-event clock: what is due first happens first, in the order of its planning when at the same instant. */
export class Events {
  #nowMs = 0;
  #order = 0;
  /** A binary heap by time, then order. */
  readonly #heap: { readonly timeMs: number; readonly order: number; readonly run: () => void }[] = [];

  /** Milliseconds since the beginning of the simulation. */
  get nowMs(): number {
    return this.#nowMs;
  }

  at(timeMs: number, run: () => void): void {
    const heap = this.#heap;
    heap.push({ timeMs: Math.max(timeMs, this.#nowMs), order: this.#order++, run });
    for (let i = heap.length - 1; i > 0;) {
      const parent = (i - 1) >> 1;
      if (!this.#isBefore(i, parent)) break;
      this.#swap(i, parent);
      i = parent;
    }
  }

  in(delayMs: number, run: () => void): void {
    this.at(this.#nowMs + delayMs, run);
  }

  /** Calls again and again, the first time after `phaseMs`. */
  every(intervalMs: number, run: () => void, phaseMs = 0): void {
    this.in(phaseMs, () => {
      run();
      this.every(intervalMs, run, intervalMs);
    });
  }

  runUntil(timeMs: number): void {
    while (this.step(timeMs));
  }

  /** Does the next thing that is due by `timeMs`; false, and it is then, when there is none. */
  step(timeMs: number): boolean {
    const next = this.#heap[0];
    if (!next || next.timeMs > timeMs) {
      this.#nowMs = timeMs;
      return false;
    }
    this.#pop();
    this.#nowMs = next.timeMs;
    next.run();
    return true;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    heap[0] = last;
    for (let i = 0; ;) {
      let least = i;
      for (const child of [2 * i + 1, 2 * i + 2])
        if (child < heap.length && this.#isBefore(child, least)) least = child;
      if (least === i) return;
      this.#swap(i, least);
      i = least;
    }
  }

  #isBefore(a: number, b: number): boolean {
    const [x, y] = [this.#heap[a]!, this.#heap[b]!];
    return x.timeMs < y.timeMs || (x.timeMs === y.timeMs && x.order < y.order);
  }

  #swap(a: number, b: number): void {
    [this.#heap[a], this.#heap[b]] = [this.#heap[b]!, this.#heap[a]!];
  }
}
