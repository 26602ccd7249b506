import { type InferenceSession, Tensor } from 'onnxruntime-node';
import type { Clock } from '../../base/clock.ts';
import { SightlineError } from '../../base/errors.ts';
import { BatchCosts, batchSizes } from '../../flow/batching.ts';
import { type Detected, Detector, type Thresholds } from '../../vision/detector.ts';
import type { Placement } from '../../vision/placement.ts';
import { Preprocessor, type RgbxPicture } from '../../vision/preprocess.ts';
import type { DetectorHead, FloatTensor } from '../../vision/types.ts';
import type { ModelManifest, ReadyModel } from '../manifest.ts';
import type { BatchSettings, SessionSettings } from './messages.ts';
import { openSession } from './session.ts';
import { inputDims, tryBatches } from './trial.ts';
import type { Turns } from './turns.ts';
import type { ProviderReport } from './types.ts';

/** By name, of a run of one picture. */
type Shapes = Readonly<Record<string, readonly number[]>>;

interface Opened {
  readonly session: InferenceSession;
  readonly manifest: ModelManifest;
  readonly detector: Detector | undefined;
  readonly shapes: Shapes;
  readonly costs: BatchCosts;
  readonly clock: Clock;
  /** At the device that it runs on, if it is one. */
  readonly turns: Turns | undefined;
}

/** The tensors of runs of one size. Those of all sizes lie in the same memory. */
interface Plan {
  readonly feeds: Readonly<Record<string, Tensor>>;
  /** null where the shape depends on the picture. */
  readonly fetches: Readonly<Record<string, Tensor | null>>;
}

/**
 * One model in one thread: its session, its input tensor and its output tensors, which are made once and used for every
 * run. Pictures are placed one after the other, run together, and what was found is read one after the other.
 */
export class ModelRunner {
  readonly costs: BatchCosts;
  readonly #session: InferenceSession;
  readonly #clock: Clock;
  readonly #turns: Turns | undefined;
  readonly #preprocessor: Preprocessor;
  readonly #detector: Detector | undefined;
  /** Where each picture goes in the input. */
  readonly #places: readonly Float32Array[];
  /** By size. */
  readonly #plans: ReadonlyMap<number, Plan>;
  /** Of the last run, and its size. */
  #outputs: InferenceSession.ReturnType = {};
  #size = 1;

  private constructor({ session, manifest, detector, shapes, costs, clock, turns }: Opened) {
    this.#session = session;
    this.#clock = clock;
    this.#turns = turns;
    this.#preprocessor = new Preprocessor(manifest.input);
    this.#detector = detector;
    this.costs = costs;
    const dims = inputDims(manifest.input, 1);
    const input = new Float32Array(costs.max * elements(dims));
    this.#places = Array.from({ length: costs.max }, (_, i) => part(input, i, costs.max));
    const outputs = neededOutputs(manifest, session).map((name) => {
      const dims = fixedShape(session, name, shapes);
      return { name, dims, memory: dims && new Float32Array(costs.max * elements(dims)) };
    });
    const tensorOf = (size: number, one: readonly number[], memory: Float32Array) =>
      new Tensor('float32', memory.subarray(0, size * elements(one)), size === 1 ? one : [size, ...one.slice(1)]);
    const planOf = (size: number): Plan => ({
      feeds: { [session.inputNames[0]!]: tensorOf(size, dims, input) },
      fetches: Object.fromEntries(
        outputs.map(({ name, dims, memory }) => [name, dims && memory ? tensorOf(size, dims, memory) : null]),
      ),
    });
    this.#plans = new Map(batchSizes(costs.max).map((size) => [size, planOf(size)]));
  }

  /**
   * Errors: MODEL_UNAVAILABLE, MODEL_UNSUPPORTED. `warmUpMs`: the runs before it counted as open, also those that found out how
   * many pictures may share one.
   */
  static async open(
    { manifest, onnxPath }: ReadyModel,
    settings: SessionSettings,
    profile: boolean,
    batch: BatchSettings,
    clock: Clock,
    turns?: Turns,
  ): Promise<{ runner: ModelRunner; report: ProviderReport; warmUpMs: number }> {
    const open = () => ModelRunner.#open({ manifest, onnxPath }, settings, profile, batch, clock, turns);
    return turns ? turns.in(open) : open();
  }

