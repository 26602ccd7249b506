import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DurationHistogram } from './histogram.ts';

test('is 0 while empty', () => expect(new DurationHistogram().percentileMs(0.5)).toBe(0));

test('property: every percentile is true to 1 %', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0.06, max: 50_000, noNaN: true }), { minLength: 1, maxLength: 200 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (durations, fraction) => {
        const histogram = new DurationHistogram();
        for (const duration of durations) histogram.record(duration);
        const sorted = durations.toSorted((a, b) => a - b);
        const exact = sorted[Math.max(1, Math.ceil(sorted.length * fraction)) - 1]!;
        expect(Math.abs(histogram.percentileMs(fraction) / exact - 1)).toBeLessThan(0.0101);
        expect(histogram.count).toBe(durations.length);
      },
    ),
  );
});

test('durations out of range count at its ends', () => {
  const histogram = new DurationHistogram();
  histogram.record(0);
  histogram.record(1e9);
  expect(histogram.percentileMs(0.5)).toBeLessThan(0.06);
  expect(histogram.percentileMs(1)).toBeGreaterThan(60_000);
});
