import { seededRandom } from '../../src/base/random.ts';
import { floatBytes, intBytes, writeTflite } from './tflite-writer.ts';
import type { WrittenOperator, WrittenTensor } from './tflite-writer.ts';

/**
 * One small graph for each option of each TFLite operator that the importer converts, with random constants. What a graph gives
 * is worked out by `tflite-evaluator.ts`.
 */

/** Constants and inputs of all cases are drawn from it; a failure is repeated with the same number. */
export const SEED = 11;

const random = seededRandom(SEED);
export const noise = (shape: readonly number[], from = -2, to = 2) =>
  Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => from + random() * (to - from));

export interface CaseTensor extends WrittenTensor {
  /** The range of a graph's input; default −2..2. */
  readonly from?: number;
  readonly to?: number;
}

export const given = (name: string, shape: number[]): CaseTensor => ({ name, shape });
export const floats = (name: string, shape: number[]): CaseTensor => ({ name, shape, data: floatBytes(noise(shape)) });
export const integers = (name: string, values: number[], shape = [values.length]): CaseTensor => ({
  name,
  shape,
  type: 2,
  data: intBytes(values),
});

export interface Case {
  readonly what: string;
  readonly operator: Omit<WrittenOperator, 'inputs' | 'outputs'>;
  /** Those without data are the graph's inputs; a number stands for the operand of that place once more. */
  readonly operands: readonly (CaseTensor | number)[];
  /** Shape of the only output. */
  readonly result?: readonly number[];
  /** Shapes of several. */
  readonly results?: readonly (readonly number[])[];
  /** `TensorType` of the results; default FLOAT32. */
  readonly resultType?: number;
}

const X = given('x', [1, 7, 6, 4]);
/** Beyond what RELU6 and HARD_SWISH cut off. */
const WIDE: CaseTensor = { ...X, from: -8, to: 8 };
const POSITIVE: CaseTensor = { ...X, name: 'p', from: 0.25, to: 4 };

/** Options of CONV_2D; DEPTHWISE_CONV_2D has the multiplier between. */
export const conv = (padding: number, strideW: number, strideH: number, activation = 0, dilationW = 1, dilationH = 1) =>
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

const pool = (padding: number, strideW: number, strideH: number, width: number, height: number, activation = 0) =>
  [
    [0, 'byte', padding],
    [1, 'int', strideW],
    [2, 'int', strideH],
    [3, 'int', width],
    [4, 'int', height],
    [5, 'byte', activation],
  ] as const;

const STRIDED_SLICES: readonly Case[] = [
  strided('every second', [0, 1, 0, 0], [1, 7, 6, 4], [1, 2, 3, 1], [], [1, 3, 2, 4]),
  strided('from the end', [0, -3, -6, 1], [1, -1, 100, -1], [1, 1, 1, 1], [], [1, 2, 6, 2]),
  strided('backwards', [0, -1, 4, 3], [1, 0, -100, 1], [1, -1, -2, -1], [], [1, 6, 3, 2]),
  strided('masks', [9, 9, 9, 9], [9, 9, 9, 2], [1, 1, -1, 1], [0b1111, 0b0111], [1, 7, 6, 2]),
  strided('fewer entries than dimensions', [0, 2], [1, 5], [1, 1], [], [1, 3, 6, 4]),
  strided('one row gone', [0, -2, 0, 0], [1, 0, 6, 4], [1, 1, 1, 1], [0, 0, 0, 0, 0b0010], [1, 6, 4]),
  strided('one channel gone', [0, 0, 0, 2], [1, 7, 6, 3], [1, 1, 1, 1], [0, 0b0111, 0, 0, 0b1000], [1, 7, 6]),
  strided('the batch gone', [0, 0, 0, 0], [1, 7, 6, 4], [1, 1, 1, 1], [0, 0, 0, 0, 0b0001], [7, 6, 4]),
  strided('an ellipsis', [0, 0, 1], [0, 0, 3], [1, 1, 1], [0b001, 0b001, 0b010], [1, 7, 6, 2]),
  strided('a new dimension', [0, 0, 1], [0, 0, 4], [1, 1, 1], [0b101, 0b001, 0, 0b010], [1, 1, 4, 6, 4]),
  strided('the end as an offset', [0, 2, 1, 0], [1, 3, 4, 2], [1, 1, 1, 1], [0, 0, 0, 0, 0, 1], [1, 3, 4, 2]),
];

