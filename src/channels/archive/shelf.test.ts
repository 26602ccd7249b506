import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Shelf, type ShelvedFile } from './shelf.ts';

const file = (fromMs: number, toMs: number, bytes = 100, epoch = 1): ShelvedFile => ({
  name: `${fromMs}-${epoch}`,
  epoch,
  fromMs,
  toMs,
  bytes,
});

function shelfOf(...files: readonly ShelvedFile[]): Shelf {
  const shelf = new Shelf();
  for (const one of files) shelf.put(one);
  return shelf;
}

const names = (files: readonly ShelvedFile[]) => files.map(({ fromMs }) => fromMs);

test('files are found by time, in its order', () => {
  const shelf = shelfOf(file(20_000, 30_000), file(0, 10_000), file(10_000, 20_000));
  expect(names(shelf.within(0, 100_000))).toEqual([0, 10_000, 20_000]);
  // Neither end belongs to what comes behind it.
  expect(names(shelf.within(10_000, 20_000))).toEqual([10_000]);
  expect(names(shelf.within(9_999, 20_001))).toEqual([0, 10_000, 20_000]);
  expect(shelf.within(30_000, 40_000)).toEqual([]);
  expect([shelf.oldest!.fromMs, shelf.newest!.toMs, shelf.bytes, shelf.size]).toEqual([0, 30_000, 300, 3]);
});

test('one that grows is one', () => {
  const shelf = shelfOf(file(0, 1_000, 10));
  shelf.put(file(0, 5_000, 60));
  expect([shelf.size, shelf.bytes, shelf.get('0-1')!.toMs]).toEqual([1, 60, 5_000]);
  shelf.remove('0-1');
  shelf.remove('0-1');
  expect([shelf.size, shelf.bytes, shelf.get('0-1')]).toEqual([0, 0, undefined]);
});

describe('spans', () => {
  test('have no gap in them, and are cut to what was asked for', () => {
    const shelf = shelfOf(file(0, 60_000), file(60_040, 120_000), file(300_000, 360_000, 100, 2));
    expect(shelf.spans(10_000, 330_000)).toEqual([
      { fromMs: 10_000, toMs: 120_000, bytes: 200 },
      { fromMs: 300_000, toMs: 330_000, bytes: 100 },
    ]);
    expect(shelf.spans(130_000, 290_000)).toEqual([]);
  });

  test('of a camera whose clock goes back are one, as long as the longest', () => {
    const shelf = shelfOf(file(0, 60_000), file(50_000, 55_000));
    expect(shelf.spans(0, 100_000)).toEqual([{ fromMs: 0, toMs: 60_000, bytes: 200 }]);
  });
});

describe('what has to go', () => {
  const bounds = { ageMsMax: 100_000, bytesMax: 250 };
  const due = (shelf: Shelf, nowMs: number, open?: string) =>
    shelf.due(nowMs, bounds, open).map((one) => [one.file.fromMs, one.bound]);

  test('is too old, by its end', () => {
    const shelf = shelfOf(file(0, 10_000), file(10_000, 20_000));
    expect(due(shelf, 110_000)).toEqual([]);
    expect(due(shelf, 110_001)).toEqual([[0, 'age']]);
    expect(due(shelf, 200_000)).toEqual([
      [0, 'age'],
      [10_000, 'age'],
    ]);
  });

  test('is too much: the oldest first', () => {
    const shelf = shelfOf(file(0, 1), file(1, 2), file(2, 3), file(3, 4));
    expect(due(shelf, 4)).toEqual([
      [0, 'bytes'],
      [1, 'bytes'],
    ]);
  });

  test('is never the one that is being written', () => {
    expect(due(shelfOf(file(0, 1, 1_000)), 1e9, '0-1')).toEqual([]);
  });

  test('leaves what is within both bounds, and no more than need be goes', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(1_000), fc.nat(100), fc.nat(200))), fc.nat(2_000), (made, nowMs) => {
        const shelf = new Shelf();
        for (const [i, [fromMs, forMs, bytes]] of made.entries()) shelf.put(file(fromMs, fromMs + forMs, bytes, i));
        const few = { ageMsMax: 500, bytesMax: 300 };
        const gone = shelf.due(nowMs, few);
        for (const one of gone) shelf.remove(one.file.name);
        expect(shelf.bytes).toBeLessThanOrEqual(few.bytesMax);
        expect(shelf.due(nowMs, few)).toEqual([]);
        for (const one of gone) if (one.bound === 'age') expect(nowMs - one.file.toMs).toBeGreaterThan(few.ageMsMax);
        const lastForBytes = gone.findLast(({ bound }) => bound === 'bytes');
        if (lastForBytes) expect(shelf.bytes + lastForBytes.file.bytes).toBeGreaterThan(few.bytesMax - 200);
      }),
    );
  });
});
