import { expect, test } from 'vitest';
import type { NamedOutcome } from '../base/camera-frame.ts';
import type { FrameOutcome } from '../base/frame.ts';
import { Priority, type Sample } from '../base/sample.ts';
import { namedOutcomeMessage, resultIn } from './outcome-message.ts';

const STAGES = {
  receivedTimeMs: 1,
  startedTimeMs: 2,
  stagesMs: { decode: 1, preprocess: 1, inference: 1, postprocess: 1 },
};

function sampleOf(outcome: FrameOutcome): Sample<NamedOutcome> {
  const pipeline = outcome.kind === 'result' ? outcome.result.pipeline : 'objects';
  return {
    position: 0,
    seq: 1,
    captureTimeMs: 5,
    publishedTimeMs: 6,
    priority: Priority.normal,
    deadlineMs: Infinity,
    data: { frame: { camera: 'north', epoch: 3, seq: 4 }, clock: 'arrival', pipeline, outcome },
  };
}

const told = (outcome: FrameOutcome) => resultIn(namedOutcomeMessage(sampleOf(outcome), 10, 0));

test('a result that was told of a frame is there again', () => {
  const box = { x: 0.25, y: 0.5, width: 0.125, height: 0.25 };
  const objects = { pipeline: 'objects', detections: [{ label: 'car', classId: 2, score: 0.5, box }] } as const;
  expect(told({ kind: 'result', width: 320, height: 180, result: objects, ...STAGES })).toEqual(objects);
  const landmarks = [{ x: 0.5, y: 0.25, z: 0 }];
  const hands = {
    pipeline: 'hands',
    hands: [{ handedness: 'left', score: 0.75, landmarks, world: landmarks }],
  } as const;
  expect(told({ kind: 'result', width: 320, height: 180, result: hands, ...STAGES })).toEqual(hands);
});

test('of a frame that has none there is none', () => {
  expect(told({ kind: 'dropped', cause: 'expired' })).toBeUndefined();
  expect(told({ kind: 'error', code: 'INFERENCE_FAILED', message: 'x' })).toBeUndefined();
});
