import { InferenceSession, Tensor } from 'onnxruntime-node';
import { describe, expect, test } from 'vitest';
import { evaluateTflite } from '../../../test/support/tflite-evaluator.ts';
import { floatBytes, intBytes, writeTflite } from '../../../test/support/tflite-writer.ts';
import type { WrittenOperator, WrittenTensor } from '../../../test/support/tflite-writer.ts';
import { seededRandom } from '../../base/random.ts';
import { convertTflite } from './convert.ts';

/** What the built-in models do not use of each operator: strides, dilations, activations, modes, odd sizes. */

const random = seededRandom(11);
const noise = (shape: readonly number[]) =>
  Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random() * 4 - 2);

const given = (name: string, shape: number[]): WrittenTensor => ({ name, shape });
const floats = (name: string, shape: number[]): WrittenTensor => ({ name, shape, data: floatBytes(noise(shape)) });
const integers = (name: string, values: number[], shape = [values.length]): WrittenTensor => ({
  name,
  shape,
  type: 2,
  data: intBytes(values),
});

interface Case {
  readonly what: string;
  readonly operator: Omit<WrittenOperator, 'inputs' | 'outputs'>;
  /** Those without data are the graph's inputs. */
  readonly operands: readonly WrittenTensor[];
  readonly result: readonly number[];
}

const X = given('x', [1, 7, 6, 4]);

/** Options of CONV_2D; DEPTHWISE_CONV_2D has the multiplier between. */
const conv = (padding: number, strideW: number, strideH: number, activation = 0, dilationW = 1, dilationH = 1) =>
  [
    [0, 'byte', padding],
    [1, 'int', strideW],
    [2, 'int', strideH],
    [3, 'byte', activation],
    [4, 'int', dilationW],
    [5, 'int', dilationH],
  ] as const;
const depthwise = (
  padding: number,
  strideW: number,
  strideH: number,
  multiplier: number,
  activation = 0,
  dilation = 1,
) =>
  [
    [0, 'byte', padding],
    [1, 'int', strideW],
    [2, 'int', strideH],
    [3, 'int', multiplier],
    [4, 'byte', activation],
    [5, 'int', dilation],
    [6, 'int', dilation],
  ] as const;

const CASES: readonly Case[] = [
  {
    what: 'CONV_2D, SAME, stride 2×1',
    operator: { code: 3, options: conv(0, 2, 1) },
    operands: [X, floats('w', [5, 3, 3, 4]), floats('b', [5])],
    result: [1, 7, 3, 5],
  },
  {
    what: 'CONV_2D, VALID, stride 2×3, RELU',
    operator: { code: 3, options: conv(1, 2, 3, 1) },
    operands: [X, floats('w', [2, 3, 2, 4]), floats('b', [2])],
    result: [1, 2, 3, 2],
  },
  {
    what: 'CONV_2D, dilated 2×1, RELU6',
    operator: { code: 3, options: conv(0, 1, 1, 3, 2, 1) },
    operands: [X, floats('w', [3, 3, 3, 4]), floats('b', [3])],
    result: [1, 7, 6, 3],
  },
  {
    what: 'CONV_2D without bias, TANH',
    operator: { code: 3, options: conv(0, 1, 1, 4) },
    operands: [X, floats('w', [3, 1, 1, 4])],
    result: [1, 7, 6, 3],
  },
  {
    what: 'CONV_2D, even kernel, RELU_N1_TO_1',
    operator: { code: 3, options: conv(0, 1, 1, 2) },
    operands: [X, floats('w', [3, 2, 4, 4]), floats('b', [3])],
    result: [1, 7, 6, 3],
  },
  {
    what: 'DEPTHWISE_CONV_2D, multiplier 2',
    operator: { code: 4, options: depthwise(0, 1, 2, 2) },
    operands: [X, floats('w', [1, 3, 3, 8]), floats('b', [8])],
    result: [1, 4, 6, 8],
  },
  {
    what: 'DEPTHWISE_CONV_2D, VALID, dilated',
    operator: { code: 4, options: depthwise(1, 1, 1, 1, 1, 2) },
    operands: [X, floats('w', [1, 3, 2, 4]), floats('b', [4])],
    result: [1, 3, 4, 4],
  },
  {
    what: 'MAX_POOL_2D, SAME, 3×2',
    operator: {
      code: 17,
      options: [
        [0, 'byte', 0],
        [1, 'int', 2],
        [2, 'int', 2],
        [3, 'int', 2],
        [4, 'int', 3],
        [5, 'byte', 1],
      ],
    },
    operands: [X],
    result: [1, 4, 3, 4],
  },
  {
    what: 'RESIZE_BILINEAR, corners aligned',
    operator: { code: 23, options: [[2, 'byte', 1]] },
    operands: [X, integers('size', [9, 11])],
    result: [1, 9, 11, 4],
  },
  {
    what: 'RESIZE_BILINEAR, half pixels, smaller',
    operator: { code: 23, options: [[3, 'byte', 1]] },
    operands: [X, integers('size', [5, 3])],
    result: [1, 5, 3, 4],
  },
  {
    what: 'RESIZE_BILINEAR, asymmetric',
    operator: { code: 23 },
    operands: [X, integers('size', [14, 9])],
    result: [1, 14, 9, 4],
  },
  {
    what: 'PAD',
    operator: { code: 34 },
    operands: [X, integers('by', [0, 0, 1, 2, 0, 3, 2, 0], [4, 2])],
    result: [1, 10, 9, 6],
  },
  {
    what: 'MEAN over height and width, kept',
    operator: { code: 40, options: [[0, 'byte', 1]] },
    operands: [X, integers('axes', [1, 2])],
    result: [1, 1, 1, 4],
  },
  { what: 'MEAN over the last axis', operator: { code: 40 }, operands: [X, integers('axes', [-1])], result: [1, 7, 6] },
  { what: 'RESHAPE', operator: { code: 22 }, operands: [X, integers('shape', [1, 42, 4])], result: [1, 42, 4] },
  {
    what: 'RESHAPE that takes the batch away',
    operator: { code: 22 },
    operands: [X, integers('shape', [42, 4])],
    result: [42, 4],
  },
  {
    what: 'CONCATENATION along −1, RELU',
    operator: {
      code: 2,
      options: [
        [0, 'int', -1],
        [1, 'byte', 1],
      ],
    },
    operands: [X, floats('c', [1, 7, 6, 2])],
    result: [1, 7, 6, 6],
  },
  {
    what: 'ADD of a constant per channel, RELU',
    operator: { code: 0, options: [[0, 'byte', 1]] },
    operands: [X, floats('c', [4])],
    result: [1, 7, 6, 4],
  },
  { what: 'PRELU', operator: { code: 54 }, operands: [X, floats('slope', [1, 1, 4])], result: [1, 7, 6, 4] },
  { what: 'LOGISTIC', operator: { code: 14 }, operands: [X], result: [1, 7, 6, 4] },
  {
    what: 'FULLY_CONNECTED over the whole picture',
    operator: { code: 9 },
    operands: [X, floats('w', [3, 168]), floats('b', [3])],
    result: [1, 3],
  },
  {
    what: 'FULLY_CONNECTED with its dimensions kept',
    operator: { code: 9, options: [[2, 'byte', 1]] },
    operands: [X, floats('w', [3, 4]), floats('b', [3])],
    result: [1, 7, 6, 3],
  },
];

