import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { withParts } from './external-files.ts';
import { bytesOf, DataType, decodeOnnx, encodeOnnx, node } from './onnx/model.ts';
import type { OnnxTensor } from './onnx/model.ts';

const MAX = 1e6;

let dir: string;
let model: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sightline-parts-'));
  await mkdir(join(dir, 'home'));
  model = join(dir, 'home', 'best.onnx');
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** A tensor whose numbers lie in a file. */
function external(
  name: string,
  dims: number[],
  entries: Record<string, string>,
  dataType = DataType.float as number,
): OnnxTensor {
  const externalData = Object.entries(entries).map(([key, value]) => ({ key, value }));
  return { name, dims, dataType, rawData: new Uint8Array(), externalData, dataLocation: 1 };
}

function modelOf(...initializer: OnnxTensor[]): Uint8Array {
  return encodeOnnx({
    irVersion: 8,
    opset: 18,
    producerName: 'test',
    metadata: { names: "{0: 'helmet'}" },
    graph: {
      name: 'g',
      node: [
        node('Relu', ['x'], ['y']),
        node('Constant', [], ['c'], [{ name: 'value', type: 4, t: external('constant', [2], { location: 'c.bin' }) }]),
      ],
      initializer,
      input: [{ name: 'x', elemType: DataType.float, shape: [1] }],
      output: [{ name: 'y', elemType: DataType.float, shape: [1] }],
    },
  });
}

const floats = (...numbers: number[]) => bytesOf(Float32Array.from(numbers));
/** A file beside the model. */
const put = (name: string, content: Uint8Array) => writeFile(join(dir, 'home', name), content);
/** Reads a model whose constant's file is there. */
async function read(...tensors: OnnxTensor[]): Promise<Uint8Array> {
  await put('c.bin', floats(8, 9));
  const bytes = modelOf(...tensors);
  await writeFile(model, bytes);
  return await withParts(model, bytes, MAX);
}
const numbersOf = (bytes: Uint8Array) =>
  decodeOnnx(bytes).graph.initializer.map(({ rawData }) =>
    Array.from(new Float32Array(new Uint8Array(rawData).buffer)),
  );

