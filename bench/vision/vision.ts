import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { connectVideo } from '../../src/client/video.ts';
import type { ReadyModel } from '../../src/inference/manifest.ts';
import { ModelRegistry } from '../../src/inference/registry.ts';
import { Helper } from '../support/children.ts';
import type { ClientsApi } from '../support/clients-process.ts';
import { atLeast, atMost, type Bar, type BenchContext, type Benchmark, type BenchResult } from '../support/document.ts';
import { toMb } from '../support/numbers.ts';
import type { Pace, PictureTime } from '../support/pace.ts';
import { cameraPictures, meanKb } from '../support/pictures.ts';
import { CoreUse, readProcessors } from '../support/processors.ts';
import { Server } from '../support/server.ts';
import { median, percentile } from '../support/statistics.ts';
import { arrangements, type Arrangement } from './arrangements.ts';
import type { LimitApi } from './limit-process.ts';

const SEED = 20_260;
const MODEL = 'ssd-oidv4';
const CLIENTS = 8;
const CAMERA_FPS = 15;
const PICTURES = 64;
/** Of the latency measurement: fewer, so that each comes often enough for a median of its own. */
const PACED_PICTURES = 24;
const LEAD_MS = 300;
const SETTLE_MS = 400;

/** The grant must not be what limits a measurement of the limit. */
const SETTINGS = {
  'performance.adaptive_quality': 'false',
  'performance.target_latency_ms': 2_000,
  'streaming.window': 4,
  'streaming.max_fps': 60,
  'streaming.default_fps': 60,
};

interface Plan {
  readonly coldStarts: number;
  /** Of every arrangement of the limit loop. */
  readonly trials: number;
  readonly trialMs: number;
  readonly rounds: number;
  readonly spanMs: number;
  /** Beats of a camera at 15 fps: of one client against the limit, and of all eight. */
  readonly beats: number;
  readonly eightBeats: number;
}

const FULL: Plan = {
  coldStarts: 5,
  trials: 5,
  trialMs: 1_500,
  rounds: 20,
  spanMs: 3_000,
  beats: 960,
  eightBeats: 300,
};
const QUICK: Plan = {
  coldStarts: 1,
  trials: 1,
  trialMs: 500,
  rounds: 1,
  spanMs: 1_000,
  beats: 96,
  eightBeats: 30,
};

export const vision: Benchmark = {
  name: 'vision',
  summary: 'frames a second and latency against a bare loop over the same frames, start-up, memory',
  run: runVision,
};

type Figures = Record<string, number>;

/** What all measurements share. */
interface Bench extends BenchContext {
  readonly plan: Plan;
  readonly cacheDir: string;
  readonly pictures: readonly Uint8Array[];
  readonly model: ReadyModel;
  readonly limit: Helper<LimitApi>;
  readonly clients: Helper<ClientsApi>;
}

async function runVision(context: BenchContext): Promise<BenchResult> {
  const { quick, signal, say } = context;
  const plan = quick ? QUICK : FULL;
  const load = loadavg()[0]!;
  say(`preparing ${PICTURES} pictures`);
  const pictures = await cameraPictures(PICTURES, SEED);
  const cacheDir = await mkdtemp(join(tmpdir(), 'sightline-bench-'));
  try {
    const starts = await measureStarts({ ...context, plan, cacheDir, pictures });
    const model = await new ModelRegistry({ cacheDir }).resolve(MODEL);
    await using limit = new Helper<LimitApi>(new URL('limit-process.ts', import.meta.url), signal);
    await using clients = new Helper<ClientsApi>(new URL('../support/clients-process.ts', import.meta.url), signal);
    await clients.call('prepare', { pictures });
    const bench: Bench = { ...context, plan, cacheDir, pictures, model, limit, clients };
    const arrangement = await bestArrangement(bench);
    const served = await measureServed(bench);
    const figures = { ...served, ...starts, load_average_before: load };
    return {
      seed: SEED,
      setup: {
        frames: `${PICTURES} views of two photographs (opencv@7.0.0), 640×480, JPEG quality 50 to 75, ${meanKb(pictures)} kB on average`,
        model: `${MODEL}, the default`,
        limit: `${arrangement.workers} worker threads × ${arrangement.threads} ONNX Runtime threads`,
        server: `the command serve with ${Object.entries(SETTINGS)
          .map(([key, value]) => `${key}=${value}`)
          .join(', ')}; starts with the command demo, as npm start`,
        clients: `the SDK over ws, ${CLIENTS} sessions in one process, on the same cores`,
        mode: quick ? 'quick: few and short rounds' : `full: ${plan.rounds} rounds of ${plan.spanMs / 1000} s each way`,
      },
      figures,
      bars: bars(figures),
    };
  } finally {
    await rm(cacheDir, { recursive: true, force: true });
  }
}

