import type { InferenceSession } from 'onnxruntime-node';
import { SightlineError } from '../base/errors.ts';
import { Detector } from '../vision/detector.ts';
import { inputDims } from '../vision/types.ts';
import type { DetectorHead, PictureInput } from '../vision/types.ts';
import type { ModelManifest } from './manifest.ts';
import { PICTURE_TYPES, RESULT_TYPES, rangeOf } from './element-types.ts';
import type { PictureType } from './element-types.ts';

/**
 * Checks that a model's tensors are those of its manifest: for every model at import and again in each worker, so that a model that is
 * reported as ready runs.
 */

/** An input or output, as the model declares it or as a run gave it. */
export interface SeenTensor {
  readonly name: string;
  readonly type: string;
  /** A name where the model leaves a dimension open. */
  readonly dims: readonly (number | string)[];
}

/** How a model takes pictures. */
export interface Intake {
  readonly name: string;
  readonly type: PictureType;
  /** Pictures in each run, where the model says so; 1 where it leaves that open. */
  readonly batch: number;
}

/** Inputs or outputs as a session declares them. */
export function declaredTensors(metadata: InferenceSession['inputMetadata']): SeenTensor[] {
  return metadata.map((meta) => ({
    name: meta.name,
    type: meta.isTensor ? meta.type : 'no tensor',
    dims: meta.isTensor ? meta.shape : [],
  }));
}

type Described = Pick<ModelManifest, 'id' | 'head' | 'input' | 'labels'>;

/** Facts about a model besides that it runs. */
export function notesOn({ batch }: Intake): string[] {
  if (batch === 1) return [];
  const others = batch === 2 ? 'one of them' : `${batch - 1} of them`;
  return [`the model runs ${batch} pictures each time, ${others} empty: export it with a batch of 1 or an open one`];
}

/** Errors: MODEL_UNSUPPORTED, with what the model takes instead. */
export function checkInput({ id, input }: Described, inputs: readonly SeenTensor[]): Intake {
  const [seen, another] = inputs;
  if (!seen || another) {
    const names = inputs.map(({ name }) => name).join(', ');
    throw unsupported(id, `has ${names === '' ? 'no input' : `the inputs ${names}`} instead of one picture`);
  }
  const { name, type: declared, dims } = seen;
  const type = PICTURE_TYPES.find((one) => one === declared);
  if (!type) throw unsupported(id, `takes ${declared}; pictures can be handed over as ${PICTURE_TYPES.join(', ')}`);
  const batch = typeof dims[0] === 'number' ? dims[0] : 1;
  const wanted = inputDims(input, batch);
  const fits = dims.length === 4 && batch > 0 && dims.every((d, i) => typeof d !== 'number' || d === wanted[i]);
  if (!fits) throw unsupported(id, `takes [${dims.join(', ')}], its manifest says [${wanted.join(', ')}]`);
  checkValues(id, type, input);
  return { name, type, batch };
}

/** Fewer steps between black and white than this leave little of a picture: they come from a scale that was meant for fractions. */
const STEPS_MIN = 32;

const isOne = (numbers: readonly number[]) => numbers.every((n) => n === numbers[0]);

function checkValues(id: string, type: PictureType, { mean, std, colour }: PictureInput): void {
  if (colour === 'grey' && !(isOne(mean) && isOne(std))) {
    throw unsupported(
      id,
      `takes grey pictures, and its manifest says mean ${mean} and std ${std}: one number each it is`,
    );
  }
  const range = rangeOf(type);
  if (!range) return;
  for (const [i, own] of mean.entries()) {
    const ends = [0, 255].map((pixel) => (pixel - own) / std[i]!);
    const from = Math.min(...ends);
    const to = Math.max(...ends);
    if (from >= range.min && to <= range.max && to - from >= STEPS_MIN) continue;
    const span = `${Number(from.toPrecision(4))} to ${Number(to.toPrecision(4))}`;
    throw unsupported(
      id,
      `takes ${type}, ${range.min} to ${range.max}, and mean ${own} and std ${std[i]} make pixels ${span}`,
    );
  }
}

/** A picture shape with this many pictures; another shape as it is. */
export function perPicture(dims: readonly number[], batch: number): readonly number[] {
  return batch > 1 && dims[0] === batch ? [1, ...dims.slice(1)] : dims;
}

/** Outputs that the head reads, of those that there are; all of them for a model without one. Errors: MODEL_UNSUPPORTED. */
export function neededOutputs({ id, head }: Described, names: readonly string[]): string[] {
  const needed = head.kind === 'tensors' ? [...names] : headOutputs(head, names[0] ?? '');
  const missing = needed.find((name) => !names.includes(name));
  if (missing === undefined) return needed;
  throw unsupported(id, `has no output ${missing}, only ${names.join(', ')}`);
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

/**
 * The reader of a model's results; undefined for one without a head. `outputs`: of a run of `batch` pictures. Errors:
 * MODEL_UNSUPPORTED.
 */
export function detectorFor(
  manifest: Described,
  outputs: readonly (SeenTensor & { readonly dims: readonly number[] })[],
  batch: number,
): Detector | undefined {
  const { id, head } = manifest;
  if (head.kind === 'tensors') return undefined;
  const names = outputs.map(({ name }) => name);
  const needed = neededOutputs(manifest, names).map((name) => outputs[names.indexOf(name)]!);
  for (const { name, type, dims } of needed) {
    if (!RESULT_TYPES.some((one) => one === type)) {
      throw unsupported(id, `gives its output ${name} as ${type}; ${RESULT_TYPES.join(' and ')} can be read`);
    }
    if (dims[0] !== batch && batch > 1) {
      throw unsupported(
        id,
        `takes ${batch} pictures at a time, and its output ${name} of shape [${dims}] is not one for each`,
      );
    }
  }
  const shapes = Object.fromEntries(needed.map(({ name, dims }) => [name, perPicture(dims, batch)]));
  try {
    return new Detector({ ...manifest, head }, shapes);
  } catch (thrown) {
    if (thrown instanceof SightlineError) throw new SightlineError(thrown.code, `${id}: ${thrown.message}`);
    throw thrown;
  }
}

function unsupported(id: string, why: string): SightlineError {
  return new SightlineError('MODEL_UNSUPPORTED', `${id} ${why}`);
}
