import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { RgbPicture } from '../../media/jpeg.ts';
import { shrink } from './shrink.ts';

function picture(
  width: number,
  height: number,
  at: (x: number, y: number) => readonly [number, number, number],
): RgbPicture {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) data.set(at(x, y), (y * width + x) * 3);
  }
  return { data, width, height };
}

test('half the size is the mean of four pixels, each colour for itself', () => {
  const four = picture(2, 2, (x, y) => [x * 100, y * 200, 40]);
  expect(shrink(four, 1, 1)).toEqual({ data: Uint8Array.of(50, 100, 40), width: 1, height: 1 });
});

test('sizes that do not divide: pixels count by the part that lies within', () => {
  const three = picture(3, 1, (x) => [x * 60, 0, 0]);
  // Of 0, 60, 120: one and a half each, (0 + 30) / 1.5 and (30 + 120) / 1.5.
  expect([...shrink(three, 2, 1).data]).toEqual([20, 0, 0, 100, 0, 0]);
});

test('its own size is the picture itself', () => {
  const same = picture(4, 3, () => [1, 2, 3]);
  expect(shrink(same, 4, 3)).toBe(same);
});

test('a picture of one colour stays so, at every size, and the mean stays what it is', () => {
  const side = fc.integer({ min: 1, max: 24 });
  fc.assert(
    fc.property(side, side, side, side, fc.integer({ min: 0, max: 255 }), (width, height, w, h, value) => {
      const small = shrink(
        picture(width, height, () => [value, 255 - value, 7]),
        Math.min(w, width),
        Math.min(h, height),
      );
      for (let i = 0; i < small.data.length; i += 3) {
        expect([...small.data.subarray(i, i + 3)]).toEqual([value, 255 - value, 7]);
      }
      const mixed = picture(width, height, (x, y) => [(x * 37 + y * 101) % 256, 0, 0]);
      const mean = ({ data }: RgbPicture) =>
        data.reduce((sum, one, i) => sum + (i % 3 === 0 ? one : 0), 0) / (data.length / 3);
      expect(Math.abs(mean(shrink(mixed, Math.min(w, width), Math.min(h, height))) - mean(mixed))).toBeLessThan(0.6);
    }),
  );
});
