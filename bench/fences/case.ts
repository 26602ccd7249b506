import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import type { Config } from '../../src/config/schema.ts';
import { Helper } from '../support/children.ts';
import type { BenchContext } from '../support/document.ts';
import { toMb } from '../support/numbers.ts';
import { CoreUse, readProcessors } from '../support/processors.ts';
import { Server } from '../support/server.ts';
import { unbalanced, type AccountsDocument } from './accounts.ts';
import type { Case, Limits, Seen } from './analysis.ts';
import type { AttackerApi } from './attacker-process.ts';
import { boundedMb, LONGEST_RUN_MS, residentMbMax } from './bounds.ts';
import type { InnocentApi } from './innocent-process.ts';
import { askHealth, type Watch } from './innocents.ts';
import { chargedBytes, publishedBoundBytes } from './ledger.ts';
import { memoryArgs, memoryLeftMb, ResidentSize } from './server-memory.ts';
import type { Attack, TargetAddress } from './target.ts';

/** One attack: a fresh server, the innocents, the control, the attack, and what is left a while after. */

export interface CasePlan {
  readonly spanMs: number;
  /** Of the innocents alone, before anything counts. */
  readonly warmUpMs: number;
  /** For what is out at the end of a span. */
  readonly drainMs: number;
  /** Memory is looked at after the attack until it is as it should be, but for no longer than this. */
  readonly settleMs: number;
}

/** What all attacks share. */
export interface FenceBench extends BenchContext {
  readonly cacheDir: string;
  readonly sinkPort: number;
  readonly innocents: Readonly<Record<'camera' | 'reader' | 'prober', Helper<InnocentApi>>>;
}

/** So that a benchmark does not fill the machine, where the server does not know its own bounds. */
export const SERVER_MEMORY_MB_MAX = 3_072;
const LEAD_MS = 300;
/** A server that is busy with what it was sent is waited for. */
const ANSWER_TIMEOUT_MS = 20_000;
const SETTLE_POLL_MS = 1_000;
/** As in the bars of `analysis.ts`. */
const MEMORY_LEFT_MB = 50;
const CALL_MARGIN_MS = 60_000;
const STOP_POLL_MS = 10;
/** Within the loopback network, which is Linux's to use in whole. */
export const ATTACKER_ADDRESS = process.platform === 'linux' ? '127.0.0.66' : undefined;
/** So that it is an address like any other: by default all of the loopback network has no bounds of its own. */
const STRANGER = { 'server.unbounded_addresses': '127.0.0.1' };

interface Metrics extends AccountsDocument {
  readonly engine: {
    readonly workers: number;
    readonly workerSlots: number;
    readonly restarts: number;
    readonly strays: number;
  };
}

export function launchServer({ cacheDir, signal }: FenceBench, more: object = {}): Promise<Server> {
  return Server.launch({
    command: 'serve',
    cacheDir,
    memoryBytesMax: SERVER_MEMORY_MB_MAX * 2 ** 20,
    signal,
    ...more,
  });
}

export async function measureCase(
  bench: FenceBench,
  attack: Attack,
  plan: CasePlan,
): Promise<{ readonly one: Case; readonly limits: Limits }> {
  const { cacheDir, sinkPort, signal } = bench;
  const memoryFile = join(cacheDir, `${attack.name}.memory`);
  await using attacker = new Helper<AttackerApi>(new URL('attacker-process.ts', import.meta.url), signal);
  await using server = await launchServer(bench, { nodeArgs: memoryArgs(memoryFile), settings: STRANGER });
  await server.ready();
  const limits = await limitsOf(server);
  await openInnocents(bench, server);
  await watched(bench, server, { ...plan, spanMs: plan.warmUpMs });

  const left = (): Promise<number> => memoryLeftMb(server.pid, memoryFile);
  const beforeMb = await left();
  const span = (address: TargetAddress): Promise<Seen> =>
    watched(bench, server, plan, (watch) =>
      attacker.call('run', { attack: attack.name, ...watch, ...address }, watch.spanMs + CALL_MARGIN_MS),
    );
  const control = await span({ port: sinkPort, from: ATTACKER_ADDRESS });
  const before = await answer<Metrics>(server, '/api/performance/metrics');
  const attacked = await span({ port: Number(new URL(server.url).port), from: ATTACKER_ADDRESS });
  const endMs = performance.now();
  const after = await answer<Metrics>(server, '/api/performance/metrics');
  const afterwards = server.isGone ? [] : ((await attack.afterwards?.(server.url)) ?? []);
  const settled = await settle(server, plan, async () => (await left()) - beforeMb);
  const settledS = (performance.now() - endMs) / 1_000;
  const healthAfter = await askHealth(server.url);
  await closeInnocents(bench);
  const { stopMs, ended } = await stopped(server);
  return {
    limits,
    one: {
      name: attack.name,
      control,
      attacked,
      workersLost: lostBetween(before, after),
      unbalanced: after && unbalanced(after),
      afterwards,
      ...settled,
      settledS,
      healthAfter: healthAfter.failure,
      stopMs,
      ended,
    },
  };
}

