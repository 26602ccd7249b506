import { mkdir, mkdtemp, readdir, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isLongRun } from '../../test/support/forms.ts';
import { collectingLog } from '../../test/support/log.ts';
import { encodeJpeg } from '../media/jpeg.ts';
import { FfmpegSource } from './camera/ffmpeg-source.ts';
import type { SourcePacket } from './camera/source.ts';
import { framesOf, WALL_FILMS } from './demo-film.ts';
import { makeDemoCamera, makeDemoWall } from './demo.ts';
import { openVideo } from './file.ts';
import { createVideo, writePicture } from './writer.ts';

let folder = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-demo-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** A grey photograph, so small that it decodes at once. */
function photograph(grey: number): Uint8Array {
  return encodeJpeg({ data: new Uint8Array(96 * 64 * 3).fill(grey), width: 96, height: 64 }, 90);
}

function noPhotographs(): Promise<never> {
  return Promise.reject(new Error('a photograph was asked for'));
}

describe('the camera of photographs', () => {
  test('is an H.264 clip that fades from one to the other and ends where it began; made once', async () => {
    const asked: string[] = [];
    const { log, texts } = collectingLog();
    const options = {
      cacheDir: join(folder, 'cache'),
      log,
      fetchPhotograph: async ({ file }: { file: string }) => {
        asked.push(file);
        return photograph(asked.length === 1 ? 60 : 180);
      },
    };
    const path = await makeDemoCamera(options);
    expect(asked).toEqual(['examples/files/car1.jpg', 'examples/files/car2.jpg']);
    expect(texts().join()).toMatch(/licence MIT/);

    await using video = await openVideo(path);
    expect(video.info).toMatchObject({ codec: 'h264', pixelFormat: 'yuv420p', width: 960, height: 540 });
    const greys: number[] = [];
    for await (const { data } of video) greys.push(data[data.length >> 1]!);
    expect(greys.length).toBe(video.info.frames);
    expect(Math.abs(greys[0]! - 60)).toBeLessThan(8);
    expect(greys.some((grey) => Math.abs(grey - 180) < 8)).toBe(true);
    const steps = greys.map((grey, i) => Math.abs(grey - greys[(i + 1) % greys.length]!));
    expect(Math.max(...steps)).toBeLessThan(16);

    expect(await makeDemoCamera({ ...options, fetchPhotograph: noPhotographs })).toBe(path);
    expect(await readdir(join(options.cacheDir, 'cameras'))).toHaveLength(1);
  });

  test('is not there when it could not be made', async () => {
    await expect(makeDemoCamera({ cacheDir: folder, fetchPhotograph: noPhotographs })).rejects.toThrow('photograph');
    const signal = AbortSignal.abort(new Error('stopped'));
    const stopped = makeDemoCamera({ cacheDir: folder, signal, fetchPhotograph: async () => photograph(9) });
    await expect(stopped).rejects.toThrow('stopped');
    expect(await readdir(join(folder, 'cameras'))).toEqual([]);
  });
});

describe('the wall', () => {
  const wall = async (options: Partial<Parameters<typeof makeDemoWall>[0]> = {}) => {
    const views: Record<string, string> = {};
    const fetchPhotograph = async ({ file }: { file: string }) => photograph(file.includes('car1') ? 60 : 180);
    for await (const { id, path } of makeDemoWall({ cacheDir: folder, fetchPhotograph, ...options })) views[id] = path;
    return views;
  };

  test('has short clips that a camera may be: key frames each second, shown as they come; made once', async () => {
    const { log, texts } = collectingLog();
    const asked: string[] = [];
    const fetchPhotograph = async ({ file }: { file: string }) => {
      asked.push(file);
      return photograph(file.includes('car1') ? 60 : 180);
    };
    const views = await wall({ log, fetchPhotograph });
    expect(Object.keys(views)).toEqual(Object.keys(WALL_FILMS));
    expect(new Set(Object.values(views)).size).toBe(Object.keys(WALL_FILMS).length);
    expect(asked.toSorted()).toEqual(['examples/files/car1.jpg', 'examples/files/car2.jpg']);
    expect(texts()).toEqual([expect.stringMatching(/^Making \d demo cameras .* licence MIT/)]);
    for (const [id, path] of Object.entries(views)) {
      const film = WALL_FILMS[id]!;
      const packets = await packetsOf(path);
      expect(packets).toHaveLength(framesOf(film));
      expect(packets.map(({ isKey }) => isKey)).toEqual(packets.map((_, i) => i % film.rateFps === 0));
      for (const { pts, dts } of packets) expect(pts).toBe(dts);
    }

    const again = await wall({ log, fetchPhotograph: noPhotographs });
    expect(again).toEqual(views);
    expect(texts()).toHaveLength(1);

    // Those that are there are given before the others are made, which may fail.
    const [lost, ...others] = Object.keys(views);
    await rm(views[lost!]!);
    const seen: string[] = [];
    const left = makeDemoWall({ cacheDir: folder, fetchPhotograph: noPhotographs });
    const all = (async () => {
      for await (const { id } of left) seen.push(id);
    })();
    await expect(all).rejects.toThrow('photograph');
    expect(seen).toEqual(others);
  });

  test.runIf(isLongRun)('two that are made at once in one folder are both whole', async () => {
    const [one, other] = await Promise.all([wall(), wall()]);
    expect(other).toEqual(one);
    for (const path of Object.values(one)) expect((await openAndClose(path)).frames).toBeGreaterThan(1);
    expect((await readdir(join(folder, 'cameras'))).toSorted()).toEqual(
      Object.values(one)
        .map((path) => basename(path))
        .toSorted(),
    );
  });

  test('ends at once when it is told to, and leaves no half clip', async () => {
    const stop = new AbortController();
    const fetchPhotograph = async () => {
      setImmediate(() => stop.abort(new Error('stopped')));
      return photograph(9);
    };
    await expect(wall({ signal: stop.signal, fetchPhotograph })).rejects.toThrow('stopped');
    expect((await readdir(join(folder, 'cameras'))).filter((name) => !name.startsWith('camera-'))).toEqual([]);
  });
});

