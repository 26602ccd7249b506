import type { Stage } from 'sightline/client';
import { describe, expect, test } from 'vitest';
import { LiveStats, type FrameTimes } from './stats.ts';

const STAGES_MS: Readonly<Record<Stage, number>> = {
  encode: 3,
  transmit: 5,
  queue: 1,
  decode: 1,
  preprocess: 2,
  inference: 10,
  postprocess: 1,
  return: 0,
};

function times(receivedTimeMs: number, totalMs: number): FrameTimes {
  return { receivedTimeMs, totalMs, stagesMs: { ...STAGES_MS, return: totalMs - 23 }, uncertaintyMs: 1 };
}

describe('LiveStats', () => {
  test('nothing yet', () => {
    expect(new LiveStats().read(0)).toEqual({ typical: undefined, spread: undefined, fps: 0, droppedShare: 0 });
  });

  test('the middle of the last second', () => {
    const stats = new LiveStats();
    for (let i = 0; i < 40; i++) stats.add(times(i * 100, i < 30 ? 200 : 30 + (i - 30)));
    const { typical, fps } = stats.read(3901);
    expect(typical?.totalMs).toBe(34.5);
    expect(typical?.stagesMs).toMatchObject({ inference: 10, return: 11.5 });
    expect(Object.values(typical!.stagesMs).reduce((a, b) => a + b)).toBeCloseTo(34.5);
    expect(fps).toBeCloseTo(10);
  });

  test('where results come seldom the last one counts, for three seconds', () => {
    const stats = new LiveStats();
    stats.add(times(0, 80));
    stats.add(times(700, 40));
    expect(stats.read(3_600).typical?.totalMs).toBe(40);
    expect(stats.read(3_800).typical).toBeUndefined();
  });

  test('percentiles of the last five seconds, in all and by stage', () => {
    const stats = new LiveStats();
    for (let i = 0; i < 100; i++) stats.add(times(i * 100, i < 50 ? 900 : i < 95 ? 40 : 123));
    const { spread } = stats.read(9_950);
    expect(spread!.total).toEqual({ p50Ms: 40, p95Ms: 123 });
    expect(spread!.stages.inference).toEqual({ p50Ms: 10, p95Ms: 10 });
    expect(spread!.stages.return).toEqual({ p50Ms: 17, p95Ms: 100 });
    expect(stats.read(16_000).spread).toBeUndefined();
  });

  test('the rate falls when results stop, and comes to nothing', () => {
    const stats = new LiveStats();
    for (let i = 0; i < 20; i++) stats.add(times(i * 100, 30));
    expect(stats.read(2900).fps).toBeLessThan(7);
    expect(stats.read(5000)).toMatchObject({ fps: 0, typical: undefined });
  });

  test('the share of drops is that of the last two seconds', () => {
    const stats = new LiveStats();
    stats.addDrops(0, 50);
    for (let i = 0; i < 30; i++) stats.add(times(3_000 + i * 100, 30));
    expect(stats.read(5_900).droppedShare).toBe(0);
    stats.addDrops(5_000, 3);
    stats.addDrops(5_500, 4);
    expect(stats.read(5_900).droppedShare).toBeCloseTo(0.25);
    stats.clear();
    expect(stats.read(5_900).droppedShare).toBe(0);
  });

  test('no more than the last frames are kept', () => {
    const stats = new LiveStats();
    for (let i = 0; i < 1000; i++) stats.add(times(i, i < 700 ? 900 : 10));
    expect(stats.read(999).spread!.total.p95Ms).toBe(10);
  });
});
