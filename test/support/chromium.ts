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

export interface LaunchOptions {
  /** Signals are its owner's: else it is closed by them, and the process ends at once. */
  readonly ignoresSignals?: boolean;
}

/** Whoever launches it closes it. */
export function launchBrowser(
  args: readonly string[] = [],
  { ignoresSignals = false }: LaunchOptions = {},
): Promise<Browser> {
  const handles = !ignoresSignals;
  return chromium.launch({
    executablePath: CHROMIUM!,
    args: [...QUIET_ARGS, ...args],
    handleSIGINT: handles,
    handleSIGTERM: handles,
    handleSIGHUP: handles,
  });
}
