import { describe, expect, test } from 'vitest';
import { Detector, DETECTIONS_MAX, type DetectorModel } from './detector.ts';
import { logitOf, sigmoid } from './heads.ts';
import { placePicture } from './placement.ts';
import type { DetectorHead, FloatTensor, PictureInput } from './types.ts';

const INPUT: PictureInput = {
  width: 64,
  height: 64,
  layout: 'nchw',
  colour: 'rgb',
  mean: [0, 0, 0],
  std: [1, 1, 1],
  fit: 'stretch',
};

const FULL = placePicture(INPUT, 64, 64);
const LABELS = ['cat', 'dog'];
const THRESHOLDS = { confidence: 0.5, iou: 0.45 };

const tensor = (dims: number[], rows: number[][]): FloatTensor => ({ dims, data: Float32Array.from(rows.flat()) });

function detector(
  head: DetectorHead,
  outputs: Record<string, FloatTensor>,
  model: Partial<DetectorModel> = {},
): Detector {
  const shapes = Object.fromEntries(Object.entries(outputs).map(([name, { dims }]) => [name, dims]));
  return new Detector({ head, input: INPUT, labels: LABELS, ...model }, shapes);
}

function expectBox(box: object | undefined, x: number, y: number, width: number, height: number): void {
  const rounded = Object.fromEntries(Object.entries(box ?? {}).map(([k, v]) => [k, Math.round(v * 1e5) / 1e5]));
  expect(rounded).toEqual({ x, y, width, height });
}

describe('SSD', () => {
  // One layer of 2×2 cells, one anchor of half the input each: centres at 0.25 and 0.75.
  const head: DetectorHead = {
    kind: 'ssd',
    boxes: 'boxes',
    scores: 'scores',
    anchors: {
      strides: [32],
      minScale: 0.5,
      maxScale: 0.5,
      anchorOffsetX: 0.5,
      anchorOffsetY: 0.5,
      aspectRatios: [1],
      reduceBoxesInLowestLayer: false,
      interpolatedScaleAspectRatio: 0,
      fixedAnchorSize: false,
    },
    scale: { x: 10, y: 10, width: 5, height: 5 },
    order: 'yxhw',
    exponential: true,
    sigmoid: true,
    background: true,
  };
  const none = [0, 0, 0, 0];
  const low = [9, -9, -9];

  test('box code, anchors, logits and the background class', () => {
    // Anchor 3: y = 0.75 + 1/10·0.5 = 0.8, x = 0.75 − 2/10·0.5 = 0.65, h = e⁰·0.5, w = e^(5·ln ½ / 5)·0.5 = 0.25.
    const outputs = {
      boxes: tensor([1, 4, 4], [none, none, none, [1, -2, 0, 5 * Math.log(0.5)]]),
      scores: tensor([1, 4, 3], [low, low, low, [9, -9, logitOf(0.7)]]),
    };
    const { detections } = detector(head, outputs).detect(outputs, FULL, THRESHOLDS);
    expect(detections).toHaveLength(1);
    expect(detections[0]).toMatchObject({ label: 'dog', classId: 1 });
    expect(detections[0]!.score).toBeCloseTo(0.7, 5);
    expectBox(detections[0]!.box, 0.525, 0.55, 0.25, 0.45);
  });

  test('the other order, plain sizes, scores without a sigmoid, extra numbers behind the box', () => {
    const plain: DetectorHead = { ...head, order: 'xywh', exponential: false, sigmoid: false, background: false };
    // x = 0.25 + 1/10·0.5 = 0.3, y = 0.25, w = 2/5·0.5 = 0.2, h = 1/5·0.5 = 0.1.
    const outputs = {
      boxes: tensor(
        [1, 4, 6],
        [
          [1, 0, 2, 1, 7, 7],
          [...none, 7, 7],
          [...none, 7, 7],
          [...none, 7, 7],
        ],
      ),
      scores: tensor(
        [1, 4, 2],
        [
          [0.6, 0.2],
          [0, 0],
          [0, 0],
          [0, 0],
        ],
      ),
    };
    const { detections } = detector(plain, outputs).detect(outputs, FULL, THRESHOLDS);
    expect(detections.map((d) => d.label)).toEqual(['cat']);
    expectBox(detections[0]!.box, 0.2, 0.2, 0.2, 0.1);
  });

  test('a class over its own threshold beats a better one under its own', () => {
    const outputs = {
      boxes: tensor([1, 4, 4], [none, none, none, none]),
      scores: tensor([1, 4, 3], [[0, logitOf(0.8), logitOf(0.3)], low, low, low]),
    };
    const strict = { confidence: 0.9, iou: 0.45, perClass: { dog: 0.25 } };
    const { detections } = detector(head, outputs).detect(outputs, FULL, strict);
    expect(detections).toHaveLength(1);
    expect(detections[0]).toMatchObject({ label: 'dog' });
    expect(detections[0]!.score).toBeCloseTo(0.3, 5);
  });
});

