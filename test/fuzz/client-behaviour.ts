import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { unbalanced, type AccountsDocument } from '../../bench/fences/accounts.ts';
import { boundedMb, residentMbMax } from '../../bench/fences/bounds.ts';
import { ATTACKER_ADDRESS } from '../../bench/fences/case.ts';
import type { InnocentApi } from '../../bench/fences/innocent-process.ts';
import { askHealth } from '../../bench/fences/innocents.ts';
import { ResidentSize } from '../../bench/fences/server-memory.ts';
import { Helper } from '../../bench/support/children.ts';
import { Server } from '../../bench/support/server.ts';
import { systemClock } from '../../src/base/clock.ts';
import type { Config } from '../../src/config/schema.ts';
import { Actor } from './actor.ts';

/**
 * `node test/fuzz/client-behaviour.ts --seconds 3600 --seed 7 --clients 6`: clients that do everything that a client can do, right and wrong,
 * beside a camera and a reader that do nothing wrong and must lose nothing. A fault is printed with the seed and the last actions of every client,
 * and ends the run with 1.
 */

/** The innocents look back after each of these. */
const WATCH_MS = 5_000;
const DRAIN_MS = 20_000;
const CALL_MARGIN_MS = 60_000;
/** Of the server's own bar: what is bounded here need not be exact. */
const RESIDENT_FACTOR = 1.5;
/** What only a fault of the server itself leads to. */
const BAD_EVENTS = ['request_failed', 'worker_lost', 'command_failed', 'model_failed'];
const FAULTS_MAX = 20;
const LOG_LINES_MAX = 40;
/** For what the last lives have left behind. */
const END_TIMEOUT_MS = 30_000;

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: '1' },
    clients: { type: 'string', default: '6' },
  },
});
const seconds = Number(options.seconds);
const seed = Number(options.seed);
const clients = Number(options.clients);
if (!(seconds > 0) || !Number.isInteger(seed) || !Number.isInteger(clients) || clients < 1) {
  throw new TypeError('--seconds has to be a number above 0, --seed a whole one, --clients a whole one from 1 on');
}

const faults: string[] = [];
/** The last lines of the server's standard error. */
const serverLog: string[] = [];
const actors: Actor[] = [];

function fault(what: string): void {
  if (faults.length < FAULTS_MAX) faults.push(what);
}

const stopper = new AbortController();
const { signal } = stopper;
process.once('SIGINT', () => stopper.abort(new Error('interrupted')));
process.once('SIGTERM', () => stopper.abort(new Error('interrupted')));

const cacheDir = await mkdtemp(join(tmpdir(), 'sightline-fuzz-'));
try {
  tell(await run());
} finally {
  await rm(cacheDir, { recursive: true, force: true });
}
// The clients of a run that a fault has ended are still at it.
if (faults.length > 0) process.exit(1);

async function run(): Promise<object> {
  await using server = await Server.launch({
    command: 'serve',
    cacheDir,
    settings: { 'log.format': 'json', 'log.level': 'debug' },
    memoryBytesMax: 4 * 2 ** 30,
    onErrorOutput: logReader(),
    signal,
  });
  await server.ready();
  const { config } = await server.json<{ config: Config }>('/api/config');
  const { workers } = await server.engine();
  const script = new URL('../../bench/fences/innocent-process.ts', import.meta.url);
  await using camera = new Helper<InnocentApi>(script, signal);
  await using reader = new Helper<InnocentApi>(script, signal);
  await camera.call('openCamera', server.url);
  await reader.call('openReader', server.url);
  const resident = new ResidentSize(server.pid);
  const residentMax = RESIDENT_FACTOR * residentMbMax(boundedMb(config, workers));
  const port = Number(new URL(server.url).port);
  for (let index = 0; index < clients; index += 1) {
    actors.push(new Actor({ seed, index, port, from: ATTACKER_ADDRESS, onFault: fault }));
  }
  const startMs = performance.now();
  const untilMs = startMs + seconds * 1_000;
  const acting = Promise.all(actors.map((actor) => actor.run(untilMs)));
  const seen = { results: 0, messages: 0, watches: 0 };
  while (performance.now() < untilMs && faults.length === 0 && !server.isGone) {
    const spanMs = Math.min(WATCH_MS, Math.max(1_000, untilMs - performance.now()));
    const watch = { startTimeMs: systemClock.now(), spanMs, drainMs: DRAIN_MS };
    const timeoutMs = spanMs + DRAIN_MS + CALL_MARGIN_MS;
    const [frames, messages] = await Promise.all([
      camera.call('camera', watch, timeoutMs),
      reader.call('reader', watch, timeoutMs),
    ]);
    for (const one of [...frames.faults, ...messages.faults]) fault(one);
    if (frames.results === 0) fault(`the camera had no result in ${spanMs} ms: ${JSON.stringify(frames)}`);
    if (messages.lost + messages.wrong > 0) fault(`the reader lost messages: ${JSON.stringify(messages)}`);
    await check(server);
    if (resident.peakMb > residentMax) fault(`${resident.peakMb} MB of memory are more than ${residentMax}`);
    seen.results += frames.results;
    seen.messages += messages.received;
    seen.watches += 1;
  }
  // A fault ends it at once: what is in the logs then led to it.
  if (faults.length === 0) await acting;
  const logs = Object.fromEntries(actors.map(({ name, log }) => [name, [...log]]));
  resident.stop();
  await camera.call('close', undefined);
  await reader.call('close', undefined);
  if (faults.length === 0) await check(server);
  const ended = server.isGone;
  const { text, code } = await server.stop();
  if (ended) fault(`the server ${text}`);
  else if (code !== 0) fault(`SIGTERM: the server ${text}`);
  const counts = actors.map((actor) => actor.counts);
  return {
    seed,
    clients,
    seconds: Math.round((performance.now() - startMs) / 1_000),
    lives: counts.reduce((sum, { lives }) => sum + lives, 0),
    actions: counts.reduce((sum, { actions }) => sum + actions, 0),
    innocents: seen,
    residentPeakMb: Math.round(resident.peakMb),
    faults,
    ...(faults.length > 0 && { serverLog, ...logs }),
  };
}

/** Health, and every account. */
async function check(server: Server): Promise<void> {
  const { failure } = await askHealth(server.url);
  if (failure !== undefined) fault(`/health: ${failure}`);
  try {
    for (const one of unbalanced(await server.json<AccountsDocument>('/api/performance/metrics', END_TIMEOUT_MS))) {
      fault(`accounts: ${one}`);
    }
  } catch (thrown) {
    fault(`metrics: ${(thrown as Error).message}`);
  }
}

/** Whatever is no line of the log is an error that nobody has caught, or a warning of Node's. */
function logReader(): (text: string) => void {
  let begun = '';
  return (text) => {
    const lines = (begun + text).split('\n');
    begun = lines.pop()!;
    for (const line of lines) if (line !== '') read(line);
  };
}

function read(line: string): void {
  serverLog.push(line);
  if (serverLog.length > LOG_LINES_MAX) serverLog.shift();
  try {
    const { level, event } = JSON.parse(line) as { level: string; event: string };
    if (level === 'fatal' || BAD_EVENTS.includes(event)) fault(`log: ${line}`);
  } catch {
    fault(`standard error: ${line}`);
  }
}

function tell(report: object): void {
  process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
}
