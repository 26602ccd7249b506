import { mkdtemp, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Helper } from '../support/children.ts';
import { atLeast, atMost, type Bar, type BenchContext, type Benchmark, type BenchResult } from '../support/document.ts';
import { CoreUse, readProcessors } from '../support/processors.ts';
import { Server } from '../support/server.ts';
import { SharedClock } from '../support/shared-clock.ts';
import {
  BUDGET_MS,
  drainLeastMs,
  drainMs,
  QUEUE_LIMIT_MS,
  queueMaxMs,
  riseMs,
  runFigures,
  steadyFigures,
  type Figures,
  type Run,
} from './analysis.ts';
import type { CameraApi } from './camera-process.ts';
import { CAMERA_FPS } from './film.ts';
import { Namespace } from './namespaces.ts';
import { tracePlots } from './plots.ts';
import { DOWN_BPS, inWords, runInNamespace, runTrace, SEED, settled, type RunBench, type Served } from './runs.ts';
import { BASELINES, type SenderKind } from './senders.ts';
import type { ShaperApi } from './shaper-process.ts';
import { phasesOf, tracesOf, type Trace, type TraceSpans } from './traces.ts';

/** A lost session does not wait for its client. */
const SETTINGS = { 'streaming.resume_window_s': 0.05 };
/** Who decides for himself gets a server that processes whatever comes. */
const PLAIN_SETTINGS = {
  ...SETTINGS,
  'performance.adaptive_quality': 'false',
  'performance.target_latency_ms': 60_000,
  'streaming.default_fps': 30,
};
const DRAIN_BAR_MS = 500;
/** Of a link, from a step up on. */
const RISE_SHARE = 0.9;

interface Plan {
  readonly spans: TraceSpans;
  /** After a change of the capacity, until the state counts as steady. */
  readonly settleMs: number;
  readonly warmUpMs: number;
  /** Of the trace in a network namespace: before its capacity is halved, and after. */
  readonly kernelMs: readonly [number, number];
}

const FULL: Plan = {
  spans: {
    stepMs: 6_000,
    changeMs: [5_000, 5_000, 7_000],
    stallsMs: 12_000,
    wifiMs: 16_000,
    sharedMs: 12_000,
    narrowMs: 10_000,
  },
  settleMs: 2_500,
  warmUpMs: 2_000,
  kernelMs: [5_000, 5_000],
};
const QUICK: Plan = {
  spans: {
    stepMs: 0,
    changeMs: [700, 700, 1_000],
    stallsMs: 0,
    wifiMs: 1_000,
    sharedMs: 0,
    narrowMs: 1_000,
  },
  settleMs: 400,
  warmUpMs: 500,
  kernelMs: [700, 700],
};

/** Threads that collect garbage take turns with everybody, and the link would wait for them. */
const SHAPER_ARGV = ['--single-threaded-gc'];
const KERNEL = 'kernel';
const CHANGE = 'change';
const NARROW = 'narrow';
const CAMERAS = 2;

export const quality: Benchmark = {
  name: 'quality',
  summary: 'one camera behind links that change, beside fixed quality, a threshold controller and a drop-oldest queue',
  run: runQuality,
};

interface Bench extends RunBench {
  readonly plan: Plan;
  readonly cacheDir: string;
}

async function runQuality(context: BenchContext): Promise<BenchResult> {
  const { quick, signal } = context;
  const plan = quick ? QUICK : FULL;
  const load = loadavg()[0]!;
  const cacheDir = await mkdtemp(join(tmpdir(), 'sightline-bench-'));
  try {
    const traces = tracesOf(plan.spans, SEED);
    const kernel = kernelTrace(plan);
    await using shaper = new Helper<ShaperApi>(new URL('shaper-process.ts', import.meta.url), signal, SHAPER_ARGV);
    await using first = new Helper<CameraApi>(new URL('camera-process.ts', import.meta.url), signal);
    await using second = new Helper<CameraApi>(new URL('camera-process.ts', import.meta.url), signal);
    const cameras = [first, second].slice(0, CAMERAS);
    const bench: Bench = { ...context, plan, cacheDir, shaper, cameras, clockDistanceMs: SharedClock.distanceMs() };
    const namespace = await Namespace.make(kernel.steps[0]!.bps);
    await using _ = typeof namespace === 'string' ? undefined : namespace;
    const measured = await measure(bench, traces, kernel, namespace);
    const figures = { ...measured.figures, load_average_before: load };
    return {
      seed: SEED,
      setup: setup(plan, traces, quick, namespace),
      figures,
      bars: bars(traces, figures, typeof namespace !== 'string'),
      plots: measured.plots,
    };
  } finally {
    await rm(cacheDir, { recursive: true, force: true });
  }
}