export const CASES: readonly Case[] = [
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

  // --- pooling and convolutions ---
  {
    what: 'AVERAGE_POOL_2D, SAME, 2×3',
    operator: { code: 1, options: pool(0, 2, 1, 2, 3) },
    operands: [X],
    result: [1, 7, 3, 4],
  },
  {
    what: 'AVERAGE_POOL_2D, VALID, RELU6',
    operator: { code: 1, options: pool(1, 1, 2, 3, 2, 3) },
    operands: [X],
    result: [1, 3, 4, 4],
  },
  {
    what: 'MAX_POOL_2D, VALID, 2×2',
    operator: { code: 17, options: pool(1, 2, 2, 2, 2) },
    operands: [X],
    result: [1, 3, 3, 4],
  },
  {
    what: 'CONV_2D in two groups',
    operator: { code: 3, options: conv(0, 1, 1) },
    operands: [X, floats('w', [6, 3, 3, 2]), floats('b', [6])],
    result: [1, 7, 6, 6],
  },
  ...[
    { what: 'SAME, stride 2', padding: 0, stride: [2, 2], kernel: [3, 3], size: [14, 12] },
    { what: 'SAME, stride 2, an odd size', padding: 0, stride: [2, 2], kernel: [3, 3], size: [13, 11] },
    { what: 'SAME, stride 3×2, a small kernel', padding: 0, stride: [3, 2], kernel: [2, 1], size: [19, 12] },
    { what: 'SAME, stride 1, an even kernel', padding: 0, stride: [1, 1], kernel: [4, 2], size: [7, 6] },
    { what: 'VALID, stride 2', padding: 1, stride: [2, 2], kernel: [3, 2], size: [15, 12] },
    { what: 'VALID, stride 2, one pixel more', padding: 1, stride: [2, 2], kernel: [3, 2], size: [16, 13] },
    { what: 'VALID, stride 3, RELU', padding: 1, stride: [3, 3], kernel: [2, 5], size: [20, 20], activation: 1 },
  ].map(({ what, padding, stride, kernel, size, activation = 0 }, i): Case => {
    const [height = 0, width = 0] = size;
    const bias = i % 2 === 0 ? [floats('b', [5])] : [];
    return {
      what: `TRANSPOSE_CONV, ${what}`,
      operator: {
        code: 67,
        options: [
          [0, 'byte', padding],
          [1, 'int', stride[1]!],
          [2, 'int', stride[0]!],
          [3, 'byte', activation],
        ],
      },
      operands: [integers('size', [1, height, width, 5]), floats('w', [5, kernel[0]!, kernel[1]!, 4]), X, ...bias],
      result: [1, height, width, 5],
    };
  }),
  {
    what: 'BATCH_MATMUL, the second turned',
    operator: { code: 126, options: [[1, 'byte', 1]] },
    operands: [X, floats('c', [1, 7, 5, 4])],
    result: [1, 7, 6, 5],
  },
  {
    what: 'BATCH_MATMUL, the first turned, broadcast',
    operator: { code: 126, options: [[0, 'byte', 1]] },
    operands: [X, floats('c', [6, 3])],
    result: [1, 7, 4, 3],
  },

  // --- element by element ---
  { what: 'RELU', operator: { code: 19 }, operands: [X], result: [1, 7, 6, 4] },
  { what: 'RELU6', operator: { code: 21 }, operands: [WIDE], result: [1, 7, 6, 4] },
  { what: 'RELU_N1_TO_1', operator: { code: 20 }, operands: [X], result: [1, 7, 6, 4] },
  { what: 'RELU_0_TO_1', operator: { code: 152 }, operands: [X], result: [1, 7, 6, 4] },
  { what: 'LEAKY_RELU', operator: { code: 98, options: [[0, 'float', 0.125]] }, operands: [X], result: [1, 7, 6, 4] },
  { what: 'LEAKY_RELU without a slope', operator: { code: 98 }, operands: [X], result: [1, 7, 6, 4] },
  { what: 'HARD_SWISH', operator: { code: 117 }, operands: [WIDE], result: [1, 7, 6, 4] },
  { what: 'ELU', operator: { code: 111 }, operands: [X], result: [1, 7, 6, 4] },
  { what: 'GELU', operator: { code: 150 }, operands: [X], result: [1, 7, 6, 4] },
  { what: 'GELU by tanh', operator: { code: 150, options: [[0, 'byte', 1]] }, operands: [X], result: [1, 7, 6, 4] },
  { what: 'TANH', operator: { code: 28 }, operands: [X], result: [1, 7, 6, 4] },
  { what: 'EXP', operator: { code: 47 }, operands: [X], result: [1, 7, 6, 4] },
  { what: 'LOG', operator: { code: 73 }, operands: [POSITIVE], result: [1, 7, 6, 4] },
  { what: 'SQRT', operator: { code: 75 }, operands: [POSITIVE], result: [1, 7, 6, 4] },
  { what: 'RSQRT', operator: { code: 76 }, operands: [POSITIVE], result: [1, 7, 6, 4] },
  { what: 'SQUARE', operator: { code: 92 }, operands: [X], result: [1, 7, 6, 4] },
  { what: 'ABS', operator: { code: 101 }, operands: [X], result: [1, 7, 6, 4] },
  { what: 'NEG', operator: { code: 59 }, operands: [X], result: [1, 7, 6, 4] },
  { what: 'SIGN', operator: { code: 158 }, operands: [X], result: [1, 7, 6, 4] },
  { what: 'SIN', operator: { code: 66 }, operands: [X], result: [1, 7, 6, 4] },
  { what: 'COS', operator: { code: 108 }, operands: [X], result: [1, 7, 6, 4] },
  { what: 'FLOOR', operator: { code: 8 }, operands: [X], result: [1, 7, 6, 4] },
  { what: 'CEIL', operator: { code: 104 }, operands: [X], result: [1, 7, 6, 4] },
  { what: 'ROUND', operator: { code: 116 }, operands: [X], result: [1, 7, 6, 4] },
  { what: 'SOFTMAX', operator: { code: 25, options: [[0, 'float', 1]] }, operands: [X], result: [1, 7, 6, 4] },
  { what: 'SOFTMAX, β 0.5', operator: { code: 25, options: [[0, 'float', 0.5]] }, operands: [X], result: [1, 7, 6, 4] },
  { what: 'LOG_SOFTMAX', operator: { code: 50 }, operands: [X], result: [1, 7, 6, 4] },
  { what: 'L2_NORMALIZATION', operator: { code: 11 }, operands: [X], result: [1, 7, 6, 4] },
  {
    what: 'MUL, RELU6',
    operator: { code: 18, options: [[0, 'byte', 3]] },
    operands: [X, floats('c', [1, 7, 1, 4])],
    result: [1, 7, 6, 4],
  },
  { what: 'MUL of a picture with itself', operator: { code: 18 }, operands: [X, 0], result: [1, 7, 6, 4] },
  { what: 'MUL by one number', operator: { code: 18 }, operands: [X, floats('c', [])], result: [1, 7, 6, 4] },
  {
    what: 'SUB from a constant per row',
    operator: { code: 41 },
    operands: [floats('c', [7, 1, 1]), X],
    result: [1, 7, 6, 4],
  },
  {
    what: 'SUB, RELU_N1_TO_1',
    operator: { code: 41, options: [[0, 'byte', 2]] },
    operands: [X, floats('c', [4])],
    result: [1, 7, 6, 4],
  },
  {
    what: 'ADD of two inputs, one of them broadcast',
    operator: { code: 0 },
    operands: [X, given('x2', [1, 1, 6, 1])],
    result: [1, 7, 6, 4],
  },
  {
    what: 'ADD of constants of more dimensions',
    operator: { code: 0 },
    operands: [X, floats('c', [3, 1, 1, 1, 4])],
    result: [3, 1, 7, 6, 4],
  },
  { what: 'DIV', operator: { code: 42 }, operands: [X, POSITIVE], result: [1, 7, 6, 4] },
  { what: 'POW', operator: { code: 78 }, operands: [POSITIVE, floats('c', [4])], result: [1, 7, 6, 4] },
  { what: 'MAXIMUM', operator: { code: 55 }, operands: [X, floats('c', [4])], result: [1, 7, 6, 4] },
  { what: 'MINIMUM', operator: { code: 57 }, operands: [X, floats('c', [6, 1])], result: [1, 7, 6, 4] },
  { what: 'SQUARED_DIFFERENCE', operator: { code: 99 }, operands: [X, floats('c', [4])], result: [1, 7, 6, 4] },
  { what: 'CAST to INT32', operator: { code: 53 }, operands: [X], result: [1, 7, 6, 4], resultType: 2 },

  // --- layout ---
  { what: 'TRANSPOSE', operator: { code: 39 }, operands: [X, integers('order', [0, 3, 1, 2])], result: [1, 4, 7, 6] },
  {
    what: 'TRANSPOSE of the batch',
    operator: { code: 39 },
    operands: [X, integers('order', [2, 0, 3, 1])],
    result: [6, 1, 4, 7],
  },
  { what: 'RESHAPE with −1', operator: { code: 22 }, operands: [X, integers('shape', [1, -1, 2])], result: [1, 84, 2] },
  {
    what: 'RESHAPE by its options',
    operator: { code: 22, options: [[0, 'ints', [1, 4, -1]]] },
    operands: [X],
    result: [1, 4, 42],
  },
  { what: 'SQUEEZE', operator: { code: 43 }, operands: [given('x', [1, 1, 6, 1])], result: [6] },
  {
    what: 'SQUEEZE along −1',
    operator: { code: 43, options: [[0, 'ints', [-1]]] },
    operands: [given('x', [1, 1, 6, 1])],
    result: [1, 1, 6],
  },
  {
    what: 'EXPAND_DIMS along −1',
    operator: { code: 70 },
    operands: [X, integers('axis', [-1])],
    result: [1, 7, 6, 4, 1],
  },
  {
    what: 'EXPAND_DIMS along 0',
    operator: { code: 70 },
    operands: [X, integers('axis', [0], [])],
    result: [1, 1, 7, 6, 4],
  },
  {
    what: 'CONCATENATION of two inputs',
    operator: { code: 2, options: [[0, 'int', 2]] },
    operands: [X, given('x2', [1, 7, 3, 4])],
    result: [1, 7, 9, 4],
  },
  {
    what: 'PACK of two inputs along −1',
    operator: {
      code: 83,
      options: [
        [0, 'int', 2],
        [1, 'int', -1],
      ],
    },
    operands: [X, given('x2', [1, 7, 6, 4])],
    result: [1, 7, 6, 4, 2],
  },
  {
    what: 'PACK with a constant along 1',
    operator: {
      code: 83,
      options: [
        [0, 'int', 3],
        [1, 'int', 1],
      ],
    },
    operands: [X, floats('c', [1, 7, 6, 4]), 0],
    result: [1, 3, 7, 6, 4],
  },
  { what: 'PACK along 0', operator: { code: 83, options: [[0, 'int', 1]] }, operands: [X], result: [1, 1, 7, 6, 4] },
  {
    what: 'UNPACK along 2',
    operator: {
      code: 88,
      options: [
        [0, 'int', 6],
        [1, 'int', 2],
      ],
    },
    operands: [X],
    results: Array.from({ length: 6 }, () => [1, 7, 4]),
  },
  {
    what: 'SPLIT along −1',
    operator: { code: 49, options: [[0, 'int', 2]] },
    operands: [integers('axis', [-1], []), X],
    results: [
      [1, 7, 6, 2],
      [1, 7, 6, 2],
    ],
  },
  {
    what: 'SPLIT along 2',
    operator: { code: 49, options: [[0, 'int', 3]] },
    operands: [integers('axis', [2], []), X],
    results: [
      [1, 7, 2, 4],
      [1, 7, 2, 4],
      [1, 7, 2, 4],
    ],
  },
  {
    what: 'SPLIT_V with −1',
    operator: { code: 102, options: [[0, 'int', 3]] },
    operands: [X, integers('sizes', [2, -1, 1]), integers('axis', [1], [])],
    results: [
      [1, 2, 6, 4],
      [1, 4, 6, 4],
      [1, 1, 6, 4],
    ],
  },
  {
    what: 'SLICE',
    operator: { code: 65 },
    operands: [X, integers('begin', [0, 2, 0, 1]), integers('size', [1, 3, -1, 2])],
    result: [1, 3, 6, 2],
  },
  {
    what: 'GATHER along −1',
    operator: { code: 36, options: [[0, 'int', -1]] },
    operands: [X, integers('at', [3, 0, 0, 2, 1, 1], [2, 3])],
    result: [1, 7, 6, 2, 3],
  },
  {
    what: 'GATHER of one',
    operator: { code: 36, options: [[0, 'int', 1]] },
    operands: [X, integers('at', [5], [])],
    result: [1, 6, 4],
  },
  { what: 'TILE', operator: { code: 69 }, operands: [X, integers('times', [1, 2, 1, 3])], result: [1, 14, 6, 12] },
  {
    what: 'BROADCAST_TO',
    operator: { code: 130 },
    operands: [given('x', [1, 1, 6, 1]), integers('shape', [1, 3, 6, 4])],
    result: [1, 3, 6, 4],
  },
  {
    what: 'PADV2',
    operator: { code: 60 },
    operands: [X, integers('by', [0, 0, 1, 2, 0, 3, 2, 0], [4, 2]), floats('c', [1])],
    result: [1, 10, 9, 6],
  },
  {
    what: 'MIRROR_PAD, REFLECT',
    operator: { code: 100 },
    operands: [X, integers('by', [0, 0, 2, 1, 3, 0, 0, 0], [4, 2])],
    result: [1, 10, 9, 4],
  },
  {
    what: 'DEPTH_TO_SPACE',
    operator: { code: 5, options: [[0, 'int', 2]] },
    operands: [given('x', [1, 3, 5, 12])],
    result: [1, 6, 10, 3],
  },
  {
    what: 'SPACE_TO_DEPTH',
    operator: { code: 26, options: [[0, 'int', 3]] },
    operands: [given('x', [1, 6, 9, 2])],
    result: [1, 2, 3, 18],
  },
  ...[
    { what: 'twice', size: [14, 12], align: 0, half: 0 },
    { what: 'a whole quotient', size: [7, 10], align: 0, half: 0 },
    { what: 'smaller', size: [3, 4], align: 0, half: 0 },
    { what: 'corners aligned', size: [13, 9], align: 1, half: 0 },
    { what: 'corners aligned, one row', size: [1, 11], align: 1, half: 0 },
    { what: 'half pixels', size: [10, 4], align: 0, half: 1 },
    { what: 'both', size: [9, 13], align: 1, half: 1 },
  ].map(({ what, size, align, half }): Case => ({
    what: `RESIZE_NEAREST_NEIGHBOR, ${what}`,
    operator: {
      code: 97,
      options: [
        [0, 'byte', align],
        [1, 'byte', half],
      ],
    },
    operands: [X, integers('size', size)],
    result: [1, size[0]!, size[1]!, 4],
  })),
  {
    what: 'SUM over height, kept',
    operator: { code: 74, options: [[0, 'byte', 1]] },
    operands: [X, integers('axes', [1])],
    result: [1, 1, 6, 4],
  },
  {
    what: 'REDUCE_MAX over two axes',
    operator: { code: 82 },
    operands: [X, integers('axes', [-1, 1])],
    result: [1, 6],
  },
  { what: 'REDUCE_MIN', operator: { code: 89 }, operands: [X, integers('axes', [2], [])], result: [1, 7, 4] },
  { what: 'REDUCE_PROD', operator: { code: 81 }, operands: [X, integers('axes', [3])], result: [1, 7, 6] },
  { what: 'MEAN over everything', operator: { code: 40 }, operands: [X, integers('axes', [0, 1, 2, 3])], result: [] },
  {
    what: 'ARG_MAX',
    operator: { code: 56 },
    operands: [X, integers('axis', [-1], [])],
    result: [1, 7, 6],
    resultType: 2,
  },
  {
    what: 'ARG_MIN to INT64',
    operator: { code: 79 },
    operands: [X, integers('axis', [1], [])],
    result: [1, 6, 4],
    resultType: 4,
  },
  ...STRIDED_SLICES,
];

