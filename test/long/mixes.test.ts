import { expect, test } from 'vitest';
import { expectFairMix, runMix } from '../sim/mixes.ts';

/** The first forty of them are in `npm test`. */
const MIXES = 1_000;
const TIMEOUT_MS = 1_200_000;

test(
  `${MIXES} mixes of two kinds of work, ten times too much of both: worker time is even, results are in time`,
  { timeout: TIMEOUT_MS },
  async () => {
    let veryEven = 0;
    for (let seed = 1; seed <= MIXES; seed++) if (expectFairMix(await runMix(seed)).isVeryEven) veryEven++;
    expect(veryEven).toBeGreaterThanOrEqual(0.95 * MIXES);
  },
);
