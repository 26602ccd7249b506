import { describe, expect, test } from 'vitest';
import { SightlineError } from '../base/errors.ts';
import { loadConfig } from '../config/load.ts';
import type { Log } from '../log/log.ts';
import type { CliContext } from './context.ts';
import { wasLogged, withLog } from './log.ts';
import { main } from './main.ts';

/** What a command writes to standard error that does `run`. */
async function ran(
  run: (log: Log) => Promise<void>,
  { isTerminal = false, ...flags }: { isTerminal?: boolean } & Record<string, unknown> = {},
) {
  const stopper = new AbortController();
  const err: string[] = [];
  const context: CliContext = {
    env: {},
    cwd: '/',
    out: () => undefined,
    text: () => undefined,
    err: (line) => void err.push(line),
    logLine: (line) => err.push(line.trimEnd()) > 0,
    isTerminal,
    isOutputTerminal: false,
    signal: stopper.signal,
    onHangup: () => undefined,
    newPassword: async () => '',
    exitWith: () => undefined,
    endNow: () => undefined,
    config: () => loadConfig({ flags }),
  };
  const error: unknown = await withLog(context, context.config(), async (log) => {
    await run(log);
    stopper.signal.throwIfAborted();
  }).catch((thrown: unknown) => thrown);
  return { err, error, stopper };
}

const isJson = (line: string | undefined) => line?.startsWith('{"level":') === true;
const start = async (log: Log) => log.write('shutdown_started', {});
const fail = async () => {
  throw new SightlineError('ADDRESS_IN_USE', 'port 1 is in use');
};

describe('the log of a command', () => {
  test.each([
    ['auto', false, true],
    ['auto', true, false],
    ['json', true, true],
    ['text', false, false],
  ])('log.format %s, a terminal: %s, JSON: %s', async (format, isTerminal, json) => {
    const { err } = await ran(start, { isTerminal, 'log.format': format });
    expect(err).toHaveLength(1);
    expect(isJson(err[0])).toBe(json);
    if (!json) expect(err[0]).toBe('stopping');
  });

  test('log.level is heard', async () => {
    expect((await ran(start, { 'log.level': 'warn' })).err).toEqual([]);
    const step = async (log: Log) => log.write('shutdown_step', { step: 'http', took_ms: 1 });
    expect((await ran(step)).err).toEqual([]);
    expect((await ran(step, { 'log.level': 'debug' })).err).toHaveLength(1);
  });

  test('the error that ends it is its last line in JSON; else, and when it is silent, it is left to the command line', async () => {
    const json = await ran(fail);
    expect(json.err.map((line) => JSON.parse(line) as object)).toMatchObject([
      { level: 'fatal', event: 'command_failed', code: 'ADDRESS_IN_USE', reason: 'port 1 is in use' },
    ]);
    expect(wasLogged(json.error)).toBe(true);
    for (const flags of [{ 'log.format': 'text' }, { 'log.level': 'silent' }]) {
      const { err, error } = await ran(fail, flags);
      expect([err, wasLogged(error)]).toEqual([[], false]);
    }
  });

  test('--log-level is the setting, wherever it stands', async () => {
    for (const words of ['--log-level debug config show --json', 'config show --json --log-level debug']) {
      const out: string[] = [];
      await main(words.split(' '), { env: {}, out: (line) => void out.push(line) });
      expect(JSON.parse(out.join('')).config.log.level).toBe('debug');
    }
    const err: string[] = [];
    const code = await main(['--log-level', 'loud', 'config', 'show'], { env: {}, err: (line) => void err.push(line) });
    expect([code, err.join()]).toEqual([78, expect.stringContaining('log.level')]);
  });
});