/** A strided slice of X; masks are bits from the first entry on. */
function strided(
  what: string,
  begin: number[],
  end: number[],
  strides: number[],
  [beginMask = 0, endMask = 0, ellipsis = 0, fresh = 0, shrink = 0, offset = 0]: number[],
  result: number[],
): Case {
  return {
    what: `STRIDED_SLICE, ${what}`,
    operator: {
      code: 45,
      options: [
        [0, 'int', beginMask],
        [1, 'int', endMask],
        [2, 'int', ellipsis],
        [3, 'int', fresh],
        [4, 'int', shrink],
        [5, 'byte', offset],
      ],
    },
    operands: [X, integers('begin', begin), integers('end', end), integers('strides', strides)],
    result,
  };
}

/** The operands of a case without those that stand for others. */
export function tensorsOf({ operands }: Case): CaseTensor[] {
  return operands.filter((operand) => typeof operand !== 'number');
}

/** Shapes of a case's outputs. */
export function resultsOf({ result, results }: Case): (readonly number[])[] {
  return results ? [...results] : [result ?? []];
}

/** The file of a case. Its outputs are y, or y0, y1, …. `quantised`: the tensors in place of the case's own. */
export function fileOf(
  item: Case,
  quantised?: { readonly operands: readonly WrittenTensor[]; readonly results: readonly WrittenTensor[] },
): Uint8Array {
  const own = quantised?.operands ?? tensorsOf(item);
  const shapes = resultsOf(item);
  const made =
    quantised?.results ??
    shapes.map((shape, i) => ({ name: shapes.length > 1 ? `y${i}` : 'y', shape, type: item.resultType ?? 0 }));
  // Where an operand stands among the tensors.
  const places: number[] = [];
  let next = 0;
  for (const operand of item.operands) places.push(typeof operand === 'number' ? places[operand]! : next++);
  const outputs = made.map((_, i) => own.length + i);
  return writeTflite({
    tensors: [...own, ...made],
    operators: [{ ...item.operator, inputs: places, outputs }],
    inputs: own.flatMap((operand, i) => (operand.data ? [] : [i])),
    outputs,
  });
}

