import { availableParallelism } from 'node:os';
import { performance } from 'node:perf_hooks';
import type { Clock } from '../base/clock.ts';

export interface ProcessFigures {
  readonly uptime_s: number;
  /** Of all processors that this process may use, over the time since the last reading: 100 is all of them. */
  readonly cpu_percent: number;
  /** Memory that the operating system counts for this process, all threads included. */
  readonly rss_bytes: number;
  readonly heap_used_bytes: number;
  readonly heap_total_bytes: number;
  /** Memory outside of V8's heap that its objects hold, array buffers included. */
  readonly external_bytes: number;
}

/** Readings closer than this give the same load: over a shorter time it would be noise, and several may be asking. */
const CPU_INTERVAL_MIN_MS = 500;

/** What this process takes of the machine. */
export class ProcessMonitor {
  readonly #clock: Clock;
  #readTimeMs: number;
  #used: NodeJS.CpuUsage;
  /** Before there is anything of late, that of the whole life. */
  #cpuPercent: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#readTimeMs = clock.now();
    this.#used = process.cpuUsage();
    const { user, system } = this.#used;
    this.#cpuPercent = cpuPercent((user + system) / 1000, process.uptime() * 1000, availableParallelism());
  }

  read(): ProcessFigures {
    this.#readCpu();
    const memory = process.memoryUsage();
    return {
      uptime_s: process.uptime(),
      cpu_percent: this.#cpuPercent,
      rss_bytes: memory.rss,
      heap_used_bytes: memory.heapUsed,
      heap_total_bytes: memory.heapTotal,
      external_bytes: memory.external,
    };
  }

  /** What the control of the process goes by: how long its event loop was busy since the start, and its memory. Costs microseconds. */
  load(): { readonly busyMs: number; readonly rssBytes: number } {
    return { busyMs: performance.eventLoopUtilization().active, rssBytes: process.memoryUsage.rss() };
  }

  #readCpu(): void {
    const nowMs = this.#clock.now();
    const elapsedMs = nowMs - this.#readTimeMs;
    if (elapsedMs < CPU_INTERVAL_MIN_MS) return;
    const { user, system } = process.cpuUsage(this.#used);
    this.#cpuPercent = cpuPercent((user + system) / 1000, elapsedMs, availableParallelism());
    this.#used = process.cpuUsage();
    this.#readTimeMs = nowMs;
  }
}

/** Share of `cores` processors that `usedMs` of processor time within `elapsedMs` is, 0..100. */
export function cpuPercent(usedMs: number, elapsedMs: number, cores: number): number {
  return Math.min(100, (usedMs / (elapsedMs * cores)) * 100);
}
