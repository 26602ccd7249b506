import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { atMost, type Bar } from '../support/document.ts';
import type { Resumption, ViewsReport } from './viewers-process.ts';
import { addCounts, inWords, lossesOf, NO_COUNTS } from './watch-log.ts';
import { World, type FleetBench } from './world.ts';

/** Cameras and processes that fail: how soon they are back, and that nobody else notices. Every camera is watched and looked at. */

interface FaultsPlan {
  readonly cameras: number;
  readonly settleMs: number;
  readonly stalledMs: number;
  /** Processes that are killed, one after the other. */
  readonly kills: number;
  /** For so long after that all others are looked at. */
  readonly afterMs: number;
}

const FULL: FaultsPlan = { cameras: 100, settleMs: 10_000, stalledMs: 20_000, kills: 3, afterMs: 5_000 };
const QUICK: FaultsPlan = { cameras: 12, settleMs: 1_500, stalledMs: 4_000, kills: 1, afterMs: 2_000 };

const GOING = 10;
const STALLED = 6;
/** So each has cameras of both kinds. */
const STALLED_PROCESSES = 2;
const RESUMED_TIMEOUT_MS = 120_000;
const KILLED_MS_MAX = 3_000;
const RECONNECTED_MS_MAX = 15_000;
/** A camera that stood still has lost nothing when its frames come after all. */
const APART_MS_MAX = 2_000;

type Figures = Readonly<Record<string, number>>;

export async function measureFaults(bench: FleetBench): Promise<{ own: Figures; bars: Bar[] }> {
  const plan = bench.quick ? QUICK : FULL;
  const own = { ...(await measureStalled(bench, plan)), ...(await measureProcesses(bench, plan)) };
  const bars = [
    atMost('stalled_others_lost', own['stalled_others_lost']!, 0),
    atMost('stalled_others_apart_ms_max', own['stalled_others_apart_ms_max']!, APART_MS_MAX),
    atMost('killed_live_ms_max', own['killed_live_ms_max']!, KILLED_MS_MAX),
    atMost('killed_others_lost', own['killed_others_lost']!, 0),
    atMost('killed_others_apart_ms_max', own['killed_others_apart_ms_max']!, APART_MS_MAX),
    atMost('reconnected_live_ms_max', own['reconnected_live_ms_max']!, RECONNECTED_MS_MAX),
  ];
  return { own, bars };
}

/** Six of 16 cameras, whose own process is stopped. */
async function measureStalled(bench: FleetBench, plan: FaultsPlan): Promise<Figures> {
  await using world = await World.open(bench, [GOING, STALLED], { 'fleet.processes': STALLED_PROCESSES });
  const ids = await watchAll(world, GOING + STALLED, plan, bench);
  const { pid } = world.sources[1]!;
  await world.viewers.call('take', undefined);
  process.kill(pid, 'SIGSTOP');
  try {
    bench.say(`${STALLED} of ${ids.length} cameras are stopped for ${plan.stalledMs / 1000} s`);
    await sleep(plan.stalledMs, undefined, { signal: bench.signal });
    const resumption = { cameras: ids.slice(GOING), inNewEpoch: false };
    const liveMs = await resumedMs(world, resumption, () => process.kill(pid, 'SIGCONT'));
    await sleep(plan.afterMs, undefined, { signal: bench.signal });
    const views = await world.viewers.call('take', undefined);
    bench.say(`they are live again after ${liveMs.toFixed(0)} ms; ${othersInWords(views, ids.slice(0, GOING))}`);
    return { stalled_live_ms_max: liveMs, ...othersFigures('stalled', views, ids.slice(0, GOING)) };
  } finally {
    process.kill(pid, 'SIGCONT');
  }
}

/** Some of the processes that read cameras are killed, one after the other; then all connections end at once. */
async function measureProcesses(bench: FleetBench, plan: FaultsPlan): Promise<Figures> {
  await using world = await World.open(bench, [plan.cameras]);
  const ids = await watchAll(world, plan.cameras, plan, bench);
  const readers = Map.groupBy(await world.cameras(), (camera) => camera.process);
  const killed: Figures[] = [];
  for (const [pid, cameras] of [...readers].slice(0, plan.kills)) {
    const own = new Set(cameras.map(({ id }) => id));
    const others = ids.filter((id) => !own.has(id));
    await world.viewers.call('take', undefined);
    const resumption = { cameras: [...own], inNewEpoch: true };
    const liveMs = await resumedMs(world, resumption, () => process.kill(pid!, 'SIGKILL'));
    await sleep(plan.afterMs, undefined, { signal: bench.signal });
    const views = await world.viewers.call('take', undefined);
    bench.say(
      `a process with ${own.size} cameras was killed: live again after ${liveMs.toFixed(0)} ms; ${othersInWords(views, others)}`,
    );
    killed.push({ killed_live_ms_max: liveMs, killed_cameras: own.size, ...othersFigures('killed', views, others) });
    await world.live(plan.cameras);
  }
  const cut = (): Promise<void> => world.sources[0]!.call('cut', undefined);
  const reconnectedMs = await resumedMs(world, { cameras: ids, inNewEpoch: true }, cut);
  bench.say(`${ids.length} cameras lost their connections: live again after ${reconnectedMs.toFixed(0)} ms`);
  return { ...largestOf(killed), killed_processes: killed.length, reconnected_live_ms_max: reconnectedMs };
}

/** All cameras are watched, and looked at; ids. */
async function watchAll(world: World, count: number, plan: FaultsPlan, { signal }: FleetBench): Promise<string[]> {
  const entries = world.entries(count, 'objects');
  const cameras = [...entries.keys()];
  await world.configure(entries);
  await world.viewers.call('open', { url: world.server.url, cameras, sessions: 1 });
  await world.viewers.call('results', cameras, RESUMED_TIMEOUT_MS);
  await sleep(plan.settleMs, undefined, { signal });
  return cameras;
}

/** From what happens until a viewer has a fragment of the last one of these cameras, ms. */
async function resumedMs(world: World, resumption: Resumption, happen: () => unknown): Promise<number> {
  const { viewers } = world;
  const resumed = viewers.call('resumed', resumption, RESUMED_TIMEOUT_MS);
  // Calls begin in their order: now it watches.
  await viewers.call('ready', undefined);
  const atMs = systemClock.now();
  await happen();
  return Math.max(...Object.values(await resumed)) - atMs;
}

function othersFigures(name: string, views: ViewsReport, others: readonly string[]): Figures {
  const reports = others.map((id) => views.cameras[id]!);
  return {
    [`${name}_others`]: others.length,
    [`${name}_others_fragments`]: reports.reduce((sum, { fragments }) => sum + fragments, 0),
    [`${name}_others_lost`]: views.disconnections + reports.reduce((sum, report) => sum + lossesOf(report), 0),
    [`${name}_others_apart_ms_max`]: Math.max(...reports.map(({ fragmentsApartMsMax }) => fragmentsApartMsMax)),
  };
}

function othersInWords(views: ViewsReport, others: readonly string[]): string {
  const sum = others.map((id) => views.cameras[id]!).reduce(addCounts, NO_COUNTS);
  return `the other ${others.length}: ${inWords(sum)}`;
}

function largestOf(all: readonly Figures[]): Figures {
  const names = Object.keys(all[0]!);
  return Object.fromEntries(names.map((name) => [name, Math.max(...all.map((one) => one[name]!))]));
}
