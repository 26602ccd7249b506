import { expect, test } from 'vitest';
import { BoxMemory, type NamedResult } from './boxes.ts';

const EPOCH = 5_000;
const frame = (seq: number, epoch = EPOCH) => ({ camera: 'north', epoch, seq });
const result = (seq: number, pipeline = 'objects', epoch = EPOCH): NamedResult => ({
  frame: frame(seq, epoch),
  captureTimeMs: epoch + seq * 80,
  pipeline,
});
const at = (memory: BoxMemory<NamedResult>, seq: number, epoch = EPOCH) =>
  memory.at(frame(seq, epoch), epoch + seq * 80);

function memoryOf(...results: NamedResult[]): BoxMemory<NamedResult> {
  const memory = new BoxMemory<NamedResult>();
  for (const one of results) memory.add(one);
  return memory;
}

test('a result is of its own frame, and of later ones an older one with its age', () => {
  const memory = memoryOf(result(10));
  expect(at(memory, 10)).toEqual({ own: [result(10)], older: [] });
  expect(at(memory, 13)).toEqual({ own: [], older: [{ result: result(10), ageMs: 240 }] });
});

test('what is found in a frame that is still to come is not shown before it', () => {
  expect(at(memoryOf(result(10)), 9)).toEqual({ own: [], older: [] });
  const memory = memoryOf(result(5), result(10));
  expect(at(memory, 9).older).toEqual([{ result: result(5), ageMs: 320 }]);
});

test('of several older ones it is the newest by capture, in whatever order they came', () => {
  const memory = memoryOf(result(5), result(8), result(7));
  expect(
    at(memory, 9).older.map(
      ({
        result: {
          frame: { seq },
        },
      }) => seq,
    ),
  ).toEqual([8]);
});

test('each pipeline counts by itself', () => {
  const memory = memoryOf(result(10), result(8, 'hands'));
  expect(at(memory, 10)).toEqual({ own: [result(10)], older: [{ result: result(8, 'hands'), ageMs: 160 }] });
});

test('another epoch is another picture, though a number may be the same', () => {
  const memory = memoryOf(result(10));
  expect(at(memory, 10, EPOCH + 800)).toEqual({ own: [], older: [] });
  expect(at(memory, 12, EPOCH + 1)).toEqual({ own: [], older: [] });
});

test('what is older than some seconds is no word about now, and is forgotten', () => {
  const memory = memoryOf(result(0));
  expect(at(memory, 62).older).toHaveLength(1);
  expect(at(memory, 63).older).toHaveLength(0);
  for (let seq = 1; seq <= 200; seq++) memory.add(result(seq));
  expect(at(memory, 0).own).toEqual([]);
  expect(at(memory, 1).own).toHaveLength(1);
});