function bars(figures: Figures): Bar[] {
  return [
    atLeast('ratio', figures['ratio']!, 0.85),
    atMost('added_ms_p95', figures['added_ms_p95']!, 3),
    atMost('cold_start_ms', figures['cold_start_ms']!, 1_500),
    atMost('first_box_ms', figures['first_box_ms']!, 10_000),
  ];
}

// ── Starting ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

const HEALTH_POLL_MS = 10;
const FIRST_BOX_TIMEOUT_MS = 60_000;

interface StartTimes {
  readonly healthMs: number;
  readonly firstBoxMs: number;
  readonly cameraMs: number;
}

/** From the moment in which the process is asked for. The first start has an empty cache, the others use what it left. */
async function measureStarts(bench: Omit<Bench, 'limit' | 'clients' | 'model'>): Promise<Figures> {
  bench.say('starting with an empty cache');
  const empty = await measureStart(bench);
  const warm: StartTimes[] = [];
  for (let i = 0; i < bench.plan.coldStarts; i += 1) {
    bench.say(`starting with a warm cache, ${i + 1} of ${bench.plan.coldStarts}`);
    warm.push(await measureStart(bench));
  }
  return {
    cold_start_ms: median(warm.map(({ healthMs }) => healthMs)),
    first_box_ms: median(warm.map(({ firstBoxMs }) => firstBoxMs)),
    demo_camera_ms: median(warm.map(({ cameraMs }) => cameraMs)),
    cold_start_empty_cache_ms: empty.healthMs,
    first_box_empty_cache_ms: empty.firstBoxMs,
    demo_camera_empty_cache_ms: empty.cameraMs,
  };
}

async function measureStart({
  cacheDir,
  pictures,
  signal,
}: Omit<Bench, 'limit' | 'clients' | 'model'>): Promise<StartTimes> {
  await using server = await Server.launch({ command: 'demo', cacheDir, signal });
  const since = (): number => performance.now() - server.startedMs;
  const health = server.firstAnswer('/health', HEALTH_POLL_MS, FIRST_BOX_TIMEOUT_MS).then(since);
  const box = health.then(() => firstBox(server, pictures, signal)).then(since);
  // The clip for the page is made only when the server is ready.
  const camera = server
    .ready()
    .then(() => server.firstAnswer('/demo/camera.mp4', HEALTH_POLL_MS, FIRST_BOX_TIMEOUT_MS))
    .then(since);
  const [healthMs, firstBoxMs, cameraMs] = await Promise.all([health, box, camera]);
  return { healthMs, firstBoxMs, cameraMs };
}

/** Resolves when the first result with a box in it has come. */
async function firstBox({ url }: Server, pictures: readonly Uint8Array[], signal: AbortSignal): Promise<void> {
  await using session = await connectVideo({
    url,
    reconnect: false,
  });
  const found = Promise.withResolvers<void>();
  session.on('result', ({ result }) => {
    if (result.detections.length > 0) found.resolve();
  });
  const timeout = AbortSignal.any([signal, AbortSignal.timeout(FIRST_BOX_TIMEOUT_MS)]);
  timeout.addEventListener('abort', () => found.reject(timeout.reason as Error), { once: true });
  const camera = (async (): Promise<void> => {
    for (let i = 0; await session.ready(); i += 1) session.send({ jpeg: pictures[i % pictures.length]! });
  })();
  await found.promise;
  await session.close();
  await camera;
}

// ── Frames a second ──────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Leaves the limit loop in the arrangement that gives the most pictures a second here. Each is tried several times, in turns,
 * and judged by its best: whatever else the machine does can only slow it down.
 */
