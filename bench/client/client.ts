import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { CHROMIUM } from '../../test/support/chromium.ts';
import { constantModel } from '../../test/support/constant-model.ts';
import { atMost, type Bar, type BenchContext, type Benchmark, type BenchResult } from '../support/document.ts';
import { meanKb } from '../support/pictures.ts';
import { Server } from '../support/server.ts';
import { median, percentile } from '../support/statistics.ts';
import { PEERS, type PeerName } from './peers.ts';
import { grainyPictures } from './pictures.ts';
import { PageServer } from './page-server.ts';
import { NodePlace, PagePlace, type Place } from './places.ts';

const SEED = 20_263;
const PICTURES = 16;
const FPS = 30;
const DETECTIONS = 5;
/** Of a picture without work in it: no frame may be lost because a machine is slow. */
const SERVER_SETTINGS = {
  'streaming.max_fps': 60,
  'streaming.default_fps': 60,
  'streaming.window': 16,
  'streaming.resume_window_s': 1,
  'performance.adaptive_quality': 'false',
  'performance.target_latency_ms': 1_000,
  'log.level': 'warn',
};

interface Plan {
  /** SDK and bare socket, one after the other. */
  readonly pairs: number;
  /** Of each peer before the first pair: code is compiled. */
  readonly warmUpFrames: number;
  /** Of each session before its frames count. */
  readonly settleFrames: number;
  readonly frames: number;
}

const FULL: Plan = { pairs: 5, warmUpFrames: 8 * FPS, settleFrames: FPS, frames: 6 * FPS };
const QUICK: Plan = { pairs: 1, warmUpFrames: 0, settleFrames: FPS / 2, frames: 2 * FPS };

type Figures = Record<string, number>;

export const client: Benchmark = {
  name: 'client',
  summary:
    'what a video session of the SDK costs, in Node and in a page, beside a bare WebSocket with the same pictures',
  run: runClient,
};

async function runClient(context: BenchContext): Promise<BenchResult> {
  const { quick, signal, say } = context;
  const plan = quick ? QUICK : FULL;
  const load = loadavg()[0]!;
  const pictures = grainyPictures(PICTURES, SEED);
  const cacheDir = await mkdtemp(join(tmpdir(), 'sightline-bench-'));
  try {
    const model = join(cacheDir, 'still.onnx');
    await writeFile(model, stillModel());
    await using pageServer = await PageServer.start(pictures);
    const settings = {
      ...SERVER_SETTINGS,
      'detection.model': model,
      'server.allowed_origins': pageServer.origin,
    };
    await using server = await Server.launch({ command: 'serve', cacheDir, settings, signal });
    await server.ready();
    const options = { url: server.url, pictures, signal };
    const figures: Figures = {};
    {
      await using node = await NodePlace.open(options);
      Object.assign(figures, await measure(node, plan, context));
    }
    let browser = 'left out: there is no Chromium (Debian: chromium) in PATH';
    if (CHROMIUM === undefined) say(`page: ${browser}`);
    else {
      await using page = await PagePlace.open(pageServer.origin, options);
      browser = `Chromium ${page.version}, headless; the SDK as Vite builds it`;
      Object.assign(figures, await measure(page, plan, context));
    }
    figures['load_average_before'] = load;
    return { seed: SEED, setup: setup(pictures, browser, plan), figures, bars: bars(figures) };
  } finally {
    await rm(cacheDir, { recursive: true, force: true });
  }
}

function setup(pictures: readonly Uint8Array[], browser: string, { pairs, frames }: Plan): Record<string, string> {
  const settings = Object.entries(SERVER_SETTINGS).map(([key, value]) => `${key}=${value}`);
  return {
    pictures: `${PICTURES} made-up pictures with the grain of a camera, 640×480, JPEG quality 75, ${meanKb(pictures)} kB on average, encoded before; ${FPS} a second`,
    server: `the command serve, for all of them, with ${settings.join(', ')}; its model (the test support's, of constants) sees ${DETECTIONS} things in any picture, at next to no cost`,
    sdk: 'connectVideo as it comes, `send` and a listener for results',
    ws: 'the limit: the JPEG itself through a WebSocket (in Node that of the package ws, which the SDK uses as well), each answer through JSON.parse; no header, grant, clock or accounts',
    node: 'processor time of the whole process (all threads, user and system), by the kernel, for a frame that was sent; timer and counting of the benchmark included, on both sides the same',
    page: `${browser}; processor time of the main thread in tasks for a frame that was sent (TaskDuration of Performance.getMetrics in thread ticks; of it ScriptDuration: script_us): what the browser does on other threads and in other processes is not in it`,
    own: 'sdk_own_us_per_frame: SDK less bare socket, of the two sessions of a pair',
    rounds: `${pairs} pairs of sessions of ${frames} frames, ABBA, each peer in a process or page of its own; medians over the pairs`,
    latency: 'send to result in hand, percentiles over all frames',
  };
}

