import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { floatBytes, intBytes, writeTflite } from '../../../test/support/tflite-writer.ts';
import { SightlineError } from '../../base/errors.ts';
import { CATALOGUE } from '../models/catalogue.ts';
import { readBuiltIn } from '../sources.ts';
import { convertTflite } from './convert.ts';
import { halfToFloat } from './half.ts';
import { readTflite } from './reader.ts';

const real = await readBuiltIn(CATALOGUE.find((m) => m.id === 'hand-lite')!);

/** A file that is nearly all structure: a flipped byte hits a table, an offset, a length or a number of an option. */
const small = writeTflite({
  tensors: [
    { name: 'x', shape: [1, 6, 5, 2] },
    { name: 'w', shape: [3, 2, 2, 2], data: floatBytes(Array.from({ length: 24 }, (_, i) => i)) },
    { name: 'b16', shape: [3], type: 1, data: new Uint8Array(6) },
    { name: 'b', shape: [3] },
    { name: 'c', shape: [1, 3, 3, 3] },
    { name: 'by', shape: [4, 2], type: 2, data: intBytes([0, 0, 1, 0, 0, 1, 0, 0]) },
    { name: 'p', shape: [1, 4, 4, 3] },
    { name: 'axes', shape: [2], type: 2, data: intBytes([1, 2]) },
    { name: 'm', shape: [1, 3] },
    { name: 'shape', shape: [2], type: 2, data: intBytes([1, 3]) },
    { name: 'y', shape: [1, 3] },
  ],
  operators: [
    { code: 6, inputs: [2], outputs: [3] },
    {
      code: 3,
      inputs: [0, 1, 3],
      outputs: [4],
      options: [
        [1, 'int', 2],
        [2, 'int', 2],
        [3, 'byte', 1],
      ],
    },
    { code: 34, inputs: [4, 5], outputs: [6] },
    { code: 40, inputs: [6, 7], outputs: [8] },
    { code: 22, inputs: [8, 9], outputs: [10] },
  ],
  inputs: [0],
  outputs: [10],
});

/** Converts, or refuses with a code that says why. Everything else (a crash of the importer) fails the test. */
function outcome(bytes: Uint8Array): string {
  try {
    convertTflite(bytes, 'fuzzed.tflite');
    return 'converted';
  } catch (thrown) {
    if (!(thrown instanceof SightlineError)) throw thrown;
    if (thrown.code !== 'MODEL_DAMAGED' && thrown.code !== 'MODEL_UNSUPPORTED') throw thrown;
    expect(thrown.message).toContain('fuzzed.tflite');
    return thrown.code;
  }
}

test('reads what was written', () => {
  const graph = readTflite(small, 'small');
  expect(graph.operators.map((o) => o.kind)).toEqual(['DEQUANTIZE', 'CONV_2D', 'PAD', 'MEAN', 'RESHAPE']);
  expect(graph.operators[1]).toMatchObject({
    inputs: [0, 1, 3],
    outputs: [4],
    options: { padding: 0, strideW: 2, strideH: 2, activation: 1, dilationW: 1, dilationH: 1 },
  });
  expect(graph.tensors[0]).toEqual({ name: 'x', shape: [1, 6, 5, 2], type: 0 });
  expect([...graph.tensors[7]!.data!]).toEqual([...intBytes([1, 2])]);
  expect(outcome(small)).toBe('converted');
});

describe('a file that is not whole', () => {
  test('cut anywhere: refused by name', () => {
    for (let length = 0; length < small.length - 8; length += 1)
      expect(outcome(small.subarray(0, length))).not.toBe('converted');
    for (const part of [0.001, 0.1, 0.5, 0.9, 0.999]) {
      expect(outcome(real.subarray(0, Math.floor(real.length * part)))).toBe('MODEL_DAMAGED');
    }
  });

  test('garbage: refused by name', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect(outcome(bytes)).toBe('MODEL_DAMAGED');
        const named = Uint8Array.from([0, 0, 0, 0, ...Buffer.from('TFL3'), ...bytes]);
        new DataView(named.buffer).setUint32(0, 8, true);
        outcome(named);
      }),
      { numRuns: 500 },
    );
  });

  test('flipped bytes never crash or hang the importer', () => {
    const flips = (length: number) =>
      fc.array(fc.tuple(fc.nat(length - 1), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(flips(small.length), (changes) => {
        const bytes = Uint8Array.from(small);
        for (const [at, by] of changes) bytes[at]! ^= by;
        const startMs = performance.now();
        outcome(bytes);
        expect(performance.now() - startMs).toBeLessThan(1000);
      }),
      { numRuns: 3000 },
    );
  });

  test('flipped bytes in the structure of a real model', { timeout: 20_000 }, () => {
    // The tables lie behind the weights: the last 54 kB of this file.
    const changes = fc.array(fc.tuple(fc.nat(54_000), fc.integer({ min: 1, max: 255 })), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(changes, (flips) => {
        const bytes = Uint8Array.from(real);
        for (const [back, by] of flips) bytes[bytes.length - 1 - back]! ^= by;
        outcome(bytes);
      }),
      { numRuns: 60 },
    );
  });

  test('many tensors over one buffer do not fill the memory', () => {
    const count = 64;
    const sharing = (share: boolean) =>
      writeTflite({
        tensors: [
          { name: 'x', shape: [1, 512] },
          { name: 'c', shape: [512], data: new Uint8Array(2048) },
          ...Array.from({ length: count }, (_, i) => ({
            name: `c${i}`,
            shape: [512],
            ...(share ? { dataOf: 1 } : { data: new Uint8Array(2048) }),
          })),
          ...Array.from({ length: count }, (_, i) => ({ name: `y${i}`, shape: [1, 512] })),
        ],
        operators: Array.from({ length: count }, (_, i) => ({
          code: 0,
          inputs: [i === 0 ? 0 : count + 1 + i, i + 2],
          outputs: [count + 2 + i],
        })),
        inputs: [0],
        outputs: [2 * count + 1],
      });
    expect(outcome(sharing(false))).toBe('converted');
    expect(outcome(sharing(true))).toBe('MODEL_UNSUPPORTED');
  });

  test('lists that lie over each other do not fill the memory', () => {
    const scales = Array.from({ length: 64 }, () => 1);
    const quantisation = { scales, zeroPoints: [0], axis: 0 };
    const file = writeTflite({
      tensors: [
        { name: 'x', shape: [1, 64] },
        { name: 'y', shape: [1, 64] },
        ...Array.from({ length: 200 }, (_, i) => ({ name: `t${i}`, shape: [64], type: 9, quantisation })),
      ],
      operators: [{ code: 19, inputs: [0], outputs: [1] }],
      inputs: [0],
      outputs: [1],
    });
    expect(outcome(file)).toBe('converted');
    // Each list of scales reaches to the end of the file.
    const view = new DataView(file.buffer);
    let lists = 0;
    for (let at = 0; at + 8 <= file.length; at += 4) {
      if (view.getUint32(at, true) !== 64 || view.getFloat32(at + 4, true) !== 1) continue;
      view.setUint32(at, Math.floor((file.length - at - 4) / 4), true);
      lists += 1;
    }
    expect(lists).toBe(200);
    expect(() => convertTflite(file, 'made.tflite')).toThrow(/its lists overlap/);
  });
});

