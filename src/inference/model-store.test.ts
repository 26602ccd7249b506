import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { ModelStore, sha256Of } from './model-store.ts';

let dir: string;
let clock: ManualClock;
let store: ModelStore;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sightline-store-'));
  clock = new ManualClock();
  store = new ModelStore(dir, 1000, clock);
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const bytes = (value: number, length = 400) => new Uint8Array(length).fill(value);
const NONE = new Set<string>();

async function putUsed(value: number): Promise<string> {
  await store.put(bytes(value), 'onnx', NONE);
  clock.advance(1000);
  await store.find(sha256Of(bytes(value)), 'onnx');
  return sha256Of(bytes(value));
}

const names = async () => (await readdir(join(dir, 'files'))).toSorted();

test('what was put is found, and what was not is not', async () => {
  const path = await store.put(bytes(1), 'onnx', NONE);
  const sha256 = sha256Of(bytes(1));
  expect(await store.find(sha256, 'onnx')).toBe(path);
  expect(await store.has(sha256, 'onnx')).toBe(true);
  expect(await store.find(sha256, 'tflite')).toBeUndefined();
  expect(await store.find(sha256Of(bytes(2)), 'onnx')).toBeUndefined();
  expect(await names()).toEqual([`${sha256}.onnx`]);
});

test('a damaged or cut file counts as not there and is thrown away', async () => {
  for (const content of [bytes(9), bytes(1, 399), new Uint8Array()]) {
    const path = await store.put(bytes(1), 'onnx', NONE);
    await writeFile(path, content);
    expect(await store.find(sha256Of(bytes(1)), 'onnx')).toBeUndefined();
    expect(await names()).toEqual([]);
  }
});

test('a full cache lets go of what was used least recently', async () => {
  const [a, b] = [await putUsed(1), await putUsed(2)];
  clock.advance(1000);
  await store.find(a, 'onnx');
  const c = await putUsed(3);
  expect(await names()).toEqual([`${a}.onnx`, `${c}.onnx`].toSorted());
  expect(await store.has(b, 'onnx')).toBe(false);
});

test('what is kept stays, and what does not fit beside it is refused', async () => {
  const [a, b] = [await putUsed(1), await putUsed(2)];
  await store.put(bytes(3), 'onnx', new Set([a]));
  expect(await store.has(a, 'onnx')).toBe(true);
  expect(await store.has(b, 'onnx')).toBe(false);
  await expect(store.put(bytes(4, 700), 'onnx', new Set([a]))).rejects.toMatchObject({
    code: 'MODEL_UNAVAILABLE',
    message: expect.stringContaining('models.cache_bytes_max'),
  });
});

test('temporary files of processes that died are cleared away, those of others are left', async () => {
  await mkdir(join(dir, 'files'), { recursive: true });
  for (const [name, ageS] of [
    ['old', 7200],
    ['new', 10],
  ] as const) {
    const path = join(dir, 'files', `${name}.tmp`);
    await writeFile(path, 'x');
    await utimes(path, clock.now() / 1000 - ageS, clock.now() / 1000 - ageS);
  }
  await store.put(bytes(1), 'onnx', NONE);
  expect(await names()).toEqual([`${sha256Of(bytes(1))}.onnx`, 'new.tmp'].toSorted());
});

test('many writers of one file leave one whole file', async () => {
  const others = Array.from({ length: 8 }, () => new ModelStore(dir, 1000, clock));
  await Promise.all(others.map((other) => other.put(bytes(5), 'onnx', NONE)));
  expect(await names()).toEqual([`${sha256Of(bytes(5))}.onnx`]);
  expect(await store.find(sha256Of(bytes(5)), 'onnx')).toBeDefined();
});

test('records are read back; a damaged one counts as not there', async () => {
  await store.writeRecord('manifests', 'b', { x: 1 });
  await store.writeRecord('manifests', 'a', { x: 2 });
  expect(await store.recordKeys('manifests')).toEqual(['a', 'b']);
  expect(await store.readRecord('manifests', 'b')).toEqual({ x: 1 });
  await writeFile(join(dir, 'manifests', 'b.json'), '{"x": ');
  expect(await store.readRecord('manifests', 'b')).toBeUndefined();
  expect(await store.readRecord('proofs', 'none')).toBeUndefined();
});

test('a folder that cannot be written is told', async () => {
  const file = join(dir, 'a file');
  await writeFile(file, '');
  const impossible = new ModelStore(join(file, 'below'), 1000, clock);
  await expect(impossible.put(bytes(1), 'onnx', NONE)).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
});
