import { resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import type { LoadOptions } from '../config/load.ts';
import type { CliContext } from './context.ts';

/** The options of the whole program that determine the configuration; `--profile` and `--log-level` are settings like any other. */
export function configOptions(program: Command): {
  readonly config: string | undefined;
  readonly set: Readonly<Record<string, string>>;
} {
  const { config, set, profile, logLevel } = program.opts<{
    config?: string;
    set?: Record<string, string>;
    profile?: string;
    logLevel?: string;
  }>();
  return {
    config,
    set: {
      ...set,
      ...(profile !== undefined && { 'performance.profile': profile }),
      ...(logLevel !== undefined && { 'log.level': logLevel }),
    },
  };
}

/** The sources of the configuration, by the options of the whole program and the `flags` of one command. */
export function loadOptions(
  program: Command,
  context: Pick<CliContext, 'env' | 'cwd'>,
  flags: Readonly<Record<string, unknown>> = {},
): LoadOptions {
  const { config, set } = configOptions(program);
  const given = Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined));
  return {
    file: config === undefined ? undefined : resolve(context.cwd, config),
    env: context.env,
    flags: { ...set, ...given },
  };
}

const SIDE_MAX = 65_536;

/** The value of `--size`, `WIDTHxHEIGHT` in pixels. */
export function pictureSize(text: string): { width: number; height: number } {
  const [, width, height] = (/^([1-9]\d{0,4})[xX×]([1-9]\d{0,4})$/.exec(text) ?? []).map(Number);
  if (width && height && width <= SIDE_MAX && height <= SIDE_MAX) return { width, height };
  throw new InvalidArgumentError(`It must be WIDTHxHEIGHT in pixels, such as 640x640, each at most ${SIDE_MAX}.`);
}

/** The key by which a command comes in to a server. */
export const TOKEN_OPTION = [
  '--token <key>',
  'the key, where the server asks for one (default: $SIGHTLINE_TOKEN)',
] as const;

/** By the flag or the environment; undefined: none. */
export function tokenOf(flags: { readonly token?: string }, { env }: Pick<CliContext, 'env'>): string | undefined {
  return flags.token || env['SIGHTLINE_TOKEN'] || undefined;
}
