import { resolve } from 'node:path';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { configTemplate } from '../config/document.ts';
import { resolveConfig } from '../config/load.ts';
import type { ResolvedConfig } from '../config/load.ts';
import { CONFIG_KEYS } from '../config/schema.ts';
import type { Config } from '../config/schema.ts';
import type { CliContext } from './context.ts';
import { loadOptions } from './options.ts';

/** `sightline config show | check | generate`. */
export function registerConfig(program: Command, context: CliContext): void {
  const config = program.command('config').description('show, check or generate the configuration');

  config
    .command('show')
    .description('print every setting in force and where it comes from')
    .option('--json', 'as one JSON document: { config, origins }')
    .action((options: { json?: boolean }) => {
      const resolved = resolveConfig(loadOptions(program, context));
      if (options.json === true) {
        const document = { config: resolved.config, origins: Object.fromEntries(resolved.origins) };
        context.out(JSON.stringify(document, undefined, 2));
      } else {
        for (const line of shownLines(resolved)) context.out(line);
      }
    });

  config
    .command('check')
    .argument('<file>', 'configuration file (YAML)')
    .description('check a file without starting anything')
    .action((file: string) => {
      // The file alone: what the environment sets here says nothing of where the file will be used.
      resolveConfig({ file: resolve(context.cwd, file) });
      context.out(`${file}: no mistakes found`);
    });

  config
    .command('generate')
    .description('print a configuration file with every setting, its meaning and its default')
    .action(() => context.out(configTemplate().trimEnd()));
}

/** The configuration as YAML that can be read back, with the origin of each value as a comment in one column. */
function shownLines({ config, origins }: ResolvedConfig): string[] {
  const entries = [...CONFIG_KEYS.values()].map((key) => {
    const value = (config[key.section as keyof Config] as Readonly<Record<string, unknown>>)[key.name];
    return { key, text: value === undefined ? '' : inline(value), origin: origins.get(key.path) ?? 'not set' };
  });
  const column = Math.min(60, Math.max(...entries.map(({ key, text }) => key.name.length + text.length + 4)));
  const lines: string[] = [];
  let section = '';
  for (const { key, text, origin } of entries) {
    if (key.section !== section) lines.push(`${key.section}:`);
    section = key.section;
    const setting = `  ${text === '' ? '# ' : ''}${key.name}:${text === '' ? '' : ` ${text}`}`;
    lines.push(`${setting.padEnd(column)} # ${origin}`);
  }
  return lines;
}

function inline(value: unknown): string {
  return stringify(value, { collectionStyle: 'flow', lineWidth: 0 }).trimEnd();
}
