import type { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Clock } from '../../base/clock.ts';
import { SightlineError } from '../../base/errors.ts';
import { BatchCosts, batchSizes } from '../../flow/batching.ts';
import type { Detected, Detector, Thresholds } from '../../vision/detector.ts';
import type { Placement, Region } from '../../vision/placement.ts';
import { Preprocessor, type RgbxPicture } from '../../vision/preprocess.ts';
import { type FloatTensor, inputDims } from '../../vision/types.ts';
import { checkInput, declaredTensors, detectorFor, type Intake, neededOutputs, notesOn } from '../fit.ts';
import type { ModelManifest, ReadyModel } from '../manifest.ts';
import { RESULT_TYPES, type PictureType } from '../element-types.ts';
import { floatsOf, TensorMemory } from '../tensors.ts';
import type { BatchSettings, SessionSettings } from './messages.ts';
import { openSession } from './session.ts';
import { tryBatches } from './trial.ts';
import type { DeviceMutex } from './device-mutex.ts';
import type { ProviderReport } from './types.ts';

/** By name, for a run of the least number of pictures that the model takes. */
type Shapes = Readonly<Record<string, readonly number[]>>;

interface Opened {
  readonly session: InferenceSession;
  readonly manifest: ModelManifest;
  readonly intake: Intake;
  readonly detector: Detector | undefined;
  readonly shapes: Shapes;
  readonly costs: BatchCosts;
  readonly clock: Clock;
  /** The lock of the device that it runs on, if it runs on one. */
  readonly deviceMutex: DeviceMutex | undefined;
}

/** The tensors of runs of one size. Those of all sizes lie in the same memory. */
interface Plan {
  /** In the input. */
  readonly numbers: number;
  readonly feeds: Readonly<Record<string, Tensor>>;
  /** null where the shape depends on the picture. */
  readonly fetches: Readonly<Record<string, Tensor | null>>;
}

/** An output, and its memory where its shape is known beforehand. */
interface Output {
  readonly name: string;
  readonly dims: readonly number[] | undefined;
  readonly memory: TensorMemory | undefined;
}

/**
 * One model in one thread: its session, its input tensor and its output tensors, which are made once and used for every
 * run. Pictures are placed one after the other, run together, and their results are read one after the other.
 */
export class ModelRunner {
  readonly costs: BatchCosts;
  readonly manifest: ModelManifest;
  readonly #session: InferenceSession;
  readonly #clock: Clock;
  readonly #deviceMutex: DeviceMutex | undefined;
  readonly #preprocessor: Preprocessor;
  readonly #detector: Detector | undefined;
  /** Pictures in a run of size 1: more where the model fixes a number; the others stay empty then. */
  readonly #batch: number;
  readonly #input: TensorMemory;
  /** Where each picture goes in the input. */
  readonly #places: readonly Float32Array[];
  readonly #outputs: readonly Output[];
  /** By size. */
  readonly #plans: ReadonlyMap<number, Plan>;
  /** Of the last run, all its pictures one after the other. */
  #results: Readonly<Record<string, FloatTensor>> = {};
  /** Pictures in it. */
  #count = 1;

