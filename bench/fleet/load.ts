import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineCounts } from '../support/server.ts';
import { atLeast, atMost, type Bar } from '../support/document.ts';
import { toMb } from '../support/numbers.ts';
import { median, percentile, theilSenSlope } from '../support/statistics.ts';
import type { ViewsReport } from './viewers-process.ts';
import { World, type Costs, type FleetBench } from './world.ts';

/**
 * Cameras that are all watched and all looked at: what each part of that costs, whether it is complete and in time, its memory, and how many there may be.
 */

interface LoadPlan {
  readonly cameras: number;
  readonly settleMs: number;
  readonly partMs: number;
  readonly spanMs: number;
  /** What was begun with is reached: heaps have their size, and raw channels what they keep. */
  readonly memorySettleMs: number;
  readonly memoryMs: number;
  readonly memoryEveryMs: number;
  /** Of the search for the most that can be. */
  readonly max: { readonly most: number; readonly step: number; readonly settleMs: number; readonly spanMs: number };
}

const FULL: LoadPlan = {
  cameras: 100,
  settleMs: 10_000,
  partMs: 20_000,
  spanMs: 60_000,
  memorySettleMs: 300_000,
  memoryMs: 600_000,
  memoryEveryMs: 5_000,
  max: { most: 400, step: 5, settleMs: 10_000, spanMs: 25_000 },
};
const QUICK: LoadPlan = {
  cameras: 12,
  settleMs: 1_500,
  partMs: 2_000,
  spanMs: 6_000,
  memorySettleMs: 1_000,
  memoryMs: 5_000,
  memoryEveryMs: 500,
  max: { most: 24, step: 6, settleMs: 1_000, spanMs: 5_000 },
};

const INFERRED_EVERY_MS = 4_000;
const RESULT_RUNS_MAX = 4;
const MEMORY_MB_MAX = 25;
/** Of the memory, in ten minutes. */
const GROWTH_MAX = 0.05;
const MAX_SHARE = 0.85;

/** What the server does for its cameras, one after the other. */
interface Parts {
  readonly reading: Costs;
  readonly watched: Costs;
  readonly whole: Costs;
  /** Runs of the engine a second in the last one, and what a worker spent on each, ms of processor time and waiting. */
  readonly runsPerS: number;
  readonly workerMs: number;
}

interface Part {
  readonly own: Record<string, number>;
  readonly bars: readonly Bar[];
  readonly about: string;
}

/** `further`: what is measured beside the costs, on the same cameras. */
export async function measureLoad(bench: FleetBench, further: readonly ('memory' | 'max')[]): Promise<Part> {
  const plan = bench.quick ? QUICK : FULL;
  const { cameras } = plan;
  await using world = await World.open(bench, [plan.max.most]);
  const { viewers, server } = world;
  const { signal, say } = bench;
  const ids = [...world.entries(cameras, 'none').keys()];
  const settle = () => sleep(plan.settleMs, undefined, { signal });

  await world.configure(world.entries(cameras, 'none'));
  await settle();
  say(`${cameras} cameras are read`);
  const reading = await world.costs(plan.partMs);
  await viewers.call('open', { url: server.url, cameras: ids, sessions: 1 });
  await settle();
  say('each is watched');
  const watched = await world.costs(plan.partMs);
  await world.configure(world.entries(cameras, 'objects'));
  await viewers.call('results', ids, 120_000);
  await settle();
  say('and looked at');
  const dropped = await droppedBySources(world);
  await viewers.call('take', undefined);
  const engine = (await server.metrics()).engine;
  const whole = await world.costs(plan.spanMs);
  const engineAfter = (await server.metrics()).engine;
  const views = await viewers.call('take', undefined);
  const late = (await droppedBySources(world)) - dropped;
  const parts = { reading, watched, whole, ...runsOf(engine, engineAfter, plan.spanMs) };
  const own: Record<string, number> = {
    cameras,
    ...costFigures('reading', reading),
    ...costFigures('watched', watched),
    ...costFigures('whole', whole),
    runs_per_s: parts.runsPerS,
    run_worker_ms: parts.workerMs,
    sources_dropped: late,
    ...viewFigures(views),
  };
  const bars = viewBars(views);
  const allowed = allowedCameras(parts, cameras, cores());
  own['cameras_allowed'] = allowed;
  if (further.includes('memory')) {
    say(`memory, for ${plan.memoryMs / 1000} s`);
    const memory = await measureMemory(world, plan, bench);
    Object.assign(own, memory.own);
    bars.push(...memory.bars);
  }
  if (further.includes('max')) {
    say(`the parts' costs allow ${allowed.toFixed(0)} cameras`);
    const max = await searchMost(world, plan, allowed, bench);
    own['cameras_max'] = max;
    bars.push(atLeast('cameras_max_over_allowed', max / allowed, MAX_SHARE));
  }
  return { own, bars, about: world.about };
}

