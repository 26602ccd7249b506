import { existsSync } from 'node:fs';
import { copyFile, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { constantModel } from '../../test/support/constant-model.ts';
import { attr, DataType, encodeOnnx, node, tensor } from './onnx/model.ts';
import { sha256Of } from './model-store.ts';
import { ModelRegistry } from './registry.ts';

const YOLOX = fileURLToPath(new URL('../../../shared/models/yolox_nano.onnx', import.meta.url));
const PALM = fileURLToPath(new URL('../../node_modules/@mediapipe/hands/hand_landmark_lite.tflite', import.meta.url));

let dir: string;
let registry: ModelRegistry;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sightline-registry-'));
  registry = new ModelRegistry({ cacheDir: join(dir, 'cache') });
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** In it a model that was not proven yet cannot be: its first run would have to end within no time at all. */
const withoutTime = () => new ModelRegistry({ cacheDir: join(dir, 'cache'), proofTimeoutMs: 0 });

interface TinyForm {
  readonly version?: number;
  /** Of the input. */
  readonly shape?: (number | string)[];
  readonly input?: DataType;
  readonly output?: DataType;
  /** Where its weights lie. */
  readonly location?: string;
}

/** A tiny model whose output has the shape of a YOLOv8 with two classes at 32×32: 4² + 2² + 1² = 21 cells. */
function tinyYolo({
  version = 1,
  shape = [1, 3, 32, 32],
  input = DataType.float,
  output = DataType.float,
  location,
}: TinyForm = {}): Uint8Array {
  const rows = tensor.float('rows', [1, 6, 21], new Float32Array(126));
  const externalData = location === undefined ? [] : [{ key: 'location', value: location }];
  return encodeOnnx({
    irVersion: 8,
    opset: 18,
    producerName: 'test',
    metadata: { version: String(version), names: "{0: 'left', 1: 'right'}" },
    graph: {
      name: 'tiny',
      node: [
        node('Cast', ['images'], ['values'], [attr.int('to', DataType.float)]),
        node('ReduceMean', ['values', 'axes'], ['mean'], [attr.int('keepdims', 0)]),
        node('Reshape', ['mean', 'one each'], ['means']),
        node('Add', ['means', 'rows'], ['sums']),
        node('Cast', ['sums'], ['output0'], [attr.int('to', output)]),
      ],
      initializer: [
        tensor.int64('axes', [3], [1, 2, 3]),
        tensor.int64('one each', [3], [-1, 1, 1]),
        location === undefined ? rows : { ...rows, rawData: new Uint8Array(), externalData, dataLocation: 1 },
      ],
      input: [{ name: 'images', elemType: input, shape }],
      output: [{ name: 'output0', elemType: output, shape: [shape[0]!, 6, 21] }],
    },
  });
}

async function tinyFile(name = 'Tiny Model.onnx', version = 1): Promise<string> {
  const path = join(dir, name);
  await writeFile(path, tinyYolo({ version }));
  return path;
}

describe('built-in models', () => {
  test('are converted and proven once, then taken from the cache', async () => {
    const first = await registry.resolve('hand-lite');
    expect(first.manifest).toMatchObject({ id: 'hand-lite', licence: { spdx: 'Apache-2.0' }, builtIn: true });
    const bytes = await readFile(first.onnxPath);
    expect(first.onnxPath).toContain(sha256Of(bytes));
    const again = await withoutTime().resolve('hand-lite');
    expect(again).toEqual(first);
  });

  test('a damaged conversion in the cache is noticed and made anew', async () => {
    const { onnxPath } = await registry.resolve('hand-lite');
    const whole = await readFile(onnxPath);
    await truncate(onnxPath, 1000);
    expect((await withoutTime().resolve('hand-lite')).onnxPath).toBe(onnxPath);
    expect(sha256Of(await readFile(onnxPath))).toBe(sha256Of(whole));
  });

  test('damaged records are made anew', async () => {
    const { onnxPath } = await registry.resolve('hand-lite');
    for (const folder of ['converted', 'proofs']) {
      const [name] = await readdir(join(dir, 'cache', folder));
      await writeFile(join(dir, 'cache', folder, name!), '{"onnx": "../../../etc/passwd"');
    }
    expect((await registry.resolve('hand-lite')).onnxPath).toBe(onnxPath);
  });

  test('many at once, in one process and in several registries, get one and the same', async () => {
    const others = [registry, registry, new ModelRegistry({ cacheDir: join(dir, 'cache') })];
    const models = await Promise.all(others.map((r) => r.resolve('palm-lite')));
    expect(new Set(models.map((m) => m.onnxPath)).size).toBe(1);
    expect(await readdir(join(dir, 'cache', 'files'))).toHaveLength(1);
  });

  test('a model that cannot prove itself is not handed out, and nothing is remembered of it', async () => {
    await expect(withoutTime().resolve('hand-lite')).rejects.toMatchObject({
      code: 'MODEL_CRASHED',
      message: expect.stringContaining('hand-lite'),
    });
    expect((await registry.resolve('hand-lite')).manifest.id).toBe('hand-lite');
  });

  test('a file that is a built-in model is that model', async () => {
    const path = join(dir, 'renamed.tflite');
    await copyFile(PALM, path);
    expect((await registry.resolve(path)).manifest.id).toBe('hand-lite');
  });
});

test('every model has a state; one that is not here says how to get it', async () => {
  const states = Object.fromEntries((await registry.list()).map((e) => [e.manifest.id, e.state]));
  expect(states).toEqual({
    'ssd-oidv4': 'built-in',
    'palm-lite': 'built-in',
    'palm-full': 'built-in',
    'hand-lite': 'built-in',
    'hand-full': 'built-in',
    yolov8n: 'available',
    'yolox-nano': 'available',
  });
  await expect(registry.resolve('yolov8n')).rejects.toMatchObject({
    code: 'MODEL_UNAVAILABLE',
    message: expect.stringContaining('sightline models pull yolov8n'),
  });
  await expect(registry.resolve('yolov9')).rejects.toMatchObject({
    code: 'MODEL_UNKNOWN',
    message: expect.stringContaining('"yolov9"'),
  });
  await expect(registry.resolve('./nothing.onnx')).rejects.toMatchObject({ code: 'SOURCE_NOT_FOUND' });
  await expect(registry.resolve(`${dir}/`)).rejects.toMatchObject({ code: 'SOURCE_UNREADABLE' });
});

describe.skipIf(!existsSync(YOLOX))('yolox-nano (skipped without ../shared/models/yolox_nano.onnx)', () => {
  test('is known by its checksum when it is given as a path', async () => {
    const path = join(dir, 'whatever.onnx');
    await copyFile(YOLOX, path);
    const { manifest, onnxPath } = await registry.resolve(path);
    expect(manifest).toMatchObject({ id: 'yolox-nano', head: { kind: 'yolox', strides: [8, 16, 32] } });
    expect(onnxPath.startsWith(join(dir, 'cache'))).toBe(true);
  });

  test('is pulled from a file with the right checksum, and from no other', async () => {
    await expect(registry.pull('yolox-nano', { from: PALM })).rejects.toMatchObject({
      code: 'MODEL_DAMAGED',
      message: expect.stringMatching(/yolox-nano: .*hand_landmark_lite\.tflite has the sha256/),
    });
    await registry.pull('yolox-nano', { from: YOLOX });
    // Labels of one's own make another model of it, which needs a name of its own.
    const labels = Array.from({ length: 80 }, (_, i) => `kind ${i}`);
    expect((await registry.import(YOLOX, { id: 'mine', labels })).manifest).toMatchObject({ id: 'mine', labels });
    const renamed = join(dir, 'yolox-nano.onnx');
    await copyFile(YOLOX, renamed);
    await expect(registry.import(renamed, { labels })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('--id'),
    });
    await rm(join(dir, 'cache', 'manifests'), { recursive: true });
    expect((await withoutTime().resolve('yolox-nano')).manifest.id).toBe('yolox-nano');
    expect((await registry.import(YOLOX)).manifest.id).toBe('yolox-nano');
  });

  test('cut in half it is refused by name', async () => {
    const path = join(dir, 'half.onnx');
    await copyFile(YOLOX, path);
    await truncate(path, Math.floor((await stat(YOLOX)).size / 2));
    await expect(registry.resolve(path)).rejects.toMatchObject({
      code: 'MODEL_DAMAGED',
      message: expect.stringContaining('half.onnx'),
    });
  });

  test('a copy that no checksum knows is told from its tensors', async () => {
    const path = join(dir, 'mine.onnx');
    // Field 15 is none that ONNX knows: the file changes, the model does not.
    await writeFile(path, Buffer.concat([await readFile(YOLOX), Buffer.from([0x7a, 0x00])]));
    const { manifest } = await registry.resolve(path);
    expect(manifest).toMatchObject({
      id: 'mine',
      head: { kind: 'yolox', output: 'output', strides: [8, 16, 32] },
      input: { width: 416, height: 416, colour: 'bgr', fit: 'letterbox-corner' },
    });
    expect(manifest.labels).toHaveLength(80);
  });
});

