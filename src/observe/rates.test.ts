import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { RateMeter, type Counters } from './rates.ts';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

test('what was counted within ten seconds, by the second or the minute, from readings a second apart', () => {
  const clock = new ManualClock();
  const counters: Record<keyof Counters, number> = {
    received: 900,
    results: 800,
    errors: 0,
    dropped: 7,
    grants_told: 1,
    ladder_moves: 2,
    telemetry_messages: 5_000,
    received_bytes: 1e6,
    sent_bytes: 1e6,
  };
  let readings = 0;
  const meter = new RateMeter({ clock, counters: () => ({ ...counters }), onReading: () => readings++ });
  const pass = (seconds: number, perS: Partial<Counters>) => {
    for (let s = 0; s < seconds; s++) {
      for (const key of Object.keys(perS) as (keyof Counters)[]) counters[key] += perS[key]!;
      clock.advance(1_000);
      vi.advanceTimersByTime(1_000);
    }
  };
  expect(meter.read()).toBeNull();
  pass(1, {});
  expect(meter.read()).toBeNull();
  pass(5, { received: 30, telemetry_messages: 200, grants_told: 0.5 });
  expect(meter.read()).toEqual({
    window_s: 5,
    received_fps: 30,
    results_fps: 0,
    errors_fps: 0,
    dropped_fps: 0,
    grants_per_min: 30,
    ladder_moves_per_min: 0,
    telemetry_messages_per_s: 200,
    received_bytes_per_s: 0,
    sent_bytes_per_s: 0,
  });
  pass(10, { errors: 2, dropped: 1, ladder_moves: 1 / 60, sent_bytes: 1_000 });
  expect(meter.read()).toMatchObject({
    window_s: 10,
    received_fps: 0,
    errors_fps: 2,
    dropped_fps: 1,
    sent_bytes_per_s: 1_000,
  });
  expect(meter.read()!.ladder_moves_per_min).toBeCloseTo(1);
  expect(readings).toBe(16);
  meter.close();
  expect(vi.getTimerCount()).toBe(0);
});
