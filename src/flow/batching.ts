/**
 * How many of the waiting pictures an inference session runs at once, and whether it waits for one more. Both rest on the measured
 * cost of runs of each size on this very device: a GPU does eight pictures in little more time than one, a CPU does not. Pure.
 */

/** Most pictures in one run. */
export const BATCH_MAX = 32;

/** A run's number of pictures and the time that it took. */
export interface SizedRun {
  readonly pictures: number;
  readonly ms: number;
}

/**
 * Sizes of runs, ascending: the powers of two up to `max`, and `max`. A number in between is rounded up to the next size, since
 * accelerators prepare anew for each size that they have not seen, which can take far longer than the surplus pictures.
 */
export function batchSizes(max: number): number[] {
  const sizes = [1];
  for (let size = 2; size < max; size *= 2) sizes.push(size);
  if (max > 1) sizes.push(max);
  return sizes;
}

/** A larger run pays when each picture costs less by at least this share: less is noise, and every picture in it waits for the others. */
const GAIN_MIN = 0.1;

export function pays(smaller: SizedRun, larger: SizedRun): boolean {
  return larger.ms / larger.pictures <= (1 - GAIN_MIN) * (smaller.ms / smaller.pictures);
}

/** Weights of one run in the learned values: the device's current speed, and the ratios of sizes, which hardly change. */
const SPEED_LEARNING = 0.1;
const SIZE_LEARNING = 0.02;
/** With each run all sizes fall back to their first cost by this share, so that one that was once too dear is tried again some day. */
const FORGETTING = 0.0002;
/** A run counts as at most this many times longer, or shorter, than expected: one hiccup must not decide. */
const SURPRISE_MAX = 2;
/** No run is shorter, whatever a coarse clock says, nor longer. */
const RUN_MS_MIN = 1e-3;
const RUN_MS_MAX = 3_600_000;
const possible = (ms: number) => (ms > RUN_MS_MIN && ms < RUN_MS_MAX ? ms : RUN_MS_MIN);
const isPossible = (ms: number) => ms >= 0 && ms < RUN_MS_MAX;

interface SizeCost {
  readonly pictures: number;
  /** Times a run of one picture: as measured at first, and as learned. */
  readonly first: number;
  factor: number;
}

/**
 * Cost of a run by its number of pictures: speed of the device × cost of the size. A device that becomes slower or quicker
 * does so for all sizes, also those that were not used since.
 */
export class BatchCosts {
  readonly #sizes: readonly SizeCost[];
  readonly max: number;
  /** Time of a run of one picture, ms; 0: not known yet. */
  #singleMs: number;
  /** Cost of each picture beside the run, one picture after the other: decoding, scaling. */
  #ownMs = 0;

