import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Priority } from '../base/sample.ts';
import { countSuperseded, isRescue, isStarved, pickNext, type Waiting } from './schedule.ts';

const NOW_MS = 1.7e12;

const stream = (more: Partial<Waiting> = {}): Waiting => ({
  priority: 1,
  deadlineMs: NOW_MS + 100,
  turn: 5,
  costMs: 2,
  waitingSinceMs: NOW_MS,
  isWithinGrant: true,
  isSafe: true,
  ...more,
});
const since = (ms: number) => ({ waitingSinceMs: NOW_MS - ms });

describe('picking', () => {
  test('nothing of nothing', () => {
    expect(pickNext([], NOW_MS, 100)).toBe(-1);
  });

  test('the highest class, whatever the turns', () => {
    expect(pickNext([stream({ turn: 0 }), stream({ priority: 3, turn: 9 }), stream({ priority: 2 })], NOW_MS, 0)).toBe(
      1,
    );
    expect(pickNext([stream({ priority: 2 }), stream({ turn: 0 }), stream({ priority: 0 })], NOW_MS, 0)).toBe(0);
  });

  test('within a class who has had least, whatever the deadlines', () => {
    expect(pickNext([stream({ deadlineMs: 0 }), stream({ turn: 4 }), stream({ turn: 7 })], NOW_MS, 0)).toBe(1);
  });

  test('among equals the earliest deadline; a deadline that never comes is the last', () => {
    const late = stream({ deadlineMs: Infinity });
    expect(pickNext([late, stream(), stream({ deadlineMs: NOW_MS + 99 })], NOW_MS, 0)).toBe(2);
    expect(pickNext([late, late, stream({ turn: 5.9 })], NOW_MS, 0)).toBe(2);
    expect(pickNext([late, stream({ turn: 6 })], NOW_MS, 0)).toBe(0);
  });
});

describe('work of several costs', () => {
  const [cheap, dear] = [{ costMs: 10 }, { costMs: 40 }];

  test('equals are those within half of the dearest frame that waits', () => {
    const soon = { deadlineMs: NOW_MS + 1 };
    expect(pickNext([stream({ turn: 100, ...cheap }), stream({ turn: 104.9, ...cheap, ...soon })], NOW_MS, 0)).toBe(1);
    expect(pickNext([stream({ turn: 100, ...cheap }), stream({ turn: 105, ...cheap, ...soon })], NOW_MS, 0)).toBe(0);
    expect(pickNext([stream({ turn: 100, ...dear }), stream({ turn: 119, ...cheap, ...soon })], NOW_MS, 0)).toBe(1);
    expect(pickNext([stream({ turn: 100, ...dear }), stream({ turn: 120, ...cheap, ...soon })], NOW_MS, 0)).toBe(0);
    // A dear frame of another class makes nobody equal.
    const other = stream({ ...dear, priority: 0, turn: 0 });
    expect(
      pickNext([other, stream({ turn: 100, ...cheap }), stream({ turn: 106, ...cheap, ...soon })], NOW_MS, 0),
    ).toBe(1);
  });

  test('property: who pays what its frames cost has had as much worker time as anybody who always waits, but for a frame', () => {
    const costs = fc.array(fc.double({ min: 0.1, max: 50, noNaN: true }), { minLength: 2, maxLength: 8 });
    fc.assert(
      fc.property(costs, fc.infiniteStream(fc.nat(1_000)), (all, deadlines) => {
        const turns = all.map(() => 0);
        for (let i = 0; i < 200; i++) {
          const waiting = all.map((costMs, at) =>
            stream({ costMs, turn: turns[at]!, deadlineMs: NOW_MS + (deadlines.next().value as number) }),
          );
          const picked = pickNext(waiting, NOW_MS, 0);
          turns[picked]! += all[picked]!;
          expect(Math.max(...turns) - Math.min(...turns)).toBeLessThanOrEqual(1.5 * Math.max(...all) + 1e-9);
        }
      }),
    );
  });
});

describe('rescue', () => {
  const high = stream({ priority: 3 });

  test('a stream that got nothing for more than a second goes first, once in five picks', () => {
    const streams = [high, stream(since(1_001))];
    expect([0, 3, 4, 5].map((picks) => pickNext(streams, NOW_MS, picks))).toEqual([0, 0, 1, 1]);
    expect(pickNext([high, stream(since(1_000))], NOW_MS, 100)).toBe(0);
  });

  test('the longest starved first, whatever its class', () => {
    const streams = [high, stream(since(2_000)), stream({ priority: 0, ...since(3_000) }), stream(since(2_500))];
    expect(pickNext(streams, NOW_MS, 4)).toBe(2);
  });

  test('a pick is a rescue when it was the turn of one that starves, not when such a one had its turn anyway', () => {
    const [starved, other] = [stream(since(1_001)), stream(since(1_000))];
    expect([3, 4, 5].map((picks) => isRescue(starved, NOW_MS, picks))).toEqual([false, true, true]);
    expect(isRescue(other, NOW_MS, 100)).toBe(false);
  });

  test('of equals who keeps to the grant, before who is due earlier; but not before who has had less', () => {
    const flood = stream({ isWithinGrant: false, deadlineMs: NOW_MS + 1 });
    expect(pickNext([flood, stream()], NOW_MS, 0)).toBe(1);
    expect(pickNext([flood, stream({ turn: 6 })], NOW_MS, 0)).toBe(0);
  });

  test('then who will be in time for certain, before who is due earlier and may come too late', () => {
    const risky = stream({ isSafe: false, deadlineMs: NOW_MS + 1 });
    expect(pickNext([risky, stream()], NOW_MS, 0)).toBe(1);
    expect(pickNext([risky, stream({ isWithinGrant: false })], NOW_MS, 0)).toBe(0);
    expect(pickNext([risky], NOW_MS, 0)).toBe(0);
  });

  test('starved is who has waited for more than a second', () => {
    expect([-5_000, 0, 1_000, 1_000.1].map((ms) => isStarved(stream(since(ms)), NOW_MS))).toEqual([
      false,
      false,
      false,
      true,
    ]);
  });
});

