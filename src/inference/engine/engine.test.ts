import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { systemClock } from '../../base/clock.ts';
import { SightlineError } from '../../base/errors.ts';
import type { Picture } from '../../base/picture.ts';
import { encodeJpeg } from '../../media/jpeg.ts';
import type { ModelManifest, ReadyModel } from '../manifest.ts';
import { brightnessManifest, brightnessModel } from '../../../test/support/brightness-model.ts';
import { collectingLog } from '../../../test/support/log.ts';
import { findObjects, jpegPicture, rgbPicture } from '../../../test/support/objects.ts';
import { OnnxEngine, type OnnxEngineOptions } from './engine.ts';
import type { ObjectsSettings } from '../../pipelines/objects/program.ts';
import type { InferenceJob } from './types.ts';

const FAULTY = new URL('../../../test/support/faulty-inference-worker.ts', import.meta.url);
const SHARING = new URL('../../../test/support/sharing-inference-worker.ts', import.meta.url);
const grey = (level: number, width = 16, height = 16) =>
  rgbPicture(new Uint8Array(width * height * 3).fill(level), width, height);
const jpegOf = ({ bytes: data, width, height }: Picture, quality = 90) => encodeJpeg({ data, width, height }, quality);
const greyJpeg = (level: number): Picture => jpegPicture(jpegOf(grey(level)).slice());

let folder: string;
let bright: ReadyModel;
let engine: OnnxEngine;

async function model(id: string, bytes: Uint8Array, change?: Partial<ModelManifest>): Promise<ReadyModel> {
  const onnxPath = join(folder, `${id}.onnx`);
  await writeFile(onnxPath, bytes);
  return { manifest: brightnessManifest(id, change), onnxPath };
}

async function start(options: OnnxEngineOptions = {}): Promise<void> {
  engine = new OnnxEngine({ workers: 1, ...options });
  await engine.load(bright);
}

type Change = ObjectsSettings & Partial<InferenceJob>;
const run = (picture: Picture, change: Change = {}) => findObjects(engine, 'bright', picture, change);
const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'none',
    (error: unknown) => (error instanceof SightlineError ? error.code : String(error)),
  );

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-engine-'));
  bright = await model('bright', brightnessModel());
});
afterAll(() => rm(folder, { recursive: true, force: true }));
afterEach(() => engine.close());

