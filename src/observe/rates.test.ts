import { expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { RecentRates } from './rates.ts';

test('what was counted within ten seconds, by the second or the minute, from readings a second apart', () => {
  const clock = new ManualClock();
  const counters = new Map<string, number>();
  const rates = new RecentRates(
    clock,
    (names) => Object.fromEntries(names.map((name) => [name, counters.get(name) ?? 5_000])) as never,
  );
  const pass = (seconds: number, perS: Readonly<Record<string, number>>) => {
    for (let s = 0; s < seconds; s++) {
      for (const [name, n] of Object.entries(perS)) counters.set(name, (counters.get(name) ?? 5_000) + n);
      clock.advance(1_000);
      rates.note();
    }
  };
  expect(rates.read()).toBeNull();
  pass(1, {});
  expect(rates.read()).toBeNull();
  pass(5, {
    sightline_frames_received_total: 30,
    sightline_telemetry_messages_total: 200,
    sightline_video_grants_told_total: 0.5,
  });
  expect(rates.read()).toEqual({
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
  pass(10, { sightline_frames_errors_total: 2, sightline_network_sent_bytes_total: 1_000 });
  expect(rates.read()).toMatchObject({ window_s: 10, received_fps: 0, errors_fps: 2, sent_bytes_per_s: 1_000 });
});
