import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { expectOtherSizes } from '../support/annotated-sizes.ts';
import { eventually, openPage, text } from '../support/browser.ts';
import { CHROMIUM, launchBrowser } from '../support/chromium.ts';
import { numberedClip, type CodedClip } from '../support/coded-clip.ts';
import { readNumber } from '../support/picture-number.ts';
import { RtspServer } from '../support/rtsp-server.ts';
import { ServerProcess } from '../support/server-process.ts';

/** The wall and the page of one camera in a real browser: the real command, real RTSP, pictures that carry their numbers. */

const RATE_FPS = 12.5;
const FRAMES = 200;
const SECRET = 'open-sesame';

/** In the page: the brightness of the cells in which the picture of a canvas carries its number. */
const CELLS = `(canvas) => {
  const { width, height } = canvas;
  const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
  return Array.from({ length: 32 }, (_, cell) => {
    const x = Math.floor((((cell % 16) + 0.5) * width) / 16);
    const y = Math.floor(((Math.floor(cell / 16) + 0.5) * height) / 10);
    return data[4 * (y * width + x)];
  });
}`;

/** In the page: notes each picture that a canvas gets from now on together with the name of its frame. */
const WATCH = `(selector) => {
  const canvas = document.querySelector(selector);
  const seen = (window.seen ??= {})[selector] = [];
  new MutationObserver(() => {
    const { frame } = canvas.dataset;
    if (frame) seen.push({ frame, cells: (${CELLS})(canvas) });
  }).observe(canvas, { attributeFilter: ['data-frame'] });
}`;

/** In the page: a still as the server gives it. */
const STILL = `async (id) => {
  const response = await fetch('cameras/' + id + '/still.jpg?width=320');
  const bitmap = await createImageBitmap(await response.blob());
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext('2d').drawImage(bitmap, 0, 0);
  const frame = response.headers.get('sightline-frame').replace(id + '/', '');
  return { frame, cells: (${CELLS})(canvas) };
}`;

interface SeenPicture {
  /** Epoch and number, as the page has it. */
  readonly frame: string;
  readonly cells: readonly number[];
}

