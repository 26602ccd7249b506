import type { FrameOutcome } from '../../src/base/frame.ts';

/** Outcomes of frames as they come from a worker. */

const STAGES = { decode: 1.5, preprocess: 2.5, inference: 10.5, postprocess: 0.5 };
const box = { x: 0.123, y: 0.234, width: 0.345, height: 0.456 };
const points = () => Array.from({ length: 21 }, () => ({ x: 0.123, y: 0.234, z: -0.345 }));

function resultOf(contents: Extract<FrameOutcome, { kind: 'result' }>['result']): FrameOutcome {
  const times = { receivedTimeMs: 1.5, startedTimeMs: 2.5 };
  return structuredClone({ kind: 'result', width: 640, height: 480, result: contents, ...times, stagesMs: STAGES });
}

export function objectsOutcome(count: number): FrameOutcome {
  return resultOf({
    pipeline: 'objects',
    detections: Array.from({ length: count }, (_, i) => ({
      label: 'Person',
      classId: i,
      score: 0.9123,
      box: { ...box },
    })),
  });
}

export function handsOutcome(count: number): FrameOutcome {
  return resultOf({
    pipeline: 'hands',
    hands: Array.from({ length: count }, () => ({
      handedness: 'left',
      score: 0.98,
      landmarks: points(),
      world: points(),
    })),
  });
}
