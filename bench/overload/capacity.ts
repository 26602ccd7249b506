import { CoreUse, readProcessors } from '../support/processors.ts';
import { median, percentile } from '../support/statistics.ts';
import type { Figures } from './analysis.ts';
import { measureCapacity, type LoadBench, type Target } from './loads.ts';
import type { SessionWish } from './senders.ts';

export interface CapacityOptions {
  /** For people. */
  readonly name: string;
  readonly wishes: readonly SessionWish[];
  readonly spanMs: number;
}

/** What a server can process, measured again and again. */
export class Capacity {
  readonly #bench: LoadBench;
  readonly #target: Target;
  readonly #options: CapacityOptions;
  readonly #spansFps: number[] = [];
  readonly #latenciesMs: number[] = [];
  readonly #use = new CoreUse();
  #runMs = Number.NaN;

  constructor(bench: LoadBench, target: Target, options: CapacityOptions) {
    this.#bench = bench;
    this.#target = target;
    this.#options = options;
  }

  get fps(): number {
    return median(this.#spansFps);
  }

  get lastFps(): number {
    return this.#spansFps.at(-1)!;
  }

  /** The median of what a worker spent on a frame in the last span. */
  get runMs(): number {
    return this.#runMs;
  }

  /** Code that is compiled while it is measured would be measured. */
  async warmUp(): Promise<void> {
    await measureCapacity(this.#bench, this.#target, this.#options);
  }

  async measure(): Promise<void> {
    const { sources, say } = this.#bench;
    const pids = [this.#target.pid, sources.pid, process.pid];
    const before = readProcessors(pids);
    const { fps, latenciesMs, worksMs } = await measureCapacity(this.#bench, this.#target, this.#options);
    this.#use.add(before, readProcessors(pids));
    this.#spansFps.push(fps);
    for (const ms of latenciesMs) this.#latenciesMs.push(ms);
    this.#runMs = median(worksMs);
    say(`${this.#options.name}: ${fps.toFixed(1)} fps`);
  }

  figures(): Figures {
    return {
      capacity_fps: this.fps,
      capacity_fps_min: Math.min(...this.#spansFps),
      capacity_fps_max: Math.max(...this.#spansFps),
      capacity_p95_ms: percentile(this.#latenciesMs, 95),
      capacity_foreign_cores: this.#use.foreign,
    };
  }
}
