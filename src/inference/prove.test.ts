import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { attr, bytesOf, DataType, encodeOnnx, node, tensor } from './onnx/model.ts';
import type { OnnxNode, OnnxTensor } from './onnx/model.ts';
import type { PictureWish } from './picture-shape.ts';
import { proveModel } from './prove.ts';

const MIB = 1024 * 1024;
const LIMITS = { timeoutMs: 30_000, memoryBytesMax: 2048 * MIB };

let folder: string;
beforeAll(async () => (folder = await mkdtemp(join(tmpdir(), 'sightline-prove-'))));
afterAll(() => rm(folder, { recursive: true, force: true }));

function modelOf(
  nodes: OnnxNode[],
  initializer: OnnxTensor[] = [],
  shape: (number | string)[] = ['batch', 3, 8, 8],
  outputRank = shape.length,
): Uint8Array {
  const input = { name: 'x', elemType: DataType.float, shape };
  const output = { name: 'y', elemType: DataType.float, shape: [] };
  const graph = {
    name: 'g',
    node: nodes,
    initializer,
    input: [input],
    output: [{ ...output, shape: ['a', 'b', 'c', 'd'].slice(0, outputRank) }],
  };
  return encodeOnnx({ irVersion: 8, opset: 18, producerName: 'test', graph, metadata: { author: 'somebody' } });
}

async function prove(bytes: Uint8Array, limits = LIMITS, picture?: PictureWish) {
  const onnxPath = join(folder, `${performance.now()}.onnx`);
  await writeFile(onnxPath, bytes);
  return await proveModel('mine', { onnxPath, provider: 'cpu', ...(picture && { picture }) }, limits);
}

/** x, one number, spread to a matrix. */
const spread = (side: number) => ({
  nodes: [node('Expand', ['x', 'sides'], ['big'])],
  sides: tensor.int64('sides', [2], [side, side]),
});

describe('a first run in a child process', () => {
  test('tells the tensors and the metadata', async () => {
    const proof = await prove(modelOf([node('Relu', ['x'], ['y'])]));
    expect(proof).toEqual({
      inputs: [{ name: 'x', type: 'float32', dims: [1, 3, 8, 8] }],
      outputs: [{ name: 'y', type: 'float32', dims: [1, 3, 8, 8] }],
      metadata: { author: 'somebody' },
    });
  });

  test('tells what an output of three dimensions holds', async () => {
    const boxes = tensor.float('boxes', [1, 2, 4], [1, 2, 30, 40, 4, 4, 2, 2]);
    const nodes = [
      node('ReduceMean', ['x', 'axes'], ['mean'], [attr.int('keepdims', 0)]),
      node('Add', ['mean', 'boxes'], ['y']),
    ];
    const axes = tensor.int64('axes', [3], [1, 2, 3]);
    const bytes = modelOf(nodes, [axes, boxes], [1, 3, 8, 8], 3);
    const { outputs } = await prove(bytes);
    expect(outputs[0]).toMatchObject({
      dims: [1, 2, 4],
      evidence: {
        columns: {
          min: [1, 2, 2, 2],
          max: [4, 4, 30, 40],
          boxes: { count: 2, isPixels: true, crossed: 0.5, spilt: 0.5 },
        },
      },
    });
  });

  test('takes the size of the picture where the model leaves it open', async () => {
    const open = modelOf([node('Relu', ['x'], ['y'])], [], ['n', 3, 'h', 'w']);
    await expect(prove(open)).rejects.toMatchObject({
      code: 'MODEL_UNSUPPORTED',
      message: expect.stringContaining('--size'),
    });
    const proof = await prove(open, LIMITS, { width: 32, height: 16 });
    expect(proof.inputs[0]?.dims).toEqual([1, 3, 16, 32]);
    expect(proof.sizeOpen).toBe(true);
  });

  // The smallest integer modulo −1 overflows the processor's division: a signal on x86, a number elsewhere.
  test.runIf(process.arch === 'x64')('a model that crashes the runtime takes only the child with it', async () => {
    const integer = (name: string, value: number): OnnxTensor => ({
      name,
      dims: [],
      dataType: DataType.int32,
      rawData: bytesOf(Int32Array.of(value)),
    });
    const nodes = [
      node('Cast', ['x'], ['zero'], [attr.int('to', DataType.int32)]),
      node('Add', ['zero', 'smallest'], ['i']),
      node('Mod', ['i', 'minus'], ['q']),
      node('Cast', ['q'], ['y'], [attr.int('to', DataType.float)]),
    ];
    const crashing = modelOf(nodes, [integer('smallest', -(2 ** 31)), integer('minus', -1)]);
    await expect(prove(crashing)).rejects.toMatchObject({
      code: 'MODEL_CRASHED',
      message: 'mine: its first run was ended by SIGFPE',
    });
  });

  test('a model that does not end is stopped', async () => {
    const { nodes, sides } = spread(4000);
    const products = Array.from({ length: 200 }, (_, i) =>
      node('MatMul', [i === 0 ? 'big' : `m${i - 1}`, 'big'], [i === 199 ? 'y' : `m${i}`]),
    );
    const endless = modelOf([...nodes, ...products], [sides], [1, 1]);
    const startMs = performance.now();
    await expect(prove(endless, { ...LIMITS, timeoutMs: 1500 })).rejects.toMatchObject({
      code: 'MODEL_CRASHED',
      message: 'mine: its first run did not end within 1500 ms',
    });
    expect(performance.now() - startMs).toBeLessThan(10_000);
  });

  test.runIf(process.platform === 'linux')('a model that takes too much memory is stopped', async () => {
    const { nodes, sides } = spread(40_000);
    const huge = modelOf([...nodes, node('Relu', ['big'], ['y'])], [sides], [1, 1]);
    await expect(prove(huge, { ...LIMITS, memoryBytesMax: 400 * MIB })).rejects.toMatchObject({
      code: 'MODEL_CRASHED',
      message: expect.stringContaining('memory'),
    });
  });

  test('a file that is not a whole ONNX file', async () => {
    const whole = modelOf([node('Relu', ['x'], ['y'])]);
    for (const bytes of [
      new Uint8Array(),
      whole.subarray(0, whole.length / 2),
      new TextEncoder().encode('not a model'),
    ]) {
      await expect(prove(bytes)).rejects.toMatchObject({
        code: 'MODEL_DAMAGED',
        message: expect.stringContaining('mine'),
      });
    }
  });

  test('an operator that ONNX Runtime does not have is named', async () => {
    await expect(prove(modelOf([node('Fantasy', ['x'], ['y'])]))).rejects.toMatchObject({
      code: 'MODEL_UNSUPPORTED',
      message: expect.stringContaining('Fantasy'),
    });
  });

  test('an input that is no number', async () => {
    const bytes = encodeOnnx({
      irVersion: 8,
      opset: 18,
      producerName: 'test',
      metadata: {},
      graph: {
        name: 'g',
        node: [node('Identity', ['x'], ['y'])],
        initializer: [],
        input: [{ name: 'x', elemType: DataType.string, shape: [1] }],
        output: [{ name: 'y', elemType: DataType.string, shape: [1] }],
      },
    });
    await expect(prove(bytes)).rejects.toMatchObject({
      code: 'MODEL_UNSUPPORTED',
      message: expect.stringContaining('string'),
    });
  });
});
