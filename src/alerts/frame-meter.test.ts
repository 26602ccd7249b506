import { expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { Priority } from '../base/sample.ts';
import { seededRandom } from '../base/random.ts';
import { bucketOf, BUCKETS, FrameMeter, percentileOf } from './frame-meter.ts';
import { SlotSums } from './windows.ts';

const stages = (total: number) => ({
  capture: 0,
  queue: total,
  decode: 0,
  preprocess: 0,
  inference: 0,
  postprocess: 0,
  total,
});
const result = (total: number, client_id = 'cam', seq = 1) => ({
  client_id,
  pipeline: 'objects',
  seq,
  stages_ms: stages(total),
});

test('percentiles of the buckets are those of the values, to 2.2 %, from half a millisecond to half a minute', () => {
  const random = seededRandom(7);
  for (const scale of [1, 20, 150, 4_000, 20_000]) {
    const values = Array.from({ length: 2_000 }, () => scale * (0.6 + 0.4 * random()));
    const counts = new Uint32Array(BUCKETS);
    for (const value of values) counts[bucketOf(value)]!++;
    values.sort((a, b) => a - b);
    for (const percent of [50, 95, 99]) {
      const exact = values[Math.ceil((values.length * percent) / 100) - 1]!;
      expect(Math.abs(percentileOf(counts, percent)! / exact - 1)).toBeLessThan(0.0225);
    }
  }
  expect(percentileOf(new Uint32Array(BUCKETS), 95)).toBeNull();
  for (const odd of [0, -5, Number.NaN, Infinity]) expect(bucketOf(odd)).toBeLessThan(BUCKETS);
  expect(bucketOf(-5)).toBe(0);
});

test('a result is late by the objective of its own class', () => {
  const meter = new FrameMeter(() => 0);
  meter.configure({ critical: 50, high: 100, normal: 100, low: 500 });
  expect(meter.frame(result(60), Priority.critical)).toBe(true);
  expect(meter.frame(result(60), Priority.normal)).toBe(false);
  expect(meter.frame(result(501), Priority.low)).toBe(true);
  const counts = meter.take('critical');
  expect(counts[bucketOf(60)]).toBe(1);
  expect(meter.take('critical').every((count) => count === 0)).toBe(true);
});

test('the slowest of the minute are kept, and those of the last one, with their stages', () => {
  const clock = new ManualClock();
  const meter = new FrameMeter(() => clock.now());
  for (let n = 1; n <= 500; n++) meter.frame(result((n * 37) % 501, `cam${n}`, n), Priority.normal);
  meter.frame(result(9_000, 'other'), Priority.high);
  const slowest = Array.from({ length: 500 }, (_, at) => at + 1).find((n) => (n * 37) % 501 === 500)!;
  const totals = () => meter.slowest('normal').map(({ stages_ms }) => stages_ms.total);
  expect(totals()).toEqual([500, 499, 498, 497, 496]);
  expect(meter.slowest('normal')[0]).toMatchObject({ client_id: `cam${slowest}`, stages_ms: stages(500) });
  expect(meter.slowest()[0]!.client_id).toBe('other');
  clock.advance(61_000);
  meter.tick();
  meter.frame(result(700), Priority.normal);
  expect(totals()).toEqual([700, 500, 499, 498, 497]);
  clock.advance(61_000);
  expect(totals()).toEqual([700]);
  clock.advance(200_000);
  expect(totals()).toEqual([]);
});

test('sums of the last so-and-so long, with slots that are used again', () => {
  const sums = new SlotSums({ slotMs: 10, slots: 5, width: 2 });
  expect(sums.sum(0, 30)).toEqual([0, 0]);
  sums.add(1_000, [1, 10]);
  sums.add(1_005, [1, 10]);
  sums.add(1_010, [2, 20]);
  expect(sums.sum(1_019, 0)).toEqual([2, 20]);
  expect(sums.sum(1_019, 10)).toEqual([4, 40]);
  expect(sums.sum(1_049, 10)).toEqual([0, 0]);
  expect(sums.sum(1_049, 40)).toEqual([4, 40]);
  sums.add(1_055, [5, 50]);
  expect(sums.sum(1_055, 1_000)).toEqual([7, 70]);
  // Longer than it goes back.
  expect(sums.sum(99_999, 1_000)).toEqual([0, 0]);
  expect(sums.ageMs(99_999)).toBe(98_999);
});
