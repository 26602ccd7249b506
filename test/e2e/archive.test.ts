import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/browser.ts';
import { CHROMIUM, launchBrowser } from '../support/chromium.ts';
import { numberedClip, type CodedClip } from '../support/coded-clip.ts';
import { runHere } from '../support/command.ts';
import { decodePictures } from '../support/decoded.ts';
import { framesIn } from '../support/hls-fragments.ts';
import { serveHlsPage, type HlsPicture } from '../support/hls-page.ts';
import { RtspServer } from '../support/rtsp-server.ts';
import { ServerProcess } from '../support/server-process.ts';

/** Cameras of RTSP, recorded on the disk: exported, played, and there after the server was killed. */

const FRAMES = 50;

interface Named {
  readonly epoch: number;
  readonly seq: number;
}

interface Span {
  readonly from: number;
  readonly to: number;
}

let folder: string;
let clips: Record<'gate' | 'attic', CodedClip>;
let rtsp: RtspServer;
let server: ServerProcess;
let browser: Browser | undefined;

const begin = () => {
  const words = [
    `archive.folder=${join(folder, 'kept')}`,
    'archive.file_s=5',
    `store.file=${join(folder, 'store.db')}`,
    'store.mode=file',
  ];
  return ServerProcess.start([...words.flatMap((word) => ['--set', word]), 'serve']);
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-archive-'));
  const [gate, attic] = await Promise.all([
    numberedClip({ frames: FRAMES }),
    // Frames that are shown in another order than they are sent in.
    numberedClip({ frames: FRAMES, codec: 'hevc', bFrames: 2 }),
  ]);
  clips = { gate, attic };
  rtsp = await RtspServer.open({ cameras: { gate: { clip: gate }, attic: { clip: attic } } });
  server = await begin();
  for (const name of ['gate', 'attic']) {
    const body = JSON.stringify({
      url: rtsp.url(name),
      pipelines: name === 'gate' ? ['objects'] : [],
      record: 'continuous',
    });
    const headers = { 'content-type': 'application/json' };
    expect((await fetch(`${server.url}/api/cameras/${name}`, { method: 'PUT', headers, body })).status).toBe(200);
  }
  if (CHROMIUM !== undefined) browser = await launchBrowser();
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
  await rtsp?.close();
  rmSync(folder, { recursive: true, force: true });
});

const spansOf = async (name: string) => (await server.json<{ spans: Span[] }>(`/api/cameras/${name}/recordings`)).spans;
const recordedS = async (name: string) =>
  (await spansOf(name)).reduce((sum, { from, to }) => sum + (to - from), 0) / 1000;
/** Up to within the last segment that is kept: by its capture, the next one may begin some ms before that one's end, and is written meanwhile. */
const ofAll = async (name: string) => {
  const spans = await spansOf(name);
  return `from=${spans[0]!.from}&to=${Math.floor(spans.at(-1)!.to) - 250}`;
};

const nameOf = ({ epoch, seq }: Named) => `${epoch} ${seq}`;

/** A connection begins anywhere in the clip, and has all that follows: so there is one place that explains all of its names. */
function expectIdentity(
  { frames: coded }: CodedClip,
  seen: readonly { readonly name: Named; readonly number: number | undefined }[],
): void {
  for (const ofEpoch of Map.groupBy(seen, ({ name }) => name.epoch).values()) {
    const places = Array.from(coded.keys()).filter((place) =>
      ofEpoch.every(({ name, number }) => coded[(place + name.seq) % FRAMES]!.order === number),
    );
    expect(places).toHaveLength(1);
  }
}

test('a clip has each frame with its name, through a new connection, and what was found beside it', async () => {
  await eventually(() => recordedS('gate'), 60).toBeGreaterThan(4);
  rtsp.camera('gate').closeClients();
  await eventually(async () => (await spansOf('gate')).length >= 1 && (await recordedS('gate'))).toBeGreaterThan(9);
  await eventually(() => recordedS('attic')).toBeGreaterThan(5);
  for (const name of ['gate', 'attic'] as const) {
    const bytes = Buffer.from(
      await (await fetch(`${server.url}/recordings/${name}/clip.mp4?${await ofAll(name)}`)).arrayBuffer(),
    );
    // Behind `ftyp` and `moov`.
    const header = bytes.indexOf('emsg') - 4;
    const frames = framesIn(bytes.subarray(header));
    expect(frames.length).toBeGreaterThan(100);
    const inOrder = frames.toSorted((one, other) => one.presentationTime - other.presentationTime);
    const shown = await decodePictures(bytes);
    expect(shown).toHaveLength(frames.length);
    expectIdentity(
      clips[name],
      inOrder.map((frame, i) => ({ name: frame.name, number: shown[i]!.number })),
    );
    if (name === 'gate') expect(new Set(frames.map((frame) => frame.name.epoch)).size).toBe(2);
  }
  const lines = await (await fetch(`${server.url}/recordings/gate/clip.jsonl?${await ofAll('gate')}`)).text();
  const results = lines
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Named & { outcome: string });
  expect(results.length).toBeGreaterThan(3);
  expect(results.every(({ outcome }) => outcome === 'result')).toBe(true);
});

