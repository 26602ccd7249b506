import type { Config } from '../config/schema.ts';
import type { HealthLimits } from './health.ts';
import type { ExportSettings } from './traces/exporter.ts';
import type { Limits } from './views.ts';

/** The configuration's part for this room, in the room's own terms. */

const MIB = 2 ** 20;
/** The main thread must not be held up for longer than 5 ms; this is an order of magnitude of trouble. */
const EVENT_LOOP_DELAY_P99_MAX_MS = 50;

export function healthLimits({ performance }: Config): HealthLimits {
  return {
    latencyP95MaxMs: performance.target_latency_ms,
    eventLoopDelayP99MaxMs: EVENT_LOOP_DELAY_P99_MAX_MS,
    rssBytesMax: performance.max_memory_usage * MIB,
  };
}

/** Values that the views show beside the figures. */
export function viewLimits({ streaming, telemetry, performance }: Config): Limits {
  return {
    frameQueue: streaming.queue_size,
    resultsHistory: streaming.results_history,
    criticalMessages: telemetry.critical_messages_max,
    targetLatencyMs: performance.target_latency_ms,
  };
}

export interface TraceSettings {
  readonly sampleRate: number;
  readonly serviceName: string;
  /** undefined: there is no collector. */
  readonly collector: ExportSettings | undefined;
}

export function traceSettings({ observe }: Pick<Config, 'observe'>): TraceSettings {
  const {
    endpoint,
    headers,
    sample_rate: sampleRate,
    service_name: serviceName,
    timeout_ms: timeoutMs,
  } = observe.traces;
  const pairs = headers.map((pair): [string, string] => {
    const at = pair.indexOf('=');
    return [pair.slice(0, at), pair.slice(at + 1).trim()];
  });
  return {
    sampleRate,
    serviceName,
    collector: endpoint === undefined ? undefined : { endpoint, headers: Object.fromEntries(pairs), timeoutMs },
  };
}
