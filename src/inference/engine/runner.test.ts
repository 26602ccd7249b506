import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { brightnessManifest, brightnessModel } from '../../../test/support/brightness-model.ts';
import { systemClock } from '../../base/clock.ts';
import { expandRgb } from '../../vision/preprocess.ts';
import type { PictureInput } from '../../vision/types.ts';
import { DataType } from '../onnx/model.ts';
import { ModelRunner } from './runner.ts';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-runner-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const SIDE = 16;
const ALL = { confidence: 0, iou: 0.5 };
const PLAIN = brightnessManifest('bright').input;

async function open(bytes: Uint8Array, input: Partial<PictureInput> = {}, warmUpRuns = 1, batchMax = 1) {
  const onnxPath = join(folder, 'model.onnx');
  await writeFile(onnxPath, bytes);
  const manifest = brightnessManifest('bright', { input: { ...PLAIN, ...input } });
  const session = { providers: ['cpu'], intraOpThreads: 1, warmUpRuns, spinning: false };
  const batch = { max: batchMax, delayMs: 0, runMsMax: 5000 };
  return await ModelRunner.open({ manifest, onnxPath }, session, false, batch, systemClock);
}

/** What the model says of a picture of one colour: its brightness. */
async function brightnessOf(runner: ModelRunner, colour: readonly [number, number, number]): Promise<number> {
  const rgb = Uint8Array.from({ length: SIDE * SIDE * 3 }, (_, i) => colour[i % 3]!);
  const placement = runner.place(0, expandRgb(rgb, SIDE, SIDE, new Uint8Array(SIDE * SIDE * 4)));
  await runner.run(1);
  const { detections } = runner.detect(runner.tensors(0), placement, ALL);
  expect(detections).toHaveLength(1);
  expect(detections[0]!.box).toMatchObject({ x: 0.25, y: 0.25, width: 0.5, height: 0.5 });
  return detections[0]!.score;
}

const BYTES = { mean: [0, 0, 0], std: [1, 1, 1] } as const;
const SIGNED = { mean: [128, 128, 128], std: [1, 1, 1] } as const;
const ORANGE = [255, 102, 0] as const;
const MEAN = (255 + 102) / 3 / 255;

describe('a picture has the same brightness in every type of number, number of pictures and order', () => {
  test.each<[string, Parameters<typeof brightnessModel>, Partial<PictureInput>]>([
    ['float32', [], {}],
    ['float16 in and out', [1, 1, 'apart', { input: DataType.float16, output: DataType.float16 }], {}],
    ['float16 out, of a length that is not known', [1, 'boxes', 'apart', { output: DataType.float16 }], {}],
    ['float16 in, batch open', ['n', 1, 'apart', { input: DataType.float16 }], {}],
    ['uint8', [1, 1, 'apart', { input: DataType.uint8 }], BYTES],
    ['uint8, colours last', [1, 1, 'apart', { input: DataType.uint8, layout: 'nhwc' }], { ...BYTES, layout: 'nhwc' }],
    ['int8', [1, 1, 'apart', { input: DataType.int8 }], SIGNED],
    ['four pictures', [4], {}],
    ['two pictures, float16, of a length that is not known', [2, 'boxes', 'apart', { output: DataType.float16 }], {}],
    ['three pictures of bytes', [3, 1, 'apart', { input: DataType.uint8 }], BYTES],
  ])('%s', async (_what, model, input) => {
    for (const warmUpRuns of [1, 0]) {
      const { runner } = await open(brightnessModel(...model), input, warmUpRuns);
      expect(await brightnessOf(runner, ORANGE)).toBeCloseTo(MEAN, 2);
      expect(await brightnessOf(runner, [0, 0, 0])).toBeCloseTo(0, 2);
      await runner.release();
    }
  });

  test('grey: that of its luma', async () => {
    const { runner } = await open(brightnessModel(1, 1, 'apart', { channels: 1 }), { colour: 'grey' });
    expect(await brightnessOf(runner, ORANGE)).toBeCloseTo((0.299 * 255 + 0.587 * 102) / 255, 3);
    await runner.release();
  });

  test('a model that runs several pictures each time says so', async () => {
    const { runner, report } = await open(brightnessModel(4), {}, 1, 8);
    expect(report.notes).toEqual([expect.stringMatching(/4 pictures each time, 3 of them empty/)]);
    expect(runner.costs.max).toBe(1);
    await runner.release();
  });

  test('whole numbers are rounded, and held within their range', async () => {
    // A scale of a bit more than one, as (255 − 0.5) / 0.999 is: its ends are not within bytes.
    const odd = { mean: [0, 0, 0], std: [0.999, 0.999, 0.999] } as const;
    await expect(open(brightnessModel(1, 1, 'apart', { input: DataType.uint8 }), odd)).rejects.toMatchObject({
      code: 'MODEL_UNSUPPORTED',
      message: expect.stringContaining('takes uint8'),
    });
    // Half of the range: 51 / 2 = 25.5 becomes 26.
    const half = { mean: [0, 0, 0], std: [2, 2, 2] } as const;
    const { runner } = await open(brightnessModel(1, 1, 'apart', { input: DataType.uint8 }), half);
    expect(await brightnessOf(runner, [51, 51, 51])).toBeCloseTo(26 / 255, 5);
    await runner.release();
  });
});
