import { InferenceSession, Tensor } from 'onnxruntime-node';
import { describe, expect, test } from 'vitest';
import { evaluateTflite } from '../../../test/support/tflite-evaluator.ts';
import { floatBytes, intBytes, writeTflite } from '../../../test/support/tflite-writer.ts';
import type { WrittenGraph, WrittenSparsity, WrittenTensor } from '../../../test/support/tflite-writer.ts';
import { seededRandom } from '../../base/random.ts';
import { convertTflite } from './convert.ts';

/** Operators together, as exporters write them: what one operator alone does not show. */

const SEED = 5;
const random = seededRandom(SEED);
const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
const noise = (shape: readonly number[], from = -1, to = 1) =>
  Array.from({ length: sizeOf(shape) }, () => from + random() * (to - from));
const floats = (name: string, shape: number[], values = noise(shape)): WrittenTensor => ({
  name,
  shape,
  data: floatBytes(values),
});
const integers = (name: string, values: number[], shape = [values.length]): WrittenTensor => ({
  name,
  shape,
  type: 2,
  data: intBytes(values),
});
const bytes = (values: readonly number[]) => Uint8Array.from(values);
const in8 = (type: 'int8' | 'uint8', scale: number, zeroPoint: number) => ({
  type: type === 'int8' ? 9 : 3,
  quantisation: { scales: [scale], zeroPoints: [zeroPoint] },
});

async function run(file: Uint8Array, shape: readonly number[], data: Float32Array) {
  const session = await InferenceSession.create(convertTflite(file, 'made'), { intraOpNumThreads: 1 });
  const [input = ''] = session.inputNames;
  const results = await session.run({ [input]: new Tensor('float32', data, shape) });
  const inputShape = session.inputMetadata.map((m) => (m.isTensor ? m.shape : []))[0];
  await session.release();
  return { results, inputShape };
}

/** The largest difference of any output. */
async function difference(file: Uint8Array, shape: readonly number[], data: Float32Array): Promise<number> {
  const { results } = await run(file, shape, data);
  let worst = 0;
  for (const [name, { shape: dims, data: expected }] of evaluateTflite(file, [data])) {
    expect([...results[name]!.dims]).toEqual(dims);
    expected.forEach((x, i) => (worst = Math.max(worst, Math.abs(x - Number(results[name]!.data[i])))));
  }
  return worst;
}

/** A graph of named tensors; those without data that nothing makes are its inputs. */
function graph(
  tensors: readonly WrittenTensor[],
  operators: readonly (readonly [
    code: number,
    inputs: readonly string[],
    outputs: readonly string[],
    options?: WrittenGraph['operators'][number]['options'],
  ])[],
  outputs: readonly string[],
): Uint8Array {
  const at = (name: string) => tensors.findIndex((t) => t.name === name);
  const made = new Set(operators.flatMap(([, , names]) => names));
  return writeTflite({
    tensors,
    operators: operators.map(([code, from, to, options]) => ({
      code,
      inputs: from.map(at),
      outputs: to.map(at),
      ...(options && { options }),
    })),
    inputs: tensors.flatMap((t, i) => (t.data || made.has(t.name) ? [] : [i])),
    outputs: outputs.map(at),
  });
}

const CONV = [
  [1, 'int', 2],
  [2, 'int', 2],
] as const;

