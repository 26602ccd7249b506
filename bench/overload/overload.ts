import { mkdtemp, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ReadyModel } from '../../src/inference/manifest.ts';
import { ModelRegistry } from '../../src/inference/registry.ts';
import { Helper } from '../support/children.ts';
import { atLeast, atMost, type Bar, type BenchContext, type Benchmark, type BenchResult } from '../support/document.ts';
import { toMb } from '../support/numbers.ts';
import { cameraPictures } from '../support/pictures.ts';
import { CoreUse, readProcessors } from '../support/processors.ts';
import { Server } from '../support/server.ts';
import { median, percentile } from '../support/statistics.ts';
import type { Figures, Load } from './analysis.ts';
import type { FifoApi } from './fifo-process.ts';
import { measureFlood, NORMAL_FACTOR, NORMAL_MS, PROBE_FPS } from './flood.ts';
import {
  CRITICAL_FPS,
  criticalAlone,
  framesUnderWay,
  generatorCoresMax,
  inWords,
  judge,
  measureCapacity,
  named,
  SEED,
  SESSIONS,
  underLoad,
  type LoadBench,
  type LoadOptions,
  type Ran,
  type Target,
} from './loads.ts';
import { overloadPlots } from './plots.ts';
import type { SourcesApi } from './sources-process.ts';

