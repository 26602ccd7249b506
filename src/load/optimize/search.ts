import { SightlineError } from '../../base/errors.ts';
import { planEngine } from '../../inference/engine/plan.ts';
import {
  isWithin,
  judge,
  medianOf,
  noiseOf,
  rank,
  type Candidate,
  type Goal,
  type Measured,
  type PictureLimit,
  type Settings,
  type Strategy,
  type Verdict,
} from './judge.ts';

/** The search of `sightline optimize`: which candidates to measure, in which order, and the verdict. The measuring is passed in. */

/** The settings that are searched, as the configuration has them. */
export interface Start {
  readonly workers: number;
  readonly threadsPerWorker: number;
  readonly hint: 'latency' | 'throughput';
  readonly prefetch: number;
  readonly batchMax: number;
  readonly defaultFps: number;
  readonly maxFps: number;
  readonly picture: PictureLimit;
  readonly targetMs: number;
}

export interface SearchSpace {
  readonly start: Start;
  readonly cores: number;
  readonly sessions: number;
  readonly strategy: Strategy;
  /** Target for the p95 of capture to result, milliseconds. */
  readonly targetMs: number;
  /** Models run on processors, where larger batches hardly ever pay. */
  readonly isCpu: boolean;
  /** With adaptation the grants set the JPEG quality, and no setting does. */
  readonly isAdaptive: boolean;
  /** Size of the clip's pictures, pixels. */
  readonly clip: { readonly width: number; readonly height: number };
  /** Fewer candidates, fewer rounds. */
  readonly quick: boolean;
}

/** `saturated`: as many frames as the windows of the sessions allow, to see the engine's capacity. */
export type Load = 'as_set' | 'saturated';

/** Effect of a picture limit on the detections of the clip's own pictures. */
export interface PictureReport extends PictureLimit {
  /** Share of the boxes of the clip's own pictures that are still found, 0..1; undefined where there are none. */
  readonly kept: number | undefined;
  /** How many those are. */
  readonly boxes: number;
  /** One frame in a worker, median. */
  readonly work_ms: number;
}

export type Entrant = Pick<Candidate, 'name' | 'settings'>;

export interface SearchTools {
  /** Once. Errors: SightlineError where the candidate cannot run; anything else ends the search. */
  measure(entrant: Entrant): Promise<Measured>;
  /** All in turns, `rounds` times, so that other work of the machine affects all of them: the rounds of each, or why it cannot run. */
  takeTurns(
    entrants: readonly Entrant[],
    rounds: number,
    load: Load,
  ): Promise<(readonly Measured[] | SightlineError)[]>;
  survey(pictures: readonly PictureLimit[]): Promise<readonly PictureReport[]>;
  /** Only the last comparison may still begin. */
  isTimeUp(): boolean;
}

export interface Trial extends Candidate {
  readonly stage: 'default' | 'engine' | 'rate' | 'picture';
  /** Of a saturated engine: not a candidate, since it would not be run like that. */
  readonly saturated: boolean;
}

export interface Confirmed extends Candidate {
  readonly rounds: readonly Measured[];
  /** Undefined for the default. */
  readonly verdict: Verdict | undefined;
}

export interface SearchResult {
  readonly trials: readonly Trial[];
  /** Candidates that could not run, and why. */
  readonly failed: readonly { readonly name: string; readonly settings: Settings; readonly reason: string }[];
  readonly pictures: readonly PictureReport[];
  /** The default first, then the finalists. `measured` is the median of the rounds. */
  readonly confirmed: readonly Confirmed[];
  readonly recommended: Candidate;
  readonly isDefault: boolean;
  readonly reasons: readonly string[];
  /** Share by which rounds of one configuration differed, 0..1. */
  readonly noise: number;
  /** The time was up before everything was measured. */
  readonly cutShort: boolean;
}

