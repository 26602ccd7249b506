import { beforeEach, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { LoginLimits } from './login-limits.ts';

let clock: ManualClock;
let limits: LoginLimits;
beforeEach(() => {
  clock = new ManualClock();
  limits = new LoginLimits(clock);
});

/** Fails as soon as it may, so often; how long it had to wait each time, seconds. */
function fail(times: number, address: string, name?: string): number[] {
  return Array.from({ length: times }, () => {
    const waitS = limits.waitS(address, name);
    clock.advance(waitS * 1000);
    limits.begin(address, name);
    return waitS;
  });
}

test('after five failures an address waits, twice as long each time, a minute at most', () => {
  expect(fail(14, '192.0.2.1')).toEqual([0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
  expect(limits.waitS('192.0.2.1', 'ada')).toBe(60);
  expect(limits.waitS('192.0.2.2', 'ada')).toBe(0);
  clock.advance(30_000);
  expect(limits.waitS('192.0.2.1', undefined)).toBe(30);
});

test('a network of IPv6 is one address', () => {
  fail(6, '2001:db8::1');
  expect(limits.waitS('2001:db8::ffff', undefined)).toBeGreaterThan(0);
  expect(limits.waitS('2001:db8:0:1::1', undefined)).toBe(0);
});

test('many at once gain nothing: each counts before it is known to have failed', () => {
  const attempts = Array.from({ length: 5 }, () => limits.begin('192.0.2.1', undefined));
  expect(limits.waitS('192.0.2.1', undefined)).toBe(1);
  attempts[0]!.forgive();
  expect(limits.waitS('192.0.2.1', undefined)).toBe(0);
});

test('who gets in has no failure of it; who has failed before has still failed', () => {
  for (let i = 0; i < 100; i++) limits.begin('192.0.2.1', 'ada').succeed();
  expect(fail(5, '192.0.2.1')).toEqual([0, 0, 0, 0, 0]);
  limits.begin('192.0.2.1', 'ada').succeed();
  expect(limits.waitS('192.0.2.1', undefined)).toBe(1);
});

test('failures are forgotten, one in ten minutes', () => {
  fail(7, '192.0.2.1');
  clock.advance(600_000);
  limits.begin('192.0.2.1', undefined);
  expect(limits.waitS('192.0.2.1', undefined)).toBe(4);
  clock.advance(3 * 600_000);
  expect(fail(2, '192.0.2.1')).toEqual([0, 1]);
});

test('a name that fails from everywhere waits, but not where its owner has signed in before', () => {
  limits.begin('198.51.100.7', 'ada').succeed();
  for (let i = 0; i < 30; i++) fail(1, `192.0.2.${i}`, 'ada');
  expect(limits.waitS('203.0.113.9', 'ada')).toBe(30);
  expect(limits.waitS('203.0.113.9', 'bob')).toBe(0);
  expect(limits.waitS('203.0.113.9', undefined)).toBe(0);
  expect(limits.waitS('198.51.100.7', 'ada')).toBe(0);
});

test('addresses and names without end are forgotten, the oldest first', () => {
  fail(6, '192.0.2.1', 'ada');
  for (let i = 0; i < 10_000; i++) limits.begin(`10.0.${i >> 8}.${i & 255}`, `n${i}`);
  expect(limits.waitS('192.0.2.1', undefined)).toBe(0);
});
