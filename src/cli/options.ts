import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { LoadOptions } from '../config/load.ts';
import type { CliContext } from './context.ts';

/** What the configuration is loaded from, by the options of the whole program and the `flags` of one command. */
export function loadOptions(
  program: Command,
  context: Pick<CliContext, 'env' | 'cwd'>,
  flags: Readonly<Record<string, unknown>> = {},
): LoadOptions {
  const options = program.opts<{ config?: string; set?: Record<string, string> }>();
  const given = Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined));
  return {
    file: options.config === undefined ? undefined : resolve(context.cwd, options.config),
    env: context.env,
    flags: { ...options.set, ...given },
  };
}
