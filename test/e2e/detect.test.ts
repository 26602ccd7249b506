import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { FF_ENCODER_LIBX264 } from 'node-av/constants';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { PipelineName } from '../../src/base/result.ts';
import type { ResultMessage } from '../../src/protocol/video.ts';
import { makeDemoCamera } from '../../src/sources/demo.ts';
import { openVideo } from '../../src/sources/file.ts';
import { writeClip } from '../support/clips.ts';
import { isLongRun } from '../support/forms.ts';
import { runHere } from '../support/command.ts';
import { photograph, sharedFile } from '../support/pictures.ts';
import { programPath } from '../support/programs.ts';

const command = fileURLToPath(new URL('../../bin/sightline.js', import.meta.url));
const people = sharedFile('media/one-by-one-person-detection.mp4');
const cars = sharedFile('media/car-detection.mp4');
const yolox = sharedFile('models/yolox_nano.onnx');
const book = sharedFile('media/asl/book.mkv');
const ffprobe = programPath('ffprobe');

const photographs = ['car1.jpg', 'car2.jpg'] as const;

let folder = '';
/** The demo camera: 240 frames of 960 × 540, 20 a second, a car in each. */
let clip = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-detect-'));
  for (const name of photographs) await writeFile(join(folder, name), await photograph(name));
  const fetchPhotograph = ({ file }: { file: string }) => photograph(photographs.find((name) => file.endsWith(name))!);
  clip = await makeDemoCamera({ cacheDir: folder, fetchPhotograph });
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

