/** Values by dotted key. */
export type ConfigLayer = Readonly<Record<string, unknown>>;

/** Profiles: how much a server takes on. Each is a small set of other defaults, above those of the strategy. */
export const PROFILES: Readonly<Record<'high_performance' | 'high_capacity', ConfigLayer>> = {
  high_performance: {
    'server.max_connections': 1000,
    'telemetry.history_messages': 10_000,
    'inference.batch_max': 5,
    // Leaves frames out and scales pictures down early: two frames of three are left out where it begins.
    'performance.mode': 'high_performance',
    'performance.ladder': ['modes'],
    'performance.target_latency_ms': 50,
    'performance.adaptation_interval_s': 1,
    'performance.stability_s': 3,
  },
  // Many clients with little each: smaller buffers, so that twice the connections need no more memory.
  high_capacity: {
    'server.max_connections': 2000,
    'streaming.default_fps': 10,
    'performance.adaptation_interval_s': 5,
    'performance.stability_s': 10,
    'streaming.queue_size': 12,
    'streaming.results_history': 128,
    'streaming.send_buffer_bytes_max': 524_288,
    'telemetry.history_messages': 20_000,
    'inference.batch_max': 20,
    'telemetry.queue_bytes_max': 4_194_304,
  },
};
