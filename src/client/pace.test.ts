import { expect, test } from 'vitest';
import { Pace } from './pace.ts';

test('one second of nine tenths of the rate may go at once, then as much as time brings', () => {
  const pace = new Pace();
  expect(pace.allowed(1_000, 100)).toBe(90);
  pace.spend(90);
  expect(pace.allowed(1_000, 100)).toBe(0);
  expect(pace.allowed(1_100, 100)).toBe(9);
  // Critical ones do not ask.
  pace.spend(30);
  expect(pace.allowed(1_300, 100)).toBe(0);
  expect(pace.allowed(1_400, 100)).toBe(6);
  expect(pace.allowed(60_000, 100)).toBe(90);
  expect(pace.allowed(50_000, 100)).toBe(90);
});
