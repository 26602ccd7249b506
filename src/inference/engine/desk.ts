import { type Clock, systemClock } from '../../base/clock.ts';
import { SightlineError, toSightlineError } from '../../base/errors.ts';
import { Arrivals, planRun } from '../../flow/batching.ts';
import { checkJpeg, decodeJpegRgbx, type RgbxPicture } from '../../media/jpeg.ts';
import { isUpright, turnUpright, uprightSize } from '../../media/orient.ts';
import { BufferPool } from '../../media/pool.ts';
import type { Thresholds } from '../../vision/detector.ts';
import type { Placement } from '../../vision/placement.ts';
import { expandRgb } from '../../vision/preprocess.ts';
import type { ModelManifest } from '../manifest.ts';
import type { LoadRequest, RunRequest, SharedRun, WorkerReply, WorkerRequest, WorkerSettings } from './messages.ts';
import { ModelRunner } from './runner.ts';
import { RunningIds } from './running.ts';
import { Turns } from './turns.ts';

/** An ordinary frame is overtaken so often at the most: urgent ones without end must not hold it for ever. */
const PASSED_MAX = 3;

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

function isUrgent(request: WorkerRequest): boolean {
  return request.kind === 'run' && request.urgent === true;
}

interface DeskModel {
  readonly runner: ModelRunner;
  readonly manifest: ModelManifest;
  readonly arrivals: Arrivals;
}

/** A picture in the input of the next run. */
interface Placed {
  readonly request: RunRequest;
  readonly placement: Placement;
  /** Of the decoded picture, upright, pixels. */
  readonly width: number;
  readonly height: number;
  /** On the desk's clock. */
  readonly startedTimeMs: number;
  readonly decodedTimeMs: number;
  readonly placedTimeMs: number;
}

/**
 * What a worker thread does: takes one request after the other, urgent ones first, runs each frame to completion; several of
 * one model together where that pays. Knows nothing of threads, so that it can be driven from anywhere.
 */
export class Desk {
  readonly #settings: WorkerSettings;
  readonly #reply: (message: WorkerReply) => void;
  readonly #onClosed: () => void;
  readonly #clock: Clock;
  readonly #models = new Map<string, DeskModel>();
  /** The shared memory of each slot. */
  readonly #slots: Uint8Array[] = [];
  // One frame is decoded at a time, and may need a second buffer to be turned; cameras of several sizes take turns.
  readonly #pool = new BufferPool({ buffersPerShape: 2, shapesMax: 4 });
  /** Bounded by the engine: it has one run per slot and one load per model on the way. */
  readonly #waiting: WorkerRequest[] = [];
  /** How often each waiting run was overtaken, by its id. */
  readonly #passed = new Map<number, number>();
  readonly #running: RunningIds | undefined;
  readonly #turns: Turns | undefined;
  #isWorking = false;
  /** Ends the wait for one more picture. */
  #wake: (() => void) | undefined;

  constructor(
    settings: WorkerSettings,
    reply: (message: WorkerReply) => void,
    onClosed: () => void,
    clock: Clock = systemClock,
  ) {
    this.#settings = settings;
    this.#running = settings.running && new RunningIds(settings.running);
    this.#turns = settings.turns && new Turns(settings.turns.memory, settings.turns.me);
    this.#reply = reply;
    this.#onClosed = onClosed;
    this.#clock = clock;
  }

