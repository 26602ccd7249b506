import { describe, expect, test } from 'vitest';
import { Bans, freshRate, judgeRate, STRIKES_FOR, type RateVerdict } from './rate-limit.ts';

const SETTINGS = { messagesPerS: 100, bytesPerS: 10_000, muteMs: 5_000 };

/** Publishes `perTick` messages of `bytes` each 100 ms, for so many seconds, and gives the verdicts that punish. */
function simulate(perTick: number, bytes: number, seconds: number) {
  let state = freshRate(SETTINGS, 0);
  const verdicts: (RateVerdict & { atMs: number })[] = [];
  for (let atMs = 0; atMs < seconds * 1000; atMs += 100) {
    const verdict = judgeRate(state, perTick, perTick * bytes, atMs, SETTINGS);
    state = verdict.state;
    verdicts.push({ ...verdict, atMs });
  }
  return verdicts;
}

const penalties = (verdicts: RateVerdict[]) => verdicts.map(({ penalty }) => penalty).filter((p) => p !== 'none');

describe('the rate', () => {
  test('what is granted passes for ever, and a second of it at once', () => {
    expect(simulate(10, 100, 60).every(({ allowed, penalty }) => allowed && penalty === 'none')).toBe(true);
    const burst = judgeRate(freshRate(SETTINGS, 0), 100, 100, 0, SETTINGS);
    expect(burst).toMatchObject({ allowed: true, penalty: 'none' });
    expect(judgeRate(burst.state, 1, 1, 0, SETTINGS)).toMatchObject({ allowed: true, penalty: 'warn' });
  });

  test('bytes count as well', () => {
    expect(penalties(simulate(1, 5_000, 5))[0]).toBe('warn');
  });

  test('who goes on too fast is warned, slowed, muted and disconnected, in this order', () => {
    const verdicts = simulate(50, 10, 40);
    const order = [...new Set(penalties(verdicts))];
    expect(order).toEqual(['warn', 'slow', 'mute', 'disconnect']);
    const mute = verdicts.findIndex(({ penalty }) => penalty === 'mute');
    expect(verdicts.slice(0, mute).every(({ allowed }) => allowed)).toBe(true);
    expect(verdicts.slice(mute, mute + 50).every(({ allowed }) => !allowed)).toBe(true);
    expect(penalties(verdicts).indexOf('disconnect')).toBe(STRIKES_FOR.disconnect - 1);
  });

  test('a pause is as long as it takes to be allowed half a second again, at most a second', () => {
    const slow = simulate(50, 10, 5).find(({ penalty }) => penalty === 'slow')!;
    expect(slow.pauseMs).toBe(1_000);
    const state = { ...freshRate(SETTINGS, 0), messages: 0, strikes: 1, lastStrikeMs: -2_000 };
    expect(judgeRate(state, 10, 10, 0, SETTINGS)).toMatchObject({ penalty: 'slow', pauseMs: 600 });
  });

  test('good behaviour is forgiven', () => {
    const { state } = simulate(50, 10, 10).at(-1)!;
    expect(state.strikes).toBeGreaterThan(2);
    const later = judgeRate(state, 1, 10, 10_000 + 5_000 * state.strikes, SETTINGS);
    expect(later.state.strikes).toBe(0);
  });

  test('a clock that steps back stands still', () => {
    const { state } = judgeRate(freshRate(SETTINGS, 1_000), 100, 0, 1_000, SETTINGS);
    expect(judgeRate(state, 0, 0, -50_000, SETTINGS).state).toMatchObject({ messages: 0, atMs: 1_000 });
  });
});

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