describe(`quantised models, seed ${SEED}`, () => {
  test.each(['int8', 'uint8'] as const)(
    'convolution, ReLU6 by its range, pool, product and softmax in %s',
    async (type) => {
      const isSigned = type === 'int8';
      const low = isSigned ? -128 : 0;
      const perChannel = { type: 9, quantisation: { scales: [0.01, 0.1, 0.002], zeroPoints: [0, 0, 0], axis: 0 } };
      const weights: WrittenTensor = {
        name: 'w',
        shape: [3, 3, 3, 2],
        data: bytes(noise([54], isSigned ? -127 : 0, isSigned ? 127 : 255)),
        ...(isSigned ? perChannel : in8('uint8', 0.2, 120)),
      };
      const unit = 1 / 255;
      const biasScales = weights.quantisation!.scales.map((s) => s * unit);
      const file = graph(
        [
          { name: 'x', shape: [1, 9, 8, 2], ...in8(type, unit, low) },
          weights,
          // The scale of a bias in the file does not count: it is that of the products.
          {
            ...integers('b', [500, -2000, 100]),
            quantisation: isSigned ? { scales: biasScales, zeroPoints: [0, 0, 0] } : { scales: [7], zeroPoints: [0] },
          },
          // No activation is fused: what is below 0 or above 6 is cut off by the numbers that the tensor can have.
          { name: 'c', shape: [1, 5, 4, 3], ...in8(type, 6 / 255, low) },
          { name: 'm', shape: [1, 3], ...in8(type, 6 / 255, low) },
          integers('axes', [1, 2]),
          {
            name: 'd',
            shape: [4, 3],
            data: bytes(noise([12], 0, 255)),
            ...in8(type, 0.01, isSigned ? 0 : 128),
          },
          { name: 'l', shape: [1, 4], ...in8(type, 0.05, low + 128) },
          { name: 'y', shape: [1, 4], ...in8(type, 1 / 256, low) },
        ],
        [
          [3, ['x', 'w', 'b'], ['c'], CONV],
          [40, ['c', 'axes'], ['m']],
          [9, ['m', 'd'], ['l']],
          [25, ['l'], ['y'], [[0, 'float', 1]]],
        ],
        ['c', 'y'],
      );
      const data = Float32Array.from(noise([1, 9, 8, 2], 0, 1));
      const { c, y } = Object.fromEntries(evaluateTflite(file, [data])) as Record<string, { data: Float32Array }>;
      expect(c!.data.filter((v) => v === 0).length).toBeGreaterThan(3);
      expect(c!.data.some((v) => v > 5.99)).toBe(true);
      expect(new Set(y!.data).size).toBeGreaterThan(1);
      expect(await difference(file, [1, 9, 8, 2], data)).toBeLessThan((6 / 255) * 1.01);
    },
  );

  test('QUANTIZE and DEQUANTIZE around a convolution: floats in and out', async () => {
    const file = graph(
      [
        { name: 'x', shape: [1, 6, 6, 2] },
        { name: 'q', shape: [1, 6, 6, 2], ...in8('int8', 0.5, 3) },
        {
          name: 'w',
          shape: [1, 3, 3, 2],
          type: 9,
          data: bytes(noise([18], -127, 127)),
          quantisation: { scales: [0.01, 0.03], zeroPoints: [0, 0], axis: 3 },
        },
        { name: 'c', shape: [1, 6, 6, 2], ...in8('int8', 0.25, -20) },
        { name: 'u', shape: [1, 6, 6, 2], ...in8('uint8', 0.5, 100) },
        { name: 'y', shape: [1, 6, 6, 2] },
      ],
      [
        [114, ['x'], ['q']],
        [
          4,
          ['q', 'w'],
          ['c'],
          [
            [1, 'int', 1],
            [2, 'int', 1],
            [3, 'int', 1],
          ],
        ],
        [114, ['c'], ['u']],
        [6, ['u'], ['y']],
      ],
      ['y'],
    );
    const data = Float32Array.from(noise([1, 6, 6, 2], -70, 70));
    const { results } = await run(file, [1, 6, 6, 2], data);
    const values = results['y']!.data as Float32Array;
    expect(values.every((v) => Number.isInteger(v * 2))).toBe(true);
    expect(new Set(values).size).toBeGreaterThan(10);
    expect(await difference(file, [1, 6, 6, 2], data)).toBeLessThanOrEqual(0.5);
  });

  test('weights alone in 8 bits, the rest in floats', async () => {
    const file = graph(
      [
        { name: 'x', shape: [1, 6, 5, 2] },
        {
          name: 'w',
          shape: [3, 3, 3, 2],
          type: 9,
          data: bytes(noise([54], -127, 127)),
          quantisation: { scales: [0.01, 0.03, 0.02], zeroPoints: [0, 0, 0], axis: 0 },
        },
        floats('b', [3]),
        { name: 'y', shape: [1, 3, 3, 3] },
      ],
      [[3, ['x', 'w', 'b'], ['y'], CONV]],
      ['y'],
    );
    expect(await difference(file, [1, 6, 5, 2], Float32Array.from(noise([1, 6, 5, 2])))).toBeLessThan(1e-5);
  });

  test('weights that a DEQUANTIZE widens, and weights that are moved in the graph', async () => {
    const file = graph(
      [
        { name: 'x', shape: [1, 5, 5, 2] },
        {
          name: 'w8',
          shape: [2, 3, 3, 3],
          type: 9,
          data: bytes(noise([54], -127, 127)),
          quantisation: { scales: [0.02], zeroPoints: [4] },
        },
        { name: 'w', shape: [2, 3, 3, 3] },
        integers('order', [3, 1, 2, 0]),
        { name: 'moved', shape: [3, 3, 3, 2] },
        { name: 'y', shape: [1, 3, 3, 3] },
      ],
      [
        [6, ['w8'], ['w']],
        [39, ['w', 'order'], ['moved']],
        [3, ['x', 'moved'], ['y'], CONV],
      ],
      ['y'],
    );
    const data = Float32Array.from(noise([1, 5, 5, 2]));
    expect(await difference(file, [1, 5, 5, 2], data)).toBeLessThan(1e-4);
    // What comes from constants alone does not fix the batch.
    expect((await run(file, [1, 5, 5, 2], data)).inputShape).toEqual(['batch', 5, 5, 2]);
  });

  test('in 16 bits', async () => {
    const in16 = (scale: number, zeroPoint = 0) => ({
      type: 7,
      quantisation: { scales: [scale], zeroPoints: [zeroPoint] },
    });
    const make = (zeroPoint: number) =>
      graph(
        [
          { name: 'x', shape: [1, 6, 5, 2], ...in16(1 / 32_768) },
          { name: 'y', shape: [1, 6, 5, 2], ...in16(1 / 32_768, zeroPoint) },
        ],
        [[28, ['x'], ['y']]],
        ['y'],
      );
    const data = Float32Array.from(noise([1, 6, 5, 2]));
    expect(await difference(make(0), [1, 6, 5, 2], data)).toBeLessThan(1.01 / 32_768);
  });

  test('an input of bytes that stand for nothing else, and a CAST', async () => {
    const file = graph(
      [
        { name: 'x', shape: [1, 4, 4, 3], type: 3 },
        { name: 'f', shape: [1, 4, 4, 3] },
        floats('c', [], [1 / 255]),
        { name: 'y', shape: [1, 4, 4, 3] },
      ],
      [
        [53, ['x'], ['f']],
        [18, ['f', 'c'], ['y']],
      ],
      ['y'],
    );
    const data = Float32Array.from(noise([1, 4, 4, 3], 0, 255), Math.floor);
    expect(await difference(file, [1, 4, 4, 3], data)).toBeLessThan(1e-6);
  });
});

