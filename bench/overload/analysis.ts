import { jainIndex, median, percentile } from '../support/statistics.ts';
import type { PlotPoint } from '../support/plot.ts';
import { HELD, OVER_CPU, RESULT, UNANSWERED, type RunLog, type ShownFrame } from './frames.ts';

/** From what became of every frame to the figures. Pure. */

export type Figures = Record<string, number>;

/** From here on clients must have followed their grants. */
export const FOLLOWED_AFTER_MS = 1_000;
const WINDOW_MS = 1_000;
const STEP_MS = 100;

export function isSent({ fate }: ShownFrame): boolean {
  return fate !== HELD && fate !== OVER_CPU;
}

/** Capture to result received, ms; of a frame without a result infinite, since nobody will ever see one. */
export function latencyMs({ fate, shownMs, answeredMs }: ShownFrame): number {
  return fate === RESULT ? answeredMs! - shownMs : Infinity;
}

/** One load that was measured. */
export interface Load {
  readonly name: string;
  /** Times the capacity that was offered. */
  readonly factor: number;
  readonly spanMs: number;
  readonly capacityFps: number;
  readonly log: RunLog;
  readonly figures: Figures;
}

export interface LoadPlan {
  readonly spanMs: number;
  /** Of all sources together, as planned. */
  readonly offeredFps: number;
  /** Index of the source whose frames are critical; the others are equals. */
  readonly critical: number;
  readonly sources: number;
  /** Frames a second that the server can process. */
  readonly capacityFps: number;
  /** Capture to result that is promised. */
  readonly budgetMs: number;
  /** Runs of the model that a result may be over the budget and still count as in time. */
  readonly lateRunsMax: number;
  /** What the engine tells of the span; absent: it was not asked. */
  readonly engine?: EngineUse;
  /** P95 of the critical source when nobody else was there; absent: not measured. */
  readonly criticalAloneMs?: number;
  /** What is told in runs is told in those of so many ms; absent: of the median of these results. */
  readonly unitMs?: number;
}

/** The engine over a span, by its own books. */
export interface EngineUse {
  readonly workers: number;
  readonly spanMs: number;
  /** Time for which workers had something to do, all of them together. */
  readonly busyMs: number;
  /** Runs that ended. */
  readonly runs: number;
  /** Worker time by program. */
  readonly workMs: Readonly<Record<string, number>>;
}

/**
 * Figures of one load. Every result counts for the latencies, those of the first second too, and those that came when the
 * load was over. Without a single result they are the whole span: it was waited in vain.
 */
export function loadFigures(log: RunLog, plan: LoadPlan): Figures {
  return { ...frameFigures(log.frames, plan), ...counterFigures(log) };
}

/** What the load generator counted beside the frames. */
export function counterFigures({ missed, heldBy, connectionsLost }: RunLog): Figures {
  return {
    ...Object.fromEntries(
      Object.entries(heldBy)
        .filter(([, count]) => count > 0)
        .map(([cause, count]) => [`held_${cause}`, count]),
    ),
    missed,
    connections_lost: connectionsLost,
  };
}

