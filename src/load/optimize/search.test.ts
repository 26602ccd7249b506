import { describe, expect, test } from 'vitest';
import { SightlineError } from '../../base/errors.ts';
import type { Measured, PictureLimit, Settings } from './judge.ts';
import {
  describe as inWords,
  engineCandidates,
  pictureCandidates,
  planSearch,
  search,
  type Entrant,
  type Load,
  type PictureReport,
  type SearchSpace,
  type SearchTools,
  type Start,
} from './search.ts';

const START: Start = {
  workers: 0,
  threadsPerWorker: 0,
  hint: 'throughput',
  prefetch: 1,
  batchMax: 8,
  defaultFps: 15,
  maxFps: 30,
  picture: { width: 640, height: 480, quality: 50 },
  targetMs: 75,
};

function space(change: Partial<SearchSpace> = {}): SearchSpace {
  return {
    start: START,
    cores: 2,
    sessions: 4,
    strategy: 'balanced',
    targetMs: 75,
    isCpu: true,
    isAdaptive: false,
    clip: { width: 1280, height: 720 },
    quick: false,
    ...change,
  };
}

/** What a second engine costs where the first one holds the target nowhere: not planned, since it is seldom so. */
const NIMBLE_RATES = 3;

interface Machine {
  /** Milliseconds of one frame on one thread, picture aside. */
  readonly frameMs: number;
  /** Of one frame by a second thread; 1.5 where it is not told. */
  readonly speedUp?: number;
  /** Milliseconds that decoding a picture as large as is set takes. */
  readonly decodeMs?: number;
  /** Of the detections, by the picture's width. */
  readonly keeps?: (picture: PictureLimit) => number | undefined;
  /** Grants are raised to the maximum, whatever comes of it. */
  readonly grantsRise?: boolean;
  readonly fails?: (settings: Settings) => boolean;
  /** Factor on all times, by how many measurements there were before. */
  readonly disturbance?: (n: number) => number;
}

/** A server as queueing theory has it: workers that take a fixed time, and clients that keep to rate and window. */
class SimulatedBench implements SearchTools {
  readonly asked: { settings: Settings; load: Load }[] = [];
  readonly #machine: Machine;
  readonly #space: SearchSpace;
  readonly #timeUpAfter: number;

  constructor(of: SearchSpace, machine: Machine, timeUpAfter = Infinity) {
    this.#space = of;
    this.#machine = machine;
    this.#timeUpAfter = timeUpAfter;
  }

  isTimeUp(): boolean {
    return this.asked.length >= this.#timeUpAfter;
  }

  async measure({ settings }: Entrant): Promise<Measured> {
    return this.#run(settings, 'as_set');
  }

  async takeTurns(entrants: readonly Entrant[], rounds: number, load: Load) {
    return entrants.map(({ settings }) => {
      try {
        return Array.from({ length: rounds }, () => this.#run(settings, load));
      } catch (thrown) {
        return thrown as SightlineError;
      }
    });
  }

  async survey(pictures: readonly PictureLimit[]): Promise<PictureReport[]> {
    return pictures.map(({ width, height, quality }) => ({
      width,
      height,
      quality,
      boxes: 20,
      kept: (this.#machine.keeps ?? (() => 1))({ width, height, quality }),
      work_ms: this.#workMs({ 'video.width': width }, 1),
    }));
  }

  #workMs(settings: Settings, threads: number): number {
    const { frameMs, decodeMs = 0, speedUp = 1.5 } = this.#machine;
    const share = Number(settings['video.width'] ?? START.picture.width) / START.picture.width;
    return frameMs / (threads === 1 ? 1 : speedUp) + decodeMs * share ** 2;
  }

  #run(settings: Settings, load: Load): Measured {
    const { fails, grantsRise = false, disturbance = () => 1 } = this.#machine;
    const { cores, sessions, targetMs } = this.#space;
    const slower = disturbance(this.asked.length);
    this.asked.push({ settings, load });
    if (fails?.(settings) === true) throw new SightlineError('INTERNAL', 'the private server ended');
    const isLatency = settings['inference.hint'] === 'latency';
    const threads = Number(settings['inference.threads_per_worker'] ?? 0) || (isLatency ? cores : 1);
    const workers = Number(settings['inference.workers'] ?? 0) || Math.floor(cores / threads);
    const workMs = this.#workMs(settings, threads) * slower;
    const capacity = (1000 * workers) / workMs;
    const { defaultFps, maxFps } = this.#space.start;
    const granted = grantsRise
      ? (settings['streaming.max_fps'] ?? maxFps)
      : (settings['streaming.default_fps'] ?? defaultFps);
    const rate = load === 'saturated' ? 60 : Number(granted);
    const offered = Math.min(rate * sessions, 16 * sessions * 60);
    const used = offered / capacity;
    // Beyond the capacity the windows of four frames a session are all full.
    const p95 =
      used >= 1 ? (1000 * 4 * sessions) / capacity : workMs + (workMs * used ** 3) / (1.02 - used) / workers / 10;
    const results = Math.min(offered, capacity);
    return {
      results_per_s: results,
      in_time_per_s: p95 <= targetMs ? results : 0,
      p50_ms: workMs,
      p95_ms: p95,
      loss_percent: 0,
      cpu_percent: Math.min(100, used * 100),
      memory_mb: 200 + 80 * workers,
      others_percent: 0,
      work_p95_ms: workMs,
    };
  }
}

