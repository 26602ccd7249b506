import { expect, test } from 'vitest';
import { expectFairMix, runMix } from './mixes.ts';

/** A slow machine that has other things to do takes its time. A thousand of them: `test/long/mixes.test.ts`. */
const TIMEOUT_MS = 120_000;
const MIXES = 40;
const only = process.env['RANDOM_SEED'];
const seeds = only === undefined ? Array.from({ length: MIXES }, (_, i) => i + 1) : [Number(only)];

test(
  `${seeds.length} mixes of two kinds of work, ten times too much of both: worker time is even, results are in time`,
  { timeout: TIMEOUT_MS },
  async () => {
    let veryEven = 0;
    for (const seed of seeds) if (expectFairMix(await runMix(seed)).isVeryEven) veryEven++;
    expect(veryEven).toBeGreaterThanOrEqual(0.9 * seeds.length - 1);
  },
);