describe('a frame', () => {
  test('goes through: detections, size, stages, the moment that a worker took it', async () => {
    await start();
    const beforeMs = systemClock.now();
    const outcome = await run(greyJpeg(204));
    expect(outcome.detections).toHaveLength(1);
    const [light] = outcome.detections;
    expect(light).toMatchObject({ label: 'light', classId: 0, box: { x: 0.25, y: 0.25, width: 0.5, height: 0.5 } });
    expect(light!.score).toBeCloseTo(0.8, 2);
    expect(outcome).toMatchObject({ width: 16, height: 16 });
    expect(Object.keys(outcome.stagesMs).toSorted()).toEqual(['decode', 'inference', 'postprocess', 'preprocess']);
    for (const value of Object.values(outcome.stagesMs)) expect(value).toBeGreaterThanOrEqual(0);
    expect(outcome.startedTimeMs).toBeGreaterThan(beforeMs - 1);
    expect(outcome.startedTimeMs).toBeLessThan(systemClock.now() + 1);
  });

  test('of raw RGB counts the same; thresholds of the model and of the job', async () => {
    await start();
    expect((await run(grey(204))).detections[0]!.score).toBeCloseTo(0.8, 5);
    expect((await run(grey(120))).detections).toEqual([]);
    expect((await run(grey(120), { confidence: 0.4 })).detections).toHaveLength(1);
    expect((await run(grey(204), { confidence: 0.9 })).detections).toEqual([]);
  });

  test("a class's own threshold holds until the job brings one", async () => {
    await start();
    const defaults = { confidence: 0.5, iou: 0.45, perClass: { light: 0.3 } };
    await engine.load(await model('lenient', brightnessModel(), { defaults }));
    const dim = grey(100);
    expect((await findObjects(engine, 'lenient', dim)).detections).toHaveLength(1);
    expect((await findObjects(engine, 'lenient', dim, { confidence: 0.5 })).detections).toEqual([]);
  });

  test('is copied: the caller may overwrite its bytes at once', async () => {
    await start();
    const outcomes = Array.from({ length: 10 }, (_, i) => {
      const picture = grey(100 + i * 15);
      const outcome = run(picture, { confidence: 0 });
      picture.bytes.fill(0);
      return outcome;
    });
    const scores = (await Promise.all(outcomes)).map((o) => o.detections[0]!.score);
    scores.forEach((score, i) => expect(score).toBeCloseTo((100 + i * 15) / 255, 5));
  });

  test('larger than every one before it still fits', async () => {
    await start();
    expect((await run(grey(255, 400, 300))).width).toBe(400);
    expect((await run(grey(255, 16, 16))).width).toBe(16);
    expect((await run(grey(255, 800, 600))).detections[0]!.score).toBeCloseTo(1, 5);
  });

  test.each<[string, () => Picture]>([
    ['FRAME_EMPTY', () => jpegPicture(new Uint8Array(0))],
    ['FRAME_NOT_JPEG', () => jpegPicture(Buffer.from('GIF89a..........'))],
    ['FRAME_TRUNCATED', () => jpegPicture(jpegOf(grey(9)).subarray(0, 200))],
    [
      'FRAME_UNDECODABLE',
      () => {
        const bytes = new Uint8Array(64 * 64 * 3).map((_, i) => (i * i) % 251);
        const whole = jpegOf({ ...grey(9, 64, 64), bytes });
        return jpegPicture(Buffer.concat([whole.subarray(0, whole.length - 400), Uint8Array.of(0xff, 0xd9)]));
      },
    ],
    ['FRAME_TOO_LARGE', () => jpegPicture(jpegOf(grey(9, 200, 8)).slice())],
    ['FRAME_PIXELS_BAD', () => ({ ...grey(9), width: 17 })],
  ])('that is bad gets %s, and the worker lives on', async (code, picture) => {
    await start({ imageLimits: { sideMax: 128, pixelsMax: 128 * 128 } });
    expect(await codeOf(run(picture()))).toBe(code);
    expect((await run(grey(204))).detections).toHaveLength(1);
    expect(engine.stats()).toMatchObject({ restarts: 0, completed: 1 });
  });

  test('random damage never costs a worker', async () => {
    await start();
    const bytes = new Uint8Array(32 * 32 * 3).map((_, i) => (i * 7) % 256);
    const whole = jpegOf({ ...grey(0, 32, 32), bytes }, 80).slice();
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length), fc.nat(whole.length - 1), fc.nat(255), async (length, at, value) => {
        const damaged = whole.slice(0, length);
        if (at < length) damaged[at] = value;
        expect(await codeOf(run(jpegPicture(damaged)))).toMatch(/^(none|FRAME_[A-Z_]+)$/);
      }),
      { numRuns: 200 },
    );
    expect(engine.stats().restarts).toBe(0);
  });
});

describe('a model', () => {
  test('is reported with the providers that were refused, why, and where its nodes run', async () => {
    engine = new OnnxEngine({ workers: 2, providers: ['coreml', 'cpu'], deviceMemoryBytesMax: 1e9 });
    const report = await engine.load(bright);
    expect(report).toMatchObject({ requested: ['coreml', 'cpu'], effective: 'cpu', notes: [] });
    expect(report.refused).toEqual([{ provider: 'coreml', reason: expect.stringContaining('coreml') }]);
    expect(report.nodes['cpu']).toBeGreaterThanOrEqual(1);
    expect(engine.stats().models).toMatchObject([{ id: 'bright', providers: report }]);
  });

  test('that no provider takes is MODEL_UNAVAILABLE with each reason', async () => {
    engine = new OnnxEngine({ workers: 1, providers: ['coreml', 'directml'] });
    await expect(engine.load(bright)).rejects.toMatchObject({
      code: 'MODEL_UNAVAILABLE',
      message: expect.stringMatching(/coreml: .*; directml: /),
    });
  });

  test('with a symbolic batch, and one with an output of undeclared length, run', async () => {
    await start();
    for (const [id, bytes] of [
      ['batch', brightnessModel('n')],
      ['length', brightnessModel(1, 'boxes')],
    ] as const) {
      await engine.load(await model(id, bytes));
      for (const level of [204, 255]) {
        const { detections } = await findObjects(engine, id, grey(level));
        expect(detections[0]!.score).toBeCloseTo(level / 255, 5);
      }
    }
  });

  test('without a head runs, and says nothing of objects', async () => {
    await start({ warmUpRuns: 0 });
    await engine.load(
      await model('bare', brightnessModel(), { head: { kind: 'tensors' }, task: 'tensors', labels: [] }),
    );
    expect(await codeOf(findObjects(engine, 'bare', grey(255)))).toBe('MODEL_UNSUPPORTED');
    expect((await run(grey(204))).detections).toHaveLength(1);
  });

  test.each<[string, Partial<ModelManifest>]>([
    ['its manifest says [1, 3, 9, 9]', { input: { ...brightnessManifest('x').input, width: 9, height: 9 } }],
    ['has no output nope', { head: { kind: 'yolov8', output: 'nope' } }],
    ['but 0 labels', { labels: [] }],
    ['yolov5 head', { head: { kind: 'yolov5' } }],
  ])('that does not fit is MODEL_UNSUPPORTED: %s', async (message, change) => {
    await start();
    await expect(engine.load(await model('odd', brightnessModel(), change))).rejects.toMatchObject({
      code: 'MODEL_UNSUPPORTED',
      message: expect.stringContaining(message),
    });
    expect(await codeOf(findObjects(engine, 'odd', grey(1)))).toBe('MODEL_UNKNOWN');
    expect((await run(grey(204))).detections).toHaveLength(1);
  });

  test('that kills its worker is MODEL_CRASHED, and the others run on', async () => {
    await start({ workers: 2, workerUrl: FAULTY });
    expect(await codeOf(engine.load({ ...bright, manifest: brightnessManifest('deadly') }))).toBe('MODEL_CRASHED');
    expect((await run(grey(204))).detections).toHaveLength(1);
    await vi.waitUntil(() => engine.stats().workers === 2);
    expect(engine.stats().models.map((m) => m.id)).toEqual(['bright']);
  });

  test('asked for twice is loaded once; an unknown one is refused', async () => {
    await start();
    expect(await engine.load(bright)).toBe(engine.stats().models[0]!.providers);
    expect(await codeOf(findObjects(engine, 'other', grey(1)))).toBe('MODEL_UNKNOWN');
  });
});

