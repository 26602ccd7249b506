import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ResultMessage } from '../protocol/video.ts';
import { STAGES, traceOf } from './trace.ts';

const STAGES_MS = { capture: 8, queue: 1, decode: 1, preprocess: 2, inference: 10, postprocess: 1, total: 24 };

function trace(totalMs: number, encodeMs: number, stages_ms = STAGES_MS) {
  return traceOf({
    result: { stages_ms } as ResultMessage,
    captureTimeMs: 1_000,
    sentTimeMs: 1_000 + encodeMs,
    receivedTimeMs: 1_000 + totalMs,
    clockUncertaintyMs: 0.4,
  });
}

test('what the client and the server know of a frame, and what is left is the way back', () => {
  expect(trace(30, 3)).toEqual({
    totalMs: 30,
    stagesMs: {
      encode: 3,
      transmit: 5,
      queue: 1,
      decode: 1,
      preprocess: 2,
      inference: 10,
      postprocess: 1,
      return: 7,
    },
    uncertaintyMs: 0.4,
  });
});

test('a clock that is a little off makes no way of less than no time', () => {
  expect(trace(20, 3).stagesMs.return).toBe(0);
  expect(trace(30, 9).stagesMs).toMatchObject({ encode: 9, transmit: 0, return: 6 });
});

test('property: no stage is negative, and they add up to the total where the clocks agree', () => {
  const ms = fc.double({ min: 0, max: 1e4, noNaN: true });
  fc.assert(
    fc.property(
      fc.record({ encode: ms, way: ms, inference: ms, back: ms, offMs: fc.constantFrom(0, 0, -50, 50) }),
      (one) => {
        const { encode, way, inference, back, offMs } = one;
        const stages = { ...STAGES_MS, capture: encode + way + offMs, inference };
        const { stagesMs, totalMs } = trace(encode + way + inference + 5 + back, encode, stages);
        for (const stage of STAGES) expect(stagesMs[stage]).toBeGreaterThanOrEqual(0);
        const sum = STAGES.reduce((total, stage) => total + stagesMs[stage], 0);
        if (offMs === 0) expect(sum).toBeCloseTo(totalMs, 6);
      },
    ),
  );
});
