import { describe, expect, test } from 'vitest';
import { healthOf, LinkStats } from './link-stats.ts';

/** Messages 5 ms apart, each `latencyOf(i)` ms on its way. */
function feed(stats: LinkStats, count: number, latencyOf: (i: number) => number, startMs = 0): number {
  let nowMs = startMs;
  for (let i = 0; i < count; i++) {
    const timeMs = startMs + i * 5;
    nowMs = timeMs + latencyOf(i);
    stats.add({ count: 1, times: [timeMs], timestamp: timeMs, latencyMs: latencyOf(i) }, nowMs);
  }
  return nowMs;
}

describe('the link', () => {
  test('nothing has come', () => {
    const figures = new LinkStats().read(1_000);
    expect(figures).toEqual({ latencyMs: undefined, jitterMs: 0, rateHz: 0, silenceMs: Infinity });
    expect(healthOf(figures, 0)).toBe('none');
  });

  test('an even one has its rate and latency, and no jitter', () => {
    const stats = new LinkStats();
    const figures = stats.read(feed(stats, 2_000, () => 7));
    expect(figures.rateHz).toBeCloseTo(200, -1);
    expect(figures).toMatchObject({ latencyMs: { p50: 7, p95: 7 }, jitterMs: 0, silenceMs: 0 });
    expect(healthOf(figures, 0)).toBe('good');
    expect(healthOf(figures, 0.02)).toBe('degraded');
  });

  test('a batch counts message by message: the older ones waited longer', () => {
    const stats = new LinkStats();
    stats.add({ count: 3, times: [0, 5, 10], timestamp: 10, latencyMs: 4 }, 14);
    expect(stats.read(20).latencyMs).toEqual({ p50: 9, p95: 14 });
    expect(stats.read(20).jitterMs).toBeGreaterThan(0);
  });

  test('an uneven one jitters, a slow one is degraded', () => {
    const stats = new LinkStats();
    const nowMs = feed(stats, 400, (i) => (i % 2 ? 5 : 205));
    const figures = stats.read(nowMs);
    expect(figures.jitterMs).toBeGreaterThan(150);
    expect(healthOf(figures, 0)).toBe('degraded');
    const slow = new LinkStats();
    expect(healthOf(slow.read(feed(slow, 400, () => 200)), 0)).toBe('degraded');
  });

  test('what is long past no longer counts; silence is told', () => {
    const stats = new LinkStats();
    feed(stats, 400, () => 300);
    const nowMs = feed(stats, 800, () => 4, 10_000);
    expect(stats.read(nowMs).latencyMs).toEqual({ p50: 4, p95: 4 });
    const later = stats.read(nowMs + 5_000);
    expect(later).toMatchObject({ latencyMs: undefined, rateHz: 0, silenceMs: 5_000 });
    expect(healthOf(later, 0)).toBe('none');
    stats.clear();
    expect(stats.read(nowMs).silenceMs).toBe(Infinity);
  });
});
