import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { writeTflite } from '../../../test/support/tflite-writer.ts';
import { ModelRegistry } from '../registry.ts';

/** From the file to a model that is ready: converted, run once in a process of its own, and its pictures prepared rightly. */

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sightline-tflite-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

test('a model in uint8 over −1..1: MUL by a constant, RELU6, RESHAPE', async () => {
  const units = (scale: number, zeroPoint: number) => ({
    type: 3,
    quantisation: { scales: [scale], zeroPoints: [zeroPoint] },
  });
  const path = join(dir, 'quantised.tflite');
  const file = writeTflite({
    tensors: [
      { name: 'image', shape: [1, 8, 8, 3], ...units(1 / 128, 128) },
      { name: 'gain', shape: [3], data: Uint8Array.of(0, 100, 200), ...units(0.05, 100) },
      { name: 'product', shape: [1, 8, 8, 3], ...units(0.05, 128) },
      { name: 'active', shape: [1, 8, 8, 3], ...units(0.05, 0) },
      { name: 'rows', shape: [1, 64, 3], ...units(0.05, 0) },
    ],
    operators: [
      { code: 18, inputs: [0, 1], outputs: [2] },
      { code: 21, inputs: [2], outputs: [3] },
      { code: 22, inputs: [3], outputs: [4] },
    ],
    inputs: [0],
    outputs: [4],
  });
  await writeFile(path, file);
  const registry = new ModelRegistry({ cacheDir: join(dir, 'cache') });
  const { manifest, onnxPath } = await registry.import(path, { head: 'tensors' });
  const { input } = manifest;
  expect(input).toMatchObject({ width: 8, height: 8, layout: 'nhwc', mean: [128, 128, 128], std: [128, 128, 128] });
  const session = await InferenceSession.create(onnxPath);
  const picture = Float32Array.from({ length: 192 }, (_, i) => ((i % 256) - input.mean[0]) / input.std[0]);
  const { rows } = await session.run({ image: new Tensor('float32', picture, [1, 8, 8, 3]) });
  await session.release();
  // The numbers themselves, as TFLite has them: (n − 128) / 128 times −5, 0 and 5, cut off at 0 and 6.
  const expected = Array.from({ length: 192 }, (_, i) => {
    const real = ((i - 128) / 128) * ([-5, 0, 5][i % 3] as number);
    return Math.min(6, Math.max(0, 0.05 * Math.round(real / 0.05)));
  });
  expect(rows!.dims).toEqual([1, 64, 3]);
  expected.forEach((x, i) => expect(Math.abs(Number(rows!.data[i]) - x)).toBeLessThan(0.051));
  expect(expected.some((x) => x > 4)).toBe(true);
});
