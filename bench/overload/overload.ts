import { mkdtemp, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Priority } from '../../src/base/sample.ts';
import type { ReadyModel } from '../../src/inference/manifest.ts';
import { ModelRegistry } from '../../src/inference/registry.ts';
import { Helper } from '../support/children.ts';
import { atLeast, atMost, type Bar, type BenchContext, type Benchmark, type BenchResult } from '../support/document.ts';
import { toMb } from '../support/numbers.ts';
import { Server } from '../support/server.ts';
import type { Figures, Load } from './analysis.ts';
import { Capacity } from './capacity.ts';
import { BUDGET_MS, commonSetup, loadPictures, MODEL, PICTURES, SEED, SETTINGS } from './conditions.ts';
import type { FifoApi } from './fifo-process.ts';
import { measureFlood, NORMAL_FACTOR, NORMAL_MS, PROBE_FPS } from './flood.ts';
import {
  CRITICAL_FPS,
  criticalAlone,
  equalWishes,
  framesUnderWay,
  inWords,
  judge,
  named,
  SESSIONS,
  sourcesOf,
  underLoad,
  type LoadBench,
  type LoadOptions,
  type Ran,
  type Target,
} from './loads.ts';
import { overloadPlots } from './plots.ts';
import type { Source, SourcesApi } from './sources-process.ts';

/** The critical source of every load. */
const ALONE: Source = { fps: CRITICAL_FPS, phase: 0, pipeline: 'objects', priority: Priority.critical };
const FACTORS = [2, 5, 10];
const IGNORING_FACTOR = 10;
const FLOOD_FACTOR = 20;
const FLOOD = `flood_${FLOOD_FACTOR}x`;
const IGNORING = `ignoring_${IGNORING_FACTOR}x`;
/** Runs of the model that p95 may be over the budget, and a critical frame over what it takes when it is alone. */
const LATE_RUNS_MAX = { honouring: 0, ignoring: 1 };
const CRITICAL_RUNS_MAX = 1;

interface Plan {
  /** Spans of the capacity before the first load; one more follows each load. */
  readonly capacitySpans: number;
  readonly capacityMs: number;
  /** Of the critical source alone, before each load. */
  readonly aloneMs: number;
  readonly honouringMs: number;
  readonly ignoringMs: number;
  readonly drainMs: number;
  readonly floodMs: number;
  /** Of the probe client, before the flood and after it. */
  readonly beforeMs: number;
  readonly afterMs: number;
  readonly fifoMs: number;
  /** A queue that is seconds long takes seconds to run dry. */
  readonly fifoDrainMs: number;
}

const FULL: Plan = {
  capacitySpans: 5,
  capacityMs: 4_000,
  aloneMs: 6_000,
  honouringMs: 20_000,
  ignoringMs: 20_000,
  drainMs: 2_500,
  floodMs: 10_000,
  beforeMs: 8_000,
  afterMs: 8_000,
  fifoMs: 15_000,
  fifoDrainMs: 8_000,
};
const QUICK: Plan = {
  capacitySpans: 2,
  capacityMs: 500,
  aloneMs: 700,
  honouringMs: 2_100,
  ignoringMs: 2_000,
  drainMs: 700,
  floodMs: 1_500,
  beforeMs: 1_200,
  afterMs: 3_000,
  fifoMs: 1_200,
  fifoDrainMs: 200,
};

export const overload: Benchmark = {
  name: 'overload',
  summary: 'twenty cameras that offer up to twenty times what can be processed, beside a first-in-first-out queue',
  takesProvider: true,
  run: runOverload,
};

interface Bench extends LoadBench {
  readonly plan: Plan;
  readonly cacheDir: string;
  readonly pictures: readonly Uint8Array[];
}

interface Measured {
  readonly figures: Figures;
  readonly loads: readonly Load[];
}

