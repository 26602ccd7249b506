import { expect, test } from 'vitest';
import { initOf } from '../../../test/support/hls-fragments.ts';
import type { Segment } from '../segmenter.ts';
import { SegmentWindow, type EvictionBound } from './window.ts';

const BYTES = 1_000;

/** A second long each, in two parts. */
function segment(msn: number, epoch = 1): Segment {
  const bytes = new Uint8Array(BYTES);
  return {
    msn,
    init: initOf(epoch),
    isDiscontinuous: msn % 10 === 0,
    isGap: false,
    startTimeMs: 0,
    parts: [0, 1].map((i) => ({ number: msn * 2 + i, durationS: 0.5, isIndependent: i === 0, bytes })),
    durationS: 1,
    bytes,
  };
}

function windowOf(listedS: number, bytesMax = Infinity) {
  const evicted: EvictionBound[] = [];
  const kept = new SegmentWindow({ listedS, bytesMax }, (bound) => evicted.push(bound));
  return { kept, evicted };
}

const listed = (kept: SegmentWindow) => kept.listed.map(({ msn }) => msn);

test('lists what its setting says, and keeps as much again and a target duration', () => {
  const { kept, evicted } = windowOf(8);
  for (let msn = 100; msn < 140; msn++) kept.add(segment(msn), 2);
  expect(listed(kept)).toEqual([132, 133, 134, 135, 136, 137, 138, 139]);
  // 122 to 131 are gone from the playlist, and can be asked for.
  expect([kept.segment(1, 121), kept.segment(1, 122)?.msn, kept.segment(1, 139)?.msn]).toEqual([undefined, 122, 139]);
  expect(kept.bytes).toBe(18 * BYTES);
  expect(evicted).toEqual(Array.from({ length: 22 }, () => 'age'));
  // Of 100, 110, 120 and 130.
  expect(kept.discontinuitySequence).toBe(4);
});

test('lists three target durations at least', () => {
  const { kept } = windowOf(1);
  for (let msn = 0; msn < 40; msn++) kept.add(segment(msn), 4);
  expect(listed(kept)).toHaveLength(12);
});

test('has no more bytes than it may, whatever that leaves of the playlist, and always the newest', () => {
  const { kept, evicted } = windowOf(100, 5 * BYTES);
  for (let msn = 1; msn <= 12; msn++) kept.add(segment(msn), 2);
  expect([listed(kept), kept.bytes, evicted.length]).toEqual([[8, 9, 10, 11, 12], 5 * BYTES, 7]);
  expect(kept.discontinuitySequence).toBe(0);
  while (kept.canEvict) kept.evict('total_bytes');
  expect([listed(kept), kept.bytes, kept.discontinuitySequence]).toEqual([[12], BYTES, 1]);
  const tiny = windowOf(100, 1).kept;
  tiny.add(segment(1), 2);
  tiny.add(segment(2), 2);
  expect(listed(tiny)).toEqual([2]);
});

test('finds parts and headers by their epoch and number', () => {
  const { kept } = windowOf(8);
  expect([kept.part(1, 3), kept.segment(1, 3), kept.init(initOf(1))]).toEqual([undefined, undefined, undefined]);
  for (let msn = 5; msn < 9; msn++) kept.add(segment(msn, msn < 7 ? 1 : 2), 2);
  expect(kept.part(1, 10)?.number).toBe(10);
  expect(kept.part(1, 13)?.number).toBe(13);
  expect(kept.part(2, 17)?.number).toBe(17);
  for (const [epoch, number] of [
    [2, 10],
    [1, 14],
    [1, 9],
    [2, 18],
    [1, 1e15],
  ] as const)
    expect(kept.part(epoch, number)).toBeUndefined();
  for (const [epoch, msn] of [
    [2, 5],
    [1, 7],
    [1, 4],
    [2, 9],
    [2, 1e15],
  ] as const)
    expect(kept.segment(epoch, msn)).toBeUndefined();
  const named = [initOf(1), initOf(2), initOf(3), { ...initOf(1), width: 32 }];
  expect(named.map((init) => kept.init(init))).toEqual([initOf(1).bytes, initOf(2).bytes, undefined, undefined]);
});
