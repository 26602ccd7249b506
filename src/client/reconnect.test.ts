import { describe, expect, test } from 'vitest';
import { isFinalRefusal, reconnectDelayMs } from './reconnect.ts';

const POLICY = { attemptsMax: 9, delayMinMs: 100, delayMaxMs: 1000 };

describe('reconnectDelayMs', () => {
  test('the ceiling doubles up to its limit', () => {
    const ceilings = [0, 1, 2, 3, 4, 50, 2000].map((attempt) => reconnectDelayMs(attempt, POLICY, () => 1));
    expect(ceilings).toEqual([100, 200, 400, 800, 1000, 1000, 1000]);
    expect(reconnectDelayMs(1e9, { ...POLICY, delayMinMs: 0 }, () => 1)).toBe(0);
  });

  test('jitter is full: anything from nothing on', () => {
    expect(reconnectDelayMs(3, POLICY, () => 0)).toBe(0);
    expect(reconnectDelayMs(3, POLICY, () => 0.5)).toBe(400);
  });
});

describe('isFinalRefusal', () => {
  test.each([
    ['SESSION_TAKEN_OVER', 4409, true],
    ['QUERY_BAD', 4400, true],
    ['ORIGIN_FORBIDDEN', 4403, true],
    ['MESSAGE_TOO_LARGE', 1009, true],
    ['A_NEWER_CODE', 4422, true],
    ['A_NEWER_CODE', 4503, false],
    ['A_NEWER_CODE', 1006, false],
    ['toString', 1006, false],
    ['CONNECTION_LOST', 1006, false],
    ['CONNECTION_LOST', 4408, false],
    ['SESSION_IDLE', 4408, false],
    ['SESSION_NAME_IN_USE', 4409, false],
    ['SHUTTING_DOWN', 1001, false],
    ['CONNECTIONS_EXHAUSTED', 4503, false],
  ])('%s with close code %d: %s', (code, closeCode, final) => expect(isFinalRefusal(code, closeCode)).toBe(final));
});
