import { mkdtemp, readdir, rm, stat, truncate, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { collectingLog } from '../../test/support/log.ts';
import { encodeJpeg } from '../media/jpeg.ts';
import { makeDemoCamera, scenesAt, viewOf } from './demo.ts';
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
    const { mtimeMs, size } = await stat(path);
    expect((await openAndClose(path)).codec).toBe('h264');
    expect(await makeDemoCamera(options)).toBe(path);
    expect((await stat(path)).mtimeMs).toBe(mtimeMs);

    await truncate(path, size >> 1);
    expect(await makeDemoCamera(options)).toBe(path);
    expect((await stat(path)).size).toBe(size);
  });

  test('leaves room in the cache: the oldest conversions go', async () => {
    const made: string[] = [];
    for (let i = 0; i < 6; i += 1) {
      const clip = join(folder, `mine${i}.png`);
      await writePicture(clip, { data: new Uint8Array(32 * 32 * 3).fill(i), width: 32, height: 32 });
      made.push(basename(await makeDemoCamera({ cacheDir: folder, clip, fetchPhotograph: noPhotographs })));
      // Files that are made within one tick of the file system's clock have no order.
      await utimes(join(folder, 'cameras', made.at(-1)!), i, i);
    }
    expect((await readdir(join(folder, 'cameras'))).toSorted()).toEqual(made.slice(2).toSorted());
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

test('at every moment the shares of the scenes add up to a whole picture, and neighbours differ little', () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 60, noNaN: true }), (timeS) => {
      const scenes = scenesAt(timeS);
      expect(scenes.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 6);
      const later = scenesAt(timeS + 0.05);
      for (const { scene, share } of scenes) {
        const then = later.find((other) => other.scene === scene)?.share ?? 0;
        expect(Math.abs(then - share)).toBeLessThan(0.06);
      }
    }),
  );
});

test('the camera never looks past the edge of a photograph', () => {
  const part = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(
      fc.record({ centreX: part, centreY: part, widest: part, closest: part, swayX: part, swayY: part }),
      part,
      fc.integer({ min: 32, max: 4000 }),
      fc.integer({ min: 32, max: 4000 }),
      (scene, progress, width, height) => {
        const view = viewOf(scene, progress, { width, height });
        expect(view.left).toBeGreaterThanOrEqual(0);
        expect(view.top).toBeGreaterThanOrEqual(0);
        expect(view.left + view.width).toBeLessThanOrEqual(width);
        expect(view.top + view.height).toBeLessThanOrEqual(height);
      },
    ),
  );
});
