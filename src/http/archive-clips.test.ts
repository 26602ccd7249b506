import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { samplesOf, shareBlack } from '../../test/support/black.ts';
import { holder } from '../../test/support/camera-api.ts';
import { decodePictures } from '../../test/support/decoded.ts';
import { detection, labels, PLACES } from '../../test/support/drawn-boxes.ts';
import { framesIn } from '../../test/support/hls-fragments.ts';
import { httpOptions } from '../../test/support/http-options.ts';
import { collectingLog } from '../../test/support/log.ts';
import { numberedVideo, type NumberedVideo } from '../../test/support/numbered-video.ts';
import { FOUND, ScriptedCameras, type ScriptedCamera } from '../../test/support/scripted-feeds.ts';
import { ManualClock } from '../base/clock.ts';
import type { FrameOutcome } from '../base/frame.ts';
import { readPolygon } from '../base/polygon.ts';
import { Archive, type ArchiveSettings, type RecordPlan } from '../channels/archive/archive.ts';
import { ClipExports } from '../channels/archive/clip-exports.ts';
import { FragmentCache } from '../channels/cache/fragment-cache.ts';
import { Desk } from '../channels/archive/desk.ts';
import { Hub } from '../stream/hub.ts';
import { archiveRoutes } from './archive.ts';
import { HttpServer } from './server.ts';

/** Clips with what was found drawn on them, of cameras that do as the test says: 25 numbered pictures a second, 50 of them again and again. */

const FRAMES = 50;
const FRAME_MS = 40;
const BEGIN_MS = 1_733_079_600_000;
const PLAN: RecordPlan = { mode: 'continuous', labels: [], bounds: { ageMsMax: 1e9, bytesMax: 1e9 } };
const PROCESS = new URL('../../test/support/scripted-clip-process.ts', import.meta.url);
const SETTINGS = { max: 2, sideMax: 1280, pixelsMax: 1e6 };

let video: NumberedVideo;
let folder: string;
let clock: ManualClock;
let settings: ArchiveSettings;
let hub: Hub;
let cameras: ScriptedCameras;
let north: ScriptedCamera;
let archive: Archive;
let exports: ClipExports;
let server: HttpServer;
let principal: ReturnType<typeof holder>;
let log: ReturnType<typeof collectingLog>;

beforeAll(async () => {
  video = await numberedVideo({ frames: FRAMES });
});
beforeEach(() => open(video, ['north']));
afterEach(close);

async function open(of: NumberedVideo, names: readonly string[], script?: URL): Promise<void> {
  folder = await mkdtemp(join(tmpdir(), 'sightline-clips-'));
  clock = new ManualClock(BEGIN_MS);
  settings = {
    folder,
    fileMs: 10_000,
    freeBytesMin: 0,
    memoryBytesMax: 2 ** 24,
    beforeMs: 3_000,
    afterMs: 4_000,
    takesUnmasked: true,
    bounds: PLAN.bounds,
    plans: new Map(names.map((name) => [name, PLAN])),
  };
  hub = new Hub({ clock, streamsMax: 100 });
  cameras = new ScriptedCameras({ hub, clock, video: of, capacity: 2_000 });
  for (const name of names) cameras.add(name);
  north = cameras.all()[0]!;
  log = collectingLog();
  principal = holder('read:cameras/#');
  archive = new Archive({ feeds: cameras, clock, log: log.log, settings });
  exports = new ClipExports({ feeds: cameras, log: log.log, settings: SETTINGS, ...(script && { script }) });
  const cache = new FragmentCache({ clock, tiers: [], settings: () => ({ bytesMax: 0, idleMs: 0 }) });
  const options = httpOptions();
  server = new HttpServer({
    ...options,
    access: { ...options.access, authenticator: { principalOf: () => principal } },
    sockets: [],
    log: log.log,
    routes: archiveRoutes({
      clock,
      desk: new Desk({ archive, exports, cache, prefetches: () => false }),
      isOpen: () => false,
    }),
  });
  await Promise.all([server.listen(), archive.open()]);
}

