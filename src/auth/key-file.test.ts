import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseGrant } from './grants.ts';
import { changeKeys, loadKeys } from './key-file.ts';
import { makeKey } from './keys.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-keys-'));
  path = join(folder, 'own', 'keys.json');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const key = (name: string) => makeKey({ name, grants: [parseGrant('read')], createdMs: 0 }).key;
const add = (name: string) => changeKeys(path, (ring) => ({ ...ring, keys: [...ring.keys, key(name)] }));

test('without a file there is no key', async () => {
  expect(await loadKeys(path)).toEqual({ keys: [], revokedTokens: [] });
});

test('only its owner may read it, and nothing is left beside it', async () => {
  await add('one');
  expect((await loadKeys(path)).keys.map(({ name }) => name)).toEqual(['one']);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(join(folder, 'own'))).toEqual(['keys.json']);
});

test.runIf(process.getuid?.() === 0)(
  'what the superuser makes belongs to the owner of the folder, or of the file',
  async () => {
    const own = join(folder, 'own');
    mkdirSync(own);
    chownSync(own, 4711, 4712);
    await add('one');
    expect(statSync(path)).toMatchObject({ uid: 4711, gid: 4712 });
    chownSync(path, 4713, 4714);
    await add('two');
    expect(statSync(path)).toMatchObject({ uid: 4713, gid: 4714 });
  },
);

test('changes at the same time are made one after another', async () => {
  const names = Array.from({ length: 12 }, (_, i) => `k${i}`);
  await Promise.all(names.map(add));
  expect((await loadKeys(path)).keys.map(({ name }) => name).toSorted()).toEqual(names.toSorted());
});

test('a change that fails leaves the file as it was, and the next one goes on', async () => {
  await add('one');
  const before = readFileSync(path, 'utf8');
  await expect(
    changeKeys(path, () => {
      throw new Error('no');
    }),
  ).rejects.toThrow('no');
  expect(readFileSync(path, 'utf8')).toBe(before);
  await add('two');
  expect((await loadKeys(path)).keys).toHaveLength(2);
});

test('a file that is broken is not overwritten', async () => {
  await add('one');
  writeFileSync(path, '{ "version": 1, "keys": [');
  await expect(add('two')).rejects.toMatchObject({ code: 'CREDENTIALS_UNREADABLE' });
  expect(readFileSync(path, 'utf8')).toBe('{ "version": 1, "keys": [');
});

/** Of a command that was killed so many seconds ago; less than 0: before the clock was set back. */
function leaveLock(secondsAgo: number): void {
  writeFileSync(`${path}.lock`, 'somebody');
  const then = new Date(Date.now() - secondsAgo * 1_000);
  utimesSync(`${path}.lock`, then, then);
}

test.each([2.7, 60, -60])('the lock of a command that was killed %d s ago does not stay', async (secondsAgo) => {
  await add('one');
  leaveLock(secondsAgo);
  await add('two');
  expect(existsSync(`${path}.lock`)).toBe(false);
});

test('many that find such a lock lose no change: each is made, or said not to be', async () => {
  await add('one');
  leaveLock(60);
  const names = Array.from({ length: 12 }, (_, i) => `k${i}`);
  const settled = await Promise.allSettled(names.map(add));
  const made = names.filter((_, i) => settled[i]!.status === 'fulfilled');
  expect(made).not.toEqual([]);
  expect((await loadKeys(path)).keys.map(({ name }) => name).toSorted()).toEqual(['one', ...made].toSorted());
  expect(readdirSync(join(folder, 'own'))).toEqual(['keys.json']);
});

test('where nothing can be written it says so', async () => {
  writeFileSync(join(folder, 'own'), 'a file where the folder should be');
  await expect(add('one')).rejects.toMatchObject({ code: 'OUTPUT_FAILED', message: expect.stringContaining(path) });
});
