import { expect, test } from 'vitest';
import { PendingPictures } from './pictures.ts';

test('every picture is there until it is freed, once', () => {
  const freed: string[] = [];
  const pending = new PendingPictures<string>((picture) => freed.push(picture));
  for (const [seq, picture] of ['a', 'b', 'c', 'd'].entries()) pending.keep(seq, picture);
  expect(pending.get(1)).toBe('b');
  pending.free([1]);
  expect(pending.get(1)).toBeUndefined();
  pending.free([2, 2, 1, 99]);
  expect(pending.size).toBe(2);
  pending.freeAll();
  expect(freed).toEqual(['b', 'c', 'a', 'd']);
});
