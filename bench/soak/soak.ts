import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { ModelRegistry } from '../../src/inference/registry.ts';
import { Helper } from '../support/children.ts';
import type { ClientsApi } from '../support/clients-process.ts';
import { atMost, type BenchContext, type Benchmark, type BenchResult } from '../support/document.ts';
import { toMb } from '../support/numbers.ts';
import { cameraPictures } from '../support/pictures.ts';
import { Server } from '../support/server.ts';
import { linearFit, median } from '../support/statistics.ts';

const SEED = 20_260;
const MODEL = 'ssd-oidv4';
const CLIENTS = 8;
const SESSIONS_MAX = 20;
const PICTURES = 64;
/** A session at rest has worked before: its buffers are there. */
const PICTURES_PER_SESSION = 8;
/** A lost session waits so long for its client: short, so that it does not count as memory that was not given back. */
const SETTINGS = { 'streaming.resume_window_s': 1 };
const SESSION_MB_MAX = 40;
/** Noise of memory: the collector's moment, and pages that the allocator keeps. */
const GROWTH_SHARE_MAX = 0.05;
const GROWTH_MB_MIN = 15;

interface Plan {
  readonly loadMs: number;
  readonly sampleMs: number;
  readonly restMs: number;
  readonly idleMs: number;
}

const FULL: Plan = { loadMs: 600_000, sampleMs: 2_000, restMs: 500, idleMs: 30_000 };
const QUICK: Plan = { loadMs: 120_000, sampleMs: 1_000, restMs: 150, idleMs: 5_000 };

export const soak: Benchmark = {
  name: 'soak',
  summary: 'memory: of each session at rest, and over ten minutes of eight clients',
  run: runSoak,
};

interface Bench extends BenchContext {
  readonly plan: Plan;
  readonly cacheDir: string;
  readonly clients: Helper<ClientsApi>;
}

async function runSoak(context: BenchContext): Promise<BenchResult> {
  const { quick, signal } = context;
  const plan = quick ? QUICK : FULL;
  const cacheDir = await mkdtemp(join(tmpdir(), 'sightline-bench-'));
  try {
    // The conversion of the model is not what is measured here.
    await new ModelRegistry({ cacheDir }).resolve(MODEL);
    await using clients = new Helper<ClientsApi>(new URL('../support/clients-process.ts', import.meta.url), signal);
    await clients.call('prepare', { pictures: await cameraPictures(PICTURES, SEED) });
    const bench: Bench = { ...context, plan, cacheDir, clients };
    const sessionMb = await measureSessions(bench);
    const load = await measureLoad(bench);
    const sessionWorkingMb = (load.rss_mb_end - load.rss_mb_start) / CLIENTS;
    return {
      seed: SEED,
      setup: {
        load: `${CLIENTS} clients at the rate and window that the server grants by default, ${plan.loadMs / 60_000} min`,
        frames: `${PICTURES} views of two photographs (opencv@7.0.0), 640×480, JPEG quality 50 to 75`,
        model: `${MODEL}, the default`,
        server:
          'the command serve with streaming.resume_window_s=1, warm model cache; resident size as it tells itself',
        figures: 'start: at rest before the load; middle, end: medians of a tenth of the time; idle: without sessions',
        growth:
          "growth_mb: how much of what the server needs grows from the middle to the end: the resident size without V8's heap, and the least that the heap has held (heap_floor: the minimum of the first half, without its first fifth, and of the second); V8 sizes the space for its young objects by itself, up and down by tens of megabytes, which rss_growth_mb has in it",
      },
      figures: { ...load, session_at_rest_mb: sessionMb, session_working_mb: sessionWorkingMb },
      bars: [
        atMost('growth_mb', load.growth_mb, Math.max(GROWTH_MB_MIN, GROWTH_SHARE_MAX * load.rss_mb_middle)),
        atMost('session_at_rest_mb', sessionMb, SESSION_MB_MAX),
        atMost('session_working_mb', sessionWorkingMb, SESSION_MB_MAX),
      ],
    };
  } finally {
    await rm(cacheDir, { recursive: true, force: true });
  }
}