async function droppedBySources({ sources }: World): Promise<number> {
  const sent = await Promise.all(sources.map((source) => source.call('sent', undefined)));
  return sent.reduce((sum, { dropped }) => sum + dropped, 0);
}

function runsOf(before: EngineCounts, after: EngineCounts, spanMs: number): Pick<Parts, 'runsPerS' | 'workerMs'> {
  const runs = Math.max(1, after.completed - before.completed);
  return { runsPerS: (runs * 1000) / spanMs, workerMs: (after.busyMs - before.busyMs) / runs };
}

/** All of it; the server's alone is the sum of the first three. */
function costFigures(name: string, costs: Costs): Record<string, number> {
  const { mainMs, threadsMs, readersMs, camerasMs, viewersMs, foreignMs } = costs;
  return {
    [`${name}_main_ms_per_s`]: mainMs,
    [`${name}_threads_ms_per_s`]: threadsMs,
    [`${name}_readers_ms_per_s`]: readersMs,
    [`${name}_sources_ms_per_s`]: camerasMs,
    [`${name}_viewers_ms_per_s`]: viewersMs,
    [`${name}_foreign_ms_per_s`]: foreignMs,
  };
}

function viewFigures({
  cameras,
  sum,
  latenciesMs,
  runsMs,
  decodesMs,
  queuesMs,
  failed,
  disconnections,
  gaps,
}: ViewsReport) {
  return {
    fragments: sum.fragments,
    fragments_missing: sum.missing,
    fragments_holes: sum.holes,
    epochs_new: sum.epochs,
    gaps_told: Object.values(gaps).reduce((all, one) => all + one, 0),
    results: sum.results,
    results_failed: failed,
    disconnections,
    results_apart_ms_max: Math.max(...Object.values(cameras).map((one) => one.resultsApartMsMax)),
    ...(latenciesMs.length > 0 && {
      run_ms: median(runsMs),
      run_p95_ms: percentile(runsMs, 95),
      decode_p50_ms: median(decodesMs),
      decode_p95_ms: percentile(decodesMs, 95),
      queue_p50_ms: median(queuesMs),
      queue_p95_ms: percentile(queuesMs, 95),
      result_p50_ms: median(latenciesMs),
      result_p95_ms: percentile(latenciesMs, 95),
    }),
  };
}

function viewBars(views: ViewsReport): Bar[] {
  const { fragments_missing, fragments_holes, epochs_new, gaps_told, results_apart_ms_max, ...more } =
    viewFigures(views);
  const { run_ms = Number.NaN, result_p95_ms = Number.NaN } = more;
  return [
    atMost('fragments_missing', fragments_missing + fragments_holes + epochs_new + gaps_told, 0),
    atMost('results_apart_ms_max', results_apart_ms_max, INFERRED_EVERY_MS),
    atMost('result_p95_runs', result_p95_ms / run_ms, RESULT_RUNS_MAX),
  ];
}