async function close(): Promise<void> {
  await Promise.all([archive.close(), exports.close()]);
  const { asked, running, outcomes } = exports.accounts();
  expect(Object.values(outcomes).reduce((sum, count) => sum + count, running)).toBe(asked);
  expect(hub.callbackFaults.last).toBeUndefined();
  hub.close();
  await server.close();
  await rm(folder, { recursive: true, force: true });
}

/** Frames in their time, and what is found in them by their numbers; what is not whole yet is written when another file begins. */
async function play(frames: number, find: (seq: number) => number | undefined = () => undefined): Promise<void> {
  const { seq: first } = north.next;
  for (let seq = first; seq < first + frames; seq++) {
    north.play();
    // It takes a while.
    const place = find(seq - 2);
    if (seq - 2 >= first && place !== undefined) north.find(seq - 2, found(place));
    clock.advance(FRAME_MS);
  }
  await expect.poll(() => archive.accounts().waiting, { interval: 2 }).toBe(0);
}

function found(place: number): FrameOutcome {
  return { ...FOUND, result: { pipeline: 'objects', detections: [detection(place)] } } as FrameOutcome;
}

const range = (fromS: number, toS: number) => `from=${BEGIN_MS + fromS * 1000}&to=${BEGIN_MS + toS * 1000}`;
const get = (query: string, name = north.id) => fetch(`${server.url}/recordings/${name}/clip.mp4?${query}`);
const drawn = (query: string, name = north.id) => get(`${query}&channel=annotated`, name);
const codeOf = async (response: Response): Promise<string> => {
  const { error } = (await response.json()) as { error: { code: string } };
  return `${response.status} ${error.code}`;
};
async function bytesOf(response: Response): Promise<Buffer> {
  expect(response.status).toBe(200);
  return Buffer.from(await response.arrayBuffer());
}
/** Behind the header. */
const framesOf = (bytes: Buffer) => framesIn(bytes.subarray(bytes.indexOf('emsg') - 4));
const isBlackUnder = async (bytes: Buffer, polygons: readonly string[]) => {
  const shapes = polygons.map((text) => readPolygon(text).polygon!);
  const pictures = (await samplesOf(bytes, 24)).map((picture) => shareBlack(picture, shapes));
  expect(pictures.length).toBeGreaterThan(10);
  return pictures.every(({ under, beside }) => under > 0.999 && beside < 0.4);
};

