import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { brightnessManifest, brightnessModel } from '../../../test/support/brightness-model.ts';
import { jpegPicture, rgbPicture } from '../../../test/support/objects.ts';
import type { ScriptResult, ScriptSettings, ScriptStep } from '../../../test/support/scripted-program.ts';
import { SightlineError } from '../../base/errors.ts';
import { encodeJpeg } from '../../media/jpeg.ts';
import { objectsCall, objectsOf } from '../../pipelines/objects/call.ts';
import type { ReadyModel } from '../manifest.ts';
import { OnnxEngine, type OnnxEngineOptions } from './engine.ts';
import type { ProgramCall, ProgramOutcome } from './types.ts';

/** Several programs on one frame, in real workers. */

const SCRIPTED = new URL('../../../test/support/scripted-program.ts', import.meta.url);
const NO_PROGRAM = new URL('../../../test/support/no-program.ts', import.meta.url);
const SIDE = 16;
const grey = (level: number) => rgbPicture(new Uint8Array(SIDE * SIDE * 3).fill(level), SIDE, SIDE);

let folder: string;
let bright: ReadyModel;
let engine: OnnxEngine;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-programs-'));
  const onnxPath = join(folder, 'bright.onnx');
  await writeFile(onnxPath, brightnessModel());
  bright = { manifest: brightnessManifest('bright', { head: { kind: 'tensors' } }), onnxPath };
});
afterAll(() => rm(folder, { recursive: true, force: true }));
afterEach(() => engine.close());

async function start(options: OnnxEngineOptions = {}): Promise<void> {
  engine = new OnnxEngine({ workers: 1, ...options });
  await engine.load(bright);
}

/** What becomes of a script: its result, or the code of its error. */
type Told = ScriptResult | string;

const script = (steps: readonly ScriptStep[] = [], name = ''): ProgramCall => {
  const settings: ScriptSettings = { steps, name };
  return { program: SCRIPTED, models: { light: 'bright' }, settings };
};
const told = (outcome: Promise<ProgramOutcome>): Promise<Told> =>
  outcome.then(
    ({ result }) => result as ScriptResult,
    (error: unknown) => (error instanceof SightlineError ? error.code : String(error)),
  );
const runAll = (programs: readonly ProgramCall[], picture = grey(204)) => engine.run({ picture, programs }).map(told);
/** The names of those that came to their end, and the codes of the others. */
const namesOf = async (outcomes: readonly Promise<Told>[]) =>
  (await Promise.all(outcomes)).map((one) => (typeof one === 'string' ? one : one.name));

