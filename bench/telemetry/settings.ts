export type Figures = Record<string, number>;

/** Limits that a measurement of the limit must not meet. */
export const SERVER_SETTINGS = {
  'server.max_connections': 4_000,
  'telemetry.publish_rate_max': 10_000_000,
  'telemetry.publish_bytes_max': 17_179_869_184,
  'log.level': 'warn',
};
