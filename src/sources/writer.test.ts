import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openVideo } from './file.ts';
import { createVideo, writePicture } from './writer.ts';

let folder = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-writer-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

function plain(width: number, height: number, colour: readonly [number, number, number]): Uint8Array {
  return Uint8Array.from({ length: width * height * 3 }, (_, i) => colour[i % 3]!);
}

async function readBack(path: string) {
  await using video = await openVideo(path);
  const frames: { ptsS: number; pixel: number[] }[] = [];
  for await (const { data, ptsS } of video) frames.push({ ptsS, pixel: [...data.subarray(0, 3)] });
  return { info: video.info, frames };
}

describe('a video', () => {
  test('keeps colours and times, also uneven ones', async () => {
    const path = join(folder, 'out.mp4');
    const colours = [
      [200, 30, 30],
      [30, 180, 60],
      [40, 50, 210],
      [128, 128, 128],
    ] as const;
    const times = [0, 0.04, 0.5, 0.54];
    await using writer = await createVideo(path, { width: 32, height: 32, rateFps: 25, crf: 8 });
    for (const [i, colour] of colours.entries()) await writer.write(plain(32, 32, colour), times[i]!);
    await writer.finish();

    const { info, frames } = await readBack(path);
    expect(info).toMatchObject({ codec: 'h264', pixelFormat: 'yuv420p', width: 32, height: 32, frames: 4 });
    for (const [i, { ptsS, pixel }] of frames.entries()) {
      expect(ptsS).toBeCloseTo(times[i]!, 3);
      for (const [channel, value] of pixel.entries()) expect(Math.abs(value - colours[i]![channel]!)).toBeLessThan(10);
    }
  });

  test('times that do not rise are moved behind the last one', async () => {
    const path = join(folder, 'out.mp4');
    await using writer = await createVideo(path, { width: 16, height: 16, rateFps: 10 });
    for (const ptsS of [0, 0, 0, 1]) await writer.write(plain(16, 16, [9, 9, 9]), ptsS);
    await writer.finish();
    const times = (await readBack(path)).frames.map((frame) => frame.ptsS);
    expect(times).toHaveLength(4);
    expect(times.every((ptsS, i) => i === 0 || ptsS > times[i - 1]!)).toBe(true);
  });

  test('has its index in front, for players that read from the network', async () => {
    const path = join(folder, 'out.mp4');
    await using writer = await createVideo(path, { width: 16, height: 16, rateFps: 10 });
    for (let i = 0; i < 5; i += 1) await writer.write(plain(16, 16, [i, i, i]), i / 10);
    await writer.finish();
    const bytes = await readFile(path);
    expect(bytes.indexOf('moov')).toBeGreaterThan(0);
    expect(bytes.indexOf('moov')).toBeLessThan(bytes.indexOf('mdat'));
  });

  test('of odd sides loses the last column and row', async () => {
    const path = join(folder, 'out.mp4');
    await using writer = await createVideo(path, { width: 33, height: 17, rateFps: 10 });
    await writer.write(plain(33, 17, [200, 30, 30]), 0);
    await writer.finish();
    const { info, frames } = await readBack(path);
    expect(info).toMatchObject({ width: 32, height: 16 });
    expect(frames[0]!.pixel[0]).toBeGreaterThan(150);
  });

  test('fits a picture of another size into its own, between black bars, and counts it', async () => {
    const path = join(folder, 'out.mp4');
    await using writer = await createVideo(path, { width: 64, height: 32, rateFps: 10, crf: 5 });
    await writer.write(plain(64, 32, [200, 200, 200]), 0);
    await writer.write(plain(21, 41, [200, 200, 200]), 0.1, { width: 21, height: 41 });
    await writer.write(plain(128, 64, [200, 200, 200]), 0.2, { width: 128, height: 64 });
    expect([writer.frames, writer.fitted]).toEqual([3, 2]);
    await writer.finish();
    await using video = await openVideo(path);
    const rows: string[] = [];
    for await (const { data, width } of video) {
      rows.push([2, 20, 32, 44, 61].map((x) => (data[(16 * width + x) * 3]! > 100 ? '#' : '.')).join(''));
    }
    // 16 of 64 columns for the upright one.
    expect(rows).toEqual(['#####', '..#..', '#####']);
  });

  test('takes its name when it is finished, in place of the old one, and not before', async () => {
    const path = join(folder, 'out.mp4');
    await writeFile(path, 'old');
    await using writer = await createVideo(path, { width: 16, height: 16, rateFps: 10 });
    await writer.write(plain(16, 16, [1, 2, 3]), 0);
    expect(await readFile(path, 'utf8')).toBe('old');
    await writer.finish();
    expect(await readdir(folder)).toEqual(['out.mp4']);
    expect((await readBack(path)).frames).toHaveLength(1);
    await writer.close();
    await expect(writer.write(plain(16, 16, [1, 2, 3]), 1)).rejects.toMatchObject({ code: 'INTERNAL' });
  });

  test('that is given up leaves nothing behind', async () => {
    const writer = await createVideo(join(folder, 'out.mp4'), { width: 16, height: 16, rateFps: 10 });
    await writer.write(plain(16, 16, [1, 2, 3]), 0);
    await writer.close();
    await writer.close();
    expect(await readdir(folder)).toEqual([]);
  });

  test.each([
    ['into a folder that is not there', 'nope/out.mp4', { width: 16, height: 16 }, 'there is no folder'],
    ['in place of a folder', 'taken', { width: 16, height: 16 }, 'it is a folder'],
    ['of one pixel', 'out.mp4', { width: 1, height: 1 }, 'too small'],
  ])('%s is refused', async (_, name, size, reason) => {
    await mkdir(join(folder, 'taken'));
    const path = join(folder, name);
    const refusal = createVideo(path, { ...size, rateFps: 10 });
    await expect(refusal).rejects.toMatchObject({ code: 'OUTPUT_FAILED' });
    await expect(refusal).rejects.toThrow(path);
    await expect(refusal).rejects.toThrow(reason);
    expect(await readdir(folder)).toEqual(['taken']);
  });
});

describe('a picture', () => {
  test('as a PNG is exact', async () => {
    const path = join(folder, 'out.png');
    const data = Uint8Array.from({ length: 7 * 5 * 3 }, (_, i) => (i * 37) % 256);
    await writePicture(path, { data, width: 7, height: 5 });
    await using video = await openVideo(path);
    expect(video.info).toMatchObject({ codec: 'png', width: 7, height: 5, still: true });
    for await (const frame of video) expect([...frame.data]).toEqual([...data]);
    expect(await readdir(folder)).toEqual(['out.png']);
  });

  test('as a JPEG is close', async () => {
    const path = join(folder, 'out.jpeg');
    await writePicture(path, { data: plain(16, 16, [200, 30, 30]), width: 16, height: 16 });
    const { info, frames } = await readBack(path);
    expect(info.codec).toBe('mjpeg');
    expect(Math.abs(frames[0]!.pixel[0]! - 200)).toBeLessThan(10);
  });

  test('into a folder that is not there is refused', async () => {
    const refusal = writePicture(join(folder, 'nope/out.png'), { data: new Uint8Array(3), width: 1, height: 1 });
    await expect(refusal).rejects.toMatchObject({ code: 'OUTPUT_FAILED' });
  });
});
