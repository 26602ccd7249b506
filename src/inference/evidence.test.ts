import { expect, test } from 'vitest';
import { evidenceOf } from './evidence.ts';

const PICTURE = { width: 64, height: 64 };

test('ranges along both axes; what is no number counts for nothing', () => {
  const { columns, rows } = evidenceOf([1, Number.NaN, -2, 0.5, 3, Infinity], [2, 3], PICTURE);
  expect(columns).toEqual({ min: [0.5, 3, -2], max: [1, 3, -2], whole: [false, true, true] });
  expect(rows).toEqual({ min: [-2, 0.5], max: [1, 3], whole: [true, false] });
  expect(evidenceOf([Number.NaN], [1, 1], PICTURE).columns).toEqual({ min: [0], max: [0], whole: [true] });
});

test('an axis longer than any list of classes is left out', () => {
  const { columns, rows, scores } = evidenceOf(new Float32Array(4 * 3000), [4, 3000], PICTURE);
  expect(columns).toBeUndefined();
  expect(scores).toBeUndefined();
  expect(rows?.boxes).toEqual({ count: 0, isPixels: false, negative: 0, crossed: 0, spilt: 0 });
});

test.each([
  [
    'centres in pixels',
    [40, 40, 10, 10, 10, 10, 30, 30],
    { count: 2, isPixels: true, negative: 0, crossed: 0.5, spilt: 0.5 },
  ],
  [
    'corners in pixels',
    [10, 10, 30, 40, 30, 30, 64, 64],
    { count: 2, isPixels: true, negative: 0, crossed: 0, spilt: 0.5 },
  ],
  [
    'corners in fractions',
    [0.1, 0.1, 0.5, 0.6, 0, 0, 0, 0],
    { count: 1, isPixels: false, negative: 0, crossed: 0, spilt: 1 },
  ],
  [
    'offsets',
    [0.1, -0.1, -0.5, 0.6, 0.5, 0, 0.1, 0.1],
    { count: 2, isPixels: false, negative: 0.5, crossed: 1, spilt: 0.5 },
  ],
  [
    'centres in fractions',
    [0.5, 0.5, 0.2, 0.2, 0.9, 0.9, 0.1, 0.1],
    { count: 2, isPixels: false, negative: 0, crossed: 1, spilt: 0 },
  ],
])('%s', (_, numbers, boxes) => expect(evidenceOf(numbers, [2, 4], PICTURE).columns?.boxes).toEqual(boxes));

test('scores: sums, columns that win, and what is over 0', () => {
  expect(evidenceOf([0.1, 0.9, 0.7, 0.3], [2, 2], PICTURE).scores).toMatchObject({
    sumsToOne: 1,
    firstWinsPlain: 0.5,
    lastWinsPlain: 0.5,
  });
  expect(evidenceOf([-5, -5, 4, -5, 3, -5], [2, 3], PICTURE).scores).toEqual({
    sumsToOne: 0,
    lastWins: 0.5,
    firstWinsPlain: 0,
    lastWinsPlain: 0.5,
    positive: 1,
    positiveButFirst: 1,
    positiveButLast: 0.5,
  });
});