export const KEPT_MIN = 0.9;
const RATE_TRIES = 3;
const RATE_TRIES_QUICK = 2;
const PICTURES_MAX = 2;
const FINALISTS_MAX = 2;
const ENGINE_ROUNDS = 2;
const ROUNDS = 3;
const ROUNDS_QUICK = 2;
/** Share of the engine's capacity at which the search for a rate begins. Above it queues grow quickly. */
const UTILISATION = 0.9;
const RATE_STEP_UP = 1.1;
/** A second step up means that the engine's capacity is higher than expected. */
const RATE_LEAP_UP = 1.3;
const RATE_STEP_DOWN = 0.8;
/** A frame that takes so much less time makes another engine worth a look, although it gives fewer results. */
const NIMBLE_MAX = 0.85;
/** A picture that saves less of a frame's time is not worth its loss. */
const PICTURE_GAIN_MIN = 0.05;
const PICTURE_SCALES = [0.8, 0.65, 0.5];
const QUALITY_STEP = 15;
const PICTURE_SIDE_MIN = 160;
const FPS_CAP_MIN = 5;
const PREFETCHES = [0, 1, 2];
const BATCHES_CPU = [1];
const BATCHES = [1, 4, 16, 32];
const THREADS_MAX = 8;

/** Most measurements of each kind, so that the duration can be announced. */
export interface Plan {
  /** Candidates that are measured once. */
  readonly single: number;
  /** Engines and their rounds in turns, then finalists and theirs, the default among both. */
  readonly engines: number;
  readonly engineRounds: number;
  readonly finalists: number;
  readonly rounds: number;
}

export function planSearch(space: SearchSpace): Plan {
  const { quick, strategy } = space;
  const second = isHurry(strategy) ? RATE_TRIES_QUICK + 1 : 0;
  const rates = (quick ? RATE_TRIES_QUICK : RATE_TRIES) + 1 + second;
  const pictures = quick ? 1 : PICTURES_MAX;
  return {
    single: 1 + rates + pictures,
    engines: enginesOf(space).length,
    engineRounds: quick ? 1 : ENGINE_ROUNDS,
    finalists: 1 + (quick ? 1 : FINALISTS_MAX),
    rounds: quick ? ROUNDS_QUICK : ROUNDS,
  };
}

function isHurry(strategy: Strategy): boolean {
  return strategy === 'latency' || strategy === 'aggressive';
}

/** Runs the search. Errors: those of measuring the default, and any of another measurement that is not a SightlineError. */
export function search(space: SearchSpace, tools: SearchTools): Promise<SearchResult> {
  return new Search(space, tools).run();
}

/** Settings of the engines to try besides the one that is set: as few as still show where the best one lies. */
export function engineCandidates({ cores, start }: Pick<SearchSpace, 'cores' | 'start'>): Settings[] {
  const workers = [cores, cores - 1, Math.ceil(cores / 2), Math.ceil(cores / 4), 1].filter((n) => n >= 1);
  const threads = [1, 2, 4, 8].filter((n) => n <= Math.min(cores, THREADS_MAX));
  const engines = [
    ...workers.map((n) => engineOf(start, 'throughput', n === cores ? 0 : n, 0)),
    ...threads.map((n) => engineOf(start, 'latency', 0, n)),
  ];
  const seen = new Set([planOf(start, cores)]);
  const found: Settings[] = [];
  for (const engine of engines) {
    const plan = planOf(engine, cores);
    if (seen.has(plan)) continue;
    seen.add(plan);
    found.push(changes(start, engine));
  }
  return found;
}

function engineOf(start: Start, hint: Start['hint'], workers: number, threadsPerWorker: number): Start {
  return { ...start, hint, workers, threadsPerWorker };
}

/** The engine that is set, the others, and, with time enough, the first one with other prefetches and batches. */
function enginesOf(space: SearchSpace): Settings[] {
  const { start, quick, isCpu } = space;
  const found: Settings[] = [{}, ...engineCandidates(space)];
  if (quick) return found;
  for (const prefetch of PREFETCHES) found.push(changes(start, { ...start, prefetch }));
  for (const batchMax of isCpu ? BATCHES_CPU : BATCHES) found.push(changes(start, { ...start, batchMax }));
  return found.filter((settings, i) => i === 0 || Object.keys(settings).length > 0);
}