describe('a clip that is drawn on', () => {
  test('has every frame of the raw one, with its name and at its time, and each box on its own frame', async () => {
    const isLooked = (seq: number) => seq >= 30 && seq % 5 === 0 && seq < 130;
    await play(25 * 11 + 1, (seq) => (isLooked(seq) ? (seq % FRAMES) % PLACES : undefined));
    const answered = await drawn(range(0, 20));
    expect(answered.headers.get('content-type')).toBe('video/mp4');
    expect(answered.headers.get('content-disposition')).toContain('north-2024-12-01T18-59-59Z-annotated.mp4');
    const bytes = await bytesOf(answered);
    const raw = framesOf(await bytesOf(await get(range(0, 20))));
    const frames = framesOf(bytes);
    expect(frames).toHaveLength(275);
    const names = (one: typeof frames) => one.map(({ name }) => ({ ...name, boxes: 'any' }));
    expect(names(frames)).toEqual(names(raw));
    const times = (one: ReturnType<typeof framesOf>) =>
      one.map(({ presentationTime, duration, eventDuration }) => [presentationTime, duration, eventDuration]);
    expect(times(frames)).toEqual(times(raw));
    const pictures = await decodePictures(bytes);
    const seen = await labels(bytes);
    expect(pictures.map(({ number }) => number)).toEqual(frames.map(({ name }) => name.seq % FRAMES));
    for (const [i, { name }] of frames.entries()) {
      const { seq, boxes } = name;
      const sinceS = (seq - 125) / 25;
      expect([seq, boxes]).toEqual([seq, isLooked(seq) ? 'own' : seq < 30 || sinceS > 1.5 ? 'none' : 'predicted']);
      if (boxes === 'none') expect(seen[i]).toEqual([]);
      if (boxes === 'own') expect(seen[i], `frame ${seq}`).toEqual([pictures[i]!.number! % PLACES]);
    }
    expect(exports.accounts()).toMatchObject({
      running: 0,
      outcomes: { whole: 1 },
      frames: { drawn: 275, leftOut: 0 },
    });
  });

  test('over another connection: what is missing is missing in its time, and boxes are of their own epoch', async () => {
    await play(51, (seq) => (seq === 48 ? 2 : undefined));
    clock.advance(5_000);
    north.reconnect();
    await play(51, (seq) => (seq === 20 ? 5 : undefined));
    const [raw, frames] = [
      framesOf(await bytesOf(await get(range(0, 20)))),
      framesOf(await bytesOf(await drawn(range(0, 20)))),
    ];
    expect(frames.map(({ name }) => [name.epoch, name.seq])).toEqual(raw.map(({ name }) => [name.epoch, name.seq]));
    expect(frames.map(({ decodeTime }) => decodeTime)).toEqual(raw.map(({ decodeTime }) => decodeTime));
    const boxes = (at: number) => frames[at]!.name.boxes;
    expect([47, 48, 49, 50, 51, 70, 71, 72].map(boxes)).toEqual([
      'none',
      'own',
      'predicted',
      'predicted',
      'none',
      'none',
      'own',
      'predicted',
    ]);
  });

  test('of a part of it, begins at the key frame before; without results it has no boxes', async () => {
    await play(126);
    const bytes = await bytesOf(await drawn(range(1.5, 3.2)));
    const frames = framesOf(bytes);
    expect([frames[0]!.name.seq, frames[0]!.decodeTime]).toEqual([25, 0]);
    expect(new Set(frames.map(({ name }) => name.boxes))).toEqual(new Set(['none']));
    expect((await decodePictures(bytes)).map(({ number }) => number)).toEqual(
      frames.map(({ name }) => name.seq % FRAMES),
    );
  });

  test('what there is not, and what cannot be meant', async () => {
    await play(51);
    expect(await codeOf(await drawn(range(100, 200)))).toBe('404 RECORDING_MISSING');
    expect(await codeOf(await get(`${range(0, 9)}&channel=other`))).toBe('400 QUERY_BAD');
    expect(await codeOf(await drawn(range(0, 9), 'south'))).toBe('404 CAMERA_UNKNOWN');
    exports.configure({ ...SETTINGS, max: 0 });
    expect(await codeOf(await drawn(range(0, 9)))).toBe('503 EXPORT_LIMIT_REACHED');
    exports.configure(SETTINGS);
    principal = holder('read:cameras/south');
    expect(await codeOf(await drawn(range(0, 9)))).toBe('403 PERMISSION_DENIED');
  });
});

describe('masks', () => {
  const NOW = '0,0 0.5,0 0.5,1';
  const THEN = '0.6,0.5 0.95,0.5 0.95,0.9 0.6,0.9';

  test('of now are in it for whoever may not see it without, and what was found below them before is not', async () => {
    // Of these the first one lies below the mask.
    await play(76, (seq) => (seq === 30 ? 3 : seq === 40 ? 7 : undefined));
    cameras.mask('north');
    expect(await codeOf(await get(range(0, 9)))).toBe('403 CAMERA_MASKED');
    const bytes = await bytesOf(await drawn(range(0, 9)));
    expect(await isBlackUnder(bytes, [NOW])).toBe(true);
    const seen = await labels(bytes);
    expect([seen[30], seen[40]]).toEqual([[], [7]]);
    principal = holder('read:cameras/#', 'unmasked:cameras/north');
    expect(await isBlackUnder(await bytesOf(await drawn(range(0, 9))), [NOW])).toBe(true);
  });

  test('that it had when it was recorded are in it, too', async () => {
    north.masks = [THEN];
    north.reconnect();
    await play(76);
    cameras.mask('north');
    expect(await isBlackUnder(await bytesOf(await drawn(range(0, 9))), [NOW, THEN])).toBe(true);
    cameras.mask('north', false);
    expect(await isBlackUnder(await bytesOf(await drawn(range(0, 9))), [THEN])).toBe(true);
  });

  test('that change end it', async () => {
    await play(251);
    const whole = { camera: 'north', fromMs: BEGIN_MS - 1000, toMs: BEGIN_MS + 20_000 };
    const files = archive.within('north', whole.fromMs, whole.toMs);
    const order = { range: whole, files, resultFiles: files };
    const { chunks } = await exports.open(order, new AbortController().signal);
    const pieces = chunks();
    expect((await pieces.next()).done).toBe(false);
    cameras.mask('north');
    await expect(pieces.next()).rejects.toMatchObject({ code: 'CAMERA_MASKED' });
    expect(exports.accounts()).toMatchObject({ running: 0, outcomes: { cut: 1 } });
  });
});

