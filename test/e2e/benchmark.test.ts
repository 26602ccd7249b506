import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { PrivateServer } from '../../src/load/processes.ts';
import type { SuiteResult } from '../../src/load/results.ts';
import { runHere } from '../support/command.ts';
import { expectNothingLost } from '../support/load-results.ts';
import { ServerProcess } from '../support/server-process.ts';

const COMMAND = fileURLToPath(new URL('../../bin/sightline.js', import.meta.url));

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'sightline-benchmark-'))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function start(...words: string[]): ChildProcess {
  return spawn(process.execPath, [COMMAND, 'benchmark', ...words], {
    cwd: folder,
    env: { ...process.env, XDG_CACHE_HOME: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function run(...words: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = start(...words);
  const [out, err, [code]] = await Promise.all([text(child.stdout!), text(child.stderr!), once(child, 'exit')]);
  return { code: code as number | null, out, err };
}

test('its private server knows nothing of the cameras that were added to the one of this user', async () => {
  const env = { ...process.env, XDG_DATA_HOME: folder, SIGHTLINE_STORE__MODE: 'file' };
  const headers = { 'content-type': 'application/json' };
  await using own = await ServerProcess.start(['serve'], env);
  const body = JSON.stringify({ url: 'rtsp://127.0.0.1:1/gate' });
  expect((await fetch(`${own.url}/api/cameras/gate`, { method: 'PUT', headers, body })).status).toBe(200);
  expect(await own.stop()).toBe(0);
  await using again = await ServerProcess.start(['serve'], env);
  const idsOf = async (url: string) => {
    const { cameras } = (await (await fetch(`${url}/api/cameras`)).json()) as { cameras: { id: string }[] };
    return cameras.map(({ id }) => id);
  };
  expect(await idsOf(again.url)).toEqual(['gate']);
  expect(await again.stop()).toBe(0);
  await using server = await PrivateServer.start([], env, new AbortController().signal);
  expect(await idsOf(server.url)).toEqual([]);
});

describe('against a running server', () => {
  let server: ServerProcess;
  beforeAll(async () => void (server = await ServerProcess.start()));
  afterAll(async () => void (await server.stop()));

  test('stopped, it tells what was measured until then, marked as partial', async () => {
    const child = start('low_load', '--url', server.url, '--json');
    const told = Promise.all([text(child.stdout!), text(child.stderr!), once(child, 'exit')]);
    const published = async () => {
      const { telemetry } = (await (await fetch(`${server.url}/api/performance/metrics`)).json()) as {
        telemetry: { topics: { stats: { published: number } }[] };
      };
      return telemetry.topics.reduce((sum, { stats }) => sum + stats.published, 0);
    };
    await expect.poll(published, { timeout: 30_000 }).toBeGreaterThan(20);
    child.kill('SIGINT');
    const [out, err, [code]] = await told;
    expect(code, err).toBe(130);
    const suite = JSON.parse(out) as SuiteResult;
    expect(suite).toMatchObject({ partial: true, total_tests: 1, tests_passed: 0 });
    expect(suite.tests[0]).toMatchObject({ partial: true, passed: false, lost: {}, errors: {}, damaged: 0 });
    expect(suite.tests[0]!.received).toBeGreaterThan(0);
    expect(suite.tests[0]!.seconds).toBeLessThan(60);
  });

  test.each(['json', 'msgpack', 'binary'])('%s: one document with every figure, and nothing lost', async (protocol) => {
    const words = ['low_load', '--duration', '1', '--protocol', protocol, '--url', server.url, '--json'];
    const { code, out, err } = await run(...words);
    expect([0, 70], err).toContain(code);
    const suite = JSON.parse(out) as SuiteResult;
    expect(suite).toMatchObject({
      test_suite_duration: expect.any(Number),
      total_tests: 1,
      tests_passed: code === 0 ? 1 : 0,
      overall_success_rate: code === 0 ? 1 : 0,
      aggregate_metrics: {
        total_messages_processed: 50,
        avg_throughput_msg_per_sec: expect.any(Number),
        avg_latency_ms: expect.any(Number),
        avg_error_rate_percent: 0,
      },
      subprotocol: `sightline.v1.${protocol}`,
      server: 'given',
    });
    expectNothingLost(suite);
    const [only] = suite.tests;
    expect(only!.bytes_per_message).toBeGreaterThan(50);
    expect(only!.server_rss_mb).toBeGreaterThan(10);
    if (protocol === 'binary') expect(only!.compression_ratio).toBeGreaterThan(1.5);
  });

  test('a page that cannot be written is told when the run is over', async () => {
    const page = join(folder, 'none', 'report.html');
    const { code, out, err } = await run('low_load', '--duration', '1', '--url', server.url, '--html', page);
    expect(code).toBe(73);
    expect(out).toContain('low_load');
    expect(err).toContain('(OUTPUT_FAILED)');
  });

  test('the page, the table and the run before', async () => {
    const page = join(folder, 'report.html');
    const words = ['burst_test', '--duration', '1', '--url', server.ws('/ws/telemetry'), '--html', page];
    await run(...words);
    const { out, err } = await run(...words);
    expect(out).toMatch(/^burst_test +(ok|FAILED) +10 +\d+ +\d+\.\d+ +\d+\.\d+ +\d+\.\d+ +\d+\.\d+ +0 /m);
    expect(err).toContain(page);
    expect(readFileSync(page, 'utf8')).toContain('<h2>burst_test');
  });
});

test('Ctrl+C ends it, its server and its load generator, and prints no result', async () => {
  const child = start('low_load');
  const out = text(child.stdout!);
  let err = '';
  for await (const chunk of child.stderr!) {
    err += String(chunk);
    if (err.includes('low_load')) break;
  }
  const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ').map(Number);
  expect(children.length).toBeGreaterThan(0);
  child.kill('SIGINT');
  const [code] = (await once(child, 'exit')) as [number | null];
  expect(code).toBe(130);
  expect(await out).toBe('');
  for (const pid of children) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
});

describe('what cannot be', () => {
  test.each([
    [['nothing'], 64, 'there is no test "nothing": take one of low_load,'],
    [['low_load', '--duration', '0'], 64, '"0" is not a number of seconds from 1 to 86400'],
    [['low_load', '--protocol', 'xml'], 64, 'Allowed choices are json, msgpack, binary'],
    [['low_load', '--url', 'ftp://rover'], 69, '"ftp://rover" begins with neither ws:, wss:, http: nor https:'],
  ])('%j ends with %d', async (words, code, message) => {
    const ran = await runHere(folder, ['benchmark', ...words]);
    expect(ran).toMatchObject({ code, out: '' });
    expect(ran.err).toContain(message);
    expect(ran.err.trim().split('\n')).toHaveLength(1);
  });

  test('an address where nobody listens', async () => {
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address() as AddressInfo;
    probe.close();
    const { code, err } = await run('low_load', '--url', `ws://127.0.0.1:${port}`);
    expect(code).toBe(69);
    expect(err).toContain(`no session at 127.0.0.1:${port}: connect ECONNREFUSED`);
    expect(err).toContain('(CONNECTION_FAILED)');
  });

  test('a server that speaks another protocol', async () => {
    const other = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => false });
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const { code, err } = await run('low_load', '--url', `ws://127.0.0.1:${port}`);
    expect(code).toBe(69);
    expect(err).toContain('it does not speak sightline.v1.binary (CONNECTION_FAILED)');
    for (const socket of other.clients) socket.terminate();
    other.close();
  });
});
