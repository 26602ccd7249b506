import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { connectVideo } from '../../src/client/video.ts';
import { HAND_COLOURS } from '../../src/base/hand.ts';
import { createSightline, type Sightline } from '../../src/index.ts';
import { decodeJpeg, encodeJpeg, readJpegHeader, type RgbPicture } from '../../src/media/jpeg.ts';
import { decodeBinaryFrame } from '../../src/protocol/video-codec.ts';
import { openVideo } from '../../src/sources/file.ts';
import { eventually, openPage, text } from '../support/browser.ts';
import { CHROMIUM, launchBrowser } from '../support/chromium.ts';
import { sharedFile } from '../support/pictures.ts';
import { ALL_WORKERS, ServerProcess } from '../support/server-process.ts';

/** The page in a real browser, before a real server with a real model. */

const BOOK = sharedFile('media/asl/book.mkv');
const CARS = sharedFile('media/car-detection.mp4');
const NUMBER_BITS = 12;
const PATTERN = { width: 384, height: 216, frames: 150 };

let folder: string;
const open: { close(): Promise<unknown> }[] = [];
/** By what their webcam shows. Each page is in a context of its own, so that tests share nothing but the program. */
const browsers = new Map<string, Promise<Browser>>();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-page-'));
});
afterAll(async () => {
  for (const browser of browsers.values()) await (await browser).close();
  await rm(folder, { recursive: true, force: true });
});
afterEach(async () => {
  for (const browser of browsers.values()) for (const context of (await browser).contexts()) await context.close();
  for (const one of open.splice(0).toReversed()) await one.close();
});

async function startServer(settings: Record<string, unknown> = {}): Promise<Sightline> {
  const app = await createSightline({ env: process.env, settings: { 'server.port': 0, ...settings } });
  open.push(app);
  // On a busy machine with an empty cache its models take a while, and the page looks for a demo camera until then.
  const status = async () => ((await (await fetch(`${app.url}/health`)).json()) as { status: string }).status;
  await expect.poll(status, { timeout: 100_000 }).not.toBe('starting');
  return app;
}

/** What a webcam may show. */
const CLIPS = {
  none: undefined,
  numbers: () => writeMjpeg('numbers.mjpeg', numberedPictures()),
  cars: () => writeMjpeg('cars.mjpeg', firstFrames(CARS!, 120)),
  book: () => writeMjpeg('book.mjpeg', firstFrames(BOOK!, 100)),
};

/** A browser without a webcam; with a clip, one whose webcam shows it and is given to every page. Its pages end with the test. */
async function startBrowser(webcam: keyof typeof CLIPS = 'none'): Promise<Browser> {
  let browser = browsers.get(webcam);
  if (!browser) browsers.set(webcam, (browser = launchWithWebcam(CLIPS[webcam])));
  return await browser;
}

async function launchWithWebcam(clip: (() => Promise<string>) | undefined): Promise<Browser> {
  if (!clip) return launchBrowser();
  return launchBrowser([
    '--use-fake-device-for-media-stream',
    '--use-fake-ui-for-media-stream',
    `--use-file-for-fake-video-capture=${await clip()}`,
  ]);
}

async function numberIn(page: Page, id: string): Promise<number> {
  return Number((await text(page, id)).replaceAll(/[^\d.]/g, ''));
}

/** The figures of the bar as they stand, all of one moment; ms. */
function readLatency(page: Page): Promise<{ total: number; stages: number[] }> {
  return page.evaluate(`({
    total: parseFloat(document.getElementById('total').textContent),
    stages: document.getElementById('bar').ariaLabel.split(', ').map((stage) => parseFloat(stage.replace(/^\\D+/, ''))),
  })`);
}

/** What is drawn now, and of which frame; both in one turn of the page. */
function readCanvas(page: Page): Promise<{ seq: number; width: number; height: number; pixels: number[] }> {
  return page.evaluate(`(() => {
    const canvas = document.getElementById('canvas');
    const { width, height } = canvas;
    const row = canvas.getContext('2d').getImageData(0, Math.round(height * 0.5), width, 1).data;
    return { seq: Number(canvas.dataset.seq ?? 0), width, height, pixels: [...row] };
  })()`);
}

/** Does the canvas show lines in this colour, as only boxes have? `rgb` from 0 to 255. */
function hasColour(page: Page, rgb: readonly [number, number, number]): Promise<boolean> {
  return page.evaluate(`(() => {
    const canvas = document.getElementById('canvas');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let i = 0; i < data.length; i += 4) {
      if (data[i] === ${rgb[0]} && data[i + 1] === ${rgb[1]} && data[i + 2] === ${rgb[2]}) count++;
    }
    return count > 200;
  })()`);
}

