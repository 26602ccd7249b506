import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Helper } from '../support/children.ts';
import { Server } from '../support/server.ts';
import { median } from '../support/statistics.ts';
import type { PeerServerApi } from './peer-server-process.ts';
import { SERVER_SETTINGS, type Figures } from './settings.ts';
import { Team, type Lane, type TelemetryBench } from './span.ts';

const CONNECTIONS = 2_000;
const CONNECTIONS_QUICK = 300;
/**
 * So many of those that are counted are there before, and stay: what a server needs for its first connections is not counted, nor that V8 makes its space for
 * young objects larger, to tens of megabytes, while the first thousand come.
 */
const BEFORE_SHARE = 0.5;
const IDLE_ROUNDS = 5;
const HZ = 10;
const HOLD_MS = 5_000;
const HOLD_QUICK_MS = 1_000;
const SETTLE_MS = 2_000;
const SETTLE_QUICK_MS = 300;
const POLL_MS = 20;
/** Run in the server's process on SIGUSR2, so that garbage is not taken for memory that is needed. Writes what is left of the heap into the file. */
function collectOnSignal(heapFile: string): string[] {
  const [file, draft] = [JSON.stringify(heapFile), JSON.stringify(`${heapFile}.draft`)];
  const script = `
import { renameSync, writeFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc');
process.on('SIGUSR2', () => {
  gc();
  gc();
  writeFileSync(${draft}, String(process.memoryUsage().heapUsed));
  renameSync(${draft}, ${file});
});`;
  return ['--import', `data:text/javascript,${encodeURIComponent(script)}`];
}

/** Many connections, first without anything to do, then each with traffic; beside those of bare `ws`. */
export async function measureConnections(bench: TelemetryBench, cacheDir: string): Promise<Figures> {
  const { signal, quick } = bench;
  const count = quick ? CONNECTIONS_QUICK : CONNECTIONS;
  const rounds: IdleRound[] = [];
  const last = quick ? 1 : IDLE_ROUNDS;
  let holding: Figures = {};
  // Memory that a process was given once it hardly ever gives back: each round needs servers of its own.
  for (let round = 1; round <= last; round += 1) {
    await using wsServer = new Helper<PeerServerApi>(
      new URL('peer-server-process.ts', import.meta.url),
      signal,
      collectOnSignal(join(cacheDir, 'ws.heap')),
    );
    const nodeArgs = collectOnSignal(join(cacheDir, 'sightline.heap'));
    const options = { command: 'serve', cacheDir, settings: SERVER_SETTINGS, nodeArgs, signal } as const;
    await using server = await Server.launch(options);
    await server.ready();
    const wsUrl = `ws://127.0.0.1:${await wsServer.call('listen', 'ws')}`;
    const ws: Lane = { name: 'ws', peer: 'ws', form: '', url: wsUrl, pid: wsServer.pid };
    const url = server.url.replace('http', 'ws');
    const sightline: Lane = { name: 'sightline', peer: 'sightline', form: 'binary', url, pid: server.pid };
    const idle = {
      ws: await idleBytes(bench, ws, cacheDir, count),
      sightline: await idleBytes(bench, sightline, cacheDir, count),
    };
    const text = ({ resident, heap }: Bytes): string => `${resident.toFixed(0)} bytes (heap ${heap.toFixed(0)})`;
    bench.say(`an idle connection: ${text(idle.ws)} of bare ws, ${text(idle.sightline)} of Sightline`);
    rounds.push(idle);
    if (round === last) holding = { ...(await held(bench, ws, count)), ...(await held(bench, sightline, count)) };
  }
  return {
    'ws.idle_connection_bytes': median(rounds.map(({ ws }) => ws.resident)),
    'ws.idle_connection_heap_bytes': median(rounds.map(({ ws }) => ws.heap)),
    'sightline.idle_connection_bytes': median(rounds.map(({ sightline }) => sightline.resident)),
    'sightline.idle_connection_heap_bytes': median(rounds.map(({ sightline }) => sightline.heap)),
    connection_memory_ratio: median(rounds.map(({ ws, sightline }) => sightline.resident / ws.resident)),
    connection_heap_ratio: median(rounds.map(({ ws, sightline }) => sightline.heap / ws.heap)),
    ...holding,
  };
}

/** Of the main thread's heap what is in use; resident also what V8 has it at hand for, which is tens of megabytes more or less from round to round. */
interface Bytes {
  readonly resident: number;
  readonly heap: number;
}

interface IdleRound {
  readonly ws: Bytes;
  readonly sightline: Bytes;
}

async function idleBytes(bench: TelemetryBench, lane: Lane, cacheDir: string, count: number): Promise<Bytes> {
  const heapFile = join(cacheDir, `${lane.name}.heap`);
  await using _earlier = await Team.connect(bench, lane, { topics: 0, count: count * BEFORE_SHARE, decode: 'objects' });
  const before = await bytesOf(bench, lane.pid, heapFile);
  await using _idle = await Team.connect(bench, lane, { topics: 0, count, decode: 'objects' });
  const after = await bytesOf(bench, lane.pid, heapFile);
  return { resident: (after.resident - before.resident) / count, heap: (after.heap - before.heap) / count };
}

/** The server's own, after a collection; NaN where there is no `/proc`. */
async function bytesOf({ quick, signal }: TelemetryBench, pid: number, heapFile: string): Promise<Bytes> {
  const settleMs = quick ? SETTLE_QUICK_MS : SETTLE_MS;
  await sleep(settleMs, undefined, { signal });
  rmSync(heapFile, { force: true });
  process.kill(pid, 'SIGUSR2');
  await sleep(settleMs / 2, undefined, { signal });
  while (!existsSync(heapFile)) await sleep(POLL_MS, undefined, { signal });
  const status = `/proc/${pid}/status`;
  const heap = Number(readFileSync(heapFile, 'utf8'));
  if (!existsSync(status)) return { resident: Number.NaN, heap };
  const kb = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(status, 'utf8'))?.[1];
  return { resident: Number(kb) * 1_024, heap };
}

async function held(bench: TelemetryBench, lane: Lane, count: number): Promise<Figures> {
  await using team = await Team.connect(bench, lane, { topics: 1, count, decode: 'objects' });
  // Code that is compiled while it is measured would be measured.
  await team.span(HZ, HOLD_QUICK_MS);
  const span = await team.span(HZ, bench.quick ? HOLD_QUICK_MS : HOLD_MS);
  const { p95, p99, faults, missing, sent, decoded } = span;
  bench.say(
    `${lane.name}: ${count} connections at ${HZ} Hz, p99 ${p99.toFixed(1)} ms, ${faults + missing} wrong or missing`,
  );
  return {
    // Whoever got every message.
    [`${lane.name}.connections_held`]: missing > 0 || faults > 0 ? Math.floor(decoded / sent) : count,
    [`${lane.name}.held_p95_ms`]: p95,
    [`${lane.name}.held_p99_ms`]: p99,
    [`${lane.name}.held_wrong_or_missing`]: faults + missing,
  };
}