describe("the user's own models", () => {
  test('are imported under a name and survive without their file', async () => {
    const path = await tinyFile();
    const { manifest } = await registry.import(path);
    expect(manifest).toMatchObject({
      id: 'tiny-model',
      labels: ['left', 'right'],
      head: { kind: 'yolov8', output: 'output0' },
    });
    await rm(path);
    const again = await withoutTime().resolve('tiny-model');
    expect(again.manifest).toEqual(manifest);
    expect((await registry.list()).find((e) => e.manifest.id === 'tiny-model')?.state).toBe('imported');
  });

  test('take what the user says', async () => {
    const { manifest } = await registry.import(await tinyFile(), {
      id: 'gates',
      labels: ['open', 'shut'],
      input: { fit: 'stretch' },
      overrides: { title: 'Gates', defaults: { confidence: 0.3, iou: 0.6, perClass: { open: 0.2 } } },
    });
    expect(manifest).toMatchObject({
      id: 'gates',
      title: 'Gates',
      labels: ['open', 'shut'],
      defaults: { confidence: 0.3 },
    });
    expect(manifest.input).toMatchObject({ fit: 'stretch', width: 32, std: [255, 255, 255] });
  });

  test('of a kind that would be guessed wrong by its shapes are told by names and first run, and run', async () => {
    // RF-DETR with three classes: both outputs have four columns, and one query of 300 is sure.
    const path = join(dir, 'rf-detr.onnx');
    const bytes = constantModel({
      dets: { dims: [1, 300, 4], values: (row, column) => (column < 2 ? ((row * 7) % 97) / 97 : 0.1) },
      labels: { dims: [1, 300, 4], values: (row, column) => (row === 0 && column === 1 ? 3 : column === 3 ? -9 : -6) },
    });
    await writeFile(path, bytes);
    const { manifest } = await registry.import(path, { labels: ['cat', 'dog', 'bird'] });
    expect(manifest).toMatchObject({
      labels: ['cat', 'dog', 'bird'],
      head: { kind: 'detr', logits: 'labels', boxes: 'dets', activation: 'sigmoid', background: 'last' },
    });
    expect((await withoutTime().resolve('rf-detr')).manifest).toEqual(manifest);
    await expect(registry.import(path, { id: 'other', head: 'yolov8' })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('use --head rf-detr'),
    });
    // What was refused left no name behind.
    await expect(registry.get('other')).rejects.toMatchObject({ code: 'MODEL_UNKNOWN' });
  });

  test('with weights in another file: one model with one checksum, without either file', async () => {
    const path = join(dir, 'best.onnx');
    const weights = new Float32Array(126);
    await writeFile(path, tinyYolo({ location: 'best.onnx.data' }));
    await expect(registry.import(path)).rejects.toMatchObject({
      code: 'SOURCE_NOT_FOUND',
      message: expect.stringContaining('"best.onnx.data"'),
    });
    await writeFile(join(dir, 'best.onnx.data'), weights);
    const { manifest, onnxPath } = await registry.import(path);
    expect(manifest).toMatchObject({ id: 'best', labels: ['left', 'right'] });
    expect((await registry.resolve(path)).manifest).toEqual(manifest);
    // Other weights are another model.
    await writeFile(join(dir, 'best.onnx.data'), weights.fill(0.001, 125));
    await expect(registry.import(path)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('--replace'),
    });
    await rm(path);
    await rm(join(dir, 'best.onnx.data'));
    expect(await withoutTime().resolve('best')).toEqual({ manifest, onnxPath });
  });

  test('a name of an earlier import is taken over only by who says so', async () => {
    const path = await tinyFile('gate.onnx');
    const first = await registry.import(path);
    // Nothing would change.
    expect(await registry.import(path)).toEqual(first);
    const labels = ['open', 'shut'];
    for (const [file, options] of [
      [path, { labels }],
      [await tinyFile('other.onnx', 2), { id: 'gate' }],
    ] as const) {
      await expect(registry.import(file, options)).rejects.toMatchObject({
        code: 'USAGE',
        message: expect.stringMatching(/"gate" of an earlier import.*--replace/),
      });
    }
    expect((await registry.get('gate')).labels).toEqual(['left', 'right']);
    await registry.import(path, { labels, replace: true });
    expect((await registry.get('gate')).labels).toEqual(labels);
    // A name of Sightline's own is nobody's.
    await expect(registry.import(path, { id: 'yolov8n', replace: true })).rejects.toMatchObject({ code: 'USAGE' });
  });

  test('what options and manifest both say is refused: one of them would be lost', async () => {
    const path = await tinyFile();
    const input = {
      width: 32,
      height: 32,
      layout: 'nchw',
      colour: 'rgb',
      mean: [0, 0, 0],
      std: [1, 1, 1],
      fit: 'stretch',
    } as const;
    for (const options of [
      { labels: ['a', 'b'], overrides: { labels: ['c', 'd'] } },
      { head: 'yolov8', overrides: { head: { kind: 'yolov8' } } },
      { input: { fit: 'letterbox' }, overrides: { input } },
      { size: { width: 64, height: 32 }, overrides: { input } },
    ] as const) {
      await expect(registry.import(path, options)).rejects.toMatchObject({
        code: 'USAGE',
        message: expect.stringContaining('leave one of them out'),
      });
    }
  });

  test('with every dimension open: a size, or a manifest, is enough, and the next one has to say it again', async () => {
    const path = join(dir, 'open.onnx');
    await writeFile(path, tinyYolo({ shape: ['batch_size', 'num_channels', 'height', 'width'] }));
    const size = { width: 32, height: 32 };
    await expect(registry.resolve(path)).rejects.toMatchObject({ message: expect.stringContaining('--size') });
    expect((await registry.resolve(path, { size })).manifest.input).toMatchObject({ ...size, layout: 'nchw' });
    await expect(registry.resolve(path)).rejects.toMatchObject({ message: expect.stringContaining('--size') });
    // Another size is another run, also where its numbers are the same.
    for (const other of [
      { width: 64, height: 32 },
      { width: 32, height: 64 },
    ]) {
      const id = `for-${other.width}`;
      expect((await registry.import(path, { id, head: 'tensors', size: other })).manifest.input).toMatchObject(other);
    }
    const { manifest } = await registry.import(path, { size });
    expect(manifest.input).toMatchObject({ ...size, layout: 'nchw', colour: 'rgb' });
    const overrides = { input: { ...manifest.input, fit: 'stretch' }, head: { kind: 'yolov8' } } as const;
    expect((await registry.import(path, { id: 'said', overrides })).manifest.input.fit).toBe('stretch');
    // Of a named model the size may be said, too; one that it cannot have is refused.
    expect((await registry.resolve('said', { size })).manifest.input).toMatchObject(size);
    await registry.import(await tinyFile('fixed.onnx'));
    await expect(registry.resolve('fixed', { size: { width: 64, height: 32 } })).rejects.toMatchObject({
      code: 'MODEL_UNSUPPORTED',
      message: expect.stringContaining('not pictures of 64×32'),
    });
  });

  test('what is called ready runs: other types and numbers of pictures are taken or refused here', async () => {
    const shape = [4, 32, 32, 3];
    const path = join(dir, 'bytes.onnx');
    await writeFile(path, tinyYolo({ shape, input: DataType.uint8, output: DataType.float16 }));
    const { manifest, notes } = await registry.import(path);
    expect(notes).toEqual([expect.stringContaining('4 pictures each time')]);
    expect(manifest.input).toMatchObject({ layout: 'nhwc', mean: [0, 0, 0], std: [1, 1, 1], width: 32 });
    await expect(registry.import(path, { id: 'scaled', input: { std: [255, 255, 255] } })).rejects.toMatchObject({
      code: 'MODEL_UNSUPPORTED',
      message: expect.stringContaining('bytes.onnx takes uint8'),
    });
    expect((await registry.list()).filter(({ state }) => state === 'imported')).toHaveLength(1);
  });

  test('cannot take a name that is bad or taken', async () => {
    const path = await tinyFile();
    for (const id of ['ssd-oidv4', '../up', 'UPPER', '']) {
      await expect(registry.import(path, { id })).rejects.toMatchObject({
        code: 'USAGE',
        message: expect.stringContaining('--id'),
      });
    }
  });

  test('a TFLite model is converted on import, and again from the kept source', async () => {
    const path = join(dir, 'hand.tflite');
    await copyFile(PALM, path);
    const { onnxPath } = await registry.import(path, { id: 'my-hand', head: 'tensors' });
    await rm(path);
    await rm(onnxPath);
    expect((await registry.resolve('my-hand')).onnxPath).toBe(onnxPath);
  });

  test('a damaged source that is gone is reported by name', async () => {
    const path = await tinyFile();
    const { onnxPath } = await registry.import(path);
    await writeFile(onnxPath, 'damaged');
    await rm(path);
    await expect(registry.resolve('tiny-model')).rejects.toMatchObject({
      code: 'SOURCE_NOT_FOUND',
      message: expect.stringContaining('Tiny Model.onnx'),
    });
  });

  test('a manifest file of the configuration brings a model', async () => {
    const path = await tinyFile('tiny.onnx');
    const { manifest } = await registry.resolve(path);
    const own = { ...manifest, id: 'configured', source: { kind: 'file', path: 'tiny.onnx' } };
    const file = join(dir, 'manifest.json');
    await writeFile(file, JSON.stringify(own));
    const configured = new ModelRegistry({ cacheDir: join(dir, 'other'), manifests: [file] });
    expect((await configured.resolve('configured')).manifest).toMatchObject({ id: 'configured', source: { path } });

    await writeFile(file, JSON.stringify({ ...own, sha256: '0'.repeat(64) }));
    await expect(configured.resolve('configured')).rejects.toMatchObject({
      code: 'MODEL_DAMAGED',
      message: expect.stringContaining('tiny.onnx'),
    });
    await writeFile(file, JSON.stringify({ ...own, input: { ...own.input, colour: 'cmyk' } }));
    await expect(configured.list()).rejects.toMatchObject({
      code: 'CONFIG_VALUE_BAD',
      message: expect.stringMatching(/manifest\.json: input\.colour/),
    });
    await rm(file);
    await expect(configured.list()).rejects.toMatchObject({ code: 'CONFIG_UNREADABLE' });
  });

  test('a file over the limit is refused before it is read', async () => {
    const small = new ModelRegistry({ cacheDir: join(dir, 'cache'), modelBytesMax: 100 });
    await expect(small.resolve(await tinyFile())).rejects.toMatchObject({
      code: 'SOURCE_UNREADABLE',
      message: expect.stringContaining('more than 100'),
    });
  });
});
