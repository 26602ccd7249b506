import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { loadConfig } from '../config/load.ts';
import type { CliContext } from './context.ts';
import { packageVersion } from '../config/version.ts';
import { main } from './main.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-cli-'));
  writeFileSync(join(folder, 'good.yaml'), 'server:\n  port: 9001\n');
  writeFileSync(join(folder, 'bad.yaml'), 'server:\n  prot: 9001\n');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function run(words: string, overrides: Partial<CliContext> = {}): Promise<Ran> {
  const out: string[] = [];
  const err: string[] = [];
  const code = await main(words.split(' ').filter(Boolean), {
    env: { HOME: '/home/somebody' },
    cwd: folder,
    out: (line) => void out.push(line),
    err: (line) => void err.push(line),
    logLine: (line) => err.push(line) > 0,
    signal: new AbortController().signal,
    ...overrides,
  });
  return { code, out: out.join('\n'), err: err.join('\n') };
}

describe('the program', () => {
  test('tells its version and its help on standard output', async () => {
    expect(await run('--version')).toEqual({ code: 0, out: packageVersion(), err: '' });
    const help = await run('--help');
    expect(help).toMatchObject({ code: 0, err: '' });
    for (const word of ['serve', 'demo', 'detect', 'models', 'config', 'Examples:']) expect(help.out).toContain(word);
  });

  test.each([40, 60, 80])('its help keeps words whole in %i columns', async (columns) => {
    const wide = await run('--help', { env: { COLUMNS: '1000' } });
    const help = await run('--help', { env: { COLUMNS: String(columns) } });
    for (const line of help.out.split('\n'))
      expect(line.length <= columns || !line.trim().includes(' '), line).toBe(true);
    expect(help.out.split(/\s+/)).toEqual(wide.out.split(/\s+/));
  });

  test('without a command tells its help on standard error', async () => {
    const ran = await run('');
    expect(ran).toMatchObject({ code: 64, out: '' });
    expect(ran.err).toContain('Usage: sightline');
  });

  test.each([
    ['srve', "unknown command 'srve' (Did you mean serve?) (USAGE)"],
    ['serve --prot 1', "unknown option '--prot' (Did you mean --port?) (USAGE)"],
    ['serve --app boat', 'there is no app "boat"; there is rover, traffic (USAGE)'],
    ['demo --app sign', 'there is no app "sign"; there is rover, traffic (USAGE)'],
    ['serve --port', "option '--port <n>' argument missing (USAGE)"],
    ['config check', "missing required argument 'file' (USAGE)"],
    ['config show more', 'too many arguments'],
    ['--set port config show', '--set takes a setting and its value, such as streaming.max_fps=20, not "port" (USAGE)'],
  ])('%s is a mistake of usage', async (words, message) => {
    const ran = await run(words);
    expect(ran).toMatchObject({ code: 64, out: '' });
    expect(ran.err.startsWith('sightline: ')).toBe(true);
    expect(ran.err).toContain(message);
    expect(ran.err.split('\n')).toHaveLength(1);
  });

  test.each([
    ['serve --port 70000', 78, 'server.port must be a whole number from 0 to 65535, not 70000'],
    ['serve --host 0.0.0.0 --set log.format=text', 78, '(ADDRESS_NEEDS_CREDENTIALS)'],
    ['--config none.yaml serve', 78, 'there is no such file (CONFIG_UNREADABLE)'],
    ['demo --set streaming.max_fsp=3', 78, 'did you mean streaming.max_fps? (CONFIG_KEY_UNKNOWN)'],
  ])('%s is refused before anything starts', async (words, code, message) => {
    const ran = await run(words);
    expect(ran).toMatchObject({ code, out: '' });
    expect(ran.err).toContain(message);
  });

  test('an unexpected error is INTERNAL, with its stack only when asked for', async () => {
    const out = (): never => {
      throw new TypeError('broken on purpose');
    };
    const quiet = await run('config generate', { out });
    expect(quiet.code).toBe(70);
    expect(quiet.err).toMatch(/^sightline: broken on purpose \(INTERNAL\)\n.*--debug/);
    expect(quiet.err).not.toContain('main.test.ts');
    const loud = await run('--debug config generate', { out });
    expect(loud.err).toMatch(/caused by TypeError: broken on purpose\n.*main\.test\.ts/s);
    const env = { SIGHTLINE_DEBUG: '1' };
    expect((await run('config generate', { out, env })).err).toContain('main.test.ts');
  });

  test('a command that a signal stopped ends with 130', async () => {
    const signal = AbortSignal.abort();
    const out = (): void => signal.throwIfAborted();
    expect(await run('config generate', { signal, out })).toMatchObject({ code: 130, err: '' });
  });
});

describe('config show', () => {
  test('prints YAML that is the configuration', async () => {
    const ran = await run('config show --config good.yaml --set inference.workers=3');
    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(ran.out).toMatch(/port: 9001 +# .*good\.yaml line 2/);
    expect(ran.out).toMatch(/workers: 3 +# flag/);
    expect(parse(ran.out)).toEqual(
      loadConfig({ env: { HOME: '/home/somebody' }, flags: { 'server.port': 9001, 'inference.workers': 3 } }),
    );
  });

  test('tells the entries that there are, with the origin of each key', async () => {
    writeFileSync(join(folder, 'named.yaml'), 'profiles:\n  "1.50": { video: { width: 320 } }\n  bare:\n');
    const ran = await run('config show --config named.yaml --profile 1.50');
    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(ran.out).toMatch(/^ {2}width: 320 +# profile 1\.50$/m);
    expect(ran.out).toMatch(/^ {2}"1\.50":\n {4}video:\n {6}width: 320 +# .*named\.yaml line 2$/m);
    expect(ran.out).toMatch(/^ {2}bare: \{\}$/m);
    expect(parse(ran.out)).toEqual(
      loadConfig({
        env: { HOME: '/home/somebody' },
        flags: { 'profiles.1.50.video.width': 320, 'profiles.bare': {}, 'performance.profile': '1.50' },
      }),
    );
  });

  test('of a profile that does not exist tells those that do', async () => {
    const ran = await run('config show --profile high_capcity');
    expect(ran).toMatchObject({ code: 78, out: '' });
    expect(ran.err).toContain('did you mean high_capacity? (CONFIG_VALUE_BAD)');
  });

  test('--json prints the values and their origins', async () => {
    const env = { HOME: '/h', SIGHTLINE_LOG__LEVEL: 'debug' };
    const shown = JSON.parse((await run('config show --json', { env })).out);
    expect(shown.config).toEqual(loadConfig({ env }));
    expect(shown.origins['log.level']).toBe('environment SIGHTLINE_LOG__LEVEL');
  });
});

describe('config check', () => {
  test('says that a good file is good', async () => {
    expect(await run('config check good.yaml')).toMatchObject({ code: 0, out: 'good.yaml: no mistakes found' });
  });

  test('tells the mistakes of a bad one, whatever the environment says', async () => {
    const ran = await run('config check bad.yaml', { env: { SIGHTLINE_SERVER__PORT: 'x' } });
    expect(ran).toMatchObject({ code: 78, out: '' });
    expect(ran.err).toMatch(/"server\.prot" \(.*bad\.yaml line 2\)/);
    expect(ran.err).not.toContain('server.port must');
  });
});

test('config generate prints a file that config check takes', async () => {
  const generated = await run('config generate');
  expect(generated.code).toBe(0);
  writeFileSync(join(folder, 'generated.yaml'), generated.out);
  expect((await run('config check generated.yaml')).code).toBe(0);
});
