import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { latencyLine, latencyMs, loadFigures, rates, recovery, type LoadPlan } from '../bench/overload/analysis.ts';
import { Camera, CpuBound } from '../bench/support/camera.ts';
import { HELD, OVER_CPU, RESULT, UNANSWERED, type RunLog, type ShownFrame } from '../bench/overload/frames.ts';

describe('a source', () => {
  test('shows a frame at each beat, from its first one on', () => {
    const camera = new Camera(1_000, 10);
    expect(camera.nextMs).toBe(1_000);
    expect(camera.take(999)).toBeUndefined();
    expect(camera.take(1_003)).toBe(3);
    expect(camera.take(1_003)).toBeUndefined();
    expect(camera.nextMs).toBe(1_100);
    expect(camera.take(1_100)).toBe(0);
    expect(camera.missed).toBe(0);
  });

  test('who comes late gets the newest beat; those before it are missed', () => {
    const camera = new Camera(0, 10);
    expect(camera.take(0)).toBe(0);
    expect(camera.take(350)).toBe(50);
    expect(camera.missed).toBe(2);
    expect(camera.nextMs).toBe(400);
  });

  test('property: every beat is shown or missed, none twice', () => {
    const times = fc.array(fc.double({ min: 0, max: 10_000, noNaN: true }), { minLength: 1, maxLength: 100 });
    fc.assert(
      fc.property(times, fc.double({ min: 0.1, max: 200, noNaN: true }), (times, fps) => {
        const camera = new Camera(0, fps);
        const sorted = times.toSorted((a, b) => a - b);
        const shown = sorted.map((ms) => camera.take(ms)).filter((lateMs) => lateMs !== undefined);
        expect(shown.length + camera.missed).toBe(Math.floor(sorted.at(-1)! / (1_000 / fps)) + 1);
        for (const lateMs of shown) {
          expect(lateMs).toBeGreaterThanOrEqual(-1e-6);
          expect(lateMs).toBeLessThan(1_000 / fps + 1e-6);
        }
      }),
    );
  });
});

describe('the bound of processor time', () => {
  test('what stays below it goes on for ever', () => {
    const bound = new CpuBound(0.5, 0, 100);
    for (let ms = 10; ms <= 10_000; ms += 10) expect(bound.allows(ms, 100 + ms * 0.49)).toBe(true);
  });

  test('a short burst is no overuse, a long one is; it goes on when the use is back within the bound', () => {
    const bound = new CpuBound(0.5, 0, 0);
    expect(bound.allows(40, 40)).toBe(true);
    expect(bound.allows(90, 90)).toBe(true);
    expect(bound.allows(110, 110)).toBe(false);
    expect(bound.allows(130, 110)).toBe(true);
  });

  test('an idle time saves nothing up', () => {
    const bound = new CpuBound(0.5, 0, 0);
    expect(bound.allows(60_000, 0)).toBe(true);
    expect(bound.allows(60_120, 120)).toBe(false);
  });
});

// ── Analysis ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

const frame = (source: number, shownMs: number, fate: string, answeredMs?: number): ShownFrame => ({
  source,
  shownMs,
  lateMs: 1,
  fate,
  ...(answeredMs !== undefined && { answeredMs }),
});
const log = (frames: readonly ShownFrame[], more: Partial<RunLog> = {}): RunLog => ({
  frames,
  missed: 0,
  heldBy: {},
  connectionsLost: 0,
  ...more,
});
const plan: LoadPlan = {
  spanMs: 2_000,
  offeredFps: 30,
  critical: 0,
  sources: 3,
  capacityFps: 4,
  budgetMs: 75,
  lateRunsMax: 0,
};