describe('YOLOX', () => {
  const head: DetectorHead = { kind: 'yolox', strides: [32, 64] };
  const empty = [0, 0, 0, 0, 0, 0, 0];

  test('cells, strides and objectness × class', () => {
    // Second row of the 2×2 grid: cell (1, 0), stride 32: x = (0.5 + 1)·32 = 48, y = 0.25·32 = 8, w = e⁰·32, h = e^ln ½·32 = 16.
    // Fifth row: the only cell of stride 64: x = y = 32, w = h = 16.
    const quarter = Math.log(0.25);
    const outputs = {
      output: tensor(
        [1, 5, 7],
        [empty, [0.5, 0.25, 0, Math.log(0.5), 0.9, 0.1, 0.8], empty, empty, [0.5, 0.5, quarter, quarter, 1, 0.6, 0]],
      ),
    };
    const { detections } = detector(head, outputs).detect(outputs, FULL, THRESHOLDS);
    expect(detections.map((d) => d.label)).toEqual(['dog', 'cat']);
    expect(detections[0]!.score).toBeCloseTo(0.72, 5);
    expectBox(detections[0]!.box, 0.5, 0, 0.5, 0.25);
    expectBox(detections[1]!.box, 0.375, 0.375, 0.25, 0.25);
  });

  test('good objectness alone is not enough', () => {
    const outputs = { output: tensor([1, 5, 7], [[0, 0, 0, 0, 0.9, 0.5, 0.5], empty, empty, empty, empty]) };
    expect(detector(head, outputs).detect(outputs, FULL, THRESHOLDS).detections).toEqual([]);
  });
});

describe('YOLOv5', () => {
  test('pixels of the input, objectness × class', () => {
    const outputs = {
      out: tensor(
        [1, 2, 7],
        [
          [32, 16, 32, 8, 0.8, 0.9, 0.2],
          [32, 16, 32, 8, 0.4, 1, 1],
        ],
      ),
    };
    const { detections } = detector({ kind: 'yolov5' }, outputs).detect(outputs, FULL, THRESHOLDS);
    expect(detections).toHaveLength(1);
    expect(detections[0]).toMatchObject({ label: 'cat', classId: 0 });
    expect(detections[0]!.score).toBeCloseTo(0.72, 5);
    expectBox(detections[0]!.box, 0.25, 0.1875, 0.5, 0.125);
  });
});

describe('YOLOv8', () => {
  test('columns are boxes, rows are x, y, w, h and the classes', () => {
    const outputs = {
      output0: tensor(
        [1, 6, 3],
        [
          [16, 48, 48],
          [16, 48, 16],
          [16, 32, 8],
          [8, 32, 8],
          [0.9, 0.1, 0.4],
          [0.2, 0.6, 0.45],
        ],
      ),
    };
    const { detections } = detector({ kind: 'yolov8' }, outputs).detect(outputs, FULL, THRESHOLDS);
    expect(detections.map((d) => d.label)).toEqual(['cat', 'dog']);
    expectBox(detections[0]!.box, 0.125, 0.1875, 0.25, 0.125);
    expectBox(detections[1]!.box, 0.5, 0.5, 0.5, 0.5);
  });

  test('scratch space is clean for the next frame', () => {
    const first = { output0: tensor([1, 6, 1], [[32], [32], [8], [8], [0.9], [0]]) };
    const second = { output0: tensor([1, 6, 1], [[32], [32], [8], [8], [0], [0]]) };
    const d = detector({ kind: 'yolov8' }, first);
    expect(d.detect(first, FULL, THRESHOLDS).detections).toHaveLength(1);
    expect(d.detect(second, FULL, THRESHOLDS).detections).toEqual([]);
  });
});