describe("the user's own clip", () => {
  test('is taken as it is where browsers play it', async () => {
    const clip = join(folder, 'mine.mp4');
    await using writer = await createVideo(clip, { width: 32, height: 32, rateFps: 10 });
    await writer.write(new Uint8Array(32 * 32 * 3), 0);
    await writer.finish();
    expect(await makeDemoCamera({ cacheDir: folder, clip, fetchPhotograph: noPhotographs })).toBe(clip);
  });

  test('is converted once else, and again when what was kept is damaged', async () => {
    const clip = join(folder, 'mine.png');
    await writePicture(clip, { data: new Uint8Array(32 * 32 * 3).fill(99), width: 32, height: 32 });
    const options = { cacheDir: join(folder, 'cache'), clip, fetchPhotograph: noPhotographs };
    const path = await makeDemoCamera(options);
    const { ino, size } = await stat(path);
    expect((await openAndClose(path)).codec).toBe('h264');
    expect(await makeDemoCamera(options)).toBe(path);
    expect((await stat(path)).ino).toBe(ino);

    await truncate(path, size >> 1);
    expect(await makeDemoCamera(options)).toBe(path);
    expect((await stat(path)).size).toBe(size);
  });

  test('leaves room in the cache: those go that were used longest ago', async () => {
    const made: string[] = [];
    for (let i = 0; i < 18; i += 1) {
      const clip = join(folder, `mine${i}.png`);
      await writePicture(clip, { data: new Uint8Array(32 * 32 * 3).fill(i), width: 32, height: 32 });
      made.push(basename(await makeDemoCamera({ cacheDir: folder, clip, fetchPhotograph: noPhotographs })));
      // Files that are made within one tick of the file system's clock have no order.
      await utimes(join(folder, 'cameras', made.at(-1)!), i, i);
      // The first one is in use all the time.
      if (i > 0)
        await makeDemoCamera({ cacheDir: folder, clip: join(folder, 'mine0.png'), fetchPhotograph: noPhotographs });
    }
    const [first, ...others] = made;
    expect((await readdir(join(folder, 'cameras'))).toSorted()).toEqual([first, ...others.slice(-15)].toSorted());
  });

  test('takes away what a killed process has left', async () => {
    const cameras = join(folder, 'cameras');
    await mkdir(cameras);
    const names = ['0123456789abcdef', 'fedcba9876543210'].map((hash) => `.camera-${hash}.mp4.00aa11bb.partial`);
    const [old, young] = names as [string, string];
    for (const name of names) await writeFile(join(cameras, name), 'half');
    await utimes(join(cameras, old), 1, 1);
    const clip = join(folder, 'mine.png');
    await writePicture(clip, { data: new Uint8Array(32 * 32 * 3), width: 32, height: 32 });
    const path = await makeDemoCamera({ cacheDir: folder, clip, fetchPhotograph: noPhotographs });
    expect((await readdir(cameras)).toSorted()).toEqual([young, basename(path)]);
  });

  test('that is none is refused', async () => {
    const missing = makeDemoCamera({
      cacheDir: folder,
      clip: join(folder, 'nope.mp4'),
      fetchPhotograph: noPhotographs,
    });
    await expect(missing).rejects.toMatchObject({ code: 'SOURCE_NOT_FOUND' });
  });
});

async function openAndClose(path: string) {
  await using video = await openVideo(path);
  return video.info;
}

/** As a camera reads them. */
async function packetsOf(path: string): Promise<SourcePacket[]> {
  const source = new FfmpegSource({ kind: 'file', path, isLooped: false });
  const packets: SourcePacket[] = [];
  await source.open();
  for (let packet = await source.read(); packet; packet = await source.read()) packets.push(packet);
  await source.close();
  return packets;
}
