import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Detection } from '../src/base/detection.ts';
import { OnnxEngine } from '../src/inference/engine/engine.ts';
import { ModelRegistry } from '../src/inference/registry.ts';
import { openVideo } from '../src/sources/file.ts';
import { constantModel } from './support/constant-model.ts';
import type { ConstantOutput } from './support/constant-model.ts';
import { findObjects, jpegPicture, rgbPicture } from './support/objects.ts';
import { photograph, sharedFile } from './support/pictures.ts';

/** The heads on real models and real pictures. */

const cacheDir = fileURLToPath(new URL('../node_modules/.cache/sightline-test/models', import.meta.url));
const registry = new ModelRegistry({ cacheDir });
let engine: OnnxEngine;

beforeAll(() => {
  engine = new OnnxEngine({ workers: 1 });
});
afterAll(() => engine.close());

async function load(idOrPath: string): Promise<string> {
  const model = await registry.resolve(idOrPath);
  await engine.load(model);
  return model.manifest.id;
}

/** Every `step`-th frame of a clip, `count` of them, and what is found in each. */
async function detectInClip(modelId: string, path: string, step: number, count: number): Promise<Detection[][]> {
  await using video = await openVideo(path);
  const found: Detection[][] = [];
  for await (const { data, width, height, index } of video) {
    if (index % step !== 0) continue;
    found.push([...(await findObjects(engine, modelId, rgbPicture(data, width, height))).detections]);
    if (found.length === count) break;
  }
  return found;
}

/** The car of each photograph, by eye. */
const CARS = [
  ['car1.jpg', { x: 0.04, y: 0.28, width: 0.9, height: 0.42 }],
  ['car2.jpg', { x: 0.09, y: 0.36, width: 0.85, height: 0.43 }],
] as const;

function expectOneCar(detections: readonly Detection[], label: string, score: number, box: Detection['box']): void {
  const [best] = detections;
  expect(best).toMatchObject({ label });
  expect(best!.score).toBeGreaterThan(score);
  for (const side of ['x', 'y', 'width', 'height'] as const)
    expect(Math.abs(best!.box[side] - box[side])).toBeLessThan(0.06);
}

describe('SSD (ssd-oidv4)', () => {
  test.each(CARS)('finds the car of %s where it is', async (name, box) => {
    const modelId = await load('ssd-oidv4');
    const bytes = await photograph(name);
    const { detections } = await findObjects(engine, modelId, jpegPicture(bytes));
    expectOneCar(detections, 'Car', 0.7, box);
  });

  test('a worker that is inside ONNX Runtime when its time is up is given up, and harms nobody when it comes back', async () => {
    await using hasty = Object.assign(new OnnxEngine({ workers: 1, jobTimeoutMs: 3 }), {
      [Symbol.asyncDispose]: () => hasty.close(),
    });
    await hasty.load(await registry.resolve('ssd-oidv4'));
    const picture = jpegPicture(await photograph('car2.jpg'));
    for (let lost = 1; lost <= 3; lost++) {
      await expect(findObjects(hasty, 'ssd-oidv4', picture)).rejects.toMatchObject({ code: 'WORKER_LOST' });
      await expect
        .poll(() => hasty.stats(), { timeout: 10_000 })
        .toMatchObject({ strays: 0, restarts: lost, workers: 1 });
    }
  });

  const clip = sharedFile('media/car-detection.mp4');
  test.skipIf(!clip)('finds cars from above at 0.4 (needs ../shared/media/car-detection.mp4)', async () => {
    const modelId = await load('ssd-oidv4');
    const found = (await detectInClip(modelId, clip!, 6, 50)).flat();
    expect(found.filter(({ label, score }) => label === 'Car' && score >= 0.4).length).toBeGreaterThan(10);
  });
});