describe('slots', () => {
  test('one that runs and those ahead; the scheduler is told when one is free', async () => {
    await start({ workers: 2, prefetch: 2 });
    await vi.waitUntil(() => engine.freeSlots === 6);
    const jobs = Array.from({ length: 6 }, () => run(grey(204)));
    expect(engine.freeSlots).toBe(0);
    const freeAtCalls: number[] = [];
    // Runs that take long, as on a busy machine, let an ordinary job in only shortly before their end; there is a place for an urgent one.
    engine.onFree = () => freeAtCalls.push(engine.urgentSlots);
    await Promise.all(jobs);
    expect(freeAtCalls.length).toBeGreaterThanOrEqual(6);
    expect(Math.min(...freeAtCalls)).toBeGreaterThan(0);
    expect(engine.freeSlots).toBe(6);
  });

  test('behind a job that takes far longer than others there are none, but for an urgent one', async () => {
    await start({ workers: 2, prefetch: 1 });
    await vi.waitUntil(() => engine.freeSlots === 4);
    const [ordinary] = [run(grey(204))];
    expect([engine.freeSlots, engine.urgentSlots]).toEqual([3, 5]);
    await ordinary;
    const long = run(grey(204), { expectedMs: 10_000 });
    expect([engine.freeSlots, engine.urgentSlots]).toEqual([2, 4]);
    const others = [run(grey(204)), run(grey(204))];
    expect([engine.freeSlots, engine.urgentSlots]).toEqual([0, 2]);
    await Promise.all([long, ...others]);
    expect(engine.freeSlots).toBe(4);
  });

  test('more jobs wait in order, up to the limit, beyond which they are refused and counted', async () => {
    await start({ prefetch: 0, backlogMax: 3 });
    const order: number[] = [];
    const jobs = Array.from({ length: 6 }, (_, i) => codeOf(run(grey(204)).then(() => order.push(i))));
    expect(engine.stats()).toMatchObject({ backlog: 3, busy: 1, refused: 2 });
    expect(await Promise.all(jobs)).toEqual(['none', 'none', 'none', 'none', 'INFERENCE_FAILED', 'INFERENCE_FAILED']);
    expect(order).toEqual([0, 1, 2, 3]);
    expect(engine.stats()).toMatchObject({ backlog: 0, busy: 0, completed: 4 });
  });
});