  /** Takes a request in; `close` goes before everything that has not begun. */
  take(request: WorkerRequest): void {
    if (request.kind === 'close') {
      this.#waiting.length = 0;
      this.#passed.clear();
    }
    if (request.kind === 'run') {
      if (request.memory) this.#slots[request.slot] = new Uint8Array(request.memory);
      this.#models.get(request.modelId)?.arrivals.note(this.#clock.now());
    }
    if (isUrgent(request)) this.#overtake(request);
    else this.#waiting.push(request);
    this.#wake?.();
    if (!this.#isWorking) void this.#work();
  }

  /** Puts an urgent run before the ordinary ones that have not been passed too often. */
  #overtake(request: WorkerRequest): void {
    const isPassable = (one: WorkerRequest) =>
      one.kind === 'run' && !isUrgent(one) && (this.#passed.get(one.id) ?? 0) < PASSED_MAX;
    const at = this.#waiting.findLastIndex((one) => !isPassable(one)) + 1;
    for (const one of this.#waiting.slice(at))
      if (one.kind === 'run') this.#passed.set(one.id, (this.#passed.get(one.id) ?? 0) + 1);
    this.#waiting.splice(at, 0, request);
  }

  async #work(): Promise<void> {
    this.#isWorking = true;
    for (let [request] = this.#waiting; request; [request] = this.#waiting) {
      if (request.kind === 'run') await this.#runNext(request);
      else this.#waiting.shift();
      if (request.kind === 'close') {
        for (const { runner } of this.#models.values()) await runner.release();
        this.#onClosed();
        return;
      }
      if (request.kind === 'load') await this.#load(request);
      // The thread was blocked: an urgent request may have come in meanwhile, and is heard only now.
      if (this.#waiting.length > 0) await nextTurn();
    }
    this.#isWorking = false;
  }

  async #load({ id, model, profile }: LoadRequest): Promise<void> {
    const { manifest } = model;
    try {
      const { session, batch } = this.#settings;
      const { runner, report, warmUpMs } = await ModelRunner.open(
        model,
        session,
        profile,
        batch,
        this.#clock,
        this.#turns,
      );
      await this.#models.get(manifest.id)?.runner.release();
      this.#models.set(manifest.id, { runner, manifest, arrivals: new Arrivals() });
      const { max: batchMax } = runner.costs;
      this.#reply({ kind: 'loaded', id, report, warmUpMs, batchMax, costsMs: runner.costs.inferenceMs() });
    } catch (thrown) {
      this.#fail(id, thrown);
    }
  }

  /** Runs the first run of those that wait, alone or together with others. */
  async #runNext(first: RunRequest): Promise<void> {
    const model = this.#models.get(first.modelId);
    if (!model) {
      this.#takeOut([first]);
      return this.#fail(first.id, new SightlineError('MODEL_UNKNOWN', `the model ${first.modelId} is not loaded`));
    }
    const batch = model.runner.costs.max > 1 ? await this.#gather(model) : this.#takeOut([first]);
    await this.#run(model, batch);
  }

  #takeOut(runs: readonly RunRequest[]): readonly RunRequest[] {
    for (const request of runs) {
      this.#waiting.splice(this.#waiting.indexOf(request), 1);
      this.#passed.delete(request.id);
    }
    return runs;
  }

  /** Takes out the runs of a model that go together now; may wait for more. None: something else is next in line meanwhile. */
  async #gather({ runner: { costs }, arrivals, manifest }: DeskModel): Promise<readonly RunRequest[]> {
    // What lies in the port already costs no waiting.
    await nextTurn();
    const sinceMs = this.#clock.now();
    for (;;) {
      const runs = this.#runsOf(manifest.id);
      if (runs.length === 0) return runs;
      const nowMs = this.#clock.now();
      const forming = {
        leftMs: runs.map(({ deadlineMs = Infinity }) => deadlineMs - nowMs),
        gapMs: arrivals.gapMs,
        sinceArrivalMs: arrivals.sinceMs(nowMs),
        waitedMs: nowMs - sinceMs,
      };
      const { pictures, waitMs } = planRun(costs, forming, this.#settings.batch);
      // Nobody else is to wait for them, and nothing urgent.
      const mayWait = runs.length === this.#waiting.length && !runs.some(isUrgent);
      if (waitMs === 0 || !mayWait) return this.#takeOut(runs.slice(0, pictures));
      await this.#nextRequest(waitMs);
    }
  }

