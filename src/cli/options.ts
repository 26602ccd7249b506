import { resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import type { LoadOptions } from '../config/load.ts';
import type { CliContext } from './context.ts';

/** What the configuration is loaded from, by the options of the whole program and the `flags` of one command. */
export function loadOptions(
  program: Command,
  context: Pick<CliContext, 'env' | 'cwd'>,
  flags: Readonly<Record<string, unknown>> = {},
): LoadOptions {
  const options = program.opts<{ config?: string; logLevel?: string; set?: Record<string, string> }>();
  const given = Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined));
  return {
    file: options.config === undefined ? undefined : resolve(context.cwd, options.config),
    env: context.env,
    flags: { ...options.set, ...(options.logLevel !== undefined && { 'log.level': options.logLevel }), ...given },
  };
}

const SIDE_MAX = 65_536;

/** The value of `--size`, `WIDTHxHEIGHT` in pixels. */
export function pictureSize(text: string): { width: number; height: number } {
  const [, width, height] = (/^([1-9]\d{0,4})[xX×]([1-9]\d{0,4})$/.exec(text) ?? []).map(Number);
  if (width && height && width <= SIDE_MAX && height <= SIDE_MAX) return { width, height };
  throw new InvalidArgumentError(`It is WIDTHxHEIGHT in pixels, such as 640x640, each at most ${SIDE_MAX}.`);
}
