import { expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import type { ResultMessage } from '../protocol/video.ts';
import { expectedFrames } from './detect.ts';
import { DetectSummary } from './detect-summary.ts';

function result(labels: readonly string[], score = 0.5, ms = 2): ResultMessage {
  const stages = { capture: 0, queue: 0, decode: ms, preprocess: ms, inference: 5 * ms, postprocess: 0, total: 7 * ms };
  return {
    type: 'result',
    client_id: 'detect',
    seq: 1,
    capture_time: 0,
    pipeline: 'objects',
    width: 64,
    height: 48,
    detections: labels.map((label) => ({ label, class_id: 0, score, box: { x: 0, y: 0, width: 1, height: 1 } })),
    stages_ms: stages,
  };
}

test('counts detections and frames by label, the most frequent first, with the median of each stage', () => {
  const clock = new ManualClock();
  const summary = new DetectSummary(clock);
  for (const message of [result(['Car', 'Car', 'Dog']), result(['Car'], 0.63), result([], 0, 4)]) summary.add(message);
  clock.advance(1500);
  expect(summary.lines()).toEqual([
    'frames      3 in 1.5 s, 2.0 frames/s',
    'median ms   queue 0.0  decode 2.0  preprocess 2.0  inference 10.0  postprocess 0.0  total 14.0',
    'detections  4',
    '  Car  3  in 2 frames, best 63 %',
    '  Dog  1  in 1 frame, best 50 %',
  ]);
});

test('says so when nothing was found', () => {
  const summary = new DetectSummary(new ManualClock());
  summary.add(result([]));
  expect(summary.lines().at(-1)).toBe('detections  none');
});

test('the frames to come follow from the file, --every and --limit', () => {
  expect(expectedFrames(100, { every: 1 })).toBe(100);
  expect(expectedFrames(101, { every: 50 })).toBe(3);
  expect(expectedFrames(100, { every: 2, limit: 7 })).toBe(7);
  expect(expectedFrames(undefined, { every: 1, limit: 7 })).toBe(7);
  expect(expectedFrames(undefined, { every: 1 })).toBeUndefined();
});
