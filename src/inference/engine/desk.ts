import { systemClock } from '../../base/clock.ts';
import { SightlineError, toSightlineError } from '../../base/errors.ts';
import { checkJpeg, decodeJpegRgbx } from '../../media/jpeg.ts';
import { BufferPool } from '../../media/pool.ts';
import { expandRgb } from '../../vision/preprocess.ts';
import type { ModelManifest } from '../manifest.ts';
import type { LoadRequest, RunRequest, WorkerReply, WorkerRequest, WorkerSettings } from './messages.ts';
import { ModelRunner } from './runner.ts';

/** An ordinary frame is overtaken so often at the most: urgent ones without end must not hold it for ever. */
const PASSED_MAX = 3;

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

function isUrgent(request: WorkerRequest): boolean {
  return request.kind === 'run' && request.urgent === true;
}

/**
 * What a worker thread does: takes one request after the other, urgent ones first, runs each frame to completion. Knows nothing
 * of threads, so that it can be driven from anywhere.
 */
export class Desk {
  readonly #settings: WorkerSettings;
  readonly #reply: (message: WorkerReply) => void;
  readonly #onClosed: () => void;
  readonly #models = new Map<string, { readonly runner: ModelRunner; readonly manifest: ModelManifest }>();
  /** The shared memory of each slot. */
  readonly #slots: Uint8Array[] = [];
  // One frame is decoded at a time, but cameras of several sizes take turns.
  readonly #pool = new BufferPool({ buffersPerShape: 1, shapesMax: 4 });
  /** Bounded by the engine: it has one run per slot and one load per model on the way. */
  readonly #waiting: WorkerRequest[] = [];
  /** How often each waiting run was overtaken, by its id. */
  readonly #passed = new Map<number, number>();
  readonly #running: Int32Array | undefined;
  #isWorking = false;

  constructor(settings: WorkerSettings, reply: (message: WorkerReply) => void, onClosed: () => void) {
    this.#settings = settings;
    this.#running = settings.running && new Int32Array(settings.running);
    this.#reply = reply;
    this.#onClosed = onClosed;
  }

  /** Takes a request in; `close` goes before everything that has not begun. */
  take(request: WorkerRequest): void {
    if (request.kind === 'close') {
      this.#waiting.length = 0;
      this.#passed.clear();
    }
    if (isUrgent(request)) this.#overtake(request);
    else this.#waiting.push(request);
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
    for (let request = this.#waiting.shift(); request; request = this.#waiting.shift()) {
      if (request.kind === 'close') {
        await Promise.all(Array.from(this.#models.values(), ({ runner }) => runner.release()));
        this.#onClosed();
        return;
      }
      try {
        this.#reply(request.kind === 'load' ? await this.#load(request) : await this.#run(request));
      } catch (thrown) {
        const { code, message } = toSightlineError(thrown, 'INFERENCE_FAILED');
        this.#reply({ kind: 'failed', id: request.id, code, message });
      }
      // The thread was blocked: an urgent request may have come in meanwhile, and is heard only now.
      if (this.#waiting.length > 0) await nextTurn();
    }
    this.#isWorking = false;
  }

  async #load({ id, model, profile }: LoadRequest): Promise<WorkerReply> {
    const { manifest } = model;
    const { runner, report, warmUpMs } = await ModelRunner.open(model, this.#settings.session, profile);
    await this.#models.get(manifest.id)?.runner.release();
    this.#models.set(manifest.id, { runner, manifest });
    return { kind: 'loaded', id, report, warmUpMs };
  }

  async #run(request: RunRequest): Promise<WorkerReply> {
    const startedTimeMs = systemClock.now();
    this.#passed.delete(request.id);
    if (this.#running) Atomics.store(this.#running, 0, request.id);
    const model = this.#models.get(request.modelId);
    if (!model) throw new SightlineError('MODEL_UNKNOWN', `the model ${request.modelId} is not loaded`);
    if (request.memory) this.#slots[request.slot] = new Uint8Array(request.memory);
    const bytes = this.#slots[request.slot]!.subarray(0, request.bytes);

    const decodeMs = performance.now();
    const { width, height } = request.rgb ?? checkJpeg(bytes, this.#settings.imageLimits);
    const pooled = this.#pool.acquire(width, height, 4);
    const buffer = pooled ?? Buffer.allocUnsafeSlow(width * height * 4);
    try {
      const picture = request.rgb ? expandRgb(bytes, width, height, buffer) : decodeJpegRgbx(bytes, buffer);
      const decode = performance.now() - decodeMs;
      const { defaults } = model.manifest;
      const { detections, capped, timesMs } = await model.runner.run(picture, {
        confidence: request.confidence ?? defaults.confidence,
        iou: request.iou ?? defaults.iou,
        // Who asks for a confidence means it for every class.
        ...(defaults.perClass && request.confidence === undefined && { perClass: defaults.perClass }),
      });
      const stagesMs = { decode, ...timesMs };
      return { kind: 'done', id: request.id, outcome: { detections, capped, width, height, stagesMs, startedTimeMs } };
    } finally {
      if (pooled) this.#pool.release(pooled);
    }
  }
}
