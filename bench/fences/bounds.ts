import type { Config } from '../../src/config/schema.ts';
import { toMb } from '../support/numbers.ts';

/** What the bars are made of, beside the control. */

/** Of the camera's p95, ms: the longest that a permitted picture may hold a worker. */
export const LONGEST_RUN_MS = 650;
/** The telemetry lane keeps encoded ranges for further readers up to this. */
const ENCODED_BYTES_MAX = 16 * 2 ** 20;
/** A worker decodes into so many a pixel. */
const BYTES_PER_PIXEL = 4;
/** The process itself, its collector's leeway, and what is in flight. */
const RESIDENT_FACTOR = 1.5;
const RESIDENT_EXTRA_MB = 100;

/** The configured bounds of everything that clients can make the server keep. */
export function boundedMb({ telemetry, streaming }: Config, workers: number): number {
  const picturesBytes = workers * streaming.image_pixels_max * BYTES_PER_PIXEL;
  return toMb(telemetry.history_total_bytes_max + ENCODED_BYTES_MAX + picturesBytes);
}

/** What the server may have of the machine's memory while it is attacked. */
export function residentMbMax(bounded: number): number {
  return RESIDENT_FACTOR * bounded + RESIDENT_EXTRA_MB;
}
