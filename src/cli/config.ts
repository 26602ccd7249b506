import { resolve } from 'node:path';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { z } from 'zod';
import { SightlineError } from '../base/errors.ts';
import { configTemplate } from '../config/document.ts';
import { resolveConfig } from '../config/load.ts';
import type { ResolvedConfig } from '../config/load.ts';
import { CONFIG_ROOT, valueAt, type ConfigNode } from '../config/keys.ts';
import { shownValue } from '../config/secrets.ts';
import type { CliContext } from './context.ts';
import { loadOptions } from './options.ts';
import { readJson } from './server-documents.ts';

/** `sightline config show | check | generate`. */
export function registerConfig(program: Command, context: CliContext): void {
  const config = program.command('config').description('show, check or generate the configuration');

  config
    .command('show')
    .description('print every setting in force and its origin')
    .option('--json', 'as one JSON document: { config, origins }')
    .option('--url <url>', 'of a running server, such as http://127.0.0.1:8080, instead of those of a new one')
    .action(async (options: { json?: boolean; url?: string }) => {
      const shown =
        options.url === undefined
          ? shownConfig(resolveConfig(loadOptions(program, context)))
          : await fetchConfig(options.url, context.signal);
      if (options.json === true) context.out(JSON.stringify(shown, undefined, 2));
      else for (const line of shownLines(shown)) context.text(line);
    });

  config
    .command('check')
    .argument('<file>', 'configuration file (YAML)')
    .description('check a file without starting anything')
    .action((file: string) => {
      // The file alone: the environment here says nothing of where the file will be used.
      resolveConfig({ file: resolve(context.cwd, file) });
      context.out(`${file}: no mistakes found`);
    });

  config
    .command('generate')
    .description('print a configuration file with every setting, its meaning and its default')
    .action(() => context.out(configTemplate().trimEnd()));
}

/** The printed document. A server of another version may lack a section, or a key. */
interface ShownConfig {
  readonly config: Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>;
  /** By dotted key. */
  readonly origins: Readonly<Record<string, string>>;
}

function shownConfig({ config, origins }: ResolvedConfig): ShownConfig {
  return { config: shownValue('', config), origins: Object.fromEntries(origins) };
}

const serverConfigSchema = z.object({
  config: z.record(z.string(), z.record(z.string(), z.unknown())),
  origins: z.record(z.string(), z.string()),
});

/** Errors: USAGE for a bad address, CONNECTION_FAILED, the server's refusals. */
async function fetchConfig(address: string, signal: AbortSignal): Promise<ShownConfig> {
  const url = URL.parse('/api/config', address);
  if (!url || !url.protocol.startsWith('http')) {
    throw new SightlineError('USAGE', `--url takes an address such as http://127.0.0.1:8080, not "${address}"`);
  }
  const answer = serverConfigSchema.safeParse(await readJson(url, signal));
  if (answer.success) return answer.data;
  throw new SightlineError('CONNECTION_FAILED', `${url.href}: the answer is not from a Sightline server`);
}

interface ShownRow {
  readonly depth: number;
  readonly text: string;
  /** `undefined`: it is a section. */
  readonly origin?: string;
}

/** The configuration as YAML that can be read back, with the origin of each value as a comment in one column. */
function shownLines({ config, origins }: ShownConfig): string[] {
  const originOf = (path: string) => origins[path]?.replaceAll(/\p{Cc}/gu, ' ');
  const rows = [...CONFIG_ROOT.children].flatMap(([name, node]) => shownRows(node, [name], config, originOf));
  const lines = rows.map(({ depth, text, origin }) => ({ text: '  '.repeat(depth) + text, origin }));
  const settings = lines.filter(({ origin }) => origin !== undefined);
  const column = Math.min(60, Math.max(...settings.map(({ text }) => text.length)));
  return lines.map(({ text, origin }) => (origin === undefined ? text : `${text.padEnd(column)} # ${origin}`));
}

/** A value that is not set stands in a comment, but in entries, which would hold little else. */
function shownRows(
  node: ConfigNode,
  steps: readonly string[],
  config: ShownConfig['config'],
  originOf: (path: string) => string | undefined,
  isInEntry = false,
): ShownRow[] {
  const [depth, name, value] = [steps.length - 1, inline(steps.at(-1)), valueAt(config, steps)];
  if (value === undefined && isInEntry) return [];
  if (node.kind === 'key') {
    const text = value === undefined ? `# ${name}:` : `${name}: ${inline(value)}`;
    // Keys of an entry that nobody has set have the default of all entries.
    const origin = originOf(steps.join('.')) ?? (value === undefined ? 'not set' : 'default');
    return [{ depth, text, origin }];
  }
  const children =
    node.kind === 'section'
      ? [...node.children]
      : Object.keys(value ?? {}).map((entry) => [entry, node.entry] as const);
  const rows = children.flatMap(([child, inner]) =>
    shownRows(inner, steps.concat(child), config, originOf, isInEntry || node.kind === 'entries'),
  );
  return [{ depth, text: rows.length === 0 ? `${name}: {}` : `${name}:` }, ...rows];
}

function inline(value: unknown): string {
  return stringify(value, { collectionStyle: 'flow', lineWidth: 0 }).trimEnd();
}