describe('weights in other files', () => {
  test('come into the model, from several files and places, with and without lengths', async () => {
    await put('best.onnx.data', floats(1, 2, 3, 4));
    await mkdir(join(dir, 'home', 'more'));
    await put('more/w', floats(5, 6));
    const whole = await read(
      external('a', [2], { location: 'best.onnx.data', offset: '8', length: '8' }),
      external('b', [1, 2], { location: './best.onnx.data' }),
      external('c', [2], { location: 'more/w', length: '8' }),
    );
    expect(numbersOf(whole)).toEqual([
      [3, 4],
      [1, 2],
      [5, 6],
    ]);
    const plain = decodeOnnx(whole);
    expect(plain.metadata).toEqual({ names: "{0: 'helmet'}" });
    // Those of nodes, too.
    const [, constant] = plain.graph.node;
    const value = constant!.attribute[0] as unknown as { t: { rawData: Uint8Array; dataLocation: number } };
    expect(Array.from(new Float32Array(new Uint8Array(value.t.rawData).buffer))).toEqual([8, 9]);
    expect(value.t.dataLocation).toBe(0);
    // In one piece there is nothing left to do.
    expect(await withParts(model, whole, MAX)).toBe(whole);
  });

  test('what lies in the model alone stays to the byte, and so does what is no ONNX', async () => {
    for (const bytes of [new Uint8Array(), floats(1, 2, 3), Uint8Array.of(0x3a, 0x7f)]) {
      expect(await withParts(model, bytes, MAX)).toBe(bytes);
    }
  });

  test('each file that is missing is named', async () => {
    await expect(
      read(external('a', [1], { location: 'best.onnx.data' }), external('b', [1], { location: 'two.bin' })),
    ).rejects.toMatchObject({
      code: 'SOURCE_NOT_FOUND',
      message: expect.stringMatching(/best\.onnx keeps weights in "best\.onnx\.data", "two\.bin".*missing in .*home/),
    });
  });

  test.each([
    ['../secret', 'secret'],
    ['more/../../secret', 'secret'],
    ['/etc/hostname', ''],
    ['..\\secret', ''],
    ['C:secret', ''],
    ['', ''],
  ])('%s is no place beside the model', async (location, name) => {
    if (name) await writeFile(join(dir, name), floats(1));
    await expect(read(external('a', [1], { location }))).rejects.toMatchObject({
      code: 'MODEL_UNSUPPORTED',
      message: expect.stringContaining(`"${location}"`),
    });
  });

  test('a link that leads away is none either, a pair of links into one folder is', async () => {
    await writeFile(join(dir, 'secret'), floats(1));
    await symlink(join(dir, 'secret'), join(dir, 'home', 'w'));
    const tensor = external('a', [1], { location: 'w' });
    await expect(read(tensor)).rejects.toMatchObject({
      code: 'MODEL_UNSUPPORTED',
      message: expect.stringContaining('leads to'),
    });
    // As in the cache of Hugging Face: names there, contents elsewhere.
    const bytes = modelOf(tensor);
    await writeFile(join(dir, 'blob'), bytes);
    await writeFile(join(dir, 'blob of c'), floats(8, 9));
    await rm(model);
    await rm(join(dir, 'home', 'c.bin'));
    await symlink(join(dir, 'blob'), model);
    await symlink(join(dir, 'blob of c'), join(dir, 'home', 'c.bin'));
    expect(numbersOf(await withParts(model, bytes, MAX))).toEqual([[1]]);
  });

  test('a folder is no file', async () => {
    await mkdir(join(dir, 'home', 'w'));
    await expect(read(external('a', [1], { location: 'w' }))).rejects.toMatchObject({ code: 'SOURCE_UNREADABLE' });
  });

  test.each<[string, OnnxTensor, RegExp]>([
    ['a file that is cut', external('a', [4], { location: 'w' }), /w has 12 bytes.*"a" lies at 0 to 16.*cut/],
    ['a place behind its end', external('a', [1], { location: 'w', offset: '400' }), /lies at 400 to 404/],
    [
      'a length that is not that of the shape',
      external('a', [2], { location: 'w', length: '12' }),
      /shape \[2\] has 8 bytes, and 12/,
    ],
    ['a place that is no number', external('a', [1], { location: 'w', offset: '-4' }), /offset "-4"/],
    [
      'another file, by its sum',
      external('a', [1], { location: 'w', checksum: '0'.repeat(40) }),
      /w has the sha1 [0-9a-f]{40} instead/,
    ],
  ])('%s: damaged, with the figures', async (_what, tensor, words) => {
    await put('w', floats(1, 2, 3));
    await expect(read(tensor)).rejects.toMatchObject({
      code: 'MODEL_DAMAGED',
      message: expect.stringMatching(words),
    });
  });

  test('a sum that is right is right', async () => {
    await put('w', floats(7));
    const checksum = createHash('sha1').update(floats(7)).digest('hex').toUpperCase();
    expect(numbersOf(await read(external('a', [1], { location: 'w', checksum })))).toEqual([[7]]);
  });

  test('types of less than a byte, and of none that is known', async () => {
    await put('w', Uint8Array.of(1, 2, 3));
    const INT4 = 22;
    const whole = await read(
      external('a', [5], { location: 'w' }, INT4),
      external('b', [9], { location: 'w', offset: '1' }, 99),
    );
    expect(decodeOnnx(whole).graph.initializer.map(({ rawData }) => Array.from(rawData))).toEqual([
      [1, 2, 3],
      [2, 3],
    ]);
  });

  test('more than the limit together, also by one file that is asked for again and again', async () => {
    await put('w', new Uint8Array(4000));
    const tensors = Array.from({ length: 300 }, (_, i) => external(`t${i}`, [1000], { location: 'w' }));
    await expect(read(...tensors)).rejects.toMatchObject({
      code: 'SOURCE_UNREADABLE',
      message: expect.stringContaining(`more than ${MAX}`),
    });
  });
});
