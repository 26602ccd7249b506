import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Priority } from '../base/sample.ts';
import { shareCapacity as share, spreadCapacity, type Demand } from './share.ts';

/** With one floor for all. */
const shareCapacity = (capacity: number, demands: readonly Demand[], floor: number) =>
  share(
    capacity,
    demands.map((demand) => ({ ...demand, floor })),
  );

/** What sums of floating-point numbers are off by. */
const EPSILON = 1e-6;

const all = (wanted: readonly number[], priority: Priority = 1): Demand[] =>
  wanted.map((want) => ({ priority, wanted: want }));

const total = (shares: readonly number[]) => shares.reduce((sum, share) => sum + share, 0);

describe('one class', () => {
  test('who wants little gets it, the others share what is left evenly', () => {
    expect(shareCapacity(30, all([2, 30, 8, 30]), 0)).toEqual([2, 10, 8, 10]);
  });

  test('with enough for all everybody gets what they want and no more', () => {
    expect(shareCapacity(1_000, all([2, 30, 8]), 1)).toEqual([2, 30, 8]);
  });

  test('who wants everything gets an even share', () => {
    expect(shareCapacity(30, all([Infinity, 5, Infinity]), 1)).toEqual([12.5, 5, 12.5]);
  });

  test('what the floor gives is part of the even share', () => {
    expect(shareCapacity(30, all([30, 30, 1]), 2)).toEqual([14.5, 14.5, 1]);
  });

  test('nobody is no trouble', () => {
    expect(shareCapacity(30, [], 1)).toEqual([]);
  });
});

describe('several classes', () => {
  const mixed: Demand[] = [
    { priority: 0, wanted: 10 },
    { priority: 3, wanted: 15 },
    { priority: 1, wanted: 10 },
    { priority: 2, wanted: 20 },
    { priority: 3, wanted: 15 },
  ];

  test('the highest first, a lower one gets what is left', () => {
    expect(shareCapacity(45, mixed, 0)).toEqual([0, 15, 0, 15, 15]);
    expect(shareCapacity(20, mixed, 0)).toEqual([0, 10, 0, 0, 10]);
    expect(shareCapacity(65, mixed, 0)).toEqual([5, 15, 10, 20, 15]);
  });

  test('what three thirds leave of the whole is nothing, not less', () => {
    const high = Array.from({ length: 3 }, (): Demand => ({ priority: 3, wanted: 10 }));
    expect(shareCapacity(0.1, [...high, { priority: 0, wanted: 1 }], 0)[3]).toBe(0);
  });

  test('everybody has the floor before that, also when there is nothing else', () => {
    expect(shareCapacity(20, mixed, 1)).toEqual([1, 8.5, 1, 1, 8.5]);
    expect(shareCapacity(0, mixed, 1)).toEqual([1, 1, 1, 1, 1]);
    expect(shareCapacity(0, all([0.5, 3]), 1)).toEqual([0.5, 1]);
  });
});

describe('property', () => {
  const demands = fc.array(
    fc.record({
      priority: fc.constantFrom<Priority[]>(0, 1, 1, 1, 2, 3),
      wanted: fc.oneof(fc.double({ min: 0, max: 60, noNaN: true }), fc.constantFrom(0, 1e-9, 30, 30, 1e9, Infinity)),
    }),
    { maxLength: 60 },
  );
  const capacities = fc.oneof(fc.double({ min: 0, max: 2_000, noNaN: true }), fc.constantFrom(0, 1e-9, 1e9));
  const floors = fc.constantFrom(0, 0.01, 0.75, 5);

  test('nobody gets less than the floor or more than wanted; all together get the capacity and what floors add', () => {
    fc.assert(
      fc.property(capacities, demands, floors, (capacity, asked, floor) => {
        const shares = shareCapacity(capacity, asked, floor);
        expect(shares).toHaveLength(asked.length);
        for (const [i, { wanted }] of asked.entries()) {
          expect(shares[i]).toBeGreaterThanOrEqual(Math.min(floor, wanted));
          expect(shares[i]).toBeLessThanOrEqual(wanted);
        }
        const floorsSum = total(asked.map(({ wanted }) => Math.min(floor, wanted)));
        const most = Math.max(capacity, floorsSum);
        const wantedSum = total(asked.map(({ wanted }) => wanted));
        // Neither more than there is, nor less while anybody wants it.
        const expected = Math.min(most, wantedSum);
        expect(Math.abs(total(shares) - expected)).toBeLessThanOrEqual(EPSILON * Math.max(1, expected));
      }),
    );
  });

  test('max-min: who lacks something lacks it because nobody of the class has more, and no lower class gets above its floor', () => {
    fc.assert(
      fc.property(capacities, demands, floors, (capacity, asked, floor) => {
        const shares = shareCapacity(capacity, asked, floor);
        for (const [i, { priority, wanted }] of asked.entries()) {
          const share = shares[i]!;
          const slack = EPSILON * Math.max(1, share);
          if (share >= wanted - slack) continue;
          for (const [j, other] of asked.entries()) {
            if (other.priority === priority) expect(shares[j]).toBeLessThanOrEqual(share + slack);
            if (other.priority < priority) expect(shares[j]).toBeLessThanOrEqual(floor + slack);
          }
        }
      }),
    );
  });

  test('the order of the demands does not matter', () => {
    fc.assert(
      fc.property(capacities, demands, floors, (capacity, asked, floor) => {
        const forward = shareCapacity(capacity, asked, floor);
        const backward = shareCapacity(capacity, asked.toReversed(), floor).toReversed();
        for (const [i, share] of forward.entries()) {
          expect(Math.abs(share - backward[i]!)).toBeLessThanOrEqual(EPSILON * Math.max(1, share));
        }
      }),
    );
  });
});

test('ten thousand demands share to the last bit of it', () => {
  const asked = Array.from({ length: 10_000 }, (_, i): Demand => ({ priority: i % 100 === 0 ? 3 : 1, wanted: 10 }));
  const shares = shareCapacity(50_000, asked, 0.1);
  expect(total(shares)).toBeCloseTo(50_000, 3);
  expect(shares[0]).toBeCloseTo(10);
  expect(Math.max(...shares.filter((_, i) => i % 100 !== 0))).toBeCloseTo((50_000 - 1_000) / 9_900);
});

test('a floor of its own for each, as far as it is wanted', () => {
  const demands: Demand[] = [
    { priority: 3, wanted: 100 },
    { priority: 1, wanted: 100, floor: 3 },
    { priority: 1, wanted: 1, floor: 5 },
  ];
  expect(share(20, demands)).toEqual([16, 3, 1]);
  expect(share(0, demands)).toEqual([0, 3, 1]);
});

describe('spreading', () => {
  const using = (wanted: number, most: number): Demand => ({ priority: 1, wanted, most });

  test('no limit while there is enough whatever they do', () => {
    expect(spreadCapacity(100, [using(10, 60), using(10, 40)])).toEqual([Infinity, Infinity]);
    expect(spreadCapacity(Infinity, [using(10, 60), using(Infinity, Infinity)])).toEqual([Infinity, Infinity]);
  });

  test('else what nobody wants is there for who begins to use more', () => {
    expect(spreadCapacity(100, [using(10, 60), using(10, 50)])).toEqual([50, 50]);
    expect(spreadCapacity(100, [using(10, 60), using(10, Infinity)])).toEqual([50, 50]);
    expect(spreadCapacity(100, [using(10, 20), using(10, 500)])).toEqual([20, 80]);
    expect(spreadCapacity(10, [using(10, 20), using(10, 500)])).toEqual([5, 5]);
  });
});
