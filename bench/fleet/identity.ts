import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectCameras, type CamerasSession, type CameraView } from '../../src/client/camera-session.ts';
import { decodeJpeg, readJpegHeader } from '../../src/media/jpeg.ts';
import { CHROMIUM } from '../../test/support/chromium.ts';
import { CuttingProxy } from '../../test/support/cutting-proxy.ts';
import { readNumber } from '../../test/support/picture-number.ts';
import type { PagePicture } from '../../test/support/player-page.ts';
import { atLeast, atMost, type Bar } from '../support/document.ts';
import { DecodedCamera } from './decoded-camera.ts';
import { addIdentities, identityOf, NO_IDENTITY, SentLog } from './identity-log.ts';
import type { FoundIdentity, NamedFrame, NamedPicture } from './identity-log.ts';
import { byRecording, byReplay, type ReplayPlan } from './identity-recording.ts';
import { NumberedWorld } from './numbered-world.ts';
import { PlayerTab } from './player-tab.ts';
import type { FleetBench } from './world.ts';

/**
 * Whether a frame keeps its name on every way to its viewer: the number in each picture against the one that its source has sent as the frame of that name, while
 * cameras and viewers come and go, rates change, viewers are skipped ahead, and players seek. The server records all of that, and the recording is read and replayed.
 */

interface IdentityPlan {
  readonly cameras: number;
  /** On each way. */
  readonly frames: number;
  /** What happens meanwhile happens so often. */
  readonly rounds: number;
  readonly clipFrames: number;
  readonly replay: Omit<ReplayPlan, 'keyEvery'>;
}

const FULL: IdentityPlan = {
  cameras: 6,
  frames: 10_000,
  rounds: 4,
  clipFrames: 1_000,
  replay: { speed: 4, jumpMs: 2_500 },
};
const QUICK: IdentityPlan = {
  cameras: 3,
  frames: 400,
  rounds: 1,
  clipFrames: 200,
  replay: { speed: 10, jumpMs: 400 },
};

const SIZE = { width: 160, height: 90, keyEvery: 25, bFrames: 2, ageMs: 100 } as const;
const RATE_FPS = 50;
const OTHER_RATE_FPS = 20;
/** Longer than the server lets a viewer fall behind. */
const HELD_MS = 2_500;
const POLL_MS = 100;
const STALL_MS = 30_000;
const RECORDING = 'identity.mcap';

interface Part {
  readonly own: Record<string, number>;
  readonly bars: readonly Bar[];
}

type Event = () => Promise<void> | void;

/** Cameras with numbers, and the server behind a line that can be cut. */
interface Scene extends Pick<NumberedWorld, 'world' | 'sources' | 'ids'> {
  readonly proxy: CuttingProxy;
  /** Of the server, through the proxy. */
  readonly url: string;
}

/** What may happen to any viewer, once each: cameras and lines that break, rates that change, a line that stands still. */
function mishaps({ sources, proxy }: Scene, signal: AbortSignal): Event[] {
  const change = (camera: number, rateFps: number) => sources.call('change', { camera, rateFps });
  return [
    () => sources.call('cutOne', 0),
    () => change(0, OTHER_RATE_FPS),
    () => proxy.cut(),
    () => change(0, RATE_FPS),
    () => sources.call('cutOne', 1),
    async () => {
      proxy.hold(true);
      await sleep(HELD_MS, undefined, { signal });
      proxy.hold(false);
    },
  ];
}

/** What each camera has sent. */
async function sentBy({ ids, sources }: Scene): Promise<Map<string, SentLog>> {
  const logs = new Map<string, SentLog>();
  for (const [i, id] of ids.entries()) logs.set(id, new SentLog(await sources.call('pictures', i)));
  return logs;
}

function captureOffMsMax(logs: ReadonlyMap<string, SentLog>): number {
  return Math.max(...[...logs.values()].map((log) => log.captureOffMsMax));
}

/** What the engine does takes time from all others: two cameras are enough for it. */
function pipelinesOf(i: number): 'objects' | 'none' {
  return i < 2 ? 'objects' : 'none';
}

export async function measureIdentity(bench: FleetBench): Promise<Part> {
  const plan = bench.quick ? QUICK : FULL;
  const set = { ...SIZE, count: plan.cameras, rateFps: RATE_FPS, frames: plan.clipFrames };
  await using numbered = await NumberedWorld.open(bench, set, pipelinesOf, ['--record', join(bench.folder, RECORDING)]);
  const { world, sources, ids } = numbered;
  const proxy = new CuttingProxy(() => 1, Number(new URL(world.server.url).port), Infinity);
  const scene = { world, sources, ids, proxy, url: `http://127.0.0.1:${await proxy.listen()}` };
  try {
    return await measureWays(scene, plan, bench);
  } finally {
    proxy.close();
  }
}

