import type { Detection, WorkerStagesMs } from './detection.ts';
import type { ErrorCode } from './errors.ts';

/** A camera picture in a stream. Its capture and arrival times are those of the sample that carries it. */
export interface VideoFrame {
  /** A whole JPEG whose header was read and found within the limits. Shared by all readers: nobody writes into it. */
  readonly jpeg: Uint8Array;
  /** Of the picture when it stands upright, pixels. */
  readonly width: number;
  readonly height: number;
}

/**
 * What became of one frame: every frame that enters a pipeline leaves it as exactly one of these, in a sample with the
 * frame's own `seq` and capture time.
 */
export type FrameOutcome =
  | {
      readonly kind: 'result';
      readonly width: number;
      readonly height: number;
      readonly detections: readonly Detection[];
      /** When the frame was received and when a worker took it; Unix milliseconds. */
      readonly receivedTimeMs: number;
      readonly startedTimeMs: number;
      readonly stagesMs: WorkerStagesMs;
    }
  | { readonly kind: 'dropped'; readonly cause: FrameDropCause }
  | { readonly kind: 'error'; readonly code: ErrorCode; readonly message: string };

/**
 * Why a pipeline left a frame out: its queue was full, it could not be in time any more, a newer one of the same stream waited, or a
 * newer one was out already.
 */
export type FrameDropCause = 'queue_full' | 'expired' | 'superseded' | 'stale' | 'disconnected';
