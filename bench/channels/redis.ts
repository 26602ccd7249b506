import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { RedisTier } from '../../src/channels/cache/redis-tier.ts';
import { REDIS, RedisServer } from '../../test/support/redis.ts';
import type { FleetBench } from '../fleet/world.ts';
import { atMost, type Bar } from '../support/document.ts';
import { median, percentile } from '../support/statistics.ts';

/** What more connections to Redis gain: one carries all questions at once. */

const CONNECTIONS = [1, 4, 50] as const;
const FULL = { rounds: 5, spanMs: 3_000 } as const;
const QUICK = { rounds: 1, spanMs: 500 } as const;
/** Who asks at the same time. */
const ASKERS = 100;
const FRAGMENTS = 200;
/** Of a second of a camera at 768×432. */
const FRAGMENT_BYTES = 64 * 1024;
const OPEN_TIMEOUT_MS = 30_000;

export async function measureRedis(bench: FleetBench): Promise<{ own: Record<string, number>; bars: Bar[] }> {
  if (REDIS === undefined) {
    bench.say('left out: there is no Redis (Debian: redis-server) in PATH');
    return { own: {}, bars: [] };
  }
  const plan = bench.quick ? QUICK : FULL;
  await using stack = new AsyncDisposableStack();
  const redis = stack.use(await RedisServer.start());
  const tiers: {
    readonly connections: number;
    readonly tier: RedisTier;
    readonly rates: number[];
    readonly p95: number[];
  }[] = [];
  for (const connections of CONNECTIONS) {
    const tier = await opened(redis.url, connections, bench.signal);
    stack.defer(() => tier.close());
    tiers.push({ connections, tier, rates: [], p95: [] });
  }
  // By turns: what drifts hits all alike.
  for (let round = 0; round < plan.rounds; round++) {
    for (const { tier, rates, p95 } of tiers) {
      const tookMs = await asked(tier, plan.spanMs);
      rates.push((tookMs.length / plan.spanMs) * 1_000);
      p95.push(percentile(tookMs, 95));
    }
  }
  const own: Record<string, number> = {};
  for (const { connections, tier, rates, p95 } of tiers) {
    own[`redis_${connections}_gets_per_s`] = median(rates);
    own[`redis_${connections}_p95_ms`] = median(p95);
    own[`redis_${connections}_failures`] = tier.report().failures;
    bench.say(
      `${connections} connections: ${median(rates).toFixed(0)} fragments a second, p95 ${median(p95).toFixed(2)} ms`,
    );
  }
  const gain = Math.max(own['redis_4_gets_per_s']!, own['redis_50_gets_per_s']!) / own['redis_1_gets_per_s']!;
  own['redis_pool_gain'] = gain;
  // The default is one connection: it stands as long as more of them gain less than that.
  return { own, bars: [atMost('redis_pool_gain', gain, 1.25)] };
}

/** With all fragments in it. */
async function opened(url: string, connections: number, signal: AbortSignal): Promise<RedisTier> {
  const tier = new RedisTier({
    clock: systemClock,
    settings: {
      url,
      prefix: `bench:${connections}:`,
      keepMs: 3_600_000,
      bytesMax: 2 ** 30,
      connections,
      timeoutMs: 5_000,
    },
    onChanged: () => {},
  });
  await tier.open();
  const deadlineMs = performance.now() + OPEN_TIMEOUT_MS;
  while (tier.report().entries < FRAGMENTS) {
    if (performance.now() > deadlineMs) throw new Error(`Redis takes no fragments: ${tier.report().reason}`);
    for (let i = 0; i < FRAGMENTS; i++) tier.put(String(i), new Uint8Array(FRAGMENT_BYTES).fill(i));
    await sleep(100, undefined, { signal });
  }
  return tier;
}

/** How long each question took, ms. */
async function asked(tier: RedisTier, spanMs: number): Promise<number[]> {
  const untilMs = performance.now() + spanMs;
  const tookMs: number[] = [];
  await Promise.all(
    Array.from({ length: ASKERS }, async (_, asker) => {
      for (let i = asker; performance.now() < untilMs; i++) {
        const beginMs = performance.now();
        const found = await tier.get(String(i % FRAGMENTS));
        if (found?.length !== FRAGMENT_BYTES) throw new Error('Redis has lost a fragment');
        tookMs.push(performance.now() - beginMs);
      }
    }),
  );
  return tookMs;
}