async function measureWays(scene: Scene, plan: IdentityPlan, bench: FleetBench): Promise<Part> {
  const own: Record<string, number> = {};
  const bars: Bar[] = [];
  const take: Take = (way, { identity, results, strangers, unaccounted, more }) => {
    const { frames, mismatches, unreadable, epochs, examples } = identity;
    bench.say(`${frames} frames by ${way}, ${mismatches} mismatches; ${results} results, ${strangers} of other frames`);
    for (const example of examples) bench.say(`  ${example}`);
    const accounts = unaccounted === undefined ? {} : { unaccounted };
    const found = { frames, mismatches, unreadable, epochs, results, results_strangers: strangers, ...accounts };
    for (const [name, value] of Object.entries({ ...found, ...more })) own[`identity_${way}_${name}`] = value;
    bars.push(
      atLeast(`identity_${way}_frames`, frames, plan.frames),
      atMost(`identity_${way}_mismatches`, mismatches + unreadable + strangers, 0),
    );
    if (unaccounted !== undefined) bars.push(atMost(`identity_${way}_unaccounted`, unaccounted, 0));
  };
  await byWebSocket(scene, plan, bench, take);
  if (CHROMIUM === undefined) bench.say('identity by MSE: left out: there is no Chromium (Debian: chromium) in PATH');
  else await byMse(scene, plan, bench, take);
  // The file is complete when the server has ended.
  await scene.world.server.stop();
  const [path, logs] = [join(bench.folder, RECORDING), await sentBy(scene)];
  const recorded = await byRecording(path, logs, SIZE.keyEvery);
  take('recording', recorded);
  take('replay', await byReplay(path, logs, recorded.more['messages']!, { ...SIZE, ...plan.replay }, bench));
  own['identity_sources_dropped'] = (await scene.sources.call('sent', undefined)).dropped;
  return { own, bars };
}

type Take = (way: string, found: FoundIdentity) => void;

/** Until so many frames were seen, with all that is to happen spread evenly over them. */
async function throughout(
  { frames, rounds }: IdentityPlan,
  events: readonly Event[],
  seen: () => Promise<number> | number,
  signal: AbortSignal,
): Promise<void> {
  const all = Array.from({ length: rounds }, () => events).flat();
  let happened = 0;
  let [count, sinceMs] = [0, performance.now()];
  while (count < frames || happened < all.length) {
    await sleep(POLL_MS, undefined, { signal });
    const now = await seen();
    if (now > count) sinceMs = performance.now();
    else if (performance.now() - sinceMs > STALL_MS) throw new Error(`no frame came after ${now}`);
    count = now;
    if (count < ((happened + 1) * frames) / (all.length + 1)) continue;
    await all[happened]?.();
    happened += 1;
  }
}

// ── WebSocket ────────────────────────────────────────────────────────────────────────────────────────────────────────────

async function byWebSocket(scene: Scene, plan: IdentityPlan, { signal }: FleetBench, take: Take): Promise<void> {
  const { ids, url, world } = scene;
  await using session = await connectCameras({ url, reconnect: { delayMinMs: 50 } });
  const views = new Map(ids.map((id) => [id, new DecodedCamera()]));
  const results = new Map<string, NamedFrame[]>(ids.map((id) => [id, []]));
  const stills: (NamedPicture & { readonly camera: string })[] = [];
  const gaps: Record<string, number> = {};
  const open = (id: string): void =>
    watch(session.open(id), views.get(id)!, results.get(id)!, (cause) => {
      gaps[cause] = (gaps[cause] ?? 0) + 1;
    });
  for (const id of ids) open(id);
  const events = [
    ...mishaps(scene, signal),
    // The viewer looks at something else, and comes back to the newest group of pictures.
    () => {
      viewOf(session, ids[0]!).close();
      open(ids[0]!);
    },
    async () => {
      for (const camera of ids) stills.push({ camera, ...(await stillOf(world.server.url, camera)) });
    },
  ];
  const fragments = () => [...views.values()].reduce((sum, view) => sum + view.frames, 0);
  await throughout(plan, events, fragments, signal);
  for (const view of session.views) view.close();
  for (const view of views.values()) await view.flush();

  const logs = await sentBy(scene);
  let [identity, stillIdentity, resultCount, strangers] = [NO_IDENTITY, NO_IDENTITY, 0, 0];
  for (const [id, { pictures }] of views) {
    const log = logs.get(id)!;
    identity = addIdentities(identity, identityOf(log, pictures));
    const own = stills.filter(({ camera }) => camera === id);
    stillIdentity = addIdentities(stillIdentity, identityOf(log, own));
    const found = results.get(id)!;
    resultCount += found.length;
    strangers += found.filter((frame) => log.find(frame) === undefined).length;
  }
  take('websocket', {
    identity,
    results: resultCount,
    strangers,
    more: {
      capture_off_ms_max: captureOffMsMax(logs),
      missing: fragments() - identity.frames,
      stills: stillIdentity.frames,
      stills_mismatches: stillIdentity.mismatches + stillIdentity.unreadable,
      reconnections: session.reconnects,
      skips: gaps['behind'] ?? 0,
    },
  });
}

