import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RecentSeries } from './series.ts';

const FIELDS: Readonly<Record<string, (t: number) => number>> = { a: (t) => t * 2, b: (t) => -t };

const batch = (times: number[]) => ({
  count: times.length,
  times: Float64Array.from(times),
  column: (path: string) => FIELDS[path] && Float64Array.from(times, FIELDS[path]),
});

test('keeps the newest points in order, whatever the batches', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 30 }), (sizes) => {
      const series = new RecentSeries(['a', 'b'], 25);
      const all: number[] = [];
      for (const size of sizes) {
        const times = Array.from({ length: size }, (_, i) => all.length + i + 1);
        all.push(...times);
        series.append(batch(times));
      }
      const newest = all.slice(-25);
      expect(series.length).toBe(newest.length);
      const [x, a, b] = series.view().map((array) => Array.from(array));
      expect(x).toEqual(newest.map((t) => t / 1000));
      expect(a).toEqual(newest.map((t) => t * 2));
      expect(b).toEqual(newest.map((t) => -t));
      expect(series.lastS).toBe(newest.length === 0 ? undefined : newest.at(-1)! / 1000);
    }),
  );
});

test('leaves points out that come too soon, and those of the past', () => {
  const series = new RecentSeries(['a'], 10, 50);
  series.append(batch([0, 5, 49, 50, 99, 101, 20]));
  expect([...series.view()[0]!]).toEqual([0, 0.049, 0.099]);
  series.clear();
  expect(series.length).toBe(0);
  series.append(batch([20]));
  expect(series.length).toBe(1);
});

test('a field that is missing is no number', () => {
  const series = new RecentSeries(['nope'], 10);
  series.append(batch([1]));
  expect(series.view()[1]![0]).toBeNaN();
});
