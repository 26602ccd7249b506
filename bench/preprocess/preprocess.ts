import { AV_PIX_FMT_RGB24, SWS_BILINEAR } from 'node-av/constants';
import { SoftwareScaleContext } from 'node-av/lib';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { attr, DataType, encodeOnnx, node, tensor } from '../../src/inference/onnx/model.ts';
import { decodeJpeg, decodeJpegRgbx } from '../../src/media/jpeg.ts';
import { Preprocessor } from '../../src/vision/preprocess.ts';
import type { BenchContext, Benchmark, BenchResult } from '../support/document.ts';
import { cameraPictures, type PictureSize } from '../support/pictures.ts';
import { median } from '../support/statistics.ts';

/** Three ways from decoded pixels to a model's input tensor, on one thread: what the choice in `src/vision` rests on. */

const SEED = 20_260;
const SIDE = 300;
/** Value = (pixel − 127.5) / 127.5, as the default model wants it. */
const MEAN = 127.5;
const SIZES: readonly PictureSize[] = [
  { width: 300, height: 300 },
  { width: 640, height: 480 },
  { width: 1280, height: 720 },
  { width: 1920, height: 1080 },
];
const TURNS = { full: 15, quick: 3 };
const RUNS_PER_TURN = 20;

export const preprocess: Benchmark = {
  name: 'preprocess',
  summary: 'pixels to input tensor: our loop, FFmpeg, ONNX Runtime',
  run: runPreprocess,
};

interface Way extends Disposable {
  readonly name: string;
  readonly run: () => unknown;
}

async function runPreprocess({ quick, signal, say }: BenchContext): Promise<BenchResult> {
  const figures: Record<string, number> = {};
  for (const size of SIZES) {
    const label = `${size.width}x${size.height}`;
    say(label);
    const [jpeg] = await cameraPictures(1, SEED, size);
    const ways = [ours(jpeg!, size), ffmpeg(jpeg!, size), await onnxRuntime(jpeg!, size)];
    const times = new Map(ways.map(({ name }) => [name, [] as number[]]));
    for (let turn = -1; turn < (quick ? TURNS.quick : TURNS.full); turn += 1) {
      for (const way of ways) {
        signal.throwIfAborted();
        const startMs = performance.now();
        for (let i = 0; i < RUNS_PER_TURN; i += 1) await way.run();
        // The first turn warms up.
        if (turn >= 0) times.get(way.name)!.push((performance.now() - startMs) / RUNS_PER_TURN);
      }
    }
    for (const [name, ms] of times) figures[`${name}_${label}_ms`] = median(ms);
    for (const way of ways) way[Symbol.dispose]();
  }
  return {
    seed: SEED,
    setup: {
      into: `${SIDE}×${SIDE}×3 floats, (pixel − ${MEAN}) / ${MEAN}`,
      threads: '1',
      mode: quick ? 'quick' : 'full',
    },
    figures,
    bars: [],
  };
}

/** What Sightline does: one pass over the output. */
function ours(jpeg: Uint8Array, { width, height }: PictureSize): Way {
  const picture = decodeJpegRgbx(jpeg, Buffer.alloc(width * height * 4));
  const mean = [MEAN, MEAN, MEAN] as const;
  const input = { width: SIDE, height: SIDE, layout: 'nhwc', colour: 'rgb', mean, std: mean, fit: 'stretch' } as const;
  const preprocessor = new Preprocessor(input);
  const out = new Float32Array(SIDE * SIDE * 3);
  return { name: 'ours', run: () => preprocessor.write(picture, out), [Symbol.dispose]: () => {} };
}

/** FFmpeg scales bytes, a loop makes floats of them. */
function ffmpeg(jpeg: Uint8Array, { width, height }: PictureSize): Way {
  const { data } = decodeJpeg(jpeg, Buffer.alloc(width * height * 3));
  const pixels = Buffer.from(data.buffer, data.byteOffset, data.length);
  const scaled = Buffer.alloc(SIDE * SIDE * 3);
  const out = new Float32Array(SIDE * SIDE * 3);
  const scaler = new SoftwareScaleContext();
  scaler.getContext(width, height, AV_PIX_FMT_RGB24, SIDE, SIDE, AV_PIX_FMT_RGB24, SWS_BILINEAR);
  return {
    name: 'ffmpeg',
    run: () => {
      scaler.scaleSync([pixels], [width * 3], 0, height, [scaled], [SIDE * 3]);
      for (let i = 0; i < out.length; i += 1) out[i] = (scaled[i]! - MEAN) / MEAN;
    },
    [Symbol.dispose]: () => scaler.freeContext(),
  };
}

/** The whole as a graph: what a model with pre-processing inside would do. */
async function onnxRuntime(jpeg: Uint8Array, { width, height }: PictureSize): Promise<Way> {
  const { data } = decodeJpeg(jpeg, Buffer.alloc(width * height * 3));
  const dims = [1, height, width, 3];
  const outDims = [1, SIDE, SIDE, 3];
  const linear = [attr.string('mode', 'linear'), attr.string('coordinate_transformation_mode', 'half_pixel')];
  const graph = encodeOnnx({
    irVersion: 8,
    opset: 18,
    producerName: 'sightline-bench',
    metadata: {},
    graph: {
      name: 'preprocess',
      node: [
        node('Resize', ['pixels', '', '', 'size'], ['scaled'], linear),
        node('Cast', ['scaled'], ['values'], [attr.int('to', DataType.float)]),
        node('Sub', ['values', 'mean'], ['centred']),
        node('Div', ['centred', 'mean'], ['input']),
      ],
      initializer: [tensor.int64('size', [4], outDims), tensor.float('mean', [], [MEAN])],
      input: [{ name: 'pixels', elemType: DataType.uint8, shape: dims }],
      output: [{ name: 'input', elemType: DataType.float, shape: outDims }],
    },
  });
  const session = await InferenceSession.create(graph, { intraOpNumThreads: 1, interOpNumThreads: 1 });
  const feeds = { pixels: new Tensor('uint8', data, dims) };
  const fetches = { input: new Tensor('float32', new Float32Array(SIDE * SIDE * 3), outDims) };
  return {
    name: 'onnxruntime',
    run: () => session.run(feeds, fetches),
    [Symbol.dispose]: () => void session.release(),
  };
}