describe('pictures that share runs', () => {
  const startSharing = async () => {
    engine = new OnnxEngine({ workers: 1, workerUrl: SHARING, batchMax: 4, batchDelayMs: 0 });
    await engine.load(await model('many', brightnessModel('n')));
  };
  const runMany = (picture: Picture, change: Change = {}) =>
    findObjects(engine, 'many', picture, { confidence: 0, ...change });

  test('have their own results; the engine tells how many shared, and what runs cost', async () => {
    await startSharing();
    await engine.load(bright);
    expect(engine.stats().models.map(({ batch }) => batch)).toEqual([
      { max: 4, costsMs: { 1: 1, 2: 1, 4: 1 }, runs: {} },
      { max: 1, costsMs: {}, runs: {} },
    ]);
    const levels = Array.from({ length: 30 }, (_, i) => i * 8);
    const jobs = levels.map((level, i) =>
      runMany(grey(level, 16 + (i % 5)), { urgent: i % 7 === 0, deadlineMs: Infinity }),
    );
    (await Promise.all(jobs)).forEach((outcome, i) => {
      expect(outcome.detections[0]!.score).toBeCloseTo(levels[i]! / 255, 5);
      expect(outcome.width).toBe(16 + (i % 5));
    });
    const { runs } = engine.stats().models[0]!.batch;
    expect(Object.entries(runs).reduce((sum, [size, count]) => sum + Number(size) * count, 0)).toBe(30);
    expect(Object.keys(runs).map(Number)).toSatisfy((sizes: number[]) => sizes.some((size) => size > 1));
    const { busyMs, neededMs } = engine.stats();
    expect(neededMs).toBeGreaterThan(0);
    expect(neededMs).toBeLessThan(busyMs);
    await run(grey(204));
    const after = engine.stats();
    expect(after.models[1]!.batch).toMatchObject({ max: 1, runs: { 1: 1 } });
    // Both are read while the clock goes on.
    expect(after.neededMs - neededMs).toBeCloseTo(after.busyMs - busyMs, 0);
  });

  test('have places for a whole run and the next one, as long as no model that cannot share takes them', async () => {
    await startSharing();
    expect([engine.freeSlots, engine.urgentSlots]).toEqual([8, 9]);
    const jobs = Array.from({ length: 8 }, () => runMany(grey(1)));
    expect([engine.freeSlots, engine.urgentSlots]).toEqual([0, 1]);
    jobs.push(runMany(grey(1), { urgent: true }));
    expect([engine.freeSlots, engine.urgentSlots]).toEqual([0, 0]);
    await Promise.all(jobs);
    expect([engine.freeSlots, engine.urgentSlots]).toEqual([8, 9]);

    await engine.load(bright);
    expect(engine.freeSlots).toBe(2);
    const mixed = Array.from({ length: 4 }, () => runMany(grey(1)));
    expect(engine.freeSlots).toBe(1);
    mixed.push(run(grey(1)));
    expect(engine.freeSlots).toBe(0);
    await Promise.all(mixed);
  });

  test('are lost together with the worker that dies in their run, since any of them may be at fault; those behind are not', async () => {
    await startSharing();
    const DEADLY = 66;
    // The first one takes so long to decode that the others have come when the next run is made up.
    const pictures = [grey(1, 2000, 1500), ...[2, 3, DEADLY, 5, 6, 7, 8].map((level) => grey(level))];
    const codes = await Promise.all(pictures.map((picture) => codeOf(runMany(picture))));
    const lost = codes.flatMap((code, i) => (code === 'WORKER_LOST' ? [i] : []));
    const first = lost[0]!;
    expect(lost).toEqual([first, first + 1, first + 2, first + 3]);
    expect(lost).toContain(3);
    expect(codes.filter((code) => code === 'none')).toHaveLength(4);
    expect(engine.stats()).toMatchObject({ restarts: 1, failed: 4, redispatched: 8 - (first + 4), completed: 4 });
  });
});

test('a job that was done while the process itself stood still is not lost', async () => {
  await start({ jobTimeoutMs: 300 });
  const large = jpegPicture(jpegOf(grey(204, 2000, 1500)).slice());
  await run(large);
  const running = run(large);
  await new Promise((done) => setImmediate(done));
  // The worker does it while this thread does nothing else.
  const untilMs = performance.now() + 600;
  while (performance.now() < untilMs);
  await running;
  expect(engine.stats()).toMatchObject({ restarts: 0, completed: 2 });
});

