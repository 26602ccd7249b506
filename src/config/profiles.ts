/** Values by dotted key. */
export type ConfigLayer = Readonly<Record<string, unknown>>;

/** Profiles: how much a server takes on. Each is a small set of other defaults, above those of the strategy. */
export const PROFILES: Readonly<Record<'high_performance' | 'high_capacity', ConfigLayer>> = {
  high_performance: {
    'server.max_connections': 1000,
    'telemetry.history_messages': 10_000,
    'performance.mode': 'high_performance',
    'performance.stability_s': 3,
  },
  // Many clients with little each: smaller buffers, so that twice the connections need no more memory.
  high_capacity: {
    'server.max_connections': 2000,
    'streaming.default_fps': 10,
    'performance.stability_s': 10,
    'streaming.queue_size': 12,
    'streaming.results_history': 128,
    'streaming.send_buffer_bytes_max': 524_288,
    'telemetry.history_messages': 20_000,
    'telemetry.queue_bytes_max': 4_194_304,
  },
};
