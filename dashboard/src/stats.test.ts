import type { StagesMs } from 'sightline/client';
import { describe, expect, test } from 'vitest';
import { frameTimes, LiveStats } from './stats.ts';

const STAGES_MS: StagesMs = {
  capture: 8,
  queue: 1,
  decode: 1,
  preprocess: 2,
  inference: 10,
  postprocess: 1,
  total: 24,
};

function times(receivedTimeMs: number, totalMs: number) {
  const result = { stages_ms: STAGES_MS } as Parameters<typeof frameTimes>[0]['result'];
  return frameTimes({ result, captureTimeMs: receivedTimeMs - totalMs, receivedTimeMs });
}

describe('frameTimes', () => {
  test('what is left of the total is the way back', () => {
    const { totalMs, stagesMs } = times(1000, 30);
    expect(totalMs).toBe(30);
    expect(stagesMs).toEqual({
      capture: 8,
      queue: 1,
      decode: 1,
      preprocess: 2,
      inference: 10,
      postprocess: 1,
      return: 7,
    });
  });

  test('a clock that is a little off makes no negative way back', () => {
    expect(times(1000, 20).stagesMs.return).toBe(0);
  });
});

describe('LiveStats', () => {
  test('nothing yet', () => {
    expect(new LiveStats().read(0)).toEqual({ typical: undefined, p95Ms: undefined, fps: 0 });
  });

  test('the middle of the last second, the 95th percentile of all that is kept', () => {
    const stats = new LiveStats();
    for (let i = 0; i < 40; i++) stats.add(times(i * 100, i < 30 ? 200 : 30 + (i - 30)));
    const { typical, p95Ms, fps } = stats.read(3901);
    expect(typical?.totalMs).toBe(34.5);
    expect(p95Ms).toBe(200);
    expect(typical?.stagesMs).toMatchObject({ inference: 10, return: 11.5 });
    expect(Object.values(typical!.stagesMs).reduce((a, b) => a + b)).toBeCloseTo(34.5);
    expect(fps).toBeCloseTo(10);
  });

  test('the rate falls when results stop, and comes to nothing', () => {
    const stats = new LiveStats();
    for (let i = 0; i < 20; i++) stats.add(times(i * 100, 30));
    expect(stats.read(2900).fps).toBeLessThan(7);
    expect(stats.read(5000)).toMatchObject({ fps: 0, typical: undefined });
  });

  test('no more than the last frames are kept', () => {
    const stats = new LiveStats();
    for (let i = 0; i < 1000; i++) stats.add(times(i, i < 700 ? 900 : 10));
    expect(stats.read(999).p95Ms).toBe(10);
  });
});
