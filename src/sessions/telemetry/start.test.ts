import { describe, expect, test } from 'vitest';
import { decideStart } from './start.ts';

const TOPIC = { epoch: 7, oldest: 100, head: 5_000 };
const since = (seq: number, epoch = 7) => ({ epoch, seq });

describe('where a subscription begins', () => {
  test('without a position: with what is new; who wants the newest value gets the one that is there', () => {
    for (const contract of ['all', 'reliable'] as const)
      expect(decideStart(contract, TOPIC, undefined)).toEqual({ from: 5_000, backfill: undefined, recovered: true });
    for (const contract of ['latest', 'sampled'] as const)
      expect(decideStart(contract, TOPIC, undefined)).toMatchObject({ from: 4_999, recovered: true });
    expect(decideStart('latest', { epoch: 7, oldest: 0, head: 0 }, undefined)).toMatchObject({ from: 0 });
  });

  test('from a position that is held: with the message after it', () => {
    expect(decideStart('reliable', TOPIC, since(4_990))).toEqual({ from: 4_990, backfill: undefined, recovered: true });
    expect(decideStart('reliable', TOPIC, since(5_000))).toMatchObject({ from: 5_000, recovered: true });
    expect(decideStart('latest', TOPIC, since(4_000))).toMatchObject({ from: 4_999, recovered: true });
    expect(decideStart('latest', TOPIC, since(5_000))).toMatchObject({ from: 5_000, recovered: true });
  });

  test('after a long gap: with the newest, and the missed ones later', () => {
    expect(decideStart('all', TOPIC, since(4_000))).toMatchObject({ from: 4_000, backfill: undefined });
    expect(decideStart('all', TOPIC, since(3_999))).toEqual({
      from: 4_999,
      backfill: { from: 3_999, to: 4_999 },
      recovered: true,
    });
    expect(decideStart('reliable', TOPIC, since(100))).toMatchObject({ backfill: { from: 100, to: 4_999 } });
  });

  test.each([
    ['overwritten', since(99)],
    ['of another epoch', since(4_999, 8)],
    ['of the future', since(5_001)],
  ])('from a position that is %s: with the latest value, and honestly', (_, position) => {
    expect(decideStart('reliable', TOPIC, position)).toEqual({ from: 4_999, backfill: undefined, recovered: false });
  });
});
