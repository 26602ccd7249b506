import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../../base/clock.ts';
import { SightlineError, toSightlineError } from '../../base/errors.ts';
import { checkJpeg, decodeJpegRgbx } from '../../media/jpeg.ts';
import { BufferPool } from '../../media/pool.ts';
import { expandRgb, type RgbxPicture } from '../../vision/preprocess.ts';
import type { ModelManifest } from '../manifest.ts';
import type { LoadRequest, RunRequest, WorkerReply, WorkerRequest, WorkerSettings } from './messages.ts';
import { ModelRunner } from './runner.ts';

/** The worker thread of `OnnxEngine`: takes one frame after the other and runs each to completion. */

const settings = workerData as WorkerSettings;
const port = parentPort!;
const models = new Map<string, { readonly runner: ModelRunner; readonly manifest: ModelManifest }>();
const slots: Uint8Array[] = [];
// One frame is decoded at a time, but cameras of several sizes take turns.
const pool = new BufferPool({ buffersPerShape: 2, shapesMax: 4 });

/** Bounded by the engine: it has one run per slot and one load per model on the way. */
const waiting: WorkerRequest[] = [];
let working = false;

port.on('message', (request: WorkerRequest) => {
  if (request.kind === 'close') waiting.length = 0;
  waiting.push(request);
  if (!working) void work();
});
reply({ kind: 'ready' });

async function work(): Promise<void> {
  working = true;
  for (let request = waiting.shift(); request; request = waiting.shift()) {
    if (request.kind === 'close') return close();
    try {
      reply(request.kind === 'load' ? await load(request) : await run(request));
    } catch (thrown) {
      const { code, message } = toSightlineError(thrown, 'INFERENCE_FAILED');
      reply({ kind: 'failed', id: request.id, code, message });
    }
  }
  working = false;
}

async function load({ id, model, profile }: LoadRequest): Promise<WorkerReply> {
  const { runner, report, warmUpMs } = await ModelRunner.open(model, settings.session, profile);
  await models.get(model.manifest.id)?.runner.release();
  models.set(model.manifest.id, { runner, manifest: model.manifest });
  return { kind: 'loaded', id, report, warmUpMs };
}

async function run(request: RunRequest): Promise<WorkerReply> {
  const startedTimeMs = systemClock.now();
  const model = models.get(request.modelId);
  if (!model) throw new SightlineError('MODEL_UNKNOWN', `the model ${request.modelId} is not loaded`);
  if (request.memory) slots[request.slot] = new Uint8Array(request.memory);
  const bytes = slots[request.slot]!.subarray(0, request.bytes);

  const decodeMs = performance.now();
  const { width, height } = request.rgb ?? checkJpeg(bytes, settings.imageLimits);
  const pooled = pool.acquire(width, height, 4);
  const buffer = pooled ?? Buffer.allocUnsafeSlow(width * height * 4);
  try {
    const picture: RgbxPicture = request.rgb ? expandRgb(bytes, width, height, buffer) : decodeJpegRgbx(bytes, buffer);
    const decode = performance.now() - decodeMs;
    const { defaults } = model.manifest;
    const { detections, capped, timesMs } = await model.runner.run(picture, {
      confidence: request.confidence ?? defaults.confidence,
      iou: request.iou ?? defaults.iou,
      // Who asks for a confidence means it for every class.
      ...(defaults.perClass && request.confidence === undefined && { perClass: defaults.perClass }),
    });
    const stagesMs = { decode, ...timesMs };
    return { kind: 'done', id: request.id, outcome: { detections, capped, width, height, stagesMs, startedTimeMs } };
  } finally {
    if (pooled) pool.release(pooled);
  }
}

async function close(): Promise<void> {
  await Promise.all(Array.from(models.values(), ({ runner }) => runner.release()));
  port.close();
}

function reply(message: WorkerReply): void {
  port.postMessage(message);
}
