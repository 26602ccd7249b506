import type { Detection } from '../base/detection.ts';
import type { FrameOutcome } from '../base/frame.ts';
import type { Hand, Landmark, PipelineName } from '../base/result.ts';
import type { Sample } from '../base/sample.ts';
import type { DroppedMessage, ErrorMessage, ResultMessage, WireDetection } from './video.ts';

/**
 * The wire message of one outcome. `now` is the moment in which it is handed to the encoder, `aheadMs` how far the time of day that
 * its reader knows is ahead of the clock that the sample's times are taken from.
 */
export function outcomeMessage(
  sample: Sample<FrameOutcome>,
  clientId: string,
  now: number,
  aheadMs = 0,
): ResultMessage<PipelineName> | DroppedMessage | ErrorMessage {
  const outcome = sample.data;
  switch (outcome.kind) {
    case 'dropped':
      return { type: 'dropped', seqs: [sample.seq], cause: outcome.cause };
    case 'error':
      return { type: 'error', code: outcome.code, message: outcome.message, seq: sample.seq };
    case 'result': {
      const { result, width, height, stagesMs } = outcome;
      const before = { type: 'result', client_id: clientId, seq: sample.seq } as const;
      const capture_time = sample.captureTimeMs + aheadMs;
      const stages_ms = {
        capture: ms(outcome.receivedTimeMs - sample.captureTimeMs),
        queue: ms(outcome.startedTimeMs - outcome.receivedTimeMs),
        decode: ms(stagesMs.decode),
        preprocess: ms(stagesMs.preprocess),
        inference: ms(stagesMs.inference),
        postprocess: ms(stagesMs.postprocess),
        total: ms(now - sample.captureTimeMs),
      };
      switch (result.pipeline) {
        case 'objects': {
          const detections = result.detections.map(wireDetection);
          return { ...before, capture_time, pipeline: 'objects', width, height, detections, stages_ms };
        }
        case 'hands': {
          const hands = result.hands.map(wireHand);
          return { ...before, capture_time, pipeline: 'hands', width, height, hands, stages_ms };
        }
      }
    }
  }
}

function wireDetection({ label, classId, score, box }: Detection): WireDetection {
  const { x, y, width, height } = box;
  const place = { x: round(x, 1e5), y: round(y, 1e5), width: round(width, 1e5), height: round(height, 1e5) };
  return { label, class_id: classId, score: round(score, 1e4), box: place };
}

function wireHand({ handedness, score, landmarks, world }: Hand): Hand {
  return {
    handedness,
    score: round(score, 1e4),
    landmarks: landmarks.map((point) => wirePoint(point)),
    world: world.map((point) => wirePoint(point)),
  };
}

function wirePoint({ x, y, z }: Landmark): Landmark {
  return { x: round(x, 1e5), y: round(y, 1e5), z: round(z, 1e5) };
}

/** Microseconds are enough, and a tenth of a pixel in 10,000: digits that nobody reads cost bytes in every message. */
function ms(value: number): number {
  return round(Math.max(0, value), 1e3);
}

function round(value: number, steps: number): number {
  return Math.round(value * steps) / steps;
}
