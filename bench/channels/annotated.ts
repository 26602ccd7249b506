import { setTimeout as sleep } from 'node:timers/promises';
import { World, type Costs, type FleetBench } from '../fleet/world.ts';
import { Helper } from '../support/children.ts';
import { atLeast, atMost, type Bar } from '../support/document.ts';
import { CoreUse, readProcessors } from '../support/processors.ts';
import { percentile } from '../support/statistics.ts';
import type { PlayersApi } from './players-process.ts';

/** A wall of cameras on whose pictures is drawn what was found, and some of them watched so: together, and how many of these there may be. */

const FULL = {
  cameras: 100,
  focused: 4,
  costed: 12,
  settleMs: 10_000,
  partMs: 20_000,
  spanMs: 30_000,
  step: 2,
} as const;
const QUICK = { cameras: 12, focused: 2, costed: 8, settleMs: 2_000, partMs: 3_000, spanMs: 6_000, step: 4 } as const;
const WALL_MS = 2_000;
const WALL_WIDTH = 384;
const FOCUS_FPS = 10;
/** A little less is no less. */
const ENOUGH = 0.95;
const MAX_SHARE = 0.85;
/** Each camera is looked at so often at least. */
const INFERRED_EVERY_S = 4;
const SETTINGS = { 'fleet.annotated_max': 1_000, 'fleet.annotated_fps': FOCUS_FPS };

interface Seen {
  readonly own: Record<string, number>;
  readonly bars: readonly Bar[];
}

