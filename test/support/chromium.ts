import { chromium, type Browser } from 'playwright-core';
import { programPath } from './programs.ts';

/** The real browser of this machine; `undefined` where there is none. */
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

/** Whoever launches it closes it. */
export function launchBrowser(args: readonly string[] = []): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM!, args: [...QUIET_ARGS, ...args] });
}