function run(change: Partial<SearchSpace>, machine: Machine, timeUpAfter?: number) {
  const of = space(change);
  const bench = new SimulatedBench(of, machine, timeUpAfter);
  return { bench, result: search(of, bench) };
}

describe('the engines to try', () => {
  test('on two cores: what the defaults mean is not tried again', () => {
    expect(engineCandidates({ cores: 2, start: START })).toEqual([
      { 'inference.workers': 1 },
      { 'inference.hint': 'latency', 'inference.threads_per_worker': 1 },
      { 'inference.hint': 'latency', 'inference.threads_per_worker': 2 },
    ]);
  });

  test('on many cores they stay few', () => {
    const found = engineCandidates({ cores: 64, start: START });
    expect(found.map(inWords)).toEqual([
      '63 workers',
      '32 workers',
      '16 workers',
      '1 worker',
      'latency hint, 1 thread',
      'latency hint, 2 threads',
      'latency hint, 4 threads',
      'latency hint, 8 threads',
    ]);
  });

  test('on one core', () => {
    expect(engineCandidates({ cores: 1, start: START }).map(inWords)).toEqual(['latency hint, 1 thread']);
  });

  test('a configuration of its own is the one that the others differ from', () => {
    const start: Start = { ...START, workers: 1, hint: 'latency', threadsPerWorker: 2 };
    expect(engineCandidates({ cores: 2, start })).toContainEqual({
      'inference.hint': 'throughput',
      'inference.workers': 0,
      'inference.threads_per_worker': 0,
    });
  });
});

describe('the pictures to try', () => {
  test('smaller ones and a coarser one', () => {
    expect(pictureCandidates(space())).toEqual([
      { width: 512, height: 384, quality: 50 },
      { width: 416, height: 312, quality: 50 },
      { width: 320, height: 240, quality: 50 },
      { width: 640, height: 480, quality: 35 },
    ]);
  });

  test('no other quality where the grants choose it', () => {
    const qualities = pictureCandidates(space({ isAdaptive: true })).map(({ quality }) => quality);
    expect(qualities).toEqual([50, 50, 50]);
  });

  test('none that the clip is smaller than anyway, and none that nobody could use', () => {
    const clip = { width: 352, height: 288 };
    expect(pictureCandidates(space({ clip })).map(({ width }) => width)).toEqual([320, 640]);
    const tiny: Start = { ...START, picture: { width: 200, height: 150, quality: 10 } };
    expect(pictureCandidates(space({ start: tiny })).map(({ width }) => width)).toEqual([160]);
  });
});

