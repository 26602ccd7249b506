import { expect, test } from 'vitest';
import { hasTag, readRange } from './range.ts';

test.each([
  [undefined, 'whole'],
  ['bytes=0-9', { from: 0, to: 10 }],
  ['bytes=90-', { from: 90, to: 100 }],
  ['bytes=90-1000', { from: 90, to: 100 }],
  ['bytes=-10', { from: 90, to: 100 }],
  ['bytes=-1000', { from: 0, to: 100 }],
  ['bytes=99-99', { from: 99, to: 100 }],
  ['bytes=100-', 'none'],
  ['bytes=-0', 'none'],
  // What is no range, or several, is left unfulfilled.
  ['bytes=9-0', 'whole'],
  ['bytes=-', 'whole'],
  ['bytes=0-1,5-6', 'whole'],
  ['lines=0-1', 'whole'],
  ['bytes=0-99999999999999999999', 'whole'],
])('%s of a hundred bytes', (range, expected) => {
  expect(readRange({ range }, 100, '"a"')).toEqual(expected);
});

test('a part of bytes that are still those', () => {
  const range = 'bytes=0-9';
  expect(readRange({ range, 'if-range': '"a"' }, 100, '"a"')).toEqual({ from: 0, to: 10 });
  expect(readRange({ range, 'if-range': '"b"' }, 100, '"a"')).toBe('whole');
});

test('tags of a client', () => {
  expect(hasTag('"b", W/"a"', '"a"')).toBe(true);
  expect(hasTag('*', '"a"')).toBe(true);
  expect(hasTag('"b"', '"a"')).toBe(false);
  expect(hasTag(undefined, '"a"')).toBe(false);
});