describe('sparse constants', () => {
  const SHAPE = [4, 3, 2, 6];
  const dense = noise(SHAPE).map((x, i) => (i % 3 === 1 ? x : 0));

  /** Compressed along the last dimension, as MediaPipe's models are: dense, dense, dense, CSR. */
  function csr(values: readonly number[], width: 8 | 16 | 32): { stored: number[]; sparsity: WrittenSparsity } {
    const [stored, segments, indices]: [number[], number[], number[]] = [[], [0], []];
    for (let row = 0; row < values.length; row += 6) {
      for (let i = 0; i < 6; i += 1) {
        const x = values[row + i]!;
        if (x === 0) continue;
        stored.push(x);
        indices.push(i);
      }
      segments.push(stored.length);
    }
    return { stored, sparsity: { order: [0, 1, 2, 3], dimensions: [4, 3, 2, { segments, indices, width }] } };
  }

  const convolution = (weights: WrittenTensor, code = 124) =>
    graph(
      [{ name: 'x', shape: [1, 5, 5, 6] }, weights, { name: 'w', shape: SHAPE }, { name: 'y', shape: [1, 3, 3, 4] }],
      [
        [code, ['s'], ['w']],
        [3, ['x', 'w'], ['y'], CONV],
      ],
      ['y'],
    );

  test.each([8, 16, 32] as const)('DENSIFY with indices of %i bits', async (width) => {
    const { stored, sparsity } = csr(dense, width);
    const file = convolution({ name: 's', shape: SHAPE, data: floatBytes(stored), sparsity });
    const whole = convolution({ name: 's', shape: SHAPE, data: floatBytes(dense) }, 6);
    const data = Float32Array.from(noise([1, 5, 5, 6]));
    expect([...evaluateTflite(file, [data]).get('y')!.data]).toEqual([...evaluateTflite(whole, [data]).get('y')!.data]);
    expect(await difference(file, [1, 5, 5, 6], data)).toBeLessThan(1e-5);
  });

  test('half precision, made dense and then widened', async () => {
    const halves = new Uint8Array(
      Uint16Array.from(
        dense.filter((x) => x !== 0),
        (_, i) => 0x3800 + i * 7,
      ).buffer,
    );
    const { sparsity } = csr(dense, 16);
    const file = graph(
      [
        { name: 'x', shape: [1, 5, 5, 6] },
        { name: 's', shape: SHAPE, type: 1, data: halves, sparsity },
        { name: 'd', shape: SHAPE, type: 1 },
        { name: 'w', shape: SHAPE },
        { name: 'y', shape: [1, 3, 3, 4] },
      ],
      [
        [124, ['s'], ['d']],
        [6, ['d'], ['w']],
        [3, ['x', 'w'], ['y'], CONV],
      ],
      ['y'],
    );
    expect(await difference(file, [1, 5, 5, 6], Float32Array.from(noise([1, 5, 5, 6])))).toBeLessThan(1e-5);
  });

  test('blocks, in another order, in 8 bits, without a DENSIFY', async () => {
    // 4 × 6 in blocks of 2 × 3, walked by columns of blocks; a block is stored by columns too. Three of four blocks are there.
    const sparsity: WrittenSparsity = {
      order: [1, 0, 3, 2],
      blockMap: [0, 1],
      dimensions: [2, { segments: [0, 1, 3], indices: [1, 0, 1], width: 8 }, 3, 2],
    };
    const stored = Array.from({ length: 18 }, (_, i) => i + 1);
    const file = graph(
      [
        { name: 'x', shape: [1, 6] },
        { name: 's', shape: [4, 6], data: bytes(stored), ...in8('int8', 1, 0), sparsity },
        { name: 'y', shape: [1, 4] },
      ],
      [[9, ['x', 's'], ['y']]],
      ['y'],
    );
    const rows = [
      [0, 0, 0, 7, 9, 11],
      [0, 0, 0, 8, 10, 12],
      [1, 3, 5, 13, 15, 17],
      [2, 4, 6, 14, 16, 18],
    ];
    for (let i = 0; i < 6; i += 1) {
      const one = Float32Array.from({ length: 6 }, (_, k) => (k === i ? 1 : 0));
      const { results } = await run(file, [1, 6], one);
      expect([...(results['y']!.data as Float32Array)]).toEqual(rows.map((row) => row[i]));
      expect([...evaluateTflite(file, [one]).get('y')!.data]).toEqual(rows.map((row) => row[i]));
    }
  });

  test.each<[what: string, change: (s: WrittenSparsity, stored: number[]) => [WrittenSparsity, number[]]]>([
    ['an index beyond the dimension', (s, x) => [withCsr(s, (c) => ({ ...c, indices: c.indices.with(0, 6) })), x]],
    ['segments that go back', (s, x) => [withCsr(s, (c) => ({ ...c, segments: c.segments.with(2, 0) })), x]],
    ['a segment too few', (s, x) => [withCsr(s, (c) => ({ ...c, segments: c.segments.slice(1) })), x]],
    ['an element too few', (s, x) => [s, x.slice(1)]],
    ['a dense dimension of another size', (s, x) => [{ ...s, dimensions: s.dimensions.with(0, 5) }, x]],
    ['an order that repeats', (s, x) => [{ ...s, order: [0, 1, 1, 3] }, x]],
    ['a dimension too few', (s, x) => [{ ...s, dimensions: s.dimensions.slice(1) }, x]],
    [
      'a block of a dimension that is not there',
      (s, x) => [{ ...s, order: [0, 1, 2, 3, 4], blockMap: [9], dimensions: [...s.dimensions, 1] }, x],
    ],
  ])('damaged by %s', (_, change) => {
    const { stored, sparsity } = csr(dense, 32);
    const [changed, elements] = change(sparsity, stored);
    const file = convolution({ name: 's', shape: SHAPE, data: floatBytes(elements), sparsity: changed });
    expect(() => convertTflite(file, 'mine.tflite')).toThrow(
      expect.objectContaining({ code: 'MODEL_DAMAGED', message: expect.stringContaining('the sparse tensor "s"') }),
    );
  });

  test('a sparse tensor with next to nothing in it does not fill the memory', () => {
    const shape = [1, 1, 30_000, 30_000];
    const sparsity: WrittenSparsity = {
      order: [0, 1, 2, 3],
      dimensions: [1, 1, { segments: [0, 0], indices: [], width: 32 }, 30_000],
    };
    const file = graph(
      [
        { name: 'x', shape: [1, 1, 1, 30_000] },
        { name: 's', shape, data: floatBytes([0]), sparsity },
        { name: 'y', shape },
      ],
      [[0, ['x', 's'], ['y']]],
      ['y'],
    );
    expect(() => convertTflite(file, 'mine.tflite')).toThrow(expect.objectContaining({ code: 'MODEL_UNSUPPORTED' }));
  });
});

