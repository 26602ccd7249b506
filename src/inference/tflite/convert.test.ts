import { InferenceSession, Tensor } from 'onnxruntime-node';
import { describe, expect, test } from 'vitest';
import { withRepetitions } from '../../../test/support/forms.ts';
import { evaluateTflite, inputShapes } from '../../../test/support/tflite-evaluator.ts';
import { seededRandom } from '../../base/random.ts';
import { CATALOGUE } from '../models/catalogue.ts';
import { readBuiltIn } from '../sources.ts';
import { convertTflite } from './convert.ts';

/**
 * The conversion is verified by numbers: ONNX Runtime on the converted model against a plain evaluation of the same
 * TFLite file. The built-in models in full, every operator of the converter at its real sizes.
 */

const BUILT_IN = CATALOGUE.filter(({ builtIn }) => builtIn);
/** The larger one of two that are alike. */
const isLarger = ({ id }: { readonly id: string }) => id.endsWith('-full');
const MODELS = withRepetitions(
  BUILT_IN.filter((manifest) => !isLarger(manifest)),
  BUILT_IN.filter(isLarger),
);

const elements = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** A picture of soft waves and noise in the range that the models were trained on: flat noise would saturate nothing. */
function picture([, height = 0, width = 0]: readonly number[], low: number, seed: number): Float32Array {
  const random = seededRandom(seed);
  return new Float32Array(height * width * 3).map((_, i) => {
    const x = Math.floor(i / 3) % width;
    const y = Math.floor(i / 3 / width);
    const wave = 0.5 + 0.35 * Math.sin(x / 17 + (i % 3)) * Math.cos(y / 23);
    return low + (1 - low) * (wave + 0.15 * (random() - 0.5));
  });
}

async function runConverted(onnx: Uint8Array, data: Float32Array, shape: readonly number[]) {
  const session = await InferenceSession.create(onnx, { intraOpNumThreads: 1 });
  const results = await session.run({ [session.inputNames[0]!]: new Tensor('float32', data, shape) });
  await session.release();
  return results;
}

/** The largest difference, as a share of the largest magnitude. */
function difference(a: Float32Array, b: Float32Array): number {
  let worst = 0;
  let largest = 0;
  for (let i = 0; i < b.length; i += 1) {
    worst = Math.max(worst, Math.abs(a[i]! - b[i]!));
    largest = Math.max(largest, Math.abs(b[i]!));
  }
  return worst / largest;
}

describe.each(MODELS)('$id', (manifest) => {
  const low = manifest.input.mean[0] === 0 ? 0 : -1;

  test('gives what the plain evaluation gives', { timeout: 240_000 }, async () => {
    const file = await readBuiltIn(manifest);
    const [shape] = inputShapes(file) as [number[]];
    const data = picture(shape, low, 7);
    const expected = evaluateTflite(file, [data]);
    const actual = await runConverted(convertTflite(file, manifest.id), data, shape);
    expect(Object.keys(actual)).toEqual([...expected.keys()]);
    for (const [name, { shape: dims, data: numbers }] of expected) {
      expect([...actual[name]!.dims]).toEqual(dims);
      expect(difference(actual[name]!.data as Float32Array, numbers)).toBeLessThan(1e-4);
    }
  });

  test('takes a batch, and each picture of it gives what it gives alone', async () => {
    const file = await readBuiltIn(manifest);
    const [shape] = inputShapes(file) as [number[]];
    const onnx = convertTflite(file, manifest.id);
    const pictures = [picture(shape, low, 1), picture(shape, low, 2)];
    const both = new Float32Array(2 * elements(shape));
    pictures.forEach((p, i) => both.set(p, i * p.length));
    const together = await runConverted(onnx, both, [2, ...shape.slice(1)]);
    const alone = await runConverted(onnx, pictures[1]!, shape);
    for (const [name, tensor] of Object.entries(alone)) {
      const second = (together[name]!.data as Float32Array).subarray(tensor.data.length);
      expect(difference(second, tensor.data as Float32Array)).toBeLessThan(1e-5);
    }
  });
});
