import { expect, test } from 'vitest';
import type { Detection } from '../base/detection.ts';
import { boxesAt } from './box-motion.ts';

const found = (x: number, y: number, classId = 1, side = 0.2): Detection => ({
  label: `class ${classId}`,
  classId,
  score: 0.5,
  box: { x, y, width: side, height: side },
});
const places = (detections: readonly Detection[]) =>
  detections.map(({ classId, box: { x, y, width, height } }) =>
    [classId, x, y, width, height].map((value) => Math.round(value * 1_000) / 1_000),
  );
const look = (atMs: number, ...detections: Detection[]) => ({ atMs, detections });

test('a box goes on as it came, by the time that has gone', () => {
  const [one, two] = [look(1_000, found(0.1, 0.3)), look(1_200, found(0.15, 0.28))];
  expect(places(boxesAt(one, two, 1_200))).toEqual([[1, 0.15, 0.28, 0.2, 0.2]]);
  expect(places(boxesAt(one, two, 1_300))).toEqual([[1, 0.175, 0.27, 0.2, 0.2]]);
  expect(places(boxesAt(one, two, 1_400))).toEqual([[1, 0.2, 0.26, 0.2, 0.2]]);
});

test('one that grows goes on growing', () => {
  const [one, two] = [look(0, found(0.4, 0.4, 1, 0.1)), look(100, found(0.38, 0.38, 1, 0.14))];
  expect(places(boxesAt(one, two, 200))).toEqual([[1, 0.36, 0.36, 0.18, 0.18]]);
});

test('boxes are told apart by class, and by how much they share; one that was not there stays where it is', () => {
  const one = look(0, found(0.1, 0.1), found(0.16, 0.1), found(0.5, 0.5, 2));
  const two = look(100, found(0.17, 0.1), found(0.12, 0.1), found(0.52, 0.5, 1), found(0.8, 0.1, 2));
  expect(places(boxesAt(one, two, 200))).toEqual([
    [1, 0.18, 0.1, 0.2, 0.2],
    [1, 0.14, 0.1, 0.2, 0.2],
    [1, 0.52, 0.5, 0.2, 0.2],
    [2, 0.8, 0.1, 0.2, 0.2],
  ]);
});

test('at the edge it is cut off, and behind it there is none', () => {
  const [one, two] = [look(0, found(0.7, 0.1)), look(100, found(0.78, 0.1))];
  expect(places(boxesAt(one, two, 200))).toEqual([[1, 0.86, 0.1, 0.14, 0.2]]);
  expect(boxesAt(one, two, 400)).toEqual([]);
});

test('nothing is made of a single look, of looks in the wrong order, or of ones far apart', () => {
  const two = look(10_000, found(0.15, 0.3));
  for (const one of [
    undefined,
    look(10_000, found(0.1, 0.3)),
    look(10_100, found(0.1, 0.3)),
    look(6_000, found(0.1, 0.3)),
  ]) {
    expect(boxesAt(one, two, 10_500)).toBe(two.detections);
  }
  expect(boxesAt(look(9_900, found(0.1, 0.3)), two, 9_950)).toBe(two.detections);
});
