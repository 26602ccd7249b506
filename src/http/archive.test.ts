import { chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { holder } from '../../test/support/camera-api.ts';
import { boxesIn, framesIn, madeVideo } from '../../test/support/hls-fragments.ts';
import { httpOptions } from '../../test/support/http-options.ts';
import { collectingLog } from '../../test/support/log.ts';
import { FOUND, ScriptedCameras, type ScriptedCamera } from '../../test/support/scripted-feeds.ts';
import { ManualClock } from '../base/clock.ts';
import { Archive, type ArchiveSettings, type RecordPlan } from '../channels/archive/archive.ts';
import { ClipExports } from '../channels/archive/clip-exports.ts';
import { Desk } from '../channels/archive/desk.ts';
import { FragmentCache } from '../channels/cache/fragment-cache.ts';
import { Hub } from '../stream/hub.ts';
import { archiveRoutes } from './archive.ts';
import { cacheRoutes } from './cache.ts';
import { HttpServer } from './server.ts';

/** Recordings over HTTP, of cameras that do as the test says: 25 frames a second, a key frame each second. */

const FRAME_MS = 40;
const BEGIN_MS = 1_733_079_600_000;
const PLAN: RecordPlan = { mode: 'continuous', labels: [], bounds: { ageMsMax: 1e9, bytesMax: 1e9 } };

let folder: string;
let clock: ManualClock;
let settings: ArchiveSettings;
let hub: Hub;
let cameras: ScriptedCameras;
let north: ScriptedCamera;
let archive: Archive;
let cache: FragmentCache;
let server: HttpServer;
let principal: ReturnType<typeof holder>;
let isOpen: boolean;
let log: ReturnType<typeof collectingLog>;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-archive-'));
  clock = new ManualClock(BEGIN_MS);
  settings = {
    folder,
    fileMs: 10_000,
    freeBytesMin: 0,
    memoryBytesMax: 2 ** 24,
    beforeMs: 3_000,
    afterMs: 4_000,
    takesUnmasked: false,
    bounds: PLAN.bounds,
    plans: new Map([['north', PLAN]]),
  };
  hub = new Hub({ clock, streamsMax: 100 });
  cameras = new ScriptedCameras({ hub, clock, video: madeVideo(), capacity: 2_000 });
  north = cameras.add('north');
  log = collectingLog();
  principal = holder('read:cameras/#');
  isOpen = true;
  await opened();
});
afterEach(async () => {
  await Promise.all([archive.close(), cache.close()]);
  const { made, written, dropped, passed, kept, waiting } = archive.accounts();
  expect(written + dropped.disk + dropped.queue + passed + kept + waiting).toBe(made);
  expect([kept, waiting, north.watching]).toEqual([0, 0, 0]);
  expect(hub.callbackFaults.last).toBeUndefined();
  hub.close();
  await server.close();
  await chmod(folder, 0o700);
  await rm(folder, { recursive: true, force: true });
});

/** As the server begins: with what is on the disk. */
async function opened(): Promise<void> {
  archive = new Archive({ feeds: cameras, clock, log: log.log, settings });
  cache = new FragmentCache({ clock, tiers: [], settings: () => ({ bytesMax: 2 ** 24, idleMs: 5_000 }) });
  const exports = new ClipExports({ feeds: cameras, log: log.log, settings: { max: 0, sideMax: 320, pixelsMax: 1e6 } });
  const options = httpOptions();
  server = new HttpServer({
    ...options,
    access: { ...options.access, authenticator: { principalOf: () => principal } },
    sockets: [],
    log: log.log,
    routes: [
      ...archiveRoutes({
        clock,
        desk: new Desk({ archive, exports, cache, prefetches: () => true }),
        isOpen: () => isOpen,
      }),
      ...cacheRoutes(() => cache.report()),
    ],
  });
  await Promise.all([server.listen(), archive.open()]);
}

function configure(changes: Partial<ArchiveSettings>): void {
  settings = { ...settings, ...changes };
  archive.configure(settings);
}

/** Frames in their time. Resolves when all that can be is written. */
async function play(frames: number, camera = north): Promise<void> {
  for (let i = 0; i < frames; i++) {
    camera.play();
    clock.advance(FRAME_MS);
  }
  await written();
}

