import { availableParallelism } from 'node:os';
import { performance } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import { z } from 'zod';
import type { Clock } from '../base/clock.ts';
import { ProcessDescriptors, type Descriptors } from './descriptors.ts';
import { part, type Part } from './figures.ts';
import { residentBytes } from './resident.ts';
import { amount, count } from './schema.ts';

export const processSchema = z
  .object({
    uptime_s: amount(),
    cpu_percent: z.number().min(0).max(100).describe('of all processors that the process may use, recently'),
    rss_bytes: count().describe('memory that the operating system counts for the process, all threads included'),
    heap_used_bytes: count(),
    heap_total_bytes: count(),
    heap_resident_bytes: count().describe(
      'of rss_bytes the part that is the heap of the main thread; heap_total_bytes may have pages that were never used',
    ),
    external_bytes: count(),
    descriptors_open: count().nullable().describe('open file descriptors; null where the system does not tell'),
    descriptors_max: count().nullable().describe('those that may be open at once; null: no limit is known'),
  })
  .meta({ id: 'Process', description: 'resources of the machine that the server uses' });

export type ProcessFigures = Readonly<z.output<typeof processSchema>>;

export function processPart(monitor: ProcessMonitor): Part<ProcessFigures> {
  return part(
    () => monitor.read(),
    [
      {
        name: 'sightline_process_uptime_seconds',
        kind: 'gauge',
        unit: 'seconds',
        help: 'Time since the process was started',
        read: ({ uptime_s }) => uptime_s,
      },
      {
        name: 'sightline_process_cpu_ratio',
        kind: 'gauge',
        unit: 'ratio',
        help: 'Recent share of all processors that the process may use',
        read: ({ cpu_percent }) => cpu_percent / 100,
      },
      {
        name: 'sightline_process_memory_bytes',
        kind: 'gauge',
        unit: 'bytes',
        help: 'Memory of the process; external: memory that objects hold outside of the heap',
        labels: ['kind'],
        read: ({ rss_bytes, heap_used_bytes, heap_total_bytes, heap_resident_bytes, external_bytes }) => [
          [['resident'], rss_bytes],
          [['heap_used'], heap_used_bytes],
          [['heap_total'], heap_total_bytes],
          [['heap_resident'], heap_resident_bytes],
          [['external'], external_bytes],
        ],
      },
      {
        name: 'sightline_process_descriptors',
        kind: 'gauge',
        help: 'File descriptors of the process that are open',
        read: ({ descriptors_open }) => descriptors_open,
      },
      {
        name: 'sightline_process_descriptors_limit',
        kind: 'gauge',
        help: 'File descriptors that the process may have open at once',
        read: ({ descriptors_max }) => descriptors_max,
      },
    ],
  );
}

/** Readings closer than this give the same load: over a shorter time it would be noise, and several may be asking. */
const CPU_INTERVAL_MIN_MS = 500;

/** Resources of the machine that this process uses. */
export class ProcessMonitor {
  readonly descriptors: Descriptors = new ProcessDescriptors();
  readonly #clock: Clock;
  #readTimeMs: number;
  #used: NodeJS.CpuUsage;
  /** Before there is a recent value, that of the whole life. */
  #cpuPercent: number;
  #descriptorsOpen: number | undefined;
  #countTimeMs = -Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#readTimeMs = clock.now();
    this.#used = process.cpuUsage();
    const { user, system } = this.#used;
    this.#cpuPercent = cpuPercent((user + system) / 1000, process.uptime() * 1000, availableParallelism());
  }

  read(): ProcessFigures {
    this.#readCpu();
    this.#countDescriptors();
    // The same figures as `process.memoryUsage()`, which throws where no descriptor is left.
    const heap = getHeapStatistics();
    return {
      uptime_s: process.uptime(),
      cpu_percent: this.#cpuPercent,
      rss_bytes: residentBytes(),
      heap_used_bytes: heap.used_heap_size,
      heap_total_bytes: heap.total_heap_size,
      heap_resident_bytes: heap.total_physical_size,
      external_bytes: heap.external_memory,
      descriptors_open: this.#descriptorsOpen ?? null,
      descriptors_max: this.descriptors.max ?? null,
    };
  }

  /** Input of the process control: the event loop's busy time since the start, and the memory. Costs microseconds. */
  load(): { readonly busyMs: number; readonly rssBytes: number } {
    return { busyMs: performance.eventLoopUtilization().active, rssBytes: residentBytes() };
  }

  #countDescriptors(): void {
    const nowMs = this.#clock.now();
    if (nowMs - this.#countTimeMs < this.descriptors.intervalMs) return;
    this.#countTimeMs = nowMs;
    this.#descriptorsOpen = this.descriptors.count();
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

/** Share of `cores` processors that `usedMs` of processor time within `elapsedMs` amounts to, 0..100. */
export function cpuPercent(usedMs: number, elapsedMs: number, cores: number): number {
  return Math.min(100, (usedMs / (elapsedMs * cores)) * 100);
}
