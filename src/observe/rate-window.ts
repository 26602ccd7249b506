/** Rates of counters over a window of the recent past, from readings taken now and then. Pure: the caller has the clock. */

interface Reading<K extends string> {
  readonly timeMs: number;
  readonly totals: Readonly<Record<K, number>>;
}

/** Over a shorter time a rate would be noise. */
const SPAN_MS_MIN = 500;

export class RateWindow<K extends string> {
  readonly #windowMs: number;
  /** Oldest first: one that is as old as the window or older, and those after it. */
  readonly #readings: Reading<K>[] = [];

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  /** Running totals, which never fall. To be called about once a second. */
  add(timeMs: number, totals: Readonly<Record<K, number>>): void {
    this.#readings.push({ timeMs, totals });
    while (this.#readings.length > 1 && timeMs - this.#readings[1]!.timeMs >= this.#windowMs) this.#readings.shift();
  }

  /** Per second from the window's start to these totals; undefined while nothing was read long enough ago. */
  rates(timeMs: number, totals: Readonly<Record<K, number>>): { spanMs: number; perS: Record<K, number> } | undefined {
    const first = this.#readings[0];
    const spanMs = first ? timeMs - first.timeMs : 0;
    if (!first || spanMs < SPAN_MS_MIN) return undefined;
    const keys = Object.keys(totals) as K[];
    const perS = Object.fromEntries(keys.map((key) => [key, ((totals[key] - first.totals[key]) * 1000) / spanMs]));
    return { spanMs, perS: perS as Record<K, number> };
  }
}