describe('DETR', () => {
  const boxes = tensor(
    [1, 2, 4],
    [
      [0.5, 0.5, 0.5, 0.25],
      [0.5, 0.5, 0.5, 0.25],
    ],
  );

  test('softmax with a last “no object” class; nothing is suppressed', () => {
    // Logits are logarithms of the shares: 6 : 3 : 1 and 7 : 1 : 2, the last one for "no object".
    const logits = tensor(
      [1, 2, 3],
      [
        [Math.log(6), Math.log(3), Math.log(1)],
        [Math.log(7), 0, Math.log(2)],
      ],
    );
    const outputs = { logits, boxes };
    const head: DetectorHead = { kind: 'detr', logits: 'logits', boxes: 'boxes', activation: 'softmax' };
    const { detections } = detector(head, outputs).detect(outputs, FULL, THRESHOLDS);
    expect(detections.map((d) => Math.round(d.score * 1000) / 1000)).toEqual([0.7, 0.6]);
    expectBox(detections[0]!.box, 0.25, 0.375, 0.5, 0.25);
  });

  test('“no object” as the best is nothing', () => {
    const outputs = {
      logits: tensor(
        [1, 2, 3],
        [
          [0, 0, 9],
          [0, 0, 9],
        ],
      ),
      boxes,
    };
    const head: DetectorHead = { kind: 'detr', logits: 'logits', boxes: 'boxes', activation: 'softmax' };
    expect(detector(head, outputs).detect(outputs, FULL, THRESHOLDS).detections).toEqual([]);
  });

  test('independent sigmoids', () => {
    const outputs = {
      logits: tensor(
        [1, 2, 2],
        [
          [logitOf(0.55), logitOf(0.8)],
          [-5, -5],
        ],
      ),
      boxes,
    };
    const head: DetectorHead = { kind: 'detr', logits: 'logits', boxes: 'boxes', activation: 'sigmoid' };
    const { detections } = detector(head, outputs).detect(outputs, FULL, THRESHOLDS);
    expect(detections.map((d) => [d.label, Math.round(d.score * 1000) / 1000])).toEqual([['dog', 0.8]]);
  });
});

describe('RF-DETR', () => {
  const boxes = tensor([1, 1, 4], [[0.5, 0.5, 0.5, 0.25]]);
  const found = (background: 'first' | 'last', values: number[]) => {
    const outputs = { logits: tensor([1, 1, 3], [values]), boxes };
    const head = { kind: 'detr', logits: 'logits', boxes: 'boxes', activation: 'sigmoid', background } as const;
    return detector(head, outputs)
      .detect(outputs, FULL, THRESHOLDS)
      .detections.map((d) => [d.label, d.classId]);
  };

  test('a column that stands for no class is none, whatever it holds', () => {
    expect(found('last', [-5, 3, 9])).toEqual([['dog', 1]]);
    expect(found('first', [9, -5, 3])).toEqual([['dog', 1]]);
    expect(found('first', [9, -5, -5])).toEqual([]);
  });
});

