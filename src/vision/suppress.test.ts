import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Candidates } from './candidates.ts';
import { groupOverlapping, suppress } from './suppress.ts';

type Row = [score: number, classId: number, x: number, y: number, width: number, height: number];

function candidates(rows: Row[]): Candidates {
  const all = new Candidates(Math.max(1, rows.length));
  for (const row of rows) all.add(...row);
  return all;
}

const kept = (rows: Row[], iou: number, max = 300) => {
  const { count, order, capped } = suppress(candidates(rows), iou, max);
  return { places: Array.from(order.subarray(0, count)), capped };
};

describe('candidates', () => {
  test('boxes that could not be drawn are left out', () => {
    const rows: Row[] = [
      [0.9, 0, 0.5, 0.5, 0, 0.1],
      [0.9, 0, 0.5, 0.5, 0.1, -1],
      [0.9, 0, NaN, 0.5, 0.1, 0.1],
      [0.9, 0, 0.5, 0.5, Infinity, 0.1],
      [0.8, 3, 0.5, 0.25, 0.5, 0.5],
    ];
    const all = candidates(rows);
    expect(all.count).toBe(1);
    expect(Array.from(all.corners.subarray(0, 4))).toEqual([0.25, 0, 0.75, 0.5]);
  });
});

describe('suppression', () => {
  // Two unit squares, the second moved by half: they share 0.5 of 1.5, an overlap of 1/3.
  const half: Row[] = [
    [0.8, 0, 0.5, 0.5, 1, 1],
    [0.9, 0, 1, 0.5, 1, 1],
  ];

  test('the better of two that overlap by more than the limit stays', () => {
    expect(kept(half, 0.3).places).toEqual([1]);
    expect(kept(half, 0.34).places).toEqual([1, 0]);
  });

  test('classes do not suppress each other', () => {
    expect(kept([half[0]!, [0.9, 1, 1, 0.5, 1, 1]], 0.3).places).toEqual([1, 0]);
  });

  test('a suppressed box suppresses nothing', () => {
    const row: Row[] = [
      [0.9, 0, 0, 0, 1, 1],
      [0.8, 0, 0.5, 0, 1, 1],
      [0.7, 0, 1, 0, 1, 1],
    ];
    expect(kept(row, 0.3).places).toEqual([0, 2]);
  });

  test('at most so many are kept, and the rest is counted', () => {
    const apart = Array.from({ length: 7 }, (_, i): Row => [0.5 + i / 100, 0, i * 2, 0, 1, 1]);
    expect(kept(apart, 0.45, 3)).toEqual({ places: [6, 5, 4], capped: 4 });
  });

  test('equal scores keep their order; at 1 nothing is suppressed', () => {
    const twins: Row[] = [half[0]!, half[0]!];
    expect(kept(twins, 1).places).toEqual([0, 1]);
    expect(kept(twins, 0.99).places).toEqual([0]);
  });

  test('whatever comes in: sorted, none of a class overlaps by more, and every one left out has a better one over it', () => {
    const box = fc.tuple(
      fc.float({ min: 0, max: 1, noNaN: true }),
      fc.integer({ min: 0, max: 2 }),
      fc.integer({ min: 0, max: 8 }),
      fc.integer({ min: 0, max: 8 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 5 }),
    );
    fc.assert(
      fc.property(fc.array(box, { maxLength: 40 }), fc.constantFrom(0.2, 0.45, 0.7), (rows, limit) => {
        const all = candidates(rows);
        const { count, order } = suppress(all, limit, 300);
        const places = Array.from(order.subarray(0, count));
        const overlaps = (a: number, b: number) =>
          all.classIds[a] === all.classIds[b] && plainIou(rows[a]!, rows[b]!) > limit;
        places.forEach((place, i) => {
          if (i > 0) expect(all.scores[place]!).toBeLessThanOrEqual(all.scores[places[i - 1]!]!);
          for (const other of places.slice(0, i)) expect(overlaps(place, other)).toBe(false);
        });
        for (let i = 0; i < rows.length; i++) {
          if (places.includes(i)) continue;
          expect(places.some((p) => overlaps(p, i) && all.scores[p]! >= all.scores[i]!)).toBe(true);
        }
      }),
    );
  });
});

/** Intersection over union straight from the definition. */
function plainIou([, , ax, ay, aw, ah]: Row, [, , bx, by, bw, bh]: Row): number {
  const overlap = (a: number, al: number, b: number, bl: number) =>
    Math.max(0, Math.min(a + al / 2, b + bl / 2) - Math.max(a - al / 2, b - bl / 2));
  const both = overlap(ax, aw, bx, bw) * overlap(ay, ah, by, bh);
  return both / (aw * ah + bw * bh - both);
}

describe('groups', () => {
  test('each takes along what overlaps its best one, whatever the class; best first', () => {
    const rows: Row[] = [
      [0.7, 0, 0.6, 0.5, 1, 1],
      [0.6, 0, 5, 0.5, 1, 1],
      [0.9, 1, 0.5, 0.5, 1, 1],
      // Overlaps the second of the first group, but not its best.
      [0.5, 0, 1.2, 0.5, 1, 1],
    ];
    expect(groupOverlapping(candidates(rows), 0.3)).toEqual([[2, 0], [1], [3]]);
    expect(groupOverlapping(candidates([]), 0.3)).toEqual([]);
  });

  test('every candidate is in one group, also where nothing counts as overlap', () => {
    const side = fc.double({ min: 0.1, max: 1, noNaN: true });
    const row = fc.tuple(side, fc.constant(0), side, side, side, side) as fc.Arbitrary<Row>;
    fc.assert(
      fc.property(fc.array(row, { maxLength: 20 }), fc.constantFrom(0, 0.3, 1), (rows, iou) => {
        const places = groupOverlapping(candidates(rows), iou).flat();
        expect(places.toSorted((a, b) => a - b)).toEqual(rows.map((_, i) => i));
      }),
    );
  });
});
