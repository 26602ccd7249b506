import { describe, expect, test } from 'vitest';
import { planEngine, restartDelayMs } from './plan.ts';

describe('plan', () => {
  test.each([
    ['throughput', 8, {}, { workers: 8, intraOpThreads: 1 }],
    ['throughput', 1, {}, { workers: 1, intraOpThreads: 1 }],
    ['latency', 8, {}, { workers: 2, intraOpThreads: 4 }],
    ['latency', 2, {}, { workers: 1, intraOpThreads: 2 }],
    ['latency', 8, { intraOpThreads: 1 }, { workers: 8, intraOpThreads: 1 }],
    ['throughput', 8, { intraOpThreads: 3 }, { workers: 2, intraOpThreads: 3 }],
    ['throughput', 2, { workers: 5, intraOpThreads: 4 }, { workers: 5, intraOpThreads: 4 }],
  ] as const)('%s on %d cores with %o', (hint, cores, given, wanted) => {
    expect(planEngine(hint, cores, given)).toEqual(wanted);
  });

  test('the first replacement comes at once, later ones ever later, up to half a minute', () => {
    expect([1, 2, 3, 4, 5].map(restartDelayMs)).toEqual([0, 100, 200, 400, 800]);
    expect(restartDelayMs(100)).toBe(30_000);
  });
});
