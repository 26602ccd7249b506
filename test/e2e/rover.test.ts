import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { seededRandom } from '../../src/base/random.ts';
import { openServer } from '../../src/app.ts';
import { loadConfig } from '../../src/config/load.ts';
import { openRover } from '../../src/pipelines/rover.ts';
import { eventually, openPage, text } from '../support/browser.ts';
import { CHROMIUM, launchBrowser } from '../support/chromium.ts';
import { ServerProcess } from '../support/server-process.ts';

/** The rover's page in a real browser: the real command, the simulated vehicle, real commands. */

const PLOTS = ['plot-speed', 'plot-currents', 'plot-imu', 'plot-cells'];

describe.skipIf(!CHROMIUM)('the rover page', () => {
  let server: ServerProcess;
  let browser: Browser;
  const pages: Page[] = [];

  beforeAll(async () => {
    server = await ServerProcess.start(['serve', '--app', 'rover']);
    browser = await launchBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    await server?.stop();
  });
  afterEach(async () => {
    for (const page of pages.splice(0)) await page.context().close();
  });

  async function open(query = ''): Promise<{ page: Page; faults: string[] }> {
    const opened = await openPage(browser, `${server.url}/rover.html${query}`);
    pages.push(opened.page);
    return opened;
  }

  async function openLive(): Promise<{ page: Page; faults: string[] }> {
    const opened = await open();
    await eventually(() => opened.page.locator('#map').getAttribute('data-state')).toBe('live');
    return opened;
  }

  /** Where the map shows the vehicle, m. */
  async function place(page: Page): Promise<{ x: number; y: number }> {
    const { x, y } = await page.evaluate<{ x: string; y: string }>(
      `({ ...document.getElementById('map-canvas').dataset })`,
    );
    return { x: Number(x), y: Number(y) };
  }

  async function wayFrom(page: Page, from: { x: number; y: number }): Promise<number> {
    const { x, y } = await place(page);
    return Math.hypot(x - from.x, y - from.y);
  }

  async function speed(page: Page): Promise<number> {
    return Number((await text(page, 'speed')).replace('−', '-'));
  }

  async function take(page: Page): Promise<void> {
    await page.getByRole('button', { name: 'Drive', exact: true }).click();
    await eventually(() => text(page, 'driver')).toBe('You drive.');
  }

  /** As a person does it on a busy machine, which may bring commands too late: again, and with the wheel taken anew where that was lost. */
  async function release(page: Page): Promise<void> {
    const attempt = async (): Promise<string> => {
      const said = await text(page, 'driver');
      const isLost = said === 'Nobody drives.' || said === 'Stopped. The driver may release it.';
      const isStopped = /^(Stopped\. You|Still stopped)/.test(said);
      // The button may be hidden by now.
      if (isLost || isStopped)
        await page.click(isLost ? '#drive:enabled' : '#resume', { timeout: 1_000 }).catch(() => {});
      return said;
    };
    await eventually(attempt, 1_500).toBe('You drive.');
  }

  /** What the plots show now, each as a number that another picture would not have. */
  function pictures(page: Page): Promise<number[]> {
    return page.evaluate(`${JSON.stringify(PLOTS)}.map((id) => {
      const canvas = document.querySelector('#' + id + ' canvas');
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return data.reduce((hash, value) => (hash * 31 + value) | 0, 7);
    })`);
  }

  test('shows the vehicle live: every plot moves, and the figures are those of the vehicle', async () => {
    const { page, faults } = await openLive();
    const before = await pictures(page);
    await eventually(async () => {
      const now = await pictures(page);
      return now.filter((picture, i) => picture !== before[i]).length;
    }).toBe(PLOTS.length);
    await eventually(async () => Number.parseInt(await text(page, 'rate'), 10)).toBeGreaterThan(150);
    expect(await text(page, 'loss')).toMatch(/^0 of [\d,]+$/);
    expect(await text(page, 'charge')).toMatch(/^9\d$/);
    expect(await text(page, 'pack')).toMatch(/^4\d\.\d V, /);
    expect(await text(page, 'vehicle-state')).toBe('parked');
    expect(await page.locator('#map-canvas').getAttribute('aria-label')).toContain('north of its start');
    // On a telephone nothing goes over the edge, whatever the status says.
    await page.setViewportSize({ width: 360, height: 740 });
    for (const status of ['Live', 'Reconnecting', 'Dropping frames']) {
      const width = `document.getElementById('status-text').textContent = '${status}', document.documentElement.scrollWidth`;
      expect([status, await page.evaluate(width)]).toEqual([status, 360]);
    }
    expect(faults).toEqual([]);
  });

  test('drives by keyboard and by pad; the vehicle stands when the hands are off', async () => {
    const { page, faults } = await openLive();
    await take(page);
    const start = await place(page);
    await page.keyboard.down('KeyW');
    await eventually(() => wayFrom(page, start)).toBeGreaterThan(1);
    expect(await text(page, 'vehicle-state')).toBe('drives');
    await page.keyboard.up('KeyW');
    await eventually(() => speed(page)).toBeCloseTo(0, 1);

    const there = await place(page);
    const pad = (await page.locator('#pad').boundingBox())!;
    const [middleX, middleY] = [pad.x + pad.width / 2, pad.y + pad.height / 2];
    await page.mouse.move(middleX, middleY);
    await page.mouse.down();
    await page.mouse.move(middleX, middleY + pad.height / 2, { steps: 4 });
    await eventually(() => wayFrom(page, there)).toBeGreaterThan(0.5);
    expect(await speed(page)).toBeLessThan(0);
    await page.mouse.up();
    await eventually(() => speed(page)).toBeCloseTo(0, 1);

    await page.keyboard.press('Escape');
    await eventually(() => text(page, 'driver')).toBe('Nobody drives.');
    expect(faults).toEqual([]);
  });

  test('has one driver at a time; closing the driver’s tab stops the vehicle, and then another may drive', async () => {
    const first = await openLive();
    const second = await openLive();
    await take(first.page);
    await eventually(() => text(second.page, 'driver')).toMatch(/^Another driver has the wheel/);
    expect(await second.page.locator('#drive').isDisabled()).toBe(true);
    const start = await place(second.page);
    await second.page.keyboard.down('KeyW');
    await first.page.keyboard.down('KeyD');
    await first.page.keyboard.down('KeyW');
    await eventually(() => speed(second.page)).toBeGreaterThan(1);
    await eventually(() => wayFrom(second.page, start)).toBeGreaterThan(0.5);
    await second.page.keyboard.up('KeyW');

    await first.page.close();
    await eventually(() => speed(second.page)).toBeCloseTo(0, 1);
    await eventually(() => text(second.page, 'driver')).toBe('Nobody drives.');
    await take(second.page);
    await second.page.keyboard.press('Escape');
  });

  test('anybody may stop it; its driver lets it go on', async () => {
    const driving = await openLive();
    const watching = await openLive();
    await take(driving.page);
    await driving.page.keyboard.down('ArrowUp');
    await eventually(() => speed(watching.page)).toBeGreaterThan(0.5);
    await watching.page.getByRole('button', { name: 'Emergency stop' }).click();
    await eventually(() => speed(watching.page)).toBeCloseTo(0, 1);
    await eventually(() => text(driving.page, 'driver')).toBe('Stopped. You may release it.');
    await driving.page.keyboard.up('ArrowUp');
    expect(await watching.page.getByRole('button', { name: 'Release the stop' }).isVisible()).toBe(false);
    await release(driving.page);
    await driving.page.keyboard.press('Escape');
  });

  test('the vehicle brakes when the link delays its driver’s commands, and goes on when they come in time', async () => {
    const { page } = await openLive();
    let delayMs = 0;
    let isReleaseHeld = false;
    await page.routeWebSocket(/\/ws\/telemetry/, (socket) => {
      const behind = socket.connectToServer();
      socket.onMessage((message) => {
        // It never comes, as one that comes too late is of no use.
        if (isReleaseHeld && String(message).includes('resume')) return;
        setTimeout(() => behind.send(message), delayMs);
      });
    });
    await page.reload();
    await eventually(() => page.locator('#map').getAttribute('data-state')).toBe('live');
    await take(page);
    await page.keyboard.down('KeyW');
    await eventually(() => speed(page)).toBeGreaterThan(1);
    delayMs = 600;
    await eventually(() => speed(page)).toBeCloseTo(0, 1);
    await eventually(() => text(page, 'driver')).toBe('You drive, but the rover brakes: commands come too late.');
    delayMs = 0;
    await eventually(() => speed(page)).toBeGreaterThan(1);
    expect(await text(page, 'driver')).toBe('You drive.');

    // A release that comes late would set off a vehicle of which nobody thinks any more: it does not, and the page says so.
    await page.getByRole('button', { name: 'Emergency stop' }).click();
    await eventually(() => text(page, 'driver')).toBe('Stopped. You may release it.');
    await page.keyboard.up('KeyW');
    isReleaseHeld = true;
    await page.getByRole('button', { name: 'Release the stop' }).click();
    await eventually(() => text(page, 'driver')).toBe('Still stopped: the release came too late. Try again.');
    isReleaseHeld = false;
    await release(page);
    await page.keyboard.press('Escape');
    await eventually(() => text(page, 'driver')).toBe('Nobody drives.');
  });

  test('says so when there is no such vehicle, and is reached from the first page and back', async () => {
    const { page } = await open('?rover=7');
    await eventually(() => text(page, 'status')).toBe('No rover');
    expect(await text(page, 'map-note')).toBe('Waiting for a rover');
    await page.getByRole('link', { name: 'Webcam' }).click();
    await page.getByRole('link', { name: 'Rover' }).click();
    await eventually(() => page.locator('#map').getAttribute('data-state')).toBe('live');
  });
});

