const STEP_US = 20;
const STEPS = 250_000;

/**
 * Latencies in steps of 20 µs up to 5 s, what is longer counts there. One addition a record: at a million messages a second
 * Node's own histogram would take a good part of a core.
 */
export class Latencies {
  readonly #counts = new Uint32Array(STEPS);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  record(ms: number): void {
    const step = Math.min(STEPS - 1, Math.max(0, Math.floor((ms * 1000) / STEP_US)));
    this.#counts[step]! += 1;
    this.#count += 1;
  }

  /** Ms, the upper end of the step; 0 of none. */
  percentile(percent: number): number {
    const wanted = Math.max(1, Math.ceil((this.#count * percent) / 100));
    let seen = 0;
    for (let step = 0; step < STEPS; step += 1) {
      seen += this.#counts[step]!;
      if (seen >= wanted) return ((step + 1) * STEP_US) / 1000;
    }
    return 0;
  }

  reset(): void {
    this.#counts.fill(0);
    this.#count = 0;
  }
}
