import { describe, expect, test } from 'vitest';
import { UseMeter } from './use-meter.ts';

const NOW_MS = 1.7e12;

/** So many frames a second, for so long. */
function use(meter: UseMeter, fps: number, fromMs: number, forMs: number): number {
  const count = Math.round((forMs * fps) / 1_000);
  for (let i = 1; i <= count; i++) meter.frame(fromMs + (i * 1_000) / fps, 60);
  return fromMs + forMs;
}

describe('UseMeter', () => {
  test('knows nothing before two frames: then everything is wanted, and every rate is kept to', () => {
    const meter = new UseMeter();
    meter.frame(NOW_MS, 60);
    expect([meter.fps, meter.wantedFps(NOW_MS), meter.keepsTo(0)]).toEqual([undefined, Infinity, true]);
  });

  test('who sends nothing wants everything for two seconds, and then one frame, until the first one comes', () => {
    const meter = new UseMeter();
    expect([0, 1_999, 2_000, 60_000].map((ms) => meter.wantedFps(NOW_MS + ms))).toEqual([Infinity, Infinity, 1, 1]);
    meter.frame(NOW_MS + 60_000, 60);
    expect([60_000, 61_999, 62_000].map((ms) => meter.wantedFps(NOW_MS + ms))).toEqual([Infinity, Infinity, 1]);
    meter.restart();
    expect(meter.wantedFps(NOW_MS + 99_000)).toBe(Infinity);
  });

  test('two frames that come together are no rate that nobody may have', () => {
    const meter = new UseMeter();
    meter.frame(NOW_MS, 60);
    meter.frame(NOW_MS + 1, 60);
    expect(meter.fps).toBe(60);
  });

  test('a quarter and one frame more than it uses are wanted, and less of a source that has become quiet', () => {
    const meter = new UseMeter();
    const nowMs = use(meter, 20, NOW_MS, 5_000);
    expect(meter.fps).toBeCloseTo(20);
    expect(meter.wantedFps(nowMs)).toBeCloseTo(26);
    expect(meter.wantedFps(nowMs + 499)).toBeCloseTo(26);
    expect(meter.wantedFps(nowMs + 2_000)).toBeCloseTo(0.5 * 1.25 + 1);
  });

  test('who sends half as much again as it may, and three frames, does not keep to it', () => {
    const meter = new UseMeter();
    use(meter, 20, NOW_MS, 5_000);
    expect([11, 12, 20].map((fps) => meter.keepsTo(fps))).toEqual([false, true, true]);
  });

  test('what a source is able to send is remembered for longer than what it sends', () => {
    const meter = new UseMeter();
    const nowMs = use(meter, 40, NOW_MS, 5_000);
    use(meter, 10, nowMs, 20_000);
    expect(meter.fps).toBeCloseTo(10);
    expect(meter.sourceFps).toBeCloseTo(20 * 1.25 + 1, 0);
    meter.restart();
    expect(meter.fps).toBeUndefined();
    expect(meter.sourceFps).toBeCloseTo(20 * 1.25 + 1, 0);
  });
});

test('a source is in use from its first frame on, and for some seconds after its last', () => {
  const meter = new UseMeter();
  expect(meter.isInUse(0)).toBe(false);
  meter.frame(1_000, 30);
  expect([meter.isInUse(1_000), meter.isInUse(3_999), meter.isInUse(4_000)]).toEqual([true, true, false]);
  meter.frame(9_000, 30);
  expect(meter.isInUse(9_500)).toBe(true);
  meter.restart();
  expect(meter.isInUse(9_500)).toBe(false);
});
