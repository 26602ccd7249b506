import { expect, test } from 'vitest';
import type { PipelineName, PipelineResult } from '../base/result.ts';
import { loadConfig } from '../config/load.ts';
import { outcomeMessage } from '../protocol/outcome-message.ts';
import { pipelineOf, pipelineReports, PIPELINES } from './registry.ts';

const POINTS = Array.from({ length: 21 }, (_, i) => ({ x: i / 21, y: -0.1, z: 0.25 }));
/** Of a pipeline that is not here its own folder has the test. */
const RESULTS: { readonly [P in PipelineName]?: Extract<PipelineResult, { pipeline: P }> } = {
  objects: {
    pipeline: 'objects',
    detections: [{ label: 'Car', classId: 22, score: 0.5, box: { x: 0, y: 0.25, width: 1, height: 0.5 } }],
  },
  hands: { pipeline: 'hands', hands: [{ handedness: 'right', score: 1, landmarks: POINTS, world: POINTS }] },
};
const NAMES = Object.keys(RESULTS) as PipelineName[];

test.each(NAMES)('%s: the message of a result is what its schema says', (name) => {
  const stagesMs = { decode: 1, preprocess: 1, inference: 1, postprocess: 1 };
  const times = { receivedTimeMs: 0, startedTimeMs: 0, stagesMs };
  const data = { kind: 'result', width: 4, height: 4, result: RESULTS[name]!, ...times } as const;
  const sample = {
    position: 0,
    seq: 1,
    captureTimeMs: 0,
    publishedTimeMs: 0,
    priority: 1,
    deadlineMs: 1,
    data,
  } as const;
  const message = outcomeMessage(sample, 'a', 0) as unknown as Record<string, unknown>;
  expect(message['pipeline']).toBe(name);
  const { result } = PIPELINES[name];
  expect(result.parse(message)).toEqual(
    Object.fromEntries(Object.entries(message).filter(([key]) => key === 'detections' || key === 'hands')),
  );
  expect(result.safeParse({}).success).toBe(false);
});

test('an unknown name is refused with those that there are', () => {
  for (const name of ['dance', '', '__proto__', 'toString', 'x'.repeat(500)]) {
    expect(() => pipelineOf(name)).toThrow('there are objects, hands');
  }
  expect(pipelineOf('hands')).toBe(PIPELINES.hands);
});

test('the reports are plain JSON, with the models that the configuration says', () => {
  const reports = pipelineReports(loadConfig({ env: {}, flags: { 'hands.model_complexity': 1 } }));
  expect(JSON.parse(JSON.stringify(reports))).toEqual(reports);
  expect(reports).toMatchObject([
    { name: 'objects', models: { detector: 'ssd-oidv4' }, choices: ['model', 'confidence', 'iou'] },
    { name: 'hands', models: { palm: 'palm-full', landmarks: 'hand-full' }, choices: [] },
  ]);
  expect(reports[1]!.result).toMatchObject({ type: 'object', properties: { hands: { type: 'array' } } });
});
