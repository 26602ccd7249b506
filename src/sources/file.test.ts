import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AV_PIX_FMT_GRAY8, AV_PIX_FMT_YUV411P, FF_ENCODER_LIBX264 } from 'node-av/constants';
import { type ClipOptions, writeClip, writeClips } from '../../test/support/clips.ts';
import { turnedJpeg } from '../../test/support/jpegs.ts';
import { openVideo, outputSize } from './file.ts';
import { createVideo, writePicture } from './writer.ts';

let folder = '';
/** 30 grey frames of 64 × 48 at 10 a second, from black to light. */
let clip = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-file-'));
  clip = join(folder, 'clip.mp4');
  await using writer = await createVideo(clip, { width: 64, height: 48, rateFps: 10, crf: 10 });
  for (let i = 0; i < 30; i += 1) await writer.write(new Uint8Array(64 * 48 * 3).fill(i * 8), i / 10);
  await writer.finish();
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function fileOf(name: string, bytes: Uint8Array | string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, bytes);
  return path;
}

/** A second of silence: sound without pictures. */
function wav(): Uint8Array {
  const bytes = Buffer.alloc(44 + 16_000);
  bytes.write('RIFF', 0);
  bytes.writeUInt32LE(bytes.length - 8, 4);
  bytes.write('WAVEfmt ', 8);
  bytes.writeUInt32LE(16, 16);
  for (const [at, value] of [
    [20, 1],
    [22, 1],
    [32, 2],
    [34, 16],
  ] as const) {
    bytes.writeUInt16LE(value, at);
  }
  bytes.writeUInt32LE(8000, 24);
  bytes.writeUInt32LE(16_000, 28);
  bytes.write('data', 36);
  bytes.writeUInt32LE(16_000, 40);
  return bytes;
}

describe('a video file', () => {
  test('gives its frames in order, with their times', async () => {
    await using video = await openVideo(clip);
    expect(video.info).toMatchObject({
      width: 64,
      height: 48,
      codec: 'h264',
      pixelFormat: 'yuv420p',
      rateFps: 10,
      frames: 30,
      still: false,
    });
    expect(video.info.durationS).toBeCloseTo(3, 2);
    const seen: { index: number; ptsS: number; grey: number }[] = [];
    for await (const { data, width, height, index, ptsS } of video) {
      expect(data.length).toBe(width * height * 3);
      seen.push({ index, ptsS, grey: data[(24 * 64 + 32) * 3]! });
    }
    expect(seen.map(({ index }) => index)).toEqual(Array.from({ length: 30 }, (_, i) => i));
    for (const { index, ptsS, grey } of seen) {
      expect(ptsS).toBeCloseTo(index / 10, 3);
      expect(Math.abs(grey - index * 8)).toBeLessThanOrEqual(4);
    }
  });

  test('holds one picture: each frame is written over the one before', async () => {
    await using video = await openVideo(clip);
    const buffers = new Set<Uint8Array>();
    for await (const { data } of video) buffers.add(data);
    expect(buffers.size).toBe(1);
  });

  test('of frames at uneven times keeps the times', async () => {
    const path = join(folder, 'uneven.mp4');
    const timesS = [0, 0.04, 0.2, 0.21, 0.75, 0.8];
    await using writer = await createVideo(path, { width: 64, height: 48, rateFps: 10 });
    for (const [i, timeS] of timesS.entries()) await writer.write(new Uint8Array(64 * 48 * 3).fill(i * 40), timeS);
    await writer.finish();
    await using video = await openVideo(path);
    const seen: number[] = [];
    for await (const { ptsS } of video) seen.push(Math.round(ptsS * 1000) / 1000);
    expect(seen).toEqual(timesS);
  });

  test('that lies on its side stands upright, as its display matrix says', async () => {
    const bytes = Buffer.from(await readFile(clip));
    // The matrix of the track header, version 0: behind 40 bytes of its payload (ISO/IEC 14496-12 §8.3.2).
    const at = bytes.indexOf('tkhd') + 4 + 40;
    for (const [i, value] of [0, 0x10000, 0, -0x10000, 0, 0].entries()) bytes.writeInt32BE(value, at + 4 * i);
    const { frames, info } = await framesOf(await fileOf('lying.mp4', bytes));
    expect(info).toMatchObject({ width: 48, height: 64 });
    expect(frames).toHaveLength(30);
    expect(new Set(frames.map(({ size }) => size))).toEqual(new Set(['48×64']));
  });

  test('is scaled down to a longest side', async () => {
    await using video = await openVideo(clip, { sideMax: 32 });
    expect(video.info).toMatchObject({ width: 32, height: 24 });
    for await (const { data } of video) expect(data.length).toBe(32 * 24 * 3);
  });

  test('may have a name that FFmpeg would take for something else', async () => {
    const path = await fileOf('http:frame%03d.jpg', turnedJpeg(1));
    await using video = await openVideo(path);
    expect(video.info).toMatchObject({ width: 16, height: 8, still: true, frames: 1 });
  });

  test('is closed as often as you like; what reads it then ends', async () => {
    const video = await openVideo(clip);
    let frames = 0;
    for await (const frame of video) {
      frames += 1;
      if (frame.index === 4) await video.close();
    }
    expect(frames).toBe(5);
    await video.close();
    for await (const frame of video) throw new Error(`frame ${frame.index} after the end`);
  });

  test('is closed while a frame is on its way', async () => {
    const video = await openVideo(clip);
    const frames = video[Symbol.asyncIterator]();
    await frames.next();
    const next = frames.next();
    await video.close();
    await expect(next).resolves.toBeDefined();
  });
});