type Csr = Exclude<WrittenSparsity['dimensions'][number], number>;

function withCsr(sparsity: WrittenSparsity, change: (csr: Csr) => Csr): WrittenSparsity {
  return { ...sparsity, dimensions: sparsity.dimensions.map((d) => (typeof d === 'number' ? d : change(d))) };
}

describe('shapes that the graph works out', () => {
  /** Keras writes `Flatten` and `Reshape` of a model with an open batch so. */
  const flatten = (openBatch: boolean) => {
    const open = (shape: number[]) => (openBatch ? { shape, openShape: [-1, ...shape.slice(1)] } : { shape });
    return graph(
      [
        { name: 'x', ...open([1, 4, 3, 2]) },
        { name: 'shape', shape: [4], type: 2 },
        integers('begin', [0]),
        integers('end', [1]),
        integers('step', [1]),
        { name: 'n', shape: [], type: 2 },
        integers('rest', [24], []),
        { name: 'target', shape: [2], type: 2 },
        { name: 'flat', ...open([1, 24]) },
        floats('w', [3, 24]),
        { name: 'y', ...open([1, 3]) },
      ],
      [
        [77, ['x'], ['shape']],
        [45, ['shape', 'begin', 'end', 'step'], ['n'], [[4, 'int', 1]]],
        [83, ['n', 'rest'], ['target'], [[0, 'int', 2]]],
        [22, ['x', 'target'], ['flat']],
        [9, ['flat', 'w'], ['y']],
      ],
      ['y'],
    );
  };

  test.each([false, true])('SHAPE, STRIDED_SLICE and PACK before a RESHAPE, the batch open: %s', async (openBatch) => {
    const file = flatten(openBatch);
    const data = Float32Array.from(noise([1, 4, 3, 2]));
    expect(await difference(file, [1, 4, 3, 2], data)).toBeLessThan(1e-5);
    const both = Float32Array.from([...noise([24]), ...data]);
    const { results } = await run(file, [2, 4, 3, 2], both);
    const expected = evaluateTflite(file, [data]).get('y')!.data;
    expected.forEach((x, i) => expect(results['y']!.data[3 + i]).toBeCloseTo(x, 4));
  });

  test('rows and batch in one dimension, whose size the file leaves open', async () => {
    const make = (rows: WrittenTensor) =>
      graph(
        [
          { name: 'x', shape: [1, 4, 3], openShape: [-1, 4, 3] },
          integers('target', [-1, 3]),
          rows,
          { ...rows, name: 'y' },
        ],
        [
          [22, ['x', 'target'], ['rows']],
          [19, ['rows'], ['y']],
        ],
        ['y'],
      );
    // With an open batch the file has 1 where it does not know the number of rows.
    const data = Float32Array.from(noise([1, 4, 3]));
    const { results, inputShape } = await run(
      make({ name: 'rows', shape: [1, 3], openShape: [-1, 3] }),
      [1, 4, 3],
      data,
    );
    expect(results['y']!.dims).toEqual([4, 3]);
    expect(results['y']!.data).toEqual(data.map((x) => Math.max(0, x)));
    expect(inputShape).toEqual([1, 4, 3]);
  });

  test('arithmetic on sizes', async () => {
    const scalar = (name: string) => ({ name, shape: [], type: 2 });
    const file = graph(
      [
        { name: 'x', shape: [1, 3, 4, 2] },
        { name: 'shape', shape: [4], type: 2 },
        integers('at', [1, 2]),
        { name: 'sizes', shape: [2], type: 2 },
        integers('two', [2], []),
        { name: 'twice', shape: [2], type: 2 },
        { name: 'big', shape: [1, 6, 8, 2] },
        scalar('pixels'),
        integers('zero', [0]),
        scalar('channels'),
        integers('three', [3], []),
        integers('one', [1]),
        integers('tail', [-1]),
        { name: 'list', shape: [1], type: 2 },
        { name: 'target', shape: [3], type: 2 },
        { name: 'y', shape: [1, 48, 2] },
      ],
      [
        [77, ['x'], ['shape']],
        [36, ['shape', 'at'], ['sizes']],
        [18, ['sizes', 'two'], ['twice']],
        [97, ['x', 'twice'], ['big']],
        [81, ['twice', 'zero'], ['pixels']],
        [36, ['shape', 'three'], ['channels']],
        [70, ['channels', 'zero'], ['list']],
        [2, ['one', 'tail', 'list'], ['target'], [[0, 'int', 0]]],
        [22, ['big', 'target'], ['y']],
      ],
      ['y'],
    );
    expect(await difference(file, [1, 3, 4, 2], Float32Array.from(noise([1, 3, 4, 2])))).toBe(0);
  });
});

