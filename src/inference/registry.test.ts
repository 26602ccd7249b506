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

/** A tiny model whose output has the shape of a YOLOv8 with two classes at 32×32: 4² + 2² + 1² = 21 cells. */
function tinyYolo(version: number): Uint8Array {
  return encodeOnnx({
    irVersion: 8,
    opset: 18,
    producerName: 'test',
    metadata: { version: String(version), names: "{0: 'left', 1: 'right'}" },
    graph: {
      name: 'tiny',
      node: [
        node('ReduceMean', ['images', 'axes'], ['mean'], [attr.int('keepdims', 0)]),
        node('Add', ['mean', 'rows'], ['output0']),
      ],
      initializer: [tensor.int64('axes', [3], [1, 2, 3]), tensor.float('rows', [1, 6, 21], new Float32Array(126))],
      input: [{ name: 'images', elemType: DataType.float, shape: [1, 3, 32, 32] }],
      output: [{ name: 'output0', elemType: DataType.float, shape: [1, 6, 21] }],
    },
  });
}

async function tinyFile(name = 'Tiny Model.onnx', version = 1): Promise<string> {
  const path = join(dir, name);
  await writeFile(path, tinyYolo(version));
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
      message: expect.stringContaining('what fits is --head rf-detr'),
    });
    // What was refused left no name behind.
    await expect(registry.get('other')).rejects.toMatchObject({ code: 'MODEL_UNKNOWN' });
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