describe('boxes and scores', () => {
  const pair = { kind: 'boxes', boxes: 'b', scores: 's', endToEnd: false } as const;

  test('corners in pixels, probabilities, suppressed (YOLO-NAS)', () => {
    const outputs = {
      b: tensor(
        [1, 3, 4],
        [
          [16, 8, 48, 24],
          [16, 8, 48, 25],
          [0, 0, 64, 64],
        ],
      ),
      s: tensor(
        [1, 3, 2],
        [
          [0.1, 0.9],
          [0.2, 0.8],
          [0.3, 0.4],
        ],
      ),
    };
    const head: DetectorHead = { ...pair, form: 'corners', unit: 'pixels', activation: 'none' };
    const { detections } = detector(head, outputs).detect(outputs, FULL, THRESHOLDS);
    expect(detections.map((d) => [d.label, Math.round(d.score * 100)])).toEqual([['dog', 90]]);
    expectBox(detections[0]!.box, 0.25, 0.125, 0.5, 0.25);
    // A model that says each object once is believed.
    const once = detector({ ...head, endToEnd: true }, outputs).detect(outputs, FULL, THRESHOLDS);
    expect(once.detections).toHaveLength(2);
  });

  test('corners in fractions, the background first (UltraFace)', () => {
    const outputs = { b: tensor([1, 1, 4], [[0.25, 0.125, 0.75, 0.375]]), s: tensor([1, 1, 2], [[0.1, 0.9]]) };
    const head: DetectorHead = { ...pair, form: 'corners', unit: 'fractions', activation: 'none', background: 'first' };
    const { detections } = detector(head, outputs, { labels: ['face'] }).detect(outputs, FULL, THRESHOLDS);
    expect(detections.map((d) => [d.label, d.classId])).toEqual([['face', 0]]);
    expectBox(detections[0]!.box, 0.25, 0.125, 0.5, 0.25);
  });

  test('one output for both: YOLOv8 with its axes exchanged, masks behind the classes', () => {
    const outputs = { o: tensor([1, 1, 8], [[32, 16, 32, 16, 0.2, 0.9, 77, -77]]) };
    const one = { ...pair, boxes: 'o', scores: 'o', form: 'centre', unit: 'pixels', activation: 'none' } as const;
    const { detections } = detector({ ...one, classes: 2 }, outputs).detect(outputs, FULL, THRESHOLDS);
    expect(detections.map((d) => [d.label, Math.round(d.score * 100)])).toEqual([['dog', 90]]);
    expectBox(detections[0]!.box, 0.25, 0.125, 0.5, 0.25);
    expect(() => detector({ ...one, classes: 5 }, outputs, { labels: ['a', 'b', 'c', 'd', 'e'] })).toThrow(
      '5 classes in 4 columns',
    );
  });
});

describe('boxes that the model chose itself', () => {
  const outputs = {
    o: tensor(
      [1, 4, 6],
      [
        [16, 8, 48, 24, 0.9, 1],
        [16, 8, 48, 25, 0.8, 1],
        [0, 0, 8, 8, 0.6, 7],
        [0, 0, 0, 0, 0, 0],
      ],
    ),
  };

  test('corners, score, number of the class; nothing is suppressed; a class without a label keeps its number', () => {
    const { detections } = detector({ kind: 'end2end' }, outputs).detect(outputs, FULL, THRESHOLDS);
    expect(detections.map((d) => [d.label, d.classId])).toEqual([
      ['dog', 1],
      ['dog', 1],
      ['class 7', 7],
    ]);
    expectBox(detections[0]!.box, 0.25, 0.125, 0.5, 0.25);
  });

  test('a list that was empty in the first run', () => {
    const d = new Detector({ head: { kind: 'end2end' }, input: INPUT, labels: LABELS }, { o: [1, 0, 6] });
    expect(d.detect(outputs, FULL, THRESHOLDS).detections).toHaveLength(3);
    expect(d.detect({ o: tensor([1, 0, 6], []) }, FULL, THRESHOLDS).detections).toEqual([]);
  });

  test('thresholds by class', () => {
    const strict = { confidence: 0.5, iou: 0.45, perClass: { dog: 0.85 } };
    const { detections } = detector({ kind: 'end2end' }, outputs).detect(outputs, FULL, strict);
    expect(detections.map((d) => d.classId)).toEqual([1, 7]);
    const everything = detector({ kind: 'end2end' }, outputs).detect(outputs, FULL, { confidence: 0, iou: 0.45 });
    expect(everything.detections).toHaveLength(3);
  });
});

describe('numbers behind the classes, and boxes in fractions', () => {
  test('YOLOv8', () => {
    const outputs = { o: tensor([1, 7, 1], [[0.5], [0.25], [0.5], [0.25], [0.2], [0.9], [77]]) };
    const head: DetectorHead = { kind: 'yolov8', classes: 2, unit: 'fractions' };
    const { detections } = detector(head, outputs).detect(outputs, FULL, THRESHOLDS);
    expect(detections.map((d) => d.label)).toEqual(['dog']);
    expectBox(detections[0]!.box, 0.25, 0.125, 0.5, 0.25);
  });

  test('YOLOv5', () => {
    const outputs = { o: tensor([1, 1, 8], [[0.5, 0.25, 0.5, 0.25, 1, 0.2, 0.9, 77]]) };
    const head: DetectorHead = { kind: 'yolov5', classes: 2, unit: 'fractions' };
    const { detections } = detector(head, outputs).detect(outputs, FULL, THRESHOLDS);
    expect(detections.map((d) => d.label)).toEqual(['dog']);
    expectBox(detections[0]!.box, 0.25, 0.125, 0.5, 0.25);
  });
});

