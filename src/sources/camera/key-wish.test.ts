import { expect, test } from 'vitest';
import { KeyWish } from './key-wish.ts';

const KEY = { isKey: true, lost: 0 };
const NEXT = { isKey: false, lost: 0 };

test('a key frame is asked for at the beginning, and again until it comes', () => {
  const wish = new KeyWish();
  expect([0, 100, 499, 500, 501].map((atMs) => wish.isDue(atMs))).toEqual([true, false, false, true, false]);
  wish.see(KEY, 900);
  expect(wish.isDue(1_100)).toBe(false);
});

test('then every two seconds', () => {
  const wish = new KeyWish();
  wish.see(KEY, 0);
  wish.see(NEXT, 1_900);
  expect([1_999, 2_000].map((atMs) => wish.isDue(atMs))).toEqual([false, true]);
  wish.see(KEY, 2_100);
  expect([4_000, 4_100].map((atMs) => wish.isDue(atMs))).toEqual([false, true]);
});

test('and at once where frames are lost, but for a key frame that comes after them', () => {
  const wish = new KeyWish();
  wish.see(KEY, 0);
  wish.see({ isKey: false, lost: 1 }, 100);
  expect(wish.isDue(100)).toBe(true);
  wish.see({ isKey: true, lost: 3 }, 200);
  expect(wish.isDue(700)).toBe(false);
});
