import fc from 'fast-check';
import { expect, test } from 'vitest';
import { attr, bytesOf, DataType, decodeOnnx, encodeOnnx, node, tensor } from './model.ts';
import type { OnnxModel } from './model.ts';

const MODEL: OnnxModel = {
  irVersion: 8,
  opset: 18,
  producerName: 'sightline',
  metadata: { names: "{0: 'a'}", author: 'nobody' },
  graph: {
    name: 'g',
    node: [
      node('Conv', ['x', 'w'], ['c'], [attr.ints('pads', [0, 1, 0, 1]), attr.int('group', 1)]),
      node('Elu', ['c'], ['e'], [attr.float('alpha', 0.5)]),
      node('Resize', ['e', '', 's'], ['y'], [attr.string('mode', 'linear')]),
    ],
    initializer: [tensor.float('w', [1, 1, 1, 2], [1.5, -2]), tensor.int64('s', [2], [-1, 2 ** 40])],
    input: [{ name: 'x', elemType: DataType.float, shape: ['batch', 1, 4, 4] }],
    output: [{ name: 'y', elemType: DataType.float, shape: ['batch', 1, 'h', 'w'] }],
  },
};

test('a graph survives the file', () => {
  const back = decodeOnnx(encodeOnnx(MODEL));
  expect(back).toMatchObject({ irVersion: 8, opset: 18, producerName: 'sightline', metadata: MODEL.metadata });
  expect(back.graph.input).toEqual(MODEL.graph.input);
  expect(back.graph.output).toEqual(MODEL.graph.output);
  expect(back.graph.node.map((n) => [n.opType, n.input, n.output])).toEqual(
    MODEL.graph.node.map((n) => [n.opType, n.input, n.output]),
  );
  expect(back.graph.node[0]?.attribute).toMatchObject([
    { name: 'pads', type: 7, ints: [0, 1, 0, 1] },
    { name: 'group', type: 2, i: 1 },
  ]);
  expect(back.graph.node[1]?.attribute).toMatchObject([{ name: 'alpha', type: 1, f: 0.5 }]);
  const [weights, sizes] = back.graph.initializer;
  expect(weights).toMatchObject({ name: 'w', dims: [1, 1, 1, 2], dataType: DataType.float });
  expect([...weights!.rawData]).toEqual([...bytesOf(Float32Array.of(1.5, -2))]);
  expect([...sizes!.rawData]).toEqual([...bytesOf(BigInt64Array.of(-1n, 2n ** 40n))]);
});

test('a file that is cut is refused, or its graph lacks its end; it never hangs', () => {
  const file = encodeOnnx(MODEL);
  fc.assert(
    fc.property(fc.nat(file.length - 1), (length) => {
      let decoded: OnnxModel | undefined;
      try {
        decoded = decodeOnnx(file.subarray(0, length));
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(Error);
      }
      if (decoded) expect(decoded).not.toEqual(decodeOnnx(file));
    }),
  );
});

test('flipped bytes give a graph or an error', () => {
  const file = encodeOnnx(MODEL);
  fc.assert(
    fc.property(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
      const bytes = Uint8Array.from(file);
      bytes[at]! ^= by;
      try {
        expect(decodeOnnx(bytes).graph.node).toBeInstanceOf(Array);
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(Error);
      }
    }),
    { numRuns: 1000 },
  );
});