/** The kernel's link has no delay of its own. */
function kernelTrace({ kernelMs: [before, halved] }: Plan): Trace {
  return {
    name: KERNEL,
    what: '10 Mbit/s, halved, by the token bucket of the kernel',
    delayMs: 0,
    clients: 1,
    spanMs: before + halved,
    steps: [
      { fromMs: 0, bps: 10_000_000 },
      { fromMs: before, bps: 5_000_000 },
    ],
    stalls: [],
    isSteady: true,
    senders: ['sightline'],
  };
}

function setup(
  plan: Plan,
  traces: readonly Trace[],
  quick: boolean,
  namespace: Namespace | string,
): Record<string, string> {
  return {
    camera: `${CAMERA_FPS} fps; tilts slowly over eight views of two photographs (opencv@7.0.0), each frame encoded as it goes; a process of its own`,
    server: `the command serve with ${inOneLine(SETTINGS)}; for the others with ${inOneLine(PLAIN_SETTINGS)}`,
    link: `a TCP proxy in a process of its own: one queue, first in first out, a bottleneck, the delay; back ${DOWN_BPS / 1e6} Mbit/s`,
    traces: traces.map(({ name, what, spanMs }) => `${name}: ${what} (${spanMs / 1_000} s)`).join('; '),
    others:
      'fixed: level high (quality 75, scale 0.9, 25 fps), every frame sent; threshold: once a second a level down when the mean latency is over 1.5 times the budget, up when under 0.7 times; fifo: level high, at most 4 frames unanswered, the newest 25 wait, the oldest dropped',
    budget: `${BUDGET_MS} ms and the round trip of the empty link: what is in time, and what the threshold controller aims at`,
    wait: "from the socket until a frame's first byte is in the bottleneck: propagation and its own serialisation left out",
    drain: `from a step down until the last frame that waits ${QUEUE_LIMIT_MS} ms or longer has its turn, and none for a second afterwards; no bar where a round trip at the capacity before leaves more than can pass in time`,
    rise: `from a step up until ${100 * RISE_SHARE} % of the capacity is used, over half a second`,
    steady: `from ${plan.settleMs / 1_000} s after a change of the capacity on; phases in which the most is granted that there is count for no utilisation`,
    kernel: typeof namespace === 'string' ? `left out: ${namespace}` : kernelTrace(plan).what,
    mode: quick ? 'quick: three traces, short' : 'full',
  };
}

function inOneLine(settings: Readonly<Record<string, string | number>>): string {
  return Object.entries(settings)
    .map(([key, value]) => `${key}=${value}`)
    .join(', ');
}

// ── Measuring ────────────────────────────────────────────────────────────────────────────────────────────────────────────

interface Measured {
  readonly figures: Figures;
  readonly plots: Record<string, string>;
}

async function measure(
  bench: Bench,
  traces: readonly Trace[],
  kernel: Trace,
  namespace: Namespace | string,
): Promise<Measured> {
  const { cacheDir, signal, say, shaper, cameras, plan } = bench;
  const hosts = typeof namespace === 'string' ? {} : { 'server.allowed_hosts': namespace.hostAddress };
  const launch = (settings: Readonly<Record<string, string | number>>): Promise<Server> =>
    Server.launch({ command: 'serve', cacheDir, settings: { ...settings, ...hosts }, signal });
  say('starting two servers, preparing pictures');
  await using sightline = await launch(SETTINGS);
  await using plain = await launch(PLAIN_SETTINGS);
  await Promise.all([sightline.ready(), plain.ready(), ...cameras.map((camera) => camera.call('prepare', undefined))]);
  const serverOf = (kind: SenderKind): Server => (kind === 'sightline' ? sightline : plain);
  const foreign: number[] = [];
  const pids = [sightline.pid, plain.pid, shaper.pid, process.pid, ...cameras.map(({ pid }) => pid)];
  const figures: Figures = {};
  const plots: Record<string, string> = {};
  const lateMs: number[] = [];
  const keep = async (kind: SenderKind, what: () => Promise<Served>): Promise<Served> => {
    await settled(serverOf(kind));
    const use = new CoreUse();
    const before = readProcessors(pids);
    const run = await what();
    use.add(before, readProcessors(pids));
    const own = { ...runFigures(run), foreign_cores: use.foreign };
    foreign.push(use.foreign);
    for (const [name, value] of Object.entries(own)) figures[nameOf(run.kind, run.trace.name, name)] = value;
    lateMs.push(run.link.lateMsP99);
    say(inWords(run, own));
    return run;
  };

  // Code that is compiled while it is measured would be measured.
  for (const kind of ['sightline', 'fixed'] as const) {
    await runTrace(bench, serverOf(kind), warmUp(plan), kind);
  }
  for (const trace of traces) {
    const runs: Run[] = [];
    for (const kind of trace.senders) {
      runs.push(await keep(kind, () => runTrace(bench, serverOf(kind), trace, kind)));
    }
    addTo(figures, trace.name, ownFigures(runs[0]!, plan));
    addTo(figures, trace.name, comparison(trace, figures));
    Object.assign(plots, tracePlots(runs));
  }
  if (typeof namespace === 'string') say(`${KERNEL}: left out, network namespaces cannot be had: ${namespace}`);
  else {
    const run = await keep('sightline', () => runInNamespace(bench, sightline, namespace, kernel, 'sightline'));
    addTo(figures, KERNEL, ownFigures(run, plan));
    Object.assign(plots, tracePlots([run]));
  }
  figures['link_late_ms_p99'] = Math.max(...lateMs);
  figures['foreign_cores_max'] = Math.max(...foreign);
  return { figures, plots };
}

