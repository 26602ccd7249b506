import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { seededRandom, type Random } from '../../src/base/random.ts';
import type { PipelineName } from '../../src/base/result.ts';
import { Priority } from '../../src/base/sample.ts';
import type { Helper } from '../support/children.ts';
import type { BenchContext } from '../support/document.ts';
import { CoreUse, readProcessors } from '../support/processors.ts';
import type { EngineCounts } from '../support/server.ts';
import { percentile } from '../support/statistics.ts';
import { latencyMs, loadFigures, type EngineUse, type Figures, type Load } from './analysis.ts';
import { generatorCoresMax, SEED } from './conditions.ts';
import { RESULT, type RunLog } from './frames.ts';
import type { SenderKind, SessionWish } from './senders.ts';
import type { FillResult, Source, SourcesApi } from './sources-process.ts';

/** One load on one server: in `overload` twenty sources, one of them critical. */

export const SESSIONS = 20;
export const CRITICAL_FPS = 15;
/** Index of the source whose frames are critical, among those of `sourcesOf`; the others are equals. */
const CRITICAL = 0;
/** Under way while capacity is measured, for each core: one that runs, and one that waits in the worker behind it. */
const UNDER_WAY_PER_CORE = 2;
/** The same where a GPU's three workers run eight together. */
const UNDER_WAY_DEVICE = 48;
/** Between the opening of sessions and their load: they compare clocks meanwhile. */
export const LEAD_MS = 250;
/** On top of what a call should take. */
export const CALL_MARGIN_MS = 30_000;

/** What all measurements share. */
export interface LoadBench extends BenchContext {
  readonly sources: Helper<SourcesApi>;
}

/** A server in a process of its own, Sightline or its peer. */
export interface Target {
  readonly url: string;
  readonly pid: number;
  /** What its engine has done so far; the peer tells nothing. */
  readonly engine?: () => Promise<EngineCounts>;
}

export interface LoadOptions {
  readonly kind: SenderKind;
  readonly name: string;
  /** Times the capacity that the sources offer. */
  readonly factor: number;
  readonly sources: readonly Source[];
  readonly spanMs: number;
  /** How long the last answers are waited for. */
  readonly drainMs: number;
  /** Goes on while the load does, and may go on longer; gets the moment of its start, Unix ms. */
  readonly meanwhile?: (startTimeMs: number) => Promise<void>;
}

/** What came of a load, before it is held against a capacity. */
export interface Ran {
  readonly options: LoadOptions;
  readonly offeredFps: number;
  readonly log: RunLog;
  readonly cores: Figures;
  readonly engine?: EngineUse;
}

/** What a load is held against. */
export interface Promised {
  readonly capacityFps: number;
  readonly budgetMs: number;
  /** Runs of the model that a result may be over the budget and still count as in time. */
  readonly lateRunsMax: number;
  /** P95 of the critical source when nobody else is there. */
  readonly criticalAloneMs?: number;
}

export function framesUnderWay(provider: string): number {
  return provider === 'cpu' ? UNDER_WAY_PER_CORE * availableParallelism() : UNDER_WAY_DEVICE;
}

/** Frames a second of an engine that is always full, asked for by clients that no grant holds back. */
export async function measureCapacity(
  { sources, provider }: LoadBench,
  { url }: Target,
  { wishes, spanMs }: { readonly wishes: readonly SessionWish[]; readonly spanMs: number },
): Promise<FillResult> {
  const underWay = framesUnderWay(provider);
  await sources.call('open', { url, kind: 'ignoring', wishes });
  const result = await sources.call('fill', { settleMs: LEAD_MS, spanMs, underWay });
  await sources.call('close', undefined);
  if (result.fps === 0) throw new Error('no frame had a result while the capacity was measured');
  return result;
}

export async function underLoad({ sources, say }: LoadBench, target: Target, options: LoadOptions): Promise<Ran> {
  const { kind, name, sources: offered, spanMs, drainMs } = options;
  const offeredFps = offered.reduce((sum, { fps }) => sum + fps, 0);
  say(`${name}: ${offeredFps.toFixed(0)} fps offered`);
  await sources.call('open', { url: target.url, kind, wishes: offered });
  const startTimeMs = systemClock.now() + LEAD_MS;
  const run = { startTimeMs, spanMs, sources: offered, coresMax: generatorCoresMax(), drainMs };
  const [log, use, engine] = await Promise.all([
    sources.call('run', run, LEAD_MS + spanMs + drainMs + CALL_MARGIN_MS),
    coresUsed([target.pid, sources.pid, process.pid], startTimeMs, spanMs),
    engineUsed(target, startTimeMs, spanMs),
    options.meanwhile?.(startTimeMs),
  ]);
  await sources.call('close', undefined);
  const cores = {
    server_cores: use.main(target.pid) + use.others(target.pid),
    generator_cores: use.main(sources.pid) + use.others(sources.pid),
    foreign_cores: use.foreign,
  };
  return { options, offeredFps, log, cores, ...(engine && { engine }) };
}

