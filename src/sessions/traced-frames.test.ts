import { expect, test } from 'vitest';
import type { FrameTrace } from '../observe/traces/frame-trace.ts';
import { TracedFrames } from './traced-frames.ts';

const trace = (traceId: string): FrameTrace => ({ traceId, parent: undefined, isSampled: true });

test('a frame that is done is forgotten with all before it', () => {
  const frames = new TracedFrames();
  for (const seq of [1, 2, 5, 9]) frames.add(seq, trace(`${seq}`));
  expect([frames.get(2)?.traceId, frames.get(3)]).toEqual(['2', undefined]);
  frames.forgetUpTo(6);
  expect([frames.get(5), frames.get(9)?.traceId, frames.size]).toEqual([undefined, '9', 1]);
  frames.clear();
  expect(frames.size).toBe(0);
});

test('of too many the oldest are forgotten', () => {
  const frames = new TracedFrames();
  for (let seq = 1; seq <= 1_030; seq++) frames.add(seq, trace('x'));
  expect([frames.size, frames.get(6), frames.get(7)?.traceId]).toEqual([1_024, undefined, 'x']);
});
