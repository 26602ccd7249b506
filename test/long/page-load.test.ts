import { setTimeout } from 'node:timers/promises';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectedSessions, eventually, numberOfFirst, openPage, text } from '../support/browser.ts';
import { CHROMIUM, launchBrowser } from '../support/chromium.ts';
import { ServerProcess } from '../support/server-process.ts';

/** What the page simulates, of which the demo's server and the page take seconds to find their way: a slow link, more cameras. */

const PICTURE_MS = 300;

describe.skipIf(!CHROMIUM)('the page under load (needs Chromium)', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchBrowser();
  });
  afterAll(() => browser?.close());

  test('shows what a slower link costs, and that it is over', async () => {
    await using server = await ServerProcess.start(['demo']);
    const { page, faults } = await openPage(browser, server.url);
    await page.getByRole('radio', { name: 'Bad Wi-Fi' }).check();
    await eventually(() => text(page, 'simulate-text')).toContain('each way, with stalls of up to 350 ms');
    // 4 ms each way at least, which no loopback takes.
    await eventually(() => numberOfFirst(page, 'round-trip')).toBeGreaterThan(8);
    // Its rate rises and falls with the Wi-Fi's phases.
    await eventually(() => text(page, 'changes')).toMatch(/The path to the server (is slow|carries more)/);
    expect(await connectedSessions(server.url)).toBe(1);
    await page.getByRole('radio', { name: 'As it is' }).check();
    await eventually(() => text(page, 'simulate-text')).not.toContain('stalls');
    await eventually(() => text(page, 'changes')).toContain('First grant');
    await eventually(() => text(page, 'status')).toMatch(/Live|Dropping frames/);
    expect(faults).toEqual([]);
  });

  test('stays live while more cameras come than the server can serve, and lets them go again', async () => {
    await using server = await ServerProcess.start(['demo']);
    const { page, faults } = await openPage(browser, server.url);
    await eventually(() => text(page, 'status')).toBe('Live');
    await page.getByRole('radio', { name: '10×' }).check();
    await eventually(() => text(page, 'simulate-text')).toMatch(/more cameras offer \d/);
    expect(await connectedSessions(server.url)).toBeGreaterThanOrEqual(5);
    await eventually(() => text(page, 'changes')).toContain('The server is busy');
    const drawn = () => page.evaluate<number>(`Number(document.getElementById('canvas').dataset.seq ?? 0)`);
    const before = await drawn();
    await eventually(drawn).toBeGreaterThan(before + 2);
    await page.getByRole('radio', { name: 'None' }).check();
    await eventually(() => connectedSessions(server.url)).toBe(1);
    expect(faults).toEqual([]);
  });

  test('asks for less when the page itself falls behind', async () => {
    await using server = await ServerProcess.start(['demo']);
    const { page } = await openPage(browser, server.url);
    await eventually(() => text(page, 'status')).toBe('Live');
    // Each of its pictures waits for an answer. A loop would take the processor from the server, which then asks for less before the page can.
    await page.route('**/test/slow', async (route) => {
      await setTimeout(PICTURE_MS);
      await route.fulfill({ body: '' });
    });
    await page.evaluate(`void requestAnimationFrame(function draw() {
      requestAnimationFrame(draw);
      const request = new XMLHttpRequest();
      request.open('GET', 'test/slow', false);
      request.send();
    })`);
    await eventually(() => text(page, 'changes')).toContain('This page falls behind');
    // What it told the server, and what it shows of it.
    const { sessions } = await server.json<{ sessions: { quality: { client_lag_ms: number } }[] }>(
      '/api/performance/metrics',
    );
    expect(sessions[0]!.quality.client_lag_ms).toBeGreaterThan(50);
    expect(await numberOfFirst(page, 'shown')).toBeGreaterThan(50);
  });
});
