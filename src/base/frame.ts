import type { WorkerStagesMs } from './detection.ts';
import type { ErrorCode } from './errors.ts';
import type { PipelineResult } from './result.ts';

/**
 * The outcome of one frame: every frame that enters a pipeline leaves it as exactly one of these, in a sample with the
 * frame's own `seq` and capture time.
 */
export type FrameOutcome =
  | {
      readonly kind: 'result';
      /** Size of the source's picture when upright, pixels. */
      readonly width: number;
      readonly height: number;
      readonly result: PipelineResult;
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