/** Sizes and, at a place of 4 × 2 pixels, the rows' brightness of every frame. */
async function framesOf(path: string) {
  await using video = await openVideo(path);
  const frames = [];
  for await (const { data, width, height } of video) {
    expect(data.length).toBe(width * height * 3);
    const grey = (x: number, y: number) => data[(y * width + x) * 3]!;
    frames.push({ size: `${width}×${height}`, even: grey(32, 32), odd: grey(32, 33) });
  }
  return { info: video.info, damaged: video.damaged, frames };
}

describe('an interlaced video', () => {
  /** Even lines dark, odd ones bright: what a moved edge looks like. */
  const combed = {
    width: 320,
    height: 240,
    frames: 4,
    interlaced: true,
    luma: (_: number, __: number, y: number) => (y % 2 === 0 ? 60 : 180),
  };
  const x264 = { codec: FF_ENCODER_LIBX264, options: { preset: 'ultrafast', qp: '1' } };

  test.each<[string, ClipOptions, string]>([
    ['H.264 in MP4', { ...combed, ...x264, format: 'mp4' }, '320×240'],
    ['H.264 in a transport stream', { ...combed, ...x264, format: 'mpegts' }, '320×240'],
    ['MPEG-2', { ...combed, codec: 'mpeg2video' as never, format: 'mpegts' }, '320×240'],
    ['DV of PAL', { ...combed, codec: 'dvvideo' as never, format: 'dv', width: 720, height: 576 }, '768×576'],
    [
      'DV of NTSC',
      { ...combed, codec: 'dvvideo' as never, format: 'dv', width: 720, height: 480, pixelFormat: AV_PIX_FMT_YUV411P },
      '640×480',
    ],
  ])('of %s gives all its frames, with both fields', async (_, clip, size) => {
    const path = join(folder, 'interlaced');
    await writeClip(path, clip);
    const { frames, damaged } = await framesOf(path);
    expect(damaged).toBe(0);
    expect(frames.map((frame) => frame.size)).toEqual([size, size, size, size]);
    for (const { even, odd } of frames) {
      expect(Math.abs(even - 51)).toBeLessThan(16);
      expect(Math.abs(odd - 191)).toBeLessThan(16);
    }
  });

  test('that begins as a progressive one, and one that ends so, go on', async () => {
    const { interlaced: _, ...plain } = combed;
    const part = { ...plain, height: 288, codec: 'mpeg2video' as never, format: 'mpegts' };
    for (const order of [
      [false, true],
      [true, false],
    ]) {
      const path = join(folder, 'mixed.ts');
      await writeClips(
        path,
        order.map((interlaced) => Object.assign({ interlaced }, part)),
      );
      const { frames, damaged } = await framesOf(path);
      expect([frames.length, damaged]).toEqual([8, 0]);
      for (const { even, odd } of frames) expect(odd - even).toBeGreaterThan(100);
    }
  });
});