/** Random numbers for the graph's inputs, in their order. */
export function inputsOf(
  item: Case,
): { readonly name: string; readonly shape: readonly number[]; readonly data: Float32Array }[] {
  return tensorsOf(item)
    .filter((operand) => !operand.data)
    .map(({ name, shape, from, to }) => ({ name, shape, data: Float32Array.from(noise(shape, from, to)) }));
}

// --- quantised -------------------------------------------------------------------------------------------------------

/**
 * Operators whose operands and results have one scale: TFLite's kernels do not look at it, or insist on it. By
 * `BuiltinOperator`.
 */
const ONE_SCALE = [
  1, 2, 5, 17, 22, 23, 26, 34, 36, 39, 43, 45, 49, 55, 57, 60, 65, 69, 70, 82, 83, 88, 89, 97, 100, 102,
];
/** Further operators that TFLite has in 8 bits. */
const MORE_QUANTISED = [0, 3, 4, 9, 11, 14, 18, 19, 20, 21, 25, 28, 40, 41, 54, 67, 74, 76, 98, 99, 111, 117, 126];

export function canBeQuantised({ operator, resultType }: Case): boolean {
  return !resultType && [...ONE_SCALE, ...MORE_QUANTISED].includes(operator.code);
}

/** Results in units that TFLite's kernels insist on: LOGISTIC, SOFTMAX, TANH. */
const FIXED: Readonly<Record<number, readonly [scale: number, zeroPoint: number]>> = {
  14: [1 / 256, -128],
  25: [1 / 256, -128],
  28: [1 / 128, 0],
};

