import type { Config } from '../config/schema.ts';
import type { DispatcherOptions } from './dispatcher.ts';

/** The configuration's part for this room, in the room's own terms. */

/** A lane whose oldest frame is with a worker for longer than this gives it up for the newer ones behind it. */
const STALL_TIMEOUT_MS = 1_000;

export function dispatcherSettings({
  streaming,
}: Config): Pick<DispatcherOptions, 'laneInFlightMax' | 'stallTimeoutMs'> {
  return { laneInFlightMax: streaming.receive_queue, stallTimeoutMs: STALL_TIMEOUT_MS };
}
