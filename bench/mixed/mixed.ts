import { mkdtemp, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { seededRandom } from '../../src/base/random.ts';
import type { PipelineName } from '../../src/base/result.ts';
import { Priority } from '../../src/base/sample.ts';
import { ModelRegistry } from '../../src/inference/registry.ts';
import { HAND_MODELS } from '../../src/pipelines/hands/call.ts';
import { CLIPS, clipNamed, findClips } from '../hands/clips.ts';
import { FILMED, FILMED_FRAMES, filmedFrames } from '../hands/film.ts';
import type { Figures } from '../overload/analysis.ts';
import { Capacity } from '../overload/capacity.ts';
import { commonSetup, loadPictures, MODEL, QUALITY, SEED, SETTINGS } from '../overload/conditions.ts';
import { criticalAlone, equalWishes, framesUnderWay, sourcesOf, underLoad, type LoadBench } from '../overload/loads.ts';
import type { Source, SourcesApi } from '../overload/sources-process.ts';
import { Helper } from '../support/children.ts';
import { atMost, type Bar, type BenchContext, type Benchmark, type BenchResult } from '../support/document.ts';
import { meanKb, toJpeg } from '../support/pictures.ts';
import { Server } from '../support/server.ts';
import { MIXED, mixFigures, type OfEach } from './analysis.ts';

/** Of each pipeline, the critical one included. */
const SESSIONS_EACH = 10;
const CRITICAL_FPS = 2;
const FACTOR = 10;
/**
 * What sessions ask for, in runs of the longer model. A result may take its whole budget, and the default of 75 ms is more runs on a
 * fast machine than the bar allows.
 */
const BUDGET_RUNS = 3;
/** The default ones. */
const HANDS = HAND_MODELS[0];

interface Plan {
  /** Spans of the capacity of each pipeline before the load; one more follows it. */
  readonly capacitySpans: number;
  readonly capacityMs: number;
  /** Of each critical source alone. */
  readonly aloneMs: number;
  readonly loadMs: number;
  readonly drainMs: number;
}

const FULL: Plan = { capacitySpans: 3, capacityMs: 4_000, aloneMs: 6_000, loadMs: 20_000, drainMs: 2_500 };
const QUICK: Plan = { capacitySpans: 1, capacityMs: 500, aloneMs: 1_500, loadMs: 3_000, drainMs: 700 };

export const mixed: Benchmark = {
  name: 'mixed',
  summary: 'objects and hands on one engine, ten times too much of both: even worker time, and results in time',
  run: runMixed,
};

interface Bench extends LoadBench {
  readonly plan: Plan;
  readonly cacheDir: string;
}

async function runMixed(context: BenchContext): Promise<BenchResult> {
  const { quick, signal, say } = context;
  const plan = quick ? QUICK : FULL;
  const load = loadavg()[0]!;
  say('preparing pictures');
  const pictures = { hands: await handPictures(), objects: await loadPictures() };
  const cacheDir = await mkdtemp(join(tmpdir(), 'sightline-bench-'));
  try {
    // The conversion of the models is not what is measured here.
    const registry = new ModelRegistry({ cacheDir });
    for (const id of [MODEL, ...Object.values(HANDS)]) await registry.resolve(id);
    await using sources = new Helper<SourcesApi>(new URL('../overload/sources-process.ts', import.meta.url), signal);
    await sources.call('prepare', { pictures });
    const measured = await measureMix({ ...context, plan, cacheDir, sources });
    const figures = { ...measured, load_average_before: load };
    return { seed: SEED, setup: setup(plan, pictures, context), figures, bars: bars(figures) };
  } finally {
    await rm(cacheDir, { recursive: true, force: true });
  }
}

function setup(
  plan: Plan,
  { objects, hands }: OfEach<readonly Uint8Array[]>,
  { quick, provider }: BenchContext,
): Record<string, string> {
  const { frames, ...common } = commonSetup(objects);
  const { first, last } = FILMED_FRAMES;
  const each = SESSIONS_EACH - 1;
  return {
    ...common,
    frames_objects: frames!,
    frames_hands: `frames ${first} to ${last} of the clip ${FILMED}, forward and backward, 640×480, JPEG quality ${QUALITY}, ${meanKb(hands)} kB on average: one hand in each; every session goes on with its film from frame to frame`,
    models: `${MODEL}; ${Object.values(HANDS).join(' and ')}: the defaults, on ${provider}`,
    capacity: `of each pipeline alone: ${framesUnderWay(provider)} frames under way all the time, over ${SESSIONS_EACH} sessions in turn; the mean of the spans just before and after the load; of the mix it is half of each, since each is to have half of the workers' time`,
    load: `${SESSIONS_EACH} sessions of each pipeline, seeded phases: one critical at ${CRITICAL_FPS} fps, ${each} ordinary ones; together ${FACTOR} times half of what the pipeline can do alone; all honour their grants, a frame that may not go is forgotten`,
    budget: `budget_ms of every session: ${BUDGET_RUNS} runs of the longer model, as measured while the engine was full just before`,
    run: 'run_ms: the median of what a worker spent on a frame of the pipeline, by its result, within the load; run_ms without a pipeline is that of the longer one, and what is told in runs (p95_runs, …_critical_over_alone_runs) is in those; run_ms_max: the longest single run of the engine within the load, which a critical frame may have to wait for (…_critical_over_alone_longest_runs)',
    share:
      "share_objects: what objects had of the worker time of ordinary sessions; by the engine's account of each program from the start of the load to its end, less what the results of critical sessions took; share_off_even: how far it is from 0.5; within 5 % of even is read as from 0.475 to 0.525",
    p95: 'p50_ms, p95_ms, p99_ms, p95_runs: of all results of ordinary sessions of both pipelines; those of a pipeline (objects_…, hands_…) take in its critical one',
    alone: `…_critical_alone_p95_ms: the critical source of the pipeline alone on the server, ${plan.aloneMs / 1_000} s just before the load`,
    gap: 'gap_max_s: the longest time that any session was without a result, from 1 s after the start to the end of the load',
    busy: "busy: time for which workers had something to do over workers × span, by the engine; …_busy: the pipeline's worker time over the same",
    found: '…_found: share of the results in which there is a thing, or a hand',
    mode: quick ? 'quick: short spans' : `full: ${plan.loadMs / 1_000} s of load`,
  };
}

function bars(figures: Figures): Bar[] {
  const most = (name: string, bar: number): Bar => atMost(name, figures[name] ?? Number.NaN, bar);
  return [
    most('p95_runs', 4),
    most('share_off_even', 0.025),
    ...MIXED.map((pipeline) => most(`${pipeline}_critical_over_alone_longest_runs`, 1)),
    most('gap_max_s', 5),
  ];
}

async function handPictures(): Promise<Uint8Array[]> {
  const frames = await filmedFrames(clipNamed(await findClips(CLIPS), FILMED));
  return frames.map(({ bytes, width, height }) => toJpeg({ data: bytes, width, height }, QUALITY));
}

async function measureMix(bench: Bench): Promise<Figures> {
  const { plan, cacheDir, signal, say } = bench;
  const { loadMs: spanMs, aloneMs, drainMs } = plan;
  await using server = await Server.launch({ command: 'serve', cacheDir, settings: SETTINGS, signal });
  await server.ready();
  const capacities = await ofEach((pipeline) => openCapacity(bench, server, pipeline));
  for (let i = 0; i < plan.capacitySpans; i += 1) await ofEach((pipeline) => capacities[pipeline].measure());
  const before = await ofEach((pipeline) => capacities[pipeline].lastFps);
  const budgetMs = Math.round(BUDGET_RUNS * Math.max(...MIXED.map((pipeline) => capacities[pipeline].runMs)));
  const sources = sourcesOfMix(capacities, budgetMs);
  const criticalAloneMs = await ofEach((pipeline) => {
    const critical = sources.find((one) => one.pipeline === pipeline && one.priority === Priority.critical);
    return criticalAlone(bench, server, critical!, { spanMs: aloneMs, drainMs });
  });
  const load = { kind: 'honouring', name: 'mixed', factor: FACTOR, sources, spanMs, drainMs } as const;
  const { log, engine, cores } = await underLoad(bench, server, load);
  await ofEach((pipeline) => capacities[pipeline].measure());
  const capacityFps = await ofEach((pipeline) => (before[pipeline] + capacities[pipeline].lastFps) / 2);
  const figures = mixFigures(log, { spanMs, sources, budgetMs, engine: engine!, capacityFps, criticalAloneMs });
  say(inWords(figures));
  return { budget_ms: budgetMs, ...figures, ...cores };
}

async function openCapacity(bench: Bench, server: Server, pipeline: PipelineName): Promise<Capacity> {
  const capacity = new Capacity(bench, server, {
    name: `capacity of ${pipeline}`,
    wishes: equalWishes(pipeline, SESSIONS_EACH),
    spanMs: bench.plan.capacityMs,
  });
  await capacity.warmUp();
  return capacity;
}

/** Each pipeline is offered `FACTOR` times its half of the workers' time. */
function sourcesOfMix(capacities: OfEach<Capacity>, budgetMs: number): Source[] {
  const random = seededRandom(SEED);
  return MIXED.flatMap((pipeline) => {
    const offeredFps = (FACTOR * capacities[pipeline].fps) / MIXED.length;
    const fps = (offeredFps - CRITICAL_FPS) / (SESSIONS_EACH - 1);
    return sourcesOf({ pipeline, sessions: SESSIONS_EACH, fps, criticalFps: CRITICAL_FPS, budgetMs }, random);
  });
}

/** One after the other. */
async function ofEach<T>(what: (pipeline: PipelineName) => T | Promise<T>): Promise<OfEach<T>> {
  return { objects: await what('objects'), hands: await what('hands') };
}

/** A line for people. */
function inWords(figures: Figures): string {
  const of = (figure: string): number => figures[figure] ?? Number.NaN;
  return (
    `p95 ${of('p95_ms').toFixed(0)} ms, ${of('p95_runs').toFixed(2)} runs of ${of('run_ms').toFixed(1)} ms; ` +
    `objects have ${of('share_objects').toFixed(3)} of the worker time; critical p95 over alone ` +
    `${MIXED.map((pipeline) => of(`${pipeline}_critical_over_alone_runs`).toFixed(2)).join(' and ')} runs; ` +
    `longest gap ${of('gap_max_s').toFixed(2)} s`
  );
}
