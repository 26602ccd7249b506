import { parentPort, workerData } from 'node:worker_threads';
import { env, InferenceSession, Tensor } from 'onnxruntime-node';
import { systemClock } from '../../src/base/clock.ts';
import type { FrameOutcome } from '../../src/base/frame.ts';
import { Priority, type Sample } from '../../src/base/sample.ts';
import type { ReadyModel } from '../../src/inference/manifest.ts';
import { decodeJpegRgbx, readJpegHeader } from '../../src/media/jpeg.ts';
import { encodeServerMessage } from '../../src/protocol/video-codec.ts';
import { outcomeMessage } from '../../src/sessions/messages.ts';
import { Detector } from '../../src/vision/detector.ts';
import { Preprocessor } from '../../src/vision/preprocess.ts';
import type { DetectorHead, FloatTensor } from '../../src/vision/types.ts';
import { keepPace, type Pace, type PictureTime } from '../support/pace.ts';

/**
 * The limit: what these libraries give on these cores when nothing stands between them. One picture after the other is
 * decoded, scaled, inferred, decoded into detections and written as the JSON of a result. No engine, no queue, no socket, no
 * message between two pictures; the tensors are made once.
 */

export interface LimitWorkerData {
  readonly model: ReadyModel;
  readonly threads: number;
  readonly pictures: readonly Uint8Array[];
}

/** Pictures that end within the span count. */
export interface LimitSpan {
  readonly kind: 'span';
  readonly fromTimeMs: number;
  readonly untilTimeMs: number;
}

export type LimitRequest = LimitSpan | { readonly kind: 'pace'; readonly pace: Pace };
export type LimitReply =
  | { readonly kind: 'ready' }
  | { readonly kind: 'span'; readonly count: number }
  | { readonly kind: 'pace'; readonly times: readonly PictureTime[] };

const WARM_UP_PICTURES = 10;

const { model, threads, pictures } = workerData as LimitWorkerData;
const { manifest, onnxPath } = model;
const port = parentPort!;

env.logLevel = 'fatal';
const session = await InferenceSession.create(onnxPath, {
  executionProviders: ['cpu'],
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  executionMode: 'sequential',
  graphOptimizationLevel: 'all',
});
const { width, height, layout } = manifest.input;
const dims = layout === 'nchw' ? [1, 3, height, width] : [1, height, width, 3];
const input = new Float32Array(width * height * 3);
const feeds = { [session.inputNames[0]!]: new Tensor('float32', input, dims) };
// The first run tells the outputs' shapes; from then on they are written into the same memory.
const fetches = await session.run(feeds);
const shapes = Object.fromEntries(Object.entries(fetches).map(([name, tensor]) => [name, tensor.dims]));
const outputs = fetches as unknown as Record<string, FloatTensor>;
const detector = new Detector({ ...manifest, head: manifest.head as DetectorHead }, shapes);
const preprocessor = new Preprocessor(manifest.input);
const { confidence, iou } = manifest.defaults;
const pixels = Buffer.alloc(Math.max(...pictures.map(rgbxBytes)));

let position = 0;
for (; position < WARM_UP_PICTURES; position += 1) await runOne(position % pictures.length);

port.on('message', async (request: LimitRequest) => {
  if (request.kind === 'span') reply({ kind: 'span', count: await runSpan(request) });
  else reply({ kind: 'pace', times: await runPace(request.pace) });
});
reply({ kind: 'ready' });

async function runSpan({ fromTimeMs, untilTimeMs }: LimitSpan): Promise<number> {
  let count = 0;
  for (;;) {
    await runOne(position++ % pictures.length);
    const now = systemClock.now();
    if (now >= untilTimeMs) return count;
    if (now >= fromTimeMs) count += 1;
  }
}

async function runPace(pace: Pace): Promise<PictureTime[]> {
  const times: PictureTime[] = [];
  await keepPace(pace, async (picture) => {
    const startMs = performance.now();
    const { detections, workMs } = await runOne(picture);
    times.push({ picture, ms: performance.now() - startMs, workMs, detections });
  });
  return times;
}

/** One picture to the end: JPEG in, JSON out. */
async function runOne(index: number): Promise<{ detections: number; workMs: number }> {
  const startedTimeMs = systemClock.now();
  const picture = decodeJpegRgbx(pictures[index]!, pixels);
  const decodedMs = systemClock.now();
  const placement = preprocessor.write(picture, input);
  const preparedMs = systemClock.now();
  await session.run(feeds, fetches);
  const inferredMs = systemClock.now();
  const { detections } = detector.detect(outputs, placement, { confidence, iou });
  const foundMs = systemClock.now();
  const outcome: Sample<FrameOutcome> = {
    position,
    seq: position + 1,
    captureTimeMs: startedTimeMs,
    publishedTimeMs: startedTimeMs,
    priority: Priority.normal,
    deadlineMs: Infinity,
    data: {
      kind: 'result',
      width: picture.width,
      height: picture.height,
      result: { pipeline: 'objects', detections },
      receivedTimeMs: startedTimeMs,
      startedTimeMs,
      stagesMs: {
        decode: decodedMs - startedTimeMs,
        preprocess: preparedMs - decodedMs,
        inference: inferredMs - preparedMs,
        postprocess: foundMs - inferredMs,
      },
    },
  };
  const message = outcomeMessage(outcome, { clientId: 'limit', pipeline: 'objects' }, systemClock.now());
  encodeServerMessage(message, 'json');
  return { detections: detections.length, workMs: foundMs - startedTimeMs };
}

function rgbxBytes(jpeg: Uint8Array): number {
  const header = readJpegHeader(jpeg);
  return header.width * header.height * 4;
}

function reply(message: LimitReply): void {
  port.postMessage(message);
}