describe('figures of a load', () => {
  const frames = [
    frame(0, 0, RESULT, 30),
    frame(0, 1_000, RESULT, 1_050),
    frame(1, 100, RESULT, 200),
    frame(1, 200, HELD),
    frame(1, 1_500, 'queue_full', 1_600),
    frame(2, 300, RESULT, 340),
    frame(2, 400, OVER_CPU),
    frame(2, 1_700, UNANSWERED),
    // The load is over when its result comes: it counts for the latency, not for what was processed in the span.
    frame(2, 1_900, RESULT, 2_090),
    frame(1, 1_950, 'INFERENCE_FAILED', 1_960),
  ];
  const figures = loadFigures(log(frames, { missed: 2, heldBy: { window: 1, rate: 0 }, connectionsLost: 1 }), plan);

  test('rates: what was shown, sent and processed', () => {
    expect(figures).toMatchObject({
      offered_fps: 30,
      offered_over_capacity: 7.5,
      shown_fps: 5,
      sent_fps: 4,
      results_fps: 2,
    });
    expect(figures['processed_over_capacity']).toBe(0.5);
    expect(figures['first_s_sent_over_capacity']).toBe(3 / 4);
    // Of those from 1 s on: at 1,000, 1,500, 1,700, 1,900 and 1,950.
    expect(figures['sent_over_capacity_max']).toBe(5 / 4);
    expect(figures['sent_100ms_over_capacity_max']).toBe(20 / 4);
  });

  test('latencies of all results, the late one included', () => {
    expect(figures['p50_ms']).toBe(50);
    expect(figures['p99_ms']).toBeGreaterThan(180);
    expect(figures['settled_p95_ms']).toBeCloseTo(50 + 0.95 * 140);
  });

  test('the critical source, and fairness among the others alone', () => {
    expect(figures).toMatchObject({ critical_fps: 1, critical_kept: 1 });
    expect(figures['critical_p95_ms']).toBeCloseTo(49);
    // One result and two.
    expect(figures['jain']).toBeCloseTo(9 / (2 * 5));
  });

  test('every frame without a result is told by its cause', () => {
    expect(figures).toMatchObject({
      dropped_queue_full: 1,
      dropped_inference_failed: 1,
      unanswered: 1,
      over_cpu: 1,
      held_window: 1,
      missed: 2,
      connections_lost: 1,
    });
    expect(figures).not.toHaveProperty('held_rate');
  });

  test('a frame of the critical source that was held back is not kept', () => {
    const own = [
      frame(0, 0, RESULT, 10),
      frame(0, 500, HELD),
      frame(0, 1_000, 'expired', 1_100),
      frame(0, 1_500, UNANSWERED),
    ];
    expect(loadFigures(log(own), plan)).toMatchObject({ critical_kept: 0.25, critical_held: 1 });
  });

  test('without a single result no bar is kept', () => {
    const none = loadFigures(log([frame(0, 0, UNANSWERED), frame(1, 0, UNANSWERED)]), plan);
    expect(none).toMatchObject({
      p95_ms: 2_000,
      critical_p95_ms: 2_000,
      critical_kept: 0,
      jain: 0,
      processed_over_capacity: 0,
    });
    expect(loadFigures(log([]), plan)).toMatchObject({ p95_ms: 2_000, critical_kept: 0 });
  });

  test('a span that is too short to be judged is not judged as good', () => {
    expect(loadFigures(log(frames), { ...plan, spanMs: 1_500 })).not.toHaveProperty('sent_over_capacity_max');
  });
});

describe('a load in runs of the model', () => {
  /** Runs of 20 ms; the results took 40, 60, 90 and 110 ms. */
  const ran = (source: number, ms: number): ShownFrame => ({ ...frame(source, 100, RESULT, 100 + ms), workMs: 20 });
  const frames = [ran(0, 40), ran(1, 60), ran(1, 90), ran(2, 110), frame(2, 100, 'expired', 300)];
  const engine = { workers: 2, spanMs: 2_000, busyMs: 3_600, runs: 5, workMs: {} };
  const of = (more: Partial<LoadPlan>) => loadFigures(log(frames), { ...plan, ...more });

  test('a result is in time within the budget, or so many runs more', () => {
    expect(of({})).toMatchObject({ run_ms: 20, in_time: 0.5 });
    expect(of({ lateRunsMax: 1 })).toMatchObject({ in_time: 0.75 });
    expect(of({})['p95_over_budget_runs']).toBeCloseTo((107 - 75) / 20, 10);
  });

  test('workers are busy with what is in time; what was in vain is left out of it', () => {
    expect(of({ engine })).toMatchObject({ busy: 0.9, busy_in_time: 0.9 * (2 / 5) });
    // Of those in time one came when the span was over.
    const late = { ...frame(1, 1_990, RESULT, 2_040), workMs: 20 };
    expect(loadFigures(log([...frames, late]), { ...plan, engine })).toMatchObject({ busy_in_time: 0.9 * (2 / 5) });
    expect(of({ engine: { ...engine, runs: 0 } })).toMatchObject({ busy_in_time: 0 });
    expect(of({})).not.toHaveProperty('busy');
  });

  test('the critical source against itself alone', () => {
    expect(of({ criticalAloneMs: 30 })).toMatchObject({ critical_alone_p95_ms: 30, critical_over_alone_runs: 0.5 });
    expect(of({})).not.toHaveProperty('critical_over_alone_runs');
    const without = loadFigures(log(frames.slice(1)), { ...plan, criticalAloneMs: 30 });
    expect(without['critical_over_alone_runs']).toBe(100);
  });

  test('without a result there is nothing to measure by', () => {
    const none = loadFigures(log([frame(0, 0, UNANSWERED)]), { ...plan, engine, criticalAloneMs: 30 });
    for (const name of ['run_ms', 'in_time', 'busy_in_time', 'critical_over_alone_runs'])
      expect(none).not.toHaveProperty(name);
  });
});