  private constructor({ session, manifest, intake, detector, shapes, costs, clock, deviceMutex }: Opened) {
    this.manifest = manifest;
    this.#session = session;
    this.#clock = clock;
    this.#deviceMutex = deviceMutex;
    this.#preprocessor = new Preprocessor(manifest.input);
    this.#detector = detector;
    this.#batch = intake.batch;
    this.costs = costs;
    const one = inputDims(manifest.input, intake.batch);
    this.#input = new TensorMemory(intake.type, costs.max * elements(one));
    const places = costs.max * intake.batch;
    this.#places = Array.from({ length: places }, (_, i) => part(this.#input.floats, i, places));
    this.#outputs = neededOutputs(manifest, session.outputNames).map((name) => {
      const type = typeOf(session, name);
      // Without a head they may be of any type.
      const dims = RESULT_TYPES.some((one) => one === type) ? fixedShape(session, name, shapes) : undefined;
      return { name, dims, memory: dims && new TensorMemory(type, costs.max * elements(dims)) };
    });
    const planOf = (size: number): Plan => ({
      numbers: size * elements(one),
      feeds: { [intake.name]: this.#input.tensor(sized(size, one)) },
      fetches: Object.fromEntries(
        this.#outputs.map(({ name, dims, memory }) => [name, dims && memory ? memory.tensor(sized(size, dims)) : null]),
      ),
    });
    this.#plans = new Map(batchSizes(costs.max).map((size) => [size, planOf(size)]));
  }

  /**
   * Errors: MODEL_UNAVAILABLE, MODEL_UNSUPPORTED. `warmUpMs`: the time of the runs before it counted as open, including the trial of
   * how many pictures may share one.
   */
  static async open(
    { manifest, onnxPath }: ReadyModel,
    settings: SessionSettings,
    profile: boolean,
    batch: BatchSettings,
    clock: Clock,
    deviceMutex?: DeviceMutex,
  ): Promise<{ runner: ModelRunner; report: ProviderReport; warmUpMs: number }> {
    const open = () => ModelRunner.#open({ manifest, onnxPath }, settings, profile, batch, clock, deviceMutex);
    return deviceMutex ? deviceMutex.hold(open) : open();
  }

  static async #open(
    { manifest, onnxPath }: ReadyModel,
    settings: SessionSettings,
    profile: boolean,
    batch: BatchSettings,
    clock: Clock,
    deviceMutex: DeviceMutex | undefined,
  ): Promise<{ runner: ModelRunner; report: ProviderReport; warmUpMs: number }> {
    const { session, report, proven } = await openSession(manifest.id, onnxPath, settings, profile, async (session) => {
      const intake = checkInput(manifest, declaredTensors(session.inputMetadata));
      const dims = inputDims(manifest.input, intake.batch);
      const feeds = { [intake.name]: new TensorMemory(intake.type, elements(dims)).tensor(dims) };
      const startMs = clock.now();
      let shapes = settings.warmUpRuns > 0 || profile ? undefined : staticShapes(session, intake.batch);
      const runs = shapes ? 0 : Math.max(1, settings.warmUpRuns);
      for (let i = 0; i < runs; i++) {
        const outputs = await session.run(feeds, neededOutputs(manifest, session.outputNames));
        shapes = Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, tensor.dims]));
      }
      return { intake, shapes: shapes!, warmUpMs: clock.now() - startMs };
    });
    try {
      const { intake, shapes } = proven;
      const outputs = neededOutputs(manifest, session.outputNames);
      const given = outputs.map((name) => ({ name, type: typeOf(session, name), dims: shapes[name]! }));
      const detector = detectorFor(manifest, given, intake.batch);
      const startMs = clock.now();
      const isTried = settings.warmUpRuns > 0 && batch.max > 1 && leavesBatchOpen(session);
      const trial = isTried ? await tryBatches(session, manifest.input, intake, outputs, batch, clock) : undefined;
      const costs = new BatchCosts(trial?.runs, trial?.max);
      const notes = [...(report.notes ?? []), ...notesOn(intake), ...(trial?.note === undefined ? [] : [trial.note])];
      return {
        runner: new ModelRunner({
          session,
          manifest,
          intake,
          detector,
          shapes,
          costs,
          clock,
          deviceMutex: report.effective === 'cpu' ? undefined : deviceMutex,
        }),
        report: { ...report, notes },
        warmUpMs: proven.warmUpMs + clock.now() - startMs,
      };
    } catch (thrown) {
      await session.release();
      throw thrown;
    }
  }

  /** Scales a picture, or a region of it, into a place of the next run, from 0 up to `costs.max` − 1. Returns where it lies in the input. */
  place(at: number, picture: RgbxPicture, region?: Region): Placement {
    return this.#preprocessor.write(picture, this.#places[at]!, region);
  }

  /**
   * Runs the first `count` places; pictures that fill up the run's size are ignored. Returns the time of the run, ms, without the wait
   * for the device. Errors: INFERENCE_FAILED.
   */
  async run(pictures: number): Promise<number> {
    const size = this.costs.sizeFor(pictures);
    const { numbers, feeds, fetches } = this.#plans.get(size)!;
    this.#input.store(numbers);
    let fresh: InferenceSession.ReturnType;
    let tookMs: number;
    this.#deviceMutex?.lock();
    try {
      const startMs = this.#clock.now();
      fresh = await this.#session.run(feeds, fetches);
      tookMs = this.#clock.now() - startMs;
    } catch (cause) {
      throw new SightlineError('INFERENCE_FAILED', cause instanceof Error ? cause.message : String(cause), { cause });
    } finally {
      this.#deviceMutex?.unlock();
    }
    this.#results = Object.fromEntries(
      this.#outputs.flatMap(({ name, dims, memory }) => {
        // The numbers lie in the memory that was passed in, or in a fresh tensor where the shape is not known beforehand.
        if (!dims || !memory) {
          const data = floatsOf(fresh[name]!);
          return data ? [[name, { data, dims: fresh[name]!.dims }]] : [];
        }
        const length = size * elements(dims);
        memory.load(length);
        memory.freeCopy(fresh[name]!);
        return [[name, { data: memory.floats.subarray(0, length), dims: sized(size, dims) }]];
      }),
    );
    this.#count = size * this.#batch;
    return tookMs;
  }

  /** The result of the last run for the picture of a place; the next run reuses the memory. */
  tensors(at: number): Record<string, FloatTensor> {
    const own: Record<string, FloatTensor> = {};
    for (const [name, tensor] of Object.entries(this.#results)) own[name] = this.#ownPart(tensor, at);
    return own;
  }

  /** An output without a row for each picture belongs to all of them. */
  #ownPart({ data, dims }: FloatTensor, at: number): FloatTensor {
    if (dims[0] !== this.#count) return { data, dims };
    return { data: part(data, at, this.#count), dims: [1, ...dims.slice(1)] };
  }

  /** Errors: MODEL_UNSUPPORTED where the model has no detector head. */
  detect(tensors: Readonly<Record<string, FloatTensor>>, placement: Placement, thresholds: Thresholds): Detected {
    if (this.#detector) return this.#detector.detect(tensors, placement, thresholds);
    throw new SightlineError(
      'MODEL_UNSUPPORTED',
      `model ${this.manifest.id} does not detect objects: it has no detector head`,
    );
  }

  async release(): Promise<void> {
    const release = () => this.#session.release();
    await (this.#deviceMutex ? this.#deviceMutex.hold(release) : release());
  }
}

/** A shape of a run of size 1 in a run of another size. */
function sized(size: number, dims: readonly number[]): readonly number[] {
  return size === 1 ? dims : [size, ...dims.slice(1)];
}

function elements(dims: readonly number[]): number {
  return dims.reduce((a, b) => a * b, 1);
}

/** One of `count` equal parts, without a copy. */
function part(whole: Float32Array, at: number, count: number): Float32Array {
  const length = whole.length / count;
  return whole.subarray(at * length, (at + 1) * length);
}

function typeOf(session: InferenceSession, name: string): PictureType {
  const meta = session.outputMetadata.find((m) => m.name === name);
  // Where it is another type `detectorFor` refuses it.
  return (meta?.isTensor ? meta.type : 'no tensor') as PictureType;
}

function leavesBatchOpen(session: InferenceSession): boolean {
  const [meta] = session.inputMetadata;
  return meta?.isTensor === true && typeof meta.shape[0] === 'string';
}

/** Output shapes as the model declares them, of a run of `batch` pictures; undefined when one is only known after a run. */
function staticShapes(session: InferenceSession, batch: number): Shapes | undefined {
  const shapes: Record<string, readonly number[]> = {};
  for (const meta of session.outputMetadata) {
    if (!meta.isTensor || !isFixed(meta.shape)) return undefined;
    shapes[meta.name] = meta.shape.map((d) => (typeof d === 'number' ? d : batch));
  }
  return shapes;
}

/** A symbolic batch is that of the run; any other symbolic size may change from run to run. */
function isFixed(shape: readonly (number | string)[]): boolean {
  return shape.every((d, i) => i === 0 || typeof d === 'number');
}

/** The output's shape in a run of size 1; undefined where it depends on the picture. */
function fixedShape(session: InferenceSession, name: string, shapes: Shapes): readonly number[] | undefined {
  const meta = session.outputMetadata.find((m) => m.name === name);
  return meta?.isTensor && isFixed(meta.shape) ? shapes[name] : undefined;
}
