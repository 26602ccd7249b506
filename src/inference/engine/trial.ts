import type { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Clock } from '../../base/clock.ts';
import { seededRandom } from '../../base/random.ts';
import { batchSizes, pays, type SizedRun } from '../../flow/batching.ts';
import { inputDims, type PictureInput } from '../../vision/types.ts';
import type { Intake } from '../fit.ts';
import { TensorMemory } from '../tensors.ts';
import type { BatchSettings } from './messages.ts';

/** Whether pictures of a model give the same results in a shared run as alone, and how long runs of each size take. */

export interface Trial {
  /** Ascending; the last one may be the one that did not pay. */
  readonly runs: readonly SizedRun[];
  /** Largest size that pays. */
  readonly max: number;
  /** Why no larger size is used, when the reason is the model. */
  readonly note?: string;
}

/**
 * A larger size is compared this often, in turns, and has to pay most times and in the shortest runs: on a busy machine single times
 * say little. Measured with four threads on two cores: no size that does not pay was accepted, and nine in ten of those that do.
 */
const COMPARISONS = 7;
/** Some providers compile for each size, which may take long: a trial that is expected to take longer than this ends. */
const TRIAL_MS_MAX = 5_000;
/** How much a picture's results may differ between a shared run and its own, relative to the largest number of the output. */
const DIFFERENCE_MAX = 0.02;
/** Different pictures, which take turns in a run. Each size runs as often: the first run prepares the session for it. */
const PICTURES = 2;

/** Runs of 1, 2, 4 … pictures, up to the first size that does not pay: on a CPU that is 2. */
export async function tryBatches(
  session: InferenceSession,
  input: PictureInput,
  intake: Intake,
  outputs: readonly string[],
  settings: BatchSettings,
  clock: Clock,
): Promise<Trial> {
  const pictures = Array.from({ length: PICTURES }, (_, i) => noise(input, i));
  const shareOf = (size: number) => Array.from({ length: size }, (_, i) => pictures[i % PICTURES]!);
  const time = async (share: readonly Float32Array[]) => {
    const feeds = { [intake.name]: stack(input, intake, share) };
    const startMs = clock.now();
    const results = await session.run(feeds, outputs);
    return { pictures: share.length, ms: clock.now() - startMs, results };
  };
  const timeTwice = async (first: readonly Float32Array[], second: readonly Float32Array[]) => {
    return [await time(first), await time(second)] as const;
  };
  /** Whether the larger size pays, and its shortest time. */
  const compare = async (smaller: number, larger: number) => {
    const pairs: (readonly [SizedRun, SizedRun])[] = [];
    const failed = () => pairs.filter(([before, after]) => !pays(before, after)).length;
    while (pairs.length < COMPARISONS && failed() < COMPARISONS / 2) {
      pairs.push(await timeTwice(shareOf(smaller), shareOf(larger)));
    }
    const run = shortest(pairs.map(([, after]) => after));
    const isPaying = failed() < COMPARISONS / 2 && pays(shortest(pairs.map(([before]) => before)), run);
    return { isPaying, run };
  };

  const startMs = clock.now();
  const runs: SizedRun[] = [];
  let max = 1;
  try {
    const alone = await timeTwice([pictures[0]!], [pictures[1]!]);
    let before: readonly SizedRun[] = alone;
    runs.push(shortest(before));
    let stepMs = clock.now() - startMs;
    for (const size of batchSizes(settings.max).slice(1)) {
      // A doubled size takes twice as long, unless compiling it takes longer than for the one before.
      if (clock.now() - startMs + 2 * stepMs > TRIAL_MS_MAX) break;
      const stepStartMs = clock.now();
      const after = await timeTwice(shareOf(size), shareOf(size));
      if (!isSame(alone, after[0].results, size)) throw new Error('the results of a picture depend on the others');
      const mayPay = pays(shortest(before), shortest(after)) || pays(longest(before), longest(after));
      const isShort = shortest(after).ms <= settings.runMsMax;
      const compared = mayPay && isShort ? await compare(max, size) : undefined;
      runs.push(compared?.run ?? shortest(after));
      if (!compared?.isPaying) break;
      max = size;
      before = after;
      stepMs = clock.now() - stepStartMs;
    }
    return { runs, max };
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message.split('\n', 1)[0] : String(thrown);
    return { runs, max, note: `no more than ${max} at a time: ${reason}` };
  }
}

function shortest(runs: readonly SizedRun[]): SizedRun {
  return { pictures: runs[0]!.pictures, ms: Math.min(...runs.map(({ ms }) => ms)) };
}

function longest(runs: readonly SizedRun[]): SizedRun {
  return { pictures: runs[0]!.pictures, ms: Math.max(...runs.map(({ ms }) => ms)) };
}

/** A picture of random pixels, normalised; each brighter than the one before. */
function noise(input: PictureInput, index: number): Float32Array {
  const { mean, std } = input;
  const random = seededRandom(index);
  const brightest = (255 * (index + 1)) / PICTURES;
  const length = inputDims(input, 1).reduce((a, b) => a * b, 1);
  return new Float32Array(length).map(() => (random() * brightest - mean[0]) / std[0]);
}

function stack(input: PictureInput, { type }: Intake, pictures: readonly Float32Array[]): Tensor {
  const { length } = pictures[0]!;
  const memory = new TensorMemory(type, pictures.length * length);
  pictures.forEach((picture, i) => memory.floats.set(picture, i * length));
  memory.store(pictures.length * length);
  return memory.tensor(inputDims(input, pictures.length));
}

/** Checks that each picture of a shared run has the results that it had alone. */
function isSame(
  alone: readonly { readonly results: InferenceSession.ReturnType }[],
  shared: InferenceSession.ReturnType,
  size: number,
): boolean {
  return Object.entries(shared).every(([name, { data, dims }]) => {
    if (dims[0] !== size) return false;
    const all = data as Float32Array;
    const length = all.length / size;
    const owns = alone.map(({ results }) => results[name]!.data as Float32Array);
    return Array.from({ length: size }, (_, i) => i).every((i) => {
      return isNear(owns[i % PICTURES]!, all.subarray(i * length, (i + 1) * length));
    });
  });
}

function isNear(own: Float32Array, shared: Float32Array): boolean {
  let most = 0;
  let difference = 0;
  for (let i = 0; i < own.length; i++) {
    most = Math.max(most, Math.abs(own[i]!));
    difference = Math.max(difference, Math.abs(own[i]! - shared[i]!));
  }
  // NaN is near nothing.
  return own.length === shared.length && difference <= DIFFERENCE_MAX * most;
}
