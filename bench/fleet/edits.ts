import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { z } from 'zod';
import { cameraEntry } from '../../src/config/schema.ts';
import type { CameraDocument } from '../../src/sources/camera/documents.ts';
import { atMost, type Bar } from '../support/document.ts';
import { percentile } from '../support/statistics.ts';
import { RandomEdits, type Entry, type Way } from './random-edits.ts';
import { inWords, lossesOf } from './watch-log.ts';
import { SEED, World, type FleetBench } from './world.ts';

/** The configuration is edited again and again, well and badly: cameras that no edit names go on, and every edit comes to what it says. */

const FULL = { valid: 1_000, invalid: 100 };
const QUICK = { valid: 60, invalid: 10 };

const UNTOUCHED = 12;
const TOUCHED = 8;
/** Addresses that those may have. */
const ADDRESSES = 12;
/** With a view of every camera each. */
const SESSIONS = 5;
const APART_MS_MAX = 2_000;
const SETTLED_TIMEOUT_MS = 60_000;
const SIGNAL_TIMEOUT_MS = 30_000;
const POLL_MS = 20;
const SETTLED_POLL_MS = 200;

/** As `GET /api/config` tells it. */
interface ConfigDocument {
  readonly config: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

export async function measureEdits(bench: FleetBench): Promise<{ own: Record<string, number>; bars: Bar[] }> {
  await using world = await World.open(bench, [UNTOUCHED, ADDRESSES]);
  const { viewers } = world;
  const untouched = new Map(world.urls.slice(0, UNTOUCHED).map((url, i) => [`untouched${i}`, { url }]));
  const touched = Array.from({ length: TOUCHED }, (_, i) => `edited${i}`);
  const edits = new RandomEdits(SEED, { untouched, touched, urls: world.urls.slice(UNTOUCHED) });
  const editing: Editing = { world, edits, untouched };
  await make(world, { kind: 'file', text: edits.text, by: 'request' });
  await world.live(UNTOUCHED + TOUCHED);
  await watchAll(editing);
  await viewers.call('seen', [...untouched.keys(), ...touched]);
  await viewers.call('take', undefined);
  const { tookMs, perS, ...counts } = await editAll(editing, bench);
  const wrong = await wrongAtEnd(editing, bench);
  for (const line of wrong) bench.say(line);
  await watchAll(editing);
  await viewers.call('seen', [...untouched.keys(), ...playing(edits)]);
  const { cameras, disconnections } = await viewers.call('take', undefined);
  const reports = [...untouched.keys()].map((id) => cameras[id]!);
  for (const [i, report] of reports.entries()) if (lossesOf(report) > 0) bench.say(`untouched${i}: ${inWords(report)}`);
  const none = {
    edits_untouched_lost: reports.reduce((sum, report) => sum + lossesOf(report), 0),
    edits_disconnections: disconnections,
    ...counts,
    edits_cameras_wrong: wrong.length,
  };
  const apartMs = Math.max(...reports.map(({ fragmentsApartMsMax }) => fragmentsApartMsMax));
  return {
    own: {
      edits_per_s: perS,
      edit_p50_ms: percentile(tookMs, 50),
      edit_p95_ms: percentile(tookMs, 95),
      edits_untouched_fragments: reports.reduce((sum, { fragments }) => sum + fragments, 0),
      ...none,
      edits_untouched_apart_ms_max: apartMs,
    },
    bars: [
      ...Object.entries(none).map(([name, value]) => atMost(name, value, 0)),
      atMost('edits_untouched_apart_ms_max', apartMs, APART_MS_MAX),
    ],
  };
}

interface Editing {
  readonly world: World;
  readonly edits: RandomEdits;
  readonly untouched: ReadonlyMap<string, Entry>;
}

/** Also those that were removed, and are there again. */
async function watchAll({ world, edits, untouched }: Editing): Promise<void> {
  const cameras = [...untouched.keys(), ...edits.entries.keys()];
  await world.viewers.call('watch', { url: world.server.url, cameras, sessions: SESSIONS });
}

async function editAll(editing: Editing, { quick, say, signal }: FleetBench) {
  const { world, edits } = editing;
  const { valid, invalid } = quick ? QUICK : FULL;
  const counts = { edits_refused: 0, edits_not_as_said: 0, edits_invalid_accepted: 0, edits_invalid_changed: 0 };
  const tookMs: number[] = [];
  const startMs = performance.now();
  for (let i = 1; i <= valid; i += 1) {
    const edit = edits.valid();
    const made = await make(world, edit);
    if (!isSignal(edit)) tookMs.push(made.tookMs);
    if (made.code !== undefined) {
      counts.edits_refused += 1;
      say(`refused (${made.code}): ${JSON.stringify(edit)}`);
    }
    const document = await world.server.json<ConfigDocument>('/api/config');
    if (!isAsSaid(document, editing)) counts.edits_not_as_said += 1;
    if (i % Math.floor(valid / invalid) === 0) {
      const bad = edits.invalid();
      const { code } = await make(world, bad);
      if (code === undefined) {
        counts.edits_invalid_accepted += 1;
        say(`accepted: ${JSON.stringify(bad)}`);
      }
      // Whoever reads the file next finds the good one.
      await world.writeConfig(edits.text);
      const after = await world.server.json<ConfigDocument>('/api/config');
      if (!isDeepStrictEqual(after, document)) counts.edits_invalid_changed += 1;
    }
    await watchAll(editing);
    await sleep(edits.pauseMs(), undefined, { signal });
  }
  return { tookMs, perS: (valid * 1_000) / (performance.now() - startMs), ...counts };
}

/** The code with which it was refused, and how long it took. Throws where the server has failed. */
async function make(world: World, way: Way): Promise<{ code: string | undefined; tookMs: number }> {
  const startMs = performance.now();
  if (way.kind === 'file') await world.writeConfig(way.text);
  const code = isSignal(way) ? await hangUp(world) : codeOf(await request(world, way));
  return { code, tookMs: performance.now() - startMs };
}

function request(world: World, way: Way): ReturnType<World['request']> {
  if (way.kind === 'file') return world.request('POST', '/api/config/reload');
  return world.request(way.method, way.path, way.body);
}

function isSignal(way: Way): boolean {
  return way.kind === 'file' && way.by === 'signal';
}

function codeOf({ status, text }: { status: number; text: string }): string | undefined {
  if (status < 300) return undefined;
  const { error } = JSON.parse(text) as { error?: { code?: string } };
  // Every refusal has a code of its own.
  if (error?.code === undefined || error.code === 'INTERNAL') throw new Error(`the server has failed: ${text}`);
  return error.code;
}

/** A signal has no answer: the figures tell when the file was read. */
async function hangUp(world: World): Promise<string | undefined> {
  const before = await reloads(world);
  process.kill(world.server.pid, 'SIGHUP');
  const deadlineMs = performance.now() + SIGNAL_TIMEOUT_MS;
  while (performance.now() < deadlineMs) {
    const { taken, failed } = await reloads(world);
    if (failed > before.failed) return 'failed';
    if (taken > before.taken) return undefined;
    await sleep(POLL_MS);
  }
  throw new Error(`the file was not read in ${SIGNAL_TIMEOUT_MS} ms after SIGHUP`);
}

async function reloads(world: World): Promise<{ taken: number; failed: number }> {
  const { text } = await world.request('GET', '/metrics');
  const of = (outcome: string): number =>
    Number(new RegExp(`^sightline_config_reloads_total\\{outcome="${outcome}"\\} (\\d+)`, 'm').exec(text)![1]);
  return { taken: of('taken'), failed: of('failed') };
}

function isAsSaid({ config }: ConfigDocument, { edits, untouched }: Editing): boolean {
  const isSettings = [...edits.settings].every(([path, value]) => {
    const [section, key] = path.split('.') as [string, string];
    return isDeepStrictEqual(config[section]?.[key], value);
  });
  const cameras = wholeEntries(new Map([...untouched, ...edits.entries]));
  return isSettings && isDeepStrictEqual(config['cameras'], Object.fromEntries(cameras));
}

/** With the defaults of what they leave out. */
function wholeEntries(entries: ReadonlyMap<string, Entry>): Map<string, z.output<typeof cameraEntry>> {
  return new Map([...entries].map(([id, entry]) => [id, cameraEntry.parse(entry)]));
}

/** Ids. */
function playing(edits: RandomEdits): string[] {
  return [...edits.entries].filter(([, { enabled = true }]) => enabled).map(([id]) => id);
}

/** Cameras that are not as the last edit of them says, after some time, in words. */
async function wrongAtEnd({ world, edits, untouched }: Editing, { signal }: FleetBench): Promise<string[]> {
  const wanted = wholeEntries(new Map([...untouched, ...edits.entries]));
  const deadlineMs = performance.now() + SETTLED_TIMEOUT_MS;
  for (;;) {
    const wrong = differences(wanted, await world.cameras());
    if (wrong.length === 0 || performance.now() > deadlineMs) return wrong;
    await sleep(SETTLED_POLL_MS, undefined, { signal });
  }
}

function differences(
  wanted: ReadonlyMap<string, z.output<typeof cameraEntry>>,
  cameras: readonly CameraDocument[],
): string[] {
  const ids = new Set(cameras.map(({ id }) => id));
  const missing = [...wanted.keys()].filter((id) => !ids.has(id)).map((id) => `${id} is not there`);
  const others = cameras.flatMap((camera) => {
    const entry = wanted.get(camera.id);
    if (!entry) return `${camera.id} is there`;
    const { url, class: priority, pipelines, enabled } = entry;
    const said = { url, class: priority, pipelines, state: enabled ? 'live' : 'off' };
    const is = { url: camera.url, class: camera.class, pipelines: camera.pipelines, state: camera.state };
    return isDeepStrictEqual(is, said) ? [] : `${camera.id} is ${JSON.stringify(is)}, not ${JSON.stringify(said)}`;
  });
  return [...missing, ...others];
}
