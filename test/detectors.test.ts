import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Detection } from '../src/base/detection.ts';
import { OnnxEngine } from '../src/inference/engine/engine.ts';
import { ModelRegistry } from '../src/inference/registry.ts';
import { openVideo } from '../src/sources/file.ts';
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
    found.push((await engine.run({ modelId, picture: { kind: 'rgb', data, width, height } })).detections);
    if (found.length === count) break;
  }
  return found;
}

/** The car of each photograph, by eye. */
const CARS = [
  ['car1.jpg', { x: 0.04, y: 0.28, width: 0.9, height: 0.42 }],
  ['car2.jpg', { x: 0.09, y: 0.36, width: 0.85, height: 0.43 }],
] as const;

function expectOneCar(detections: Detection[], label: string, score: number, box: Detection['box']): void {
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
    const { detections } = await engine.run({ modelId, picture: { kind: 'jpeg', bytes } });
    expectOneCar(detections, 'Car', 0.7, box);
  });

  test('a worker that is inside ONNX Runtime when its time is up is given up, and harms nobody when it comes back', async () => {
    await using hasty = Object.assign(new OnnxEngine({ workers: 1, jobTimeoutMs: 3 }), {
      [Symbol.asyncDispose]: () => hasty.close(),
    });
    await hasty.load(await registry.resolve('ssd-oidv4'));
    const picture = { kind: 'jpeg', bytes: await photograph('car2.jpg') } as const;
    for (let lost = 1; lost <= 3; lost++) {
      await expect(hasty.run({ modelId: 'ssd-oidv4', picture })).rejects.toMatchObject({ code: 'WORKER_LOST' });
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

const yolox = sharedFile('models/yolox_nano.onnx');
describe.skipIf(!yolox)('YOLOX (needs ../shared/models/yolox_nano.onnx)', () => {
  test.each(CARS)('finds the car of %s where it is', async (name, box) => {
    const modelId = await load(yolox!);
    const bytes = await photograph(name);
    const { detections } = await engine.run({ modelId, picture: { kind: 'jpeg', bytes } });
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
    const { detections } = await engine.run({ modelId, picture: { kind: 'jpeg', bytes } });
    expectOneCar(detections, 'car', 0.7, box);
  });
});
