import { judgeHealth, type HealthFacts, type HealthLimits } from './health.ts';
import type { HealthDocument } from './metrics.ts';
import type { ServerMonitor } from './server-monitor.ts';

/** Facts of other rooms about the server's health. */
export interface ServerFacts extends Pick<
  HealthFacts,
  'starting' | 'stopping' | 'modelsLoading' | 'modelsFailed' | 'workers' | 'callbackFaults'
> {
  /** Running ones, and those that have ended since the last one began. */
  readonly recordings: readonly {
    readonly state: 'recording' | 'interrupted' | 'failed' | 'ended';
    readonly file: string;
    readonly lost: number;
    readonly error: string | null;
  }[];
  readonly connections: HealthDocument['connections'] & { /** By the settings. */ readonly wanted: number };
  /** Why the store cannot be written; null: it can, or is not meant to be. */
  readonly store: { readonly fault: string | null };
  /** Those of which somebody is told. */
  readonly alerts: HealthFacts['alerts'];
  readonly sessions: number;
  readonly cameras: HealthDocument['cameras'];
  /** What the bounds of memory come to together, and what the machine or its cgroup has, bytes. */
  readonly memory: { readonly plannedBytes: number; readonly machineBytes: number };
  readonly models: HealthDocument['models'];
}

export interface ServerHealthParts {
  readonly version: string;
  readonly monitor: ServerMonitor;
  /** Read anew by each call. */
  readonly facts: () => ServerFacts;
  readonly settings: HealthLimits;
}

/** Gathers the basis of the verdict, and writes the document of `GET /health`. */
export class ServerHealth {
  readonly #parts: ServerHealthParts;
  #limits: HealthLimits;

  constructor(parts: ServerHealthParts) {
    this.#parts = parts;
    this.#limits = parts.settings;
  }

  configure(settings: HealthLimits): void {
    this.#limits = settings;
  }

  document(): HealthDocument {
    const { version, monitor, facts } = this.#parts;
    const { recordings, connections, sessions, cameras, models, memory, store, ...others } = facts();
    const total = monitor.latencies.recent().stages.total;
    const { rss_bytes: rssBytes, uptime_s, descriptors_max: descriptorsMax } = monitor.process.read();
    const { open, max, wanted } = connections;
    const health = judgeHealth(
      {
        ...others,
        latency: { p95Ms: total.p95_ms ?? 0, frames: total.count },
        eventLoopDelayP99Ms: monitor.eventLoop.p99_ms ?? 0,
        rssBytes,
        connections: { max, wanted, descriptorsMax },
        recordings: recordings.map(({ state, file, error, lost }) => ({ state, file, reason: error, lost })),
        storeFault: store.fault,
        memory: { ...memory, settingBytes: this.#limits.rssBytesMax },
      },
      this.#limits,
    );
    return { ...health, version, uptime_s, connections: { open, max }, sessions, cameras, models };
  }
}
