import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Decoder, Demuxer } from 'node-av/api';
import { AV_LOG_QUIET, AV_LOG_WARNING, AV_PIX_FMT_YUVJ420P, FF_ENCODER_MJPEG } from 'node-av/constants';
import { Log } from 'node-av/lib';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectOtherSizes } from '../support/annotated-sizes.ts';
import { eventually } from '../support/browser.ts';
import { CHROMIUM, launchBrowser } from '../support/chromium.ts';
import { writeClip } from '../support/clips.ts';
import { numberedClip } from '../support/coded-clip.ts';
import { serveHlsPage, type HlsPicture } from '../support/hls-page.ts';
import { readNumber } from '../support/picture-number.ts';
import type { RtspSent } from '../support/rtsp/camera.ts';
import { RtspServer } from '../support/rtsp-server.ts';
import { ServerProcess } from '../support/server-process.ts';

/** A camera of RTSP, played by HLS: in hls.js, by FFmpeg, and by what a player asks for. */

/** Of the clip; they come again. */
const FRAMES = 50;
/** Beyond it a player has lost live. */
const BEHIND_S_MAX = 4;

const INTERVAL_MS = 40;

let folder: string;
/** By camera. */
const sent: Record<string, RtspSent[]> = { gate: [], yard: [] };
let rtsp: RtspServer;
let server: ServerProcess;
let browser: Browser | undefined;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-hls-'));
  const [clip, reordered, hevc] = await Promise.all([
    numberedClip({ frames: FRAMES }),
    numberedClip({ frames: FRAMES, bFrames: 2, options: { preset: 'fast' } }),
    numberedClip({ codec: 'hevc', frames: FRAMES }),
  ]);
  rtsp = await RtspServer.open({
    cameras: { gate: { clip }, hall: { clip }, yard: { clip: reordered }, attic: { clip: hevc } },
  });
  for (const [name, frames] of Object.entries(sent)) rtsp.camera(name).onFrame = (frame) => frames.push(frame);
  server = await ServerProcess.start(['serve']);
  for (const name of ['gate', 'yard', 'hall', 'attic']) await put(name, { url: rtsp.url(name), pipelines: [] });
  if (CHROMIUM !== undefined) browser = await launchBrowser();
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
  await rtsp?.close();
  rmSync(folder, { recursive: true, force: true });
});

async function put(id: string, camera: object): Promise<void> {
  const headers = { 'content-type': 'application/json' };
  const answered = await fetch(`${server.url}/api/cameras/${id}`, {
    method: 'PUT',
    headers,
    body: JSON.stringify(camera),
  });
  expect(answered.status).toBe(200);
}

const get = (path: string, init: RequestInit = {}) =>
  fetch(`${server.url}/hls/${path}`, { ...init, signal: AbortSignal.timeout(30_000) });

/** In hls.js: close to live, each frame with its name, also when the camera has come back. `meanwhile`: what happens once it plays, and is to be seen. */
async function expectPlayed(
  name: string,
  channel = 'raw',
  meanwhile?: (videoWidth: () => Promise<number>) => Promise<void>,
): Promise<void> {
  const page: Page = await browser!.newPage();
  await serveHlsPage(page);
  await page.goto(`${server.url}/test/player.html?source=${encodeURIComponent(`/hls/${name}/${channel}/index.m3u8`)}`);
  const ask = <T>(expression: string) => page.evaluate(`(${expression})`) as Promise<T>;
  const shown = () => ask<number>('window.page.frames.length');
  await eventually(shown).toBeGreaterThan(40);
  await eventually(() => ask<number>('window.page.hls.latency')).toBeLessThan(BEHIND_S_MAX);
  await meanwhile?.(() => ask<number>("document.querySelector('video').videoWidth"));
  rtsp.camera(name).closeClients();
  const epochs = async () =>
    new Set((await ask<HlsPicture[]>('window.page.frames')).map((frame) => frame.name?.epoch)).size;
  await eventually(epochs).toBeGreaterThan(1);
  const before = await shown();
  await eventually(shown).toBeGreaterThan(before + 25);
  await eventually(() => ask<number>('window.page.hls.latency')).toBeLessThan(BEHIND_S_MAX);
  const frames = await ask<HlsPicture[]>('window.page.frames');
  const errors = await ask<{ fatal: boolean }[]>('window.page.errors');
  expect(errors.filter(({ fatal }) => fatal)).toEqual([]);
  expect(frames.filter((frame) => frame.name === undefined || frame.number === undefined)).toEqual([]);
  // A connection begins anywhere in the clip, and has all that follows: so there is one place that explains all of its names.
  const { frames: coded } = rtsp.camera(name).clip;
  for (const shownThen of Map.groupBy(frames, (frame) => frame.name!.epoch).values()) {
    const places = Array.from(coded.keys()).filter((place) =>
      shownThen.every((frame) => coded[(place + frame.name!.seq) % FRAMES]!.order === frame.number),
    );
    expect(places).toHaveLength(1);
  }
  // And by the camera's own clock: it has sent that number then. B-frames come later than they are shown.
  const timed = name === 'gate' ? frames.filter((frame) => frame.name!.clock === 'camera') : [];
  if (name === 'gate') expect(timed.length).toBeGreaterThan(frames.length / 2);
  for (const { name: told, number } of timed) {
    const at = sent[name]!.filter((one) => Math.abs(one.captureTimeMs! - told!.capture_time) < INTERVAL_MS / 3);
    expect(at.map((one) => one.number)).toEqual([number]);
  }
  await page.close();
}