export async function measureAnnotated(bench: FleetBench): Promise<Seen> {
  const { say, signal, quick } = bench;
  const plan = quick ? QUICK : FULL;
  await using world = await World.open(bench, [plan.cameras], SETTINGS);
  await using players = new Helper<PlayersApi>(new URL('players-process.ts', import.meta.url), signal);
  const { viewers, server } = world;
  const { url } = server;
  const settle = () => sleep(plan.settleMs, undefined, { signal });
  const bare = world.entries(plan.cameras, 'none');
  const cameras = [...bare.keys()];
  const wall = { url, cameras, everyMs: WALL_MS, width: WALL_WIDTH };
  const focus = (count: number) => viewers.call('focus', { url, cameras: cameras.slice(0, count) });

  // What each part costs, without the engine, which takes what is left.
  await world.configure(bare);
  await viewers.call('open', { url, cameras, sessions: 1 });
  await settle();
  const watched = sumOf(await world.costs(plan.partMs));
  await focus(plan.costed);
  await settle();
  const drawn = sumOf(await world.costs(plan.partMs));
  const focusMs = Math.max(1, (drawn - watched) / plan.costed);
  await focus(0);
  await players.call('wall', wall);
  await settle();
  const playersMs = await ofProcess(players.pid, plan.partMs, world);
  const wallMs = Math.max(0, playersMs.sum - watched) + playersMs.own;
  say(
    `${watched.toFixed(0)} ms/s without, ${focusMs.toFixed(1)} each that is drawn on, ${wallMs.toFixed(0)} for the wall`,
  );

  // All of it.
  await world.configure(world.entries(plan.cameras, 'objects'));
  await viewers.call('results', cameras, 120_000);
  const look = async (count: number): Promise<Seen & { readonly runs: number; readonly inferenceMs: number }> => {
    await focus(count);
    await settle();
    const engine = (await server.metrics()).engine;
    for (const take of [() => viewers.call('take', undefined), () => viewers.call('takeFocus', undefined)])
      await take();
    await players.call('takeWall', undefined);
    const costs = await world.costs(plan.spanMs);
    const [views, drawnOn, stills] = [
      await viewers.call('take', undefined),
      await viewers.call('takeFocus', undefined),
      await players.call('takeWall', undefined),
    ];
    const runs = (await server.metrics()).engine.completed - engine.completed;
    const spanS = plan.spanMs / 1000;
    const rates = cameras.slice(0, count).map((id) => (drawnOn.frames[id] ?? 0) / spanS);
    const looks = cameras.slice(0, count).map((id) => (views.cameras[id]?.results ?? 0) / spanS);
    const { missing, holes, epochs, gaps } = views.sum;
    const frames = Object.values(drawnOn.boxes).reduce((sum, one) => sum + one, 0);
    const own = {
      focused: count,
      focused_fps_min: Math.min(...rates),
      focused_inferred_per_s: looks.reduce((sum, one) => sum + one, 0) / count,
      focused_own_share: drawnOn.boxes.own / frames,
      focused_predicted_share: drawnOn.boxes.predicted / frames,
      wall_stills: stills.stills,
      wall_renewed_share: stills.renewed / stills.stills,
      wall_own_share: stills.own / stills.stills,
      wall_predicted_share: stills.predicted / stills.stills,
      wall_age_p50_ms: percentile(stills.agesMs, 50),
      wall_age_p95_ms: percentile(stills.agesMs, 95),
      results_apart_ms_max: Math.max(...Object.values(views.cameras).map((one) => one.resultsApartMsMax)),
      main_ms_per_s: costs.mainMs,
      threads_ms_per_s: costs.threadsMs,
      readers_ms_per_s: costs.readersMs,
      foreign_ms_per_s: costs.foreignMs,
    };
    const bars = [
      atLeast('annotated_focused_fps_min', own.focused_fps_min, ENOUGH * FOCUS_FPS),
      atLeast('annotated_wall_renewed_share', own.wall_renewed_share, ENOUGH),
      atMost('annotated_wall_failed', stills.failed, 0),
      atMost('annotated_fragments_missing', missing + holes + epochs + gaps + drawnOn.ends, 0),
    ];
    say(
      `  looked at ${own.focused_inferred_per_s.toFixed(2)} times a second, ${(100 * own.focused_own_share).toFixed(0)} % of the frames with boxes of their own, ${(100 * own.focused_predicted_share).toFixed(0)} % predicted`,
    );
    say(`${count} drawn on: ${bars.map(({ name, value }) => `${name} ${value.toFixed(3)}`).join(', ')}`);
    return { own, bars, runs: runs / spanS, inferenceMs: costs.threadsMs };
  };
  const together = await look(plan.focused);
  const looksMs = (together.inferenceMs / together.runs) * (plan.cameras / INFERRED_EVERY_S);
  const allowed = (navigator.hardwareConcurrency * 1000 - watched - wallMs - looksMs) / focusMs;
  say(`the parts' costs allow ${allowed.toFixed(1)} that are drawn on`);
  let [below, above] = [
    0,
    Math.min(plan.cameras, Math.ceil((Math.max(plan.step, allowed) * 1.2) / plan.step) * plan.step) + plan.step,
  ];
  while (above - below > plan.step) {
    const count = Math.round((below + above) / 2 / plan.step) * plan.step;
    try {
      if ((await look(count)).bars.every(({ ok }) => ok)) below = count;
      else above = count;
    } catch (thrown) {
      signal.throwIfAborted();
      say(`${count} drawn on: ${(thrown as Error).message}`);
      above = count;
    }
  }
  await players.call('wall', undefined);
  const figures: Record<string, number> = {
    cameras: plan.cameras,
    watched_ms_per_s: watched,
    wall_ms_per_s: wallMs,
    focused_ms_per_s: focusMs,
    looks_ms_per_s: looksMs,
    ...together.own,
    allowed,
    max: below,
  };
  return {
    own: Object.fromEntries(Object.entries(figures).map(([name, value]) => [`annotated_${name}`, value])),
    bars: [...together.bars, atLeast('annotated_max_over_allowed', below / allowed, MAX_SHARE)],
  };
}

/** Sources and viewers are on the same machine. */
function sumOf({ mainMs, threadsMs, readersMs, camerasMs, viewersMs }: Costs): number {
  return mainMs + threadsMs + readersMs + camerasMs + viewersMs;
}

async function ofProcess(pid: number, spanMs: number, world: World): Promise<{ sum: number; own: number }> {
  const before = readProcessors([pid]);
  const sum = sumOf(await world.costs(spanMs));
  const use = new CoreUse();
  use.add(before, readProcessors([pid]));
  return { sum, own: (use.main(pid) + use.others(pid)) * 1000 };
}
