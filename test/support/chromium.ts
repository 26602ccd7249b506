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

/**
 * Whoever launches it closes it. `endsProcess`: by a signal playwright closes the browser and then ends this process, whatever else it
 * has to clean up; without that the caller listens to signals itself.
 */
export function launchBrowser(args: readonly string[] = [], { endsProcess = true } = {}): Promise<Browser> {
  return chromium.launch({
    executablePath: CHROMIUM!,
    args: [...QUIET_ARGS, ...args],
    handleSIGINT: endsProcess,
    handleSIGTERM: endsProcess,
    handleSIGHUP: endsProcess,
  });
}