describe('for every head', () => {
  const one = (x: number, y: number, w: number, h: number) => ({
    output0: tensor([1, 5, 1], [[x], [y], [w], [h], [0.9]]),
  });
  const head: DetectorHead = { kind: 'yolov8' };

  test('boxes are clipped to the frame; one wholly outside is none', () => {
    const half = one(0, 32, 32, 128);
    expectBox(detector(head, half).detect(half, FULL, THRESHOLDS).detections[0]?.box, 0, 0, 0.25, 1);
    const outside = one(-32, 32, 16, 16);
    expect(detector(head, outside).detect(outside, FULL, THRESHOLDS).detections).toEqual([]);
  });

  test.each([
    // A frame of 128×64 lies in 64×32 pixels of the input: centred from row 16, in the corner from row 0.
    ['letterbox', 16],
    ['letterbox-corner', 0],
  ] as const)('%s is undone', (fit, top) => {
    const input = { ...INPUT, fit };
    const outputs = one(32, top + 16, 16, 8);
    const { detections } = detector(head, outputs, { input }).detect(outputs, placePicture(input, 128, 64), THRESHOLDS);
    expectBox(detections[0]?.box, 0.375, 0.375, 0.25, 0.25);
  });

  test('no more than the limit, and the rest is counted', () => {
    const count = DETECTIONS_MAX + 50;
    const line = (value: (i: number) => number) => Array.from({ length: count }, (_, i) => value(i));
    const outputs = {
      output0: tensor(
        [1, 5, count],
        [line((i) => i / 8), line(() => 32), line(() => 0.1), line(() => 0.1), line(() => 0.9)],
      ),
    };
    const found = detector(head, outputs).detect(outputs, FULL, THRESHOLDS);
    expect(found.detections).toHaveLength(DETECTIONS_MAX);
    expect(found.capped).toBe(50);
  });

  test('scores that are no numbers pass no threshold', () => {
    const outputs = { output0: tensor([1, 5, 1], [[32], [32], [8], [8], [NaN]]) };
    expect(detector(head, outputs).detect(outputs, FULL, { confidence: 0, iou: 0.45 }).detections).toEqual([]);
  });

  test.each<[string, DetectorHead, Record<string, FloatTensor>]>([
    ['no output named nope', { kind: 'yolov8', output: 'nope' }, one(0, 0, 1, 1)],
    ['[1, 5]', { kind: 'yolov8' }, { o: tensor([1, 5], [[0, 0, 0, 0, 0]]) }],
    ['3 classes in the output but 2 labels', { kind: 'yolov8' }, { o: tensor([1, 7, 1], [[0, 0, 0, 0, 0, 0, 0]]) }],
    ['5 cells', { kind: 'yolox', strides: [32, 64] }, { o: tensor([1, 4, 7], []) }],
    ['4 numbers a box', { kind: 'yolov8' }, { o: tensor([1, 4, 2], []) }],
    ['5 numbers a row', { kind: 'yolov5' }, { o: tensor([1, 2, 5], []) }],
    ['5 numbers a row', { kind: 'end2end' }, { o: tensor([1, 2, 5], []) }],
    ['6 numbers a box', { kind: 'yolov8', classes: 3 }, { o: tensor([1, 6, 2], []) }],
    [
      '3×4 box numbers for 2 queries',
      { kind: 'detr', logits: 'l', boxes: 'b', activation: 'sigmoid' },
      { l: tensor([1, 2, 2], []), b: tensor([1, 3, 4], []) },
    ],
  ])('outputs that do not fit are refused: %s', (message, bad, outputs) => {
    expect(() => detector(bad, outputs)).toThrow(message);
  });
});

test('a logit is the inverse of the sigmoid', () => {
  for (const p of [0.01, 0.25, 0.5, 0.9, 0.999]) expect(sigmoid(logitOf(p))).toBeCloseTo(p, 9);
  expect(logitOf(0)).toBe(-Infinity);
  expect(logitOf(1)).toBe(Infinity);
});