function warmUp({ warmUpMs: spanMs }: Plan): Trace {
  return { ...kernelTrace(QUICK), spanMs, steps: [{ fromMs: 0, bps: 50_000_000 }] };
}

function addTo(figures: Figures, trace: string, own: Figures): void {
  for (const [name, value] of Object.entries(own)) figures[`${trace}_${name}`] = value;
}

function nameOf(kind: SenderKind, trace: string, figure: string): string {
  return kind === 'sightline' ? `${trace}_${figure}` : `${kind}.${trace}_${figure}`;
}

/** What Sightline did at every step of a trace, and between the steps. */
function ownFigures(run: Run, { settleMs }: Plan): Figures {
  const { trace, frames } = run;
  if (!trace.isSteady) return {};
  const figures = steadyFigures(run, settleMs);
  for (const phase of phasesOf(trace)) {
    const { bps, beforeBps } = phase;
    if (beforeBps === undefined) continue;
    const step = `${beforeBps / 1e6}_to_${bps / 1e6}`;
    if (bps < beforeBps) {
      figures[`${step}_drain_ms`] = drainMs(frames, phase);
      figures[`${step}_drain_least_ms`] = drainLeastMs(trace, phase);
    } else figures[`${step}_rise_ms`] = riseMs(frames, phase, RISE_SHARE);
    figures[`${step}_wait_ms_max`] = queueMaxMs(frames, phase);
  }
  return figures;
}

/** Sightline against each of the others, on one trace. */
function comparison({ name, senders }: Trace, figures: Figures): Figures {
  const others = BASELINES.filter((kind) => senders.includes(kind));
  if (others.length === 0) return {};
  const of = (kind: SenderKind, figure: string): number => figures[nameOf(kind, name, figure)]!;
  const own = (figure: string): number => of('sightline', figure);
  return {
    ...Object.fromEntries(others.map((kind) => [`p95_over_${kind}`, own('p95_ms') / of(kind, 'p95_ms')])),
    results_over_best: own('results') / Math.max(1, ...others.map((kind) => of(kind, 'results'))),
    bytes_saved: 1 - own('sent_mbps') / of('fixed', 'sent_mbps'),
    in_time_over_fixed: own('results_in_time') / Math.max(1, of('fixed', 'results_in_time')),
  };
}

// ── Bars ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

function bars(traces: readonly Trace[], figures: Figures, hasKernel: boolean): Bar[] {
  // What could not be measured is no promise kept.
  const least = (name: string, bar: number): Bar => atLeast(name, figures[name] ?? Number.NaN, bar);
  const most = (name: string, bar: number): Bar => atMost(name, figures[name] ?? Number.NaN, bar);
  // Where nobody could keep it there is no bar.
  const steps = Object.keys(figures).filter(
    (name) => name.endsWith('_drain_ms') && figures[name.replace(/_ms$/, '_least_ms')]! < DRAIN_BAR_MS,
  );
  const steady = traces.filter(({ isSteady }) => isSteady).map(({ name }) => name);
  const compared = traces.filter(({ senders }) => senders.length > 1);
  return [
    ...steps.map((name) => most(name, DRAIN_BAR_MS)),
    ...[...steady, ...(hasKernel ? [KERNEL] : [])].flatMap((name) => [
      most(`${name}_steady_queue_ms_p50`, 20),
      least(`${name}_steady_utilisation`, 0.8),
      most(`${name}_steady_ladder_moves_5s`, 1),
    ]),
    most(`${CHANGE}_5_to_10_rise_ms`, 3_000),
    most(`${CHANGE}_5_to_10_wait_ms_max`, 100),
    ...compared.flatMap(({ name }) => BASELINES.map((kind) => most(`${name}_p95_over_${kind}`, 1))),
    ...compared.map(({ name }) => least(`${name}_results_over_best`, 0.9)),
    least(`${NARROW}_bytes_saved`, 0.4),
    least(`${NARROW}_in_time_over_fixed`, 1),
  ];
}