describe('a sound file that is not supported is not called damaged', () => {
  const small = (more: Partial<Parameters<typeof writeTflite>[0]>) =>
    writeTflite({
      tensors: [
        { name: 'x', shape: [1, 4] },
        { name: 'y', shape: [1, 4] },
      ],
      operators: [{ code: 19, inputs: [0], outputs: [1] }],
      inputs: [0],
      outputs: [1],
      ...more,
    });
  const refusal = (bytes: Uint8Array) => {
    try {
      convertTflite(bytes, 'mine.tflite');
    } catch (thrown) {
      return `${(thrown as SightlineError).code} ${(thrown as Error).message}`;
    }
    return undefined;
  };

  test('several subgraphs, with what uses them', () => {
    expect(refusal(small({ moreSubgraphs: ['decode'] }))).toMatch(
      /^MODEL_UNSUPPORTED mine\.tflite: it holds 2 subgraphs \("0", "decode"\), and only files with one/,
    );
    const loop = small({ operators: [{ code: 119, inputs: [0], outputs: [1] }], moreSubgraphs: ['cond', 'body'] });
    expect(refusal(loop)).toMatch(/^MODEL_UNSUPPORTED .*3 subgraphs \("0", "cond", "body"\), used by WHILE/);
  });

  test('another version of the schema', () => {
    expect(refusal(small({ version: 2 }))).toMatch(/^MODEL_UNSUPPORTED .*version 2 of the TFLite schema/);
  });

  test('a state that is kept from run to run', () => {
    const tensors = [
      { name: 'x', shape: [1, 4] },
      { name: 'y', shape: [1, 4] },
      { name: 'memory', shape: [1, 4], isVariable: true },
    ];
    const file = small({ tensors, operators: [{ code: 0, inputs: [0, 2], outputs: [1] }] });
    expect(refusal(file)).toMatch(/^MODEL_UNSUPPORTED .*ADD keeps a state in "memory"/);
  });

  test('more dimensions than there are', () => {
    const shape = Array.from({ length: 9 }, () => 1);
    expect(refusal(small({ tensors: [{ name: 'x', shape }] }))).toMatch(/^MODEL_UNSUPPORTED .*9 dimensions/);
  });

  test('no input', () => {
    const tensors = [
      { name: 'x', shape: [1, 4], data: floatBytes([1, 2, 3, 4]) },
      { name: 'y', shape: [1, 4] },
    ];
    expect(refusal(small({ tensors, inputs: [] }))).toMatch(/^MODEL_UNSUPPORTED .*no input/);
  });

  test('names of any length, and names that are taken', () => {
    const name = 'model/fused;'.repeat(200);
    const tensors = [
      { name, shape: [1, 4] },
      { name, shape: [1, 4] },
    ];
    expect(refusal(small({ tensors }))).toBeUndefined();
  });
});

test('half precision: every kind of number', () => {
  const bits = [0x0000, 0x8000, 0x3c00, 0xc000, 0x7bff, 0x0001, 0x83ff, 0x0400, 0x7c00, 0xfc00, 0x7e00, 0x3555];
  const values = halfToFloat(new Uint8Array(Uint16Array.from(bits).buffer));
  const expected = [
    0,
    -0,
    1,
    -2,
    65_504,
    2 ** -24,
    -1023 * 2 ** -24,
    2 ** -14,
    Infinity,
    -Infinity,
    NaN,
    0.333251953125,
  ];
  expect([...values]).toEqual(expected);
});
