import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CATALOGUE } from '../../inference/models/catalogue.ts';
import { ssdAnchors } from '../anchors.ts';
import { logitOf } from '../heads.ts';
import { placePicture } from '../placement.ts';
import type { FloatTensor, SsdHead } from '../types.ts';
import { PalmDetector } from './palm.ts';

const manifest = CATALOGUE.find((m) => m.id === 'palm-lite')!;
const head = manifest.head as SsdHead;
const { input } = manifest;
const anchors = ssdAnchors(head.anchors, input.width, input.height);
const THRESHOLDS = { confidence: 0.5, iou: 0.3 };
/** 640×480 lies in the square input with 24 empty rows above and below. */
const placement = placePicture(input, 640, 480);

/** A box and its seven keypoints in fractions of the picture: how a test says a palm. */
interface Told {
  readonly anchor: number;
  readonly score: number;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly keypoints: readonly (readonly [number, number])[];
}

/** The tensors of a model that says these palms, and nothing at all other anchors. */
function outputs(palms: readonly Told[]): Record<string, FloatTensor> {
  const boxes = new Float32Array(2016 * 18);
  const scores = new Float32Array(2016).fill(-100);
  for (const { anchor, score, x, y, width, height, keypoints } of palms) {
    const pixelX = (fraction: number) => fraction * placement.width + placement.x - anchors[anchor * 4]! * input.width;
    const pixelY = (fraction: number) =>
      fraction * placement.height + placement.y - anchors[anchor * 4 + 1]! * input.height;
    boxes.set(
      [
        pixelX(x),
        pixelY(y),
        width * placement.width,
        height * placement.height,
        ...keypoints.flatMap(([kx, ky]) => [pixelX(kx), pixelY(ky)]),
      ],
      anchor * 18,
    );
    scores[anchor] = logitOf(score);
  }
  return {
    Identity: { data: boxes, dims: [1, 2016, 18] },
    Identity_1: { data: scores, dims: [1, 2016, 1] },
  };
}

function palm(over: Partial<Told> = {}): Told {
  const keypoints = Array.from({ length: 7 }, (_, i) => [0.4 + i / 50, 0.6 - i / 40] as const);
  return { anchor: 700, score: 0.9, x: 0.5, y: 0.5, width: 0.2, height: 0.2, keypoints, ...over };
}

const detect = (palms: readonly Told[], thresholds = THRESHOLDS) =>
  new PalmDetector({ head, input }).detect(outputs(palms), placement, thresholds);

describe('palms', () => {
  test('a box and its keypoints are told in fractions of the picture', () => {
    const said = palm();
    const [found, ...others] = detect([said]);
    expect(others).toEqual([]);
    expect(found!.score).toBeCloseTo(0.9, 5);
    expect([found!.x, found!.y, found!.width, found!.height].map(rounded)).toEqual([0.5, 0.5, 0.2, 0.2]);
    expect(found!.keypoints.map(({ x, y }) => [rounded(x), rounded(y)])).toEqual(
      said.keypoints.map(([x, y]) => [rounded(x), rounded(y)]),
    );
  });

  test('one that reaches over the edge is not cut: the region needs its real centre', () => {
    const [found] = detect([palm({ x: 0.02, width: 0.2 })]);
    expect(found!.x).toBeCloseTo(0.02, 5);
    expect(found!.width).toBeCloseTo(0.2, 5);
  });

  test('boxes of one palm are averaged by their scores, keypoints too; the score is the best one', () => {
    const shifted = palm({
      anchor: 701,
      score: 0.6,
      x: 0.53,
      width: 0.26,
      keypoints: palm().keypoints.map(([x, y]) => [x + 0.05, y] as const),
    });
    const [found, ...others] = detect([palm(), shifted]);
    expect(others).toEqual([]);
    expect(found!.score).toBeCloseTo(0.9, 5);
    expect(found!.x).toBeCloseTo((0.9 * 0.5 + 0.6 * 0.53) / 1.5, 5);
    expect(found!.width).toBeCloseTo((0.9 * 0.2 + 0.6 * 0.26) / 1.5, 5);
    expect(found!.keypoints[0]!.x).toBeCloseTo((0.9 * 0.4 + 0.6 * 0.45) / 1.5, 5);
  });

  test('palms apart stay apart, best first; below the threshold there is none', () => {
    const all = [
      palm({ score: 0.7 }),
      palm({ anchor: 10, score: 0.8, x: 0.1 }),
      palm({ anchor: 20, score: 0.4, x: 0.9 }),
    ];
    expect(detect(all).map(({ x }) => rounded(x))).toEqual([0.1, 0.5]);
    expect(detect(all, { confidence: 0.95, iou: 0.3 })).toEqual([]);
    expect(detect(all, { confidence: 0.3, iou: 0.3 })).toHaveLength(3);
  });

  test('six palms are six', () => {
    const six = Array.from({ length: 6 }, (_, i) => palm({ anchor: i * 100, x: 0.1 + i * 0.15, width: 0.1 }));
    expect(detect(six)).toHaveLength(6);
  });

  test('property: an averaged palm lies within its boxes', () => {
    const near = fc.record({
      score: fc.double({ min: 0.51, max: 0.99, noNaN: true }),
      x: fc.double({ min: 0.48, max: 0.52, noNaN: true }),
      width: fc.double({ min: 0.18, max: 0.22, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(near, { minLength: 1, maxLength: 12 }), (boxes) => {
        const [found, ...others] = detect(boxes.map((box, i) => palm({ ...box, anchor: 600 + i })));
        expect(others).toEqual([]);
        const within = (value: number, values: number[]) => {
          expect(value).toBeGreaterThan(Math.min(...values) - 1e-6);
          expect(value).toBeLessThan(Math.max(...values) + 1e-6);
        };
        within(
          found!.x,
          boxes.map(({ x }) => x),
        );
        within(
          found!.width,
          boxes.map(({ width }) => width),
        );
      }),
      { numRuns: 50 },
    );
  });

  test('tensors of another model are refused by name', () => {
    const detector = new PalmDetector({ head, input });
    const { Identity: boxes, Identity_1: scores } = outputs([]);
    expect(() => detector.detect({ Identity: boxes! }, placement, THRESHOLDS)).toThrow('Identity_1 is missing');
    const few = { data: new Float32Array(18), dims: [1, 1, 18] };
    expect(() => detector.detect({ Identity: few, Identity_1: scores! }, placement, THRESHOLDS)).toThrow(
      'palm output Identity has the shape [1, 1, 18] where it is [1, 2016, 18]',
    );
  });
});

function rounded(value: number): number {
  return Math.round(value * 1e5) / 1e5;
}