/** Inside this process, so that a second one can take the first one's port. */
async function startRoverServer(port: number): Promise<{ url: string; close(): Promise<void> }> {
  const app = await openServer({ config: loadConfig({ env: process.env, flags: { 'server.port': port } }) });
  const rover = openRover({ topics: app.topics, clock: systemClock, random: seededRandom(1) });
  return {
    url: app.url,
    close: () => {
      rover.close();
      return app.close();
    },
  };
}

test.skipIf(!CHROMIUM)('the rover page goes on by itself when the server comes back', async () => {
  const first = await startRoverServer(0);
  const open: { close(): Promise<void> }[] = [first];
  try {
    const browser = await launchBrowser();
    open.push(browser);
    const { page } = await openPage(browser, `${first.url}/rover.html`);
    await eventually(() => page.locator('#map').getAttribute('data-state')).toBe('live');
    await first.close();
    await eventually(() => text(page, 'status')).toBe('Reconnecting');
    expect(await text(page, 'driver')).toBe('No link: you cannot drive from here.');
    expect(await page.locator('#drive').isDisabled()).toBe(true);
    open.push(await startRoverServer(Number(new URL(first.url).port)));
    await eventually(() => page.locator('#map').getAttribute('data-state')).toBe('live');
    await eventually(() => page.locator('#drive').isDisabled()).toBe(false);
  } finally {
    for (const one of open.toReversed()) await one.close();
  }
});
