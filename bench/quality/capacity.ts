/** The capacity from a moment on. */
export interface CapacityStep {
  readonly fromMs: number;
  readonly bps: number;
}

/** A time in which nothing moves. */
export interface Stall {
  readonly fromMs: number;
  readonly forMs: number;
}

/** What a link carries over time: a step holds until the next one, and the first one also held before. Pure but for its state. */
export class Capacity {
  #steps: readonly CapacityStep[];

  /** In the order of time, at least one; throws RangeError otherwise. Infinity is a rate as well. */
  constructor(steps: readonly CapacityStep[]) {
    if (steps.length === 0) throw new RangeError('a link without a capacity');
    if (steps.some(({ fromMs }, i) => i > 0 && fromMs <= steps[i - 1]!.fromMs)) {
      throw new RangeError('the steps of a capacity are not in the order of time');
    }
    this.#steps = steps;
  }

  get steps(): readonly CapacityStep[] {
    return this.#steps;
  }

  /** From now on it is this; what was planned for later is forgotten. */
  change(nowMs: number, bps: number): void {
    this.#steps = [...this.#steps.filter(({ fromMs }) => fromMs < nowMs), { fromMs: nowMs, bps }];
  }

  bpsAt(timeMs: number): number {
    return this.#steps[this.#indexAt(timeMs)]!.bps;
  }

  /** When `bits` are through whose passage begins at `beginMs`; Infinity: never. */
  doneMs(beginMs: number, bits: number): number {
    let left = bits;
    let nowMs = beginMs;
    for (let i = this.#indexAt(beginMs); ; i += 1) {
      const { bps } = this.#steps[i]!;
      const untilMs = this.#steps[i + 1]?.fromMs ?? Infinity;
      const needMs = bps > 0 ? (left / bps) * 1_000 : Infinity;
      if (nowMs + needMs <= untilMs) return nowMs + needMs;
      left -= (bps * (untilMs - nowMs)) / 1_000;
      nowMs = untilMs;
    }
  }

  /** That it could have carried between two moments. */
  bitsBetween(fromMs: number, toMs: number): number {
    return this.#steps.reduce((sum, { fromMs: from, bps }, i) => {
      const begin = i === 0 ? -Infinity : from;
      const end = this.#steps[i + 1]?.fromMs ?? Infinity;
      return sum + (bps * Math.max(0, Math.min(end, toMs) - Math.max(begin, fromMs))) / 1_000;
    }, 0);
  }

  #indexAt(timeMs: number): number {
    return Math.max(
      0,
      this.#steps.findLastIndex(({ fromMs }) => fromMs <= timeMs),
    );
  }
}

/** The same, interrupted. Stalls before the first step are left out. */
export function withStalls(steps: readonly CapacityStep[], stalls: readonly Stall[]): CapacityStep[] {
  const whole = new Capacity(steps);
  const startMs = steps[0]!.fromMs;
  const moments = [
    ...steps.map(({ fromMs }) => fromMs),
    ...stalls.flatMap(({ fromMs, forMs }) => [fromMs, fromMs + forMs]),
  ];
  const isStalled = (timeMs: number): boolean =>
    stalls.some(({ fromMs, forMs }) => timeMs >= fromMs && timeMs < fromMs + forMs);
  return [...new Set(moments)]
    .filter((fromMs) => fromMs >= startMs)
    .toSorted((a, b) => a - b)
    .map((fromMs) => ({ fromMs, bps: isStalled(fromMs) ? 0 : whole.bpsAt(fromMs) }));
}