describe('a stream that changes its size', () => {
  const part = {
    codec: FF_ENCODER_LIBX264,
    format: 'mpegts',
    frames: 3,
    options: { preset: 'ultrafast' },
  };

  test('gives each picture in its own shape', async () => {
    const path = join(folder, 'changing.ts');
    await writeClips(path, [
      { ...part, width: 192, height: 108 },
      { ...part, width: 108, height: 192 },
      { ...part, width: 192, height: 108 },
    ]);
    const { frames, info } = await framesOf(path);
    expect(info).toMatchObject({ width: 192, height: 108 });
    expect(frames.map(({ size }) => size)).toEqual([
      ...Array<string>(3).fill('192×108'),
      ...Array<string>(3).fill('108×192'),
      ...Array<string>(3).fill('192×108'),
    ]);
  });

  test('keeps the limit of the longest side for each', async () => {
    const path = join(folder, 'changing.ts');
    await writeClips(path, [
      { ...part, width: 64, height: 48 },
      { ...part, width: 96, height: 192 },
    ]);
    await using video = await openVideo(path, { sideMax: 96 });
    const sizes = new Set<string>();
    for await (const { width, height } of video) sizes.add(`${width}×${height}`);
    expect([...sizes]).toEqual(['64×48', '48×96']);
  });
});

describe('one picture or several', () => {
  const still = { width: 64, height: 64, frames: 1, luma: () => 100 };

  test.each<[string, string, Partial<ClipOptions>, boolean]>([
    ['a GIF of one frame', 'gif', { codec: 'gif' as never, pixelFormat: AV_PIX_FMT_GRAY8 }, true],
    ['an animated GIF', 'gif', { codec: 'gif' as never, frames: 3, pixelFormat: AV_PIX_FMT_GRAY8 }, false],
    ['an MP4 of one frame', 'mp4', { codec: FF_ENCODER_LIBX264 }, true],
  ])('%s', async (_, format, change, isStill) => {
    const path = join(folder, `one.${format}`);
    await writeClip(path, { ...still, format, ...change } as ClipOptions);
    const { info, frames } = await framesOf(path);
    expect(info.still).toBe(isStill);
    expect(frames).toHaveLength(isStill ? 1 : 3);
  });
});

describe('what cannot be read is refused with its name and reason', () => {
  test.each([
    ['nothing there', () => Promise.resolve(join(folder, 'nope.mp4')), 'SOURCE_NOT_FOUND', 'there is no file'],
    ['a folder', () => Promise.resolve(folder), 'SOURCE_UNREADABLE', 'it is a folder'],
    ['no bytes', () => fileOf('empty.mp4', ''), 'SOURCE_UNREADABLE', '0 bytes'],
    ['text', () => fileOf('words.mp4', 'some words\n'.repeat(500)), 'SOURCE_UNREADABLE', 'no video in it'],
    ['text art', () => fileOf('notes.nfo', 'some words\n'.repeat(500)), 'SOURCE_UNREADABLE', 'it is text'],
    ['garbage', () => fileOf('garbage.mp4', noise(50_000)), 'SOURCE_UNREADABLE', 'Invalid data'],
    ['sound alone', () => fileOf('sound.wav', wav()), 'SOURCE_UNREADABLE', 'no video stream'],
    ['an index without its frames', () => cutClip('index.mp4', 1200), 'SOURCE_UNREADABLE', ''],
    ['an unknown protocol', () => Promise.resolve('gopherx://example/clip'), 'SOURCE_UNREADABLE', 'Protocol not found'],
  ] as const)('%s', async (_, make, code, reason) => {
    const path = await make();
    const refusal = openVideo(path);
    await expect(refusal).rejects.toMatchObject({ code });
    await expect(refusal).rejects.toThrow(path);
    await expect(refusal).rejects.toThrow(reason);
  });

  test('a picture that breaks off is no picture', async () => {
    const whole = join(folder, 'whole.png');
    await writePicture(whole, { data: noise(64 * 48 * 3), width: 64, height: 48 });
    const bytes = await readFile(whole);
    for (const share of [0.1, 0.6, 0.95]) {
      const refusal = openVideo(await fileOf('cut.png', bytes.subarray(0, Math.round(bytes.length * share))));
      await expect(refusal).rejects.toMatchObject({ code: 'SOURCE_UNREADABLE' });
    }
  });

  test('an animation that breaks off gives its whole frames first', async () => {
    const path = join(folder, 'cut.gif');
    const luma = (frame: number, x: number, y: number) => (x * (frame + 3) * 37 + y * 91) & 255;
    const gif = {
      codec: 'gif' as never,
      format: 'gif',
      pixelFormat: AV_PIX_FMT_GRAY8,
      width: 64,
      height: 48,
      frames: 5,
      luma,
    };
    await writeClip(path, gif);
    expect((await framesOf(path)).frames).toHaveLength(5);
    await truncate(path, Math.round((await stat(path)).size * 0.7));
    await expect(framesOf(path)).rejects.toThrow(/breaks off after [234] frames/);
  });

  test('a file that breaks off gives its whole frames first', async () => {
    const path = join(folder, 'half.mp4');
    await using writer = await createVideo(path, { width: 64, height: 48, rateFps: 10 });
    // Noise, which does not compress: each frame has its share of the file.
    for (let i = 0; i < 30; i += 1) await writer.write(noise(64 * 48 * 3, i), i / 10);
    await writer.finish();
    await truncate(path, Math.round((await stat(path)).size * 0.6));
    await using video = await openVideo(path);
    let frames = 0;
    const reading = (async () => {
      for await (const frame of video) frames = frame.index + 1;
    })();
    await expect(reading).rejects.toMatchObject({ code: 'SOURCE_UNREADABLE' });
    await expect(reading).rejects.toThrow(`breaks off after ${frames} frames`);
    expect(frames).toBeGreaterThan(0);
    expect(frames).toBeLessThan(30);
  });

  test.skipIf(process.platform === 'win32')('a pipe, which would make it wait for a writer', async () => {
    const path = join(folder, 'pipe');
    execFileSync('mkfifo', [path]);
    await expect(openVideo(path)).rejects.toMatchObject({ code: 'SOURCE_UNREADABLE' });
  });
});

