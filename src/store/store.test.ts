import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../base/clock.ts';
import { Log } from '../log/log.ts';
import { Store, type StoreOptions, type StoreSettings } from './store.ts';

const MIB = 2 ** 20;

let folder: string;
let file: string;
let told: string[];
const open: Store[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-store-'));
  file = join(folder, 'sightline.db');
  told = [];
});
afterEach(async () => {
  for (const store of open.splice(0)) await store.close();
  rmSync(folder, { recursive: true, force: true });
});

function openStore(settings: Partial<StoreSettings> = {}, more: Partial<StoreOptions> = {}): Store {
  // Its own: an earlier store may still have something to say.
  const mine = told;
  const log = new Log({ clock: systemClock, sink: ({ event }) => void mine.push(event) });
  const all = { file, bytesMax: 8 * MIB, retention: {}, ...settings };
  const store = new Store({ settings: all, clock: systemClock, log, retryMs: 20, ...more });
  open.push(store);
  return store;
}

function expectBalanced(store: Store): void {
  const { published, written, superseded, dropped, queued } = store.report();
  expect(written + superseded + queued + Object.values(dropped).reduce((a, b) => a + b)).toBe(published);
}

const keysOf = async (store: Store, kind = 'k') => (await store.read(kind, 10_000)).map(({ key }) => key);

test('there is no file before the first record, and one that the next store reads', async () => {
  const store = openStore();
  expect(await store.read('k', 10)).toEqual([]);
  expect(store.report().state).toBe('idle');
  await store.close();
  expect(existsSync(file)).toBe(false);
  const second = openStore();
  for (let n = 0; n < 1_000; n++) second.put('k', `key${n}`, { n });
  second.put('k', 'key1', 'anew');
  second.delete('k', 'key2');
  expectBalanced(second);
  await second.close();
  expect(second.report()).toMatchObject({ published: 1_002, written: 1_000, superseded: 2, queued: 0 });
  const third = openStore();
  const records = await third.read('k', 10_000);
  expect(records).toHaveLength(999);
  expect(records.find(({ key }) => key === 'key1')!.value).toBe('"anew"');
  expect(third.report()).toMatchObject({ state: 'file', bytes: expect.any(Number) });
  expect(told).toEqual([]);
});

test('without a file nothing is kept, and nothing is said', async () => {
  const store = openStore({ file: undefined });
  store.put('k', 'a', 1);
  expect(await store.read('k', 10)).toEqual([]);
  expect(store.report()).toMatchObject({ state: 'memory', fault: null, published: 0 });
});

test('what waits has a bound: the oldest goes, and is counted', async () => {
  const store = openStore();
  for (let n = 0; n < 5_000; n++) store.put('k', `key${n}`, n);
  store.put('k', 'huge', 'x'.repeat(70_000));
  expect(store.report()).toMatchObject({ queued: 4_096, dropped: { queue_full: 904, too_large: 1 } });
  expectBalanced(store);
  await expect.poll(() => store.report().queued).toBe(0);
  expect(await keysOf(store)).toHaveLength(4_096);
  expect(told[0]).toBe('store_lost');
});

test('so have the characters of what waits', async () => {
  const store = openStore();
  for (let n = 0; n < 200; n++) store.put('k', `key${n}`, 'x'.repeat(60_000));
  for (let n = 190; n < 200; n++) store.put('k', `key${n}`, 'less');
  const { queued, dropped, superseded } = store.report();
  // 8 Mi of characters, in pieces of 60,002.
  expect([queued, dropped.queue_full, superseded]).toEqual([139, 61, 10]);
  expectBalanced(store);
  await expect.poll(() => store.report().queued).toBe(0);
  expect(await keysOf(store)).toHaveLength(139);
});

test('two of them on one file: the second waits in memory, says so, and writes once the first has gone', async () => {
  const first = openStore();
  first.put('k', 'first', 1);
  await expect.poll(() => first.report().written).toBe(1);
  const second = openStore();
  second.put('k', 'second', 1);
  await expect.poll(() => told).toEqual(['store_failed']);
  expect(second.report()).toMatchObject({ state: 'memory', fault: expect.stringMatching(/another process/) });
  second.put('k', 'second', 2);
  second.put('k', 'third', 1);
  expectBalanced(second);
  await first.close();
  await expect.poll(() => told).toEqual(['store_failed', 'store_recovered']);
  await expect.poll(() => second.report().queued).toBe(0);
  expectBalanced(second);
  expect(await keysOf(second)).toEqual(['first', 'second', 'third']);
});

test('a full disk: it goes on in memory, and writes the newest of everything when there is room', async () => {
  const small = openStore({ bytesMax: 8 * 4096 });
  for (let n = 0; n < 40; n++) small.put('k', `key${n}`, 'x'.repeat(2_000));
  await expect.poll(() => told).toEqual(['store_failed']);
  expect(small.report()).toMatchObject({ state: 'memory', written: 0, queued: 40 });
  // Room comes where records go that wait.
  for (let n = 2; n < 40; n++) small.delete('k', `key${n}`);
  await expect.poll(() => told).toEqual(['store_failed', 'store_recovered']);
  expect(await keysOf(small)).toEqual(['key0', 'key1']);
  expectBalanced(small);
});

test('a damaged file is moved aside, whoever wrote in it hears of it, and nothing goes silently', async () => {
  writeFileSync(file, 'rubbish'.repeat(2_000));
  let replaced = 0;
  const store: Store = openStore({}, { onReplaced: () => ++replaced && store.put('k', 'state', 'as it is') });
  expect(await store.read('k', 10)).toEqual([]);
  expect(told).toEqual(['store_replaced']);
  expect(replaced).toBe(1);
  const moved = readdirSync(folder).filter((name) => name.includes('.corrupt-'));
  expect(moved).toHaveLength(1);
  expect(readFileSync(join(folder, moved[0]!), 'utf8')).toMatch(/^rubbish/);
  await expect.poll(() => keysOf(store)).toEqual(['state']);
});

// To the superuser every folder can be written.
test.skipIf(process.getuid?.() === 0 || process.platform === 'win32')('a read-only folder', async () => {
  const locked = join(folder, 'locked');
  mkdirSync(locked, { mode: 0o500 });
  const store = openStore({ file: join(locked, 'sightline.db') });
  store.put('k', 'a', 1);
  await expect.poll(() => told).toEqual(['store_failed']);
  expect(store.report().fault).toMatch(/cannot be written/);
  chmodSync(locked, 0o700);
  await expect.poll(() => told).toEqual(['store_failed', 'store_recovered']);
});

test('a folder that is none is told, what has not been written by the end is counted, and closing takes no time', async () => {
  writeFileSync(join(folder, 'file'), '');
  const store = openStore({ file: join(folder, 'file', 'sightline.db') });
  store.put('k', 'a', 1);
  await expect.poll(() => told).toEqual(['store_failed']);
  await store.close();
  store.put('k', 'b', 1);
  expect(store.report()).toMatchObject({ queued: 0, written: 0, dropped: { closed: 2 } });
  expectBalanced(store);
});
