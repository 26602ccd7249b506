import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { expect } from 'vitest';

/** What the tests of the pages share. */

/** Opens a page; an error in it or a message on its console fails the test that asks for `faults`. */
export async function openPage(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<{ page: Page; faults: string[] }> {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 }, ...options });
  const faults: string[] = [];
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
  const response = await page.goto(url);
  if (response?.ok() === false) throw new Error(`${url} was answered with ${response.status()}`);
  return { page, faults };
}

/** What comes to be true in its own time, on a machine that may be busy. */
export function eventually<T>(read: () => Promise<T>, intervalMs = 50) {
  return expect.poll(read, { timeout: 40_000, interval: intervalMs });
}

export function text(page: Page, id: string): Promise<string> {
  return page.locator(`#${id}`).innerText();
}

/** Of a text with several. */
export async function numberOfFirst(page: Page, id: string): Promise<number> {
  return Number.parseFloat(await text(page, id));
}

/** Sessions that the server has clients for. */
export async function connectedSessions(url: string): Promise<number> {
  const response = await fetch(`${url}/api/performance/metrics`);
  const { sessions } = (await response.json()) as { sessions: { connected: boolean }[] };
  return sessions.filter(({ connected }) => connected).length;
}
