import { describe, expect, test } from 'vitest';
import { parseOverrides } from './user-manifest.ts';

describe('heads in a manifest', () => {
  const pair = {
    kind: 'boxes',
    boxes: 'b',
    scores: 's',
    form: 'corners',
    unit: 'pixels',
    activation: 'none',
    endToEnd: false,
  };

  test.each([
    pair,
    { ...pair, form: 'centre', unit: 'fractions', activation: 'softmax', background: 'first', classes: 3 },
    { kind: 'end2end' },
    { kind: 'end2end', output: 'o', unit: 'fractions' },
    { kind: 'yolov8', output: 'o', classes: 80, unit: 'fractions' },
    { kind: 'yolov5', classes: 80 },
    { kind: 'detr', logits: 'l', boxes: 'b', activation: 'sigmoid', background: 'first' },
    { kind: 'detr', logits: 'l', boxes: 'b', activation: 'softmax' },
  ])('%j', (head) => expect(parseOverrides({ head }, 'mine.yaml')).toEqual({ head }));

  test.each([
    [{ ...pair, form: 'edges' }, /mine\.yaml: head\.form/],
    [{ ...pair, classes: 0 }, /head\.classes/],
    [{ kind: 'detr', logits: 'l', boxes: 'b', activation: 'softmax', background: 'first' }, /"no object" last/],
    [{ kind: 'yolov9' }, /head/],
  ])('%j is refused', (head, message) => expect(() => parseOverrides({ head }, 'mine.yaml')).toThrow(message));
});
