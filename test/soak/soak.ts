import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { parseArgs } from 'node:util';
import { unbalanced, type AccountsDocument } from '../../bench/fences/accounts.ts';
import { Helper } from '../../bench/support/children.ts';
import { theilSenSlope } from '../../bench/support/statistics.ts';
import { seededRandom } from '../../src/base/random.ts';
import { TestAuthority } from '../support/certificates.ts';
import { ServerProcess } from '../support/server-process.ts';
import { Asked, type Figures } from './asked.ts';
import { Cutter } from './cutter.ts';
import { addKey, configText, FAKETIME, faultsOf, mountDisk, unmount, type Fault, type Rise } from './faults.ts';
import type { Left } from './inside.ts';
import type { StreamSeen, StreamsApi } from './streams-process.ts';

/**
 * `node test/soak/soak.ts --seconds 3600 --seed 7`: twenty streams over TLS with keys, and a fault every ten seconds: a worker dies, the disk is full,
 * clients are cut off, garbage comes, the configuration, keys and the certificate change, the clock is set. The streams that none of it is meant
 * for must not notice; no message is lost without being told; every fault shows in the figures; memory does not grow. What is not so is
 * printed with the seed, and ends the run with 1.
 */

const STEADY = { cameras: 6, topics: 10 };
const SHAKEN = { cameras: 2, topics: 2 };
const STREAMS = STEADY.cameras + STEADY.topics + SHAKEN.cameras + SHAKEN.topics;
const FAULT_EVERY_MS = 10_000;
/** In which a fault has to show in the figures. */
const SHOW_TIMEOUT_MS = 30_000;
/** The longest delay of the main thread in the last minute or two. */
const DELAY: Rise = { figure: 'sightline_event_loop_delay_seconds', label: '100' };
const BUDGET_MS = 1_000;
const MEMORY_EVERY_MS = 15_000;
const MEMORY_TIMEOUT_MS = 20_000;
/** The last part of the run, over which memory is judged: the last 40 minutes of an hour. */
const JUDGED_SHARE = 2 / 3;
const SLOPE_MB_PER_H_PER_STREAM_MAX = 1;
/** In shorter runs what is learned and cached still fills up: there memory is told, and not judged. */
const JUDGED_SECONDS_MIN = 1_800;
const END_TIMEOUT_MS = 30_000;
const PROBLEMS_MAX = 20;
/** Only a fault of the server itself leads to these. */
const BAD_EVENTS = ['request_failed', 'command_failed', 'model_failed'];
/** For pictures and messages of twenty streams, bytes a second, on top of what is there at first. */
const DISK_BYTES = 96 * 2 ** 20;
const DISK_BYTES_PER_S = 400_000;

const { values: options } = parseArgs({
  options: { seconds: { type: 'string', default: '120' }, seed: { type: 'string', default: '1' } },
});
const seconds = Number(options.seconds);
const seed = Number(options.seed);
if (!(seconds > 0) || !Number.isInteger(seed)) {
  throw new TypeError('--seconds has to be a number above 0, --seed a whole one');
}

const problems: string[] = [];
/** The fault that was made last. */
let last = '';
function problem(what: string): void {
  if (problems.length < PROBLEMS_MAX) problems.push(`after ${last}: ${what}`);
}

const stopper = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stopper.abort(new Error('interrupted')));
const { signal } = stopper;

const folder = mkdtempSync(join(tmpdir(), 'sightline-soak-'));
const diskFolder = join(folder, 'disk');
mkdirSync(diskFolder);
const disk = mountDisk(diskFolder, DISK_BYTES + seconds * DISK_BYTES_PER_S);
try {
  process.stdout.write(`${JSON.stringify(await run(), undefined, 2)}\n`);
} finally {
  if (disk !== undefined) unmount(disk);
  rmSync(folder, { recursive: true, force: true });
}
if (problems.length > 0) process.exit(1);

