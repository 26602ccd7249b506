import { describe, expect, test } from 'vitest';
import { freshRate, judgeRate, STRIKES_FOR, type RateVerdict } from './rate-limit.ts';

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
