import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { batchEnd, leapTo, restAfter, shareBatches } from './batch-size.ts';

const TEN_BYTES = (position: number) => 10 * position;

test('who keeps up takes what there is', () => {
  expect(batchEnd(10, 11, 1e6, TEN_BYTES)).toBe(11);
  expect(batchEnd(10, 266, 1e6, TEN_BYTES)).toBe(266);
});

test('readers that are far behind end their batches at the same places, whatever they began with', () => {
  const ends = (from: number, bytesMax: number) => {
    const all: number[] = [];
    for (let at = from; at < 5_000; at = all.at(-1)!) all.push(batchEnd(at, 5_000, bytesMax, TEN_BYTES));
    return all;
  };
  expect(ends(100, 1e6)).toEqual([1_024, 2_048, 3_072, 4_096, 4_608, 4_864, 5_000]);
  expect(ends(1_777, 1e6).slice(1)).toEqual(ends(100, 1e6).slice(2));
  const few = ends(100, 3_000);
  expect(ends(1_777, 3_000).filter((end) => end > 2_048)).toEqual(few.filter((end) => end > 2_048));
});

test('a batch goes on, ends within what is there, and within its bytes unless it is one message', () => {
  fc.assert(
    fc.property(
      fc.nat(1e4),
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 400 }),
      fc.nat(3_000),
      (from, sizes, bytesMax) => {
        const before = (position: number) => sizes.slice(0, position - from).reduce((sum, n) => sum + n, 0);
        const end = batchEnd(from, from + sizes.length, bytesMax, before);
        expect(end).toBeGreaterThan(from);
        expect(end).toBeLessThanOrEqual(from + sizes.length);
        if (end > from + 1) expect(before(end)).toBeLessThanOrEqual(bytesMax);
      },
    ),
  );
});

test('who was overtaken goes on a quarter further, where others do', () => {
  expect(leapTo(1_000, 11_000)).toBe(4_096);
  expect(leapTo(1_300, 11_300)).toBe(4_096);
  expect(leapTo(100, 300)).toBe(300);
});

describe('rests between rounds', () => {
  const busy = { tookMs: 1, idleMs: 0, isAfterBusy: true, messages: 1 };

  test('there are none while a round is short, so that nothing waits on an idle server', () => {
    for (const tookMs of [0, 0.3]) expect(restAfter({ ...busy, tookMs }, 5)).toBe(0);
    expect(restAfter({ ...busy, tookMs: 0.3, messages: 100 }, 5)).toBe(0);
  });

  test('there are none where the lane was idle for as long as the round took, however long that was', () => {
    expect(restAfter({ ...busy, idleMs: 1 }, 5)).toBe(0);
    expect(restAfter({ ...busy, tookMs: 3, idleMs: 3.5, messages: 8 }, 5)).toBe(0);
    expect(restAfter({ ...busy, idleMs: 0.9 }, 5)).toBe(3);
  });

  test('there are none after one round that was held up', () => {
    expect(restAfter({ ...busy, isAfterBusy: false, tookMs: 10, messages: 50 }, 5)).toBe(0);
  });

  test('sending takes a quarter of a busy lane’s time at most, and no rest is longer than is allowed', () => {
    expect(restAfter(busy, 5)).toBe(3);
    expect(restAfter({ ...busy, tookMs: 10 }, 5)).toBe(5);
    expect(restAfter({ ...busy, tookMs: 10 }, 0)).toBe(0);
  });

  test('dense topics rest as long as is allowed: their batches are worth it', () => {
    expect(restAfter({ ...busy, tookMs: 0.5, messages: 4 }, 5)).toBe(5);
    expect(restAfter({ ...busy, tookMs: 0.5, messages: 3 }, 5)).toBe(1.5);
  });
});

test('topics share a batch where a quarter of their readers want the same', () => {
  expect(shareBatches(1, 1)).toBe(true);
  expect(shareBatches(25, 100)).toBe(true);
  expect(shareBatches(24, 100)).toBe(false);
});