const MODEL = 'ssd-oidv4';
const PICTURES = 64;
/** That of the first grant, whatever the server grants later: every frame costs the server the same. */
const QUALITY = 50;
const FACTORS = [2, 5, 10];
const IGNORING_FACTOR = 10;
const FLOOD_FACTOR = 20;
const FLOOD = `flood_${FLOOD_FACTOR}x`;
const IGNORING = `ignoring_${IGNORING_FACTOR}x`;
/** The default, written down since bars are made of it. */
const BUDGET_MS = 75;
/** A lost session does not wait for its client; a grant may rise to what a fast machine can do for twenty sessions. */
const SETTINGS = {
  'streaming.resume_window_s': 1,
  'streaming.max_fps': 60,
  'performance.target_latency_ms': BUDGET_MS,
};
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
  const pictures = await cameraPictures(PICTURES, SEED, undefined, { min: QUALITY, max: QUALITY });
  const cacheDir = await mkdtemp(join(tmpdir(), 'sightline-bench-'));
  try {
    // The conversion of the model is not what is measured here.
    const model = await new ModelRegistry({ cacheDir }).resolve(MODEL);
    await using sources = new Helper<SourcesApi>(new URL('sources-process.ts', import.meta.url), signal);
    await sources.call('prepare', { pictures });
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
  const kb = pictures.reduce((sum, { length }) => sum + length, 0) / pictures.length / 1_000;
  const settings = Object.entries(SETTINGS).map(([key, value]) => `${key}=${value}`);
  return {
    frames: `${PICTURES} views of two photographs (opencv@7.0.0), 640×480, JPEG quality ${QUALITY}, ${kb.toFixed(0)} kB on average, whatever size and quality are granted`,
    model: `${MODEL}, the default, on ${provider}`,
    server: `the command serve with ${settings.join(', ')}`,
    capacity: `${framesUnderWay(provider)} frames under way all the time, over ${SESSIONS} sessions in turn; a load is held against the mean of the spans just before and after it`,
    load: `${SESSIONS} sources with seeded phases: one critical at ${CRITICAL_FPS} fps, the others with factor × capacity / ${SESSIONS} each; a frame that may not go is forgotten`,
    generator: `one process for all clients, on the same cores, bounded to ${generatorCoresMax()} of them: frames beyond that are not sent (over_cpu), beats that it is late for are missed; offered is what was planned, shown what came about`,
    budget: `${BUDGET_MS} ms; a result is in time within it, and where grants are ignored within one run of the model more`,
    run: 'run_ms: the median of what a worker spent on a frame, by its result, within the load',
    busy: 'busy: time for which workers had something to do over workers × span, by the engine; busy_in_time: of that the share of runs whose result was in time',
    alone: `the critical source alone on the server, ${plan.aloneMs / 1_000} s just before each load`,
    latency: 'capture to result received, on one clock; every result counts, those of the first second too',
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

// ── Sightline ────────────────────────────────────────────────────────────────────────────────────────────────────────────

async function measureServed(bench: Bench): Promise<Measured> {
  const { plan, cacheDir, pictures, provider, signal, say } = bench;
  const settings = { ...SETTINGS, 'inference.providers': provider };
  await using server = await Server.launch({ command: 'serve', cacheDir, settings, signal });
  await server.ready();
  const capacity = new Capacity(bench, server);
  await capacity.warmUp();
  for (let i = 0; i < plan.capacitySpans; i += 1) await capacity.measure();

  const loads: Load[] = [];
  /** The machine is not the same from one minute to the next: a load is held against the capacity around it. */
  const judged = async (load: () => Promise<Ran>): Promise<void> => {
    const before = capacity.lastFps;
    const criticalAloneMs = await criticalAlone(bench, server, { spanMs: plan.aloneMs, drainMs: plan.drainMs });
    const ran = await load();
    await capacity.measure();
    const capacityFps = (before + capacity.lastFps) / 2;
    const lateRunsMax = LATE_RUNS_MAX[ran.options.kind];
    loads.push(judge(ran, { capacityFps, budgetMs: BUDGET_MS, lateRunsMax, criticalAloneMs }));
    say(inWords(loads.at(-1)!));
  };
  /** What a factor is of: all that is known of the capacity by then. */
  const shared = () => ({ plannedFps: capacity.fps, drainMs: plan.drainMs });
  for (const factor of FACTORS) {
    const load: LoadOptions = {
      kind: 'honouring',
      name: honouring(factor),
      factor,
      spanMs: plan.honouringMs,
      ...shared(),
    };
    await judged(() => underLoad(bench, server, load));
  }
  const ignored: LoadOptions = {
    kind: 'ignoring',
    name: IGNORING,
    factor: IGNORING_FACTOR,
    spanMs: plan.ignoringMs,
    ...shared(),
  };
  await judged(() => underLoad(bench, server, ignored));
  const { beforeMs, afterMs, floodMs: spanMs } = plan;
  const flooded = { name: FLOOD, factor: FLOOD_FACTOR, spanMs, beforeMs, afterMs, pictures, ...shared() };
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

/** What a server can process, measured again and again. */
class Capacity {
  readonly #bench: Bench;
  readonly #target: Target;
  readonly #spansFps: number[] = [];
  readonly #latenciesMs: number[] = [];
  readonly #use = new CoreUse();

  constructor(bench: Bench, target: Target) {
    this.#bench = bench;
    this.#target = target;
  }

  get fps(): number {
    return median(this.#spansFps);
  }

  get lastFps(): number {
    return this.#spansFps.at(-1)!;
  }

  /** Code that is compiled while it is measured would be measured. */
  async warmUp(): Promise<void> {
    await measureCapacity(this.#bench, this.#target, this.#bench.plan.capacityMs);
  }

  async measure(): Promise<void> {
    const { plan, sources, say } = this.#bench;
    const pids = [this.#target.pid, sources.pid, process.pid];
    const before = readProcessors(pids);
    const { fps, latenciesMs } = await measureCapacity(this.#bench, this.#target, plan.capacityMs);
    this.#use.add(before, readProcessors(pids));
    this.#spansFps.push(fps);
    for (const ms of latenciesMs) this.#latenciesMs.push(ms);
    say(`capacity: ${fps.toFixed(1)} fps`);
  }

  figures(): Figures {
    return {
      capacity_fps: this.fps,
      capacity_fps_min: Math.min(...this.#spansFps),
      capacity_fps_max: Math.max(...this.#spansFps),
      capacity_p95_ms: percentile(this.#latenciesMs, 95),
      capacity_foreign_cores: this.#use.foreign,
    };
  }
}

// ── The peer ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

async function measureFifo(bench: Bench, model: ReadyModel, plannedFps: number): Promise<Measured> {
  const { plan, provider, signal, say } = bench;
  await using fifo = new Helper<FifoApi>(new URL('fifo-process.ts', import.meta.url), signal);
  const target: Target = { url: `http://127.0.0.1:${await fifo.call('listen', { model, provider })}`, pid: fifo.pid };
  const capacity = new Capacity(bench, target);
  await capacity.warmUp();
  await capacity.measure();
  const loads: Load[] = [];
  for (const factor of FACTORS) {
    const load: LoadOptions = {
      kind: 'honouring',
      name: `fifo.${factor}x`,
      factor,
      plannedFps,
      spanMs: plan.fifoMs,
      drainMs: plan.fifoDrainMs,
    };
    const promised = { capacityFps: capacity.fps, budgetMs: BUDGET_MS, lateRunsMax: LATE_RUNS_MAX.honouring };
    loads.push(judge(await underLoad(bench, target, load), promised));
    say(inWords(loads.at(-1)!));
  }
  return { figures: { 'fifo.capacity_fps': capacity.fps, ...named(loads) }, loads };
}
