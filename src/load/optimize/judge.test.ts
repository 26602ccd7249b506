import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  isWithin,
  judge,
  median,
  medianOf,
  noiseOf,
  percentile,
  rank,
  STRATEGIES_WEIGHED,
  type Candidate,
  type Goal,
  type Measured,
} from './judge.ts';

function measured(change: Partial<Measured> = {}): Measured {
  const results = change.results_per_s ?? 50;
  return {
    results_per_s: results,
    in_time_per_s: results,
    p50_ms: 40,
    p95_ms: 80,
    loss_percent: 0,
    cpu_percent: 90,
    memory_mb: 300,
    others_percent: 2,
    work_p95_ms: 35,
    ...change,
  };
}

function candidate(name: string, change: Partial<Measured>, more: Partial<Candidate> = {}): Candidate {
  return {
    name,
    settings: { 'streaming.default_fps': 12 },
    picture: { width: 640, height: 480, quality: 50 },
    measured: measured(change),
    ...more,
  };
}

const goal = (strategy: Goal['strategy'] = 'balanced', targetMs = 100): Goal => ({ strategy, targetMs });
const names = (candidates: readonly Candidate[]) => candidates.map(({ name }) => name);

describe('medians and percentiles', () => {
  test('of a few values', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(percentile([5, 1, 4, 2, 3], 0.95)).toBe(5);
    expect(percentile([5, 1, 4, 2, 3], 0.5)).toBe(3);
    expect(percentile([7], 0)).toBe(7);
  });

  test('of nothing, and of what has no end', () => {
    expect(median([])).toBe(Infinity);
    expect(percentile([], 0.95)).toBe(Infinity);
    expect(median([Infinity, Infinity])).toBe(Infinity);
  });

  test('lie within the values, whatever they are', () => {
    const values = fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(values, fc.double({ min: 0, max: 1, noNaN: true }), (all, share) => {
        for (const found of [median(all), percentile(all, share)]) {
          expect(found).toBeGreaterThanOrEqual(Math.min(...all));
          expect(found).toBeLessThanOrEqual(Math.max(...all));
        }
      }),
    );
  });

  test('each figure has its own median', () => {
    const rounds = [
      measured({ results_per_s: 50, p95_ms: 90 }),
      measured({ results_per_s: 30, p95_ms: 70 }),
      measured({ results_per_s: 40, p95_ms: 80 }),
    ];
    expect(medianOf(rounds)).toMatchObject({ results_per_s: 40, p95_ms: 80, memory_mb: 300 });
  });
});

test('noise is what equal rounds differ by, within what is believed', () => {
  const noise = (...rates: number[]) => noiseOf(rates.map((results_per_s) => measured({ results_per_s })));
  expect(noise(50, 50, 50)).toBe(0.05);
  // Deviations of 4, 0 and 2 from 50: twice the middle one.
  expect(noise(46, 50, 52)).toBeCloseTo(0.08);
  expect(noise(50, 10, 90)).toBe(0.15);
  expect(noise(50, 50, 10)).toBe(0.05);
  expect(noise(0, 0)).toBe(0.05);
});

test.each([
  [{ p95_ms: 100 }, true],
  [{ p95_ms: 100.1 }, false],
  [{ p95_ms: Infinity }, false],
  [{ loss_percent: 0.99 }, true],
  [{ loss_percent: 1 }, false],
])('%j is within 100 ms: %s', (change, expected) => expect(isWithin(measured(change), 100)).toBe(expected));

