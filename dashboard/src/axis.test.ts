import { expect, test } from 'vitest';
import { axisText } from './axis.ts';

test.each([
  [0.25, 0.25, 1, '0.25'],
  [-0.5, 0.25, 1, '−0.50'],
  [0.5, 0.5, 1, '0.5'],
  [3, 1, 1, '3.0'],
  [3, 1, 0, '3'],
  [3.705, 0.005, 2, '3.705'],
  [0.1 + 0.2, 0.1, 0, '0.3'],
  [-0.0000000001, 0.5, 1, '0.0'],
  [0.000001, 0.000001, 0, '0.000001'],
  [2.5, 2.5, 0, '2.5'],
])('the tick %d in steps of %d, %d decimals at least, is %s', (value, increment, decimals, told) => {
  expect(axisText(value, increment, decimals)).toBe(told);
});
