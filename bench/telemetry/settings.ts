export type Figures = Record<string, number>;

/**
 * Limits that a measurement of the limit must not meet. Topics of measurements that are over are forgotten: an hour of
 * their histories, which no peer keeps, would be collected as garbage again and again.
 */
export const SERVER_SETTINGS = {
  'telemetry.topic_idle_s': 2,
  'server.max_connections': 4_000,
  'telemetry.publish_rate_max': 10_000_000,
  'telemetry.publish_bytes_max': 17_179_869_184,
  'log.level': 'warn',
};
