import { type InferenceSession, Tensor } from 'onnxruntime-node';
import { SightlineError } from '../../base/errors.ts';
import { type Detected, Detector, type Thresholds } from '../../vision/detector.ts';
import { Preprocessor, type RgbxPicture } from '../../vision/preprocess.ts';
import type { DetectorHead, FloatTensor } from '../../vision/types.ts';
import type { ModelManifest, ReadyModel } from '../manifest.ts';
import type { SessionSettings } from './messages.ts';
import { openSession } from './session.ts';
import type { ProviderReport } from './types.ts';

export interface RunTimesMs {
  readonly preprocess: number;
  readonly inference: number;
  readonly postprocess: number;
}

type Shapes = Record<string, readonly number[]>;

/**
 * One model in one thread: its session, its input tensor and its output tensors, which are made once and used for every
 * frame. Runs one picture at a time.
 */
export class ModelRunner {
  readonly #session: InferenceSession;
  readonly #feeds: Readonly<Record<string, Tensor>>;
  readonly #fetches: Readonly<Record<string, Tensor | null>>;
  readonly #input: Float32Array;
  readonly #preprocessor: Preprocessor;
  readonly #detector: Detector | undefined;

  private constructor(session: InferenceSession, manifest: ModelManifest, feeds: Feeds, shapes: Shapes) {
    this.#session = session;
    this.#feeds = feeds;
    this.#input = Object.values(feeds)[0]!.data as Float32Array;
    this.#preprocessor = new Preprocessor(manifest.input);
    const { head } = manifest;
    this.#detector = head.kind === 'tensors' ? undefined : new Detector({ ...manifest, head }, shapes);
    this.#fetches = Object.fromEntries(
      neededOutputs(manifest, session).map((name) => [name, outputTensor(session, name, shapes)]),
    );
  }

  /** Errors: MODEL_UNAVAILABLE, MODEL_UNSUPPORTED. `warmUpMs`: the runs before it counted as open. */
  static async open(
    { manifest, onnxPath }: ReadyModel,
    settings: SessionSettings,
    profile: boolean,
  ): Promise<{ runner: ModelRunner; report: ProviderReport; warmUpMs: number }> {
    const { session, report, proven } = await openSession(manifest.id, onnxPath, settings, profile, async (session) => {
      const feeds = makeFeeds(manifest, session);
      const startMs = performance.now();
      let shapes = settings.warmUpRuns > 0 || profile ? undefined : staticShapes(session);
      const runs = shapes ? 0 : Math.max(1, settings.warmUpRuns);
      for (let i = 0; i < runs; i++) {
        const outputs = await session.run(feeds, neededOutputs(manifest, session));
        shapes = Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, tensor.dims]));
      }
      return { feeds, shapes: shapes!, warmUpMs: performance.now() - startMs };
    });
    try {
      const runner = new ModelRunner(session, manifest, proven.feeds, proven.shapes);
      return { runner, report, warmUpMs: proven.warmUpMs };
    } catch (thrown) {
      await session.release();
      throw thrown;
    }
  }

  /** Runs one picture, which is borrowed until the promise settles. Errors: INFERENCE_FAILED. */
  async run(picture: RgbxPicture, thresholds: Thresholds): Promise<Detected & { readonly timesMs: RunTimesMs }> {
    const startMs = performance.now();
    const placement = this.#preprocessor.write(picture, this.#input);
    const inferMs = performance.now();
    let outputs: InferenceSession.ReturnType;
    try {
      outputs = await this.#session.run(this.#feeds, this.#fetches);
    } catch (cause) {
      throw new SightlineError('INFERENCE_FAILED', cause instanceof Error ? cause.message : String(cause), { cause });
    }
    const postMs = performance.now();
    const found = this.#detector?.detect(this.#tensors(outputs), placement, thresholds) ?? {
      detections: [],
      capped: 0,
    };
    const endMs = performance.now();
    return {
      ...found,
      timesMs: { preprocess: inferMs - startMs, inference: postMs - inferMs, postprocess: endMs - postMs },
    };
  }

  async release(): Promise<void> {
    await this.#session.release();
  }

  /** The outputs lie in the tensors that were handed in, or in fresh ones where a shape is not known before. */
  #tensors(outputs: InferenceSession.ReturnType): Record<string, FloatTensor> {
    const tensors: Record<string, FloatTensor> = {};
    for (const [name, kept] of Object.entries(this.#fetches)) {
      tensors[name] = (kept ?? outputs[name]) as unknown as FloatTensor;
    }
    return tensors;
  }
}