function bars(figures: Figures): Bar[] {
  return [
    atMost('node.sdk_own_us_per_frame', figures['node.sdk_own_us_per_frame']!, 100),
    ...('page.sdk_own_us_per_frame' in figures
      ? [atMost('page.sdk_own_us_per_frame', figures['page.sdk_own_us_per_frame']!, 200)]
      : []),
  ];
}

/** A YOLOv8 of 96×96 pixels that sees the same in every picture: rows of boxes and 80 classes, in 12² + 6² + 3² cells. */
function stillModel(): Uint8Array {
  return constantModel({ output0: { dims: [1, 84, 189], values: stillValue } });
}

/** Row 0 to 3: centre and size of a box; then scores. The boxes of the first cells stand side by side. */
function stillValue(row: number, cell: number): number {
  if (row === 0) return 8 + (cell % DETECTIONS) * 18;
  if (row < 4) return row === 1 ? 48 : 14;
  return cell < DETECTIONS && row === 4 + cell ? 0.9 : 0.001;
}

interface Span {
  readonly sent: number;
  readonly results: number;
  /** Microseconds a frame, by what is counted. */
  readonly us: Readonly<Record<string, number>>;
  readonly latenciesMs: readonly number[];
}

async function measure(place: Place, plan: Plan, { say }: BenchContext): Promise<Figures> {
  if (plan.warmUpFrames > 0) for (const peer of PEERS) await span(place, peer, { ...plan, frames: plan.warmUpFrames });
  const pairs: Record<PeerName, Span>[] = [];
  for (let i = 0; i < plan.pairs; i += 1) {
    const spans: Partial<Record<PeerName, Span>> = {};
    for (const peer of i % 2 === 0 ? PEERS : PEERS.toReversed()) spans[peer] = await span(place, peer, plan);
    const pair = spans as Record<PeerName, Span>;
    pairs.push(pair);
    const told = PEERS.map(
      (peer) =>
        `${peer} ${Object.values(pair[peer].us)
          .map((us) => us.toFixed(0))
          .join('/')} µs`,
    );
    say(`${place.name}, pair ${i + 1} of ${plan.pairs}: ${told.join(', ')} a frame`);
  }
  return figuresOf(place.name, pairs);
}

async function span(place: Place, peer: PeerName, { settleFrames, frames }: Plan): Promise<Span> {
  await place.open(peer);
  await place.run(peer, { frames: settleFrames, fps: FPS });
  const before = await place.processor(peer);
  const { sent, results, latenciesMs } = await place.run(peer, { frames, fps: FPS });
  const after = await place.processor(peer);
  await place.close(peer);
  if (results === 0) throw new Error(`${place.name}: ${peer} got no result for ${sent} frames`);
  const us = Object.entries(after).map(([what, seconds]) => [what, ((seconds - before[what]!) * 1e6) / sent] as const);
  return { sent, results, us: Object.fromEntries(us), latenciesMs };
}

function figuresOf(place: string, pairs: readonly Record<PeerName, Span>[]): Figures {
  const figures: Figures = {};
  for (const peer of PEERS) {
    const spans = pairs.map((pair) => pair[peer]);
    const name = `${place}.${peer}`;
    const sum = (of: (span: Span) => number): number => spans.reduce((total, one) => total + of(one), 0);
    for (const what of Object.keys(spans[0]!.us)) {
      const figure = what === 'all' ? 'us_per_frame' : `${what}_us_per_frame`;
      figures[`${name}_${figure}`] = median(spans.map(({ us }) => us[what]!));
    }
    const latenciesMs = spans.flatMap((one) => one.latenciesMs);
    figures[`${name}_p50_ms`] = percentile(latenciesMs, 50);
    figures[`${name}_p95_ms`] = percentile(latenciesMs, 95);
    figures[`${name}_frames`] = sum(({ sent }) => sent);
    figures[`${name}_results`] = sum(({ results }) => results);
  }
  figures[`${place}.sdk_over_ws`] = median(pairs.map(({ sdk, ws }) => sdk.us['all']! / ws.us['all']!));
  figures[`${place}.sdk_own_us_per_frame`] = median(pairs.map(({ sdk, ws }) => sdk.us['all']! - ws.us['all']!));
  return figures;
}
