import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TelemetryBench } from '../../test/support/telemetry-bench.ts';
import { RecordingSource } from '../delivery/replay-file.ts';
import { loadConfig } from '../config/load.ts';
import type { CliContext } from './context.ts';
import { record } from './record-run.ts';

let folder: string;
let bench: TelemetryBench;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-record-'));
  bench = await new TelemetryBench({ topicsMax: 3 }).start();
});
afterEach(async () => {
  await bench.stop();
  await rm(folder, { recursive: true, force: true });
});

/** The command in this process, against the bench. */
function start(json: boolean) {
  const lines = { out: [] as string[], err: [] as string[] };
  const stop = new AbortController();
  const context: CliContext = {
    env: {},
    cwd: folder,
    out: (line) => lines.out.push(line),
    text: (line) => lines.out.push(line),
    err: (line) => lines.err.push(line),
    logLine: () => true,
    isTerminal: true,
    isOutputTerminal: false,
    signal: stop.signal,
    onHangup: () => undefined,
    newPassword: async () => '',
    exitWith: () => undefined,
    endNow: () => undefined,
    config: (flags = {}) => loadConfig({ flags }),
  };
  const path = join(folder, 'a.mcap');
  const flags = { url: bench.url('ws/telemetry'), topics: ['#'], compression: 'zstd', json } as const;
  return { lines, path, stop: () => stop.abort(), ended: record(path, flags, context) };
}

test('topics that the server leaves out make the recording incomplete, and it says so everywhere', async () => {
  for (let n = 0; n < 5; n++) bench.publish(`t/${n}`, { n });
  const { lines, path, stop, ended } = start(true);
  await expect.poll(() => lines.err.join('\n')).toMatch(/recording #/);
  await expect.poll(() => lines.err.join('\n')).toMatch(/the server says: .*TOPIC_LIMIT_REACHED/);
  for (let n = 0; n < 5; n++) bench.publish(`t/${n}`, { n });
  await expect.poll(() => bench.lane.report().sessions[0]?.accounts.delivered).toBe(3);
  stop();
  await expect(ended).rejects.toMatchObject({
    code: 'TOPIC_LIMIT_REACHED',
    message: expect.stringMatching(/incomplete: topic "t\/3" and more are left out.*--topics/),
  });
  const left = expect.stringMatching(/^topic "t\/3" and more are left out/);
  expect(JSON.parse(lines.out[0]!)).toMatchObject({ recorded: 3, lost: null, lost_known: 0, incomplete: left });
  await using source = await RecordingSource.open(path);
  expect(source.topics).toEqual(['t/0', 't/1', 't/2']);
});

test('a recording of everything counts what it lost, and odd times', async () => {
  const { lines, stop, ended } = start(false);
  await expect.poll(() => lines.err.join('\n')).toMatch(/^recording #/);
  for (let n = 0; n < 5; n++) bench.publish('t', { n }, { timeMs: n - 1 });
  await expect.poll(() => bench.lane.report().sessions[0]?.accounts.delivered).toBe(5);
  stop();
  await ended;
  expect(lines.out).toEqual([join(folder, 'a.mcap')]);
  expect(lines.err.at(-1)).toMatch(/^5 messages, 0\.0 MiB, 1 of a time before 1970 or after 2554/);
});
