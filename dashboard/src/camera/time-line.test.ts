import { describe, expect, test } from 'vitest';
import { barsOf, marksOf, momentAt } from './time-line.ts';

const WINDOW = { fromMs: 1_000_000, toMs: 2_000_000 };
const SPANS = [
  { from: 900_000, to: 1_100_000 },
  { from: 1_500_000, to: 1_750_000 },
  { from: 2_100_000, to: 2_200_000 },
];

test('spans are bars, as far as they are within the window', () => {
  expect(barsOf(SPANS, WINDOW)).toEqual([
    { left: 0, width: 0.1 },
    { left: 0.5, width: 0.25 },
  ]);
  expect(barsOf([], WINDOW)).toEqual([]);
});

describe('a moment of the line', () => {
  test.each([
    ['in a span', 0.6, 1_600_000],
    ['between two: the nearer one', 0.4, 1_500_000],
    ['behind one: its last second', 0.8, 1_749_000],
    ['before the window', 0, 1_000_000],
  ])('%s', (_, share, expected) => {
    expect(momentAt(share, WINDOW, SPANS)).toBe(expected);
  });

  test('where nothing was recorded', () => expect(momentAt(0.5, WINDOW, [])).toBeUndefined());
});

test('marks are those of a clock, and few', () => {
  for (const hours of [1, 6, 24]) {
    const toMs = new Date(2026, 11, 2, 13, 47, 11).getTime();
    const marks = marksOf({ fromMs: toMs - hours * 3_600_000, toMs });
    expect(marks.length).toBeGreaterThanOrEqual(4);
    expect(marks.length).toBeLessThanOrEqual(7);
    for (const mark of marks) expect([new Date(mark).getMinutes() % 10, new Date(mark).getSeconds()]).toEqual([0, 0]);
  }
});
