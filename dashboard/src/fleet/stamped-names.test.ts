import { describe, expect, test } from 'vitest';
import { RecentTimes, StampedNames, type StampedName } from './stamped-names.ts';

function name(seq: number, stamp = seq * 3_600): StampedName {
  return {
    type: 'frame',
    camera: 'north',
    epoch: 1,
    seq,
    capture_time: 1_000 + seq * 40,
    clock: 'arrival',
    transcoded: false,
    boxes: 'none',
    rtp_timestamp: stamp,
  };
}

describe('names by their stamps', () => {
  test('a picture whose name has come has it; one before it has not, and is told when it comes', () => {
    const names = new StampedNames();
    expect(names.note(name(1))).toBe(false);
    expect(names.shown(3_600)?.seq).toBe(1);
    // The same picture may be told of again.
    expect(names.shown(3_600)?.seq).toBe(1);
    expect(names.shown(7_200)).toBeUndefined();
    expect(names.note(name(3))).toBe(false);
    expect(names.note(name(2))).toBe(true);
    // Once.
    expect(names.note(name(2))).toBe(false);
    expect(names.unnamed).toBe(0);
  });

  test('a picture that goes without a name is counted, and its name is no other one’s', () => {
    const names = new StampedNames();
    names.shown(3_600);
    names.shown(7_200);
    expect(names.unnamed).toBe(1);
    expect(names.note(name(1))).toBe(false);
    expect(names.note(name(2))).toBe(true);
  });

  test('stamps that begin anew have the newer name, and old ones are forgotten', () => {
    const names = new StampedNames();
    names.note(name(1, 5));
    names.note(name(90, 5));
    expect(names.shown(5)?.seq).toBe(90);
    for (let seq = 100; seq < 700; seq++) names.note(name(seq));
    expect(names.shown(5)).toBeUndefined();
    expect(names.shown(699 * 3_600)?.seq).toBe(699);
  });
});

test('percentiles are those of the last times', () => {
  const times = new RecentTimes();
  expect(times.percentile(0.5)).toBe(0);
  for (let i = 0; i < 1_000; i++) times.note(1_000);
  for (let i = 0; i < 1_000; i++) times.note(i);
  expect([times.percentile(0.5), times.percentile(0.95), times.percentile(1), times.count]).toEqual([
    500, 950, 999, 2_000,
  ]);
});