const written = () => expect.poll(() => archive.accounts().waiting, { interval: 2 }).toBe(0);
const get = (path: string, init: RequestInit = {}) => fetch(`${server.url}/${path}`, init);
const bytesOf = async (path: string) => Buffer.from(await (await get(path)).arrayBuffer());
const codeOf = async (path: string): Promise<string | number> => {
  const response = await get(path);
  if (response.ok) return response.status;
  const { error } = (await response.json()) as { error: { code: string } };
  return `${response.status} ${error.code}`;
};
const range = (fromS: number, toS: number) => `from=${BEGIN_MS + fromS * 1000}&to=${BEGIN_MS + toS * 1000}`;

interface Listed {
  readonly state: string;
  readonly reason: { readonly code: string; readonly message: string } | null;
  readonly files: number;
  readonly spans: readonly { readonly from: number; readonly to: number }[];
  readonly more: boolean;
}
const listed = async (query = '') => (await (await get(`api/cameras/north/recordings?${query}`)).json()) as Listed;
/** Of what is kept, seconds from the beginning of the test on. */
const spans = async () =>
  (await listed()).spans.map(({ from, to }) => [from, to].map((atMs) => Math.round((atMs - BEGIN_MS) / 100) / 10 + 0));
/** What was begun is whole. */
const finished = () =>
  expect.poll(async () => (await readdir(join(folder, 'north'))).some((name) => name.includes('-0-'))).toBe(false);
const seqsOf = (bytes: Uint8Array) => framesIn(bytes).map(({ name }) => name.seq);
const upTo = (count: number, from = 0) => Array.from({ length: count }, (_, i) => from + i);

const urisOf = async (query: string) =>
  (await (await get(`recordings/north/media.m3u8?${query}`)).text()).match(/^\d+-\d+\/segment-\d+-\d+\.m4s$/gm)!;

describe('viewers of one recording', () => {
  test('ask for the same fragments, wherever they begin, but for their first and last ones', async () => {
    settings = { ...settings, fileMs: 60_000 };
    configure(settings);
    await play(25 * 40 + 1);
    const whole = await urisOf(range(0, 40));
    const late = await urisOf(range(3.5, 33));
    expect(whole).toHaveLength(7);
    expect(late.slice(1, -1)).toEqual(whole.slice(1, 5));
  });

  test('cause one reading of each, however many they are', async () => {
    await play(60);
    const [uri] = await urisOf(range(0, 9));
    const bytes = await Promise.all(Array.from({ length: 50 }, () => bytesOf(`recordings/north/${uri}`)));
    expect(new Set(bytes.map((one) => one.toString('latin1'))).size).toBe(1);
    principal = holder('read:cache');
    const { requests, hit_ratio: ratio } = (await (await get('api/cache')).json()) as {
      requests: { found: object; joined: number };
      hit_ratio: number;
    };
    expect(requests.found).toMatchObject({ source: 1 });
    expect(ratio).toBeCloseTo(49 / 50, 5);
  });

  test('find what they will ask for next read before', async () => {
    configure({ fileMs: 60_000 });
    await play(25 * 130);
    const uris = await urisOf(range(0, 130));
    for (const [i, uri] of uris.entries()) {
      await bytesOf(`recordings/north/${uri}`);
      const { ahead, filling } = cache.report();
      // What is begun for the next one is done before it is asked for.
      if (i > 12) await expect.poll(() => cache.report().ahead.fetches, { interval: 2 }).toBeGreaterThan(0);
      expect([filling, ahead.refused]).toEqual([0, 0]);
    }
    const { ahead } = cache.report();
    expect(ahead.hits).toBeGreaterThan(0);
    clock.advance(6_000);
    cache.sweep();
    expect(cache.report().ahead.wastedBytes).toBeLessThanOrEqual(ahead.fetchedBytes / 5);
  });

  test('find nothing of a file that has gone, whatever is in memory', async () => {
    await play(25 * 25 + 1);
    const [uri] = await urisOf(range(0, 9));
    expect((await get(`recordings/north/${uri}`)).status).toBe(200);
    configure({ plans: new Map([['north', { ...PLAN, bounds: { ageMsMax: 1e9, bytesMax: 1 } }]]) });
    await archive.sweep();
    expect(await codeOf(`recordings/north/${uri}`)).toBe('404 NOT_FOUND');
    expect(cache.report().memory.entries).toBeGreaterThan(0);
  });
});

