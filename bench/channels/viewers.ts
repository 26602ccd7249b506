import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CacheReport } from '../../src/http/cache.ts';
import { NumberedWorld } from '../fleet/numbered-world.ts';
import { SEED, type FleetBench } from '../fleet/world.ts';
import { Helper } from '../support/children.ts';
import { atLeast, atMost, type Bar } from '../support/document.ts';
import { CoreUse, readProcessors } from '../support/processors.ts';
import { setRecord } from './recorded.ts';
import type { PlayersApi, PlayersSeen } from './players-process.ts';

/** Many viewers of a few channels, live and of what was recorded, and what the cache spares them. */

const FULL = { viewers: 1_000, liveMs: 90_000, longerMs: 120_000, recordedSteps: 20, traceSteps: 300 } as const;
const QUICK = { viewers: 100, liveMs: 30_000, longerMs: 30_000, recordedSteps: 6, traceSteps: 100 } as const;
const CAMERAS = 10;
const SET = { width: 320, height: 180, keyEvery: 12, rateFps: 12.5, bFrames: 0, ageMs: 0, frames: 240 } as const;
/** Parts of 160 ms would be 12,500 requests a second of 1,000 viewers. */
const PART_MS = 1_000;
const RECORDED_STEP_MS = 2_000;
const TRACE_VIEWERS = 4;
const TRACE_STEP_MS = 400;
/** What was fetched ahead, and nobody has asked for, is wasted by then. */
const IDLE_MS = 7_000;
const MARGIN_MS = 60_000;
const SETTINGS = [
  `hls.part_ms=${PART_MS}`,
  'hls.waiting_max=4000',
  'server.max_connections=3000',
  'archive.free_bytes_min=0',
];

type Cache = CacheDocument['requests'] & { readonly ahead: CacheDocument['ahead'] };

/** `GET /api/cache`. */
interface CacheDocument {
  readonly requests: Omit<CacheReport, 'ahead' | 'memory' | 'tiers'>;
  readonly ahead: Readonly<Record<'hits' | 'fetches' | 'fetched_bytes' | 'used_bytes' | 'wasted_bytes', number>>;
}

