import { expect, test } from 'vitest';
import type { PipelineResult } from '../../base/result.ts';
import { BOXES_MS_MAX, ResultBoard, type BoardFrame } from './result-board.ts';

const frame = (seq: number, shownMs = seq * 100, epoch = 1): BoardFrame => ({ epoch, seq, shownMs });
const objects = (x: number): PipelineResult => ({
  pipeline: 'objects',
  detections: [{ label: 'car', classId: 2, score: 0.5, box: { x, y: 0.5, width: 0.1, height: 0.1 } }],
});
const HANDS: PipelineResult = { pipeline: 'hands', hands: [] };

function board(...pipelines: readonly PipelineResult['pipeline'][]): ResultBoard {
  const made = new ResultBoard();
  made.configure(pipelines);
  return made;
}

/** Left edges of what is drawn; `~`: predicted. */
function drawn(made: ResultBoard, at: BoardFrame): string {
  const { boxes, results } = made.drawingFor(at);
  const places = results.map(({ result, isPredicted }) => {
    const x = result.pipeline === 'objects' ? result.detections[0]?.box.x.toFixed(2) : 'hands';
    return `${isPredicted ? '~' : ''}${x}`;
  });
  return [boxes, ...places].join(' ');
}

test('a frame has its own results, others where their boxes will have gone by then, for a while', () => {
  const made = board('objects');
  expect(drawn(made, frame(0))).toBe('none');
  for (const [seq, x] of [
    [1, 0.1],
    [3, 0.14],
  ] as const) {
    made.expect(frame(seq));
    expect(made.isDone(frame(seq))).toBe(false);
    made.note(frame(seq), 'objects', objects(x));
    expect(made.isDone(frame(seq))).toBe(true);
  }
  expect(drawn(made, frame(1))).toBe('own 0.10');
  expect(drawn(made, frame(3))).toBe('own 0.14');
  expect(drawn(made, frame(4))).toBe('predicted ~0.16');
  expect(drawn(made, frame(5))).toBe('predicted ~0.18');
  // Before it was seen.
  expect(drawn(made, frame(2))).toBe('none');
  expect(drawn(made, frame(9, 300 + BOXES_MS_MAX + 1))).toBe('none');
  expect(drawn(made, frame(4, 400, 2))).toBe('none');
});

test('a frame waits for nothing that does not come, and nobody for what is not expected', () => {
  const made = board('objects');
  expect(made.isDone(frame(1))).toBe(true);
  made.note(frame(1), 'objects', objects(0.1));
  expect(drawn(made, frame(1))).toBe('none');
  made.expect(frame(2));
  made.note(frame(2), 'objects', null);
  expect([made.isDone(frame(2)), drawn(made, frame(2))]).toEqual([true, 'none']);
  // It said so already.
  made.note(frame(2), 'objects', objects(0.1));
  expect(drawn(made, frame(2))).toBe('none');
  for (let seq = 3; seq < 200; seq++) made.expect(frame(seq));
  expect([made.isDone(frame(3)), made.isDone(frame(199))]).toEqual([true, false]);
});

test('late results take nothing back, and another epoch begins with nothing', () => {
  const made = board('objects');
  for (const seq of [1, 2]) made.expect(frame(seq));
  made.note(frame(2), 'objects', objects(0.3));
  made.note(frame(1), 'objects', objects(0.1));
  expect(drawn(made, frame(3))).toBe('predicted ~0.30');
  made.expect(frame(0, 0, 2));
  made.note(frame(0, 0, 2), 'objects', objects(0.5));
  expect(drawn(made, frame(1, 100, 2))).toBe('predicted ~0.50');
});

test('several pipelines: each has its own frame or another one', () => {
  const made = board('objects', 'hands');
  made.expect(frame(1));
  made.note(frame(1), 'objects', objects(0.1));
  expect(made.isDone(frame(1))).toBe(false);
  made.note(frame(1), 'hands', HANDS);
  expect([made.isDone(frame(1)), drawn(made, frame(1))]).toEqual([true, 'own 0.10 hands']);
  made.expect(frame(2));
  made.note(frame(2), 'hands', HANDS);
  expect(drawn(made, frame(2))).toBe('own hands ~0.10');
  made.configure(['hands']);
  expect(drawn(made, frame(3))).toBe('predicted ~hands');
  made.clear();
  expect(drawn(made, frame(3))).toBe('none');
});