type Type8 = 'int8' | 'uint8';

/** The tensor in 8 bits, with the zero point where the range of `values` needs it. */
function asymmetric(tensor: WrittenTensor, type: Type8, values: ArrayLike<number>): WrittenTensor {
  const low = Math.min(0, ...Array.from(values));
  const high = Math.max(0, ...Array.from(values));
  const scale = Math.fround((high - low || 1) / 255);
  const least = type === 'int8' ? -128 : 0;
  return inUnits(tensor, type, scale, least + Math.round(-low / scale), values);
}

function inUnits(
  tensor: WrittenTensor,
  type: Type8,
  scale: number,
  zeroPoint: number,
  values: ArrayLike<number>,
): WrittenTensor {
  const least = type === 'int8' ? -128 : 0;
  const numbers = Array.from(values, (x) => Math.min(least + 255, Math.max(least, Math.round(x / scale) + zeroPoint)));
  return {
    name: tensor.name,
    shape: tensor.shape,
    type: type === 'int8' ? 9 : 3,
    quantisation: { scales: [scale], zeroPoints: [zeroPoint] },
    ...(tensor.data && { data: Uint8Array.from(numbers) }),
  };
}

/** A computed tensor with type and scale of another one. */
function likeOf({ type, quantisation }: WrittenTensor, { name, shape }: WrittenTensor): WrittenTensor {
  return { name, shape, type: type!, quantisation: quantisation! };
}

