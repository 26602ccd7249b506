import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeJpeg, readJpegHeader } from '../../media/jpeg.ts';
import { createVideo, writePicture } from '../../sources/writer.ts';
import { PictureBook, readClip, sizeWithin } from './clip.ts';

const WIDTH = 128;
const HEIGHT = 64;
const signal = new AbortController().signal;

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'sightline-clip-'))));
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Grey frames, each brighter than the one before. */
async function makeClip(name: string, frames: number): Promise<string> {
  const path = join(folder, name);
  await using writer = await createVideo(path, { width: WIDTH, height: HEIGHT, rateFps: 20, crf: 5 });
  for (let i = 0; i < frames; i += 1) {
    await writer.write(new Uint8Array(WIDTH * HEIGHT * 3).fill(20 + (200 * i) / frames), i / 20);
  }
  await writer.finish();
  return path;
}

describe('a clip', () => {
  test('is read in frames that are spread over it', async () => {
    const { frames, info } = await readClip(await makeClip('long.mp4', 120), { sideMax: 1280, signal });
    expect(info).toMatchObject({ width: WIDTH, height: HEIGHT });
    expect(frames).toHaveLength(24);
    // Every fifth of 120: 200 × 5 / 120 apart.
    const brightness = frames.map(({ data }) => data[0]!);
    for (const [i, value] of brightness.entries()) expect(Math.abs(value - (20 + (200 * 5 * i) / 120))).toBeLessThan(5);
  });

  test('of two frames has two', async () => {
    const { frames } = await readClip(await makeClip('short.mp4', 2), { sideMax: 1280, signal });
    expect(frames).toHaveLength(2);
  });

  test('is no larger than asked for', async () => {
    const { frames } = await readClip(await makeClip('large.mp4', 4), { sideMax: 64, signal });
    expect(frames[0]).toMatchObject({ width: 64, height: 32 });
  });

  test('that breaks off is used as far as it goes', async () => {
    const whole = await readFile(await makeClip('whole.mp4', 400));
    const cut = join(folder, 'cut.mp4');
    await writeFile(cut, whole.subarray(0, Math.floor(whole.length * 0.7)));
    const { frames } = await readClip(cut, { sideMax: 1280, signal });
    expect(frames.length).toBeGreaterThanOrEqual(2);
  });

  test('of one frame, a picture, no video and no file are refused', async () => {
    await writePicture(join(folder, 'still.png'), {
      data: new Uint8Array(WIDTH * HEIGHT * 3),
      width: WIDTH,
      height: HEIGHT,
    });
    await writeFile(join(folder, 'words.txt'), 'some words\n');
    const refusals = [
      [await makeClip('one.mp4', 1), 'SOURCE_UNREADABLE', 'it has one frame'],
      [join(folder, 'still.png'), 'SOURCE_UNREADABLE', 'it has one frame'],
      [join(folder, 'words.txt'), 'SOURCE_UNREADABLE', 'words.txt'],
      [join(folder, 'none.mp4'), 'SOURCE_NOT_FOUND', 'none.mp4'],
    ] as const;
    for (const [path, code, message] of refusals) {
      await expect(readClip(path, { sideMax: 1280, signal }), path).rejects.toMatchObject({
        code,
        message: expect.stringContaining(message) as string,
      });
    }
  });

  test('is not read any further once it is to end', async () => {
    const stopped = AbortSignal.abort(new Error('enough'));
    await expect(readClip(await makeClip('stopped.mp4', 4), { sideMax: 1280, signal: stopped })).rejects.toThrow(
      'enough',
    );
  });
});

test.each([
  [
    { width: 640, height: 480 },
    { width: 640, height: 360 },
  ],
  [
    { width: 320, height: 100 },
    { width: 178, height: 100 },
  ],
  [
    { width: 5000, height: 5000 },
    { width: 1280, height: 720 },
  ],
  [
    { width: 1, height: 1 },
    { width: 1, height: 1 },
  ],
])('1280×720 within %j is %j', (limit, size) => expect(sizeWithin({ width: 1280, height: 720 }, limit)).toEqual(size));

describe('the pictures of a clip', () => {
  const frames = [60, 180].map((value) => ({
    data: new Uint8Array(WIDTH * HEIGHT * 3).fill(value),
    width: WIDTH,
    height: HEIGHT,
  }));
  const decoded = (jpeg: Uint8Array) => decodeJpeg(jpeg, new Uint8Array(WIDTH * HEIGHT * 3));

  test('fit into the limit, and come round', () => {
    const book = new PictureBook({ frames });
    expect(book.size).toEqual({ width: WIDTH, height: HEIGHT });
    const limit = { width: 64, height: 64, quality: 80 };
    expect(readJpegHeader(book.jpeg(0, limit))).toMatchObject({ width: 64, height: 32 });
    expect([0, 1, 2, 3].map((i) => Math.round(decoded(book.jpeg(i, limit)).data[0]! / 20) * 20)).toEqual([
      60, 180, 60, 180,
    ]);
  });

  test('are encoded once for a limit', () => {
    const book = new PictureBook({ frames });
    const limit = { width: 64, height: 64, quality: 80 };
    book.prepare(limit);
    expect(book.jpeg(0, limit)).toBe(book.jpeg(2, limit));
    expect(book.jpeg(0, { ...limit, quality: 20 })).not.toBe(book.jpeg(0, limit));
  });

  test('between two steps of size and quality are those of the lower one; prepared ones are exact', () => {
    const book = new PictureBook({ frames });
    const limit = { width: 63, height: 63, quality: 78 };
    const stepped = book.jpeg(0, limit);
    expect(readJpegHeader(stepped).width).toBe(60);
    expect(book.jpeg(0, { width: 61, height: 63, quality: 76 })).toBe(stepped);
    book.prepare(limit);
    expect(readJpegHeader(book.jpeg(0, limit)).width).toBe(63);
  });

  test('never are larger than a limit, however small', () => {
    const book = new PictureBook({ frames });
    for (const side of [1, 3, 7, 31, 100, 4000]) {
      const { width, height } = readJpegHeader(book.jpeg(0, { width: side, height: side, quality: 3 }));
      expect(Math.max(width, height)).toBeLessThanOrEqual(Math.max(4, Math.min(side, WIDTH)));
    }
  });
});