async function measureMemory(world: World, plan: LoadPlan, { signal }: FleetBench): Promise<Omit<Part, 'about'>> {
  await sleep(plan.memorySettleMs, undefined, { signal });
  const points: { x: number; y: number }[] = [];
  const startMs = performance.now();
  for (let passedMs = 0; passedMs < plan.memoryMs; passedMs = performance.now() - startMs) {
    points.push({ x: passedMs, y: toMb(world.memoryBytes()) });
    await sleep(plan.memoryEveryMs, undefined, { signal });
  }
  const mb = median(points.map(({ y }) => y));
  const growth = (theilSenSlope(points) * 600_000) / mb;
  return {
    own: { memory_mb: mb, memory_mb_max: Math.max(...points.map(({ y }) => y)), memory_growth_10_min: growth },
    bars: [
      atMost('memory_mb_per_camera', mb / plan.cameras, MEMORY_MB_MAX),
      atMost('memory_growth_10_min', growth, GROWTH_MAX),
    ],
  };
}

function cores(): number {
  return navigator.hardwareConcurrency;
}

/**
 * How many cameras the machine could have if it did nothing but what each of them costs: being read, being watched, and being looked at every four seconds. What more the engine did in the
 * same run was left over. Sources and viewers are on the same machine, so they count. Pure.
 */
export function allowedCameras(parts: Parts, cameras: number, coreCount: number): number {
  const { reading, watched, whole, runsPerS } = parts;
  const outside = watched.camerasMs + watched.viewersMs;
  const passing = watched.mainMs + watched.threadsMs + watched.readersMs;
  // What decodes and scales key frames, in the readers; the engine's own, for a run; and results that go out.
  const decoding = Math.max(0, whole.readersMs - watched.readersMs);
  const inference = Math.max(0, whole.threadsMs + whole.mainMs - watched.threadsMs - watched.mainMs);
  const perRun = inference / runsPerS;
  const perCamera =
    (outside + Math.max(passing, sumOf(reading)) + decoding) / cameras + (perRun * 1000) / INFERRED_EVERY_MS;
  return (coreCount * 1000) / perCamera;
}

function sumOf({ mainMs, threadsMs, readersMs }: Costs): number {
  return mainMs + threadsMs + readersMs;
}

/** The most cameras with which all bars hold, by bisection. */
async function searchMost(world: World, plan: LoadPlan, allowed: number, { say, signal }: FleetBench): Promise<number> {
  const { step, settleMs, spanMs, most } = plan.max;
  const holds = async (count: number): Promise<boolean> => {
    const ids = [...world.entries(count, 'objects').keys()];
    try {
      await world.viewers.call('keep', ids);
      await world.configure(world.entries(count, 'objects'));
      await world.viewers.call('open', { url: world.server.url, cameras: ids, sessions: 1 });
      await world.viewers.call('results', ids);
    } catch (thrown) {
      signal.throwIfAborted();
      say(`${count} cameras: ${(thrown as Error).message}`);
      return false;
    }
    await sleep(settleMs, undefined, { signal });
    const dropped = await droppedBySources(world);
    await world.viewers.call('take', undefined);
    await sleep(spanMs, undefined, { signal });
    const bars = viewBars(await world.viewers.call('take', undefined));
    const late = (await droppedBySources(world)) - dropped;
    say(
      `${count} cameras: ${bars.map(({ name, value }) => `${name} ${value}`).join(', ')}, dropped by the sources ${late}`,
    );
    return bars.every(({ ok }) => ok) && late === 0;
  };
  let [below, above] = [0, Math.min(most + step, Math.ceil((allowed * 1.2) / step) * step)];
  while (above - below > step) {
    const count = Math.round((below + above) / 2 / step) * step;
    if (await holds(count)) below = count;
    else above = count;
  }
  return below;
}
