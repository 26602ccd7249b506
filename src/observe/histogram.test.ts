import { describe, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import type { StagesMs } from '../protocol/video.ts';
import { bottleneckOf, FrameLatencies, STAGES } from './histogram.ts';

const NONE = { count: 0, p50_ms: null, p95_ms: null, p99_ms: null, max_ms: null };
const stages = (of: Partial<StagesMs> = {}): StagesMs => ({
  capture: 1,
  queue: 1,
  decode: 1,
  preprocess: 1,
  inference: 9,
  postprocess: 1,
  total: 14,
  ...of,
});

test('percentiles are those of every frame', () => {
  const latencies = new FrameLatencies(new ManualClock());
  for (let i = 1; i <= 1000; i++) latencies.frame('video', stages({ inference: i }));
  const { inference } = latencies.sinceStart().stages;
  expect(inference.count).toBe(1000);
  // Three digits: within a thousandth.
  expect(inference.p50_ms! / 500).toBeCloseTo(1, 2);
  expect(inference.p95_ms! / 950).toBeCloseTo(1, 2);
  expect(inference.p99_ms! / 990).toBeCloseTo(1, 2);
  expect(inference.max_ms! / 1000).toBeCloseTo(1, 2);
});

test('a short duration keeps its digits', () => {
  const latencies = new FrameLatencies(new ManualClock());
  latencies.encoded('video', 0.123);
  latencies.transmitted('video', 0.0001);
  const { encode, transmit, total } = latencies.sinceStart().stages;
  expect(encode).toEqual({ count: 1, p50_ms: 0.123, p95_ms: 0.123, p99_ms: 0.123, max_ms: 0.123 });
  expect(transmit.max_ms).toBe(0.001);
  expect(total).toEqual(NONE);
});

test.each([
  ['negative', -3, 0.001],
  ['not a number', Number.NaN, 0.001],
  ['longer than a minute', 1e9, 60_000],
  ['endless', Infinity, 60_000],
])('a duration that is %s is counted at the edge', (_, durationMs, max) => {
  const latencies = new FrameLatencies(new ManualClock());
  latencies.encoded('video', durationMs);
  const { encode } = latencies.sinceStart().stages;
  expect(encode.count).toBe(1);
  expect(encode.max_ms! / max).toBeCloseTo(1, 2);
});

test('the stage with the largest own time is the bottleneck; total is none', () => {
  expect(bottleneckOf(stages())).toBe('inference');
  expect(bottleneckOf(stages({ capture: 9 }))).toBe('capture');
  const latencies = new FrameLatencies(new ManualClock());
  for (const queue of [5, 10, 20]) latencies.frame('video', stages({ queue }));
  expect(latencies.sinceStart().bottlenecks).toEqual({
    capture: 0,
    queue: 2,
    decode: 0,
    preprocess: 0,
    inference: 1,
    postprocess: 0,
  });
});

test('percentiles are of all lanes together, buckets and bottlenecks of each', () => {
  const latencies = new FrameLatencies(new ManualClock());
  latencies.frame('video', stages());
  latencies.frame('cameras', stages({ capture: 300, total: 313 }));
  latencies.transmitted('cameras', 2);
  expect(latencies.sinceStart().stages.total).toMatchObject({ count: 2, max_ms: expect.closeTo(313, 0) });
  expect(latencies.histogram('video', 'total')).toMatchObject({ count: 1, sum: 0.014 });
  expect(latencies.histogram('cameras', 'total')).toMatchObject({ count: 1, sum: 0.313 });
  expect([latencies.histogram('video', 'transmit').count, latencies.histogram('cameras', 'transmit').count]).toEqual([
    0, 1,
  ]);
  expect([latencies.bottlenecks('video'), latencies.bottlenecks('cameras')]).toMatchObject([
    { capture: 0, inference: 1 },
    { capture: 1, inference: 0 },
  ]);
});

const inference = (latencies: FrameLatencies) => latencies.recent().stages.inference;

describe('recent', () => {
  test('is the running window and the last whole one', () => {
    const clock = new ManualClock();
    const latencies = new FrameLatencies(clock, 1_000);
    latencies.frame('video', stages({ inference: 10 }));
    clock.advance(1_000);
    latencies.frame('video', stages({ inference: 20 }));
    expect(inference(latencies)).toMatchObject({ count: 2, max_ms: expect.closeTo(20, 1) });
    expect(inference(latencies).count).toBe(2);
    clock.advance(1_000);
    expect(inference(latencies)).toMatchObject({ count: 1, p50_ms: expect.closeTo(20, 1) });
    expect(latencies.recent().bottlenecks.inference).toBe(1);
    expect(latencies.sinceStart().stages.inference.count).toBe(2);
    expect(latencies.sinceStart().bottlenecks.inference).toBe(2);
  });

  test('is empty after a pause of two windows', () => {
    const clock = new ManualClock();
    const latencies = new FrameLatencies(clock, 1_000);
    latencies.frame('video', stages());
    clock.advance(2_000);
    for (const stage of STAGES) expect(latencies.recent().stages[stage]).toEqual(NONE);
  });
});
