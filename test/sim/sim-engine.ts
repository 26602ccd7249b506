import { SightlineError } from '../../src/base/errors.ts';
import type { Random } from '../../src/base/random.ts';
import type {
  Engine,
  EngineStats,
  InferenceJob,
  InferenceOutcome,
  ProviderReport,
} from '../../src/inference/engine/types.ts';
import type { Events } from './events.ts';

export interface SimEngineOptions {
  readonly workers: number;
  /** Of a frame in a worker, ms. */
  readonly serviceMs: number;
  /** Frames differ by so much, a share of it. */
  readonly spread?: number;
  /** Further slow-down over time: 1 is none. */
  readonly slowness?: (nowMs: number) => number;
}

interface SimWorker {
  running: number;
  waiting: (() => void)[];
}

/** As the real engine: each worker runs one frame and holds another one ready. */
export class SimEngine implements Engine {
  onFree: (() => void) | undefined;
  readonly #events: Events;
  readonly #options: SimEngineOptions;
  readonly #random: Random;
  readonly #workers: SimWorker[];
  #completed = 0;
  #busyMs = 0;

  constructor(events: Events, options: SimEngineOptions, random: Random) {
    this.#events = events;
    this.#options = options;
    this.#random = random;
    this.#workers = Array.from({ length: options.workers }, () => ({ running: 0, waiting: [] }));
  }

  get freeSlots(): number {
    return this.#workers.reduce((sum, { running, waiting }) => sum + 2 - running - waiting.length, 0);
  }

  run(_job: InferenceJob): Promise<InferenceOutcome> {
    const load = ({ running, waiting }: SimWorker) => running + waiting.length;
    const worker = this.#workers.reduce((least, one) => (load(one) < load(least) ? one : least));
    return new Promise((resolve, reject) => {
      if (load(worker) >= 2) return reject(new SightlineError('INTERNAL', 'no free slot'));
      const start = () => {
        const { serviceMs, spread = 0, slowness } = this.#options;
        const factor = (1 + spread * (2 * this.#random() - 1)) * (slowness?.(this.#events.nowMs) ?? 1);
        const startedTimeMs = this.#events.nowMs;
        worker.running = 1;
        this.#events.in(serviceMs * factor, () => {
          this.#completed++;
          this.#busyMs += serviceMs * factor;
          worker.running = 0;
          worker.waiting.shift()?.();
          resolve({
            detections: [],
            width: 8,
            height: 8,
            stagesMs: { decode: 0, preprocess: 0, inference: serviceMs * factor, postprocess: 0 },
            startedTimeMs,
          });
          this.onFree?.();
        });
      };
      if (worker.running === 0) start();
      else worker.waiting.push(start);
    });
  }

  load(): Promise<ProviderReport> {
    return Promise.reject(new SightlineError('INTERNAL', 'nothing to load in a simulation'));
  }

  stats(): EngineStats {
    return {
      workers: this.#workers.length,
      busy: this.#workers.filter(({ running }) => running > 0).length,
      restarts: 0,
      completed: this.#completed,
      failed: 0,
      busyMs: this.#busyMs,
      models: [],
    };
  }

  async close(): Promise<void> {}
}