describe.skipIf(!CHROMIUM)('the pages of cameras', () => {
  let folder: string;
  let clip: CodedClip;
  let hevc: CodedClip;
  let rtsp: RtspServer;
  let server: ServerProcess;
  let browser: Browser;
  const pages: Page[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sightline-cameras-page-'));
    [clip, hevc, browser] = await Promise.all([
      numberedClip({ frames: FRAMES, keyEvery: 12 }),
      numberedClip({ frames: FRAMES, keyEvery: 12, codec: 'hevc' }),
      launchBrowser(['--allow-loopback-in-peer-connection']),
    ]);
    const options = { clip, rateFps: RATE_FPS };
    rtsp = await RtspServer.open({
      cameras: {
        north: options,
        yard: options,
        east: { ...options, clip: hevc },
        spare: { ...options, credentials: { scheme: 'digest', user: 'me', password: SECRET } },
      },
    });
    const lines = [
      'cameras:',
      `  north: { url: "${rtsp.url('north')}" }`,
      `  yard: { url: "${rtsp.url('yard')}", pipelines: [] }`,
      '  gate: { url: "rtsp://127.0.0.1:1/gate" }',
    ];
    const file = join(folder, 'sightline.yaml');
    writeFileSync(file, lines.join('\n'));
    server = await ServerProcess.start([
      '--config',
      file,
      '--set',
      'fleet.processes=1',
      '--set',
      'fleet.transcodes_max=1',
      '--set',
      'fleet.annotated_max=1',
      '--set',
      `archive.folder=${join(folder, 'kept')}`,
      'serve',
    ]);
  });
  afterAll(async () => {
    await browser?.close();
    await server?.stop();
    await rtsp?.close();
    rmSync(folder, { recursive: true, force: true });
  });
  afterEach(async () => {
    for (const page of pages.splice(0)) await page.context().close();
  });

  async function open(path: string): Promise<{ page: Page; faults: string[] }> {
    const opened = await openPage(browser, `${server.url}/${path}`);
    pages.push(opened.page);
    return opened;
  }

  const tile = (page: Page, id: string): Locator => page.locator(`.tile[data-id=${id}]`);
  const stateOf = (page: Page, id: string): Promise<string> => tile(page, id).locator('.state').innerText();

  /** A still that a camera has not yet is no fault of the page, but the browser notes it. */
  function expectNoFaults(faults: readonly string[]): void {
    expect(faults.filter((fault) => !fault.includes('503'))).toEqual([]);
  }

  async function expectNoOverflow(page: Page): Promise<void> {
    await page.setViewportSize({ width: 360, height: 740 });
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360);
    await page.setViewportSize({ width: 1440, height: 900 });
  }

  /** Pictures that play, with what was found in them, and stills have the names of their very frames. */
  async function expectTrueNames(page: Page, id: string, hasCanvas = true): Promise<void> {
    const selectors = hasCanvas ? ['#stage canvas', '#found-picture'] : ['#found-picture'];
    if (hasCanvas) await page.locator('#stage canvas').waitFor();
    for (const selector of selectors) {
      await page.evaluate(`(${WATCH})(${JSON.stringify(selector)})`);
    }
    const seen = (selector: string) => page.evaluate<SeenPicture[]>(`window.seen[${JSON.stringify(selector)}]`);
    await eventually(async () => (await seen('#found-picture')).length).toBeGreaterThanOrEqual(8);
    const video = () => page.evaluate<number>('document.querySelector("#stage video").currentTime');
    const before = await video();
    await eventually(video).toBeGreaterThan(before);
    const still = await page.evaluate<SeenPicture>(`(${STILL})(${JSON.stringify(id)})`);
    const pictures = [still, ...(await Promise.all(selectors.map(seen))).flat()];
    // From the number in a picture to that of its frame it is the same way for all frames of an epoch.
    const offsets = pictures.flatMap(({ frame, cells }) => {
      const number = readNumber({ data: Uint8Array.from(cells), width: 16, height: 10, pixelBytes: 1 });
      // Boxes may lie over the number.
      if (number === undefined) return [];
      const [epoch, seq] = frame.split('/').map(Number) as [number, number];
      return `${epoch}: ${(((number - seq) % FRAMES) + FRAMES) % FRAMES}`;
    });
    expect(offsets.length).toBeGreaterThanOrEqual(8);
    expect([...new Set(offsets)]).toHaveLength(1);
  }

  async function addCamera(id: string, settings: object): Promise<void> {
    const body = JSON.stringify(settings);
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${server.url}/api/cameras/${id}`, { method: 'PUT', headers, body });
    expect(response.ok).toBe(true);
  }

  /** The page goes on through them. */
  async function expectSizesShown(page: Page): Promise<void> {
    await expectOtherSizes(server.url, () => page.evaluate('document.querySelector("#stage video").videoWidth'));
    const line = await text(page, 'frame-line');
    await eventually(() => text(page, 'frame-line')).not.toBe(line);
  }

  test('the wall has stills and states, says why one is away, and finds what is looked for', async () => {
    const { page, faults } = await open('wall.html');
    await eventually(() => stateOf(page, 'north')).toMatch(/^live · 1\d\.\d fps$/);
    await eventually(() => stateOf(page, 'gate')).toMatch(/^failed: .+ · trying again (now|in \d+ s)$/);
    const still = () => tile(page, 'north').getAttribute('data-still');
    await eventually(still).not.toBeNull();
    const first = await still();
    expect(await tile(page, 'north').locator('img').isVisible()).toBe(true);
    await eventually(() => tile(page, 'north').locator('.objects-count').innerText()).toMatch(/^\d+ objects?$/);
    expect(await tile(page, 'gate').locator('.note').innerText()).toBe('No picture');
    await eventually(() => text(page, 'status')).toBe('2 of 3 live');
    expect([await text(page, 'count-all'), await text(page, 'count-live'), await text(page, 'count-trouble')]).toEqual([
      '3',
      '2',
      '1',
    ]);
    await page.check('input[value=trouble]', { force: true });
    expect(await page.locator('.tile:visible').count()).toBe(1);
    await page.check('input[value=all]', { force: true });
    await page.fill('#search', 'yar');
    expect(await page.locator('.tile:visible b').allInnerTexts()).toEqual(['yard']);
    await page.fill('#search', 'tunnel');
    expect(await text(page, 'empty-title')).toContain('tunnel');
    await page.getByRole('button', { name: 'Show all' }).click();
    expect(await page.locator('.tile:visible').count()).toBe(3);
    await expectNoOverflow(page);
    // Meanwhile there is another still, by its frame.
    await eventually(still).not.toBe(first);
    const drawn = page.waitForResponse(
      (response) => response.url().includes('north/still.jpg') && response.headers()['sightline-boxes'] === 'own',
    );
    await page.check('input[value=always]', { force: true });
    expect((await drawn).url()).toContain('channel=annotated');
    expect(page.url()).toContain('boxes=always');
    await page.reload();
    expect(await page.isChecked('input[value=always]')).toBe(true);
    expectNoFaults(faults);
  });

  test('a camera is live on its tile by the keyboard, and one that dies is told', async () => {
    const { page, faults } = await open('wall.html');
    await eventually(() => stateOf(page, 'yard')).toMatch(/^live/);
    await page.locator('#search').focus();
    const focused = () => page.evaluate("document.activeElement.closest('.tile')?.dataset.id");
    while ((await focused()) !== 'yard') await page.keyboard.press('Tab');
    await eventually(() => tile(page, 'yard').getAttribute('data-live')).toBe('true');
    expect(await tile(page, 'yard').locator('video').isVisible()).toBe(true);
    await page.locator('#search').focus();
    await eventually(() => tile(page, 'yard').locator('video').count()).toBe(0);

    rtsp.camera('yard').mode = 'not_found';
    rtsp.camera('yard').closeClients();
    await eventually(() => stateOf(page, 'yard')).toMatch(/^failed: .+/);
    expect(await tile(page, 'yard').getAttribute('data-trouble')).toBe('true');
    await eventually(() => text(page, 'count-trouble')).toBe('2');
    expect(await stateOf(page, 'north')).toMatch(/^live/);
    rtsp.camera('yard').mode = 'play';
    expectNoFaults(faults);
  });

  test('one camera plays its own frames, and what was found is on the very frame in which it was', async () => {
    const { page, faults } = await open('camera.html?id=north');
    await expectTrueNames(page, 'north');
    await eventually(() => text(page, 'latency')).toMatch(/^\d+(\.\d)?$/);
    expect(await page.locator('#fall-shown dt').allInnerTexts()).toEqual([
      expect.stringMatching(/^(Camera|Server) to page$/),
      'Player',
    ]);
    expect(await page.locator('#fall-found dt').allInnerTexts()).toContain('Inference');
    expect(await page.locator('#facts').innerText()).toMatch(/H\.264 \(avc1\.\w+\)\s+Size\s+320 × 180/);
    expect(await page.locator('#facts').innerText()).not.toContain(SECRET);
    for (const channel of ['raw', 'annotated']) {
      const address = `${server.url}/hls/north/${channel}/index.m3u8`;
      expect(await page.locator(`#hls-${channel}`).innerText()).toBe(address);
    }
    await eventually(() => page.locator('#events li').first().innerText()).toMatch(/^\d\d:\d\d:\d\d\s+\S/);
    await expectNoOverflow(page);
    expectNoFaults(faults);
  });

  test('the server draws what was found: frames keep their names, and the page tells what is on them; beyond the last place the page draws', async () => {
    const { page, faults } = await open('camera.html?id=north');
    await eventually(() => page.locator('#stage').getAttribute('data-kind')).toBe('raw');
    await eventually(() => text(page, 'frame-line')).toMatch(/^Frame \d+/);
    await page.selectOption('#channel', 'annotated');
    await eventually(() => page.locator('#stage').getAttribute('data-kind')).toBe('annotated');
    await expectTrueNames(page, 'north', false);
    await expectSizesShown(page);
    // How many are predicted is up to the machine: a fast one has results of its own for all of them.
    await eventually(() => text(page, 'boxes-line')).toBe('Boxes of this frame');
    const annotating = async (id: string) =>
      ((await (await fetch(`${server.url}/api/cameras/${id}`)).json()) as { annotating: boolean }).annotating;
    expect([await annotating('north'), await annotating('yard')]).toEqual([true, false]);
    expect(await text(page, 'stills-line')).toBe('Drawn and encoded on the server.');
    await expectNoOverflow(page);
    const yard = await open('camera.html?id=yard');
    await eventually(() => text(yard.page, 'frame-line')).toMatch(/^Frame \d+/);
    await yard.page.selectOption('#channel', 'annotated');
    await eventually(() => yard.page.locator('#events').innerText()).toMatch(
      /cannot be drawn on: the server does that for 1/,
    );
    await eventually(() => yard.page.locator('#stage').getAttribute('data-kind')).toBe('raw');
    expect(await yard.page.inputValue('#channel')).toBe('raw');
    // Side by side with the camera's own, frame by frame.
    await page.selectOption('#channel', 'both');
    await eventually(() => text(page, 'beside-boxes')).toBe('Boxes of this frame');
    await eventually(() => page.locator('#stage').getAttribute('data-kind')).toBe('raw');
    await eventually(() => text(page, 'frame-line')).toMatch(/^Frame \d+/);
    expect(await text(page, 'beside-frame')).toMatch(/^Frame \d+$/);
    await expectNoOverflow(page);
    // And where nobody watches that any more, it ends.
    await page.selectOption('#channel', 'raw');
    await eventually(() => page.locator('#stage').getAttribute('data-kind')).toBe('raw');
    await eventually(() => annotating('north')).toBe(false);
    for (const one of [faults, yard.faults]) expectNoFaults(one);
  });

  test('it plays by WebRTC as well, each frame by its name; where that cannot be had it says why, and plays on', async () => {
    const { page, faults } = await open('camera.html?id=north');
    const wayOf = () => page.locator('#stage').getAttribute('data-way');
    await eventually(() => text(page, 'frame-line')).toMatch(/^Frame \d+/);
    expect(await wayOf()).toBe('socket');
    await page.selectOption('#way', 'webrtc');
    expect(await wayOf()).toBe('webrtc');
    await expectTrueNames(page, 'north');
    await eventually(() => text(page, 'latency')).toMatch(/^\d+(\.\d)?$/);
    await eventually(() => text(page, 'latency-spread')).toContain('95 % within');
    expect(await page.locator('#fall-shown dt').allInnerTexts()).toContain('Player');
    expect(await page.evaluate('document.querySelector("#stage video").srcObject instanceof MediaStream')).toBe(true);
    expect(await text(page, 'way-line')).toBe('');
    const sessions = async () =>
      /^sightline_webrtc_sessions\{state="connected"\} (\d+)/m.exec(
        await (await fetch(`${server.url}/metrics`)).text(),
      )?.[1];
    expect(await sessions()).toBe('1');
    // What the server draws comes by the same way.
    await page.selectOption('#channel', 'annotated');
    await eventually(() => text(page, 'boxes-line')).toBe('Boxes of this frame');
    await expectSizesShown(page);
    expect(await wayOf()).toBe('webrtc');
    await page.selectOption('#channel', 'raw');
    await page.selectOption('#way', 'socket');
    await eventually(sessions).toBe('0');
    expectNoFaults(faults);

    const refusal = { error: { code: 'WEBRTC_LIMIT_REACHED', message: 'as many sessions as may be are open' } };
    await page.route('**/whep/**', (route) => route.fulfill({ status: 503, json: refusal }));
    await page.selectOption('#way', 'webrtc');
    await eventually(() => text(page, 'way-line')).toBe(
      'No WebRTC: As many sessions as may be are open. It plays by WebSocket instead.',
    );
    expect(await page.inputValue('#way')).toBe('socket');
    await eventually(wayOf).toBe('socket');
    const line = await text(page, 'frame-line');
    await eventually(() => text(page, 'frame-line')).not.toBe(line);
    await expectNoOverflow(page);
  });

  test('what was recorded is on a line of time, plays from a moment of it, and can be saved', async () => {
    const { page, faults } = await open('camera.html?id=north');
    await eventually(() => page.locator('#actions').isVisible()).toBe(true);
    expect(await page.locator('#recorded').isVisible()).toBe(false);
    await page.selectOption('#record', 'continuous');
    await eventually(() => page.locator('#recorded-bars i').count(), 60).toBeGreaterThan(0);
    expect(await text(page, 'recorded-state')).toMatch(/^Recording, [\d.]+ [kM]B since \d\d:\d\d:\d\d$/);
    await page.selectOption('#recorded-hours', '1');
    await page.locator('#recorded-place').fill('0');
    const first = await text(page, 'recorded-moment');
    expect(first).toMatch(/^\d\d:\d\d:\d\d$/);
    await page.click('#recorded-play');
    await eventually(() =>
      page.evaluate<number>(`document.getElementById('recorded-video').currentTime`),
    ).toBeGreaterThan(0.5);
    const saved = await page.evaluate<{ status: number; type: string }>(
      `fetch(document.getElementById('recorded-clip').href).then(({ status, headers }) => ({ status, type: headers.get('content-type') }))`,
    );
    expect(saved).toEqual({ status: 200, type: 'video/mp4' });
    const address = await page.locator('#recorded-annotated').getAttribute('href');
    expect(address).toContain('&channel=annotated');
    const drawn = await fetch(`${server.url}/${address}`);
    expect([drawn.status, (await drawn.arrayBuffer()).byteLength > 10_000]).toEqual([200, true]);
    await page.selectOption('#record', 'off');
    await eventually(() => text(page, 'recorded-state')).toMatch(/^Not recorded, /);
    await expectNoOverflow(page);
    expectNoFaults(faults);
  });

  test('where the browser cannot play the codec there are stills, with what was found in that very frame', async () => {
    const page = await browser.newPage();
    pages.push(page);
    await page.addInitScript('MediaSource.isTypeSupported = () => false');
    await page.goto(`${server.url}/camera.html?id=north`);
    await eventually(() => page.locator('#stage').getAttribute('data-kind')).toBe('stills');
    const line = () => text(page, 'frame-line');
    await eventually(line).toMatch(/^Frame \d+/);
    const first = await line();
    await eventually(line).not.toBe(first);
    expect(await text(page, 'stills-line')).toBe('Stills: this browser does not play H.264.');
    expect(await page.locator('#stage video').count()).toBe(0);
  });

  test('what the browser cannot play is converted, with what was found in that very frame; where there is no place for one more there are stills', async () => {
    await addCamera('east', { url: rtsp.url('east') });
    await addCamera('west', { url: rtsp.url('east'), pipelines: [] });
    const { page, faults } = await open('camera.html?id=east');
    await eventually(() => text(page, 'stills-line')).toBe(
      'Converted on the server: this browser does not play H.265.',
    );
    await expectTrueNames(page, 'east');
    expect(await page.locator('#stage').getAttribute('data-kind')).toBe('raw');
    await eventually(() => text(page, 'latency')).toMatch(/^\d+(\.\d)?$/);

    const west = await open('camera.html?id=west');
    await eventually(() => west.page.locator('#stage').getAttribute('data-kind')).toBe('stills');
    await eventually(() => text(west.page, 'frame-line')).toMatch(/^Frame \d+/);
    expect(await text(west.page, 'stills-line')).toContain('and the server converts no further camera now');
    expect(await text(west.page, 'stills-line')).toContain('This page asks again by itself.');
    const wall = await open('wall.html');
    await eventually(() => stateOf(wall.page, 'west')).toMatch(/^live/);
    const pin = tile(wall.page, 'west').locator('.pin');
    await tile(wall.page, 'west').hover();
    await eventually(() => pin.innerText()).toBe('Stills only');
    // When there is a place again, it is live there.
    await page.close();
    const connections = async () => await (await fetch(`${server.url}/metrics`)).text();
    await eventually(connections).toMatch(/^sightline_camera_view_connections 2(\.0)?$/m);
    await pin.click();
    await eventually(() => tile(wall.page, 'west').getAttribute('data-live')).toBe('true');
    // The page of the camera has asked again by itself.
    await eventually(() => west.page.locator('#stage').getAttribute('data-kind')).toBe('raw');
    await eventually(() => text(west.page, 'stills-line')).toMatch(/^Converted on the server/);
    for (const id of ['east', 'west']) await fetch(`${server.url}/api/cameras/${id}`, { method: 'DELETE' });
    for (const one of [faults, west.faults, wall.faults]) expectNoFaults(one);
  });

  test('a wall whose cameras are being prepared says so', async () => {
    const page = await browser.newPage();
    pages.push(page);
    await page.route('**/api/cameras?*', (route) => route.fulfill({ json: { cameras: [], preparing: true } }));
    await page.goto(`${server.url}/wall.html`);
    await eventually(() => text(page, 'empty-title')).toBe('Demo cameras are being prepared');
    expect(await page.locator('#empty-main').isVisible()).toBe(false);
    await page.unroute('**/api/cameras?*');
    await eventually(() => page.locator('.tile').count()).toBe(3);
    await expectNoOverflow(page);
  });

  test('one is added after a test of its address, changed, turned off, and removed', async () => {
    const { page, faults } = await open('wall.html');
    await eventually(() => page.locator('.tile').count()).toBe(3);
    await page.getByRole('button', { name: 'Add cameras' }).click();
    await page.fill('#add-url', rtsp.url('spare', 'me:wrong'));
    await page.fill('#add-id', 'Spare');
    await page.getByRole('button', { name: 'Test' }).click();
    await eventually(() => page.locator('#test').getAttribute('data-state')).toBe('bad');
    expect(await text(page, 'test-text')).not.toContain('wrong');
    expect(await text(page, 'test-hint')).toContain('user and password');
    await page.fill('#add-url', rtsp.url('spare', `me:${SECRET}`));
    expect(await page.locator('#test').isVisible()).toBe(false);
    await page.getByRole('button', { name: 'Test' }).click();
    await eventually(() => page.locator('#test').getAttribute('data-state')).toBe('good');
    expect(await text(page, 'test-text')).toBe('It works: 320 × 180, H.264.');
    await eventually(() => page.locator('#test-still').isVisible()).toBe(true);
    await page.getByRole('button', { name: 'Add camera', exact: true }).click();
    expect(await text(page, 'add-fault')).toBe('Small letters only: spare.');
    await page.fill('#add-id', 'spare');
    await page.getByRole('button', { name: 'Add camera', exact: true }).click();
    await eventually(() => stateOf(page, 'spare')).toMatch(/^live/);
    expect(await page.content()).not.toContain(SECRET);

    await tile(page, 'spare').locator('a').click();
    await page.waitForURL('**/camera.html?id=spare');
    await eventually(() => page.locator('#actions').isVisible()).toBe(true);
    await page.selectOption('#class', 'high');
    const facts = () => page.locator('#facts').innerText();
    await eventually(facts).toMatch(/Class\s+high/);
    await page.getByRole('button', { name: 'Turn off' }).click();
    await eventually(() => text(page, 'status')).toBe('Off');
    expect(await text(page, 'notice-title')).toBe('The camera is turned off');
    // It has kept its address, and what else was not named.
    await page.getByRole('button', { name: 'Turn on' }).click();
    await eventually(() => text(page, 'status')).toBe('Live');
    expect(await facts()).toMatch(/Class\s+high/);
    await page.getByRole('button', { name: 'Remove', exact: true }).click();
    await page.getByRole('button', { name: 'Keep it' }).click();
    expect(new URL(page.url()).pathname).toBe('/camera.html');
    await page.getByRole('button', { name: 'Remove', exact: true }).click();
    await page.locator('#remove-dialog button[value=remove]').click();
    await page.waitForURL('**/wall.html');
    await eventually(() => page.locator('.tile').count()).toBe(3);
    expectNoFaults(faults);
  });

  test('a table with faults adds nothing and names the lines; who may not change sees no buttons', async () => {
    const { page } = await open('wall.html');
    await page.getByRole('button', { name: 'Add cameras' }).click();
    await page.getByText('From a table').click();
    await page.fill(
      '#add-csv',
      'id,url\nroof,rtsp://127.0.0.1:1/r\nEast Hall,rtsp://127.0.0.1:1/e\nwest,ftp://127.0.0.1/w\n',
    );
    await page.getByRole('button', { name: 'Add all' }).click();
    await eventually(() => page.locator('#add-fault li b').allInnerTexts()).toEqual(['Line 3', 'Line 4']);
    await page.fill('#add-csv', 'id,url,enabled\nroof,rtsp://127.0.0.1:1/r,no\n');
    await page.getByRole('button', { name: 'Add all' }).click();
    await eventually(() => stateOf(page, 'roof')).toBe('turned off');
    await page.route('**/api/me', (route) =>
      route.fulfill({ json: { asks: true, name: 'guest', permissions: ['read:cameras/#'] } }),
    );
    await page.goto(`${server.url}/camera.html?id=roof`);
    await eventually(() => page.locator('#facts').innerText()).toMatch(/Class\s+normal/);
    expect(await page.locator('#actions').isVisible()).toBe(false);
    await page.goto(`${server.url}/wall.html`);
    await eventually(() => page.locator('.tile').count()).toBe(4);
    expect(await page.locator('#add').isVisible()).toBe(false);
    await page.goto(`${server.url}/camera.html?id=roof`);
    await eventually(() => text(page, 'status')).toBe('Off');
    await fetch(`${server.url}/api/cameras/roof`, { method: 'DELETE' });
    await eventually(() => text(page, 'notice-title')).toBe('There is no such camera');
  });
});
