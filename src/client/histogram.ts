const FIRST_MS = 0.05;
const GROWTH = 1.02;
const LOG_GROWTH = Math.log(GROWTH);
/** The last bucket begins at about a minute; longer durations count there. */
const BUCKETS = 720;

/**
 * Every duration of a session in buckets that grow by 2 %, so that a percentile is accurate to 1 % at 3 kB, however long the
 * session lasts (the idea of Tene's HdrHistogram, which browsers do not have built in).
 */
export class DurationHistogram {
  readonly #counts = new Uint32Array(BUCKETS);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  record(durationMs: number): void {
    const bucket = durationMs <= FIRST_MS ? 0 : Math.ceil(Math.log(durationMs / FIRST_MS) / LOG_GROWTH);
    const index = Math.min(bucket, BUCKETS - 1);
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    this.#count++;
  }

  /** The duration that `fraction` (0..1) of all stayed within, ms; 0 while there is none. */
  percentileMs(fraction: number): number {
    const wanted = Math.max(1, Math.ceil(this.#count * fraction));
    let seen = 0;
    for (let index = 0; index < BUCKETS; index++) {
      seen += this.#counts[index] ?? 0;
      // The geometric middle of a bucket errs by at most half of its growth.
      if (seen >= wanted) return FIRST_MS * GROWTH ** (index - 0.5);
    }
    return 0;
  }
}
