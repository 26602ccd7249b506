import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { atLeast, atMost, toTable } from '../bench/support/document.ts';
import { jainIndex, linearFit, median, percentile } from '../bench/support/statistics.ts';
import { Latencies } from '../bench/telemetry/latencies.ts';
import { Meter, type CheckColumns } from '../bench/telemetry/meter.ts';
import { highestRate } from '../bench/telemetry/search.ts';
import { arrangements } from '../bench/vision/arrangements.ts';
import { CHECK_PATHS, roverMessages, sign, type RoverMessage } from '../src/load/rover-messages.ts';

const numbers = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 50 });

describe('median and percentile', () => {
  test.each([
    [[7], 7],
    [[3, 1, 2], 2],
    [[4, 1, 3, 2], 2.5],
  ])('the median of %j is %d', (values, expected) => {
    expect(median(values)).toBe(expected);
  });

  test('between two ranks it is interpolated; the ends are the extremes', () => {
    const values = [50, 10, 40, 20, 30];
    expect([0, 25, 90, 100].map((percent) => percentile(values, percent))).toEqual([10, 20, 46, 50]);
  });

  test('of no values there is none', () => {
    expect(() => percentile([], 50)).toThrow(RangeError);
  });

  test('property: it rises with the percentage, stays within the values and leaves them as they were', () => {
    fc.assert(
      fc.property(numbers, fc.nat(100), fc.nat(100), (values, one, other) => {
        const before = [...values];
        const low = percentile(values, Math.min(one, other));
        const high = percentile(values, Math.max(one, other));
        expect(low).toBeLessThanOrEqual(high);
        expect(low).toBeGreaterThanOrEqual(Math.min(...values));
        expect(high).toBeLessThanOrEqual(Math.max(...values));
        expect(values).toEqual(before);
      }),
    );
  });
});

describe('linearFit', () => {
  test('the least squares of a hand-computed example', () => {
    // Means 2 and 3; sum of products (−1)(−1) + 0·(−1) + 1·2 = 3; sum of squares 2.
    const points = [
      { x: 1, y: 2 },
      { x: 2, y: 2 },
      { x: 3, y: 5 },
    ];
    expect(linearFit(points)).toEqual({ slope: 1.5, intercept: 0 });
  });

  test('all at one place: no slope, the mean', () => {
    const points = [
      { x: 4, y: 1 },
      { x: 4, y: 3 },
    ];
    expect(linearFit(points)).toEqual({ slope: 0, intercept: 2 });
  });

  test('property: a straight line is found again', () => {
    const whole = fc.integer({ min: -1000, max: 1000 });
    const places = fc.uniqueArray(whole, { minLength: 2, maxLength: 30 });
    fc.assert(
      fc.property(whole, whole, places, (slope, intercept, xs) => {
        const fit = linearFit(xs.map((x) => ({ x, y: slope * x + intercept })));
        expect(fit.slope).toBeCloseTo(slope, 5);
        expect(fit.intercept).toBeCloseTo(intercept, 2);
      }),
    );
  });
});

describe('jainIndex', () => {
  test.each([
    [[5, 5, 5], 1],
    [[9, 0, 0], 1 / 3],
    [[2, 1], 9 / 10],
    [[0, 0], 0],
  ])('of %j it is %d', (values, expected) => {
    expect(jainIndex(values)).toBeCloseTo(expected, 12);
  });

  test('of no values there is none', () => {
    expect(() => jainIndex([])).toThrow(RangeError);
  });
});

test('bars are kept at their very value', () => {
  expect(atLeast('ratio', 0.85, 0.85)).toEqual({ name: 'ratio', value: 0.85, bar: 0.85, ok: true });
  expect(atLeast('ratio', 0.8499, 0.85).ok).toBe(false);
  expect(atLeast('ratio', Number.NaN, 0.85).ok).toBe(false);
  expect(atMost('added_ms', 3, 3).ok).toBe(true);
  expect(atMost('added_ms', Number.NaN, 3).ok).toBe(false);
  expect(atMost('added_ms', 3.0001, 3)).toEqual({ name: 'added_ms', value: 3, bar: 3, ok: false });
});