describe('a search', () => {
  test('keeps the default where it holds the target and nothing gives more', async () => {
    const { result } = run({}, { frameMs: 32 });
    const { isDefault, recommended, reasons, confirmed } = await result;
    expect(confirmed[0]).toMatchObject({ name: 'default', verdict: undefined });
    expect({ isDefault, settings: recommended.settings }).toEqual({ isDefault: true, settings: {} });
    expect(reasons.length).toBeGreaterThan(0);
  });

  test('lowers the rate to the highest one that holds the target, where the default is overrun', async () => {
    const { result } = run({}, { frameMs: 40 });
    const { recommended, isDefault, confirmed, reasons } = await result;
    expect(confirmed[0]!.measured.p95_ms).toBeGreaterThan(75);
    expect(isDefault).toBe(false);
    // Two workers of 40 ms do 50 a second: four sessions of 12.
    // With fixed grants the cap adds nothing, so that it goes without.
    expect(recommended.settings).toEqual({ 'streaming.default_fps': 12 });
    expect(recommended.measured.p95_ms).toBeLessThanOrEqual(75);
    expect(reasons.join()).toContain('it holds 75 ms');
  });

  test('raises the rate where there is room, up to the configured maximum', async () => {
    const { result } = run({ sessions: 1 }, { frameMs: 10 });
    expect((await result).recommended.settings).toEqual({ 'streaming.default_fps': 30 });
  });

  test('takes several threads for one frame where one thread is too slow for the target', async () => {
    const { result } = run({ sessions: 1, targetMs: 75, start: { ...START, defaultFps: 5 } }, { frameMs: 100 });
    const { recommended, isDefault } = await result;
    expect(isDefault).toBe(false);
    expect(recommended.settings).toMatchObject({ 'inference.hint': 'latency', 'inference.threads_per_worker': 2 });
    expect(recommended.measured.p95_ms).toBeLessThanOrEqual(75);
  });

  test('caps the rate only where the grants would otherwise rise beyond what the engine can do', async () => {
    const { result } = run({}, { frameMs: 40, grantsRise: true });
    expect((await result).recommended.settings).toEqual({ 'streaming.default_fps': 12, 'streaming.max_fps': 12 });
  });

  test('an engine that only seemed better goes again', async () => {
    // The engine that is set is slow in both of its turns, which come after the default alone and before those of the others.
    const disturbance = (n: number) => (n === 1 || n === 2 ? 3 : 1);
    const { result } = run({}, { frameMs: 40, disturbance });
    const { trials, recommended, isDefault } = await result;
    const rates = trials.filter(({ stage }) => stage === 'rate');
    const changesEngine = (settings: Settings) => Object.keys(settings).some((key) => key.startsWith('inference.'));
    expect(rates.map(({ settings }) => changesEngine(settings))).toEqual(rates.map(() => true));
    expect(isDefault).toBe(false);
    expect(recommended.settings).toEqual({ 'streaming.default_fps': 12 });
  });

  test('a capacity that was measured too low is not the end: rates go on upward', async () => {
    const { engines, engineRounds } = planSearch(space());
    // The default alone comes before them.
    const disturbance = (n: number) => (n >= 1 && n <= engines * engineRounds ? 1.3 : 1);
    const { result } = run({}, { frameMs: 40, disturbance });
    const { recommended } = await result;
    // 8 is 0.9 of what was measured, 9 one more, 11 a leap.
    expect(recommended.settings).toEqual({ 'streaming.default_fps': 11 });
  });

  test('the target that was asked for is part of what is recommended', async () => {
    const { result } = run({ targetMs: 100 }, { frameMs: 40 });
    const { recommended } = await result;
    expect(recommended.settings).toMatchObject({ 'performance.target_latency_ms': 100 });
  });

  test('takes a smaller picture for what it saves, when it keeps the detections', async () => {
    const keeps = ({ width }: PictureLimit) => (width >= 400 ? 0.95 : 0.6);
    const { result, bench } = run({}, { frameMs: 20, decodeMs: 30, keeps });
    const { recommended } = await result;
    expect(recommended.settings).toMatchObject({ 'video.width': 416, 'video.height': 312 });
    expect(bench.asked.some(({ settings }) => settings['video.width'] === 320)).toBe(false);
  });

  test.each([[() => 0.89], [() => undefined]])('takes no smaller picture when it keeps %s of them', async (keeps) => {
    const { result, bench } = run({}, { frameMs: 20, decodeMs: 30, keeps });
    await result;
    expect(bench.asked.every(({ settings }) => settings['video.width'] === undefined)).toBe(true);
  });

  test('tells that nothing holds a target that cannot be held', async () => {
    const { result } = run({ targetMs: 5 }, { frameMs: 40 });
    const { recommended, confirmed } = await result;
    expect(recommended.measured.p95_ms).toBeGreaterThan(5);
    expect(recommended.measured.p95_ms).toBeLessThanOrEqual(confirmed[0]!.measured.p95_ms);
  });

  test.each([
    // One worker of two threads does as much as two of one.
    [2, 'latency'],
    [1.5, undefined],
  ])('memory: an engine of fewer workers where it gives as much (%s times as fast: %s)', async (speedUp, hint) => {
    const { result } = run({ strategy: 'memory' }, { frameMs: 40, speedUp });
    const { recommended, confirmed } = await result;
    expect(recommended.settings['inference.hint']).toBe(hint);
    expect(recommended.measured.in_time_per_s).toBeGreaterThanOrEqual(confirmed[0]!.measured.in_time_per_s);
  });

  test.each([
    ['latency', 'latency'],
    ['balanced', undefined],
  ] as const)('%s: a quicker engine is tried too (%s)', async (strategy, hint) => {
    const { result } = run({ strategy, sessions: 1, start: { ...START, maxFps: 15 } }, { frameMs: 40 });
    expect((await result).recommended.settings['inference.hint']).toBe(hint);
  });

  test.each([
    [true, [1]],
    [false, [1, 4, 16, 32]],
  ])('batches are tried as the machine may want them (on processors: %s)', async (isCpu, batches) => {
    const { result } = run({ isCpu }, { frameMs: 40 });
    const tried = (await result).trials.flatMap(({ settings }) => settings['inference.batch_max'] ?? []);
    expect([...new Set(tried)].toSorted((a, b) => Number(a) - Number(b))).toEqual(batches);
  });

  test('a candidate that cannot run is told and left out', async () => {
    const fails = (settings: Settings) => settings['inference.hint'] === 'latency';
    const { result } = run({}, { frameMs: 40, fails });
    const { failed, isDefault } = await result;
    expect(failed.map(({ name }) => name)).toEqual(['latency hint, 1 thread', 'latency hint, 2 threads']);
    expect(failed[0]!.reason).toBe('the private server ended');
    expect(isDefault).toBe(false);
  });

  test('a default that cannot run ends it', async () => {
    await expect(run({}, { frameMs: 40, fails: () => true }).result).rejects.toThrow('the private server ended');
  });

  test('what only seemed better is left: a machine that was busy in the beginning', async () => {
    const { result } = run({}, { frameMs: 32, disturbance: (n) => (n < 14 ? 2 : 1) });
    const { isDefault, reasons } = await result;
    expect(isDefault).toBe(true);
    expect(reasons.join()).toMatch(/against|noise/);
  });

  test('when the time is up nothing new is begun, and that is told', async () => {
    const { result, bench } = run({}, { frameMs: 40 }, 1);
    const { cutShort, isDefault, confirmed, trials } = await result;
    expect({ cutShort, isDefault, confirmed }).toEqual({ cutShort: true, isDefault: true, confirmed: [] });
    expect(bench.asked.filter(({ load }) => load === 'as_set')).toHaveLength(1);
    expect(trials.length).toBeGreaterThan(1);
  });

  test.each([
    [{}, { frameMs: 40 }],
    [{ sessions: 1 }, { frameMs: 10 }],
    [
      { cores: 16, sessions: 20 },
      { frameMs: 25, decodeMs: 10 },
    ],
    [{ quick: true }, { frameMs: 40, decodeMs: 10 }],
    [{ sessions: 64 }, { frameMs: 400 }],
    [{ strategy: 'aggressive' as const }, { frameMs: 90, decodeMs: 20 }],
  ])('%j takes no more measurements than planned and repeats none', async (change, machine) => {
    const { result, bench } = run(change, machine);
    const { trials } = await result;
    const plan = planSearch(space(change));
    const single = trials.filter(({ saturated }) => !saturated);
    expect(single.length).toBeLessThanOrEqual(plan.single + NIMBLE_RATES);
    expect(trials.filter(({ saturated }) => saturated)).toHaveLength(plan.engines);
    const keys = single.map(({ settings }) => JSON.stringify(Object.entries(settings).toSorted()));
    expect(new Set(keys).size).toBe(keys.length);
    for (const { settings } of bench.asked) {
      const rate = settings['streaming.default_fps'];
      if (rate !== undefined) expect(rate).toBeLessThanOrEqual(START.maxFps);
      if (rate !== undefined) expect(rate).toBeGreaterThanOrEqual(1);
    }
  });
});

test.each([
  [{}, 'default'],
  [{ 'performance.target_latency_ms': 100 }, 'target 100 ms'],
  [{ 'inference.workers': 1, 'streaming.default_fps': 12 }, '1 worker, 12 frames/s'],
  [{ 'streaming.default_fps': 12, 'streaming.max_fps': 12 }, '12 frames/s, no more'],
  [{ 'inference.hint': 'latency', 'inference.threads_per_worker': 2 }, 'latency hint, 2 threads'],
  [{ 'inference.workers': 0, 'inference.threads_per_worker': 0 }, 'workers by the hint, threads by the hint'],
  [{ 'video.width': 320, 'video.height': 240, 'video.quality': 35 }, '320×240, quality 35'],
  [{ 'inference.prefetch': 0, 'streaming.max_fps': 12 }, 'prefetch 0, at most 12 frames/s'],
  [{ 'inference.batch_max': 1 }, 'batches of 1 at most'],
])('%j in words', (settings: Settings, words) => expect(inWords(settings)).toBe(words));