/** Figures of the frames alone: also of those of some sources, with indices of their own. */
export function frameFigures(frames: readonly ShownFrame[], plan: LoadPlan): Figures {
  const { spanMs, offeredFps, critical, sources, capacityFps } = plan;
  const perS = (count: number): number => (count * 1_000) / spanMs;
  const sent = frames.filter(isSent);
  const results = sent.filter(({ fate }) => fate === RESULT);
  const resultsFps = perS(results.filter(({ answeredMs }) => answeredMs! <= spanMs).length);
  const sentMs = sent.map(({ shownMs }) => shownMs);
  const settled = results.filter(({ shownMs }) => shownMs >= FOLLOWED_AFTER_MS);
  const own = frames.filter(({ source }) => source === critical);
  const ownResults = own.filter(({ fate }) => fate === RESULT);
  const equals = Array.from({ length: sources }, (_, i) => i).filter((i) => i !== critical);
  const at = (of: readonly ShownFrame[], percent: number): number =>
    of.length === 0 ? spanMs : percentile(of.map(latencyMs), percent);
  return {
    offered_fps: offeredFps,
    offered_over_capacity: offeredFps / capacityFps,
    shown_fps: perS(frames.length),
    sent_fps: perS(sent.length),
    results_fps: resultsFps,
    processed_over_capacity: resultsFps / capacityFps,
    first_s_sent_over_capacity: sentMs.filter((ms) => ms < FOLLOWED_AFTER_MS).length / capacityFps,
    ...highest('sent_over_capacity_max', rates(sentMs, FOLLOWED_AFTER_MS, spanMs, WINDOW_MS), capacityFps),
    ...highest('sent_100ms_over_capacity_max', rates(sentMs, FOLLOWED_AFTER_MS, spanMs, STEP_MS), capacityFps),
    p50_ms: at(results, 50),
    p95_ms: at(results, 95),
    p99_ms: at(results, 99),
    settled_p95_ms: at(settled, 95),
    jain: jainIndex(equals.map((i) => results.filter(({ source }) => source === i).length)),
    critical_fps: perS(own.length),
    critical_kept: own.length === 0 ? 0 : ownResults.length / own.length,
    critical_held: own.filter((frame) => !isSent(frame)).length,
    critical_p95_ms: at(ownResults, 95),
    ...lostByCause(sent),
    over_cpu: frames.filter(({ fate }) => fate === OVER_CPU).length,
    late_ms_p95:
      frames.length === 0
        ? spanMs
        : percentile(
            frames.map((frame) => frame.lateMs),
            95,
          ),
    ...inRuns(frames, plan),
  };
}

/**
 * The same in runs of the model, which mean the same on a host that changes its speed. What cannot be said without an answer of the
 * engine, or without a result, is left out.
 */
function inRuns(frames: readonly ShownFrame[], plan: LoadPlan): Figures {
  const { spanMs, budgetMs, lateRunsMax, critical, engine, criticalAloneMs } = plan;
  const results = frames.filter(({ fate }) => fate === RESULT);
  const runMs = runOf(frames);
  if (runMs === undefined) return {};
  const unitMs = plan.unitMs ?? runMs;
  const inTime = results.filter((frame) => latencyMs(frame) <= budgetMs + lateRunsMax * unitMs);
  const own = results.filter(({ source }) => source === critical);
  return {
    run_ms: runMs,
    in_time: inTime.length / results.length,
    p95_over_budget_runs: (p95Of(results) - budgetMs) / unitMs,
    ...(engine && busyInTime(engine, inTime.filter(({ answeredMs }) => answeredMs! <= spanMs).length)),
    ...(criticalAloneMs !== undefined && {
      critical_alone_p95_ms: criticalAloneMs,
      // Nobody will ever see what did not come.
      critical_over_alone_runs: own.length === 0 ? spanMs / unitMs : (p95Of(own) - criticalAloneMs) / unitMs,
    }),
  };
}

/** What a run is: the median of what a worker spent on a frame; undefined without a result. */
export function runOf(frames: readonly ShownFrame[]): number | undefined {
  const works = frames.flatMap(({ workMs }) => (workMs === undefined ? [] : [workMs]));
  return works.length === 0 ? undefined : median(works);
}

function p95Of(results: readonly ShownFrame[]): number {
  return percentile(results.map(latencyMs), 95);
}

/** The share of the workers' time in which they had something to do. */
export function busyShare({ workers, spanMs, busyMs }: EngineUse): number {
  return busyMs / (workers * spanMs);
}

/** The share of the workers' time that went into results that were in time; `busy` counts what was in vain as well. */
function busyInTime(engine: EngineUse, inTime: number): Figures {
  const { runs } = engine;
  const busy = busyShare(engine);
  return { busy, busy_in_time: runs === 0 ? 0 : busy * Math.min(1, inTime / runs) };
}