async function runOverload(context: BenchContext): Promise<BenchResult> {
  const { quick, signal, say } = context;
  const plan = quick ? QUICK : FULL;
  const load = loadavg()[0]!;
  say(`preparing ${PICTURES} pictures`);
  const pictures = await loadPictures();
  const cacheDir = await mkdtemp(join(tmpdir(), 'sightline-bench-'));
  try {
    // The conversion of the model is not what is measured here.
    const model = await new ModelRegistry({ cacheDir }).resolve(MODEL);
    await using sources = new Helper<SourcesApi>(new URL('sources-process.ts', import.meta.url), signal);
    await sources.call('prepare', { pictures: { objects: pictures } });
    const bench: Bench = { ...context, plan, cacheDir, pictures, sources };
    const served = await measureServed(bench);
    const fifo = await measureFifo(bench, model, served.figures['capacity_fps']!);
    const figures = { ...served.figures, ...fifo.figures, load_average_before: load };
    return {
      seed: SEED,
      setup: setup(plan, pictures, context),
      figures,
      bars: bars(figures),
      plots: overloadPlots({
        budgetMs: BUDGET_MS,
        honouring: served.loads.slice(0, FACTORS.length),
        ignoring: served.loads[FACTORS.length]!,
        fifo: fifo.loads.at(-1)!,
      }),
    };
  } finally {
    await rm(cacheDir, { recursive: true, force: true });
  }
}

function setup(plan: Plan, pictures: readonly Uint8Array[], { quick, provider }: BenchContext): Record<string, string> {
  return {
    ...commonSetup(pictures),
    model: `${MODEL}, the default, on ${provider}`,
    capacity: `${framesUnderWay(provider)} frames under way all the time, over ${SESSIONS} sessions in turn; a load is held against the mean of the spans just before and after it`,
    load: `${SESSIONS} sources with seeded phases: one critical at ${CRITICAL_FPS} fps, the others with factor × capacity / ${SESSIONS} each; a frame that may not go is forgotten`,
    budget: `${BUDGET_MS} ms; a result is in time within it, and where grants are ignored within one run of the model more`,
    run: 'run_ms: the median of what a worker spent on a frame, by its result, within the load',
    busy: 'busy: time for which workers had something to do over workers × span, by the engine; busy_in_time: of that the share of runs whose result was in time',
    alone: `the critical source alone on the server, ${plan.aloneMs / 1_000} s just before each load`,
    sent: 'sent_over_capacity_max: the highest whole second, in steps of 100 ms, from 1 s after the start on',
    recovery: `of a client at ${PROBE_FPS} fps that honours its grants and was there all along, until the p95 of what follows is at most ${NORMAL_FACTOR} times that before the flood, or ${NORMAL_MS} ms more`,
    fifo: 'plain ws and one queue of 500 frames for everybody in front of the same engine, the oldest lost when it is full; a grant that holds nobody back, no deadline, no priority; the same clients',
    mode: quick
      ? 'quick: short spans'
      : `full: ${plan.honouringMs / 1_000} s each, ${plan.floodMs / 1_000} s at ${FLOOD_FACTOR}×, ${plan.fifoMs / 1_000} s each for the queue`,
  };
}

function bars(figures: Figures): Bar[] {
  // What could not be measured is no promise kept.
  const least = (name: string, bar: number): Bar => atLeast(name, figures[name] ?? Number.NaN, bar);
  const most = (name: string, bar: number): Bar => atMost(name, figures[name] ?? Number.NaN, bar);
  return [
    ...FACTORS.map(honouring).flatMap((name) => [
      most(`${name}_sent_over_capacity_max`, 1.2),
      most(`${name}_p95_over_budget_runs`, LATE_RUNS_MAX.honouring),
      least(`${name}_busy_in_time`, 0.9),
      least(`${name}_jain`, 0.95),
      least(`${name}_critical_kept`, 0.95),
      most(`${name}_critical_over_alone_runs`, CRITICAL_RUNS_MAX),
    ]),
    most(`${IGNORING}_p95_over_budget_runs`, LATE_RUNS_MAX.ignoring),
    least(`${IGNORING}_busy_in_time`, 0.9),
    most(`${FLOOD}_health_ms_max`, 200),
    most(`${FLOOD}_health_unanswered`, 0),
    most(`${FLOOD}_recovery_ms`, 2_000),
  ];
}

function honouring(factor: number): string {
  return `honouring_${factor}x`;
}