describe('the order of candidates', () => {
  test('within the target first, by results in time; a late one comes after all of them', () => {
    const all = [
      candidate('late', { results_per_s: 90, p95_ms: 150 }),
      candidate('slow', { results_per_s: 20 }),
      candidate('fast', { results_per_s: 60 }),
      candidate('lossy', { results_per_s: 70, loss_percent: 5, p95_ms: 20 }),
    ];
    expect(names(rank(all, goal(), 0))).toEqual(['fast', 'slow', 'lossy', 'late']);
  });

  test('without one within the target the shortest p95 comes first', () => {
    const all = [
      candidate('a', { p95_ms: 300 }),
      candidate('b', { p95_ms: 200 }),
      candidate('c', { p95_ms: Infinity }),
    ];
    expect(names(rank(all, goal(), 0))).toEqual(['b', 'a', 'c']);
  });

  const picture = (width: number, quality = 50) => ({ width, height: width * 0.75, quality });
  const equals = [
    candidate('small', { results_per_s: 60, p95_ms: 70, memory_mb: 310 }, { picture: picture(320) }),
    candidate('large', { results_per_s: 59, p95_ms: 80, memory_mb: 300 }, { picture: picture(640) }),
    candidate('lean', { results_per_s: 58, p95_ms: 90, memory_mb: 200 }, { picture: picture(640, 40) }),
    candidate('quick', { results_per_s: 40, p95_ms: 30, memory_mb: 320 }, { picture: picture(640) }),
  ];
  test.each([
    ['balanced', ['large', 'lean', 'small', 'quick']],
    ['memory', ['lean', 'large', 'small', 'quick']],
    ['latency', ['small', 'large', 'lean', 'quick']],
    // The default gives 41: 5 % less will do.
    ['aggressive', ['quick', 'small', 'large', 'lean']],
  ] as const)('among those about equal %s chooses %j', (strategy, expected) => {
    expect(names(rank(equals, goal(strategy), 41))).toEqual(expected);
  });

  test('of equal ones the fewest changes', () => {
    const many = candidate('many', {}, { settings: { 'inference.workers': 2, 'inference.prefetch': 0 } });
    expect(names(rank([many, candidate('few', { p95_ms: 81 })], goal(), 0))).toEqual(['few', 'many']);
  });

  test('loses nobody and invents nobody', () => {
    const any = fc.record({
      results_per_s: fc.double({ min: 0, max: 100, noNaN: true }),
      p95_ms: fc.oneof(fc.double({ min: 0, max: 1000, noNaN: true }), fc.constant(Infinity)),
      loss_percent: fc.double({ min: 0, max: 100, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(any, { maxLength: 8 }), fc.constantFrom(...STRATEGIES_WEIGHED), (changes, strategy) => {
        const all = changes.map((change, i) => candidate(String(i), change));
        const ranked = rank(all, goal(strategy), 30);
        expect(names(ranked).toSorted()).toEqual(names(all).toSorted());
        const within = ranked.map((one) => isWithin(one.measured, 100));
        expect(within).toEqual(within.toSorted((a, b) => Number(b) - Number(a)));
      }),
    );
  });
});

describe('whether a candidate takes the place of the default', () => {
  const inTarget = measured({ results_per_s: 50, p95_ms: 80 });
  const late = measured({ results_per_s: 55, in_time_per_s: 5, p95_ms: 300 });

  test.each<[string, Measured, Measured, Goal, boolean, RegExp]>([
    [
      'it holds the target alone',
      late,
      inTarget,
      goal(),
      true,
      /holds 100 ms \(p95 80 ms\), .* \(p95 300 ms, 0\.0 % lost\)/,
    ],
    ['more results', inTarget, measured({ results_per_s: 60 }), goal(), true, /60\.0 results\/s in time against 50\.0/],
    ['no more than noise', inTarget, measured({ results_per_s: 52 }), goal(), false, /noise \(5 %\)/],
    [
      'fewer results',
      inTarget,
      measured({ results_per_s: 47 }),
      goal(),
      false,
      /47\.0 results\/s in time against 50\.0/,
    ],
    ['late, and later', late, measured({ p95_ms: 310, results_per_s: 90 }), goal(), false, /p95 is 310 ms against 300/],
    ['late, but earlier', late, measured({ p95_ms: 200, in_time_per_s: 5 }), goal(), true, /p95 is 200 ms against 300/],
    ['late where the default is not', inTarget, measured({ p95_ms: 101 }), goal(), false, /p95 is 101 ms against 80/],
    ['losses', inTarget, measured({ results_per_s: 70, loss_percent: 2 }), goal(), false, /2\.0 % of the frames/],
    ['shorter, asked for balance', inTarget, measured({ p95_ms: 40 }), goal(), false, /noise/],
    [
      'shorter, asked for latency',
      inTarget,
      measured({ p95_ms: 40 }),
      goal('latency'),
      true,
      /p95 is 40 ms against 80/,
    ],
    ['hardly shorter', inTarget, measured({ p95_ms: 75 }), goal('latency'), false, /noise/],
    ['leaner, asked for memory', inTarget, measured({ memory_mb: 200 }), goal('memory'), true, /200 MB against 300/],
    ['leaner, asked for balance', inTarget, measured({ memory_mb: 200 }), goal(), false, /noise/],
    ['nothing at all', inTarget, measured({ results_per_s: 0, p95_ms: Infinity }), goal(), false, /without end/],
  ])('%s', (_, standard, one, asked, adopted, reason) => {
    const verdict = judge(standard, one, asked, 0.05);
    expect(verdict.adopted).toBe(adopted);
    expect(verdict.reasons.join('\n')).toMatch(reason);
  });

  test('one that is adopted is never worse than the default by more than the noise', () => {
    const any = fc.record({
      in_time_per_s: fc.double({ min: 0, max: 100, noNaN: true }),
      p95_ms: fc.double({ min: 1, max: 500, noNaN: true }),
      loss_percent: fc.double({ min: 0, max: 3, noNaN: true }),
      memory_mb: fc.double({ min: 100, max: 500, noNaN: true }),
    });
    fc.assert(
      fc.property(any, any, fc.constantFrom(...STRATEGIES_WEIGHED), (own, other, strategy) => {
        const [standard, one] = [measured(own), measured(other)];
        if (!judge(standard, one, goal(strategy), 0.05).adopted) return;
        expect(one.in_time_per_s).toBeGreaterThanOrEqual(standard.in_time_per_s * 0.95);
        expect(one.p95_ms <= 100 || one.p95_ms <= standard.p95_ms).toBe(true);
        expect(one.loss_percent < 1 || one.loss_percent <= standard.loss_percent).toBe(true);
      }),
    );
  });
});
