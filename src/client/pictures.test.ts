import { expect, test } from 'vitest';
import { PendingPictures } from './pictures.ts';

test('every picture is freed once, after its use', () => {
  const events: string[] = [];
  const pending = new PendingPictures<string>((picture) => events.push(`free ${picture}`));
  for (const [seq, picture] of ['a', 'b', 'c', 'd'].entries()) pending.keep(seq, picture);
  expect(pending.use(1, (picture) => events.push(`use ${picture}`))).toBe(true);
  expect(pending.use(1, () => events.push('never'))).toBe(false);
  pending.free([2, 2, 99]);
  expect(pending.size).toBe(2);
  pending.freeAll();
  expect(events).toEqual(['use b', 'free b', 'free c', 'free a', 'free d']);
});

test('a use that throws frees all the same', () => {
  const freed: string[] = [];
  const pending = new PendingPictures<string>((picture) => freed.push(picture));
  pending.keep(1, 'a');
  const use = () =>
    pending.use(1, (picture) => {
      throw new Error(picture);
    });
  expect(use).toThrow('a');
  expect(freed).toEqual(['a']);
});