/** Megabytes that a further session adds, from 1 to 20 of them: the slope of the line through all. */
async function measureSessions({ clients, cacheDir, plan, signal, say }: Bench): Promise<number> {
  say(`opening sessions, 1 to ${SESSIONS_MAX}`);
  await using server = await Server.launch({ command: 'serve', cacheDir, settings: SETTINGS, signal });
  await server.ready();
  const points: { x: number; y: number }[] = [];
  for (let sessions = 1; sessions <= SESSIONS_MAX; sessions += 1) {
    await clients.call('open', { url: server.url, count: 1 });
    // All of them, so that the new one is not the only one that has just worked.
    await clients.call('paced', {
      startTimeMs: systemClock.now(),
      periodMs: 250,
      pictures: Array.from({ length: sessions === 1 ? PICTURES_PER_SESSION : 2 }, (_, i) => i),
    });
    await sleep(plan.restMs, undefined, { signal });
    points.push({ x: sessions, y: toMb(await server.rssBytes()) });
  }
  await clients.call('close', undefined);
  return linearFit(points).slope;
}

async function measureLoad({ clients, cacheDir, plan, signal, say }: Bench) {
  await using server = await Server.launch({ command: 'serve', cacheDir, settings: SETTINGS, signal });
  await server.ready();
  await sleep(1_000, undefined, { signal });
  const start = await server.metrics();
  await clients.call('open', { url: server.url, count: CLIENTS });
  const samples: { minutes: number; mb: number; outsideMb: number; heapMb: number }[] = [];
  const load = clients.call('saturate', { settleMs: 0, spanMs: plan.loadMs }, plan.loadMs + 60_000);
  const startMs = performance.now();
  while (performance.now() - startMs < plan.loadMs - plan.sampleMs) {
    await Promise.race([sleep(plan.sampleMs, undefined, { signal }), load]);
    const { rss_bytes: rss, heap_resident_bytes: heap, heap_used_bytes: used } = (await server.metrics()).process;
    const minutes = (performance.now() - startMs) / 60_000;
    samples.push({ minutes, mb: toMb(rss), outsideMb: toMb(rss - heap), heapMb: toMb(used) });
    if (samples.length % 15 === 0)
      say(`${samples.at(-1)!.minutes.toFixed(1)} min: ${samples.at(-1)!.mb.toFixed(1)} MB`);
  }
  const { fps } = await load;
  const loaded = await server.metrics();
  const totals = await clients.call('totals', undefined);
  await clients.call('close', undefined);
  say('waiting for the sessions to end');
  await server.withoutSessions(10_000);
  await sleep(plan.idleMs, undefined, { signal });
  const idle = await server.metrics();

  const minutes = plan.loadMs / 60_000;
  const within = (from: number, to: number) =>
    samples.filter((s) => s.minutes >= from * minutes && s.minutes <= to * minutes);
  const level = (from: number, to: number, of: 'mb' | 'outsideMb' = 'mb'): number =>
    median(within(from, to).map((sample) => sample[of]));
  const heapFloor = (from: number, to: number): number => Math.min(...within(from, to).map(({ heapMb }) => heapMb));
  const outsideGrowthMb = level(0.9, 1, 'outsideMb') - level(0.45, 0.55, 'outsideMb');
  const heapFloors = { middle: heapFloor(0.1, 0.5), end: heapFloor(0.5, 1) };
  const secondHalf = within(0.5, 1).map(({ minutes: x, mb: y }) => ({ x, y }));
  return {
    rss_mb_start: toMb(start.process.rss_bytes),
    rss_mb_middle: level(0.45, 0.55),
    rss_mb_end: level(0.9, 1),
    rss_mb_max: Math.max(...samples.map(({ mb }) => mb)),
    rss_mb_idle: toMb(idle.process.rss_bytes),
    rss_growth_mb: level(0.9, 1) - level(0.45, 0.55),
    rss_growth_mb_per_min: linearFit(secondHalf).slope,
    outside_heap_growth_mb: outsideGrowthMb,
    heap_floor_mb_middle: heapFloors.middle,
    heap_floor_mb_end: heapFloors.end,
    growth_mb: outsideGrowthMb + heapFloors.end - heapFloors.middle,
    heap_used_mb_start: toMb(start.process.heap_used_bytes),
    heap_used_mb_end: toMb(loaded.process.heap_used_bytes),
    heap_used_mb_idle: toMb(idle.process.heap_used_bytes),
    external_mb_end: toMb(loaded.process.external_bytes),
    fps,
    frames: totals.sent,
    drops: totals.dropped,
    errors: totals.errors,
  };
}
