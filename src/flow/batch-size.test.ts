import fc from 'fast-check';
import { expect, test } from 'vitest';
import { batchEnd, fitBytes } from './batch-size.ts';

test('who keeps up takes what there is', () => {
  expect(batchEnd(10, 11)).toBe(11);
  expect(batchEnd(10, 266)).toBe(266);
});

test('readers that are far behind end their batches at the same places, whatever they began with', () => {
  const ends = (from: number) => {
    const all: number[] = [];
    for (let at = from; at < 5_000; at = batchEnd(at, 5_000)) all.push(batchEnd(at, 5_000));
    return all;
  };
  expect(ends(100)).toEqual([1_024, 2_048, 3_072, 4_096, 4_608, 4_864, 5_000]);
  expect(ends(1_777).slice(1)).toEqual(ends(100).slice(2));
});

test('a batch goes on and ends within what is there', () => {
  fc.assert(
    fc.property(fc.nat(1e6), fc.integer({ min: 1, max: 1e5 }), (from, behind) => {
      const end = batchEnd(from, from + behind);
      expect(end).toBeGreaterThan(from);
      expect(end).toBeLessThanOrEqual(from + behind);
    }),
  );
});

test('as many messages as fit, at least one', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 40 }),
      fc.nat(200),
      (sizes, bytesMax) => {
        const before = (position: number) => sizes.slice(0, position).reduce((sum, n) => sum + n, 0);
        const to = fitBytes(0, sizes.length, bytesMax, before);
        expect(to).toBeGreaterThanOrEqual(1);
        if (to > 1) expect(before(to)).toBeLessThanOrEqual(bytesMax);
        if (to < sizes.length) expect(before(to + 1)).toBeGreaterThan(bytesMax);
      },
    ),
  );
});
