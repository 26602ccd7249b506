import type { Detection } from '../base/detection.ts';
import { SightlineError } from '../base/errors.ts';
import type { FrameOutcome } from '../base/frame.ts';
import type { PipelineResult } from '../base/result.ts';
import type { Sample } from '../base/sample.ts';
import type { DroppedMessage, ErrorMessage, ResultMessage } from '../protocol/video.ts';

/**
 * The wire message of one outcome. `now` is the moment in which it is handed to the encoder, `aheadMs` how far the time of day that
 * its reader knows is ahead of the clock that the sample's times are taken from.
 */
export function outcomeMessage(
  sample: Sample<FrameOutcome>,
  session: { readonly clientId: string; readonly pipeline: string },
  now: number,
  aheadMs = 0,
): ResultMessage | DroppedMessage | ErrorMessage {
  const outcome = sample.data;
  switch (outcome.kind) {
    case 'dropped':
      return { type: 'dropped', seqs: [sample.seq], cause: outcome.cause };
    case 'error':
      return { type: 'error', code: outcome.code, message: outcome.message, seq: sample.seq };
    case 'result':
      return {
        type: 'result',
        client_id: session.clientId,
        seq: sample.seq,
        capture_time: sample.captureTimeMs + aheadMs,
        pipeline: session.pipeline,
        width: outcome.width,
        height: outcome.height,
        detections: detectionsOf(outcome.result).map(({ label, classId, score, box }) => ({
          label,
          class_id: classId,
          score: round(score, 1e4),
          box: {
            x: round(box.x, 1e5),
            y: round(box.y, 1e5),
            width: round(box.width, 1e5),
            height: round(box.height, 1e5),
          },
        })),
        stages_ms: {
          capture: ms(outcome.receivedTimeMs - sample.captureTimeMs),
          queue: ms(outcome.startedTimeMs - outcome.receivedTimeMs),
          decode: ms(outcome.stagesMs.decode),
          preprocess: ms(outcome.stagesMs.preprocess),
          inference: ms(outcome.stagesMs.inference),
          postprocess: ms(outcome.stagesMs.postprocess),
          total: ms(now - sample.captureTimeMs),
        },
      };
  }
}

/** Errors: INTERNAL for what has no message. */
function detectionsOf(result: PipelineResult): readonly Detection[] {
  if (result.pipeline === 'objects') return result.detections;
  throw new SightlineError('INTERNAL', `no message tells of ${result.pipeline}`);
}

/** Microseconds are enough, and a tenth of a pixel in 10,000: digits that nobody reads cost bytes in every message. */
function ms(value: number): number {
  return round(Math.max(0, value), 1e3);
}

function round(value: number, steps: number): number {
  return Math.round(value * steps) / steps;
}