test('property: one of the highest class that is due by turn and deadline, unless a starved one is rescued', () => {
  const waiting = fc.array(
    fc.record({
      priority: fc.constantFrom<Priority[]>(0, 1, 1, 2, 3),
      deadlineMs: fc.constantFrom(0, NOW_MS - 1, NOW_MS + 50, NOW_MS + 100, 1e300, Infinity, -Infinity),
      turn: fc.oneof(fc.nat(5), fc.double({ min: 0, max: 5, noNaN: true }), fc.constant(1e15)),
      costMs: fc.constantFrom(2, 2, 1, 0.01, 8),
      waitingSinceMs: fc.constantFrom(NOW_MS, NOW_MS - 500, NOW_MS - 1_001, NOW_MS - 9_000, NOW_MS + 60_000, 0),
      isWithinGrant: fc.boolean(),
      isSafe: fc.boolean(),
    }),
    { minLength: 1, maxLength: 12 },
  );
  fc.assert(
    fc.property(waiting, fc.nat(8), (streams, picks) => {
      const picked = pickNext(streams, NOW_MS, picks);
      const one = streams[picked]!;
      if (picks >= 4 && streams.some((other) => isStarved(other, NOW_MS))) {
        expect(one.waitingSinceMs).toBe(Math.min(...streams.map(({ waitingSinceMs }) => waitingSinceMs)));
        return;
      }
      const highest = Math.max(...streams.map(({ priority }) => priority));
      const own = streams.filter(({ priority }) => priority === highest);
      const least = Math.min(...own.map(({ turn }) => turn));
      const dearestMs = Math.max(...own.map(({ costMs }) => costMs));
      const equals = own.filter(({ turn }) => turn === least || turn < least + dearestMs / 2);
      expect(one.priority).toBe(highest);
      expect(equals).toContain(one);
      const keeping = equals.filter(({ isWithinGrant }) => isWithinGrant);
      const next = keeping.length > 0 ? keeping : equals;
      const safe = next.filter(({ isSafe }) => isSafe);
      const first = safe.length > 0 ? safe : next;
      expect(one.deadlineMs).toBe(Math.min(...first.map(({ deadlineMs }) => deadlineMs)));
    }),
  );
});

describe('superseded', () => {
  test('what the newest one would wait for longer than a quarter of its budget', () => {
    expect(countSuperseded(5, 10, 80)).toBe(2);
    expect(countSuperseded(5, 10, 79)).toBe(3);
    expect(countSuperseded(5, 10, 1_000)).toBe(0);
    expect(countSuperseded(5, 1_000, 80)).toBe(4);
  });

  test('none of a stream that is not behind, of one frame, of none, or of frames that may be as late as they like', () => {
    expect(countSuperseded(5, 0, 80)).toBe(0);
    expect(countSuperseded(5, -10, 80)).toBe(0);
    expect(countSuperseded(1, 1e9, 0)).toBe(0);
    expect(countSuperseded(0, 10, 80)).toBe(0);
    expect(countSuperseded(5, 10, Infinity)).toBe(0);
    expect(countSuperseded(5, Infinity, Infinity)).toBe(0);
    expect(countSuperseded(5, 10, -100)).toBe(4);
  });

  test('property: no more than needed, never the last one, and the shorter the budget the more', () => {
    const intervals = fc.oneof(
      fc.double({ min: 0.001, max: 1e4, noNaN: true }),
      fc.constantFrom(5e-324, 1e300, Infinity),
    );
    const budgets = fc.oneof(fc.double({ min: 0, max: 1e5, noNaN: true }), fc.constantFrom(0, -1, -1e300, 1e300));
    fc.assert(
      fc.property(fc.nat(1_000), intervals, budgets, budgets, (queued, intervalMs, budgetMs, otherMs) => {
        const count = countSuperseded(queued, intervalMs, budgetMs);
        expect(Number.isInteger(count)).toBe(true);
        expect(count).toBeGreaterThanOrEqual(0);
        expect(count).toBeLessThanOrEqual(Math.max(0, queued - 1));
        const before = queued - 1 - count;
        if (count > 0) {
          if (before > 0) expect(before * intervalMs).toBeLessThanOrEqual(budgetMs / 4);
          expect((before + 1) * intervalMs).toBeGreaterThan(Math.max(0, budgetMs) / 4);
        }
        const [shorter, longer] = [Math.min(budgetMs, otherMs), Math.max(budgetMs, otherMs)];
        expect(countSuperseded(queued, intervalMs, shorter)).toBeGreaterThanOrEqual(
          countSuperseded(queued, intervalMs, longer),
        );
      }),
    );
  });
});
