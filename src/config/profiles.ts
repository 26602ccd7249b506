import type { Profile } from './schema.ts';

/** The profiles that are built in: how much a server takes on. */
export const PROFILES: Record<string, Profile> = {
  high_performance: {
    server: { max_connections: 1000 },
    telemetry: { history_messages: 10_000 },
    inference: { batch_max: 5 },
    performance: {
      // Leaves frames out and scales pictures down early: two frames of three are left out where it begins.
      mode: 'high_performance',
      ladder: ['modes'],
      target_latency_ms: 50,
      adaptation_interval_s: 1,
      stability_s: 3,
    },
  },
  // Many clients with little each: smaller buffers, so that twice the connections need no more memory.
  high_capacity: {
    server: { max_connections: 2000 },
    streaming: { default_fps: 10, queue_size: 12, results_history: 128, send_buffer_bytes_max: 524_288 },
    telemetry: { history_messages: 20_000, queue_bytes_max: 4_194_304 },
    inference: { batch_max: 20 },
    performance: { adaptation_interval_s: 5, stability_s: 10 },
  },
};