test('the table names every figure and which bars fall short', () => {
  const table = toTable({
    bench: 'some',
    conditions: { cpu: 'a CPU', cores: 2, node: '24.0.0', versions: { ws: '8' }, seed: 1, seconds: 2, setup: {} },
    figures: { fps: 12.5 },
    bars: [atLeast('fps', 12.5, 20), atMost('drops', 0, 1)],
  });
  expect(table).toMatch(/fps +12\.5/);
  expect(table).toMatch(/fps +short +12\.5 +\(bar 20\)/);
  expect(table).toMatch(/drops +ok +0 +\(bar 1\)/);
});

test('the limit loop is tried with one worker, with one thread each, and with all threads for one', () => {
  expect(arrangements(1)).toEqual([
    { workers: 2, threads: 1 },
    { workers: 1, threads: 1 },
  ]);
  expect(arrangements(6)).toEqual([
    { workers: 7, threads: 1 },
    { workers: 6, threads: 1 },
    { workers: 3, threads: 2 },
    { workers: 1, threads: 4 },
    { workers: 1, threads: 6 },
    { workers: 1, threads: 1 },
  ]);
});

describe('the highest rate', () => {
  const search = { startHz: 100, hzMax: 1e6, trialsMax: 20, near: 1.05 };
  const limitOf = (limitHz: number) => async (hz: number) => ({ isGood: hz <= limitHz, result: hz });

  test.each([137, 1_000, 98_765, 31])('is found from below and from above: %d', async (limitHz) => {
    const { hz, isGood } = await highestRate(search, limitOf(limitHz));
    expect(isGood).toBe(true);
    expect(hz).toBeLessThanOrEqual(limitHz);
    expect(hz).toBeGreaterThan(limitHz / 1.06);
  });

  test('one bad trial is no end', async () => {
    let trials = 0;
    const flaky = async (hz: number) => ({ isGood: hz <= 400 && (trials += 1) !== 2, result: hz });
    expect((await highestRate(search, flaky)).hz).toBeGreaterThan(380);
  });

  test('it ends: at the rate that is asked for at most, after the trials there are, and when nothing is good', async () => {
    expect((await highestRate({ ...search, hzMax: 300 }, limitOf(1e9))).hz).toBe(300);
    expect((await highestRate({ ...search, trialsMax: 3 }, limitOf(1e9))).hz).toBe(400);
    expect(await highestRate(search, limitOf(0))).toMatchObject({ isGood: false });
  });
});

describe('what the subscribers check', () => {
  const messages = (seqs: readonly number[]): RoverMessage[] =>
    roverMessages(seqs.length, 3).map((message, i) => {
      sign(message, seqs[i]!);
      return message;
    });
  const faultsOf = (given: readonly RoverMessage[], columns: boolean): number => {
    const meter = new Meter(() => 10);
    meter.expect(2);
    meter.begin(0);
    const at = (path: string) =>
      given.map((message) =>
        path.split('.').reduce((inner, key) => (inner as Record<string, unknown>)[key], message as unknown),
      );
    if (columns)
      meter.columns(
        1,
        given.map(() => 5),
        CHECK_PATHS.map(at) as unknown as CheckColumns,
      );
    else for (const message of given) meter.object(1, 5, message);
    expect(meter.end()).toMatchObject({ decoded: given.length, measured: given.length });
    return meter.end().faults;
  };

  test.each([false, true])('as columns: %s: gaps, repetitions and damage are faults', (columns) => {
    expect(faultsOf(messages([1, 2, 3]), columns)).toBe(0);
    expect(faultsOf(messages([1, 3, 4]), columns)).toBe(1);
    expect(faultsOf(messages([1, 1, 2]), columns)).toBe(1);
    const damaged = messages([1, 2]);
    damaged[1]!.check += 1;
    expect(faultsOf(damaged, columns)).toBe(1);
  });

  test('percentiles of latencies are true to a step', () => {
    const latencies = new Latencies();
    for (let i = 1; i <= 1_000; i += 1) latencies.record(i / 100);
    expect(latencies.percentile(50)).toBeCloseTo(5, 1);
    expect(latencies.percentile(99)).toBeCloseTo(9.9, 1);
    latencies.record(1e9);
    expect(latencies.percentile(100)).toBe(5_000);
  });
});
