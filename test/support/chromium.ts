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

interface LaunchOptions {
  readonly endsProcess?: boolean;
  readonly program?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Whoever launches it closes it. `endsProcess`: by a signal playwright closes the browser and then ends this process, whatever else it
 * has to clean up; without that the caller listens to signals itself. `program`: another file that becomes the browser.
 */
export function launchBrowser(
  args: readonly string[] = [],
  { endsProcess = true, program = CHROMIUM!, env = {} }: LaunchOptions = {},
): Promise<Browser> {
  return chromium.launch({
    executablePath: program,
    args: [...QUIET_ARGS, ...args],
    env: { ...process.env, ...env },
    handleSIGINT: endsProcess,
    handleSIGTERM: endsProcess,
    handleSIGHUP: endsProcess,
  });
}
