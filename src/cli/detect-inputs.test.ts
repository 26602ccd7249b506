import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checkOutFolder, expandInputs, OutputNames } from './detect-inputs.ts';

let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-inputs-'));
  await mkdir(join(folder, 'photos/older'), { recursive: true });
  await mkdir(join(folder, 'photos/folder.jpg'));
  await mkdir(join(folder, 'empty'));
  for (const name of ['a10.jpg', 'a9.JPG', 'notes.txt', '.hidden.jpg', 'clip.mp4', 'README']) {
    await writeFile(join(folder, 'photos', name), 'x');
  }
  await writeFile(join(folder, 'photos', 'code.ts'), 'export const x = 1;\n');
  await writeFile(join(folder, 'photos', 'stream.ts'), Buffer.from([0x47, 0x40, 0, 0, 0, 0]));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

test('one file is one input, whatever it is called; a URL is left as it is', async () => {
  expect(await expandInputs(['photos/notes.txt'], folder)).toEqual({
    inputs: [{ name: 'photos/notes.txt', path: join(folder, 'photos/notes.txt') }],
    areSeveral: false,
    empty: [],
    notices: [],
  });
  const { inputs, areSeveral } = await expandInputs(['rtsp://camera.local/a'], folder);
  expect(inputs).toEqual([{ name: 'rtsp://camera.local/a', path: 'rtsp://camera.local/a' }]);
  expect(areSeveral).toBe(false);
});

test('a folder stands for its pictures and videos, by number and name, and says what it leaves out', async () => {
  const { inputs, areSeveral, notices, empty } = await expandInputs(['photos'], folder);
  expect(inputs.map(({ name }) => name)).toEqual(
    ['a9.JPG', 'a10.jpg', 'clip.mp4', 'stream.ts'].map((name) => join('photos', name)),
  );
  expect(inputs[0]!.path).toBe(join(folder, 'photos', 'a9.JPG'));
  expect([areSeveral, empty]).toEqual([true, []]);
  expect(notices).toHaveLength(1);
  for (const name of ['notes.txt', 'README', 'code.ts', 'older', 'folder.jpg', '.hidden.jpg']) {
    expect(notices[0]).toContain(name);
  }
});

test('a folder without any is an error of its own, beside what else was given; the same file twice is done twice', async () => {
  const { inputs, empty } = await expandInputs(['empty', 'photos/a9.JPG', 'photos/a9.JPG', 'nope.jpg'], folder);
  expect(inputs.map(({ name }) => name)).toEqual(['photos/a9.JPG', 'photos/a9.JPG', 'nope.jpg']);
  expect(empty).toMatchObject([{ code: 'SOURCE_NOT_FOUND' }]);
  expect(empty[0]!.message).toContain(join(folder, 'empty'));
});

test('a long list of what is left out is cut', async () => {
  const crowded = join(folder, 'crowded');
  await mkdir(crowded);
  for (let i = 0; i < 13; i += 1) await writeFile(join(crowded, `n${i}.txt`), '');
  const { notices } = await expandInputs(['crowded'], folder);
  expect(notices[0]).toMatch(/n9\.txt and 3 more$/);
});

test('outputs have names of their own', () => {
  const names = new OutputNames();
  const taken = [
    ['/in/a.jpg', true],
    ['/in/a.jpg', true],
    ['/in/A.heic', true],
    ['/in/a.PNG', true],
    ['/in/clip.mov', false],
    ['/in/anim.gif', false],
    ['rtsp://camera.local/one?x=1', false],
    ['http://host/', false],
  ].map(([path, still]) => names.take(path as string, still as boolean));
  expect(taken).toEqual(['a.jpg', 'a-2.jpg', 'A-3.jpg', 'a.png', 'clip.mp4', 'anim.mp4', 'one.mp4', 'input.mp4']);
});

test('a folder of outputs is none of inputs, and no file', async () => {
  const { inputs } = await expandInputs(['photos'], folder);
  await expect(checkOutFolder(join(folder, 'photos'), inputs)).rejects.toMatchObject({ code: 'USAGE' });
  await expect(checkOutFolder(join(folder, 'photos', 'README'), inputs)).rejects.toThrow('must be a folder');
  await checkOutFolder(join(folder, 'empty'), inputs);
  await checkOutFolder(join(folder, 'new'), inputs);
});