describe('rates over a window', () => {
  test('events a second, at the end of each window', () => {
    expect(rates([0, 50, 99, 100, 250, 399], 0, 400, 200)).toEqual([
      { x: 200, y: 20 },
      { x: 300, y: 10 },
      { x: 400, y: 10 },
    ]);
  });

  test('what lies outside does not count', () => {
    expect(rates([-1, 99, 200], 100, 200, 100)).toEqual([{ x: 200, y: 0 }]);
  });
});

test('the line of latencies has a gap where no result came', () => {
  const frames = [
    frame(0, 0, RESULT, 100),
    frame(0, 50, RESULT, 250),
    frame(0, 900, RESULT, 1_400),
    frame(0, 950, HELD),
  ];
  expect(latencyLine(log(frames), 1_500, 500)).toEqual([
    { x: 500, y: 195 },
    { x: 1_000, y: Number.NaN },
    { x: 1_500, y: 500 },
  ]);
});

describe('recovery', () => {
  /** Ten frames a second from 0 to 4 s; the load ends at 1 s. */
  const seen = (of: (ms: number) => Partial<ShownFrame>): ShownFrame[] =>
    Array.from({ length: 40 }, (_, i) => ({ ...frame(0, i * 100, RESULT, i * 100 + 20), ...of(i * 100) }));
  const measured = (frames: readonly ShownFrame[]) => recovery(frames, 1_000, 4_000, 30);

  test('at once when nothing was wrong', () => {
    expect(measured(seen(() => ({})))).toEqual({ latencyMs: 0, rateMs: 0 });
  });

  test('when the last slow frame is behind', () => {
    const slow = (ms: number): Partial<ShownFrame> => (ms < 1_500 ? { answeredMs: ms + 300 } : {});
    expect(measured(seen(slow)).latencyMs).toBeGreaterThan(300);
    expect(measured(seen(slow)).latencyMs).toBeLessThanOrEqual(500);
  });

  test('a lost frame is as bad as a slow one; one that was held back is none for the latency but one for the rate', () => {
    expect(measured(seen((ms) => (ms < 1_800 ? { fate: 'expired' } : {})))).toMatchObject({ rateMs: 0 });
    expect(measured(seen((ms) => (ms < 1_800 ? { fate: 'expired' } : {}))).latencyMs).toBeGreaterThan(600);
    const held = measured(seen((ms) => (ms < 1_800 ? { fate: HELD } : {})));
    expect(held.latencyMs).toBe(0);
    expect(held.rateMs).toBeGreaterThan(500);
  });

  test('never is as long as was looked', () => {
    expect(measured(seen((ms) => ({ answeredMs: ms + 300 })))).toEqual({ latencyMs: 3_000, rateMs: 0 });
    expect(measured(seen(() => ({ fate: HELD })))).toEqual({ latencyMs: 3_000, rateMs: 3_000 });
    expect(measured([])).toEqual({ latencyMs: 3_000, rateMs: 3_000 });
  });
});

test('a frame without a result is never seen', () => {
  expect(latencyMs(frame(0, 10, RESULT, 25))).toBe(15);
  expect(latencyMs(frame(0, 10, 'expired', 25))).toBe(Infinity);
});