describe('programs on a frame', () => {
  test('read one decoded picture, one after the other; each has its result, its time and its state', async () => {
    await start();
    const data = new Uint8Array(SIDE * SIDE * 3).fill(204);
    const picture = jpegPicture(encodeJpeg({ data, width: SIDE, height: SIDE }, 95).slice());
    const run = { run: 'light' } as const;
    const programs = [script([run], 'one'), { ...script([run, run], 'two'), state: 41 }];
    const [first, second] = await Promise.all(engine.run({ picture, programs, captureTimeMs: 1234 }));
    const size = { width: SIDE, height: SIDE };
    for (const [outcome, name, runs] of [
      [first!, 'one', 1],
      [second!, 'two', 2],
    ] as const) {
      const result = outcome.result as ScriptResult;
      expect(result).toMatchObject({ name, picture: size, source: size, captureTimeMs: 1234 });
      expect(result.runs).toHaveLength(runs);
      for (const { output0 } of result.runs) expect(output0!.at(-1)).toBeCloseTo(0.8, 2);
      expect(outcome).toMatchObject(size);
    }
    expect([first!.state, second!.state]).toEqual([1, 42]);
    const { decodes, completed, work, detectionsCapped } = engine.stats();
    expect({ decodes, completed, detectionsCapped }).toEqual({ decodes: 1, completed: 2, detectionsCapped: 4 });
    expect(work).toEqual([
      {
        program: 'scripted',
        models: { light: 'bright' },
        completed: 2,
        workerMs: expect.closeTo(first!.workerMs + second!.workerMs, 6),
        costMs: expect.any(Number),
      },
    ]);
    // The decoding is told with both, and was paid with the first.
    expect(second!.stagesMs.decode).toBe(first!.stagesMs.decode);
    expect(first!.workerMs).toBeGreaterThanOrEqual(first!.stagesMs.decode);
    const endOf = ({ startedTimeMs, stagesMs }: ProgramOutcome) =>
      startedTimeMs + Object.values(stagesMs).reduce((sum, ms) => sum + ms, 0);
    expect(endOf(second!)).toBeGreaterThan(endOf(first!));
    expect(second!.startedTimeMs).toBeGreaterThanOrEqual(first!.startedTimeMs);
  });

  test('of pixels that were scaled before tell their results of the source', async () => {
    await start();
    const picture = { ...grey(1), source: { width: 1920, height: 1080 } };
    const [outcome] = await Promise.all(engine.run({ picture, programs: [script()] }));
    expect(outcome).toMatchObject({
      width: 1920,
      height: 1080,
      result: { picture: { width: 16 }, source: picture.source },
    });
  });

  test('settle as soon as they are ready, whatever becomes of the others', async () => {
    await start();
    const [first, second, third] = runAll([script([], 'a'), script(['stall'], 'b'), script([], 'c')]);
    expect(await first).toMatchObject({ name: 'a' });
    const pending = Symbol('pending');
    expect(await Promise.race([second, third, Promise.resolve(pending)])).toBe(pending);
    await engine.close();
    expect(await Promise.all([second, third])).toEqual(['SHUTTING_DOWN', 'SHUTTING_DOWN']);
  });

  test.each<[string, ProgramCall, string | RegExp]>([
    ['throws', script(['throw']), 'MODEL_DAMAGED'],
    ['fails', script([{ run: 'light' }, 'fail']), 'INFERENCE_FAILED'],
    ['gives what no message takes', script(['secret']), 'INFERENCE_FAILED'],
    ['asks for a role without a model', script([{ run: 'other' }]), 'MODEL_UNKNOWN'],
    ['names a model that is not loaded', { ...script(), models: { light: 'gone' } }, 'MODEL_UNKNOWN'],
    ['has no module', { ...script(), program: new URL('gone.ts', SCRIPTED) }, 'INFERENCE_FAILED'],
    ['is no program', { ...script(), program: NO_PROGRAM }, 'INFERENCE_FAILED'],
    ['looks for objects in what says nothing of them', objectsCall('bright'), 'MODEL_UNSUPPORTED'],
    ['has a region without an area', script([{ run: 'light', region: regionOf(0) }]), 'INFERENCE_FAILED'],
  ])('that %s fails alone', async (_, bad, code) => {
    await start();
    expect(await namesOf(runAll([script([], 'before'), bad, script([{ run: 'light' }], 'behind')]))).toEqual([
      'before',
      code,
      'behind',
    ]);
    expect(engine.stats()).toMatchObject({ restarts: 0, completed: 2, decodes: 1 });
  });

  test('with settings that no message takes are refused, and the engine goes on', async () => {
    await start({ prefetch: 0 });
    const secret = { ...script(), settings: { secret: () => undefined } };
    const codes = [];
    // The last ones wait for a slot.
    for (const program of [secret, script([], 'a'), secret, script([], 'b')]) codes.push(...runAll([program]));
    expect(await namesOf(codes)).toEqual(['INFERENCE_FAILED', 'a', 'INFERENCE_FAILED', 'b']);
    expect(engine.stats()).toMatchObject({ restarts: 0, backlog: 0 });
  });

  test('may ask for several runs at once, and leave one behind', async () => {
    await start();
    const programs = [
      script([{ runTwice: 'light' }], 'twice'),
      script([{ leave: 'light' }], 'left'),
      script([{ run: 'light' }], 'next'),
    ];
    const [twice, ...others] = runAll(programs);
    const { runs } = (await twice) as ScriptResult;
    expect(runs.map(({ output0 }) => output0!.at(-1))).toEqual([expect.closeTo(0.8, 5), expect.closeTo(0.8, 5)]);
    expect(await namesOf(others)).toEqual(['left', 'next']);
  });

  test('a picture that cannot be decoded fails all of them, and none is an empty answer', async () => {
    await start();
    expect(await namesOf(runAll([script(), script()], { ...grey(1), width: 17 }))).toEqual([
      'FRAME_PIXELS_BAD',
      'FRAME_PIXELS_BAD',
    ]);
    const broken = jpegPicture(new Uint8Array(30).fill(0xff));
    expect(await namesOf(engine.run({ picture: broken, programs: [script(), script()] }).map(told))).toEqual([
      'FRAME_NOT_JPEG',
      'FRAME_NOT_JPEG',
    ]);
    expect(engine.run({ picture: grey(1), programs: [] })).toEqual([]);
    expect(await namesOf(runAll([script([], 'well')]))).toEqual(['well']);
  });
});