  /** `trial`: first runs by size, ascending from 1; of these, sizes up to `max` are used. Empty: pictures run alone. */
  constructor(trial: readonly SizedRun[] = [], max = 1) {
    const [single] = trial;
    this.#singleMs = single ? possible(single.ms) : 0;
    this.#sizes = (single ? trial : [{ pictures: 1, ms: 1 }]).map(({ pictures, ms }) => {
      const factor = pictures === 1 ? 1 : possible(ms) / this.#singleMs;
      return { pictures, first: factor, factor };
    });
    this.max = single ? max : 1;
  }

  /** The size of run that holds this many pictures; the largest one for more than that. */
  sizeFor(pictures: number): number {
    return this.#costOf(pictures).pictures;
  }

  /** Total time of a run of this many pictures, ms; 0 while nothing is known. */
  runMs(pictures: number): number {
    return this.#singleMs * this.#costOf(pictures).factor + this.#ownMs * pictures;
  }

  /** Least cost of a picture at any size, as a share of its cost at this size: 1 where pictures run alone. */
  bestShare(pictures: number): number {
    const eachMs = (count: number) => this.runMs(count) / count;
    const sizes = batchSizes(this.max);
    return this.max === 1 ? 1 : Math.min(1, Math.min(...sizes.map(eachMs)) / eachMs(Math.min(pictures, this.max)));
  }

  /** A run of `pictures` took `inferenceMs`, and each of them `ownMs` beside it. Impossible values are ignored. */
  observe(pictures: number, inferenceMs: number, ownMs: number): void {
    if (!isPossible(inferenceMs) || !isPossible(ownMs) || !(pictures >= 1)) return;
    if (this.#singleMs === 0) {
      this.#singleMs = possible(inferenceMs);
      this.#ownMs = ownMs;
      return;
    }
    const size = this.#costOf(pictures);
    const expectedMs = this.#singleMs * size.factor;
    const ms = Math.min(SURPRISE_MAX * expectedMs, Math.max(possible(inferenceMs), expectedMs / SURPRISE_MAX));
    this.#ownMs += SPEED_LEARNING * (ownMs - this.#ownMs);
    this.#singleMs += SPEED_LEARNING * (ms / size.factor - this.#singleMs);
    for (const one of this.#sizes) {
      // A single run is the reference for the others.
      if (one.pictures === 1) continue;
      one.factor += FORGETTING * (one.first - one.factor);
      if (one === size) one.factor += SIZE_LEARNING * (ms / this.#singleMs - one.factor);
    }
  }

  /** Time of a run by its size, without decoding and scaling, ms. Sizes that were tried and did not pay are among them. */
  inferenceMs(): Record<string, number> {
    if (this.#singleMs === 0) return {};
    return Object.fromEntries(this.#sizes.map(({ pictures, factor }) => [pictures, this.#singleMs * factor]));
  }

  #costOf(pictures: number): SizeCost {
    return this.#sizes.find((one) => one.pictures >= Math.min(pictures, this.max)) ?? this.#sizes[0]!;
  }
}

/** The part of `BatchCosts` that `planRun` needs. */
export type RunCosts = Pick<BatchCosts, 'max' | 'runMs'>;

/** For frames that run several models one after the other: the most that share a run of one of them, and all their runs together. */
export function sumOfCosts(costs: readonly BatchCosts[]): RunCosts {
  const [only, another] = costs;
  if (only && !another) return only;
  return {
    max: Math.max(1, ...costs.map(({ max }) => max)),
    // A model that takes fewer runs them in several parts.
    runMs: (pictures) =>
      costs.reduce((sum, one) => sum + one.runMs(Math.min(pictures, one.max)) * Math.max(1, pictures / one.max), 0),
  };
}

/** The pictures that wait for the next run, now. */
export interface Forming {
  /** For each picture, in the order of arrival, the time until its deadline; Infinity for none. At least one. */
  readonly leftMs: readonly number[];
  /** Mean time between two arrivals. */
  readonly gapMs: number;
  readonly sinceArrivalMs: number;
  /** How long they have been held back already. */
  readonly waitedMs: number;
}

export interface BatchLimits {
  /** Longest time that a run is held back for more pictures. */
  readonly delayMs: number;
  /** Pictures do not share a run that takes longer. */
  readonly runMsMax: number;
}

/** How many of the waiting pictures to run together now; with `waitMs` above 0 rather wait that long, or for the next picture. */
export interface NextRun {
  readonly pictures: number;
  readonly waitMs: number;
}

export function planRun(costs: RunCosts, forming: Forming, limits: BatchLimits): NextRun {
  const pictures = takeCount(costs, forming.leftMs, limits.runMsMax);
  const waitMs = pictures === forming.leftMs.length ? waitForMore(costs, forming, limits) : 0;
  return { pictures, waitMs };
}

/** A run takes longer than expected now and then; deadlines are planned with this much more. */
const SAFETY = 1.1;

/** As many as pay, and as the earliest deadline allows; a picture that misses its deadline even alone holds nobody back. */
function takeCount(costs: RunCosts, leftMs: readonly number[], runMsMax: number): number {
  const aloneMs = costs.runMs(1);
  let best: SizedRun = { pictures: 1, ms: aloneMs };
  for (const pictures of batchSizes(Math.min(leftMs.length, costs.max))) {
    const run = { pictures, ms: costs.runMs(pictures) };
    const soonestMs = Math.min(...leftMs.slice(0, pictures).filter((ms) => ms >= aloneMs));
    if (run.ms <= Math.min(runMsMax, soonestMs / SAFETY) && pays(best, run)) best = run;
  }
  return best.pictures;
}

/** The next picture is overdue after this many times the usual gap: its stream has stopped. */
const PATIENCE = 2;
/** Resolution of timers. */
const TIMER_MS = 1;

/**
 * Waiting pays when all pictures together, the one to come included, have their results sooner: the newcomer saves a run of its
 * own and the wait for this one, the others lose the time until it comes. Never beyond a deadline, and in all no longer than
 * `delayMs`.
 */
function waitForMore(costs: RunCosts, forming: Forming, { delayMs, runMsMax }: BatchLimits): number {
  const { leftMs, gapMs, sinceArrivalMs, waitedMs } = forming;
  const pictures = leftMs.length;
  const nowMs = costs.runMs(pictures);
  const withOneMoreMs = costs.runMs(pictures + 1);
  if (pictures >= costs.max || withOneMoreMs > runMsMax) return 0;
  const slackMs = Math.min(...leftMs) - SAFETY * withOneMoreMs;
  const patienceMs = Math.max(TIMER_MS, PATIENCE * gapMs) - sinceArrivalMs;
  const boundMs = Math.min(delayMs - waitedMs, slackMs, patienceMs);
  if (!(boundMs >= TIMER_MS)) return 0;
  const apartMs = pictures * nowMs + Math.max(nowMs, gapMs) + costs.runMs(1);
  const togetherMs = (pictures + 1) * (gapMs + withOneMoreMs);
  return togetherMs < apartMs ? boundMs : 0;
}

const GAP_LEARNING = 0.1;
/** No run waits for longer; a pause must not be remembered for long either. */
const GAP_MS_MAX = 200;

/** Learns how often pictures come. */
export class Arrivals {
  #lastMs: number | undefined;
  #gapMs = GAP_MS_MAX;

  /** Mean time between two arrivals, ms. They may come in bursts, as they do to a thread that was busy. */
  get gapMs(): number {
    return this.#gapMs;
  }

  note(nowMs: number): void {
    const gapMs = this.sinceMs(nowMs);
    this.#lastMs = nowMs;
    this.#gapMs += GAP_LEARNING * (gapMs - this.#gapMs);
  }

  /** Time since the last one, ms. */
  sinceMs(nowMs: number): number {
    const sinceMs = nowMs - (this.#lastMs ?? -Infinity);
    return sinceMs >= 0 ? Math.min(GAP_MS_MAX, sinceMs) : 0;
  }
}