export async function measureViewers(bench: FleetBench): Promise<{ own: Record<string, number>; bars: Bar[] }> {
  const { say, signal, quick } = bench;
  const plan = quick ? QUICK : FULL;
  const words = [...SETTINGS, `archive.folder=${join(bench.folder, 'viewers')}`].flatMap((one) => ['--set', one]);
  await using numbered = await NumberedWorld.open(bench, { ...SET, count: CAMERAS }, () => 'none', words);
  await using players = new Helper<PlayersApi>(new URL('players-process.ts', import.meta.url), signal);
  const { server } = numbered.world;
  const { url } = server;
  for (const id of numbered.ids) await setRecord(url, id, 'continuous');
  const own: Record<string, number> = {};
  const measure = async (name: string, run: () => Promise<PlayersSeen>) => {
    const before = await cacheOf(url);
    const processors = readProcessors([server.pid]);
    const seen = await run();
    const use = new CoreUse();
    use.add(processors, readProcessors([server.pid]));
    const cache = difference(await cacheOf(url), before);
    const { memory, source, redis, disk } = cache.found;
    // Of what was asked for: what was fetched ahead as well.
    const fills = source + redis + disk + cache.ahead.hits;
    const figures = {
      requests: seen.requests,
      failed: seen.failed,
      bytes: seen.bytes,
      first_byte_p50_ms: seen.firstByteP50Ms,
      first_byte_p95_ms: seen.firstByteP95Ms,
      memory_share: memory / Math.max(1, memory + source + redis + disk),
      fills,
      fills_each: fills / Math.max(1, seen.different),
      joined: cache.joined,
      server_cores: use.main(server.pid) + use.others(server.pid),
    };
    for (const [figure, value] of Object.entries(figures)) own[`viewers_${name}_${figure}`] = value;
    say(
      `${name}: ${seen.requests} fragments (${seen.failed} failed), first byte p95 ${seen.firstByteP95Ms.toFixed(1)} ms, ${(100 * figures.memory_share).toFixed(2)} % from memory, ${figures.fills} fills of ${seen.different}`,
    );
    return { figures, cache };
  };

  const paths = numbered.ids.map((id) => `/hls/${id}/raw/media.m3u8`);
  const { figures: live } = await measure('live', () =>
    players.call('live', { url, paths, viewers: plan.viewers, spanMs: plan.liveMs }, plan.liveMs + MARGIN_MS),
  );
  await sleep(plan.longerMs, undefined, { signal });
  // What is recorded later is in no list, and nobody asks for it.
  for (const id of numbered.ids) await setRecord(url, id, 'off');
  const fragments = await Promise.all(numbered.ids.map((id) => fragmentsOf(url, id)));
  const { figures: recorded } = await measure('recorded', () =>
    players.call(
      'recorded',
      { url, fragments, viewers: plan.viewers, stepMs: RECORDED_STEP_MS, steps: plan.recordedSteps },
      RECORDED_STEP_MS * plan.recordedSteps + MARGIN_MS,
    ),
  );
  await sleep(IDLE_MS, undefined, { signal });
  const { cache } = await measure('trace', async () => {
    const seen = await players.call(
      'trace',
      { url, fragments, viewers: TRACE_VIEWERS, stepMs: TRACE_STEP_MS, steps: plan.traceSteps, seed: SEED },
      TRACE_STEP_MS * plan.traceSteps + MARGIN_MS,
    );
    await sleep(IDLE_MS, undefined, { signal });
    return seen;
  });
  const { hits, fetched_bytes: fetched, wasted_bytes: wasted } = cache.ahead;
  const wastedShare = wasted / Math.max(1, fetched);
  Object.assign(own, { viewers_ahead_hits: hits, viewers_ahead_wasted_share: wastedShare });
  say(`fetched ahead: ${hits} hits, ${(100 * wastedShare).toFixed(1)} % of the bytes wasted`);
  return {
    own,
    bars: [
      atLeast('viewers_live_memory_share', live.memory_share, 0.99),
      atMost('viewers_live_first_byte_p95_ms', live.first_byte_p95_ms, 20),
      atMost('viewers_live_failed', live.failed, 0),
      atMost('viewers_recorded_fills_each', recorded.fills_each, 1),
      atMost('viewers_recorded_first_byte_p95_ms', recorded.first_byte_p95_ms, 20),
      atMost('viewers_recorded_failed', recorded.failed, 0),
      atLeast('viewers_ahead_hits', hits, 1),
      atMost('viewers_ahead_wasted_share', wastedShare, 0.2),
    ],
  };
}

async function cacheOf(url: string): Promise<Cache> {
  const { requests, ahead } = (await (await fetch(`${url}/api/cache`)).json()) as CacheDocument;
  return { ...requests, ahead };
}

function difference(after: Cache, before: Cache): Cache {
  const { found, ahead, ...counts } = after;
  return { ...less(counts, before), found: less(found, before.found), ahead: less(ahead, before.ahead) };
}

function less<K extends string>(one: Readonly<Record<K, number>>, other: Readonly<Record<NoInfer<K>, number>>) {
  const entries = Object.entries<number>(one).map(([name, n]) => [name, n - other[name as K]]);
  return Object.fromEntries(entries) as Record<K, number>;
}

/** Of all that was recorded, in the order of time. */
async function fragmentsOf(url: string, id: string): Promise<string[]> {
  const { spans } = (await (await fetch(`${url}/api/cameras/${id}/recordings`)).json()) as {
    spans: { from: number; to: number }[];
  };
  const [from, to] = [Math.floor(spans[0]!.from), Math.ceil(spans.at(-1)!.to)];
  const list = await (await fetch(`${url}/recordings/${id}/media.m3u8?from=${from}&to=${to}`)).text();
  return list
    .split('\n')
    .filter((line) => line.endsWith('.m4s'))
    .map((line) => `/recordings/${id}/${line}`);
}
