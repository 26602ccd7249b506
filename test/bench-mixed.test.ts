import { describe, expect, test } from 'vitest';
import { Priority } from '../src/base/sample.ts';
import { mixFigures, type MixPlan } from '../bench/mixed/analysis.ts';
import { RESULT, type RunLog, type ShownFrame } from '../bench/overload/frames.ts';
import type { Source } from '../bench/overload/sources-process.ts';

const source = (pipeline: Source['pipeline'], priority: Priority): Source => ({
  fps: priority === Priority.critical ? 2 : 10,
  phase: 0,
  pipeline,
  priority,
});
const plan: MixPlan = {
  spanMs: 3_000,
  sources: [
    source('objects', Priority.critical),
    source('objects', Priority.normal),
    source('hands', Priority.critical),
    source('hands', Priority.normal),
  ],
  budgetMs: 75,
  engine: { workers: 2, spanMs: 3_000, busyMs: 5_400, runs: 6, workMs: { objects: 1_020, hands: 1_540 } },
  capacityFps: { objects: 50, hands: 25 },
  criticalAloneMs: { objects: 10, hands: 50 },
};
const result = (source: number, answeredMs: number, latencyMs: number, found = 1): ShownFrame => ({
  source,
  shownMs: answeredMs - latencyMs,
  lateMs: 0,
  fate: RESULT,
  answeredMs,
  workMs: source < 2 ? 20 : 40,
  found,
});
const log = (frames: readonly ShownFrame[]): RunLog => ({ frames, missed: 0, heldBy: {}, connectionsLost: 0 });

describe('figures of two pipelines on one engine', () => {
  const frames = [
    result(0, 1_530, 30),
    result(1, 500, 60),
    result(1, 1_500, 60),
    result(1, 2_500, 60, 0),
    result(2, 1_050, 50),
    result(3, 2_000, 100),
    { source: 3, shownMs: 2_100, lateMs: 0, fate: 'expired', answeredMs: 2_200 },
  ];
  const figures = mixFigures(log(frames), plan);

  test('latencies of ordinary sessions, in runs of the longer model', () => {
    expect(figures).toMatchObject({
      ordinary_results: 4,
      p50_ms: 60,
      run_ms: 40,
      objects_run_ms: 20,
      hands_run_ms: 40,
    });
    expect(figures['p95_ms']).toBeCloseTo(60 + 0.85 * 40);
    expect(figures['p95_runs']).toBeCloseTo(94 / 40);
  });

  test('worker time of ordinary sessions: what critical ones had is left out', () => {
    expect(figures).toMatchObject({ objects_ordinary_worker_ms: 1_000, hands_ordinary_worker_ms: 1_500, busy: 0.9 });
    expect(figures['share_objects']).toBeCloseTo(0.4);
    expect(figures['share_off_even']).toBeCloseTo(0.1);
    expect(figures['objects_busy']).toBeCloseTo(0.17);
    // The account of the engine ends with the load.
    const late = mixFigures(log([...frames, result(0, 3_010, 30)]), plan);
    expect(late).toMatchObject({ objects_ordinary_worker_ms: 1_000, objects_results: 5 });
  });

  test('each critical source against itself alone, in runs of the longer model', () => {
    expect(figures['objects_critical_over_alone_runs']).toBeCloseTo((30 - 10) / 40);
    expect(figures['hands_critical_over_alone_runs']).toBeCloseTo(0);
    expect(figures).toMatchObject({ run_ms_max: 40 });
    expect(figures['objects_critical_over_alone_longest_runs']).toBeCloseTo((30 - 10) / 40);
  });

  test('the longest time without a result, up to the end of the load', () => {
    expect(figures).toMatchObject({ objects_gap_max_s: 1.47, hands_gap_max_s: 1.95, gap_max_s: 1.95 });
  });

  test('what is offered is told in worker time; each pipeline has its own accounts', () => {
    expect(figures).toMatchObject({ capacity_fps: 37.5, offered_fps: 24, objects_results: 4, hands_results: 2 });
    expect(figures['offered_over_capacity']).toBeCloseTo(12 / 50 + 12 / 25);
    expect(figures).toMatchObject({ objects_found: 0.75, hands_found: 1, objects_jain: 1, hands_dropped_expired: 1 });
    expect(figures).not.toHaveProperty('objects_dropped_expired');
  });

  test('without a result nothing is promised', () => {
    const none = mixFigures(log([]), { ...plan, engine: { ...plan.engine, workMs: {} } });
    expect(none).toMatchObject({ p95_runs: Number.NaN, share_off_even: Number.NaN, gap_max_s: 2 });
  });
});