async function run(): Promise<object> {
  const random = seededRandom(seed);
  const authority = new TestAuthority();
  const names = {
    config: 'sightline.yaml',
    keys: 'keys.json',
    certificate: 'cert.pem',
    key: 'key.pem',
    clock: 'clock',
  };
  const files = mapValues(names, (name) => join(folder, name));
  const { config, keys, certificate, key, clock } = files;
  const [ca, memory] = [join(folder, 'ca.pem'), join(folder, 'memory.json')];
  const first = authority.issue({ from: -7_300, to: 7_300 });
  writeFileSync(ca, authority.certificate);
  writeFileSync(certificate, first.certificate);
  writeFileSync(key, first.key);
  writeFileSync(clock, '+0\n');
  writeFileSync(config, configText({ files }, 30));
  const adminKey = await addKey(keys, 'operator');
  const shakenKey = await addKey(keys, 'shaken0');
  // For this process, and for those that it starts.
  setDefaultCACertificates([...getCACertificates('default'), authority.certificate]);
  process.env['NODE_EXTRA_CA_CERTS'] = ca;

  const inside = new URL(`inside.ts?file=${memory}`, import.meta.url).href;
  const words = ['--config', config, 'serve', ...(disk === undefined ? [] : ['--record', join(disk, 'soak.mcap')])];
  await using server = await ServerProcess.start(words, {
    NODE_OPTIONS: `--import=${inside}`,
    ...(FAKETIME !== undefined && {
      LD_PRELOAD: FAKETIME,
      FAKETIME_TIMESTAMP_FILE: clock,
      FAKETIME_CACHE_DURATION: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    }),
  });
  const { url } = server;
  const pid = server.child.pid!;
  const { cutter, port } = await Cutter.open(Number(new URL(url).port));
  using _cutter = cutter;
  const script = new URL('streams-process.ts', import.meta.url);
  await using steady = new Helper<StreamsApi>(script, signal);
  await using shaken = new Helper<StreamsApi>(script, signal);
  await steady.call('open', { url, name: 'steady', key: adminKey, ...STEADY });
  await shaken.call('open', { url: `https://localhost:${port}`, name: 'shaken', key: shakenKey, ...SHAKEN });

  const asked = new Asked(url, adminKey);
  const faults = faultsOf({
    url,
    pid,
    random,
    authority,
    adminKey,
    cutter,
    connections: SHAKEN.cameras + 2 * SHAKEN.topics,
    files,
    disk,
    hasClock: FAKETIME !== undefined,
    useKey: async (next) => void (await shaken.call('useKey', next)),
  });
  const startMs = performance.now();
  const untilMs = startMs + seconds * 1_000;
  const made: Record<string, number> = Object.fromEntries(faults.map(({ name }) => [name, 0]));
  const memories: { readonly x: number; readonly y: number }[] = [];
  const worst = new Map<string, number>();
  let count = 0;
  let nextMemoryMs = startMs;
  const health = { asked: 0, failed: 0 };

  const stalls = new Map<string, number>();
  const look = async (): Promise<void> => {
    const delayMs = 1_000 * valueOf(await asked.figures(), DELAY);
    stalls.set(last, Math.max(stalls.get(last) ?? 0, Math.round(delayMs)));
    health.asked += 1;
    if ((await asked.status('/health')) !== 200) health.failed += 1;
    for (const one of unbalanced(await asked.json<AccountsDocument>('/api/performance/metrics'))) {
      problem(`accounts: ${one}`);
    }
    for (const seen of await steady.call('seen', undefined)) judgeSteady(seen, worst);
    for (const seen of await shaken.call('seen', undefined)) judge(seen);
    if (performance.now() < nextMemoryMs) return;
    nextMemoryMs += MEMORY_EVERY_MS;
    memories.push({ x: (performance.now() - startMs) / 3_600_000, y: await leftMb(pid, memory) });
  };

  let order: Fault[] = [];
  while (performance.now() < untilMs && problems.length === 0 && server.child.exitCode === null) {
    if (order.length === 0) order = shuffled(faults, random);
    const fault = order.pop()!;
    const beginMs = performance.now();
    last = fault.name;
    await attempt(fault, asked);
    made[fault.name]! += 1;
    count += 1;
    await look();
    await sleep(Math.max(0, Math.min(untilMs, beginMs + FAULT_EVERY_MS) - performance.now()), undefined, { signal });
  }

  await steady.call('stop', undefined);
  await shaken.call('stop', undefined);
  const streams = await ended(steady, shaken);
  await look();
  const peak = Object.fromEntries(worst);
  await steady.call('close', undefined);
  await shaken.call('close', undefined);
  const wasThere = server.child.exitCode === null;
  const code = await server.stop();
  if (!wasThere || code !== 0) problem(`the server ended with ${code}${wasThere ? ' at SIGTERM' : ' by itself'}`);
  readLog(server.err);
  const judged = memories.slice(Math.floor(memories.length * (1 - JUDGED_SHARE)));
  const slope = judged.length < 2 ? Number.NaN : theilSenSlope(judged) / STREAMS;
  if (seconds >= JUDGED_SECONDS_MIN && !(slope < SLOPE_MB_PER_H_PER_STREAM_MAX)) {
    problem(`memory grows by ${slope} MB an hour and stream`);
  }
  return {
    seed,
    seconds: Math.round((performance.now() - startMs) / 1_000),
    streams: STREAMS,
    faults: made,
    fault_count: count,
    left_out: [...(disk === undefined ? ['fill_disk'] : []), ...(FAKETIME === undefined ? ['set_clock'] : [])],
    health,
    ...streams,
    worst_ten_seconds_p95_ms: peak,
    longest_delay_ms_after: Object.fromEntries(stalls),
    memory_mb: {
      first: memories[0]?.y,
      last: memories.at(-1)?.y,
      samples: memories.length,
      slope_per_h_per_stream: slope,
    },
    problems,
    ...(problems.length > 0 && { log: server.err.split('\n').slice(-40) }),
  };
}