  /** Waiting runs of a model, if the next one is of that model. Those of other models are passed, but nothing else is. */
  #runsOf(modelId: string): RunRequest[] {
    const runs: RunRequest[] = [];
    for (const request of this.#waiting) {
      if (request.kind !== 'run') break;
      if (request.modelId === modelId) runs.push(request);
      else if (runs.length === 0) break;
    }
    return runs;
  }

  #nextRequest(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, waitMs);
      this.#wake = () => {
        this.#wake = undefined;
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #run({ runner, manifest }: DeskModel, requests: readonly RunRequest[]): Promise<void> {
    const placed: Placed[] = [];
    for (const request of requests) {
      this.#running?.set([request.id]);
      try {
        placed.push(this.#place(runner, request, placed.length));
      } catch (thrown) {
        this.#fail(request.id, thrown);
      }
    }
    if (placed.length === 0) return;
    // From here on each of them may be what kills the worker.
    this.#running?.set(placed.map(({ request }) => request.id));
    let inferenceMs: number;
    try {
      inferenceMs = await runner.run(placed.length);
    } catch (thrown) {
      for (const { request } of placed) this.#fail(request.id, thrown);
      return;
    }
    const ranTimeMs = this.#clock.now();
    const ownMs = placed.reduce((sum, { startedTimeMs, placedTimeMs }) => sum + placedTimeMs - startedTimeMs, 0);
    const { costs } = runner;
    costs.observe(placed.length, inferenceMs, ownMs / placed.length);
    const shared: SharedRun = {
      pictures: placed.length,
      bestShare: costs.bestShare(placed.length),
      costsMs: costs.inferenceMs(),
    };
    placed.forEach(({ request, placement, width, height, startedTimeMs, decodedTimeMs, placedTimeMs }, at) => {
      try {
        const { detections, capped } = runner.detect(at, placement, thresholdsOf(request, manifest));
        const stagesMs = {
          decode: decodedTimeMs - startedTimeMs,
          preprocess: placedTimeMs - decodedTimeMs,
          inference: ranTimeMs - placedTimeMs,
          postprocess: this.#clock.now() - ranTimeMs,
        };
        const outcome = { detections, capped, width, height, stagesMs, startedTimeMs };
        this.#reply({ kind: 'done', id: request.id, outcome: at === 0 ? { ...outcome, shared } : outcome });
      } catch (thrown) {
        this.#fail(request.id, thrown);
      }
    });
  }

  /** Decodes a picture into a place of the next run, upright. */
  #place(runner: ModelRunner, request: RunRequest, at: number): Placed {
    const startedTimeMs = this.#clock.now();
    const borrowed: Uint8Array[] = [];
    try {
      const picture = this.#decode(request, borrowed);
      const { width, height } = picture;
      const decodedTimeMs = this.#clock.now();
      const placement = runner.place(at, picture);
      const placedTimeMs = this.#clock.now();
      return { request, placement, width, height, startedTimeMs, decodedTimeMs, placedTimeMs };
    } finally {
      for (const buffer of borrowed) this.#pool.release(buffer);
    }
  }

  #decode(request: RunRequest, borrowed: Uint8Array[]): RgbxPicture {
    const bytes = this.#slots[request.slot]!.subarray(0, request.bytes);
    const header = request.rgb ? undefined : checkJpeg(bytes, this.#settings.imageLimits);
    const { width, height } = request.rgb ?? header!;
    const buffer = this.#borrow(width, height, borrowed);
    if (!header) return expandRgb(bytes, width, height, buffer);
    const picture = decodeJpegRgbx(bytes, buffer);
    const { orientation } = header;
    if (isUpright(orientation)) return picture;
    const turned = this.#borrow(width, height, borrowed);
    turnUpright(picture.data, width, height, orientation, turned, 4);
    return { data: turned, ...uprightSize(header, orientation) };
  }

  /** A buffer of 4 bytes a pixel, which is the pool's again when the picture is placed. */
  #borrow(width: number, height: number, borrowed: Uint8Array[]): Uint8Array {
    const pooled = this.#pool.acquire(width, height, 4);
    if (pooled) borrowed.push(pooled);
    return pooled ?? Buffer.allocUnsafeSlow(width * height * 4);
  }

  #fail(id: number, thrown: unknown): void {
    const { code, message } = toSightlineError(thrown, 'INFERENCE_FAILED');
    this.#reply({ kind: 'failed', id, code, message });
  }
}

function thresholdsOf({ confidence, iou }: RunRequest, { defaults }: ModelManifest): Thresholds {
  return {
    confidence: confidence ?? defaults.confidence,
    iou: iou ?? defaults.iou,
    // Who asks for a confidence means it for every class.
    ...(defaults.perClass && confidence === undefined && { perClass: defaults.perClass }),
  };
}
