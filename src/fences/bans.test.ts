import { describe, expect, test } from 'vitest';
import { Bans } from './bans.ts';

describe('bans', () => {
  test('the third disconnection within the time bans for that time', () => {
    const bans = new Bans(10_000);
    bans.disconnected('x', 0);
    bans.disconnected('x', 9_000);
    expect(bans.bannedUntil('x', 9_000)).toBeUndefined();
    bans.disconnected('x', 18_000);
    expect(bans.bannedUntil('x', 27_999)).toBe(28_000);
    expect(bans.bannedUntil('x', 28_000)).toBeUndefined();
    expect(bans.bannedUntil('y', 18_000)).toBeUndefined();
  });

  test('old offences do not count, and only so many names are remembered', () => {
    const bans = new Bans(10_000);
    for (const atMs of [0, 10_000, 20_000, 30_000]) bans.disconnected('x', atMs);
    expect(bans.bannedUntil('x', 30_000)).toBeUndefined();
    for (let i = 0; i < 11_000; i++) bans.disconnected(`name ${i}`, 30_000);
    expect(bans.size).toBe(10_000);
  });
});
