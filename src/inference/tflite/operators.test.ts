import { readFile } from 'node:fs/promises';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { describe, expect, test } from 'vitest';
import {
  canBeQuantised,
  CASES,
  conv,
  fileOf,
  floats,
  given,
  inputsOf,
  integers,
  quantisedFileOf,
  SEED,
} from '../../../test/support/tflite-cases.ts';
import type { Case, CaseTensor } from '../../../test/support/tflite-cases.ts';
import { evaluateTflite, outputSteps } from '../../../test/support/tflite-evaluator.ts';
import { convertTflite } from './convert.ts';
import { SUPPORTED } from './operators.ts';

/** Every operator and option, in floats and quantised: ONNX Runtime on the conversion against the plain evaluation. */

interface Input {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

async function open(file: Uint8Array): Promise<InferenceSession> {
  return await InferenceSession.create(convertTflite(file, 'test'), { intraOpNumThreads: 1 });
}

async function run(session: InferenceSession, inputs: readonly Input[]): Promise<Record<string, Tensor>> {
  return await session.run(
    Object.fromEntries(inputs.map(({ name, shape, data }) => [name, new Tensor('float32', data, shape)])),
  );
}

const numbersOf = (tensor: Tensor) => Array.from(tensor.data as ArrayLike<number | bigint>, Number);

/**
 * Equal within the rounding of float32, or, where the output is quantised, within one step: that in few elements, but for means,
 * which lie half-way between two numbers often, where TFLite rounds away from 0 and ONNX to the even one.
 */
function expectEqual(actual: Tensor, expected: ArrayLike<number>, step: number, why: string): void {
  const numbers = numbersOf(actual);
  expect(numbers.length, why).toBe(expected.length);
  const differences = numbers.map((x, i) => Math.abs(x - (expected[i] as number)));
  const largest = Math.max(1, ...Array.from(expected, Math.abs));
  expect(Math.max(...differences), why).toBeLessThan(step > 0 ? step * 1.01 : largest * 1e-5);
  const few = why.startsWith('means') ? 8 : 50;
  if (step > 0) expect(differences.filter((d) => d > step / 2).length, why).toBeLessThanOrEqual(numbers.length / few);
}

/** The converted file against the evaluated one; then two pictures at once, where it takes them. Does it? */
async function expectConverted(file: Uint8Array, inputs: readonly Input[], why: string): Promise<boolean> {
  const session = await open(file);
  const steps = outputSteps(file);
  const expected = evaluateTflite(
    file,
    inputs.map((input) => input.data),
  );
  const actual = await run(session, inputs);
  for (const [name, { shape, data }] of expected) {
    expect([...actual[name]!.dims], why).toEqual(shape);
    expectEqual(actual[name]!, data, steps.get(name)!, why);
  }
  const takesBatch = session.inputMetadata.every((m) => m.isTensor && typeof m.shape[0] === 'string');
  if (takesBatch) await expectBatch(session, inputs, actual, steps, why);
  await session.release();
  return takesBatch;
}

async function expectBatch(
  session: InferenceSession,
  inputs: readonly Input[],
  alone: Record<string, Tensor>,
  steps: ReadonlyMap<string, number>,
  why: string,
): Promise<void> {
  const doubled = inputs.map(({ name, shape, data }) => {
    const both = new Float32Array(2 * data.length);
    both.set(data.toReversed());
    both.set(data, data.length);
    return { name, shape: [2, ...shape.slice(1)], data: both };
  });
  const together = await run(session, doubled);
  for (const [name, tensor] of Object.entries(alone)) {
    const { dims, data, type } = together[name]!;
    expect([...dims], why).toEqual([2, ...tensor.dims.slice(1)]);
    const second = new Tensor(type, (data as Float32Array).slice(tensor.data.length) as never, tensor.dims);
    expectEqual(second, numbersOf(tensor), steps.get(name)!, `${why}, the second of two pictures`);
  }
}

/** Cases that mix the pictures of a batch; all others take any number of pictures. */
const MIXING = [
  'RESHAPE that takes the batch away',
  // A constant has one row only.
  'CONCATENATION along −1, RELU',
  'ADD of constants of more dimensions',
  'TRANSPOSE of the batch',
  'SQUEEZE',
  'EXPAND_DIMS along 0',
  'PACK with a constant along 1',
  'PACK along 0',
  'MEAN over everything',
  'STRIDED_SLICE, the batch gone',
];

describe(`in floats, seed ${SEED}`, () => {
  test.each(CASES)('$what', async (item) => {
    const takesBatch = await expectConverted(fileOf(item), inputsOf(item), `seed ${SEED}`);
    expect(takesBatch).toBe(!MIXING.includes(item.what));
  });
});

describe.each(['int8', 'uint8'] as const)(`in %s, seed ${SEED}`, (type) => {
  test.each(CASES.filter(canBeQuantised))('$what', async (item) => {
    const inputs = inputsOf(item);
    const data = inputs.map((input) => input.data);
    const results = [...evaluateTflite(fileOf(item), data).values()].map((value) => value.data);
    const file = quantisedFileOf(item, type, inputs, results);
    const isMean = /AVERAGE_POOL_2D|RESIZE_BILINEAR/.test(item.what);
    await expectConverted(file, inputs, `${isMean ? 'means, ' : ''}seed ${SEED}`);
    // The case itself must make sense: 8 bits come near the floats.
    const steps = outputSteps(file);
    [...evaluateTflite(file, data)].forEach(([name, value], i) => {
      const span = 255 * steps.get(name)!;
      const away = Math.max(...value.data.map((x, k) => Math.abs(x - results[i]![k]!)));
      expect(away, `${name} in 8 bits and in floats`).toBeLessThan(span / 4);
    });
  });
});

test('the docs list what is converted, and do not name it among what is refused', async () => {
  const text = await readFile(new URL('../../../docs/tflite.md', import.meta.url), 'utf8');
  const [, supported = '', refused = ''] = text.split(/^## (?:Operators|What is refused.*)$/m);
  const namesIn = (part: string): string[] => part.match(/\b[A-Z][A-Z0-9]*(?:_[A-Za-z0-9]+)*\b/g) ?? [];
  const [list = '', rest = ''] = supported.split('\nwith all their options');
  const early = namesIn(rest).filter((name) => !namesIn(list).includes(name));
  expect([...namesIn(list), ...early.filter((name) => SUPPORTED.includes(name))].toSorted()).toEqual(SUPPORTED);
  const others = refused.slice(0, refused.indexOf('- Several subgraphs'));
  expect(namesIn(others).filter((name) => SUPPORTED.includes(name))).toEqual([]);
});

const X = given('x', [1, 7, 6, 4]);

describe('refusals', () => {
  const refusalOf = (item: Omit<Case, 'what'>) => {
    try {
      convertTflite(fileOf({ what: '', ...item }), 'mine.tflite');
    } catch (thrown) {
      return `${(thrown as { code: string }).code} ${(thrown as Error).message}`;
    }
    return undefined;
  };

  test('name the operator that is not supported', () => {
    const refused = (operator: Case['operator']) => refusalOf({ operator, operands: [X], result: [1] });
    expect(refused({ code: 16 })).toMatch(/^MODEL_UNSUPPORTED mine\.tflite: .*LSTM/);
    expect(refused({ code: 136 })).toMatch(/^MODEL_UNSUPPORTED mine\.tflite: .*HASHTABLE/);
    expect(refused({ code: 32, customCode: 'Convolution2DTransposeBias' })).toMatch(
      /^MODEL_UNSUPPORTED .*CUSTOM Convolution2DTransposeBias/,
    );
    expect(refused({ code: 32, customCode: 'TFLite_Detection_PostProcess' })).toMatch(
      /^MODEL_UNSUPPORTED .*CUSTOM TFLite_Detection_PostProcess.* without its post-processing/,
    );
    expect(refused({ code: 250 })).toMatch(/^MODEL_UNSUPPORTED .*OPERATOR_250/);
  });

  test.each<[what: string, item: Omit<Case, 'what'>, message: RegExp]>([
    [
      'an activation that is not known',
      { operator: { code: 0, options: [[0, 'byte', 5]] }, operands: [X, floats('c', [4])], result: [1, 7, 6, 4] },
      /ADD.*activation 5/,
    ],
    [
      'a padding that is not known',
      { operator: { code: 3, options: conv(2, 1, 1) }, operands: [X, floats('w', [5, 3, 3, 4])], result: [1, 7, 6, 5] },
      /CONV_2D with the padding 2/,
    ],
    [
      'weights in another format',
      { operator: { code: 9, options: [[1, 'byte', 1]] }, operands: [X, floats('w', [3, 168])], result: [1, 3] },
      /FULLY_CONNECTED with the weights format 1/,
    ],
    [
      'bilinear resizing with both kinds of centres',
      {
        operator: {
          code: 23,
          options: [
            [2, 'byte', 1],
            [3, 'byte', 1],
          ],
        },
        operands: [X, integers('size', [9, 9])],
        result: [1, 9, 9, 4],
      },
      /RESIZE_BILINEAR with aligned corners and half pixels/,
    ],
    [
      'mirrored padding that repeats the edge',
      {
        operator: { code: 100, options: [[0, 'byte', 1]] },
        operands: [X, integers('by', [0, 0, 1, 1, 1, 1, 0, 0], [4, 2])],
        result: [1, 9, 8, 4],
      },
      /MIRROR_PAD .*SYMMETRIC/,
    ],
    [
      'GATHER within a batch',
      {
        operator: {
          code: 36,
          options: [
            [0, 'int', 1],
            [1, 'int', 1],
          ],
        },
        operands: [X, integers('at', [1], [1, 1])],
        result: [1, 1, 6, 4],
      },
      /GATHER with 1 batch dimensions/,
    ],
    [
      'an operand that is computed where a constant is needed',
      { operator: { code: 39 }, operands: [X, { ...given('order', [4]), type: 3 }], result: [1, 7, 6, 4] },
      /"order" is computed where a constant is needed/,
    ],
    [
      'a transposed convolution to a size that no convolution comes from',
      {
        operator: { code: 67, options: conv(0, 2, 2).slice(0, 3) },
        operands: [integers('size', [1, 20, 12, 5]), floats('w', [5, 3, 3, 4]), X],
        result: [1, 20, 12, 5],
      },
      /TRANSPOSE_CONV of 7 pixels with the stride 2 to 20/,
    ],
    [
      'another shape than the operator gives',
      { operator: { code: 1, options: conv(0, 1, 1).slice(0, 3) }, operands: [X], result: [1, 7, 6, 4] },
      /AVERAGE_POOL_2D has the kernel 0,0/,
    ],
    [
      'another shape than the file says',
      { operator: { code: 19 }, operands: [X], result: [1, 7, 6, 5] },
      /RELU gives "y" the shape \[1,7,6,4\], and the file says \[1,7,6,5\]/,
    ],
    [
      'a result without elements',
      {
        operator: { code: 65 },
        operands: [X, integers('begin', [0, 2, 0, 0]), integers('size', [1, 0, 6, 4])],
        result: [1, 0, 6, 4],
      },
      /SLICE gives "y" no elements/,
    ],
    [
      'arithmetic on integers that are computed',
      { operator: { code: 19 }, operands: [{ ...X, type: 3 }], result: [1, 7, 6, 4] },
      /RELU of UINT8 \("x"\) is not supported/,
    ],
    [
      'an input of strings',
      { operator: { code: 19 }, operands: [{ ...X, type: 5 }], result: [1, 7, 6, 4] },
      /the input "x" has the type STRING/,
    ],
    [
      'packed constants',
      {
        operator: { code: 0 },
        operands: [X, { name: 'c4', shape: [4], type: 17, data: new Uint8Array(2) }],
        result: [1, 7, 6, 4],
      },
      /INT4 \("c4"\)/,
    ],
    [
      'a computed tensor with many scales',
      {
        operator: { code: 19 },
        operands: [{ ...X, type: 9, quantisation: { scales: [1, 2, 3, 4], zeroPoints: [0, 0, 0, 0], axis: 3 } }],
        result: [1, 7, 6, 4],
      },
      /"x" is computed and has 4 scales/,
    ],
    [
      'an input that is open in height and width',
      {
        operator: { code: 19 },
        operands: [{ ...given('x', [1, 1, 1, 3]), openShape: [-1, -1, -1, 3] } as CaseTensor],
        result: [1, 1, 1, 3],
      },
      /the input "x" has the open shape \[-1,-1,-1,3\]/,
    ],
  ])('name %s', (_, item, message) => {
    const refusal = refusalOf(item);
    expect(refusal).toMatch(message);
    if (!/kernel/.test(String(message))) expect(refusal).toMatch(/^MODEL_UNSUPPORTED mine\.tflite: /);
  });

  test('tell what makes no sense', () => {
    const cases: Omit<Case, 'what'>[] = [
      { operator: { code: 3, options: conv(0, 0, 0) }, operands: [X, floats('w', [5, 3, 3, 4])], result: [1] },
      { operator: { code: 3, options: conv(0, 1, 1) }, operands: [X, floats('w', [5, 3, 3, 3])], result: [1] },
      { operator: { code: 22 }, operands: [X], result: [1, 5] },
      { operator: { code: 2, options: [[0, 'int', 9]] }, operands: [X, X], result: [1, 7, 6, 8] },
      { operator: { code: 3, options: conv(0, 1, 1) }, operands: [X], result: [1] },
      { operator: { code: 18 }, operands: [X, floats('c', [3])], result: [1, 7, 6, 4] },
      { operator: { code: 39 }, operands: [X, integers('order', [0, 1, 2, 2])], result: [1, 7, 6, 6] },
      { operator: { code: 36 }, operands: [X, integers('at', [1])], result: [1, 7, 6, 4] },
      { operator: { code: 49 }, operands: [integers('axis', [1], []), X], results: [[1], [1]] },
      { operator: { code: 0 }, operands: [X], result: [1, 7, 6, 4] },
      {
        operator: { code: 19 },
        operands: [X],
        results: [
          [1, 7, 6, 4],
          [1, 7, 6, 4],
        ],
      },
      { operator: { code: 83 }, operands: [X, given('x2', [1, 7, 6])], result: [2, 1, 7, 6, 4] },
      {
        operator: { code: 45 },
        operands: [X, integers('b', [0]), integers('e', [1]), integers('s', [0])],
        result: [1, 7, 6, 4],
      },
    ];
    for (const item of cases) expect(refusalOf(item)).toMatch(/^MODEL_DAMAGED mine\.tflite: /);
  });
});
