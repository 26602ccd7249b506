import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ManualClock } from '../../base/clock.ts';
import { DiskTier } from './disk-tier.ts';
import { sealedBytes } from './envelope.ts';

let parent: string;
let clock: ManualClock;
let tier: DiskTier;
let told: (string | undefined)[];
let settings: { folder: string; bytesMax: number; keepMs: number };

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'sightline-disk-tier-'));
  clock = new ManualClock(0);
  told = [];
  settings = { folder: join(parent, 'cache'), bytesMax: 10_000, keepMs: 60_000 };
  tier = new DiskTier({ clock, settings: () => settings, onChanged: (reason) => void told.push(reason) });
});
afterEach(async () => {
  await tier.close();
  const { offered, kept, dropped, waiting, bytes, entries } = tier.report();
  expect(kept + dropped.queue + dropped.failed + dropped.off + waiting).toBe(offered);
  expect([waiting, bytes, entries]).toEqual([0, 0, 0]);
  await rm(parent, { recursive: true, force: true });
});

const fragment = (size: number, value = 7) => new Uint8Array(size).fill(value);
const written = () => expect.poll(() => tier.report().waiting, { interval: 2 }).toBe(0);
async function put(key: string, bytes = fragment(100)): Promise<void> {
  tier.put(key, bytes);
  await written();
}
const own = async () => join(settings.folder, (await readdir(settings.folder))[0]!);
const files = async () => (await readdir(await own())).length;

test('keeps fragments until they are too old, and removes their files', async () => {
  await put('a');
  clock.advance(30_000);
  await put('b', fragment(50, 1));
  expect(await tier.get('a')).toEqual(Buffer.from(fragment(100)));
  expect(await tier.get('none')).toBeUndefined();
  clock.advance(30_000);
  expect(await tier.get('a')).toBeUndefined();
  tier.sweep();
  expect(tier.report()).toMatchObject({ entries: 1, bytes: sealedBytes('b', fragment(50)) });
  await expect.poll(files).toBe(1);
});

test('the oldest give way', async () => {
  for (const key of ['a', 'b', 'c', 'd']) await put(key, fragment(3_000));
  expect(await tier.get('a')).toBeUndefined();
  expect(await tier.get('d')).toHaveLength(3_000);
  expect(tier.report().entries).toBe(3);
  settings = { ...settings, bytesMax: 4_000 };
  tier.sweep();
  expect(tier.report().entries).toBe(1);
  await expect.poll(files).toBe(1);
});

test('what was damaged on the disk is not there', async () => {
  await put('a');
  await put('b');
  const folder = await own();
  const [first, second] = (await readdir(folder)).toSorted();
  const content = await readFile(join(folder, first!));
  content[content.length - 1]! ^= 1;
  await writeFile(join(folder, first!), content);
  await truncate(join(folder, second!), 20);
  expect([await tier.get('a'), await tier.get('b')]).toEqual([undefined, undefined]);
  expect(tier.report()).toMatchObject({ damaged: 2, entries: 0 });
});

test('a folder that cannot be made is told once; what comes meanwhile is dropped, and it works when that can be', async () => {
  await writeFile(settings.folder, 'a file in its place');
  await put('a');
  await put('b');
  expect(tier.report()).toMatchObject({ state: 'failing', dropped: { failed: 1, off: 1, queue: 0 } });
  await rm(settings.folder);
  clock.advance(2_000);
  await put('c');
  expect(tier.report()).toMatchObject({ state: 'working', reason: undefined, kept: 1 });
  expect(told).toEqual([expect.stringMatching(/EEXIST|ENOTDIR/), undefined]);
  expect(await tier.get('c')).toHaveLength(100);
});

test('what was removed behind its back is not there', async () => {
  await put('a');
  await rm(await own(), { recursive: true });
  expect(await tier.get('a')).toBeUndefined();
  expect(tier.report()).toMatchObject({ state: 'failing', failures: 1, entries: 0 });
  clock.advance(2_000);
  await put('b');
  await put('c');
  clock.advance(2_000);
  await put('d');
  expect(await tier.get('d')).toHaveLength(100);
});

test('folders of processes that are no more go, others stay', async () => {
  const { pid: gone } = spawnSync(process.execPath, ['--version']);
  await mkdir(settings.folder);
  const [ended, alive, foreign] = [
    `sightline-cache-${gone}-00000000`,
    `sightline-cache-${process.ppid}-00000000`,
    'of-somebody',
  ];
  for (const name of [ended, alive, foreign]) await mkdir(join(settings.folder, name));
  await put('a');
  const names = await readdir(settings.folder);
  expect(names).not.toContain(ended);
  expect(names).toEqual(expect.arrayContaining([alive, foreign]));
  await tier.close();
  expect((await readdir(settings.folder)).toSorted()).toEqual([alive, foreign].toSorted());
});

test('of what is brought faster than the disk takes it, the newest is dropped', async () => {
  settings = { ...settings, bytesMax: 2 ** 30 };
  const large = fragment(8 * 2 ** 20);
  for (let i = 0; i < 10; i++) tier.put(`${i}`, large);
  expect(tier.report().dropped.queue).toBe(6);
  await expect.poll(() => tier.report().waiting, { timeout: 20_000 }).toBe(0);
  expect(tier.report()).toMatchObject({ offered: 10, kept: 4 });
});
