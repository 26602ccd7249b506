import { expect, test } from 'vitest';
import { fnv1a } from './hash.ts';

// The vectors of Noll's own test suite (http://www.isthe.com/chongo/tech/comp/fnv/).
test('fnv1a gives the published hashes', () => {
  expect(fnv1a('')).toBe(0x811c9dc5);
  expect(fnv1a('a')).toBe(0xe40c292c);
  expect(fnv1a('foobar')).toBe(0xbf9cf968);
});

test('fnv1a goes on where it was', () => {
  expect(fnv1a('bar', fnv1a('foo'))).toBe(fnv1a('foobar'));
});