/** A constant in the units of another tensor. */
function inUnitsOf({ quantisation }: WrittenTensor, tensor: WrittenTensor, type: Type8): WrittenTensor {
  return inUnits(tensor, type, quantisation!.scales[0]!, quantisation!.zeroPoints[0]!, floatsOf(tensor));
}

/** Weights in int8 around 0, with a scale for each index along `axis`. */
function perChannel(tensor: WrittenTensor, axis: number): WrittenTensor {
  const values = floatsOf(tensor);
  const behind = tensor.shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const channelOf = (i: number) => Math.floor(i / behind) % tensor.shape[axis]!;
  const scales = Array.from({ length: tensor.shape[axis]! }, (_, channel) =>
    Math.fround(Math.max(...values.filter((__, i) => channelOf(i) === channel).map(Math.abs)) / 127),
  );
  return {
    ...tensor,
    type: 9,
    data: Uint8Array.from(values, (x, i) => Math.round(x / scales[channelOf(i)]!)),
    quantisation: { scales, zeroPoints: scales.map(() => 0), axis },
  };
}

function floatsOf({ data }: WrittenTensor): number[] {
  return [...new Float32Array(Uint8Array.from(data!).buffer)];
}

/**
 * The file of a case as a full-integer model of 8 bits: in int8 with a scale for each channel of the weights, in uint8 with one
 * for the whole tensor; biases of 32 bits in units of both. `inputs` and `results`: what the case takes and gives in floats.
 */