  static async #open(
    { manifest, onnxPath }: ReadyModel,
    settings: SessionSettings,
    profile: boolean,
    batch: BatchSettings,
    clock: Clock,
    turns: Turns | undefined,
  ): Promise<{ runner: ModelRunner; report: ProviderReport; warmUpMs: number }> {
    const { session, report, proven } = await openSession(manifest.id, onnxPath, settings, profile, async (session) => {
      const feeds = zeroFeeds(manifest, session);
      const startMs = clock.now();
      let shapes = settings.warmUpRuns > 0 || profile ? undefined : staticShapes(session);
      const runs = shapes ? 0 : Math.max(1, settings.warmUpRuns);
      for (let i = 0; i < runs; i++) {
        const outputs = await session.run(feeds, neededOutputs(manifest, session));
        shapes = Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, tensor.dims]));
      }
      return { shapes: shapes!, warmUpMs: clock.now() - startMs };
    });
    try {
      const { shapes } = proven;
      const { head } = manifest;
      const detector = head.kind === 'tensors' ? undefined : new Detector({ ...manifest, head }, shapes);
      const outputs = neededOutputs(manifest, session);
      for (const name of outputs) checkType(session, name);
      const startMs = clock.now();
      const isTried = settings.warmUpRuns > 0 && batch.max > 1 && leavesBatchOpen(session);
      const trial = isTried ? await tryBatches(session, manifest.input, outputs, batch, clock) : undefined;
      const costs = new BatchCosts(trial?.runs, trial?.max);
      return {
        runner: new ModelRunner({
          session,
          manifest,
          detector,
          shapes,
          costs,
          clock,
          turns: report.effective === 'cpu' ? undefined : turns,
        }),
        report: trial?.note === undefined ? report : { ...report, notes: [...(report.notes ?? []), trial.note] },
        warmUpMs: proven.warmUpMs + clock.now() - startMs,
      };
    } catch (thrown) {
      await session.release();
      throw thrown;
    }
  }

  /** Scales a picture into a place of the next run, from 0 up to `costs.max` − 1. Tells where it lies in the input. */
  place(at: number, picture: RgbxPicture): Placement {
    return this.#preprocessor.write(picture, this.#places[at]!);
  }

  /**
   * Runs the first so many places; whatever fills up the run's size is not looked at. Gives the time that it took, ms, without the wait
   * for a turn. Errors: INFERENCE_FAILED.
   */
  async run(pictures: number): Promise<number> {
    const size = this.costs.sizeFor(pictures);
    const { feeds, fetches } = this.#plans.get(size)!;
    let fresh: InferenceSession.ReturnType;
    let tookMs: number;
    this.#turns?.take();
    try {
      const startMs = this.#clock.now();
      fresh = await this.#session.run(feeds, fetches);
      tookMs = this.#clock.now() - startMs;
    } catch (cause) {
      throw new SightlineError('INFERENCE_FAILED', cause instanceof Error ? cause.message : String(cause), { cause });
    } finally {
      this.#turns?.give();
    }
    // The outputs lie in the tensors that were handed in, or in fresh ones where a shape is not known before.
    this.#outputs = Object.fromEntries(Object.entries(fetches).map(([name, kept]) => [name, kept ?? fresh[name]!]));
    this.#size = size;
    return tookMs;
  }

  /** What the last run found in the picture of a place. */
  detect(at: number, placement: Placement, thresholds: Thresholds): Detected {
    if (!this.#detector) return { detections: [], capped: 0 };
    const own: Record<string, FloatTensor> = {};
    for (const [name, { data, dims }] of Object.entries(this.#outputs)) {
      own[name] = { data: part(data as Float32Array, at, this.#size), dims: [1, ...dims.slice(1)] };
    }
    return this.#detector.detect(own, placement, thresholds);
  }

  async release(): Promise<void> {
    const release = () => this.#session.release();
    await (this.#turns ? this.#turns.in(release) : release());
  }
}

function elements(dims: readonly number[]): number {
  return dims.reduce((a, b) => a * b, 1);
}

/** One of `count` equal parts, without a copy. */
function part(whole: Float32Array, at: number, count: number): Float32Array {
  const length = whole.length / count;
  return whole.subarray(at * length, (at + 1) * length);
}

/** A picture of zeros for the one input, checked against the manifest. */
function zeroFeeds(manifest: ModelManifest, session: InferenceSession): Readonly<Record<string, Tensor>> {
  const dims = inputDims(manifest.input, 1);
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
  return { [meta.name]: new Tensor('float32', new Float32Array(elements(dims)), dims) };
}

function leavesBatchOpen(session: InferenceSession): boolean {
  const [meta] = session.inputMetadata;
  return meta?.isTensor === true && typeof meta.shape[0] === 'string';
}

/** Output shapes as the model declares them, for a batch of 1; undefined when one is only known after a run. */
function staticShapes(session: InferenceSession): Shapes | undefined {
  const shapes: Record<string, readonly number[]> = {};
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
    case 'boxes':
      return [...new Set([head.boxes, head.scores])];
    default:
      return [head.output ?? first];
  }
}

function checkType(session: InferenceSession, name: string): void {
  const meta = session.outputMetadata.find((m) => m.name === name);
  if (meta?.isTensor && meta.type === 'float32') return;
  throw new SightlineError(
    'MODEL_UNSUPPORTED',
    `output ${name} is ${meta?.isTensor ? meta.type : 'no tensor'} instead of float32`,
  );
}

/** The output's shape for one picture; undefined where it depends on the picture. */
function fixedShape(session: InferenceSession, name: string, shapes: Shapes): readonly number[] | undefined {
  const meta = session.outputMetadata.find((m) => m.name === name);
  return meta?.isTensor && isFixed(meta.shape) ? shapes[name] : undefined;
}