/** Of the frames that were sent, those without a result: `dropped_<cause>` or `dropped_<error code>`, and `unanswered`. */
function lostByCause(sent: readonly ShownFrame[]): Figures {
  const figures: Figures = { unanswered: 0 };
  for (const { fate } of sent) {
    if (fate === RESULT) continue;
    const name = fate === UNANSWERED ? UNANSWERED : `dropped_${fate.toLowerCase()}`;
    figures[name] = (figures[name] ?? 0) + 1;
  }
  return figures;
}

/** Events a second within a window that moves in steps of 100 ms; windows that would reach beyond `toMs` are left out. */
export function rates(timesMs: readonly number[], fromMs: number, toMs: number, windowMs: number): PlotPoint[] {
  const steps = Math.floor((toMs - fromMs) / STEP_MS + 1e-9);
  const counts = Array.from({ length: steps }, () => 0);
  for (const ms of timesMs) {
    const step = Math.floor((ms - fromMs) / STEP_MS);
    if (step >= 0 && step < steps) counts[step]! += 1;
  }
  const width = Math.max(1, Math.round(windowMs / STEP_MS));
  const points: PlotPoint[] = [];
  for (let end = width; end <= steps; end += 1) {
    const count = counts.slice(end - width, end).reduce((sum, n) => sum + n, 0);
    points.push({ x: fromMs + end * STEP_MS, y: (count * 1_000) / (width * STEP_MS) });
  }
  return points;
}

/** As a multiple of the capacity; nothing at all of a span that is too short to be judged. */
function highest(name: string, points: readonly PlotPoint[], capacityFps: number): Figures {
  return points.length === 0 ? {} : { [name]: Math.max(...points.map(({ y }) => y)) / capacityFps };
}

/** P95 of the results that came in each slice of time; a slice without a result is a gap. */
export function latencyLine({ frames }: RunLog, spanMs: number, sliceMs: number): PlotPoint[] {
  const results = frames.filter(({ fate }) => fate === RESULT);
  const slices = Map.groupBy(results, ({ answeredMs }) => Math.floor(answeredMs! / sliceMs));
  return Array.from({ length: Math.floor(spanMs / sliceMs) }, (_, i) => {
    const slice = slices.get(i);
    return { x: (i + 1) * sliceMs, y: slice ? percentile(slice.map(latencyMs), 95) : Number.NaN };
  });
}

/** What a probe client that was there all along saw of the end of a load. */
export interface Recovery {
  /** From the end of the load until the p95 of all frames from then on is normal again; a frame without a result is not. */
  readonly latencyMs: number;
  /** Until nine in ten of the frames that its source shows are sent again. */
  readonly rateMs: number;
}

/** Fewer frames make no 95th percentile. */
const RECOVERED_FRAMES_MIN = 15;
const RECOVERED_RATE = 0.9;

/** What has not recovered before the probing ended took all of `untilMs - endMs`. Times on the log's own zero. */
export function recovery(frames: readonly ShownFrame[], endMs: number, untilMs: number, limitMs: number): Recovery {
  const first = (isGood: (from: readonly ShownFrame[]) => boolean): number => {
    for (let ms = endMs; ms < untilMs; ms += STEP_MS) {
      if (isGood(frames.filter(({ shownMs }) => shownMs >= ms))) return ms - endMs;
    }
    return untilMs - endMs;
  };
  return {
    latencyMs: first((from) => {
      const sent = from.filter(isSent);
      return sent.length >= RECOVERED_FRAMES_MIN && isWithin(sent, limitMs);
    }),
    rateMs: first((from) => from.length > 0 && from.filter(isSent).length >= RECOVERED_RATE * from.length),
  };
}

/** Nineteen in twenty: no percentile, since that of infinite values is not a number. */
function isWithin(frames: readonly ShownFrame[], limitMs: number): boolean {
  return frames.filter((frame) => latencyMs(frame) <= limitMs).length >= 0.95 * frames.length;
}
