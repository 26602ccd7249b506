import type { Random } from '../../src/base/random.ts';
import type { Events } from './events.ts';

/** The capacity from a moment on. */
export interface CapacityStep {
  readonly fromMs: number;
  readonly bps: number;
}

export interface LinkOptions {
  /** In the order of time, the first from 0 on. */
  readonly capacity: readonly CapacityStep[];
  /** Propagation, one way. */
  readonly delayMs: number;
  /** Further delay of each message, 0 to this; none overtakes another. */
  readonly jitterMs?: number;
  /** Times in which nothing moves, as when TCP waits for a retransmission. */
  readonly stalls?: readonly { readonly fromMs: number; readonly forMs: number }[];
}

/** How one message fared. `queueMs` is the truth: its wait behind everybody's earlier messages. */
export interface Passage {
  readonly bytes: number;
  readonly sentMs: number;
  readonly queueMs: number;
  readonly arrivedMs: number;
}

/** A bottleneck that several senders may share: one queue without an end, first in first out, as TCP makes of any link. */
export class Link {
  readonly #events: Events;
  readonly #options: LinkOptions;
  readonly #random: Random;
  readonly #steps: readonly CapacityStep[];
  readonly passages: Passage[] = [];
  #freeMs = 0;
  #lastArrivedMs = 0;

  constructor(events: Events, options: LinkOptions, random: Random) {
    this.#events = events;
    this.#options = options;
    this.#random = random;
    this.#steps = withStalls(options);
  }

  send(bytes: number, onArrived: (passage: Passage) => void): void {
    const sentMs = this.#events.nowMs;
    const beginMs = Math.max(sentMs, this.#freeMs);
    this.#freeMs = this.#served(beginMs, bytes * 8);
    const jitterMs = (this.#options.jitterMs ?? 0) * this.#random();
    const arrivedMs = Math.max(this.#lastArrivedMs, this.#freeMs + this.#options.delayMs + jitterMs);
    this.#lastArrivedMs = arrivedMs;
    const passage = { bytes, sentMs, queueMs: beginMs - sentMs, arrivedMs };
    this.passages.push(passage);
    this.#events.at(arrivedMs, () => onArrived(passage));
  }

  /** When `bits` are through that are begun at `beginMs`. */
  #served(beginMs: number, bits: number): number {
    let left = bits;
    let nowMs = beginMs;
    for (let i = this.#steps.findLastIndex(({ fromMs }) => fromMs <= beginMs); ; i++) {
      const { bps } = this.#steps[i]!;
      const untilMs = this.#steps[i + 1]?.fromMs ?? Infinity;
      const needMs = bps > 0 ? (left / bps) * 1000 : Infinity;
      if (nowMs + needMs <= untilMs) return nowMs + needMs;
      left -= (bps * (untilMs - nowMs)) / 1000;
      nowMs = untilMs;
    }
  }

  /** Bits that the link could have carried between two moments. */
  bitsBetween(fromMs: number, toMs: number): number {
    return this.#steps.reduce((sum, { fromMs: from, bps }, i) => {
      const until = this.#steps[i + 1]?.fromMs ?? Infinity;
      return sum + (bps * Math.max(0, Math.min(until, toMs) - Math.max(from, fromMs))) / 1000;
    }, 0);
  }
}

function withStalls({ capacity, stalls = [] }: LinkOptions): CapacityStep[] {
  const bpsAt = (timeMs: number) => capacity.findLast(({ fromMs }) => fromMs <= timeMs)!.bps;
  const isStalled = (timeMs: number) => stalls.some(({ fromMs, forMs }) => timeMs >= fromMs && timeMs < fromMs + forMs);
  const moments = [
    ...capacity.map(({ fromMs }) => fromMs),
    ...stalls.flatMap(({ fromMs, forMs }) => [fromMs, fromMs + forMs]),
  ];
  return [...new Set(moments)]
    .toSorted((a, b) => a - b)
    .map((fromMs) => ({ fromMs, bps: isStalled(fromMs) ? 0 : bpsAt(fromMs) }));
}