describe('names', () => {
  test('a tensor that is called as the converter would call a part of another one', async () => {
    const file = graph(
      [
        { name: 'x', shape: [1, 4, 4, 1] },
        { name: 'w', shape: [1, 1, 1, 1], data: floatBytes([2]) },
        { name: 'y', shape: [1, 4, 4, 1] },
        { name: 'y/weights', shape: [1], data: floatBytes([100]) },
        { name: 'y/plain', shape: [1, 4, 4, 1] },
        { name: 'x/constant', shape: [1, 4, 4, 1] },
      ],
      [
        [0, ['x', 'y/weights'], ['y/plain']],
        [
          3,
          ['y/plain', 'w'],
          ['y'],
          [
            [1, 'int', 1],
            [2, 'int', 1],
            [3, 'byte', 1],
          ],
        ],
        [19, ['y'], ['x/constant']],
      ],
      ['x/constant'],
    );
    const data = Float32Array.from(noise([1, 4, 4, 1]));
    expect(await difference(file, [1, 4, 4, 1], data)).toBeLessThan(1e-4);
  });

  test('an output that is a constant, and one that is named twice', async () => {
    const file = graph(
      [
        { name: 'x', shape: [1, 3] },
        floats('anchors', [5, 2], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        { name: 'y', shape: [1, 3] },
      ],
      [[19, ['x'], ['y']]],
      ['y', 'anchors', 'y'],
    );
    const { results } = await run(file, [2, 3], Float32Array.of(1, -1, 2, -3, 4, 5));
    expect([...(results['anchors']!.data as Float32Array)]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect([...(results['y']!.data as Float32Array)]).toEqual([1, 0, 2, 0, 4, 5]);
  });
});