type Feeds = Readonly<Record<string, Tensor>>;

/** The one input tensor, checked against the manifest. */
function makeFeeds(manifest: ModelManifest, session: InferenceSession): Feeds {
  const { width, height, layout } = manifest.input;
  const dims = layout === 'nchw' ? [1, 3, height, width] : [1, height, width, 3];
  const [meta, another] = session.inputMetadata;
  if (!meta?.isTensor || another) {
    throw new SightlineError(
      'MODEL_UNSUPPORTED',
      `${manifest.id} has the inputs ${session.inputNames.join(', ')} instead of one picture`,
    );
  }
  if (meta.type !== 'float32') {
    throw new SightlineError('MODEL_UNSUPPORTED', `${manifest.id} takes ${meta.type} instead of float32`);
  }
  const fits = meta.shape.length === 4 && meta.shape.every((d, i) => typeof d !== 'number' || d === dims[i]);
  if (!fits) {
    throw new SightlineError(
      'MODEL_UNSUPPORTED',
      `${manifest.id} takes [${meta.shape.join(', ')}], its manifest says [${dims.join(', ')}]`,
    );
  }
  return { [meta.name]: new Tensor('float32', new Float32Array(width * height * 3), dims) };
}

/** Output shapes as the model declares them, for a batch of 1; undefined when one is only known after a run. */
function staticShapes(session: InferenceSession): Shapes | undefined {
  const shapes: Shapes = {};
  for (const meta of session.outputMetadata) {
    if (!meta.isTensor || !isFixed(meta.shape)) return undefined;
    shapes[meta.name] = meta.shape.map((d) => (typeof d === 'number' ? d : 1));
  }
  return shapes;
}

/** A symbolic batch is 1 here; any other symbolic size may change from run to run. */
function isFixed(shape: readonly (number | string)[]): boolean {
  return shape.every((d, i) => i === 0 || typeof d === 'number');
}

/** Outputs that the head reads; all of them for a model without one. */
function neededOutputs({ id, head }: ModelManifest, session: InferenceSession): string[] {
  const names = session.outputNames;
  const needed = head.kind === 'tensors' ? [...names] : headOutputs(head, names[0]!);
  const missing = needed.find((name) => !names.includes(name));
  if (missing !== undefined) {
    throw new SightlineError('MODEL_UNSUPPORTED', `${id} has no output ${missing}, only ${names.join(', ')}`);
  }
  return needed;
}

function headOutputs(head: DetectorHead, first: string): string[] {
  switch (head.kind) {
    case 'ssd':
      return [head.boxes, head.scores];
    case 'detr':
      return [head.logits, head.boxes];
    default:
      return [head.output ?? first];
  }
}

/** A tensor to write the output into; null where its shape depends on the picture. */
function outputTensor(session: InferenceSession, name: string, shapes: Shapes): Tensor | null {
  const meta = session.outputMetadata.find((m) => m.name === name);
  const dims = shapes[name]!;
  if (!meta?.isTensor || meta.type !== 'float32') {
    throw new SightlineError(
      'MODEL_UNSUPPORTED',
      `output ${name} is ${meta?.isTensor ? meta.type : 'no tensor'} instead of float32`,
    );
  }
  if (!isFixed(meta.shape)) return null;
  return new Tensor('float32', new Float32Array(dims.reduce((a, b) => a * b, 1)), dims);
}