/** The configuration that results: several settings can mean the same. */
function planOf({ hint, workers, threadsPerWorker }: Start, cores: number): string {
  const plan = planEngine(hint, cores, {
    ...(workers > 0 && { workers }),
    ...(threadsPerWorker > 0 && { intraOpThreads: threadsPerWorker }),
  });
  return `${hint} ${plan.workers} ${plan.intraOpThreads}`;
}

/** Smaller pictures and a lower quality; those that would not change a picture of this clip are left out. */
export function pictureCandidates({
  start,
  clip,
  isAdaptive,
}: Pick<SearchSpace, 'start' | 'clip' | 'isAdaptive'>): PictureLimit[] {
  const { picture } = start;
  const scaleOf = ({ width, height }: PictureLimit): number => Math.min(1, width / clip.width, height / clip.height);
  const smaller = PICTURE_SCALES.map((scale) => ({
    width: Math.round(picture.width * scale),
    height: Math.round(picture.height * scale),
    quality: picture.quality,
  })).filter((one) => scaleOf(one) < scaleOf(picture) && Math.max(one.width, one.height) >= PICTURE_SIDE_MIN);
  const coarser = { ...picture, quality: picture.quality - QUALITY_STEP };
  return coarser.quality >= 1 && !isAdaptive ? [...smaller, coarser] : smaller;
}

/** In words, for people: `latency hint, 2 threads, 13 frames/s`. */
export function describe(settings: Settings): string {
  const words: string[] = [];
  const say = (key: string, text: (value: string | number) => string): void => {
    const value = settings[key];
    if (value !== undefined) words.push(text(value));
  };
  say('inference.hint', (hint) => `${hint} hint`);
  say('inference.workers', (n) => (n === 0 ? 'workers by the hint' : plural(Number(n), 'worker')));
  say('inference.threads_per_worker', (n) => (n === 0 ? 'threads by the hint' : plural(Number(n), 'thread')));
  say('inference.prefetch', (n) => `prefetch ${n}`);
  say('inference.batch_max', (n) => `batches of ${n} at most`);
  if (settings['video.width'] !== undefined || settings['video.height'] !== undefined) {
    words.push(`${settings['video.width'] ?? '…'}×${settings['video.height'] ?? '…'}`);
  }
  say('video.quality', (n) => `quality ${n}`);
  const isCapped = settings['streaming.max_fps'] !== undefined;
  say('streaming.default_fps', (n) => `${n} frames/s${isCapped ? ', no more' : ''}`);
  if (settings['streaming.default_fps'] === undefined) say('streaming.max_fps', (n) => `at most ${n} frames/s`);
  if (words.length === 0) say('performance.target_latency_ms', (n) => `target ${n} ms`);
  return words.join(', ') || 'default';
}

function plural(n: number, word: string): string {
  return `${n} ${word}${n === 1 ? '' : 's'}`;
}

const KEYS = {
  workers: 'inference.workers',
  threadsPerWorker: 'inference.threads_per_worker',
  hint: 'inference.hint',
  prefetch: 'inference.prefetch',
  batchMax: 'inference.batch_max',
  defaultFps: 'streaming.default_fps',
  maxFps: 'streaming.max_fps',
  targetMs: 'performance.target_latency_ms',
} as const;
const PICTURE_KEYS = { width: 'video.width', height: 'video.height', quality: 'video.quality' } as const;

/** The part of `wanted` that differs from `start`, by dotted key. */
function changes(start: Start, wanted: Start): Settings {
  const found: Record<string, string | number> = {};
  for (const [name, key] of Object.entries(KEYS) as [keyof typeof KEYS, string][]) {
    if (wanted[name] !== start[name]) found[key] = wanted[name];
  }
  for (const [name, key] of Object.entries(PICTURE_KEYS) as [keyof PictureLimit, string][]) {
    if (wanted.picture[name] !== start.picture[name]) found[key] = wanted.picture[name];
  }
  return found;
}

function atRate(engine: Start, rateFps: number): Start {
  return { ...engine, defaultFps: rateFps, maxFps: Math.max(FPS_CAP_MIN, rateFps) };
}

