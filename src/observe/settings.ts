import type { Config } from '../config/schema.ts';
import type { HealthLimits } from './health.ts';
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