describe('as many as may be', () => {
  const asked = () => drawn(range(-10, 20), 'waits');

  test('are made at once; one whose client has gone makes room, and the end of the server ends all', async () => {
    await close();
    await open(video, ['waits'], PROCESS);
    exports.configure({ ...SETTINGS, max: 1 });
    await play(51);
    const gone = new AbortController();
    const one = await fetch(`${server.url}/recordings/waits/clip.mp4?${range(-10, 20)}&channel=annotated`, {
      signal: gone.signal,
    });
    expect(await codeOf(await asked())).toBe('503 EXPORT_LIMIT_REACHED');
    gone.abort();
    await expect(one.arrayBuffer()).rejects.toThrow('aborted');
    await expect.poll(() => exports.accounts().running).toBe(0);
    const other = await asked();
    expect([other.status, exports.accounts().running]).toEqual([200, 1]);
    await exports.close();
    await expect(other.arrayBuffer()).rejects.toThrow('terminated');
    expect(await codeOf(await asked())).toBe('503 SHUTTING_DOWN');
    expect(exports.accounts()).toMatchObject({ running: 0, outcomes: { cut: 2, refused: 2 } });
    // Of what was asked for it is no fault.
    expect(log.entries.filter(({ event }) => event === 'export_failed')).toEqual([]);
  });
});

describe('one that is not whole', () => {
  const NAMES = ['dies', 'leaves', 'fails', 'short', 'whole'];

  test('breaks off, whatever has become of its process', async () => {
    await close();
    await open(video, NAMES, PROCESS);
    for (const camera of cameras.all()) {
      for (let i = 0; i < 51; i++) camera.play();
    }
    await expect.poll(() => archive.accounts().waiting, { interval: 2 }).toBe(0);
    for (const name of NAMES) {
      const answered = await drawn(range(-10, 20), name);
      expect(answered.status).toBe(200);
      if (name === 'whole') expect((await answered.arrayBuffer()).byteLength).toBe(100_000);
      else await expect(answered.arrayBuffer(), name).rejects.toThrow('terminated');
    }
    await expect.poll(() => exports.accounts().outcomes).toMatchObject({ whole: 1, failed: 4, cut: 0 });
    const told = log.entries.filter(({ event }) => event === 'export_failed');
    expect(told.map(({ fields }) => fields['camera'])).toEqual(['dies', 'leaves', 'fails', 'short']);
    expect(told[0]!.fields).toMatchObject({ code: 'EXPORT_FAILED', reason: expect.stringContaining('SIGKILL') });
  });

  test('of frames that cannot be decoded there is none', async () => {
    await close();
    const frames = video.frames.map((frame) => ({ ...frame, units: [Buffer.alloc(200, frame.units[0]![0])] }));
    await open({ ...video, frames }, ['north']);
    await play(51);
    expect(await codeOf(await drawn(range(0, 9)))).toBe('500 EXPORT_FAILED');
    await play(150);
    expect(await codeOf(await drawn(range(0, 9)))).toBe('500 EXPORT_FAILED');
    expect(exports.accounts()).toMatchObject({ outcomes: { failed: 2 }, frames: { drawn: 0 } });
  });
});
