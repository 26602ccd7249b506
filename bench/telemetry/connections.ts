import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Helper } from '../support/children.ts';
import { Server } from '../support/server.ts';
import type { PeerServerApi } from './peer-server-process.ts';
import { SERVER_SETTINGS, type Figures } from './settings.ts';
import { Team, type Lane, type TelemetryBench } from './span.ts';

const CONNECTIONS = 2_000;
const CONNECTIONS_QUICK = 300;
/** Connected and closed again first, so that what a server needs for its first connections is not counted. */
const WARM_UP = 100;
const HZ = 10;
const HOLD_MS = 5_000;
const HOLD_QUICK_MS = 1_000;
const SETTLE_MS = 2_000;
const SETTLE_QUICK_MS = 300;
/** Run in the server's process on SIGUSR2, so that garbage is not taken for memory that is needed. */
const COLLECT = `data:text/javascript,${encodeURIComponent(`
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc');
process.on('SIGUSR2', () => { gc(); gc(); });`)}`;
const COLLECT_ON_SIGNAL = ['--import', COLLECT];

/** Many connections, first without anything to do, then each with traffic; beside those of bare `ws`. */
export async function measureConnections(bench: TelemetryBench, cacheDir: string): Promise<Figures> {
  const { signal, quick } = bench;
  const count = quick ? CONNECTIONS_QUICK : CONNECTIONS;
  await using wsServer = new Helper<PeerServerApi>(
    new URL('peer-server-process.ts', import.meta.url),
    signal,
    COLLECT_ON_SIGNAL,
  );
  await using server = await Server.launch({
    command: 'serve',
    cacheDir,
    settings: SERVER_SETTINGS,
    nodeArgs: COLLECT_ON_SIGNAL,
    signal,
  });
  await server.ready();
  const port = await wsServer.call('listen', 'ws');
  const ws: Lane = { name: 'ws', peer: 'ws', form: '', url: `ws://127.0.0.1:${port}`, pid: wsServer.pid };
  const sightline: Lane = {
    name: 'sightline',
    peer: 'sightline',
    form: 'columns',
    url: server.url.replace('http', 'ws'),
    pid: server.pid,
  };
  const wsBytes = await idleBytes(bench, ws, count);
  const sightlineBytes = await idleBytes(bench, sightline, count);
  bench.say(`an idle connection: ${wsBytes.toFixed(0)} bytes of bare ws, ${sightlineBytes.toFixed(0)} of Sightline`);
  return {
    'ws.idle_connection_bytes': wsBytes,
    'sightline.idle_connection_bytes': sightlineBytes,
    connection_memory_ratio: sightlineBytes / wsBytes,
    ...(await held(bench, ws, count)),
    ...(await held(bench, sightline, count)),
  };
}

async function idleBytes(bench: TelemetryBench, lane: Lane, count: number): Promise<number> {
  {
    await using _warmUp = await Team.connect(bench, lane, { topics: 0, count: WARM_UP, decode: 'objects' });
  }
  const before = await residentBytes(bench, lane.pid);
  await using _idle = await Team.connect(bench, lane, { topics: 0, count, decode: 'objects' });
  return ((await residentBytes(bench, lane.pid)) - before) / count;
}

/** The server's own, after a collection; NaN where there is no `/proc`. */
async function residentBytes({ quick, signal }: TelemetryBench, pid: number): Promise<number> {
  const settleMs = quick ? SETTLE_QUICK_MS : SETTLE_MS;
  await sleep(settleMs, undefined, { signal });
  process.kill(pid, 'SIGUSR2');
  await sleep(settleMs / 2, undefined, { signal });
  const status = `/proc/${pid}/status`;
  if (!existsSync(status)) return Number.NaN;
  const kb = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(status, 'utf8'))?.[1];
  return Number(kb) * 1_024;
}

async function held(bench: TelemetryBench, lane: Lane, count: number): Promise<Figures> {
  await using team = await Team.connect(bench, lane, { topics: 1, count, decode: 'objects' });
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