describe('a program that costs its worker', () => {
  test.each<ScriptStep>(['hang', 'stall', 'exit'])(
    '(%s) is lost; those before it have their results, those behind it run on another worker',
    async (step) => {
      await start({ jobTimeoutMs: step === 'exit' ? 10_000 : 1_500 });
      const frame = [script([], 'a'), script([{ run: 'light' }, step], 'b'), script([{ run: 'light' }], 'c')];
      const behind = script([], 'another frame');
      const outcomes = [...runAll(frame), ...runAll([behind])];
      expect(await namesOf(outcomes)).toEqual(['a', 'WORKER_LOST', 'c', 'another frame']);
      // The frame was decoded again for what was left of it.
      expect(engine.stats()).toMatchObject({ restarts: 1, redispatched: 2, decodes: 3, completed: 3, failed: 1 });
      if (step !== 'hang') await vi.waitUntil(() => engine.stats().strays === 0, { timeout: 10_000 });
    },
  );

  test('a second time on one frame: what is left is lost as well', async () => {
    await start();
    const outcomes = runAll([script(['exit'], 'a'), script(['exit'], 'b'), script([], 'c'), script([], 'd')]);
    expect(await namesOf(outcomes)).toEqual(['WORKER_LOST', 'WORKER_LOST', 'WORKER_LOST', 'WORKER_LOST']);
    expect(await namesOf(runAll([script([], 'next')]))).toEqual(['next']);
    expect(engine.stats()).toMatchObject({ restarts: 2, redispatched: 1, failed: 4 });
  });
});

function regionOf(width: number) {
  return { centreX: 0.5, centreY: 0.5, width, height: 0.5 };
}

describe('regions', () => {
  test('are what the model sees of the picture', async () => {
    await start();
    // White on the left, black on the right.
    const bytes = new Uint8Array(SIDE * SIDE * 3).map((_, i) => (Math.floor(i / 3) % SIDE < SIDE / 2 ? 255 : 0));
    const half = { width: 0.25, height: 0.5, centreY: 0.5 };
    const regions = [
      { ...half, centreX: 0.25 },
      { ...half, centreX: 0.75 },
      { ...half, centreX: 0.5 },
      // Beyond the picture.
      { ...half, centreX: -0.5 },
      { ...half, centreX: -0.5, outside: 'replicate' as const },
    ];
    const steps = [...regions.map((region) => ({ run: 'light', region })), { run: 'light' }];
    const [outcome] = runAll([script(steps)], rgbPicture(bytes, SIDE, SIDE));
    const { runs } = (await outcome) as ScriptResult;
    const expected = [1, 0, 0.5, 0, 1, 0.5];
    expect(runs.map(({ output0 }) => output0!.at(-1))).toEqual(expected.map((light) => expect.closeTo(light, 2)));
  });
});

test('objects and a program of its own on one frame', async () => {
  await start();
  const onnxPath = join(folder, 'objects.onnx');
  await writeFile(onnxPath, brightnessModel());
  await engine.load({ manifest: brightnessManifest('objects'), onnxPath });
  const [objects, own] = engine.run({
    picture: grey(204),
    programs: [objectsCall('objects'), script([{ run: 'light' }])],
  });
  expect(objectsOf(await objects!).detections).toMatchObject([{ label: 'light' }]);
  expect(await told(own!)).toMatchObject({ runs: [{ output0: expect.any(Array) }] });
  expect(engine.stats().work.map(({ program, models }) => [program, models])).toEqual([
    ['objects', { detector: 'objects' }],
    ['scripted', { light: 'bright' }],
  ]);
});