describe('a camera that is recorded', () => {
  test('is found by time, in files, and played as a playlist', async () => {
    await play(25 * 25 + 1);
    // What is not whole yet is not there: the last second.
    expect(await spans()).toEqual([[0, 25]]);
    expect(await listed()).toMatchObject({ state: 'writing', reason: null, files: 3, more: false });
    expect((await readdir(join(folder, 'north'))).filter((name) => name.endsWith('.mp4'))).toHaveLength(3);
    const text = await (await get(`recordings/north/media.m3u8?${range(0, 100)}`)).text();
    expect(text).toMatch(/^#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:6\n#EXT-X-PLAYLIST-TYPE:VOD\n/);
    expect(text).toContain('#EXT-X-INDEPENDENT-SEGMENTS\n');
    expect(text).not.toContain('DISCONTINUITY');
    expect(text.endsWith('#EXT-X-ENDLIST\n')).toBe(true);
    expect(text).toContain(`#EXT-X-PROGRAM-DATE-TIME:${new Date(BEGIN_MS - 5).toISOString()}\n`);
    const inits = [...text.matchAll(/EXT-X-MAP:URI="([^"]+)"/g)].map(([, uri]) => uri!);
    expect(inits).toHaveLength(3);
    for (const uri of inits) expect((await bytesOf(`recordings/north/${uri}`)).toString()).toBe('init 0');
    const uris = text.match(/^\d+-\d+\/segment-\d+-\d+\.m4s$/gm)!;
    const bytes = await Promise.all(uris.map((uri) => bytesOf(`recordings/north/${uri}`)));
    expect(seqsOf(Buffer.concat(bytes))).toEqual(upTo(625));
    expect(north.watched).toBe(1);
  });

  test('a part of it begins at the key frame before', async () => {
    await play(25 * 12 + 1);
    const text = await (await get(`recordings/north/media.m3u8?${range(3.5, 5.2)}`)).text();
    const uris = text.match(/^\d+-\d+\/segment-\d+-\d+\.m4s$/gm)!;
    expect(seqsOf(Buffer.concat(await Promise.all(uris.map((uri) => bytesOf(`recordings/north/${uri}`)))))).toEqual(
      upTo(75, 75),
    );
  });

  test('segments have addresses for caches, and ranges', async () => {
    await play(60);
    const [uri] = (await (await get(`recordings/north/media.m3u8?${range(0, 9)}`)).text()).match(/^\d.*m4s$/m)!;
    const whole = await get(`recordings/north/${uri}`);
    expect(whole.headers.get('cache-control')).toBe('public, max-age=86400, immutable');
    const tag = whole.headers.get('etag')!;
    expect((await get(`recordings/north/${uri}`, { headers: { 'if-none-match': tag } })).status).toBe(304);
    const some = await get(`recordings/north/${uri}`, { headers: { range: 'bytes=4-7' } });
    expect([some.status, await some.text()]).toEqual([206, 'emsg']);
    isOpen = false;
    expect((await get(`recordings/north/${uri}`)).headers.get('cache-control')).toContain('private');
  });

  test('a key in the query goes on to all addresses', async () => {
    await play(60);
    const text = await (await get(`recordings/north/media.m3u8?${range(0, 9)}&access_token=a%26b`)).text();
    expect(text.match(/access_token=a%26b/g)).toHaveLength(2);
  });

  test('goes on in another file after a new connection, and what is missing is told', async () => {
    await play(51);
    clock.advance(5_000);
    north.reconnect();
    await play(51);
    expect(await spans()).toEqual([
      [0, 2],
      [7, 9],
    ]);
    const text = await (await get(`recordings/north/media.m3u8?${range(0, 20)}`)).text();
    expect(text.match(/#EXT-X-DISCONTINUITY\n#EXT-X-MAP/g)).toHaveLength(1);
  });

  test('is not recorded any more when nobody wants it, or it is turned to another way', async () => {
    await play(51);
    configure({ plans: new Map() });
    await expect.poll(() => north.watching).toBe(0);
    await play(50);
    expect(await listed()).toMatchObject({ state: 'off', files: 1 });
    configure({ plans: new Map([['north', PLAN]]) });
    await expect.poll(() => north.watching).toBe(1);
    await play(76);
    // What came while nobody wanted it is not there; the group of pictures that has begun is.
    expect((await spans()).length).toBeGreaterThan(0);
    expect((await listed()).state).toBe('writing');
  });
});

describe('clips', () => {
  const clip = (fromS: number, toS: number) => get(`recordings/north/clip.mp4?${range(fromS, toS)}`);

  test('are one file, whose time begins at nothing, with every frame once', async () => {
    await play(25 * 25 + 1);
    const answered = await clip(4, 21);
    expect(answered.headers.get('content-type')).toBe('video/mp4');
    expect(answered.headers.get('content-disposition')).toBe('attachment; filename="north-2024-12-01T19-00-03Z.mp4"');
    const bytes = Buffer.from(await answered.arrayBuffer());
    expect(bytes.subarray(0, 6).toString()).toBe('init 0');
    const frames = framesIn(bytes.subarray(6));
    expect(frames[0]!.name.seq).toBe(100);
    expect(frames.map(({ name }) => name.seq)).toEqual(upTo(frames.length, 100));
    expect(frames.map(({ decodeTime }) => decodeTime)).toEqual(upTo(frames.length).map((i) => i * 3_600));
    expect(frames.map(({ presentationTime }) => presentationTime)).toEqual(upTo(frames.length).map((i) => i * 3_600));
    expect(new Set(boxesIn(bytes.subarray(6)).map(({ type }) => type))).toEqual(new Set(['emsg', 'moof', 'mdat']));
  });

  test('what is missing in between is missing in the time of the file', async () => {
    await play(51);
    clock.advance(5_000);
    north.reconnect();
    await play(51);
    const bytes = Buffer.from(await (await clip(0, 20)).arrayBuffer());
    const times = framesIn(bytes.subarray(6)).map(({ decodeTime }) => decodeTime / 90_000);
    // The fifty-first was the last of the connection, and lasts as long as it would.
    expect(times.slice(49, 53).map((time) => Math.round(time * 100) / 100)).toEqual([1.96, 2, 7.04, 7.08]);
  });

  test('what was found in them is beside them', async () => {
    for (let i = 0; i < 150; i++) {
      north.play();
      // Results come later than their frames.
      if (i % 10 === 0) north.find(i - 5 < 0 ? i : i - 5, FOUND);
      clock.advance(FRAME_MS);
    }
    await written();
    configure({ plans: new Map() });
    await finished();
    const answered = await get(`recordings/north/clip.jsonl?${range(1, 3)}`);
    const lines = (await answered.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.map(({ seq }) => seq)).toEqual([25, 35, 45, 55, 65]);
    expect(lines[0]).toMatchObject({ camera: 'north', pipeline: 'objects', detections: [{ label: 'car' }] });
  });

  test('what is not kept, and what cannot be meant', async () => {
    await play(51);
    expect(await codeOf(`recordings/north/clip.mp4?${range(100, 200)}`)).toBe('404 RECORDING_MISSING');
    expect(await codeOf(`recordings/north/clip.jsonl?${range(100, 200)}`)).toBe('404 RECORDING_MISSING');
    expect(await codeOf(`recordings/north/media.m3u8?${range(-200, -100)}`)).toBe('404 RECORDING_MISSING');
    for (const query of ['', 'from=1', `from=2&to=1`, 'from=x&to=9', 'from=0&to=99999999999', `from=-1&to=5`])
      expect([query, await codeOf(`recordings/north/clip.mp4?${query}`)]).toEqual([query, '400 QUERY_BAD']);
    expect(await codeOf(`recordings/north/clip.mp4?from=2024-12-01T19:00:00Z&to=2024-12-01T20:00:00%2B01:00`)).toBe(
      '400 QUERY_BAD',
    );
    expect(await codeOf(`recordings/north/clip.mp4?from=2024-12-01T19:00:00Z&to=2024-12-01T19:00:01Z`)).toBe(200);
    for (const path of ['1-1/init.mp4', '..%2f..%2fx/init.mp4', '1-1/segment-6-100.m4s'])
      expect(await codeOf(`recordings/north/${path}`)).toBe('404 NOT_FOUND');
    const { spans: there } = await listed();
    const name = (await readdir(join(folder, 'north'))).find((one) => one.endsWith('.segments.jsonl'))!.split('.')[0];
    for (const place of ['0-6', '6-1', '7-100', '6-99999999999', '6-0'])
      expect(await codeOf(`recordings/north/${name}/segment-${place}.m4s`)).toBe('404 NOT_FOUND');
    expect(there).toHaveLength(1);
    expect(await codeOf('api/cameras/south/recordings')).toBe('404 CAMERA_UNKNOWN');
    expect(await codeOf(`recordings/south/clip.mp4?${range(0, 1)}`)).toBe('404 CAMERA_UNKNOWN');
  });

  test('a camera that sends something else from some moment on', async () => {
    await play(51);
    configure({ plans: new Map() });
    await finished();
    const pictures = (await readdir(join(folder, 'north'))).find((name) => name.endsWith('.mp4'))!;
    // As if it had been another one before.
    await writeFile(join(folder, 'north', pictures), 'INIT', { flag: 'r+' });
    north.reconnect();
    configure({ plans: new Map([['north', PLAN]]) });
    await expect.poll(() => north.watching).toBe(1);
    await play(51);
    expect(await codeOf(`recordings/north/clip.mp4?${range(0, 20)}`)).toBe('409 CLIP_BROKEN');
    expect(await codeOf(`recordings/north/clip.mp4?${range(0, 1)}`)).toBe(200);
  });
});

describe('events', () => {
  beforeEach(async () => {
    configure({ plans: new Map([['north', { ...PLAN, mode: 'events', labels: ['car'] }]]) });
    await expect.poll(() => north.watching).toBe(1);
  });

  test('what was before one is kept, and what is behind it; nothing else', async () => {
    await play(25 * 10);
    expect([await spans(), (await listed()).state]).toEqual([[], 'waiting']);
    const { kept } = archive.accounts();
    expect(kept).toBeGreaterThanOrEqual(3);
    expect(kept).toBeLessThanOrEqual(5);
    north.find(249, FOUND);
    await play(1);
    expect((await listed()).state).toBe('writing');
    await play(25 * 20);
    const [[from, to] = []] = await spans();
    expect(from).toBeLessThanOrEqual(7);
    expect(from).toBeGreaterThanOrEqual(5);
    expect(to).toBeGreaterThanOrEqual(14);
    expect(to).toBeLessThanOrEqual(16);
    expect((await listed()).state).toBe('waiting');
    const bytes = await bytesOf(`recordings/north/clip.mp4?${range(0, 100)}`);
    const seqs = seqsOf(bytes.subarray(6));
    expect(seqs).toEqual(upTo(seqs.length, seqs[0]!));
    // It can be played from its beginning.
    expect(seqs[0]! % 25).toBe(0);
    const results = (await (await get(`recordings/north/clip.jsonl?${range(0, 100)}`)).text()).trim().split('\n');
    expect(results).toHaveLength(1);
    // Another one is another file.
    north.find(749, FOUND);
    await play(25 * 8);
    expect(await spans()).toHaveLength(2);
  });

  test('are those with a label that is wanted', async () => {
    configure({ plans: new Map([['north', { ...PLAN, mode: 'events', labels: ['person'] }]]) });
    await expect.poll(() => north.watching).toBe(1);
    await play(100);
    north.find(99, FOUND);
    await play(100);
    expect(await spans()).toEqual([]);
    configure({ plans: new Map([['north', { ...PLAN, mode: 'events', labels: [] }]]) });
    await expect.poll(() => north.watching).toBe(1);
    await play(100);
    north.find(299, FOUND);
    await play(100);
    expect(await spans()).toHaveLength(1);
  });
});

describe('what is kept', () => {
  test('the oldest files go, by age and by bytes', async () => {
    await play(25 * 45);
    expect((await listed()).files).toBe(5);
    const bytes = archive.accounts().bytes;
    configure({ plans: new Map([['north', { ...PLAN, bounds: { ageMsMax: 1e9, bytesMax: bytes * 0.7 } }]]) });
    await archive.sweep();
    expect((await listed()).files).toBe(3);
    expect(archive.accounts().removed).toEqual({ age: 0, bytes: 2 });
    configure({ plans: new Map([['north', { ...PLAN, bounds: { ageMsMax: 12_000, bytesMax: 1e9 } }]]) });
    await archive.sweep();
    expect((await listed()).files).toBe(2);
    expect(archive.accounts().removed).toEqual({ age: 1, bytes: 2 });
    expect((await readdir(join(folder, 'north'))).filter((name) => name.endsWith('.mp4'))).toHaveLength(2);
  });

  test('is there after a restart, and goes on', async () => {
    await play(25 * 15 + 1);
    await archive.close();
    await server.close();
    const before = await readdir(join(folder, 'north'));
    expect(before.some((name) => name.includes('-0-'))).toBe(false);
    await opened();
    expect((await listed()).files).toBe(2);
    await play(26);
    const bytes = await bytesOf(`recordings/north/clip.mp4?${range(0, 100)}`);
    expect(seqsOf(bytes.subarray(6)).slice(0, 375)).toEqual(upTo(375));
  });

  test('of a camera that was removed stays, and is told when it is back', async () => {
    await play(51);
    cameras.remove('north');
    expect(await codeOf('api/cameras/north/recordings')).toBe('404 CAMERA_UNKNOWN');
    north = cameras.add('north');
    await expect.poll(async () => (await listed()).spans.length).toBe(1);
  });
});

describe('masks', () => {
  test('a camera with masks is not recorded, and what there is of it is for those who may see it without', async () => {
    await play(51);
    cameras.mask('north');
    await expect.poll(() => north.watching).toBe(0);
    await play(50);
    const paths = [
      `clip.mp4?${range(0, 9)}`,
      `clip.jsonl?${range(0, 9)}`,
      `media.m3u8?${range(0, 9)}`,
      '1-1/init.mp4',
      '1-1/segment-1-1.m4s',
    ];
    for (const path of paths) expect(await codeOf(`recordings/north/${path}`)).toBe('403 CAMERA_MASKED');
    expect(await listed()).toMatchObject({ state: 'masked', reason: { code: 'CAMERA_MASKED' }, files: 1 });
    principal = holder('read:cameras/north', 'unmasked:cameras/north');
    expect(await codeOf(`recordings/north/clip.mp4?${range(0, 9)}`)).toBe(200);
    configure({ takesUnmasked: true });
    await expect.poll(() => north.watching).toBe(1);
    expect((await listed()).state).toBe('writing');
  });

  test('without the permission for the camera nothing is told', async () => {
    principal = holder('read:cameras/south');
    const paths = [
      'api/cameras/north/recordings',
      `recordings/north/clip.mp4?${range(0, 9)}`,
      `recordings/north/media.m3u8?${range(0, 9)}`,
    ];
    for (const path of paths) expect(await codeOf(path)).toBe('403 PERMISSION_DENIED');
  });
});

describe('a disk', () => {
  test('that has no room: nothing is written, it is told, and tried again', async () => {
    configure({ freeBytesMin: 2 ** 52 });
    await play(126);
    expect(await listed()).toMatchObject({ state: 'failed', reason: { code: 'OUTPUT_FAILED' }, files: 0 });
    expect((await listed()).reason!.message).toContain('the disk is full');
    expect(log.entries.filter(({ event }) => event === 'archive_failed')).toHaveLength(1);
    const { dropped } = archive.accounts();
    expect(dropped).toEqual({ disk: 5, queue: 0 });
    configure({ freeBytesMin: 0 });
    clock.advance(10_000);
    await play(76);
    expect(await listed()).toMatchObject({ state: 'writing', reason: null });
    expect((await listed()).files).toBeGreaterThan(0);
    expect(log.entries.filter(({ event }) => event === 'archive_resumed')).toHaveLength(1);
  });

  test.skipIf(process.getuid?.() === 0)('whose folder cannot be written', async () => {
    await chmod(folder, 0o500);
    await play(51);
    expect((await listed()).state).toBe('failed');
  });

  test('whose folder is a file', async () => {
    await writeFile(join(folder, 'north'), '');
    await play(51);
    expect(await listed()).toMatchObject({ state: 'failed', files: 0 });
    await rm(join(folder, 'north'));
    clock.advance(10_000);
    await play(51);
    expect((await listed()).state).toBe('writing');
  });

  test('that is too slow: what waits has a bound', async () => {
    configure({ memoryBytesMax: 20_000 });
    for (let i = 0; i < 500; i++) {
      north.play();
      clock.advance(FRAME_MS);
    }
    await written();
    const { made, dropped, written: count } = archive.accounts();
    expect(made).toBe(19);
    expect(dropped.queue).toBeGreaterThan(10);
    expect(count).toBeGreaterThan(0);
    // What is there says so.
    await play(60);
    expect((await spans()).length).toBeGreaterThan(1);
  });
});