describe('a source that never ends', () => {
  test.each(['before the first byte', 'in the middle'])('is left when the signal says so, %s', async (when) => {
    const bytes = await readFile(clip);
    const server = createServer((_, response) => {
      if (when === 'in the middle') response.writeHead(200).write(bytes.subarray(0, Math.round(bytes.length * 0.8)));
    });
    await new Promise<void>((done) => {
      server.listen(0, '127.0.0.1', done);
    });
    const controller = new AbortController();
    try {
      const connected = new Promise((done) => {
        server.once('request', done);
      });
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/clip.mp4`;
      const reading = (async () => {
        await using video = await openVideo(url, { signal: controller.signal });
        for await (const frame of video) expect(frame.index).toBeLessThan(30);
      })();
      reading.catch(() => undefined);
      await connected;
      controller.abort(new Error('enough'));
      await expect(reading).rejects.toThrow('enough');
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  test('is unreadable when it says nothing for too long', async () => {
    const server = createServer(() => undefined);
    await new Promise<void>((done) => {
      server.listen(0, '127.0.0.1', done);
    });
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
      await expect(openVideo(url, { stallTimeoutMs: 200 })).rejects.toMatchObject({ code: 'SOURCE_UNREADABLE' });
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  test('is not opened when the signal has spoken already', async () => {
    await expect(openVideo(clip, { signal: AbortSignal.abort(new Error('never')) })).rejects.toThrow('never');
  });
});

test('pixels become square, then the longest side is limited', () => {
  expect(outputSize({ width: 720, height: 576 }, { num: 16, den: 15 }, Infinity)).toEqual({ width: 768, height: 576 });
  expect(outputSize({ width: 720, height: 576 }, { num: 0, den: 1 }, Infinity)).toEqual({ width: 720, height: 576 });
  expect(outputSize({ width: 1920, height: 1080 }, { num: 1, den: 1 }, 640)).toEqual({ width: 640, height: 360 });
  expect(outputSize({ width: 1080, height: 1920 }, { num: 1, den: 1 }, 640)).toEqual({ width: 360, height: 640 });
  expect(outputSize({ width: 4000, height: 1 }, { num: 1, den: 1 }, 100)).toEqual({ width: 100, height: 1 });
});

async function cutClip(name: string, length: number): Promise<string> {
  return await fileOf(name, (await readFile(clip)).subarray(0, length));
}

/** The same bytes every time, without a pattern: a linear congruential generator (Numerical Recipes, §7.1). */
function noise(length: number, seed = 1): Uint8Array {
  let state = seed;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 24;
  });
}
