import type { MonitorDocument } from './monitor-document.ts';

/** Differences between two readings of one server: rates are `undefined` without an earlier one. Pure. */
export class Interval {
  /** Undefined, too, if the server was restarted since: its counters have begun at 0. */
  readonly before: MonitorDocument['metrics'] | undefined;
  readonly #elapsedS: number | undefined;

  constructor({ metrics: now }: MonitorDocument, previous: MonitorDocument | undefined) {
    const isAnew = (now.process?.uptime_s ?? Infinity) < (previous?.metrics.process?.uptime_s ?? 0);
    this.before = isAnew ? undefined : previous?.metrics;
    // By the server's own clock.
    const elapsedMs = (now.time ?? NaN) - (this.before?.time ?? NaN);
    this.#elapsedS = elapsedMs > 0 ? elapsedMs / 1000 : undefined;
  }

  perS(count: number | undefined, earlier: number | undefined): number | undefined {
    if (count === undefined || earlier === undefined || this.#elapsedS === undefined || count < earlier)
      return undefined;
    return (count - earlier) / this.#elapsedS;
  }

  /** Of the counters of all items; one that was not there before has begun at 0, and so has one that is lower now. */
  sumPerS<T>(
    items: readonly T[] | undefined,
    before: readonly T[] | undefined,
    keyOf: (item: T) => string | undefined,
    countOf: (item: T) => number | undefined,
  ): number | undefined {
    const known = new Map(before?.map((item) => [keyOf(item), countOf(item) ?? 0]));
    const gained = sum(items, (item) => {
      const [count, earlier = 0] = [countOf(item), known.get(keyOf(item))];
      return count === undefined || count < earlier ? count : count - earlier;
    });
    return this.perS(gained, 0);
  }
}

/** `undefined`: none of them has such a figure. */
export function sum<T>(items: readonly T[] | undefined, of: (item: T) => number | undefined): number | undefined {
  const figures = items?.map(of).filter((figure) => figure !== undefined);
  if (figures === undefined || (figures.length === 0 && items!.length > 0)) return undefined;
  return figures.reduce((total, figure) => total + figure, 0);
}

export function totalOf(counts: Readonly<Record<string, number | undefined>> | undefined): number | undefined {
  return counts && sum(Object.values(counts), (count) => count);
}