// B-frames are shown in another order than they come.
test.skipIf(CHROMIUM === undefined)('hls.js plays cameras close to live, each frame with its name', () =>
  Promise.all(['gate', 'yard'].map((name) => expectPlayed(name))),
);

test.skipIf(CHROMIUM === undefined)(
  'and what the server has drawn on, also when that becomes smaller, and large again',
  () => expectPlayed('hall', 'annotated', (videoWidth) => expectOtherSizes(server.url, videoWidth)),
);

/** As FFmpeg decodes them. */
async function numbersOf(name: string, count: number): Promise<number[]> {
  const numbers: number[] = [];
  await using demuxer = await Demuxer.open(`${server.url}/hls/${name}/raw/index.m3u8`);
  const stream = demuxer.video()!;
  using decoder = await Decoder.create(stream, { context: { threadCount: 1 } });
  for await (const frame of decoder.frames(demuxer.packets(stream.index))) {
    if (!frame) break;
    const { width, height } = frame;
    numbers.push(readNumber({ data: frame.toBuffer(), width, height, pixelBytes: 1 })!);
    frame.free();
    if (numbers.length === count) break;
  }
  return numbers;
}

test('FFmpeg plays cameras of both codecs, frame after frame, and has nothing to say', async () => {
  const said: string[] = [];
  Log.setLevel(AV_LOG_WARNING);
  Log.setCallback((level, message) => {
    // It reads the header again with each playlist, whose server ever it is.
    if (level <= AV_LOG_WARNING && !message.includes('duplicated MOOV Atom')) said.push(message);
  });
  try {
    for (const numbers of await Promise.all(['hall', 'attic'].map((name) => numbersOf(name, 75)))) {
      expect(numbers).toEqual(Array.from({ length: 75 }, (_, i) => (numbers[0]! + i) % FRAMES));
    }
  } finally {
    Log.resetCallback();
    Log.setLevel(AV_LOG_QUIET);
  }
  expect(said).toEqual([]);
});

test('a camera of H.265 is played as hvc1, and one of MJPEG has no such channel', async () => {
  const index = await get('attic/raw/index.m3u8');
  expect([index.status, await index.text()]).toEqual([200, expect.stringMatching(/CODECS="hvc1\.[^"]+"/)]);
  const jpegs = join(folder, 'jpegs.avi');
  await writeClip(jpegs, {
    codec: FF_ENCODER_MJPEG,
    format: 'avi',
    width: 64,
    height: 48,
    frames: 25,
    pixelFormat: AV_PIX_FMT_YUVJ420P,
  });
  await put('porch', { url: jpegs, pipelines: [] });
  const codeOf = async () => {
    const answered = await get('porch/raw/index.m3u8');
    return answered.ok ? undefined : ((await answered.json()) as { error: { code: string } }).error.code;
  };
  // Also where somebody waited before the server knew of its codec.
  expect(await codeOf()).toBe('CHANNEL_UNAVAILABLE');
  expect(await codeOf()).toBe('CHANNEL_UNAVAILABLE');
});

test('whoever waits when the server ends is told so', async () => {
  const text = await (await get('gate/raw/media.m3u8')).text();
  const msn = Number(/MEDIA-SEQUENCE:(\d+)/.exec(text)![1]) + (text.match(/#EXTINF/g) ?? []).length;
  // The segment after the next: no part of it comes at once.
  const waiting = get(`gate/raw/media.m3u8?_HLS_msn=${msn + 1}`);
  const waits = async () =>
    /^sightline_hls_requests_waiting (\d+)$/m.exec(await (await fetch(`${server.url}/metrics`)).text())?.[1];
  await eventually(waits, 5).toBe('1');
  const stopped = server.stop();
  const answered = await waiting;
  expect([answered.status, ((await answered.json()) as { error: { code: string } }).error.code]).toEqual([
    503,
    'SHUTTING_DOWN',
  ]);
  expect(await stopped).toBe(0);
});