/** Asks until there is an answer, or no more hope of one. */
async function answer<T>(server: Server, path: string): Promise<T | undefined> {
  const deadlineMs = performance.now() + ANSWER_TIMEOUT_MS;
  while (!server.isGone && performance.now() < deadlineMs) {
    try {
      return await server.json<T>(path);
    } catch {
      await sleep(SETTLE_POLL_MS);
    }
  }
  return undefined;
}

async function limitsOf(server: Server): Promise<Limits> {
  const { config } = await server.json<{ config: Config }>('/api/config');
  const { engine } = await server.json<Metrics>('/api/performance/metrics');
  const published = publishedBoundBytes(await server.json('/api/performance/backpressure'));
  const bounded = published === undefined ? boundedMb(config, engine.workerSlots) : toMb(published);
  return {
    longestRunMs: LONGEST_RUN_MS,
    residentMbMax: residentMbMax(bounded),
    // What it may take, and a second for itself.
    stopMsMax: config.server.shutdown_timeout_ms + 1_000,
  };
}

async function openInnocents({ innocents }: FenceBench, { url }: Server): Promise<void> {
  await innocents.camera.call('openCamera', url);
  await innocents.reader.call('openReader', url);
}

async function closeInnocents({ innocents }: FenceBench): Promise<void> {
  await Promise.all([innocents.camera.call('close', undefined), innocents.reader.call('close', undefined)]);
}

/** What the innocents see over a span, with somebody beside them. */
async function watched(
  { innocents }: FenceBench,
  server: Server,
  { spanMs, drainMs }: Pick<CasePlan, 'spanMs' | 'drainMs'>,
  beside: (watch: Watch) => Promise<Seen['tally']> = () =>
    Promise.resolve({ connections: 0, refused: 0, cut: 0, bytes: 0 }),
): Promise<Seen> {
  const watch = { startTimeMs: systemClock.now() + LEAD_MS, spanMs, drainMs };
  const timeoutMs = spanMs + drainMs + CALL_MARGIN_MS;
  const resident = new ResidentSize(server.pid);
  const processors = readProcessors([server.pid]);
  const used = coresOver(server.pid, processors, LEAD_MS + spanMs);
  try {
    const [camera, reader, health, tally, cores] = await Promise.all([
      innocents.camera.call('camera', watch, timeoutMs),
      innocents.reader.call('reader', watch, timeoutMs),
      innocents.prober.call('health', { url: server.url, watch }, timeoutMs),
      beside(watch),
      used,
    ]);
    return { camera, reader, health, tally, residentPeakMb: resident.peakMb, ...cores };
  } finally {
    resident.stop();
  }
}

async function coresOver(
  pid: number,
  from: ReturnType<typeof readProcessors>,
  forMs: number,
): Promise<Pick<Seen, 'mainCores' | 'otherCores'>> {
  await sleep(forMs);
  const use = new CoreUse();
  use.add(from, readProcessors([pid]));
  return { mainCores: use.main(pid), otherCores: use.others(pid) };
}

/** Looks at what is left, again and again until it is as it should be. */
async function settle(
  server: Server,
  { settleMs }: CasePlan,
  leftMb: () => Promise<number>,
): Promise<Pick<Case, 'memoryLeftMb' | 'chargedBytes'>> {
  const deadlineMs = performance.now() + settleMs;
  for (;;) {
    const memoryLeftMb = server.isGone ? Number.NaN : await leftMb();
    const charged = chargedBytes(await answer(server, '/api/performance/backpressure'));
    const isSettled = memoryLeftMb <= MEMORY_LEFT_MB && (charged ?? 0) === 0;
    if (isSettled || server.isGone || performance.now() >= deadlineMs) return { memoryLeftMb, chargedBytes: charged };
    await sleep(SETTLE_POLL_MS);
  }
}

/** NaN: it could not be asked. */
function lostBetween(before: Metrics | undefined, after: Metrics | undefined): number {
  if (before === undefined || after === undefined) return Number.NaN;
  const missing = after.engine.workerSlots - after.engine.workers;
  return after.engine.restarts - before.engine.restarts + after.engine.strays - before.engine.strays + missing;
}

/** Ends it by SIGTERM. */
export async function stopped(server: Server): Promise<Pick<Case, 'stopMs' | 'ended'>> {
  if (server.isGone) return { stopMs: Number.NaN, ended: (await server.stop()).text };
  const startMs = performance.now();
  const exit = server.stop();
  while (!server.isGone) await sleep(STOP_POLL_MS);
  const stopMs = performance.now() - startMs;
  await exit;
  return { stopMs, ended: undefined };
}
