import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodeJpeg } from '../media/jpeg.ts';
import { openVideo, outputSize } from './file.ts';
import { createVideo } from './writer.ts';

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

/** A JPEG of 16 × 8 pixels, left half red, right half blue, whose EXIF data says how it is to be turned. */
function turnedJpeg(orientation: number): Uint8Array {
  const data = new Uint8Array(16 * 8 * 3);
  for (let i = 0; i < 16 * 8; i += 1) data[i * 3 + (i % 16 < 8 ? 0 : 2)] = 255;
  const jpeg = encodeJpeg({ data, width: 16, height: 8 }, 95);
  // EXIF 2.3 §4.5: a TIFF with one entry, tag 0112 (orientation), type 3 (short), count 1.
  const tiff = [0x4d, 0x4d, 0, 0x2a, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0];
  const payload = [...new TextEncoder().encode('Exif'), 0, 0, ...tiff];
  return Uint8Array.from([0xff, 0xd8, 0xff, 0xe1, 0, payload.length + 2, ...payload, ...jpeg.subarray(2)]);
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

  test.each([
    [1, 16, 8, 'red left'],
    [3, 16, 8, 'blue left'],
    [6, 8, 16, 'red above'],
    [8, 8, 16, 'blue above'],
  ])('a picture with EXIF orientation %i stands upright', async (orientation, width, height, expected) => {
    await using video = await openVideo(await fileOf(`turned${orientation}.jpg`, turnedJpeg(orientation)));
    expect(video.info).toMatchObject({ width, height });
    for await (const { data } of video) {
      const last = data.length - 3;
      const colour = data[0]! > 128 ? 'red' : 'blue';
      expect(`${colour} ${width > height ? 'left' : 'above'}`).toBe(expected);
      expect(data[last]! > 128).toBe(colour === 'blue');
    }
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
  expect(outputSize(720, 576, { num: 16, den: 15 }, Infinity)).toEqual({ width: 768, height: 576 });
  expect(outputSize(720, 576, { num: 0, den: 1 }, Infinity)).toEqual({ width: 720, height: 576 });
  expect(outputSize(1920, 1080, { num: 1, den: 1 }, 640)).toEqual({ width: 640, height: 360 });
  expect(outputSize(1080, 1920, { num: 1, den: 1 }, 640)).toEqual({ width: 360, height: 640 });
  expect(outputSize(4000, 1, { num: 1, den: 1 }, 100)).toEqual({ width: 100, height: 1 });
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
