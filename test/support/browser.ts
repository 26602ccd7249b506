import { fileURLToPath } from 'node:url';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { build } from 'vite';
import { expect } from 'vitest';
import { programPath } from './programs.ts';

/** What the tests of the pages share: the pages built from source, and a real browser. */

export const CHROMIUM = programPath('chromium');

const QUIET_ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export async function buildPages(): Promise<void> {
  await build({ root: fileURLToPath(new URL('../../dashboard', import.meta.url)), logLevel: 'error' });
}

/** Whoever launches it closes it. */
export function launchBrowser(args: readonly string[] = []): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM!, args: [...QUIET_ARGS, ...args] });
}

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
  await page.goto(url);
  return { page, faults };
}

/** What comes to be true in its own time, on a machine that may be busy. */
export function eventually<T>(read: () => Promise<T>, intervalMs = 50) {
  return expect.poll(read, { timeout: 40_000, interval: intervalMs });
}

export function text(page: Page, id: string): Promise<string> {
  return page.locator(`#${id}`).innerText();
}
