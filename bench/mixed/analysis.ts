import type { PipelineName } from '../../src/base/result.ts';
import { Priority } from '../../src/base/sample.ts';
import {
  busyShare,
  counterFigures,
  FOLLOWED_AFTER_MS,
  frameFigures,
  latencyMs,
  runOf,
  type EngineUse,
  type Figures,
} from '../overload/analysis.ts';
import { RESULT, type RunLog, type ShownFrame } from '../overload/frames.ts';
import type { Source } from '../overload/sources-process.ts';
import { percentile } from '../support/statistics.ts';

/** From what became of every frame, and what the engine spent, to the figures of two pipelines under one load. Pure. */

/** The pipelines that share the engine; each is to have half of its time. */
export const MIXED = ['objects', 'hands'] as const satisfies readonly PipelineName[];
const EVEN_SHARE = 1 / MIXED.length;

export type OfEach<T> = Readonly<Record<PipelineName, T>>;

export interface MixPlan {
  readonly spanMs: number;
  /** As in the log; of each pipeline one is critical, the others are equals. */
  readonly sources: readonly Source[];
  readonly budgetMs: number;
  readonly engine: EngineUse;
  /** Frames a second of each when it has the engine to itself. */
  readonly capacityFps: OfEach<number>;
  /** P95 of each critical source when nobody else was there. */
  readonly criticalAloneMs: OfEach<number>;
}

interface Runs {
  /** The median of the longer pipeline. */
  readonly runMs: number;
  /** The longest one of all. */
  readonly longestMs: number;
}

/** The frames of one pipeline, their sources counted from 0. */
interface Part {
  readonly pipeline: PipelineName;
  readonly sources: readonly Source[];
  readonly frames: readonly ShownFrame[];
}

/** What cannot be said without a result is NaN: no promise kept. */
export function mixFigures(log: RunLog, plan: MixPlan): Figures {
  const { sources, engine, capacityFps } = plan;
  const parts = MIXED.map((pipeline) => partOf(log.frames, sources, pipeline));
  const runMs = Math.max(...parts.map(({ frames }) => runOf(frames) ?? Number.NaN));
  const longestMs = log.frames.reduce((longest, { workMs = 0 }) => Math.max(longest, workMs), 0);
  const figures = parts.map((part) => partFigures(part, plan, { runMs, longestMs }));
  const [objects, hands] = figures as [Figures, Figures];
  const latenciesMs = log.frames.filter((frame) => isResult(frame) && isOrdinary(sources, frame)).map(latencyMs);
  const at = (percent: number): number => (latenciesMs.length === 0 ? Number.NaN : percentile(latenciesMs, percent));
  const share = objects['ordinary_worker_ms']! / (objects['ordinary_worker_ms']! + hands['ordinary_worker_ms']!);
  return {
    capacity_fps: MIXED.reduce((sum, pipeline) => sum + EVEN_SHARE * capacityFps[pipeline], 0),
    offered_fps: offeredFps(sources),
    // In worker time: frames of the two do not cost the same.
    offered_over_capacity: sources.reduce((sum, { pipeline, fps }) => sum + fps / capacityFps[pipeline], 0),
    ordinary_results: latenciesMs.length,
    p50_ms: at(50),
    p95_ms: at(95),
    p99_ms: at(99),
    run_ms: runMs,
    run_ms_max: longestMs,
    p95_runs: at(95) / runMs,
    share_objects: share,
    share_off_even: Math.abs(share - EVEN_SHARE),
    gap_max_s: Math.max(...figures.map((own) => own['gap_max_s']!)),
    busy: busyShare(engine),
    ...counterFigures(log),
    ...Object.fromEntries(
      figures.flatMap((own, i) => Object.entries(own).map(([name, value]) => [`${MIXED[i]!}_${name}`, value])),
    ),
  };
}

function partFigures({ pipeline, sources, frames }: Part, plan: MixPlan, { runMs, longestMs }: Runs): Figures {
  const { spanMs, budgetMs, engine, capacityFps, criticalAloneMs } = plan;
  const results = frames.filter(isResult);
  const workerMs = engine.workMs[pipeline] ?? 0;
  const criticalMs = results
    .filter((frame) => !isOrdinary(sources, frame) && frame.answeredMs! <= spanMs)
    .reduce((sum, frame) => sum + frame.workMs!, 0);
  const gapsMs = sources.map((_, i) =>
    longestGapMs(
      results.filter(({ source }) => source === i),
      spanMs,
    ),
  );
  const own = frameFigures(frames, {
    spanMs,
    offeredFps: offeredFps(sources),
    critical: sources.findIndex(({ priority }) => priority === Priority.critical),
    sources: sources.length,
    capacityFps: EVEN_SHARE * capacityFps[pipeline],
    budgetMs,
    lateRunsMax: 0,
    criticalAloneMs: criticalAloneMs[pipeline],
    unitMs: runMs,
  });
  return {
    capacity_alone_fps: capacityFps[pipeline],
    ...own,
    critical_over_alone_longest_runs: (own['critical_over_alone_runs']! * runMs) / longestMs,
    results: results.length,
    found: results.filter(({ found = 0 }) => found > 0).length / results.length,
    worker_ms: workerMs,
    ordinary_worker_ms: workerMs - criticalMs,
    busy: busyShare({ ...engine, busyMs: workerMs }),
    gap_max_s: Math.max(...gapsMs) / 1_000,
  };
}

/** The longest time without a result, from the moment on in which clients have followed their grants. */
function longestGapMs(results: readonly ShownFrame[], spanMs: number): number {
  const answeredMs = results
    .map(({ answeredMs }) => answeredMs!)
    .filter((ms) => ms > FOLLOWED_AFTER_MS && ms < spanMs)
    .toSorted((a, b) => a - b);
  const moments = [FOLLOWED_AFTER_MS, ...answeredMs, spanMs];
  return Math.max(...moments.slice(1).map((ms, i) => ms - moments[i]!));
}

function partOf(frames: readonly ShownFrame[], sources: readonly Source[], pipeline: PipelineName): Part {
  const own = sources.filter((source) => source.pipeline === pipeline);
  return {
    pipeline,
    sources: own,
    frames: frames.flatMap((frame) => {
      const source = own.indexOf(sources[frame.source]!);
      return source < 0 ? [] : [{ ...frame, source }];
    }),
  };
}

function isResult({ fate }: ShownFrame): boolean {
  return fate === RESULT;
}

function isOrdinary(sources: readonly Source[], { source }: ShownFrame): boolean {
  return sources[source]!.priority !== Priority.critical;
}

function offeredFps(sources: readonly Source[]): number {
  return sources.reduce((sum, { fps }) => sum + fps, 0);
}
