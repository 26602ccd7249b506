import { describe, expect, test } from 'vitest';
import { isUpright, orientationOf, swapsSides, turnUpright, UPRIGHT } from './orient.ts';

const ONE = 0x10000;

function matrix(a: number, b: number, c: number, d: number): Uint8Array {
  const bytes = new Uint8Array(36);
  const view = new DataView(bytes.buffer);
  for (const [index, value] of [a, b, 0, c, d, 0, 0, 0, 0x40000000].entries()) view.setInt32(index * 4, value, true);
  return bytes;
}

/** A picture of 3 × 2 whose pixels are named by letters, turned; rows joined by spaces. */
function turned(a: number, b: number, c: number, d: number): string {
  const orientation = orientationOf(matrix(a, b, c, d));
  const data = Uint8Array.from('abcdef', (letter) => letter.charCodeAt(0)).reduce<number[]>((all, v) => {
    all.push(v, v, v);
    return all;
  }, []);
  const into = new Uint8Array(18);
  turnUpright(Uint8Array.from(data), 3, 2, orientation, into);
  const text = String.fromCharCode(...into.filter((_, i) => i % 3 === 0));
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
    expect(turned(a, b, c, d)).toBe(rows);
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
