import { describe, expect, test } from 'vitest';
import { planEngine, restartDelayMs, slotsFor } from './plan.ts';

describe('plan', () => {
  test.each([
    ['throughput', 8, {}, { workers: 8, intraOpThreads: 1 }],
    ['throughput', 1, {}, { workers: 1, intraOpThreads: 1 }],
    ['latency', 8, {}, { workers: 2, intraOpThreads: 4 }],
    ['latency', 2, {}, { workers: 1, intraOpThreads: 2 }],
    ['latency', 8, { intraOpThreads: 1 }, { workers: 8, intraOpThreads: 1 }],
    ['throughput', 8, { intraOpThreads: 3 }, { workers: 2, intraOpThreads: 3 }],
    ['throughput', 2, { workers: 5, intraOpThreads: 4 }, { workers: 5, intraOpThreads: 4 }],
    ['throughput', 16, { providers: ['webgpu', 'cpu'] }, { workers: 3, intraOpThreads: 5 }],
    ['latency', 2, { providers: ['cuda'] }, { workers: 2, intraOpThreads: 1 }],
    ['throughput', 16, { providers: ['webgpu'], workers: 1 }, { workers: 1, intraOpThreads: 16 }],
    ['throughput', 8, { providers: ['cpu'] }, { workers: 8, intraOpThreads: 1 }],
  ] as const)('%s on %d cores with %o', (hint, cores, given, wanted) => {
    expect(planEngine(hint, cores, given)).toEqual(wanted);
  });

  test('a worker holds what runs and what it is handed ahead: of shared runs the next one whole, unless it is handed nothing', () => {
    expect([0, 1, 8].map((prefetch) => slotsFor(1, prefetch))).toEqual([1, 2, 9]);
    expect([0, 1, 10].map((prefetch) => slotsFor(8, prefetch))).toEqual([8, 16, 18]);
  });

  test('the first replacement comes at once, later ones ever later, up to half a minute', () => {
    expect([1, 2, 3, 4, 5].map(restartDelayMs)).toEqual([0, 100, 200, 400, 800]);
    expect(restartDelayMs(100)).toBe(30_000);
  });
});