export function quantisedFileOf(
  item: Case,
  type: Type8,
  inputs: readonly { readonly data: Float32Array }[],
  results: readonly Float32Array[],
): Uint8Array {
  const { code } = item.operator;
  const [weightsAt = -1, biasAt = -1] = { 3: [1, 2], 4: [1, 2], 9: [1, 2], 67: [1, 3] }[code] ?? [];
  let next = 0;
  const first = asymmetric(
    tensorsOf(item).find((tensor) => !tensor.data)!,
    type,
    inputs[0]!.data,
  );
  const operands: WrittenTensor[] = tensorsOf(item).map((tensor, i) => {
    if (!tensor.data && ONE_SCALE.includes(code)) return likeOf(first, tensor);
    if (!tensor.data) return asymmetric(tensor, type, inputs[next++]!.data);
    if (tensor.type !== undefined || i === biasAt) return tensor;
    if (i !== weightsAt && ONE_SCALE.includes(code)) return inUnitsOf(first, tensor, type);
    if (i !== weightsAt) return asymmetric(tensor, type, floatsOf(tensor));
    return type === 'int8' ? perChannel(tensor, code === 4 ? 3 : 0) : asymmetric(tensor, type, floatsOf(tensor));
  });
  const picture = operands.find((tensor) => !tensor.data)!;
  if (operands[biasAt]) operands[biasAt] = biasOf(operands[biasAt], picture, operands[weightsAt]!);
  const shapes = resultsOf(item);
  const made = results.map((values, i) => {
    const tensor = { name: shapes.length > 1 ? `y${i}` : 'y', shape: shapes[i]! };
    const [scale, zeroPoint] = FIXED[code] ?? [];
    if (scale !== undefined && zeroPoint !== undefined)
      return inUnits(tensor, type, scale, type === 'int8' ? zeroPoint : zeroPoint + 128, values);
    return ONE_SCALE.includes(code) ? likeOf(first, tensor) : asymmetric(tensor, type, values);
  });
  return fileOf(item, { operands, results: made });
}

function biasOf(bias: WrittenTensor, picture: WrittenTensor, weights: WrittenTensor): WrittenTensor {
  const unit = picture.quantisation!.scales[0]!;
  const scales = weights.quantisation!.scales.map((s) => Math.fround(s * unit));
  return {
    ...bias,
    type: 2,
    data: intBytes(floatsOf(bias).map((x, i) => Math.round(x / (scales[i] ?? scales[0]!)))),
    quantisation: { scales, zeroPoints: scales.map(() => 0) },
  };
}
