import { appendFile, mkdtemp, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { OpenFile, pathsOf, readBytes, readLines, readResults, remove, scan } from './files.ts';

const EPOCH = 1_733_079_600_000;
const FROM = EPOCH + 500;
const INIT = Buffer.from('the header');
const HEADER = { camera: 'north', epoch: EPOCH, codec: 'avc1.42c01e', width: 64, height: 36, bytes: INIT.length };
const PLACE = { name: `${FROM}-${EPOCH}`, fromMs: FROM, toMs: 0, epoch: EPOCH };

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-archive-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const open = () => OpenFile.create(folder, { header: HEADER, init: INIT, fromMs: FROM });
const segment = (i: number, durationS = 1) => ({ from: FROM + i * 1_000, duration_s: durationS, key: i % 2 === 0 });

test('a file is written, gets its name, and is found with what is beside it', async () => {
  const file = await open();
  await file.append(Buffer.from('first'), segment(0));
  await file.note([{ seq: 1 }, { seq: 2 }]);
  await file.append(Buffer.from('second'), segment(1, 0.96));
  // It can be read while it grows.
  expect((await readLines(pathsOf(folder, PLACE, true)))!.segments).toHaveLength(2);
  expect((await readBytes(pathsOf(folder, PLACE, true), 10, 5))!.toString()).toBe('first');
  const done = await file.finish();
  expect(done).toMatchObject({ name: `${FROM}-${EPOCH}`, fromMs: FROM, toMs: FROM + 1_960, epoch: EPOCH });
  const names = [
    `${FROM}-${FROM + 1_960}-${EPOCH}.mp4`,
    `${FROM}-${EPOCH}.results.jsonl`,
    `${FROM}-${EPOCH}.segments.jsonl`,
  ];
  expect((await readdir(folder)).toSorted()).toEqual(names.toSorted());
  expect(await scan(folder)).toEqual([done]);
  const paths = pathsOf(folder, done);
  const { header, segments } = (await readLines(paths))!;
  expect(header).toEqual(HEADER);
  expect(segments).toEqual([
    { at: 10, bytes: 5, ...segment(0) },
    { at: 15, bytes: 6, ...segment(1, 0.96) },
  ]);
  expect((await readBytes(paths, 15, 6))!.toString()).toBe('second');
  // Whoever has looked for it a moment before finds it.
  expect((await readBytes(pathsOf(folder, PLACE, true), 10, 5))!.toString()).toBe('first');
  expect(await readResults(paths)).toEqual([{ seq: 1 }, { seq: 2 }]);
  await expect(readBytes(paths, 15, 7)).rejects.toThrow('too early');
  // What is whose is nobody else's.
  for (const name of names) expect((await stat(join(folder, name))).mode & 0o077).toBe(0);
  await remove(paths);
  expect(await readdir(folder)).toEqual([]);
  expect([await readBytes(paths, 15, 6), await readLines(paths), await readResults(paths)]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
});

describe('after a crash', () => {
  const paths = () => pathsOf(folder, PLACE, true);

  /** The file system has what was written, and nobody has given it its name. */
  async function unfinished(file: OpenFile): Promise<void> {
    await rename(pathsOf(folder, await file.finish()).pictures, paths().pictures);
  }

  async function crashed(): Promise<void> {
    const file = await open();
    await file.append(Buffer.from('first'), segment(0));
    await file.note([{ seq: 1 }]);
    await file.append(Buffer.from('second'), segment(1));
    await unfinished(file);
  }

  test('what is whole is found', async () => {
    await crashed();
    const [found] = await scan(folder);
    expect(found).toMatchObject({ fromMs: FROM, toMs: FROM + 2_000 });
    expect(await readFile(pathsOf(folder, found!).pictures, 'utf8')).toBe('the headerfirstsecond');
    // And again by the next start.
    expect(await scan(folder)).toEqual([found]);
  });

  test('what nobody has noted is cut off', async () => {
    await crashed();
    await appendFile(paths().pictures, 'third, half');
    await appendFile(paths().segments, '{"at":21,"by');
    await appendFile(paths().results, '{"se');
    const [found] = await scan(folder);
    const made = pathsOf(folder, found!);
    expect(await readFile(made.pictures, 'utf8')).toBe('the headerfirstsecond');
    expect((await readLines(made))!.segments).toHaveLength(2);
    expect(await readResults(made)).toEqual([{ seq: 1 }]);
  });

  test('what was noted and is not there is not told', async () => {
    await crashed();
    await truncate(paths().pictures, 17);
    const [found] = await scan(folder);
    expect(found!.toMs).toBe(FROM + 1_000);
    const made = pathsOf(folder, found!);
    expect((await readLines(made))!.segments).toEqual([{ at: 10, bytes: 5, ...segment(0) }]);
    expect(await readFile(made.pictures, 'utf8')).toBe('the headerfirst');
  });

  test.each(['no segment', 'no header', 'no lines'])('%s: nothing is left', async (what) => {
    await unfinished(await open());
    if (what === 'no header') await writeFile(paths().segments, '{"camera"');
    if (what === 'no lines') await rm(paths().segments);
    expect(await scan(folder)).toEqual([]);
    expect(await readdir(folder)).toEqual([]);
  });

  test('what is beside pictures that were removed goes, too, and files of others stay', async () => {
    await crashed();
    const [found] = await scan(folder);
    await rm(pathsOf(folder, found!).pictures);
    await writeFile(join(folder, 'notes.txt'), 'mine');
    await writeFile(join(folder, 'x-0-1.mp4'), 'mine');
    expect(await scan(folder)).toEqual([]);
    expect((await readdir(folder)).toSorted()).toEqual(['notes.txt', 'x-0-1.mp4']);
  });
});

test('a file that fails keeps what is whole of it', async () => {
  const file = await open();
  await file.append(Buffer.from('first'), segment(0));
  await appendFile(pathsOf(folder, PLACE, true).pictures, 'half of what a full disk took');
  const done = await file.finish();
  expect(await readFile(pathsOf(folder, done).pictures, 'utf8')).toBe('the headerfirst');
});

test('a folder that is not there has nothing; one that cannot be written says so', async () => {
  expect(await scan(join(folder, 'none'))).toEqual([]);
  await writeFile(join(folder, 'file'), '');
  const made = OpenFile.create(join(folder, 'file'), { header: HEADER, init: INIT, fromMs: FROM });
  await expect(made).rejects.toMatchObject({ code: 'ENOTDIR' });
});
