import { createClient, type RedisClientType } from '@redis/client';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../../src/base/clock.ts';
import { RedisTier, type RedisTierSettings } from '../../src/channels/cache/redis-tier.ts';
import { REDIS, RedisServer } from '../support/redis.ts';
import { ServerProcess } from '../support/server-process.ts';

/** The cache's tier with a real Redis. */

test.skipIf(REDIS === undefined)(
  'the real command goes on without Redis, says so, and shows its password to nobody',
  async () => {
    await using redis = await RedisServer.start(['--requirepass', 'open-sesame']);
    const url = redis.url.replace('//', '//:open-sesame@');
    const server = await ServerProcess.start(['serve', '--set', `cache.redis_url=${url}`]);
    try {
      interface Cache {
        readonly tiers: readonly { readonly name: string; readonly state: string; readonly reason: string | null }[];
      }
      const tiers = async () => (await server.json<Cache>('/api/cache')).tiers;
      const state = async () => (await tiers()).map(({ name, state: one }) => `${name} ${one}`);
      const wait = { timeout: 30_000 };
      await expect.poll(state, wait).toEqual(['redis working']);
      await redis.kill();
      await expect.poll(state, wait).toEqual(['redis failing']);
      expect((await tiers())[0]!.reason).not.toBeNull();
      expect((await fetch(`${server.url}/health`)).status).toBe(200);
      await redis.start();
      await expect.poll(state, wait).toEqual(['redis working']);
      const told = JSON.stringify(await server.json('/api/config')) + server.err;
      expect(told).toContain('cache_failed');
      expect(told).not.toContain('sesame');
    } finally {
      await server.stop();
    }
  },
);

describe.skipIf(REDIS === undefined)('the tier of Redis', () => {
  let redis: RedisServer;
  let other: RedisClientType;
  let clock: ManualClock;
  let tier: RedisTier;
  let told: (string | undefined)[];

  beforeEach(() => {
    clock = new ManualClock(0);
    told = [];
  });
  afterEach(async () => {
    await tier.close();
    const { offered, kept, dropped, waiting } = tier.report();
    expect(kept + dropped.queue + dropped.failed + dropped.off + waiting).toBe(offered);
    expect(waiting).toBe(0);
    other?.destroy();
    await redis[Symbol.asyncDispose]();
  });

  async function open(settings: Partial<RedisTierSettings> = {}, words: readonly string[] = []): Promise<void> {
    redis = await RedisServer.start(words);
    other = createClient({ url: redis.url });
    other.on('error', () => undefined);
    await other.connect();
    const { url } = redis;
    const all = { url, prefix: 'mine:', keepMs: 60_000, bytesMax: 1_000_000, connections: 2, timeoutMs: 5_000 };
    tier = new RedisTier({ clock, settings: { ...all, ...settings }, onChanged: (reason) => void told.push(reason) });
    await tier.open();
    await put('first');
  }

  const fragment = (size = 1_000) => new Uint8Array(size).fill(9);
  /** Until it is there: the connection may not be yet. */
  async function put(key: string, bytes = fragment()): Promise<void> {
    await expect
      .poll(
        async () => {
          clock.advance(2_000);
          tier.put(key, bytes);
          await expect.poll(() => tier.report().waiting, { interval: 2, timeout: 20_000 }).toBe(0);
          return tier.get(key);
        },
        { timeout: 30_000 },
      )
      .toEqual(Buffer.from(bytes));
  }

  test('keeps fragments under its own prefix for their time, beside the keys of others', async () => {
    await open();
    await other.set('first', 'of another');
    expect(await other.keys('*')).toEqual(expect.arrayContaining(['mine:first', 'first']));
    expect(await other.pTTL('mine:first')).toBeGreaterThan(50_000);
    expect(await tier.get('first')).toEqual(Buffer.from(fragment()));
    expect(await tier.get('never put')).toBeUndefined();
    expect(tier.report()).toMatchObject({ state: 'working', reason: undefined, entries: 1 });
    clock.advance(60_000);
    tier.sweep();
    expect(tier.report()).toMatchObject({ entries: 0, bytes: 0 });
  });

  test('what is not what was put there counts as nothing', async () => {
    await open();
    await put('second');
    await put('third');
    await other.set('mine:first', 'of another');
    await other.del('mine:second');
    await other.lPush('mine:second', 'a list');
    await other.del('mine:third');
    expect(await tier.get('first')).toBeUndefined();
    expect(tier.report().damaged).toBe(1);
    expect(await tier.get('second')).toBeUndefined();
    expect(tier.report()).toMatchObject({ state: 'failing', reason: expect.stringContaining('WRONGTYPE') });
    clock.advance(2_000);
    expect(await tier.get('third')).toBeUndefined();
    expect(tier.report().state).toBe('working');
  });

  test('beyond its own bound the oldest go', async () => {
    await open({ bytesMax: 5_000 });
    for (const key of ['a', 'b', 'c', 'd', 'e']) await put(key);
    expect((await other.keys('mine:*')).toSorted()).toEqual(['mine:b', 'mine:c', 'mine:d', 'mine:e']);
    expect(tier.report().bytes).toBeLessThanOrEqual(5_000);
  });

  test('one that is full is told, and still gives what it has', async () => {
    await open();
    await other.configSet('maxmemory-policy', 'noeviction');
    await other.configSet('maxmemory', '1');
    clock.advance(2_000);
    const { failed } = tier.report().dropped;
    tier.put('more', fragment());
    await expect.poll(() => tier.report().dropped.failed).toBe(failed + 1);
    expect(tier.report()).toMatchObject({ state: 'failing', reason: expect.stringContaining('OOM') });
    expect(await tier.get('first')).toEqual(Buffer.from(fragment()));
    await other.configSet('maxmemory', '0');
    await put('more');
    expect(tier.report().state).toBe('working');
  });

  test('one that stands still is not waited for', async () => {
    await open({ timeoutMs: 50 });
    const { failures } = tier.report();
    redis.signal('SIGSTOP');
    expect(await tier.get('first')).toBeUndefined();
    expect(tier.report()).toMatchObject({ state: 'failing', reason: 'no answer within 50 ms' });
    // Nobody asks it for a while.
    expect(await tier.get('first')).toBeUndefined();
    expect(tier.report().failures).toBe(failures + 1);
    redis.signal('SIGCONT');
    await expect
      .poll(
        () => {
          clock.advance(2_000);
          return tier.get('first');
        },
        { timeout: 30_000 },
      )
      .toEqual(Buffer.from(fragment()));
    expect(tier.report().state).toBe('working');
  });

  test('one that is killed and comes back is used again', async () => {
    await open();
    await redis.kill();
    await expect.poll(() => tier.report().state).toBe('failing');
    const { off } = tier.report().dropped;
    tier.put('lost', fragment());
    expect(tier.report().dropped.off).toBe(off + 1);
    expect(await tier.get('first')).toBeUndefined();
    await redis.start();
    await expect.poll(() => tier.report().state, { timeout: 30_000 }).toBe('working');
    expect(await tier.get('first')).toBeUndefined();
    await put('second');
    expect(told.at(-1)).toBeUndefined();
  });
});