/** A picture that carries a number: stripes, the leftmost for the lowest bit, white for 1. */
function numbered(n: number): RgbPicture {
  const { width, height } = PATTERN;
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const bit = Math.floor((x * NUMBER_BITS) / width);
      data.fill((n >> bit) & 1 ? 235 : 16, (y * width + x) * 3, (y * width + x) * 3 + 3);
    }
  }
  return { data, width, height };
}

/** The number of a picture from one of its rows, `step` values a pixel. */
function readNumber(row: ArrayLike<number>, step: number): number {
  const width = row.length / step;
  let n = 0;
  for (let bit = 0; bit < NUMBER_BITS; bit++) {
    const value = row[Math.floor(((bit + 0.5) * width) / NUMBER_BITS) * step]!;
    if (value > 128) n |= 1 << bit;
  }
  return n;
}

function readJpegNumber(jpeg: Uint8Array): number {
  const { width, height } = readJpegHeader(jpeg);
  const { data } = decodeJpeg(jpeg, new Uint8Array(width * height * 3));
  const from = Math.round(height / 2) * width * 3;
  return readNumber(data.subarray(from, from + width * 3), 3);
}

async function writeMjpeg(name: string, pictures: AsyncIterable<RgbPicture> | Iterable<RgbPicture>): Promise<string> {
  const jpegs: Uint8Array[] = [];
  for await (const picture of pictures) jpegs.push(encodeJpeg(picture, 85));
  const path = join(folder, name);
  await writeFile(path, Buffer.concat(jpegs));
  return path;
}

function* numberedPictures(): Generator<RgbPicture> {
  for (let n = 1; n <= PATTERN.frames; n++) yield numbered(n);
}

async function* firstFrames(path: string, count: number): AsyncGenerator<RgbPicture> {
  await using video = await openVideo(path);
  for await (const frame of video) {
    yield frame;
    if (frame.index + 1 >= count) return;
  }
}