/** The other way round. */
function applied(start: Start, settings: Settings): Start {
  const value = <T extends string | number>(key: string, otherwise: T): T => (settings[key] ?? otherwise) as T;
  const { picture } = start;
  return {
    workers: value(KEYS.workers, start.workers),
    threadsPerWorker: value(KEYS.threadsPerWorker, start.threadsPerWorker),
    hint: value(KEYS.hint, start.hint),
    prefetch: value(KEYS.prefetch, start.prefetch),
    batchMax: value(KEYS.batchMax, start.batchMax),
    defaultFps: value(KEYS.defaultFps, start.defaultFps),
    maxFps: value(KEYS.maxFps, start.maxFps),
    targetMs: value(KEYS.targetMs, start.targetMs),
    picture: {
      width: value(PICTURE_KEYS.width, picture.width),
      height: value(PICTURE_KEYS.height, picture.height),
      quality: value(PICTURE_KEYS.quality, picture.quality),
    },
  };
}

/** Figures of a finalist; one that was not measured before has none yet. */
type Entered = Pick<Candidate, 'name' | 'settings' | 'picture'>;

/** Results a second of a saturated engine. */
interface Engine {
  readonly settings: Settings;
  readonly measured: Measured;
}

class Search {
  readonly #space: SearchSpace;
  readonly #tools: SearchTools;
  readonly #goal: Goal;
  readonly #plan: Plan;
  readonly #trials: Trial[] = [];
  readonly #failed: { name: string; settings: Settings; reason: string }[] = [];
  #cutShort = false;

  constructor(space: SearchSpace, tools: SearchTools) {
    this.#space = space;
    this.#tools = tools;
    this.#goal = { strategy: space.strategy, targetMs: space.targetMs };
    this.#plan = planSearch(space);
  }

