/** Values by dotted key. */
export type ConfigLayer = Readonly<Record<string, unknown>>;

/**
 * Strategies: what matters most when not everything is possible. Each is a small set of other defaults; a key that the user
 * sets in any way beats it.
 */
export const STRATEGIES: Readonly<Record<'latency' | 'memory' | 'balanced' | 'aggressive', ConfigLayer>> = {
  // A late frame is of no use: short queues, young frames, small pictures to decode.
  latency: {
    'streaming.queue_size': 4,
    'performance.target_latency_ms': 50,
    // A hand that is followed for longer is searched for less often.
    'hands.min_detection_confidence': 0.3,
    'hands.min_tracking_confidence': 0.3,
  },
  // A small machine or many neighbours: one worker, as many models as objects and hands need together, short histories.
  memory: {
    'streaming.queue_size': 8,
    'streaming.results_history': 64,
    'streaming.send_buffer_bytes_max': 262_144,
    'inference.workers': 1,
    'inference.models_max': 3,
    'performance.max_memory_usage': 2048,
  },
  balanced: {},
  // The shortest time at any price: also gives up picture quality.
  aggressive: {
    'streaming.queue_size': 2,
    'video.quality': 40,
    'video.width': 480,
    'video.height': 360,
    'performance.mode': 'ultra_performance',
    'performance.ladder': ['modes'],
    'performance.target_latency_ms': 30,
    'hands.min_detection_confidence': 0.3,
    'hands.min_tracking_confidence': 0.3,
  },
};
