import type { Config } from '../config/schema.ts';
import type { Limits } from './views.ts';

/** What the configuration says of this room, in the room's own words. */

export function limitsOf({ streaming, telemetry, performance }: Config): Limits {
  return {
    frameQueue: streaming.queue_size,
    resultsHistory: streaming.results_history,
    criticalMessages: telemetry.critical_messages_max,
    targetLatencyMs: performance.target_latency_ms,
  };
}
