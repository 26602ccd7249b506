import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ManualClock } from '../../base/clock.ts';
import { FragmentCache } from './fragment-cache.ts';
import { NO_DROPS, type FarTier, type FarTierName } from './tier.ts';

const bytesOf = (text: string) => new TextEncoder().encode(text);

/** A tier that has what it was given at once. */
class Shelf implements FarTier {
  readonly name: FarTierName;
  readonly kept = new Map<string, Uint8Array>();

  constructor(name: FarTierName) {
    this.name = name;
  }

  get(key: string): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.kept.get(key));
  }

  put(key: string, bytes: Uint8Array): void {
    this.kept.set(key, bytes);
  }

  sweep(): void {}

  report() {
    const { size: entries } = this.kept;
    const counts = { offered: 0, kept: 0, dropped: NO_DROPS, waiting: 0, damaged: 0, failures: 0 };
    return { state: 'working', reason: undefined, entries, bytes: 0, bytesMax: 0, ...counts } as const;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

let clock: ManualClock;
let redis: Shelf;
let disk: Shelf;
let cache: FragmentCache;

beforeEach(() => {
  clock = new ManualClock(0);
  [redis, disk] = [new Shelf('redis'), new Shelf('disk')];
  cache = new FragmentCache({ clock, tiers: [redis, disk], settings: () => ({ bytesMax: 10_000, idleMs: 5_000 }) });
});
afterEach(async () => {
  const { asked, found, joined, missing, failed, filling, ahead } = cache.report();
  expect(Object.values(found).reduce((sum, one) => sum + one, 0) + joined + missing + failed).toBe(asked);
  expect(filling).toBe(0);
  clock.advance(5_000);
  cache.sweep();
  expect(cache.report().ahead.wastedBytes + ahead.usedBytes).toBe(ahead.fetchedBytes);
  await cache.close();
});

const text = async (bytes: Promise<Uint8Array | undefined>) => {
  const found = await bytes;
  return found && new TextDecoder().decode(found);
};

test('many who ask at once cause one fill; who comes later finds it in memory', async () => {
  const { promise, resolve } = Promise.withResolvers<Uint8Array>();
  const fill = vi.fn<() => Promise<Uint8Array>>(() => promise);
  const answers = Array.from({ length: 1_000 }, () => text(cache.get({ key: 'a', fill })));
  resolve(bytesOf('fragment'));
  expect(new Set(await Promise.all(answers))).toEqual(new Set(['fragment']));
  expect(await text(cache.get({ key: 'a', fill }))).toBe('fragment');
  expect(fill).toHaveBeenCalledTimes(1);
  expect(cache.report()).toMatchObject({ joined: 999, found: { memory: 1, redis: 0, disk: 0, source: 1 } });
});

test('what was found further away is put into what is nearer', async () => {
  const fill = () => Promise.resolve(undefined);
  disk.put('a', bytesOf('far'));
  expect(await text(cache.get({ key: 'a', fill }))).toBe('far');
  expect(redis.kept.has('a')).toBe(true);
  clock.advance(5_000);
  cache.sweep();
  expect(await text(cache.get({ key: 'a', fill }))).toBe('far');
  expect(cache.report().found).toEqual({ memory: 0, redis: 1, disk: 1, source: 0 });
  expect(await cache.get({ key: 'b', fill })).toBeUndefined();
  expect(cache.report().missing).toBe(1);
});

test('what comes from the source goes into all tiers but those that are of no use', async () => {
  await cache.get({ key: 'a', fill: () => Promise.resolve(bytesOf('a')), without: ['disk'] });
  await cache.get({ key: 'b', fill: () => Promise.resolve(bytesOf('b')) });
  cache.offer('c', bytesOf('c'));
  expect([...redis.kept.keys()]).toEqual(['a', 'b', 'c']);
  expect([...disk.kept.keys()]).toEqual(['b', 'c']);
});

test('a fill that fails is told to all who wait, and tried again by the next', async () => {
  const fill = vi.fn<() => Promise<never>>(() => Promise.reject(new Error('unreadable')));
  const both = [cache.get({ key: 'a', fill }), cache.get({ key: 'a', fill })];
  for (const one of both) await expect(one).rejects.toThrow('unreadable');
  expect(await text(cache.get({ key: 'a', fill: () => Promise.resolve(bytesOf('now')) }))).toBe('now');
  expect(cache.report()).toMatchObject({ failed: 1, joined: 1, found: { source: 1 } });
});

test('what was fetched ahead is a hit for whoever asks, also while it is fetched', async () => {
  const { promise, resolve } = Promise.withResolvers<Uint8Array>();
  const ahead = cache.ahead({ key: 'a', fill: () => promise });
  const asked = text(cache.get({ key: 'a', fill: () => Promise.reject(new Error('asked twice')) }));
  resolve(bytesOf('four'));
  await ahead;
  expect(await asked).toBe('four');
  await cache.ahead({ key: 'b', fill: () => Promise.resolve(bytesOf('bb')) });
  await cache.ahead({ key: 'b', fill: () => Promise.reject(new Error('it is there')) });
  expect(await text(cache.get({ key: 'b', fill: () => Promise.reject(new Error('it is there')) }))).toBe('bb');
  await cache.ahead({ key: 'c', fill: () => Promise.resolve(bytesOf('ccc')) });
  await cache.ahead({ key: 'd', fill: () => Promise.reject(new Error('unreadable')) });
  expect(cache.report().ahead).toMatchObject({ fetches: 4, hits: 2, usedBytes: 6, fetchedBytes: 9 });
});

test('fetches ahead wait for nobody: where much is being filled, they are left', async () => {
  const { promise, resolve } = Promise.withResolvers<Uint8Array>();
  const fills = Array.from({ length: 8 }, (_, i) => cache.get({ key: `${i}`, fill: () => promise }));
  await cache.ahead({ key: 'more', fill: () => promise });
  expect(cache.report().ahead).toMatchObject({ fetches: 0, refused: 1 });
  resolve(bytesOf('x'));
  await Promise.all(fills);
});

test('the more is wasted, the likelier it has to be', async () => {
  const before = cache.worthAhead;
  for (let i = 0; i < 10; i++) await cache.ahead({ key: `${i}`, fill: () => Promise.resolve(new Uint8Array(100)) });
  clock.advance(5_000);
  cache.sweep();
  const wasted = cache.worthAhead;
  expect(wasted).toBeGreaterThan(before);
  for (let i = 0; i < 100; i++) {
    const key = `more ${i}`;
    const request = { key, fill: () => Promise.resolve(new Uint8Array(100)) };
    await cache.ahead(request);
    await cache.get(request);
  }
  expect(cache.worthAhead).toBeLessThan(wasted);
});
