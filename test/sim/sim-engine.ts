import { SightlineError } from '../../src/base/errors.ts';
import type { Random } from '../../src/base/random.ts';
import type {
  Engine,
  EngineStats,
  InferenceJob,
  ProgramOutcome,
  ProviderReport,
} from '../../src/inference/engine/types.ts';
import type { Events } from './events.ts';

export interface SimEngineOptions {
  readonly workers: number;
  /** Of a frame in a worker, ms. */
  readonly serviceMs: number;
  /** Of programs that take something else. */
  readonly costsMs?: Readonly<Record<string, number>>;
  /** Of a program's frames this share takes so many times as long as the others: hands are searched for in them, and not followed. */
  readonly rare?: Readonly<Record<string, { readonly share: number; readonly times: number }>>;
  /** Frames differ by so much, a share of it. */
  readonly spread?: number;
  /** Further slow-down over time: 1 is none. */
  readonly slowness?: (nowMs: number) => number;
}

interface SimWorker {
  running: number;
  /** Runs a job that takes far longer than others: nothing is put behind it. */
  isHeld: boolean;
  /** An urgent one has the place that is kept for it. */
  extra: number;
  waiting: { readonly start: () => void; passed: number }[];
}

const ordinaryFree = (worker: SimWorker) => Math.max(0, (worker.isHeld ? 1 : 2) + worker.extra - load(worker));

const PASSED_MAX = 3;

const load = ({ running, waiting }: SimWorker) => running + waiting.length;

function overtake({ waiting }: SimWorker, start: () => void): void {
  const at = waiting.findLastIndex(({ passed }) => passed >= PASSED_MAX) + 1;
  for (const one of waiting.slice(at)) one.passed++;
  waiting.splice(at, 0, { start, passed: PASSED_MAX });
}

/** As the real engine: each worker runs one frame, holds another one ready, and has one more place for an urgent one. */
export class SimEngine implements Engine {
  onFree: (() => void) | undefined;
  readonly #events: Events;
  readonly #options: SimEngineOptions;
  readonly #random: Random;
  readonly #workers: SimWorker[];
  #completed = 0;
  #busyMs = 0;
  readonly #workerMs = new Map<string, number>();

  constructor(events: Events, options: SimEngineOptions, random: Random) {
    this.#events = events;
    this.#options = options;
    this.#random = random;
    this.#workers = Array.from({ length: options.workers }, () => ({
      running: 0,
      isHeld: false,
      extra: 0,
      waiting: [],
    }));
  }

  get freeSlots(): number {
    return this.#workers.reduce((sum, worker) => sum + ordinaryFree(worker), 0);
  }

  get urgentSlots(): number {
    return this.#workers.reduce((sum, worker) => sum + 3 - load(worker), 0);
  }

  /** Worker time by program, so far. */
  workerMs(program: string): number {
    return this.#workerMs.get(program) ?? 0;
  }

  /** One program a job. */
  run({ picture, programs, urgent = false, expectedMs }: InferenceJob): Promise<ProgramOutcome>[] {
    const decodeMs = picture.kind === 'jpeg' ? (picture.decodeMs ?? 0) : 0;
    return [this.#run(String(programs[0]!.program), urgent, decodeMs, expectedMs !== undefined)];
  }

  #run(program: string, urgent: boolean, decodeMs: number, isDear: boolean): Promise<ProgramOutcome> {
    const fit = this.#workers.filter((one) => (urgent ? load(one) < 3 : ordinaryFree(one) > 0));
    const [worker] = fit.toSorted((a, b) => load(a) - load(b));
    return new Promise((resolve, reject) => {
      if (!worker) return reject(new SightlineError('INTERNAL', 'no free slot'));
      const isExtra = urgent && worker.extra === 0;
      if (isExtra) worker.extra = 1;
      const start = () => {
        const { serviceMs, costsMs, rare, spread = 0, slowness } = this.#options;
        const { share = 0, times = 1 } = rare?.[program] ?? {};
        const rarity = share > 0 && this.#random() < share ? times : 1;
        const factor = rarity * (1 + spread * (2 * this.#random() - 1)) * (slowness?.(this.#events.nowMs) ?? 1);
        const startedTimeMs = this.#events.nowMs;
        worker.running = 1;
        worker.isHeld = isDear;
        const workerMs = ((costsMs?.[program] ?? serviceMs) + decodeMs) * factor;
        this.#events.in(workerMs, () => {
          this.#completed++;
          this.#busyMs += workerMs;
          this.#workerMs.set(program, this.workerMs(program) + workerMs);
          worker.running = 0;
          worker.isHeld = false;
          if (isExtra) worker.extra = 0;
          worker.waiting.shift()?.start();
          resolve({
            result: {},
            width: 8,
            height: 8,
            stagesMs: {
              decode: decodeMs * factor,
              preprocess: 0,
              inference: workerMs - decodeMs * factor,
              postprocess: 0,
            },
            startedTimeMs,
            workerMs,
          });
          this.onFree?.();
        });
      };
      if (worker.running === 0) start();
      else if (urgent) overtake(worker, start);
      else worker.waiting.push({ start, passed: 0 });
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
      decodes: this.#completed,
      workerMs: this.#busyMs,
      busyMs: this.#busyMs,
      models: [],
      work: [],
    };
  }

  async close(): Promise<void> {}
}