describe('exports, by their shapes, names and metadata, with made-up numbers', () => {
  let folder: string;
  beforeAll(async () => (folder = await mkdtemp(join(tmpdir(), 'sightline-exports-'))));
  afterAll(() => rm(folder, { recursive: true, force: true }));

  /** In 96×96: 12² + 6² + 3² boxes, all of them in the middle; one is a dog. */
  const CELLS = 189;
  const names = "{0: 'cat', 1: 'dog'}";
  const middle = [48, 48, 24, 24];
  const scores = (row: number, column: number) => (row === 3 && column === 1 ? 0.9 : 0.0001);
  const turned = (row: number, column: number) => (column < 4 ? middle[column]! : scores(row, column - 4));
  const found = [[36, 36, 60, 60, 0.9, 1]];

  test.each<[string, Record<string, ConstantOutput>, Record<string, string>]>([
    [
      'yolov8n-seg',
      {
        output0: { dims: [1, 38, CELLS], values: (r, c) => (r < 6 ? turned(c, r) : 3) },
        output1: { dims: [1, 32, 24, 24], values: () => 0 },
      },
      { task: 'segment', names },
    ],
    ['yolov8n-turned', { output0: { dims: [1, CELLS, 6], values: turned } }, { task: 'detect', names }],
    [
      'yolo26n',
      { output0: { dims: [1, 300, 6], values: (r, c) => found[r]?.[c] ?? 0 } },
      { task: 'detect', names, end2end: 'True' },
    ],
    [
      'a list of any length',
      { output0: { dims: [1, 1, 6], values: (r, c) => found[r]![c]!, declared: [1, 'found', 6] } },
      { names: "['cat', 'dog']" },
    ],
    [
      'rtdetr-l',
      { output0: { dims: [1, 300, 6], values: (r, c) => (c < 4 ? turned(r, c) / 96 : turned(r, c)) } },
      { task: 'detect', names },
    ],
    [
      'rf-detr',
      {
        dets: { dims: [1, 300, 4], values: (_, c) => middle[c]! / 96 },
        labels: { dims: [1, 300, 3], values: (r, c) => (c === 2 ? -12 : r === 3 && c === 1 ? 2.2 : -6) },
      },
      { names: '["cat", "dog"]' },
    ],
    [
      'yolo_nas_s',
      {
        graph2_flat_boxes: { dims: [1, CELLS, 4], values: (_, c) => (c < 2 ? 36 : 60) },
        graph2_scores: { dims: [1, CELLS, 2], values: scores },
      },
      { names },
    ],
  ])('%s finds the dog in the middle', async (name, outputs, metadata) => {
    const path = join(folder, `${name.replaceAll(' ', '-')}.onnx`);
    await writeFile(path, constantModel(outputs, metadata));
    const modelId = await load(path);
    // As wide as high, so that no way of fitting it in moves the middle.
    const picture = rgbPicture(new Uint8Array(96 * 96 * 3), 96, 96);
    const { detections } = await findObjects(engine, modelId, picture);
    expect(detections.map((d) => [d.label, Math.round(d.score * 10) / 10])).toEqual([['dog', 0.9]]);
    const { box } = detections[0]!;
    expect(Object.values(box).map((n) => Math.round(n * 1000) / 1000)).toEqual([0.375, 0.375, 0.25, 0.25]);
  });
});

const yolox = sharedFile('models/yolox_nano.onnx');
describe.skipIf(!yolox)('YOLOX (needs ../shared/models/yolox_nano.onnx)', () => {
  test.each(CARS)('finds the car of %s where it is', async (name, box) => {
    const modelId = await load(yolox!);
    const bytes = await photograph(name);
    const { detections } = await findObjects(engine, modelId, jpegPicture(bytes));
    expectOneCar(detections, 'car', 0.8, box);
  });

  const clip = sharedFile('media/one-by-one-person-detection.mp4');
  test.skipIf(!clip)('finds the people of the corridor, at most one or two at a time', async () => {
    const modelId = await load(yolox!);
    const persons = (await detectInClip(modelId, clip!, 20, 40)).map(
      (f) => f.filter((d) => d.label === 'person').length,
    );
    expect(persons.filter((count) => count > 0).length).toBeGreaterThan(20);
    expect(Math.max(...persons)).toBeLessThanOrEqual(2);
  });
});

// AGPL-3.0 weights: pulled only by who asks for them.
const wantsYolov8 = process.env['SIGHTLINE_TEST_YOLOV8'] === '1';
describe.skipIf(!wantsYolov8)('YOLOv8 (pulls AGPL-3.0 weights: set SIGHTLINE_TEST_YOLOV8=1)', () => {
  test.each(CARS)('finds the car of %s where it is', async (name, box) => {
    await registry.pull('yolov8n');
    const modelId = await load('yolov8n');
    const bytes = await photograph(name);
    const { detections } = await findObjects(engine, modelId, jpegPicture(bytes));
    expectOneCar(detections, 'car', 0.7, box);
  });
});