function graphOf({ operator, operands, result }: Case): Uint8Array {
  return writeTflite({
    tensors: [...operands, given('y', [...result])],
    operators: [{ ...operator, inputs: operands.map((_, i) => i), outputs: [operands.length] }],
    inputs: operands.flatMap((operand, i) => (operand.data ? [] : [i])),
    outputs: [operands.length],
  });
}

test.each(CASES)('$what', async (item) => {
  const file = graphOf(item);
  const x = Float32Array.from(noise(X.shape));
  const expected = evaluateTflite(file, [x]).get('y')!;
  const session = await InferenceSession.create(convertTflite(file, 'test'), { intraOpNumThreads: 1 });
  const { y } = await session.run({ x: new Tensor('float32', x, X.shape) });
  expect([...y!.dims]).toEqual([...item.result]);
  const numbers = y!.data as Float32Array;
  expect(numbers.length).toBe(expected.data.length);
  for (let i = 0; i < numbers.length; i += 1) expect(numbers[i]).toBeCloseTo(expected.data[i]!, 4);
});

describe('refusals', () => {
  const refusal = (item: Case) => {
    try {
      convertTflite(graphOf(item), 'mine.tflite');
    } catch (thrown) {
      return `${(thrown as { code: string }).code} ${(thrown as Error).message}`;
    }
    return undefined;
  };

  test('name the operator that is not supported', () => {
    expect(refusal({ what: '', operator: { code: 16 }, operands: [X], result: [1] })).toMatch(
      /^MODEL_UNSUPPORTED mine\.tflite: .*LSTM/,
    );
    const custom = { code: 32, customCode: 'Convolution2DTransposeBias' };
    expect(refusal({ what: '', operator: custom, operands: [X], result: [1] })).toMatch(
      /^MODEL_UNSUPPORTED .*CUSTOM Convolution2DTransposeBias/,
    );
    expect(refusal({ what: '', operator: { code: 250 }, operands: [X], result: [1] })).toMatch(
      /^MODEL_UNSUPPORTED .*OPERATOR_250/,
    );
  });

  test('name what is quantised', () => {
    const operands: WrittenTensor[] = [{ name: 'weights8', shape: [2], type: 9, data: Uint8Array.of(1, 2) }];
    expect(refusal({ what: '', operator: { code: 6 }, operands, result: [2] })).toMatch(
      /^MODEL_UNSUPPORTED .*weights8.*quantised/,
    );
  });

  test('name an activation that is not known', () => {
    expect(
      refusal({
        what: '',
        operator: { code: 0, options: [[0, 'byte', 5]] },
        operands: [X, floats('c', [4])],
        result: [1, 7, 6, 4],
      }),
    ).toMatch(/^MODEL_UNSUPPORTED .*ADD.*activation 5/);
  });

  test('tell what makes no sense', () => {
    const cases: Case[] = [
      {
        what: '',
        operator: { code: 3, options: conv(0, 0, 0) },
        operands: [X, floats('w', [5, 3, 3, 4])],
        result: [1],
      },
      {
        what: '',
        operator: { code: 3, options: conv(0, 1, 1) },
        operands: [X, floats('w', [5, 3, 3, 3])],
        result: [1],
      },
      { what: '', operator: { code: 22 }, operands: [X], result: [1, 5] },
      { what: '', operator: { code: 2, options: [[0, 'int', 9]] }, operands: [X, X], result: [1, 7, 6, 8] },
      { what: '', operator: { code: 3, options: conv(0, 1, 1) }, operands: [X], result: [1] },
    ];
    for (const item of cases) expect(refusal(item)).toMatch(/^MODEL_DAMAGED mine\.tflite: /);
  });
});
