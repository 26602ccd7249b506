import { expect, test } from 'vitest';
import { ManualClock } from '../../base/clock.ts';
import { FlushList } from './flush-list.ts';

function setUp(light: readonly string[]) {
  const clock = new ManualClock(0);
  const isLight = new Set(light);
  const flushed: string[] = [];
  const charged: number[] = [];
  const list = new FlushList<string>({
    clock,
    isLight: (item) => isLight.has(item),
    flush: (item) => {
      flushed.push(item);
      clock.advance(1);
    },
    charge: (_item, ms) => void charged.push(ms),
  });
  return { clock, isLight, flushed, charged, list };
}

test('flushes what is light apart from the rest, each until a moment, and says how long each has taken', () => {
  const { list, flushed, charged } = setUp(['a', 'b', 'c']);
  for (const item of ['x', 'a', 'y', 'b', 'c', 'a']) list.add(item, 0);
  expect([list.size, list.hasLight]).toEqual([5, true]);
  expect(list.flushLight(0, 2)).toBe(2);
  expect(flushed).toEqual(['a', 'b']);
  expect(list.flushHeavy(2, 3)).toBe(3);
  expect(flushed).toEqual(['a', 'b', 'x']);
  list.flushLight(3, Infinity);
  list.flushHeavy(4, Infinity);
  expect(flushed).toEqual(['a', 'b', 'x', 'c', 'y']);
  expect([list.size, charged]).toEqual([0, [1, 1, 1, 1, 1]]);
});

test('what has become heavy waits with the others, and what has become light does not', () => {
  const { list, flushed, isLight } = setUp(['a', 'b']);
  for (const item of ['a', 'b', 'x']) list.add(item, 0);
  isLight.delete('a');
  list.flushLight(0, Infinity);
  expect(flushed).toEqual(['b']);
  expect(list.addLight('x', 1)).toBe(false);
  isLight.add('x');
  expect(list.addLight('x', 1)).toBe(true);
  list.flushLight(1, Infinity);
  expect([flushed, list.size]).toEqual([['b', 'x'], 1]);
  list.delete('a');
  expect(list.size).toBe(0);
});