async function bestArrangement({ limit, model, pictures, plan, say }: Bench): Promise<Arrangement> {
  const all = arrangements(availableParallelism());
  await limit.call('prepare', { model, pictures, arrangements: all });
  const best = all.map(() => 0);
  for (let turn = 0; turn < plan.trials; turn += 1) {
    for (const team of all.keys()) {
      best[team] = Math.max(best[team]!, await limit.call('saturate', { team, spanMs: plan.trialMs }));
    }
  }
  for (const [team, { workers, threads }] of all.entries()) {
    say(`limit with ${workers} workers × ${threads} threads: ${best[team]!.toFixed(1)} fps`);
  }
  const winner = best.indexOf(Math.max(...best));
  await limit.call('keep', { team: winner });
  return all[winner]!;
}

async function measureServed(bench: Bench): Promise<Figures> {
  const { clients, cacheDir, signal, say } = bench;
  await using server = await Server.launch({ command: 'serve', cacheDir, settings: SETTINGS, signal });
  await server.ready();
  const rssStart = await server.rssBytes();
  await clients.call('open', { url: server.url, count: CLIENTS });
  const saturated = await measureSaturated(bench, server);
  const eight = await measureEight(bench);
  const totals = await clients.call('totals', undefined);
  await clients.call('close', undefined);
  await clients.call('open', { url: server.url, count: 1 });
  const single = await measureAdded(bench, server);
  const last = await clients.call('totals', undefined);
  await clients.call('close', undefined);
  say('reading the memory');
  await sleep(1_000, undefined, { signal });
  return {
    ...saturated,
    ...single,
    ...eight,
    frames: totals.sent + last.sent,
    drops: totals.dropped + last.dropped,
    errors: totals.errors + last.errors,
    rss_mb_start: toMb(rssStart),
    rss_mb_end: toMb(await server.rssBytes()),
  };
}

/** The limit and Sightline in turns, since a shared machine is not the same from one minute to the next. */
async function measureSaturated({ limit, clients, plan, say }: Bench, server: Server): Promise<Figures> {
  const limitFps: number[] = [];
  const sightlineFps: number[] = [];
  const latenciesMs: number[] = [];
  const limitUse = new CoreUse();
  const sightlineUse = new CoreUse();
  const pids = [server.pid, limit.pid, clients.pid];
  const measure = async (use: CoreUse, what: () => Promise<void>): Promise<void> => {
    const before = readProcessors(pids);
    await what();
    use.add(before, readProcessors(pids));
  };
  const runLimit = () =>
    measure(limitUse, async () => void limitFps.push(await limit.call('saturate', { team: 0, spanMs: plan.spanMs })));
  const runSightline = () =>
    measure(sightlineUse, async () => {
      const { fps, latenciesMs: more } = await clients.call('saturate', { settleMs: SETTLE_MS, spanMs: plan.spanMs });
      sightlineFps.push(fps);
      for (const ms of more) latenciesMs.push(ms);
    });
  await clients.call('saturate', { settleMs: SETTLE_MS, spanMs: plan.spanMs });
  for (let round = 0; round < plan.rounds; round += 1) {
    // ABBA: a drift in one direction hits both alike.
    await (round % 2 === 0 ? runLimit() : runSightline());
    await (round % 2 === 0 ? runSightline() : runLimit());
    const [a, b] = [limitFps.at(-1)!, sightlineFps.at(-1)!];
    say(
      `round ${round + 1} of ${plan.rounds}: limit ${a.toFixed(1)}, Sightline ${b.toFixed(1)} fps, ${(b / a).toFixed(3)}`,
    );
  }
  const ratios = sightlineFps.map((fps, i) => fps / limitFps[i]!);
  return {
    limit_fps: median(limitFps),
    sightline_fps: median(sightlineFps),
    ratio: median(sightlineFps) / median(limitFps),
    ratio_round_min: Math.min(...ratios),
    ratio_round_median: median(ratios),
    ratio_round_max: Math.max(...ratios),
    p50_ms: percentile(latenciesMs, 50),
    p95_ms: percentile(latenciesMs, 95),
    p99_ms: percentile(latenciesMs, 99),
    limit_cores: limitUse.main(limit.pid) + limitUse.others(limit.pid),
    limit_foreign_cores: limitUse.foreign,
    server_main_cores: sightlineUse.main(server.pid),
    server_other_cores: sightlineUse.others(server.pid),
    clients_cores: sightlineUse.main(clients.pid) + sightlineUse.others(clients.pid),
    sightline_foreign_cores: sightlineUse.foreign,
  };
}