function start(words: readonly string[], env: Record<string, string> = {}) {
  const options = { cwd: folder, env: { ...process.env, ...env } };
  return spawn(process.execPath, [command, 'detect', ...words], { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
}

/** With frames that are under way in several workers at once. */
const SEVERAL_WORKERS = { SIGHTLINE_INFERENCE__WORKERS: '2' };

function detect(...words: string[]) {
  return detectIn({}, ...words);
}

async function detectIn(
  env: Record<string, string>,
  ...words: string[]
): Promise<{ code: number | null; out: string; err: string }> {
  const child = start(words, env);
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { code: code as number | null, out, err };
}

function results(out: string): ResultMessage[] {
  return out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as ResultMessage);
}

function found(messages: readonly ResultMessage[], label: string): number {
  return messages.filter(({ detections }) => detections.some((detection) => detection.label === label)).length;
}

interface Probe {
  readonly codec_name: string;
  readonly pix_fmt: string;
  readonly width: number;
  readonly height: number;
  readonly nb_read_frames: string;
  readonly avg_frame_rate: string;
}

/** What a program that is not ours sees in a file, having decoded it all. */
function probe(path: string): Probe {
  const words = ['-v', 'error', '-count_frames', '-show_streams', '-of', 'json', path];
  const { streams } = JSON.parse(execFileSync(ffprobe!, words, { encoding: 'utf8' })) as { streams: Probe[] };
  return streams[0]!;
}

describe('a photograph', () => {
  test('gives one line with the fields of the protocol, and the car in it', async () => {
    const { code, out, err } = await detect('car1.jpg', '--json');
    expect(err).toBe('');
    expect(code).toBe(0);
    const [message, ...others] = results(out);
    expect(others).toEqual([]);
    expect(Object.keys(message!)).toEqual([
      'type',
      'client_id',
      'seq',
      'capture_time',
      'pipeline',
      'width',
      'height',
      'detections',
      'stages_ms',
    ]);
    expect(message).toMatchObject({ type: 'result', seq: 1, capture_time: 0, width: 1024, height: 680 });
    const [car] = message!.detections;
    expect(car!.label).toBe('Car');
    // The car reaches from x 50 to 955 and from y 195 to 475.
    expect(car!.box.x).toBeCloseTo(0.05, 1);
    expect(car!.box.x + car!.box.width).toBeCloseTo(0.93, 1);
    expect(car!.box.y).toBeCloseTo(0.29, 1);
    expect(car!.box.y + car!.box.height).toBeCloseTo(0.7, 1);
    const { total, ...own } = message!.stages_ms;
    expect(total).toBeGreaterThanOrEqual(own.decode + own.inference);
  });

  test('is summed up for people, and comes back with its boxes', async () => {
    const { code, out } = await detect('car2.jpg', '--out', 'boxes.png');
    expect(code).toBe(0);
    expect(out).toMatch(/^frames +1 in /m);
    expect(out).toMatch(/^ {2}Car +1 {2}in 1 frame, best \d+ %$/m);
    expect((await readFile(join(folder, 'boxes.png'))).subarray(1, 4).toString()).toBe('PNG');
    expect((await runHere(folder, ['detect', 'boxes.png', '--json'])).code).toBe(0);
  });
});

describe('several inputs', () => {
  test.runIf(isLongRun)(
    'of a folder are done one after the other; a broken one is told and costs the exit code alone',
    async () => {
      const photos = join(folder, 'photos');
      await mkdir(photos);
      const car = await photograph('car1.jpg');
      await writeFile(join(photos, '1.jpg'), car);
      await writeFile(join(photos, '2 broken.jpg'), car.subarray(0, car.length >> 1));
      await writeFile(join(photos, '3 notes.txt'), 'words');
      const luma = (frame: number, x: number, y: number) => (x * (frame + 3) * 37 + y * 91) & 255;
      const clipOfNoise = { codec: FF_ENCODER_LIBX264, width: 96, height: 64, frames: 3, luma };
      await writeClip(join(photos, '4.ts'), { ...clipOfNoise, format: 'mpegts' });
      const { code, out, err } = await detectIn(
        SEVERAL_WORKERS,
        'photos',
        'car2.jpg',
        'car2.jpg',
        '--json',
        '--out',
        'boxes',
      );
      const lines = results(out) as (ResultMessage & { file: string })[];
      const of = (name: string) => lines.filter(({ file }) => file === name);
      expect(lines.map(({ type, file }) => `${type} ${file}`)).toEqual([
        `result ${join('photos', '1.jpg')}`,
        `error ${join('photos', '2 broken.jpg')}`,
        ...Array<string>(3).fill(`result ${join('photos', '4.ts')}`),
        ...Array<string>(2).fill('result car2.jpg'),
      ]);
      expect(found(of(join('photos', '1.jpg')), 'Car')).toBe(1);
      expect(found(of('car2.jpg'), 'Car')).toBe(2);
      expect(code).toBe(65);
      expect(err).toContain('3 notes.txt');
      expect(err).toMatch(/2 broken\.jpg: it breaks off.*\(SOURCE_UNREADABLE\)/);
      expect(err).toMatch(/1 of 5 inputs could not be processed/);
      expect((await readdir(join(folder, 'boxes'))).toSorted()).toEqual(['1.jpg', '4.mp4', 'car2-2.jpg', 'car2.jpg']);
    },
  );
});

describe('hands', () => {
  const lines = (out: string) =>
    out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as ResultMessage<PipelineName>);

  test.runIf(isLongRun)('beside objects: a line for each, and none where there is none', async () => {
    const { code, out, err } = await detect('car1.jpg', 'car2.jpg', '--pipeline', 'hands,objects', '--json');
    expect(lines(out).map(({ pipeline, seq }) => `${seq} ${pipeline}`)).toEqual([
      '1 hands',
      '1 objects',
      '1 hands',
      '1 objects',
    ]);
    const [hands, objects] = lines(out);
    expect(hands).toMatchObject({ hands: [], width: objects!.width, height: objects!.height });
    expect(hands).not.toHaveProperty('detections');
    expect([code, err]).toEqual([0, '']);
  });

  test.skipIf(!book)(
    'of somebody who signs have 21 landmarks, and are drawn into the file (needs ../shared)',
    async () => {
      const words = ['--pipeline', 'objects,hands', '--limit', '40', '--out', 'hands.mp4', '--json'];
      const { out, err, code } = await detect(book!, ...words);
      expect([code, err]).toEqual([0, '']);
      const found = lines(out).filter((message) => message.pipeline === 'hands');
      expect([lines(out).length, found.length]).toEqual([80, 40]);
      const hands = found.flatMap((message) => message.hands);
      expect(hands.length).toBeGreaterThan(10);
      for (const { landmarks, world, score } of hands) {
        expect([landmarks.length, world.length]).toEqual([21, 21]);
        expect(score).toBeGreaterThan(0.5);
        // A hand in metres: from the wrist to the tip of the middle finger.
        const [wrist, tip] = [world[0]!, world[12]!];
        expect(Math.hypot(wrist.x - tip.x, wrist.y - tip.y, wrist.z - tip.z)).toBeLessThan(0.25);
      }
      expect(await framesIn('hands.mp4')).toBe(40);
    },
  );
});

