import { expect, test } from 'vitest';
import { readBasePath } from './base-paths.ts';

test.each([
  ['/', '/'],
  ['/sightline', '/sightline'],
  [' /a/b_c.d~e-f/ ', '/a/b_c.d~e-f'],
])('%s is %s', (text, value) => expect(readBasePath(text)).toEqual({ value }));

test.each(['sightline', '//x', '/a//b', '/a b', '/a?b', '/%41', '/..', '/a/./b', 'https://cam.example/a', '/ä'])(
  '%s is none',
  (text) => expect(readBasePath(text)).toHaveProperty('fault'),
);