function sourcesOffering(offeredFps: number): Source[] {
  return sourcesOf({
    pipeline: 'objects',
    sessions: SESSIONS,
    fps: offeredFps / SESSIONS,
    criticalFps: CRITICAL_FPS,
  });
}

function capacityOptions({ capacityMs }: Plan) {
  return { name: 'capacity', wishes: equalWishes('objects', SESSIONS), spanMs: capacityMs };
}

// ── Sightline ────────────────────────────────────────────────────────────────────────────────────────────────────────────

async function measureServed(bench: Bench): Promise<Measured> {
  const { plan, cacheDir, pictures, provider, signal, say } = bench;
  const settings = { ...SETTINGS, 'inference.providers': provider };
  await using server = await Server.launch({ command: 'serve', cacheDir, settings, signal });
  await server.ready();
  const capacity = new Capacity(bench, server, capacityOptions(plan));
  await capacity.warmUp();
  for (let i = 0; i < plan.capacitySpans; i += 1) await capacity.measure();

  const loads: Load[] = [];
  /** The machine is not the same from one minute to the next: a load is held against the capacity around it. */
  const judged = async (load: () => Promise<Ran>): Promise<void> => {
    const before = capacity.lastFps;
    const criticalAloneMs = await criticalAlone(bench, server, ALONE, { spanMs: plan.aloneMs, drainMs: plan.drainMs });
    const ran = await load();
    await capacity.measure();
    const capacityFps = (before + capacity.lastFps) / 2;
    const lateRunsMax = LATE_RUNS_MAX[ran.options.kind];
    loads.push(judge(ran, { capacityFps, budgetMs: BUDGET_MS, lateRunsMax, criticalAloneMs }));
    say(inWords(loads.at(-1)!));
  };
  /** What a factor is of: all that is known of the capacity by then. */
  const offered = (factor: number) => ({
    factor,
    sources: sourcesOffering(factor * capacity.fps),
    drainMs: plan.drainMs,
  });
  for (const factor of FACTORS) {
    const load: LoadOptions = {
      kind: 'honouring',
      name: honouring(factor),
      spanMs: plan.honouringMs,
      ...offered(factor),
    };
    await judged(() => underLoad(bench, server, load));
  }
  const ignored: LoadOptions = {
    kind: 'ignoring',
    name: IGNORING,
    spanMs: plan.ignoringMs,
    ...offered(IGNORING_FACTOR),
  };
  await judged(() => underLoad(bench, server, ignored));
  const { beforeMs, afterMs, floodMs: spanMs } = plan;
  const flooded = { name: FLOOD, spanMs, beforeMs, afterMs, pictures, ...offered(FLOOD_FACTOR) };
  let seen: Figures = {};
  await judged(async () => {
    const flood = await measureFlood(bench, server, flooded);
    seen = flood.seen;
    return flood.ran;
  });
  return {
    figures: {
      ...capacity.figures(),
      ...named(loads),
      ...seen,
      rss_mb_end: toMb(await server.rssBytes()),
    },
    loads,
  };
}

// ── The peer ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

async function measureFifo(bench: Bench, model: ReadyModel, plannedFps: number): Promise<Measured> {
  const { plan, provider, signal, say } = bench;
  await using fifo = new Helper<FifoApi>(new URL('fifo-process.ts', import.meta.url), signal);
  const target: Target = { url: `http://127.0.0.1:${await fifo.call('listen', { model, provider })}`, pid: fifo.pid };
  const capacity = new Capacity(bench, target, capacityOptions(plan));
  await capacity.warmUp();
  await capacity.measure();
  const loads: Load[] = [];
  for (const factor of FACTORS) {
    const load: LoadOptions = {
      kind: 'honouring',
      name: `fifo.${factor}x`,
      factor,
      sources: sourcesOffering(factor * plannedFps),
      spanMs: plan.fifoMs,
      drainMs: plan.fifoDrainMs,
    };
    const promised = { capacityFps: capacity.fps, budgetMs: BUDGET_MS, lateRunsMax: LATE_RUNS_MAX.honouring };
    loads.push(judge(await underLoad(bench, target, load), promised));
    say(inWords(loads.at(-1)!));
  }
  return { figures: { 'fifo.capacity_fps': capacity.fps, ...named(loads) }, loads };
}