/** Makes a fault, and waits until the figures show it. */
async function attempt({ name, make, shows }: Fault, asked: Asked): Promise<void> {
  const before = await asked.figures();
  try {
    await make();
  } catch (thrown) {
    return problem(`${name}: ${(thrown as Error).stack}`);
  }
  const deadlineMs = performance.now() + SHOW_TIMEOUT_MS;
  for (;;) {
    const after = await asked.figures();
    const missing = shows.filter((rise) => valueOf(after, rise) - valueOf(before, rise) < (rise.by ?? 1));
    if (missing.length === 0) return;
    if (performance.now() > deadlineMs)
      return problem(`${name} does not show in ${missing.map(({ figure }) => figure)}`);
    await sleep(250, undefined, { signal });
  }
}

function valueOf(figures: Figures, { figure, label }: Rise): number {
  let sum = 0;
  for (const [labels, value] of figures.get(figure)?.samples ?? []) {
    if (label === undefined || labels.includes(`"${label}"`)) sum += value;
  }
  return sum;
}

function judge({ name, wrong, faults }: StreamSeen): void {
  for (const fault of faults) problem(`${name}: ${fault}`);
  if (wrong > 0) problem(`${name}: ${wrong} came twice, out of order, or are in no account`);
}

function judgeSteady(seen: StreamSeen, worst: Map<string, number>): void {
  judge(seen);
  const { name, recentP95Ms, reconnects, told } = seen;
  const kind = name.includes('camera') ? 'cameras' : 'topics';
  if (!Number.isNaN(recentP95Ms)) worst.set(kind, Math.max(worst.get(kind) ?? 0, recentP95Ms));
  if (reconnects > 0) problem(`${name}: was cut off`);
  if (kind === 'topics' && told > 0) problem(`${name}: ${told} messages were lost`);
}

/** Waits until everything that was sent has its end, one or the other. */
async function ended(...helpers: Helper<StreamsApi>[]): Promise<object> {
  const deadlineMs = performance.now() + END_TIMEOUT_MS;
  for (;;) {
    const all = (await Promise.all(helpers.map((helper) => helper.call('seen', undefined)))).flat();
    const open = all.filter((seen) => seen.open > 0);
    if (open.length > 0 && performance.now() < deadlineMs) {
      await sleep(200, undefined, { signal });
      continue;
    }
    for (const { name, open: left, sent } of open) problem(`${name}: ${left} of ${sent} were never accounted for`);
    const total = (of: (seen: StreamSeen) => number, kind: string): number =>
      all.filter(({ name }) => name.includes(kind)).reduce((sum, seen) => sum + of(seen), 0);
    const steady = all.filter(({ name }) => name.startsWith('steady'));
    for (const { name, p95Ms } of steady) if (!(p95Ms <= BUDGET_MS)) problem(`${name}: p95 is ${p95Ms} ms`);
    const counts = (kind: string) => ({
      steady_p95_ms: Math.max(...steady.filter(({ name }) => name.includes(kind)).map(({ p95Ms }) => p95Ms)),
      sent: total(({ sent }) => sent, kind),
      done: total(({ done }) => done, kind),
      told: total(({ told }) => told, kind),
      open: total((seen) => seen.open, kind),
      reconnects: total(({ reconnects }) => reconnects, kind),
    });
    return { frames: counts('camera'), messages: counts('topic') };
  }
}

/** Heap and external memory after collections, MB. */
async function leftMb(pid: number, file: string): Promise<number> {
  const read = (): Left | undefined => {
    try {
      return JSON.parse(readFileSync(file, 'utf8')) as Left;
    } catch {
      return undefined;
    }
  };
  const before = read()?.count ?? 0;
  process.kill(pid, 'SIGUSR2');
  const deadlineMs = performance.now() + MEMORY_TIMEOUT_MS;
  for (;;) {
    const left = read();
    if (left !== undefined && left.count > before) return left.bytes / 2 ** 20;
    if (performance.now() > deadlineMs) throw new Error('the server has not told what memory it has');
    await sleep(20, undefined, { signal });
  }
}

function mapValues<K extends string, A, B>(of: Readonly<Record<K, A>>, map: (value: A) => B): Record<K, B> {
  return Object.fromEntries(Object.entries<A>(of).map(([key, value]) => [key, map(value)])) as Record<K, B>;
}

function shuffled<T>(list: readonly T[], random: () => number): T[] {
  const left = [...list];
  const out: T[] = [];
  while (left.length > 0) out.push(...left.splice(Math.floor(random() * left.length), 1));
  return out;
}

function readLog(log: string): void {
  for (const line of log.split('\n')) {
    if (line === '') continue;
    try {
      const { level, event } = JSON.parse(line) as { level: string; event: string };
      if (level === 'fatal' || BAD_EVENTS.includes(event)) problem(`log: ${line}`);
    } catch {
      problem(`standard error: ${line}`);
    }
  }
}