function watch(view: CameraView, decoded: DecodedCamera, results: NamedFrame[], onGap: (cause: string) => void): void {
  view.on('fragment', ({ frame, isKey, mediaTimeS, serverCaptureTimeMs, init, bytes }) => {
    decoded.take({ frame, isKey, mediaTimeS, captureTimeMs: serverCaptureTimeMs, head: init.bytes, bytes });
  });
  view.on('gap', ({ cause }) => onGap(cause));
  view.on('result', ({ frame, result }) => {
    if (result.outcome === 'result') results.push({ frame, captureTimeMs: result.capture_time });
  });
}

function viewOf(session: CamerasSession, camera: string): CameraView {
  return session.views.find((view) => view.camera === camera)!;
}

/** The picture that the server sends as its newest one. */
async function stillOf(url: string, camera: string): Promise<NamedPicture> {
  const response = await fetch(`${url}/cameras/${camera}/still.jpg?width=${SIZE.width}`);
  if (!response.ok) throw new Error(`a still was refused: ${await response.text()}`);
  const [, epoch, seq] = response.headers.get('sightline-frame')!.split('/').map(Number);
  const bytes = new Uint8Array(await response.arrayBuffer());
  const header = readJpegHeader(bytes);
  const { data, width, height } = decodeJpeg(bytes, new Uint8Array(header.width * header.height * 3));
  return {
    frame: { epoch: epoch!, seq: seq! },
    captureTimeMs: Number(response.headers.get('sightline-capture-time')),
    number: readNumber({ data, width, height, pixelBytes: 3 }),
  };
}

// ── MSE ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

async function byMse(scene: Scene, plan: IdentityPlan, { signal }: FleetBench, take: Take): Promise<void> {
  await using tab = await PlayerTab.open(scene.url, scene.ids, signal);
  const shown: PagePicture[] = [];
  const seen = async () => shown.push(...(await tab.take()));
  const videos = 'window.page.players.map(({ video }) => video)';
  const events = [
    ...mishaps(scene, signal),
    // Back into what was played already, and away from live.
    () =>
      tab.ask<void>(
        `${videos}.forEach((video) => { video.currentTime = Math.max(video.buffered.start(0), video.currentTime - 1); })`,
      ),
    // To the newest frame.
    () => tab.ask<void>(`${videos}.forEach((video) => { video.currentTime = video.buffered.end(0) - 0.05; })`),
    async () => {
      await tab.ask<void>(`${videos}.forEach((video) => video.pause())`);
      await sleep(HELD_MS, undefined, { signal });
      await tab.ask<void>(`${videos}.forEach((video) => void video.play())`);
    },
  ];
  await throughout(plan, events, seen, signal);
  const [moved, state] = [await tab.moved(), await tab.state()];

  const logs = await sentBy(scene);
  let identity = NO_IDENTITY;
  for (const [id, log] of logs) {
    const pictures = shown
      .filter(({ camera }) => camera === id)
      .map(({ epoch, seq, captureTimeMs, number }) => ({ frame: { epoch, seq }, captureTimeMs, number }));
    identity = addIdentities(identity, identityOf(log, pictures));
  }
  const results = shown.flatMap((picture) => picture.results.map((seq) => seq === picture.seq));
  take('mse', {
    identity,
    results: results.length,
    strangers: results.filter((isOwn) => !isOwn).length,
    more: {
      moved,
      capture_off_ms_max: captureOffMsMax(logs),
      unnamed: state.unnamed,
      jumps: state.jumps,
      failures: state.failures,
    },
  });
}