  async run(): Promise<SearchResult> {
    const standard = await this.#measure('default', {});
    const pictures = await this.#survey();
    const [best, nimble] = await this.#engines();
    if (best) {
      await this.#rates(best, this.#space.quick ? RATE_TRIES_QUICK : RATE_TRIES);
      // A second engine only where the first leaves the target out of reach or time is what counts.
      if (nimble && (isHurry(this.#goal.strategy) || !this.#isTargetHeld()))
        await this.#rates(nimble, RATE_TRIES_QUICK);
      await this.#smallerPictures(best, pictures);
    }
    return await this.#confirm(standard, pictures);
  }

  async #survey(): Promise<readonly PictureReport[]> {
    const { start } = this.#space;
    return await this.#tools.survey([start.picture, ...pictureCandidates(this.#space)]);
  }

  /** The engine to build on, and one that is done with a frame much sooner, where there is one. */
  async #engines(): Promise<[Engine | undefined, Engine | undefined]> {
    const entrants = enginesOf(this.#space).map((settings) => ({ name: describe(settings), settings }));
    const turns = await this.#tools.takeTurns(entrants, this.#plan.engineRounds, 'saturated');
    const engines: Engine[] = [];
    for (const [i, { name, settings }] of entrants.entries()) {
      const rounds = turns[i]!;
      if (rounds instanceof SightlineError) this.#failed.push({ name, settings, reason: rounds.message });
      else engines.push(this.#keep('engine', settings, medianOf(rounds), true));
    }
    const own = turns[0]!;
    const best = this.#bestEngine(engines, own instanceof SightlineError ? 0 : noiseOf(own));
    const nimble = engines
      .filter(({ measured }) => best && measured.work_p95_ms < best.measured.work_p95_ms * NIMBLE_MAX)
      .toSorted((a, b) => a.measured.work_p95_ms - b.measured.work_p95_ms)[0];
    return [best, nimble];
  }

  /** Most results among those whose work alone fits into the target; the current one stays where none is clearly better. */
  #bestEngine(engines: readonly Engine[], noise: number): Engine | undefined {
    const { targetMs, strategy } = this.#goal;
    const fitting = engines.filter(({ measured }) => measured.work_p95_ms <= targetMs);
    const eligible = fitting.length > 0 ? fitting : engines;
    const most = Math.max(...eligible.map(({ measured }) => measured.results_per_s));
    const close = eligible.filter(({ measured }) => measured.results_per_s >= most * (1 - noise));
    const order = (one: Engine): number =>
      strategy === 'memory' ? one.measured.memory_mb : Object.keys(one.settings).length;
    return close.toSorted((a, b) => order(a) - order(b))[0];
  }

  /** The engine at the rates that are set, then at the highest one at which it holds the target. */
  async #rates({ settings, measured }: Engine, tries: number): Promise<void> {
    const wanted = { ...applied(this.#space.start, settings), targetMs: this.#space.targetMs };
    await this.#try('rate', changes(this.#space.start, wanted));
    await this.#highestRate(wanted, measured.results_per_s, tries);
  }

  /** Upward or downward from the engine's expected capacity, then between a rate that held the target and one that did not. */
  async #highestRate(engine: Start, capacityPerS: number, tries: number): Promise<void> {
    const { start, sessions } = this.#space;
    const rateMax = start.maxFps;
    let [good, bad, step] = [0, rateMax + 1, RATE_STEP_UP];
    let rate = Math.max(1, Math.min(rateMax, Math.floor((capacityPerS / sessions) * UTILISATION)));
    for (let i = 0; i < tries && rate > good && rate < bad; i += 1) {
      const trial = await this.#try('rate', changes(start, atRate(engine, rate)));
      if (!trial) return;
      if (isWithin(trial.measured, this.#goal.targetMs)) good = rate;
      else bad = rate;
      if (good === 0) rate = Math.floor(rate * RATE_STEP_DOWN);
      else if (bad <= rateMax) rate = Math.floor((good + bad) / 2);
      else {
        rate = Math.min(rateMax, Math.max(rate + 1, Math.floor(rate * step)));
        step = RATE_LEAP_UP;
      }
    }
  }

  /**
   * Those that keep the detections and save time, the ones that save most first: at a higher rate than the best one so far, or, where
   * time is what counts, at the same.
   */
  async #smallerPictures({ settings, measured }: Engine, pictures: readonly PictureReport[]): Promise<void> {
    const { start, sessions, strategy, targetMs, quick } = this.#space;
    const [own, ...others] = pictures;
    if (!own) return;
    const gain = (one: PictureReport): number => own.work_ms / Math.max(1e-3, one.work_ms);
    const worthwhile = others
      .filter((one) => one.kept !== undefined && one.kept >= KEPT_MIN && gain(one) >= 1 + PICTURE_GAIN_MIN)
      .toSorted((a, b) => gain(b) - gain(a));
    for (const one of worthwhile.slice(0, quick ? 1 : PICTURES_MAX)) {
      const { width, height, quality } = one;
      const engine = { ...applied(start, settings), targetMs, picture: { width, height, quality } };
      const share = (measured.results_per_s * gain(one)) / sessions;
      const best = this.#bestRate();
      const likely = Math.max(1, Math.min(start.maxFps, Math.floor(share * UTILISATION)));
      const rate = best > 0 && isHurry(strategy) ? best : Math.max(best + 1, likely);
      if (rate <= Math.min(start.maxFps, Math.max(1, share)))
        await this.#try('picture', changes(start, atRate(engine, rate)));
    }
  }

  /** The highest rate at which the target was held, frames a second; 0 for none. */
  #bestRate(): number {
    const held = this.#trials.filter(
      ({ saturated, measured }) => !saturated && isWithin(measured, this.#goal.targetMs),
    );
    // Adapting grants may exceed the settings.
    const rateOf = ({ settings, measured }: Trial): number =>
      Math.max(
        applied(this.#space.start, settings).defaultFps,
        Math.floor(measured.results_per_s / this.#space.sessions),
      );
    return Math.max(0, ...held.map(rateOf));
  }

  #isTargetHeld(): boolean {
    return this.#trials.some(({ saturated, measured }) => !saturated && isWithin(measured, this.#goal.targetMs));
  }

  /** The best one so far, and one more to compare it with. */
  #finalists(standard: Trial): Entered[] {
    const { start } = this.#space;
    const eligible = this.#trials.filter(({ stage, saturated }) => stage !== 'default' && !saturated);
    const [best, ...others] = rank(eligible, this.#goal, standard.measured.in_time_per_s);
    if (!best) return [];
    // Does it take the other engine, the smaller picture and the cap on the rate, or would the rate alone have done?
    const { defaultFps, targetMs } = applied(start, best.settings);
    const simpler = changes(start, { ...start, defaultFps, targetMs });
    const isNew = !areEqual(simpler, best.settings) && !areEqual(simpler, standard.settings);
    const second = isNew
      ? { name: describe(simpler), settings: simpler, picture: start.picture }
      : others.find(({ measured }) => isWithin(measured, this.#goal.targetMs));
    return [best, ...(second ? [second] : [])].slice(0, this.#plan.finalists - 1);
  }

  /** The finalists against the default in turns; the default stays unless one is no worse. */
  async #confirm(standard: Trial, pictures: readonly PictureReport[]): Promise<SearchResult> {
    const finalists = this.#finalists(standard);
    const shared = { trials: this.#trials, failed: this.#failed, pictures, cutShort: this.#cutShort };
    if (finalists.length === 0) {
      const reasons = ['nothing else could be measured'];
      return { ...shared, confirmed: [], recommended: standard, isDefault: true, reasons, noise: 0 };
    }
    const entrants = [standard, ...finalists];
    const turns = await this.#tools.takeTurns(entrants, this.#plan.rounds, 'as_set');
    const confirmed = this.#judged(entrants, turns);
    const [first] = confirmed;
    const noise = noiseOf(first!.rounds);
    const adopted = confirmed.filter(({ verdict }) => verdict?.adopted === true);
    const [winner] = rank(adopted, this.#goal, first!.measured.in_time_per_s);
    if (winner) {
      const { reasons } = winner.verdict!;
      return { ...shared, confirmed, recommended: winner, isDefault: false, reasons, noise };
    }
    const reasons = confirmed.flatMap(({ name, verdict }) => (verdict?.reasons ?? []).map((why) => `${name}: ${why}`));
    return { ...shared, confirmed, recommended: first!, isDefault: true, reasons, noise };
  }

  /** The default first. One that could not run this time is left out; the default has to. */
  #judged(entrants: readonly Entered[], turns: readonly (readonly Measured[] | SightlineError)[]): Confirmed[] {
    const [own] = turns;
    if (!own || own instanceof SightlineError)
      throw own ?? new SightlineError('INTERNAL', 'the default was not measured');
    const [standard, noise] = [medianOf(own), noiseOf(own)];
    const confirmed: Confirmed[] = [];
    for (const [i, { name, settings, picture }] of entrants.entries()) {
      const rounds = turns[i]!;
      if (rounds instanceof SightlineError) {
        this.#failed.push({ name, settings, reason: rounds.message });
        continue;
      }
      const measured = medianOf(rounds);
      const verdict = i === 0 ? undefined : judge(standard, measured, this.#goal, noise);
      confirmed.push({ name, settings, picture, measured, rounds, verdict });
    }
    return confirmed;
  }

  /** Undefined where the candidate cannot run, or the time is up. Earlier measurements are reused. */
  async #try(stage: Trial['stage'], settings: Settings): Promise<Trial | undefined> {
    const before = this.#trials.find((trial) => !trial.saturated && areEqual(trial.settings, settings));
    if (before) return before;
    if (this.#tools.isTimeUp()) {
      this.#cutShort = true;
      return undefined;
    }
    try {
      return await this.#measure(stage, settings);
    } catch (thrown) {
      if (!(thrown instanceof SightlineError)) throw thrown;
      this.#failed.push({ name: describe(settings), settings, reason: thrown.message });
      return undefined;
    }
  }

  async #measure(stage: Trial['stage'], settings: Settings): Promise<Trial> {
    const measured = await this.#tools.measure({ name: describe(settings), settings });
    return this.#keep(stage, settings, measured, false);
  }

  #keep(stage: Trial['stage'], settings: Settings, measured: Measured, saturated: boolean): Trial {
    const { picture } = applied(this.#space.start, settings);
    const trial: Trial = { name: describe(settings), settings, picture, measured, stage, saturated };
    this.#trials.push(trial);
    return trial;
  }
}

function areEqual(one: Settings, other: Settings): boolean {
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((key) => one[key] === other[key]);
}
