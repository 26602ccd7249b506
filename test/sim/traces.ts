import { seededRandom } from '../../src/base/random.ts';
import type { LinkOptions } from './link.ts';

/**
 * Links over time. Those of RFC 8867 have capacities of 1 Mbit/s and so, made for video codecs; JPEG pictures are ten times as
 * large, so that all capacities are taken ten times.
 */

const M = 1_000_000;

export interface Trace {
  readonly name: string;
  readonly link: Omit<LinkOptions, 'delayMs'>;
  readonly forMs: number;
}

/** RFC 8867 §5.1, in the steps of the issue: 10 → 25 → 6 → 10 Mbit/s. */
export const VARIABLE_CAPACITY: Trace = {
  name: 'variable capacity',
  link: {
    capacity: [
      { fromMs: 0, bps: 10 * M },
      { fromMs: 20_000, bps: 25 * M },
      { fromMs: 40_000, bps: 6 * M },
      { fromMs: 60_000, bps: 10 * M },
    ],
  },
  forMs: 80_000,
};

/** TCP shows a lost segment as a stall of one retransmission time-out. */
export function stalls(seed: number): Trace {
  const random = seededRandom(seed);
  const moments = Array.from({ length: 12 }, (_, i) => ({
    fromMs: 3_000 + 4_000 * (i + random()),
    forMs: 200 + 100 * random(),
  }));
  return { name: 'stalls', link: { capacity: [{ fromMs: 0, bps: 10 * M }], stalls: moments }, forMs: 52_000 };
}

/** A busy air interface: another capacity every 100 to 400 ms, and jitter. */
export function wifi(seed: number): Trace {
  const random = seededRandom(seed);
  const capacity = [];
  for (let fromMs = 0; fromMs < 60_000; fromMs += 100 + 300 * random())
    capacity.push({ fromMs, bps: (5 + 15 * random()) * M });
  return { name: 'wifi', link: { capacity, jitterMs: 8 }, forMs: 60_000 };
}