describe('a worker that', () => {
  test.each([
    [101, /left with exit code 7/],
    [102, /a fault that nobody caught/],
    [103, /did not end a job within 300 ms/],
    [104, /memory/],
  ])(
    'fails (%d) is replaced: its job is lost, the one behind it is not',
    async (width, reason) => {
      await start({ workerUrl: FAULTY, jobTimeoutMs: width === 103 ? 300 : 60_000 });
      const doomed = run(grey(1, width, 1));
      const behind = run(grey(204));
      const waiting = run(grey(255));
      await expect(doomed).rejects.toMatchObject({ code: 'WORKER_LOST', message: expect.stringMatching(reason) });
      expect((await behind).detections[0]!.score).toBeCloseTo(0.8, 5);
      expect((await waiting).detections[0]!.score).toBeCloseTo(1, 5);
      expect(engine.stats()).toMatchObject({
        workers: 1,
        restarts: 1,
        completed: 2,
        failed: 1,
        redispatched: 1,
        backlog: 0,
      });
      expect(engine.stats().lastLoss).toMatch(reason);
      // One that was given up is terminated, as it is in no native library.
      await vi.waitUntil(() => engine.stats().strays === 0, { timeout: 10_000 });
      // To fill its memory takes a worker seconds beside a busy neighbour.
    },
    90_000,
  );

  test('has jobs waiting for longer than the timeout is not taken for hung', async () => {
    const jobTimeoutMs = 400;
    await start({ jobTimeoutMs, prefetch: 200, backlogMax: 200 });
    const large = jpegPicture(jpegOf(grey(204, 2000, 1500)).slice());
    let quickestMs = Infinity;
    for (let i = 0; i < 5; i++) {
      const startMs = performance.now();
      await run(large);
      quickestMs = Math.min(quickestMs, performance.now() - startMs);
    }
    // Far more than it takes: the machine may be quicker a moment later.
    const jobs = Math.min(200, Math.ceil((5 * jobTimeoutMs) / quickestMs));
    const waitMs = performance.now();
    await Promise.all(Array.from({ length: jobs }, () => run(large)));
    expect(performance.now() - waitMs).toBeGreaterThan(jobTimeoutMs);
    expect(engine.stats()).toMatchObject({ restarts: 0, failed: 0 });
  });

  test('dies every time is replaced ever later; then jobs are refused at once, until one stands again', async () => {
    await start({ workerUrl: FAULTY });
    for (let i = 0; i < 4; i++) expect(await codeOf(run(grey(1, 101, 1)))).toBe('WORKER_LOST');
    const doomed = [run(grey(1, 101, 1)), run(grey(1)), run(grey(1)), run(grey(1))];
    expect(await Promise.all(doomed.map(codeOf))).toEqual([
      'WORKER_LOST',
      'INFERENCE_FAILED',
      'INFERENCE_FAILED',
      'INFERENCE_FAILED',
    ]);
    expect(engine.stats()).toMatchObject({ isBroken: true, workers: 0 });
    expect(await codeOf(run(grey(204)))).toBe('INFERENCE_FAILED');
    expect(engine.freeSlots).toBe(0);
    await vi.waitUntil(() => engine.freeSlots > 0, { timeout: 5_000 });
    expect((await run(grey(204))).detections).toHaveLength(1);
    expect(engine.stats()).toMatchObject({ isBroken: false, restarts: 5 });
  });
});

describe('close', () => {
  test('ends what runs, refuses what waits and what comes, and may be called again', async () => {
    await start({ workerUrl: FAULTY });
    const jobs = [run(grey(204, 105, 1)), run(grey(204)), run(grey(204))].map(codeOf);
    const closing = engine.close();
    expect(engine.freeSlots).toBe(0);
    expect(await codeOf(run(grey(204)))).toBe('SHUTTING_DOWN');
    expect(await codeOf(engine.load(bright))).toBe('SHUTTING_DOWN');
    expect(await Promise.all(jobs)).toEqual(['none', 'SHUTTING_DOWN', 'SHUTTING_DOWN']);
    await closing;
    await engine.close();
    expect(engine.stats().workers).toBe(0);
  });

  test('does not wait for a worker that hangs', async () => {
    await start({ workerUrl: FAULTY, jobTimeoutMs: 200 });
    const hung = codeOf(run(grey(1, 103, 1)));
    await engine.close();
    expect(await hung).toBe('SHUTTING_DOWN');
  });

  test('leaves a worker that is inside a native library, where a thread is not terminated, and says so', async () => {
    const { log, entries } = collectingLog();
    await start({ workerUrl: FAULTY, jobTimeoutMs: 200, log });
    expect(await codeOf(run(grey(1, 106, 1)))).toBe('WORKER_LOST');
    await vi.waitUntil(() => engine.freeSlots > 0, { timeout: 10_000 });
    const hung = codeOf(run(grey(1, 106, 1)));
    await engine.close();
    expect(await hung).toBe('SHUTTING_DOWN');
    expect(entries.filter(({ event }) => event === 'workers_left')).toMatchObject([{ fields: { workers: 2 } }]);
    expect(engine.stats().strays).toBe(2);
  });
});