// ── Latency ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** All clients at a camera's pace: what users see while the server keeps up. */
async function measureEight({ clients, plan, say }: Bench): Promise<Figures> {
  say(`${CLIENTS} clients at ${CAMERA_FPS} fps`);
  const ms = (await clients.call('paced', cameraPace(plan.eightBeats, PICTURES))).map((time) => time.ms);
  return {
    eight_clients_p50_ms: percentile(ms, 50),
    eight_clients_p95_ms: percentile(ms, 95),
    eight_clients_p99_ms: percentile(ms, 99),
  };
}

/**
 * One client at 15 fps, and the limit loop at 15 fps half a beat later with the same picture: both find the processor as idle
 * and the caches as cold, and what disturbs the machine disturbs both. What Sightline adds is the difference of the two
 * distributions, percentile by percentile. Beside it stand the path (the end-to-end time less the time that a worker worked
 * on this very frame) and the strict measure: each end-to-end time less the loop's median for that picture, all jitter included.
 */
async function measureAdded({ limit, clients, plan, say }: Bench, server: Server): Promise<Figures> {
  say(`one client at ${CAMERA_FPS} fps beside the limit loop`);
  const pids = [server.pid, limit.pid, clients.pid];
  const before = readProcessors(pids);
  const pace = cameraPace(plan.beats, PACED_PICTURES);
  const timeoutMs = plan.beats * pace.periodMs + 30_000;
  const shifted = { ...pace, startTimeMs: pace.startTimeMs + pace.periodMs / 2 };
  const [served, bare] = await Promise.all([
    clients.call('paced', pace, timeoutMs),
    limit.call('paced', shifted, timeoutMs),
  ]);
  const use = new CoreUse();
  use.add(before, readProcessors(pids));
  const servedMs = served.map(({ ms }) => ms);
  const bareMs = bare.map(({ ms }) => ms);
  const limitMs = typicalMs(bare, ({ ms }) => ms);
  const pathMs = served.map((time) => time.ms - time.workMs);
  const added = (p: number): number => percentile(servedMs, p) - percentile(bareMs, p);
  const over = (times: readonly PictureTime[]): number[] => times.map(({ picture, ms }) => ms - limitMs.get(picture)!);
  return {
    added_ms_p50: added(50),
    added_ms_p95: added(95),
    added_path_ms_p50: percentile(pathMs, 50),
    added_path_ms_p95: percentile(pathMs, 95),
    added_over_median_ms_p95: percentile(over(served), 95),
    limit_over_median_ms_p95: percentile(over(bare), 95),
    one_client_p50_ms: percentile(servedMs, 50),
    one_client_p95_ms: percentile(servedMs, 95),
    one_client_p99_ms: percentile(servedMs, 99),
    limit_frame_ms_p50: percentile(bareMs, 50),
    limit_frame_ms_p95: percentile(bareMs, 95),
    one_client_foreign_cores: use.foreign,
    pictures_with_other_result: countDifferent(served, bare),
  };
}

/** The median for each picture. */
function typicalMs(times: readonly PictureTime[], ms: (time: PictureTime) => number): ReadonlyMap<number, number> {
  const byPicture = Map.groupBy(times, ({ picture }) => picture);
  return new Map([...byPicture].map(([picture, same]) => [picture, median(same.map(ms))]));
}

function cameraPace(beats: number, pictures: number): Pace {
  return {
    startTimeMs: systemClock.now() + LEAD_MS,
    periodMs: 1_000 / CAMERA_FPS,
    pictures: Array.from({ length: beats }, (_, i) => i % pictures),
  };
}

/** Pictures in which the server found another number of things than the limit loop: 0, or they did different work. */
function countDifferent(served: readonly PictureTime[], bare: readonly PictureTime[]): number {
  const found = new Map(bare.map(({ picture, detections }) => [picture, detections]));
  return new Set(served.filter(({ picture, detections }) => found.get(picture) !== detections).map((t) => t.picture))
    .size;
}