/** P95 of the critical source, ms, when nobody else is there. */
export async function criticalAlone(
  { sources }: LoadBench,
  { url }: Target,
  critical: Source,
  { spanMs, drainMs }: { readonly spanMs: number; readonly drainMs: number },
): Promise<number> {
  const alone = [critical];
  await sources.call('open', { url, kind: 'honouring', wishes: alone });
  const run = {
    startTimeMs: systemClock.now() + LEAD_MS,
    spanMs,
    sources: alone,
    coresMax: generatorCoresMax(),
    drainMs,
  };
  const { frames } = await sources.call('run', run, LEAD_MS + spanMs + drainMs + CALL_MARGIN_MS);
  await sources.call('close', undefined);
  const results = frames.filter(({ fate }) => fate === RESULT);
  if (results.length === 0) throw new Error('the critical source had no result when it was alone');
  return percentile(results.map(latencyMs), 95);
}

export function judge({ options, offeredFps, log, cores, engine }: Ran, promised: Promised): Load {
  const { name, factor, spanMs } = options;
  const { capacityFps } = promised;
  const plan = { spanMs, offeredFps, critical: CRITICAL, sources: SESSIONS, ...promised, ...(engine && { engine }) };
  return {
    name,
    factor,
    spanMs,
    capacityFps,
    log,
    figures: { capacity_fps: capacityFps, ...loadFigures(log, plan), ...cores },
  };
}

/** A line for people. */
export function inWords({ name, figures }: Load): string {
  const of = (figure: string): number => figures[figure] ?? Number.NaN;
  return (
    `${name}: ${of('sent_fps').toFixed(0)} sent, ${of('results_fps').toFixed(0)} results a second ` +
    `(${of('processed_over_capacity').toFixed(2)} of the capacity), p95 ${of('p95_ms').toFixed(0)} ms, ` +
    `a run ${of('run_ms').toFixed(0)} ms, workers ${of('busy_in_time').toFixed(2)} busy with what was in time, ` +
    `critical ${of('critical_kept').toFixed(2)} kept, ${of('critical_p95_ms').toFixed(0)} ms, ` +
    `${of('foreign_cores').toFixed(2)} cores of others`
  );
}

/** The figures of all loads, each behind the name of its load. */
export function named(loads: readonly Load[]): Figures {
  const figures: Figures = {};
  for (const { name, figures: own } of loads) {
    for (const [figure, value] of Object.entries(own)) figures[`${name}_${figure}`] = value;
  }
  return figures;
}

/** Sources of one pipeline that are to be. */
export interface SourcesPlan {
  readonly pipeline: PipelineName;
  /** The critical one included. */
  readonly sessions: number;
  /** Of each of the equals. */
  readonly fps: number;
  readonly criticalFps: number;
  /** As in `SessionWish`. */
  readonly budgetMs?: number;
}

/** Phases are drawn at random: cameras that do not know of each other. */
export function sourcesOf(
  { pipeline, sessions, fps, criticalFps, budgetMs }: SourcesPlan,
  random: Random = seededRandom(SEED),
): Source[] {
  return Array.from({ length: sessions }, (_, i) => ({
    fps: i === CRITICAL ? criticalFps : fps,
    phase: random(),
    pipeline,
    priority: i === CRITICAL ? Priority.critical : Priority.normal,
    ...(budgetMs !== undefined && { budgetMs }),
  }));
}

/** Sessions of a pipeline to measure its capacity by. */
export function equalWishes(pipeline: PipelineName, sessions: number): SessionWish[] {
  return Array.from({ length: sessions }, () => ({ pipeline, priority: Priority.normal }));
}

async function coresUsed(pids: readonly number[], startTimeMs: number, spanMs: number): Promise<CoreUse> {
  const use = new CoreUse();
  await sleep(startTimeMs - systemClock.now());
  const before = readProcessors(pids);
  await sleep(startTimeMs + spanMs - systemClock.now());
  use.add(before, readProcessors(pids));
  return use;
}

/** The span is that between the two answers: under load they may take a while. */
async function engineUsed(target: Target, startTimeMs: number, spanMs: number): Promise<EngineUse | undefined> {
  if (!target.engine) return undefined;
  await sleep(startTimeMs - systemClock.now());
  const [before, fromMs] = [await target.engine(), performance.now()];
  await sleep(startTimeMs + spanMs - systemClock.now());
  const [after, toMs] = [await target.engine(), performance.now()];
  return {
    workers: after.workers,
    spanMs: toMs - fromMs,
    busyMs: after.busyMs - before.busyMs,
    runs: after.completed - before.completed,
    workMs: workBetween(before, after),
  };
}

/** Worker time by program, whatever its models. */
function workBetween(before: EngineCounts, after: EngineCounts): Record<string, number> {
  const workMs: Record<string, number> = {};
  const add = (program: string, ms: number): void => {
    workMs[program] = (workMs[program] ?? 0) + ms;
  };
  for (const { program, workerMs } of after.work) add(program, workerMs);
  for (const { program, workerMs } of before.work) add(program, -workerMs);
  return workMs;
}
