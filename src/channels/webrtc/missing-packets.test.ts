import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MissingPackets } from './missing-packets.ts';

/** All of them come at 0 ms. */
function after(...sequences: readonly number[]): MissingPackets {
  const missing = new MissingPackets();
  for (const sequence of sequences) missing.see(sequence, 0);
  return missing;
}

test('what is missing is asked for after a moment, and again, and then no more', () => {
  const missing = after(10, 12, 15);
  expect(missing.due(9)).toEqual([]);
  expect(missing.due(10)).toEqual([11, 13, 14]);
  expect(missing.due(59)).toEqual([]);
  expect(missing.due(60)).toEqual([11, 13, 14]);
  for (const atMs of [110, 160, 210]) expect(missing.due(atMs)).toEqual([11, 13, 14]);
  expect(missing.due(260)).toEqual([]);
  expect(missing.size).toBe(0);
});

test('what comes late is missing no more', () => {
  const missing = after(10, 13, 11, 11);
  expect(missing.due(1_000)).toEqual([12]);
});

test('numbers begin anew behind 65,535', () => {
  expect(after(65_534, 1).due(10)).toEqual([65_535, 0]);
  expect(after(0, 1, 65_535, 2).due(10)).toEqual([]);
});

test('a jump is a new beginning', () => {
  const missing = after(10, 12, 10_000);
  expect(missing.due(1_000)).toEqual([]);
  missing.see(10_002, 0);
  expect(missing.due(1_000)).toEqual([10_001]);
});

test('whatever comes, no more than 256 are missing at once (property)', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 300 }), (sequences) => {
      const missing = after(...sequences);
      expect(missing.size).toBeLessThanOrEqual(256);
      const due = missing.due(1_000);
      expect(new Set(due).size).toBe(due.length);
      expect(due).not.toContain(sequences.at(-1));
    }),
  );
});