describe.skipIf(!CHROMIUM)('the page (needs Chromium)', () => {
  test('shows the demo camera with its boxes at once, and what each stage took', async () => {
    await using server = await ServerProcess.start(['demo'], ALL_WORKERS);
    const { page, faults } = await openPage(await startBrowser(), server.url);
    await page.locator('#objects li', { hasText: 'Car' }).waitFor();
    expect(await page.getByRole('radio', { name: 'Demo camera' }).isChecked()).toBe(true);
    await eventually(() => hasColour(page, [0xe6, 0x9f, 0x00])).toBe(true);
    await eventually(() => numberIn(page, 'fps')).toBeGreaterThan(3);
    await eventually(() => text(page, 'status')).toBe('Live');
    expect(await text(page, 'model')).toBe('ssd-oidv4');
    // It begins here and moves by what the server and the way to it can do.
    expect(await text(page, 'grant')).toMatch(/^[\d.]+ frames\/s, \d+ × \d+, JPEG \d+$/);
    await eventually(() => text(page, 'encoding')).toContain('in a worker');
    const { total, stages } = await readLatency(page);
    expect(stages).toHaveLength(8);
    // Each figure is rounded, by half a millisecond at most.
    expect(Math.abs(stages.reduce((sum, ms) => sum + ms) - total)).toBeLessThanOrEqual(4);
    expect(await page.locator('#bar').getAttribute('aria-label')).toMatch(
      /^Encode .* ms, Transmit .* ms, Queue .* Return .* ms$/,
    );
    expect(await page.locator('#canvas').getAttribute('aria-label')).toContain('Car');
    expect(await page.locator('#stages > div').allInnerTexts()).toContainEqual(
      expect.stringMatching(/^Inference\s+[\d.]+\s+[\d.]+$/),
    );
    expect(await text(page, 'budget')).toBe('75');
    await eventually(() => page.locator('#plot-latency').getAttribute('data-points').then(Number)).toBeGreaterThan(8);

    // A busy machine may have come down to 416 pixels by itself.
    await page.getByRole('combobox', { name: 'Quality' }).selectOption('high');
    await eventually(() => text(page, 'grant')).toContain('JPEG 75');
    await page.getByRole('combobox', { name: 'Quality' }).selectOption('low');
    await eventually(() => text(page, 'grant')).toContain('416 × 312, JPEG 40');
    await eventually(() => text(page, 'picture')).toBe('416 × 234');
    expect(await text(page, 'changes')).toMatch(/→ 416 px/);
    await page.getByRole('combobox', { name: 'Quality' }).selectOption('Automatic');
    await eventually(() => text(page, 'reason')).not.toBe('You fixed it');

    await page.getByRole('slider', { name: 'Confidence' }).fill('0.9');
    await eventually(() => text(page, 'confidence-text')).toBe('from 90 %');

    await page.getByRole('button', { name: 'Pause' }).click();
    await eventually(() => text(page, 'status')).toBe('Paused');
    await page.getByRole('button', { name: 'Go on' }).click();
    await eventually(() => text(page, 'status')).toBe('Live');
    expect(faults).toEqual([]);
  });

  test.each(['in a worker', 'in the page'])(
    'draws each result onto the very frame that it belongs to, encoded %s',
    async (where) => {
      const app = await startServer({ 'detection.confidence_threshold': 0.99 });
      const browser = await startBrowser('numbers');
      const page = await browser.newPage();
      if (where === 'in the page') await page.route('**/encoding-worker*', (route) => route.abort());
      const sent = new Map<number, number>();
      page.on('websocket', (socket) =>
        socket.on('framesent', ({ payload }) => {
          if (typeof payload === 'string') return;
          const frame = decodeBinaryFrame(payload);
          if (frame.type === 'frame') sent.set(frame.seq!, readJpegNumber(frame.jpeg));
        }),
      );
      await page.goto(app.url);
      await page.getByRole('button', { name: 'Use my webcam' }).click();
      await eventually(() => text(page, 'encoding')).toContain(where);
      const drawn = new Map<number, number>();
      await eventually(async () => {
        const { seq, pixels } = await readCanvas(page);
        if (seq > 0 && sent.has(seq)) drawn.set(seq, readNumber(pixels, 4));
        return drawn.size;
      }, 20).toBeGreaterThanOrEqual(25);
      for (const [seq, n] of drawn) expect({ seq, n }).toEqual({ seq, n: sent.get(seq) });
      // A pattern that stood still would prove nothing.
      expect(new Set(drawn.values()).size).toBeGreaterThan(10);
    },
  );

  test.skipIf(!CARS)('finds the cars that a webcam sees (needs ../shared/media/car-detection.mp4)', async () => {
    const app = await startServer({ 'detection.confidence_threshold': 0.4 });
    const browser = await startBrowser('cars');
    const { page, faults } = await openPage(browser, app.url);
    await page.getByRole('button', { name: 'Use my webcam' }).click();
    await page.locator('#objects li', { hasText: /Car|Vehicle/ }).waitFor();
    expect(await page.getByRole('radio', { name: 'Use my webcam' }).isChecked()).toBe(true);
    // There is no demo camera here, which is no fault of the page's.
    expect(faults.filter((fault) => !fault.includes('404'))).toEqual([]);
  });

  test.skipIf(!BOOK)('draws the hands of somebody who signs (needs ../shared/media/asl/book.mkv)', async () => {
    const app = await startServer({ 'performance.target_latency_ms': 1_000 });
    const browser = await startBrowser('book');
    const { page, faults } = await openPage(browser, app.url);
    await page.getByRole('radio', { name: 'Hands' }).check();
    expect(await page.locator('#confidence-field').isVisible()).toBe(false);
    await page.getByRole('button', { name: 'Use my webcam' }).click();
    await page.locator('#objects li', { hasText: /(left|right) hand/ }).waitFor();
    expect(await text(page, 'model')).toBe('hand-lite');
    // Its lines, in the colour of either hand.
    await eventually(
      async () => (await hasColour(page, HAND_COLOURS.left)) || (await hasColour(page, HAND_COLOURS.right)),
    ).toBe(true);
    await page.getByRole('radio', { name: 'Both' }).check();
    await eventually(() => text(page, 'model')).toBe('ssd-oidv4, hand-lite');
    await page.locator('#objects li', { hasText: 'Person' }).waitFor();
    await page.locator('#objects li', { hasText: /hand/ }).waitFor();
    expect(faults.filter((fault) => !fault.includes('404'))).toEqual([]);
  });

  test('says so when the webcam is denied', async () => {
    const app = await startServer();
    const { page } = await openPage(await startBrowser(), app.url);
    await eventually(() => text(page, 'notice-title')).toBe('Point a camera at something');
    expect(await page.getByRole('radio', { name: 'Demo camera' }).isDisabled()).toBe(true);
    await page.getByRole('button', { name: 'Use my webcam' }).click();
    await eventually(() => text(page, 'notice-title')).toBe('No picture from this camera');
    expect(await text(page, 'notice-text')).toMatch(/not allowed to use the webcam|No webcam was found/);
    expect(await text(page, 'status')).toBe('No camera');
    expect(await page.getByRole('button', { name: 'Try again' }).isVisible()).toBe(true);
  });

  test('says so when the server refuses the session', async () => {
    const app = await startServer();
    const browser = await startBrowser('numbers');
    const { page } = await openPage(browser, `${app.url}/?model=no-such-model`);
    await page.getByRole('button', { name: 'Use my webcam' }).click();
    await eventually(() => text(page, 'notice-code')).toBe('MODEL_UNKNOWN');
    expect(await text(page, 'notice-text')).toContain('no-such-model');
  });

  test('tells drops and their cause', async () => {
    // One worker, a budget that leaves no time to wait for it, and no adaptation that would spare the page's frames.
    const app = await startServer({
      'performance.adaptive_quality': false,
      'streaming.max_fps': 60,
      'streaming.default_fps': 60,
      'inference.workers': 1,
    });
    // Other clients keep the worker busy, so that the page's frames have to wait.
    const jpeg = encodeJpeg(numbered(0), 85);
    const others = await Promise.all(Array.from({ length: 6 }, () => connectVideo({ url: app.url })));
    open.push(...others);
    const keptBusy = others.map(async (other) => {
      while (await other.ready()) other.send({ jpeg });
    });
    const browser = await startBrowser('numbers');
    const { page } = await openPage(browser, `${app.url}/?budget_ms=1`);
    await page.getByRole('button', { name: 'Use my webcam' }).click();
    await eventually(() => numberIn(page, 'drops')).toBeGreaterThan(2);
    expect(await text(page, 'causes')).toMatch(/too old for a worker|a newer one was waiting/);
    expect(await text(page, 'budget')).toBe('1.0');
    await Promise.all(others.map((other) => other.close()));
    await Promise.all(keptBusy);
  });

  test('finds the demo camera of a server that had started between two of its questions', async () => {
    await using server = await ServerProcess.start(['demo']);
    const browser = await startBrowser();
    const page = await browser.newPage();
    // The first question is answered by a server that starts, whichever it is.
    let questions = 0;
    await page.route(/\/health$|\/demo\/camera\.mp4$/, async (route) => {
      questions++;
      if (questions > 1) return route.continue();
      if (route.request().method() === 'HEAD') return route.fulfill({ status: 404 });
      const response = await route.fetch();
      return route.fulfill({ response, json: { ...(await response.json()), status: 'starting' } });
    });
    await page.goto(server.url);
    await eventually(() => text(page, 'status')).toBe('Live');
    expect(questions).toBeGreaterThan(1);
  });

  test('says what is wrong, and no more when it is well', async () => {
    const over = { 'alerts.memory_warning_percent': 1, 'alerts.memory_critical_percent': 1 };
    const { url } = await startServer({ ...over, 'alerts.for_s': 0, 'alerts.clear_s': 0 });
    const { page } = await openPage(await startBrowser(), url);
    await eventually(() => text(page, 'alerts-list')).toMatch(
      /^Critical\s+The server's resident memory is [^]*minute$/,
    );
    const settings = { 'alerts.memory_warning_percent': 100, 'alerts.memory_critical_percent': 100 };
    const headers = { 'Content-Type': 'application/json' };
    await fetch(`${url}/api/config`, { method: 'PUT', headers, body: JSON.stringify({ settings }) });
    await expect.poll(() => page.locator('#alerts').isVisible()).toBe(false);
  });

  test('goes on by itself when the server comes back', async () => {
    const first = await startServer();
    const port = Number(new URL(first.url).port);
    const browser = await startBrowser('numbers');
    const { page } = await openPage(browser, first.url);
    await page.getByRole('button', { name: 'Use my webcam' }).click();
    await eventually(() => text(page, 'status')).toBe('Live');
    const before = (await readCanvas(page)).seq;
    await first.close();
    await eventually(() => text(page, 'status')).toBe('Reconnecting');
    expect(await text(page, 'notice-title')).toBe('The server is gone');
    expect(await text(page, 'notice-code')).toMatch(/SHUTTING_DOWN|CONNECTION_LOST/);
    await startServer({ 'server.port': port });
    await eventually(() => text(page, 'status')).toBe('Live');
    expect(await page.locator('#notice').isVisible()).toBe(false);
    await eventually(async () => (await readCanvas(page)).seq).toBeGreaterThan(before);
  });
});
