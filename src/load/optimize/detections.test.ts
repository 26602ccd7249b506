import { expect, test } from 'vitest';
import type { WireDetection } from '../../protocol/video.ts';
import { keptBoxes } from './detections.ts';

function box(x: number, y: number, width: number, height: number, label = 'Car', score = 0.9): WireDetection {
  return { label, class_id: 0, score, box: { x, y, width, height } };
}

const square = box(0.2, 0.2, 0.2, 0.2);

test.each<[string, readonly WireDetection[], readonly WireDetection[], number]>([
  ['the same', [square], [square], 1],
  // Of a square moved by a third of its side, two thirds lie in both: 2/3 over 4/3 is half.
  ['a little more than half in both', [box(0, 0, 0.3, 0.3)], [box(0.099, 0, 0.3, 0.3)], 1],
  ['a little less', [box(0, 0, 0.3, 0.3)], [box(0.101, 0, 0.3, 0.3)], 0],
  ['another label', [square], [box(0.2, 0.2, 0.2, 0.2, 'Person')], 0],
  ['side by side', [square], [box(0.4, 0.2, 0.2, 0.2)], 0],
  ['nothing found', [square, square], [], 0],
  ['nothing to find', [], [square], 0],
  ['one box for two', [square, box(0.21, 0.2, 0.2, 0.2)], [square], 1],
  ['two of two', [square, box(0.6, 0.6, 0.2, 0.2)], [box(0.6, 0.6, 0.2, 0.2), square], 2],
  ['without an area', [box(0.2, 0.2, 0, 0)], [box(0.2, 0.2, 0, 0)], 0],
])('%s', (_, reference, found, kept) => expect(keptBoxes(reference, found)).toBe(kept));

/** Squares with a side of 0.2: two of them overlap by half up to a distance of a third of it. */
const at = (x: number, score = 0.9) => box(x, 0.2, 0.2, 0.2, 'Car', score);

test('the surest box chooses first: it leaves the less sure one what it cannot use itself', () => {
  const [sure, unsure] = [at(0.2, 0.9), at(0.27, 0.6)];
  // The first fits both, and the less sure one better; the second fits the less sure one alone.
  const found = [at(0.25), at(0.32)];
  expect(keptBoxes([unsure, sure], found)).toBe(2);
  expect(keptBoxes([sure, unsure], found)).toBe(2);
});

test('each takes the box that fits it best, and leaves the other one', () => {
  const [sure, unsure] = [at(0.2, 0.9), at(0.3, 0.6)];
  const [close, between] = [at(0.21), at(0.25)];
  expect(keptBoxes([sure, unsure], [close, between])).toBe(2);
  expect(keptBoxes([sure, unsure], [between, close])).toBe(2);
});
