import { describe, expect, test } from 'vitest';
import {
  isUpright,
  type Orientation,
  orientationOf,
  orientationOfExif,
  swapsSides,
  turnUpright,
  UPRIGHT,
  uprightSize,
} from './orient.ts';

const ONE = 0x10000;

function matrix(a: number, b: number, c: number, d: number): Uint8Array {
  const bytes = new Uint8Array(36);
  const view = new DataView(bytes.buffer);
  for (const [index, value] of [a, b, 0, c, d, 0, 0, 0, 0x40000000].entries()) view.setInt32(index * 4, value, true);
  return bytes;
}

/** A picture of 3 × 2 whose pixels are named by letters, turned; rows joined by spaces. */
function turned(orientation: Orientation, bytesPerPixel: 3 | 4 = 3): string {
  const data = Uint8Array.from({ length: 6 * bytesPerPixel }, (_, i) => 97 + Math.floor(i / bytesPerPixel));
  const into = new Uint8Array(data.length);
  turnUpright(data, 3, 2, orientation, into, bytesPerPixel);
  const text = String.fromCharCode(...into.filter((_, i) => i % bytesPerPixel === 0));
  const width = swapsSides(orientation) ? 2 : 3;
  return text.match(new RegExp(`.{${width}}`, 'g'))!.join(' ');
}

describe('a picture abc/def', () => {
  test.each([
    ['upright', [ONE, 0, 0, ONE], 'abc def'],
    ['a quarter clockwise', [0, ONE, -ONE, 0], 'da eb fc'],
    ['upside down', [-ONE, 0, 0, -ONE], 'fed cba'],
    ['a quarter counter-clockwise', [0, -ONE, ONE, 0], 'cf be ad'],
    ['mirrored', [-ONE, 0, 0, ONE], 'cba fed'],
    ['flipped', [ONE, 0, 0, -ONE], 'def abc'],
    ['transposed', [0, ONE, ONE, 0], 'ad be cf'],
  ] as const)('%s', (_, [a, b, c, d], rows) => {
    expect(turned(orientationOf(matrix(a, b, c, d)))).toBe(rows);
  });

  // EXIF 2.3 §4.6.4: where the stored first row and column are to be seen.
  test.each([
    [1, 'abc def'],
    [2, 'cba fed'],
    [3, 'fed cba'],
    [4, 'def abc'],
    [5, 'ad be cf'],
    [6, 'da eb fc'],
    [7, 'fc eb da'],
    [8, 'cf be ad'],
    [0, 'abc def'],
    [9, 'abc def'],
  ])('with EXIF orientation %i, with 3 and with 4 bytes a pixel', (value, rows) => {
    const orientation = orientationOfExif(value);
    expect([turned(orientation, 3), turned(orientation, 4)]).toEqual([rows, rows]);
    const size = uprightSize({ width: 3, height: 2 }, orientation);
    expect(size).toEqual(rows[2] === ' ' ? { width: 2, height: 3 } : { width: 3, height: 2 });
  });
});

test('without a matrix, with a short one and with an odd angle a picture stays as it is', () => {
  expect(orientationOf(null)).toEqual(UPRIGHT);
  expect(orientationOf(new Uint8Array(8))).toEqual(UPRIGHT);
  expect(orientationOf(matrix(46341, 46341, -46341, 46341))).toEqual(UPRIGHT);
  expect(orientationOf(matrix(0, 0, 0, 0))).toEqual(UPRIGHT);
  expect(isUpright(orientationOf(matrix(ONE, 0, 0, ONE)))).toBe(true);
  expect(isUpright(orientationOf(matrix(-ONE, 0, 0, -ONE)))).toBe(false);
});
