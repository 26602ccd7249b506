import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decideLease, expireLease, LEASE_MS, NO_LEASE, refuseCommand, type LeaseBook } from './drive-lease.ts';

const NOW = 1_000_000;
const acquire = (driver: string, name?: string) => ({ action: 'acquire', driver, name }) as const;
const held = decideLease(NO_LEASE, acquire('a', 'Anna'), NOW);

describe('the lease', () => {
  test('goes to who asks first; nobody else gets it while it lasts', () => {
    expect(held).toEqual({ number: 1, holder: { driver: 'a', name: 'Anna', expiresTimeMs: NOW + LEASE_MS } });
    expect(decideLease(held, acquire('b'), NOW + LEASE_MS - 1)).toEqual(held);
  });

  test('is longer with each renewal, which keeps its number and name', () => {
    const renewed = decideLease(held, { action: 'renew', driver: 'a' }, NOW + 500);
    expect(renewed).toEqual({ number: 1, holder: { ...held.holder, expiresTimeMs: NOW + 500 + LEASE_MS } });
    expect(decideLease(held, acquire('a'), NOW + 500)).toEqual(renewed);
  });

  test('once over it is not renewed but acquired anew, by anybody', () => {
    const late = NOW + LEASE_MS;
    expect(expireLease(held, late - 1)).toBe(held);
    expect(expireLease(held, late).holder).toBeUndefined();
    expect(decideLease(held, { action: 'renew', driver: 'a' }, late).holder).toBeUndefined();
    expect(decideLease(held, acquire('b'), late)).toMatchObject({ number: 2, holder: { driver: 'b' } });
  });

  test('is given back by its holder alone', () => {
    expect(decideLease(held, { action: 'release', driver: 'b' }, NOW)).toEqual(held);
    expect(decideLease(held, { action: 'release', driver: 'a' }, NOW)).toEqual({ number: 1, holder: undefined });
  });

  test('at any moment there is one driver at most, and numbers only rise', () => {
    const request = fc.record({
      action: fc.constantFrom('acquire', 'renew', 'release' as const),
      driver: fc.constantFrom('a', 'b', 'c'),
      afterMs: fc.integer({ min: 0, max: LEASE_MS }),
    });
    fc.assert(
      fc.property(fc.array(request, { maxLength: 60 }), (requests) => {
        let book: LeaseBook = NO_LEASE;
        let nowMs = NOW;
        for (const { action, driver, afterMs } of requests) {
          nowMs += afterMs;
          const before = expireLease(book, nowMs);
          book = decideLease(book, { action, driver }, nowMs);
          expect(book.number).toBeGreaterThanOrEqual(before.number);
          if (before.holder && before.holder.driver !== driver) expect(book).toEqual(before);
          if (book.holder?.driver !== before.holder?.driver && book.holder) expect(book.number).toBe(before.number + 1);
        }
      }),
    );
  });
});

describe('a command', () => {
  const command = { driver: 'a', lease: 1, expiresTimeMs: NOW + 300 };
  test.each([
    ['of the driver', held, command, NOW, undefined],
    ['of somebody else', held, { ...command, driver: 'b' }, NOW, 'not_driver'],
    ['when nobody drives', NO_LEASE, command, NOW, 'not_driver'],
    ['when the lease has run out', held, { ...command, expiresTimeMs: NOW + 9_999 }, NOW + LEASE_MS, 'not_driver'],
    [
      'of an earlier lease',
      decideLease(expireLease(held, NOW + LEASE_MS), acquire('a'), NOW + LEASE_MS),
      command,
      NOW,
      'lease_old',
    ],
    ['that comes too late', held, command, NOW + 300, 'expired'],
  ])('%s', (_, book, given, nowMs, refusal) => {
    expect(refuseCommand(book, given, nowMs)).toBe(refusal);
  });
});