describe('a clip', () => {
  test.skipIf(!people || !yolox || !isLongRun)(
    'of a corridor has the people in it, frame by frame (needs ../shared)',
    async () => {
      const { code, out } = await detect(people!, '--model', yolox!, '--confidence', '0.5', '--json', '--limit', '200');
      expect(code).toBe(0);
      const messages = results(out);
      expect(messages.map(({ seq }) => seq)).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
      expect(messages.every(({ seq, capture_time }) => Math.abs(capture_time - (seq - 1) * 100) < 1)).toBe(true);
      // Of the first 200 frames somebody is in about three quarters.
      expect(found(messages, 'person')).toBeGreaterThan(100);
    },
  );

  test.skipIf(!cars || !isLongRun)(
    'of a car park has cars for the default model at 0.4 (needs ../shared)',
    async () => {
      const { code, out } = await detect(cars!, '--confidence', '0.4', '--json', '--every', '2');
      expect(code).toBe(0);
      const messages = results(out);
      expect(messages).toHaveLength(189);
      expect(messages[1]).toMatchObject({ seq: 3, capture_time: 160 });
      expect(found(messages, 'Car')).toBeGreaterThan(30);
    },
  );

  test('of the demo camera has a car in nearly every frame', async () => {
    const { code, out } = await detect(clip, '--confidence', '0.4', '--json', '--every', '6');
    expect(code).toBe(0);
    const messages = results(out);
    expect(messages).toHaveLength(40);
    expect(found(messages, 'Car')).toBeGreaterThanOrEqual(36);
  });

  test.skipIf(!ffprobe)('is written with boxes into a file that plays', async () => {
    const { code, out } = await detectIn(SEVERAL_WORKERS, clip, '--limit', '30', '--out', 'annotated.mp4');
    expect(code).toBe(0);
    expect(out).toContain(join(folder, 'annotated.mp4'));
    expect(probe(join(folder, 'annotated.mp4'))).toMatchObject({
      codec_name: 'h264',
      pix_fmt: 'yuv420p',
      width: 960,
      height: 540,
      nb_read_frames: '30',
      avg_frame_rate: '20/1',
    });
  });

  test.runIf(isLongRun)('that is stopped by Ctrl+C leaves what was done until then', async () => {
    const child = start([clip, '--json', '--out', 'stopped.mp4']);
    const closed = once(child, 'close');
    const err = text(child.stderr);
    let frames = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      expect(line).toMatch(/^\{.*\}$/);
      frames += 1;
      if (frames === 10) child.kill('SIGINT');
    }
    expect(await closed).toEqual([130, null]);
    expect(await err).toContain(`stopped after ${frames} frames`);
    expect(frames).toBeLessThan(240);
    expect(await framesIn('stopped.mp4')).toBe(frames);
    expect(await partialFiles()).toEqual([]);
  });

  test.runIf(isLongRun)('that breaks off gives what is there, then says so', async () => {
    await writeFile(join(folder, 'half.mp4'), (await readFile(clip)).subarray(0, 150_000));
    const { code, out, err } = await detect('half.mp4', '--json', '--out', 'half-boxes.mp4');
    expect(code).toBe(65);
    expect(err).toMatch(/half\.mp4: it breaks off after \d+ frames.*\(SOURCE_UNREADABLE\)/);
    const frames = results(out).length;
    expect(frames).toBeGreaterThan(10);
    expect(await framesIn('half-boxes.mp4')).toBe(frames);
  });

  test('whose reader goes away leaves no half file behind', async () => {
    const child = start([clip, '--json', '--out', 'unread.mp4']);
    child.stdout.once('data', () => child.stdout.destroy());
    child.stderr.resume();
    await once(child, 'close');
    expect(await partialFiles()).toEqual([]);
  });
});

