import { expect, test } from 'vitest';
import { targetOf } from './target.ts';

test.each([
  ['', './'],
  ['?to=/rover.html', '/rover.html'],
  ['?to=/sightline/rover.html', '/sightline/rover.html'],
  [`?to=${encodeURIComponent('/?budget_ms=80#x')}`, '/?budget_ms=80#x'],
  ['?to=https://evil.example/', './'],
  ['?to=//evil.example/', './'],
  [`?to=${encodeURIComponent('/\\evil.example')}`, './'],
  ['?to=javascript:alert(1)', './'],
  ['?to=rover.html', './'],
])('after signing in, %s leads to %s', (search, path) => expect(targetOf(search)).toBe(path));
