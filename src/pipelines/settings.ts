import type { Config } from '../config/schema.ts';
import type { DetectSourceSettings } from './detect-sources.ts';
import type { DetectPipelineOptions } from './detect.ts';

/** What the configuration says of this room, in the room's own words. */

/** A lane whose oldest frame is with a worker for longer than this gives it up for the newer ones behind it. */
const STALL_TIMEOUT_MS = 1_000;

export function detectSettings({
  streaming,
}: Config): Pick<DetectPipelineOptions, 'laneInFlightMax' | 'stallTimeoutMs'> {
  return { laneInFlightMax: streaming.receive_queue, stallTimeoutMs: STALL_TIMEOUT_MS };
}

export function detectSourceSettings({ detection, streaming }: Config): DetectSourceSettings {
  return {
    frameQueue: streaming.queue_size,
    resultsHistory: streaming.results_history,
    confidence: detection.confidence_threshold,
    iou: detection.iou_threshold,
  };
}
