import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { resolveConfig } from '../../src/config/load.ts';
import { decodeJpeg, readJpegHeader } from '../../src/media/jpeg.ts';
import { createVideo, writePicture } from '../../src/sources/writer.ts';
import { photograph } from '../support/pictures.ts';
import { ServerProcess } from '../support/server-process.ts';

const COMMAND = fileURLToPath(new URL('../../bin/sightline.js', import.meta.url));

let folder: string;

/** A second and a half of a photograph of a car, panned over. */
async function makeClip(path: string, frames: number): Promise<void> {
  const jpeg = await photograph('car1.jpg');
  const { width, height } = readJpegHeader(jpeg);
  const whole = decodeJpeg(jpeg, new Uint8Array(width * height * 3)).data;
  const size = { width: width - 2 * 30, height: height - 2 * 10 };
  await using writer = await createVideo(path, { ...size, rateFps: 20 });
  const view = new Uint8Array(size.width * size.height * 3);
  for (let i = 0; i < frames; i += 1) {
    for (let y = 0; y < size.height; y += 1) {
      const begin = ((y + 10) * width + 2 * i) * 3;
      view.set(whole.subarray(begin, begin + size.width * 3), y * size.width * 3);
    }
    await writer.write(view, i / 20);
  }
  await writer.finish();
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-optimize-'));
  await makeClip(join(folder, 'clip.mp4'), 30);
  await makeClip(join(folder, 'one.mp4'), 1);
  await writePicture(join(folder, 'still.png'), { data: new Uint8Array(64 * 64 * 3), width: 64, height: 64 });
  writeFileSync(join(folder, 'words.txt'), 'some words\n');
  writeFileSync(join(folder, 'taken.yaml'), 'server:\n  port: 9001\n');
  mkdirSync(join(folder, 'a-folder'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function start(...words: string[]): ChildProcess {
  return spawn(process.execPath, [COMMAND, ...words], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
}

async function run(...words: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = start(...words);
  const [out, err, [code]] = await Promise.all([text(child.stdout!), text(child.stderr!), once(child, 'exit')]);
  return { code: code as number | null, out, err };
}

interface Figures {
  readonly results_per_s: number;
  readonly in_time_per_s: number;
  readonly p95_ms: number;
  readonly loss_percent: number;
}

interface Document {
  readonly recommended: { is_default: boolean; name: string; changes: Record<string, unknown>; reasons: string[] };
  readonly settings: Record<string, unknown>;
  readonly confirmation: {
    name: string;
    changes: object;
    measured: Figures;
    rounds: Figures[];
    adoptable: boolean | null;
  }[];
  readonly noise_percent: number;
  readonly pictures: { width: number; kept: number | null; boxes: number; work_ms: number }[];
  readonly trials: { name: string; stage: string; saturated: boolean; measured: Figures }[];
  readonly out: string;
}

describe('a clip', () => {
  test('gives a configuration that measures no worse than the default, and that the server takes', async () => {
    const words = ['--config', 'taken.yaml', 'optimize', 'clip.mp4', '--quick', '--sessions', '2', '--json'];
    const { code, out, err } = await run(...words, '--target-latency', '200');
    expect(code, err).toBe(0);
    const document = JSON.parse(out) as Document;

    // Every stage was measured, with real detections.
    expect(new Set(document.trials.map(({ stage }) => stage))).toContain('engine');
    expect(new Set(document.trials.map(({ stage }) => stage))).toContain('rate');
    expect(document.trials[0]).toMatchObject({ name: 'default', saturated: false });
    for (const { name, measured } of document.trials) expect(measured.results_per_s, name).toBeGreaterThan(0);
    expect(document.pictures[0]!.boxes).toBeGreaterThan(5);
    expect(document.pictures[0]!.kept).toBeGreaterThan(0.5);
    for (const { work_ms } of document.pictures) expect(work_ms).toBeGreaterThan(0);

    // What is recommended is one that took its turns with the default.
    const [standard, ...others] = document.confirmation;
    expect(standard).toMatchObject({ name: 'default', changes: {}, adoptable: null, rounds: { length: 2 } });
    const { is_default: isDefault, name, changes } = document.recommended;
    if (isDefault) {
      expect(changes).toEqual({});
      expect(others.every(({ adoptable }) => adoptable === false)).toBe(true);
    } else {
      const winner = others.find((one) => one.name === name)!;
      expect(winner.adoptable).toBe(true);
      const least = standard!.measured.in_time_per_s * (1 - document.noise_percent / 100);
      expect(winner.measured.in_time_per_s).toBeGreaterThanOrEqual(least);
      expect(winner.measured.p95_ms).toBeLessThanOrEqual(Math.max(200, standard!.measured.p95_ms));
    }

    // The file stands alone: what was configured before is in it as well.
    const file = join(folder, 'sightline.yaml');
    expect(document.out).toBe(file);
    expect(document.settings).toEqual({ 'server.port': 9001, ...changes });
    const own = [...resolveConfig({ file }).origins]
      .filter(([, origin]) => origin.startsWith(file))
      .map(([path]) => path);
    expect(own.toSorted()).toEqual(Object.keys(document.settings).toSorted());
    expect(readFileSync(file, 'utf8')).toMatch(/^# default +\d+\.\d /m);
    expect(await run('config', 'check', 'sightline.yaml')).toMatchObject({ code: 0 });
    await using server = await ServerProcess.start(['--config', file, 'serve']);
    expect(await server.json('/health')).toMatchObject({ status: 'ok' });
  });

  test('stopped by Ctrl+C leaves no server and no file', async () => {
    const child = start('optimize', 'clip.mp4', '--quick', '--out', 'stopped.yaml');
    const out = text(child.stdout!);
    let err = '';
    for await (const chunk of child.stderr!) {
      err += String(chunk);
      // The default is through: the next server is about to start.
      if (err.includes('results/s')) break;
    }
    await expect.poll(() => childrenOf(child.pid!).length, { timeout: 20_000 }).toBeGreaterThan(0);
    const children = childrenOf(child.pid!);
    child.kill('SIGINT');
    const [code] = (await once(child, 'exit')) as [number | null];
    expect({ code, out: await out }).toEqual({ code: 130, out: '' });
    expect(existsSync(join(folder, 'stopped.yaml'))).toBe(false);
    for (const pid of children) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  });
});

function childrenOf(pid: number): number[] {
  const pids = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return pids === '' ? [] : pids.split(' ').map(Number);
}

test.each([
  ['no clip', [], 64, 'USAGE', 'clip'],
  ['a file that is not there', ['none.mp4'], 66, 'SOURCE_NOT_FOUND', 'none.mp4'],
  ['a text', ['words.txt'], 65, 'SOURCE_UNREADABLE', 'words.txt'],
  ['a clip of one frame', ['one.mp4'], 65, 'SOURCE_UNREADABLE', 'it has one frame'],
  ['a picture', ['still.png'], 65, 'SOURCE_UNREADABLE', 'it has one frame'],
  ['a target of 0', ['clip.mp4', '--target-latency', '0'], 64, 'USAGE', "'0'"],
  ['a negative target', ['clip.mp4', '--target-latency', '-5'], 64, 'USAGE', "'-5'"],
  ['a target that is no number', ['clip.mp4', '--target-latency', 'NaN'], 64, 'USAGE', "'NaN'"],
  ['no sessions', ['clip.mp4', '--sessions', '0'], 64, 'USAGE', "'0'"],
  ['an unknown strategy', ['clip.mp4', '--strategy', 'best'], 64, 'USAGE', 'latency, memory, balanced, aggressive'],
  ['a file in no folder', ['clip.mp4', '--out', 'nope/a.yaml'], 73, 'OUTPUT_FAILED', 'nope'],
  ['a file that exists', ['clip.mp4', '--out', 'taken.yaml'], 73, 'OUTPUT_FAILED', 'exists already'],
  ['a folder', ['clip.mp4', '--out', 'a-folder', '--force'], 73, 'OUTPUT_FAILED', 'it is a folder'],
  ['the clip itself', ['clip.mp4', '--out', './clip.mp4', '--force'], 64, 'USAGE', 'the input itself'],
])('%s is refused', async (_, words, exit, code, says) => {
  const { code: exited, out, err } = await run('optimize', ...words);
  expect({ exited, out }).toEqual({ exited: exit, out: '' });
  expect(err.trimEnd().split('\n')).toHaveLength(1);
  expect(err).toMatch(new RegExp(`^sightline: .*\\(${code}\\)$`, 'm'));
  expect(err).toContain(says);
});

test('a model that is not there is told by its own code', async () => {
  const { code, out, err } = await run('--set', 'detection.model=yolo99', 'optimize', 'clip.mp4', '--out', 'm.yaml');
  expect({ code, out }).toEqual({ code: 66, out: '' });
  expect(err).toMatch(/^sightline: .*yolo99.* \(MODEL_UNKNOWN\)$/m);
});