describe('what a new user gets wrong', () => {
  test.each([
    ['a file that is not there', ['nope.mp4'], 66, 'SOURCE_NOT_FOUND', 'nope.mp4'],
    ['a text file', ['words.txt'], 65, 'SOURCE_UNREADABLE', 'words.txt'],
    ['a folder without pictures', ['bare'], 66, 'SOURCE_NOT_FOUND', 'no picture or video'],
    ['one output for two inputs', ['car1.jpg', 'car2.jpg', '--out', 'both.mp4'], 64, 'USAGE', 'a folder'],
    ['outputs among the inputs', ['car1.jpg', 'car2.jpg', '--out', '.'], 64, 'USAGE', 'overwritten'],
    ['a threshold over 1', ['car1.jpg', '--confidence', '7'], 64, 'USAGE', "'7'"],
    ['a threshold that is no number', ['car1.jpg', '--iou', 'much'], 64, 'USAGE', "'much'"],
    ['every frame of none', ['car1.jpg', '--every', '0'], 64, 'USAGE', "'0'"],
    ['a model that is not there', ['car1.jpg', '--model', 'yolo99'], 66, 'MODEL_UNKNOWN', 'yolo99'],
    ['a model that detects nothing', ['car1.jpg', '--model', 'hand-lite'], 65, 'MODEL_UNSUPPORTED', 'hand-lite'],
    ['an output in no folder', ['car1.jpg', '--out', 'nope/boxes.png'], 73, 'OUTPUT_FAILED', 'nope'],
    ['an output over the input', ['car1.jpg', '--out', './car1.jpg'], 64, 'USAGE', 'the input itself'],
    ['an output of another kind', ['car1.jpg', '--out', 'boxes.avi'], 64, 'USAGE', '.avi'],
    ['no input', [], 64, 'USAGE', 'input'],
    ['an unknown pipeline', ['car1.jpg', '--pipeline', 'dance'], 64, 'PIPELINE_UNKNOWN', 'objects, hands'],
    ['a pipeline twice', ['car1.jpg', '--pipeline', 'hands,hands'], 64, 'USAGE', 'hands twice'],
    ['a pipeline without a name', ['car1.jpg', '--pipeline', 'hands,'], 64, 'USAGE', 'empty'],
    ['a detector without objects', ['car1.jpg', '--pipeline', 'hands', '--iou', '0.5'], 64, 'USAGE', '--iou'],
    ['an option mistyped', ['car1.jpg', '--jsn'], 64, 'USAGE', '--json'],
  ])('%s', async (_, words, exit, code, says) => {
    await writeFile(join(folder, 'words.txt'), 'some words\n');
    await mkdir(join(folder, 'bare'), { recursive: true });
    const before = await stat(join(folder, 'car1.jpg'));
    const result = await runHere(folder, ['detect', ...words]);
    expect(result.out).toBe('');
    expect(result.err).toContain(says);
    expect(result.err.trimEnd().split('\n')).toHaveLength(1);
    expect(result.err).toMatch(new RegExp(`^sightline: .*\\(${code}\\)$`, 'm'));
    expect(result.code).toBe(exit);
    expect((await stat(join(folder, 'car1.jpg'))).mtimeMs).toBe(before.mtimeMs);
  });
});

async function framesIn(name: string): Promise<number> {
  await using video = await openVideo(join(folder, name));
  let frames = 0;
  for await (const { index } of video) frames = index + 1;
  return frames;
}

async function partialFiles(): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name.endsWith('.partial'));
}
