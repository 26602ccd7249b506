import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError } from 'commander';
import { beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { ERRORS } from '../src/base/error-catalogue.ts';
import type { CliContext } from '../src/cli/context.ts';
import { build } from '../src/cli/main.ts';
import { CONFIG_KEYS, CONFIG_ROOT } from '../src/config/keys.ts';
import { loadConfig } from '../src/config/load.ts';
import { LOG_EVENTS } from '../src/log/events.ts';

/** `docs/operations.md` and the files in `deploy` against the code: every command line, setting, figure, event and code that they name. */

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string) => readFileSync(`${root}/${path}`, 'utf8');
const page = read('docs/operations.md');
const deployed = globSync('deploy/{systemd,nginx,prometheus}/*', { cwd: root });
const FENCE = /^```(\w*)\n([^]*?)^```/gm;
const blocks = [...page.matchAll(FENCE)].map(([, kind, text]) => ({ kind: kind!, text: text! }));
const spans = [...page.replaceAll(FENCE, '').matchAll(/`([^`\n]+)`/g)].map(([, code]) => code!);
/** A file's comments name commands and settings as well. What an alias stands for is no whole command. */
const lines = [
  ...blocks.flatMap(({ text }) => text.split('\n')).filter((line) => !line.startsWith('alias ')),
  ...deployed.flatMap((path) => read(path).split('\n')),
];

/** The words behind each `sightline`, or `sl`, that is called as a command. */
function commandsIn(text: string): string[][] {
  const calls = text.matchAll(/(?:^|[;&|$(:] ?|\/bin\/)(?:sightline|sl) (.*)/g);
  return [...calls].map(([, rest]) => {
    const [command = ''] = rest!.split(/ *(?:[|&;>#]|\)|2>| → )(?=[^']*(?:'[^']*'[^']*)*$)/);
    return [...command.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(([, a, b, c]) => a ?? b ?? c!);
  });
}

describe('command lines', () => {
  let program: Command;
  beforeAll(() => {
    program = new Command('sightline');
    const context = { env: {}, cwd: root, text: () => undefined, err: () => undefined } as unknown as CliContext;
    build(program, context);
    const silence = (command: Command): void => {
      if (command.commands.length === 0) command.action(() => undefined);
      for (const child of command.commands) silence(child);
    };
    silence(program);
  });

  /** What the command line has against it; `undefined`: nothing. */
  async function fault(words: readonly string[]): Promise<string | undefined> {
    try {
      await program.parseAsync(words, { from: 'user' });
      return undefined;
    } catch (thrown) {
      if (thrown instanceof CommanderError && thrown.exitCode === 0) return undefined;
      // The file of an authority is not here.
      if ((thrown as { code?: unknown }).code === 'CERTIFICATE_UNREADABLE') return undefined;
      return (thrown as Error).message;
    }
  }

  test('that a reader copies are whole', async () => {
    const all = lines.flatMap(commandsIn);
    expect(all.length).toBeGreaterThan(12);
    for (const words of all) expect(await fault(words), words.join(' ')).toBeUndefined();
  });

  test('that the text names are there', async () => {
    const all = spans.flatMap(commandsIn);
    expect(all.length).toBeGreaterThan(10);
    for (const words of all) {
      const what = await fault(words);
      if (what?.includes('missing required') || what?.includes('not specified')) continue;
      expect(what, words.join(' ')).toBeUndefined();
    }
  });
});

test('every setting is there', () => {
  const sections = [...CONFIG_ROOT.children.keys()].join('|');
  const named = new RegExp(`(?<![\\w./-])(?:${sections})(?:\\.[a-z_]+)+(?![\\w.*]|/)`, 'g');
  const files = /\.(json|yaml|db|sock|service|conf|key|rules|md)$/;
  const all = [...spans, ...lines].flatMap((text) => text.match(named) ?? []).filter((path) => !files.test(path));
  expect(all.length).toBeGreaterThan(20);
  expect(
    all.filter((path) => !CONFIG_KEYS.has(path) && ![...CONFIG_KEYS.keys()].some((key) => key.startsWith(`${path}.`))),
  ).toEqual([]);
  for (const { text } of blocks.filter(({ kind }) => kind === 'yaml')) {
    expect(pathsIn(parse(text)).filter((path) => !CONFIG_KEYS.has(path))).toEqual([]);
  }
  expect(() => loadConfig({ env: {}, file: `${root}/deploy/systemd/sightline.yaml` })).not.toThrow();
});

test('every figure, event and code is there', () => {
  const metrics = read('docs/metrics.md');
  const figures = spans.filter((code) => /^sightline_[a-z_]+$/.test(code));
  expect(figures.length).toBeGreaterThan(5);
  expect(figures.filter((name) => !metrics.includes(`\`${name}\``))).toEqual([]);
  const events = spans.filter((code) => /^[a-z]+_[a-z_]+$/.test(code) && !code.startsWith('sightline_'));
  const fields = new Set(['needs_restart', 'proxy_buffering']);
  expect(events.filter((name) => !Object.hasOwn(LOG_EVENTS, name) && !fields.has(name))).toEqual([]);
  const codes = spans.filter((code) => /^[A-Z]+_[A-Z_]+$/.test(code) && !code.startsWith('SIGHTLINE_'));
  const issues = read('docs/alerts.md') + read('docs/recording.md');
  expect(codes.filter((code) => !Object.hasOwn(ERRORS, code) && !issues.includes(`\`${code}\``))).toEqual([]);
});

test('every file to deploy is named', () => {
  expect(deployed.length).toBeGreaterThan(4);
  for (const path of [...deployed, 'deploy/grafana/sightline.json']) expect(page).toContain(`(../${path})`);
});

function pathsIn(value: unknown, path = ''): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [path];
  return Object.entries(value).flatMap(([key, inner]) => pathsIn(inner, path === '' ? key : `${path}.${key}`));
}
