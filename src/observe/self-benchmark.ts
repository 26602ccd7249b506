import type { Clock } from '../base/clock.ts';
import type { WorkerStagesMs } from '../base/detection.ts';
import { SightlineError } from '../base/errors.ts';
import type { Picture } from '../base/picture.ts';
import { seededRandom } from '../base/random.ts';
import { encodeJpeg } from '../media/jpeg.ts';

/** The server measures the spare capacity of its engine, with a picture of its own. */

export interface SelfBenchmarkHost {
  readonly clock: Clock;
  /** Runs one JPEG from bytes to detections. */
  readonly run: (picture: Picture) => Promise<WorkerStagesMs>;
  readonly occupancy: () => EngineOccupancy;
}

/** Current use of the engine. */
export interface EngineOccupancy {
  readonly workers: number;
  /** Share of the workers' time that is used, 0..1. */
  readonly load: number;
  /** Sessions that have their client. */
  readonly connected: number;
  /** Frames of a session wait for a worker. */
  readonly isWaiting: boolean;
}

export interface SelfBenchmarkResult {
  /** The actual duration. */
  readonly seconds: number;
  readonly frames: number;
  readonly fps: number;
  /** Most pictures in the engine at once. */
  readonly parallel: number;
  /** Share of the time, 0..1, in which it gave way to sessions. */
  readonly stood_back: number;
  /** Of one picture, bytes to detections, its wait for a worker included. */
  readonly p50_ms: number;
  readonly p95_ms: number;
  /** Means. */
  readonly stages_ms: WorkerStagesMs;
}

/** With the size and weight of a camera's pictures. */
const PICTURE = { width: 640, height: 480, quality: 70 };
/** Interval of its checks while there is no room. */
const LOOK_MS = 10;

export class SelfBenchmark {
  readonly #host: SelfBenchmarkHost;
  #picture: Picture | undefined;
  #isRunning = false;

  constructor(host: SelfBenchmarkHost) {
    this.#host = host;
  }

  /**
   * Runs for this long, one at a time, and only as many pictures at once as keep no session waiting. Errors: BENCHMARK_BUSY, and those
   * of the engine.
   */
  async run(seconds: number): Promise<SelfBenchmarkResult> {
    const { occupancy } = this.#host;
    const { workers, load } = occupancy();
    // Load of the sessions alone: later the benchmark would measure its own.
    const spare = Math.floor(workers * (1 - load));
    const room = () => roomFor(spare, occupancy());
    if (this.#isRunning) throw new SightlineError('BENCHMARK_BUSY', 'a benchmark is already running');
    if (room() < 1) throw noRoom();
    this.#isRunning = true;
    try {
      return await this.#measure(seconds, room);
    } finally {
      this.#isRunning = false;
    }
  }

  async #measure(seconds: number, room: () => number): Promise<SelfBenchmarkResult> {
    const { clock, run } = this.#host;
    const startMs = clock.now();
    const endMs = startMs + seconds * 1000;
    const tookMs: number[] = [];
    const sums = { decode: 0, preprocess: 0, inference: 0, postprocess: 0 };
    const running = new Set<Promise<void>>();
    let parallel = 0;
    let stoodBackMs = 0;
    const picture = (this.#picture ??= ownPicture());
    const one = async (): Promise<void> => {
      const beginMs = clock.now();
      const stages = await run(picture);
      tookMs.push(clock.now() - beginMs);
      for (const stage of Object.keys(sums) as (keyof typeof sums)[]) sums[stage] += stages[stage];
    };
    const failures: unknown[] = [];
    const start = (): void => {
      const job = one()
        .catch((thrown: unknown) => failures.push(thrown))
        .then(() => void running.delete(job));
      running.add(job);
    };
    while (clock.now() < endMs && failures.length === 0) {
      const places = room();
      while (running.size < places) start();
      parallel = Math.max(parallel, running.size);
      const beforeMs = clock.now();
      await (running.size > 0 && places > 0 ? Promise.race(running) : pause(LOOK_MS));
      if (places === 0) stoodBackMs += clock.now() - beforeMs;
    }
    await Promise.all(running);
    if (failures.length > 0) throw failures[0];
    if (tookMs.length === 0) throw noRoom();
    const elapsedMs = clock.now() - startMs;
    const sorted = tookMs.toSorted((a, b) => a - b);
    const mean = (sum: number): number => sum / tookMs.length;
    return {
      seconds: elapsedMs / 1000,
      frames: tookMs.length,
      fps: (tookMs.length * 1000) / elapsedMs,
      parallel,
      stood_back: Math.min(1, stoodBackMs / elapsedMs),
      p50_ms: percentile(sorted, 0.5),
      p95_ms: percentile(sorted, 0.95),
      stages_ms: {
        decode: mean(sums.decode),
        preprocess: mean(sums.preprocess),
        inference: mean(sums.inference),
        postprocess: mean(sums.postprocess),
      },
    };
  }
}

/** Pictures of the benchmark that the engine may have now: while a client is connected one worker is left to it. */
function roomFor(spare: number, { workers, connected, isWaiting }: EngineOccupancy): number {
  if (connected === 0) return workers;
  return isWaiting ? 0 : Math.min(spare, workers - 1);
}

/** Smooth shades with some noise, always the same. */
function ownPicture(): Picture {
  const { width, height, quality } = PICTURE;
  const random = seededRandom(1);
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i++) {
    const pixel = Math.floor(i / 3);
    const shade = 128 + 60 * Math.sin((pixel % width) / 40) + 40 * Math.cos(pixel / width / 30 + (i % 3));
    data[i] = Math.max(0, Math.min(255, shade + 24 * (random() - 0.5)));
  }
  return { kind: 'jpeg', bytes: encodeJpeg({ data, width, height }, quality), width, height };
}

function noRoom(): SightlineError {
  return new SightlineError('BENCHMARK_BUSY', 'the sessions leave no room in the engine for a benchmark');
}

/** For a list that is not empty: the smallest value that this share does not exceed. */
function percentile(sorted: readonly number[], part: number): number {
  return sorted[Math.ceil(part * sorted.length) - 1]!;
}

function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