test('drawn on, it has the same frames, H.265 with B-frames too, and says on which of them something was found', async () => {
  for (const name of ['gate', 'attic'] as const) {
    const query = await ofAll(name);
    const clip = async (channel: string) => {
      const response = await fetch(`${server.url}/recordings/${name}/clip.mp4?${query}&channel=${channel}`);
      expect(response.status).toBe(200);
      return Buffer.from(await response.arrayBuffer());
    };
    const [raw, bytes] = [await clip('raw'), await clip('annotated')];
    const frames = framesIn(bytes.subarray(bytes.indexOf('emsg') - 4));
    const own = framesIn(raw.subarray(raw.indexOf('emsg') - 4))
      .toSorted((one, other) => one.presentationTime - other.presentationTime)
      .map(({ name: { epoch, seq }, presentationTime }) => [epoch, seq, presentationTime]);
    expect(frames.map(({ name: { epoch, seq }, presentationTime }) => [epoch, seq, presentationTime])).toEqual(own);
    const shown = await decodePictures(bytes);
    expect(shown).toHaveLength(frames.length);
    expectIdentity(
      clips[name],
      frames.map((frame, i) => ({ name: frame.name, number: shown[i]!.number })),
    );
    // A frame at either end may have been captured a moment before, or behind.
    const wider = query.replace(
      /from=(\d+)&to=(\d+)/,
      (_, from, to) => `from=${from - 2_000}&to=${Number(to) + 2_000}`,
    );
    const lines = await (await fetch(`${server.url}/recordings/${name}/clip.jsonl?${wider}`)).text();
    const looked = new Set(
      lines.split('\n').flatMap((line) => (line === '' ? [] : [nameOf(JSON.parse(line) as Named)])),
    );
    const marked = frames.filter((frame) => frame.name.boxes === 'own').map((frame) => nameOf(frame.name));
    // What is found meanwhile in the last of them may be in the one and not in the other.
    expect(marked.every((one) => looked.has(one))).toBe(true);
    expect(marked.length > 3).toBe(name === 'gate');
  }
});

test('the command writes it into files', async () => {
  const flags = ['--from', '2m', '--url', server.url];
  const run = (...words: string[]) => runHere(folder, ['record', 'camera', ...words]);
  const made = await run('gate', 'gate.mp4', ...flags, '--json');
  expect([made.code, made.err]).toEqual([0, '']);
  const told = JSON.parse(made.out) as { file: string; bytes: number };
  expect(told).toMatchObject({ file: join(folder, 'gate.mp4') });
  expect(readFileSync(told.file)).toHaveLength(told.bytes);
  expect((await decodePictures(told.file)).length).toBeGreaterThan(100);
  expect(readFileSync(join(folder, 'gate.jsonl'), 'utf8')).toContain('"camera":"gate"');
  const drawn = await run('gate', 'drawn.mp4', ...flags, '--channel', 'annotated');
  expect([drawn.code, drawn.err]).toEqual([0, '']);
  expect((await decodePictures(join(folder, 'drawn.mp4'))).length).toBeGreaterThan(100);
  const none = await run(
    'gate',
    'x.mp4',
    '--from',
    '2020-01-01T00:00:00Z',
    '--to',
    '2020-01-01T00:00:09Z',
    '--url',
    server.url,
  );
  expect([none.code, none.err]).toEqual([66, expect.stringContaining('nothing of camera gate is kept')]);
  for (const words of [
    ['gate', 'x.avi', ...flags],
    ['gate', 'x.mp4', '--from', 'soon'],
    ['gate', 'x.mp4', ...flags, '--channel', 'other'],
    ['../gate', 'x.mp4', ...flags],
    ['gate', 'x.mp4'],
  ])
    expect((await run(...words)).code).toBe(64);
  expect(readdirSync(folder).filter((name) => name.startsWith('x.'))).toEqual([]);
});

test.skipIf(CHROMIUM === undefined)('hls.js plays it, each frame with its name', async () => {
  const page = await browser!.newPage();
  await serveHlsPage(page);
  const source = encodeURIComponent(`/recordings/gate/media.m3u8?${await ofAll('gate')}`);
  await page.goto(`${server.url}/test/player.html?source=${source}`);
  const ask = <T>(expression: string) => page.evaluate(`(${expression})`) as Promise<T>;
  await eventually(() => ask<number>('window.page.frames.length')).toBeGreaterThan(60);
  const frames = await ask<HlsPicture[]>('window.page.frames');
  expect((await ask<{ fatal: boolean }[]>('window.page.errors')).filter(({ fatal }) => fatal)).toEqual([]);
  expect(frames.filter((frame) => frame.name === undefined || frame.number === undefined)).toEqual([]);
  expectIdentity(
    clips.gate,
    frames.map(({ name, number }) => ({ name: name!, number })),
  );
  await page.close();
});

test('a server that is killed has all but the last moment when it is back, and goes on', async () => {
  await eventually(() => recordedS('gate')).toBeGreaterThan(10);
  const before = await recordedS('gate');
  await server.stop('SIGKILL');
  const left = readdirSync(join(folder, 'kept', 'gate'));
  expect(left.filter((name) => /-0-\d+\.mp4$/.test(name))).toHaveLength(1);
  server = await begin();
  await eventually(() => recordedS('gate')).toBeGreaterThanOrEqual(before);
  const back = await recordedS('gate');
  await eventually(() => recordedS('gate')).toBeGreaterThan(back + 2);
  expect(await server.stop()).toBe(0);
  const names = readdirSync(join(folder, 'kept', 'gate'));
  expect(names.filter((name) => name.includes('-0-'))).toEqual([]);
  expect(names.filter((name) => name.endsWith('.mp4')).length * 3).toBe(names.length);
  for (const name of names.filter((one) => one.endsWith('.mp4')))
    expect((await decodePictures(join(folder, 'kept', 'gate', name))).length).toBeGreaterThan(0);
});
