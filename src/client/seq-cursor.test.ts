import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SeqCursor } from './seq-cursor.ts';

describe('a cursor with holes', () => {
  test('lets consecutive batches in whole, and repetitions not at all', () => {
    const cursor = new SeqCursor(1);
    expect(cursor.accept(1, 3)).toEqual([{ from: 1, to: 4 }]);
    expect(cursor.accept(1, 3)).toEqual([]);
    expect(cursor.accept(2, 4)).toEqual([{ from: 4, to: 6 }]);
    expect([cursor.next, cursor.contiguous, cursor.missing]).toEqual([6, 5, 0]);
  });

  test('remembers what was overtaken, and lets it in later', () => {
    const cursor = new SeqCursor(1);
    expect(cursor.accept(5, 1)).toEqual([{ from: 5, to: 6 }]);
    expect([cursor.contiguous, cursor.missing]).toEqual([0, 4]);
    expect(cursor.accept(3, 5)).toEqual([
      { from: 3, to: 5 },
      { from: 6, to: 8 },
    ]);
    expect(cursor.accept(1, 2)).toEqual([{ from: 1, to: 3 }]);
    expect([cursor.next, cursor.contiguous, cursor.missing]).toEqual([8, 7, 0]);
  });

  test('forgets old holes, but not that something is missing', () => {
    const cursor = new SeqCursor(1);
    for (let seq = 2; seq <= 2_000; seq += 2) cursor.accept(seq, 1);
    expect(cursor.missing).toBe(1_000);
    expect(cursor.accept(1, 1)).toEqual([]);
    expect(cursor.accept(1_999, 1)).toEqual([{ from: 1_999, to: 2_000 }]);
    expect(cursor.missing).toBe(999);
  });

  test('agrees with a set, whatever comes in whatever order', () => {
    const batch = fc.record({ first: fc.integer({ min: 1, max: 60 }), count: fc.integer({ min: 1, max: 12 }) });
    fc.assert(
      fc.property(fc.array(batch, { maxLength: 40 }), (batches) => {
        const cursor = new SeqCursor(1);
        const seen = new Set<number>();
        for (const { first, count } of batches) {
          const wanted = Array.from({ length: count }, (_, i) => first + i).filter((seq) => !seen.has(seq));
          const isNext = first === cursor.next;
          const got =
            isNext && count % 2 === 0 && cursor.advance(first, count)
              ? range(first, first + count)
              : cursor.accept(first, count).flatMap(({ from, to }) => range(from, to));
          expect(got).toEqual(wanted);
          if (first !== cursor.next) expect(cursor.advance(first, count)).toBe(false);
          for (const seq of got) seen.add(seq);
          expect(cursor.next).toBe(Math.max(...seen) + 1);
          expect(cursor.missing).toBe(cursor.next - 1 - seen.size);
          expect(range(1, cursor.contiguous + 1).every((seq) => seen.has(seq))).toBe(true);
          expect(seen.has(cursor.contiguous + 1)).toBe(false);
        }
      }),
    );
  });
});

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}
