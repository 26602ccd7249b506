import type { NamedOutcome } from '../base/camera-frame.ts';
import type { Detection } from '../base/detection.ts';
import type { FrameOutcome } from '../base/frame.ts';
import type { PipelineName, PipelineResult } from '../base/result.ts';
import type { Sample } from '../base/sample.ts';
import type { NamedOutcomeMessage } from './cameras.ts';
import type { DroppedMessage, ErrorMessage, ResultMessage, StagesMs, WireDetection } from './video.ts';

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
      const { result, width, height } = outcome;
      const before = { type: 'result', client_id: clientId, seq: sample.seq } as const;
      const capture_time = sample.captureTimeMs + aheadMs;
      const stages_ms = stagesOf(outcome, sample.captureTimeMs, now);
      const { pipeline } = result;
      const contents = contentsOf(result);
      return {
        ...before,
        capture_time,
        pipeline,
        width,
        height,
        ...contents,
        stages_ms,
      } as ResultMessage<PipelineName>;
    }
  }
}

/** The time in each stage, from `fromMs` to `now`. `decodedBeforeMs`: of decoding that was over when the frame was received. */
export function stagesOf(
  { receivedTimeMs, startedTimeMs, stagesMs }: Extract<FrameOutcome, { kind: 'result' }>,
  fromMs: number,
  now: number,
  decodedBeforeMs = 0,
): StagesMs {
  const beforeMs = Math.max(0, receivedTimeMs - fromMs);
  const decodedMs = Math.min(decodedBeforeMs, beforeMs);
  return {
    capture: ms(beforeMs - decodedMs),
    queue: ms(startedTimeMs - receivedTimeMs),
    decode: ms(decodedMs + stagesMs.decode),
    preprocess: ms(stagesMs.preprocess),
    inference: ms(stagesMs.inference),
    postprocess: ms(stagesMs.postprocess),
    total: ms(now - fromMs),
  };
}

/** The outcome of a camera's frame, which says by its name whose it is. Times as above. */
export function namedOutcomeMessage(sample: Sample<NamedOutcome>, now: number, aheadMs: number): NamedOutcomeMessage {
  const { frame, clock, pipeline, outcome } = sample.data;
  const { camera, epoch, seq } = frame;
  const name = { camera, epoch, seq, capture_time: sample.captureTimeMs + aheadMs, clock, pipeline };
  const told = outcomeMessage({ ...sample, data: outcome }, camera, now, aheadMs);
  switch (told.type) {
    case 'dropped':
      return { ...name, outcome: 'dropped', cause: told.cause };
    case 'error':
      return { ...name, outcome: 'error', code: told.code, message: told.message };
    case 'result': {
      const { type: _type, client_id: _client, seq: _seq, ...found } = told;
      return { ...name, outcome: 'result', ...found } as NamedOutcomeMessage;
    }
  }
}

/** The result in such a message; undefined: there is none in it. */
export function resultIn(message: NamedOutcomeMessage): PipelineResult | undefined {
  if (message.outcome !== 'result') return undefined;
  if (message.pipeline === 'hands') return { pipeline: 'hands', hands: message.hands };
  const detections = message.detections.map(({ class_id: classId, ...one }) => ({ ...one, classId }));
  return { pipeline: 'objects', detections };
}

function contentsOf(result: PipelineResult): object {
  if (result.pipeline === 'objects') return { detections: result.detections.map(wireDetection) };
  const { pipeline: _, ...contents } = result;
  return rounded(contents) as object;
}

function wireDetection({ label, classId, score, box }: Detection): WireDetection {
  const { x, y, width, height } = box;
  const place = { x: round(x, 1e5), y: round(y, 1e5), width: round(width, 1e5), height: round(height, 1e5) };
  return { label, class_id: classId, score: round(score, 1e4), box: place };
}

/** A copy of plain data, its numbers with five digits behind the point. */
function rounded(value: unknown): unknown {
  if (typeof value === 'number') return round(value, 1e5);
  if (Array.isArray(value)) return value.map(rounded);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, rounded(entry)]));
}

/** Microseconds are enough, and a tenth of a pixel in 10,000: digits that nobody reads cost bytes in every message. */
function ms(value: number): number {
  return round(Math.max(0, value), 1e3);
}

function round(value: number, steps: number): number {
  return Math.round(value * steps) / steps;
}
