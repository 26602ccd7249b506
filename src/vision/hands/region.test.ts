import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { HandPoint } from '../../base/hand.ts';
import type { Palm } from './palm.ts';
import { type HandRegion, isInPicture, landmarkRegion, palmRegion, turned } from './region.ts';

const PICTURE = { width: 640, height: 480 };

/** A palm of `side` pixels around (x, y), its fingers pointing `angle` clockwise from upright. */
function palm(x: number, y: number, side: number, angle: number): Palm {
  const at = (ahead: number) => {
    const offset = turned({ x: 0, y: -ahead }, angle);
    return { x: (x + offset.x) / PICTURE.width, y: (y + offset.y) / PICTURE.height };
  };
  const keypoints = Array.from({ length: 7 }, () => at(0));
  keypoints[0] = at(-side / 2);
  keypoints[2] = at(side / 2);
  return {
    score: 0.9,
    x: x / PICTURE.width,
    y: y / PICTURE.height,
    width: side / PICTURE.width,
    height: side / PICTURE.height,
    keypoints,
  };
}

/** An upright open hand, fingers up, in units of its palm's length from the wrist; `-y` is up. */
const OPEN_HAND: readonly (readonly [number, number])[] = [
  [0, 0],
  ...[1, 2, 3, 4].map((j) => [-0.3 - j * 0.12, -0.15 - j * 0.2] as const),
  ...[0, 1, 2, 3].map((j) => [-0.3, -1 - j * 0.25] as const),
  ...[0, 1, 2, 3].map((j) => [0, -1 - j * 0.3] as const),
  ...[0, 1, 2, 3].map((j) => [0.3, -1 - j * 0.25] as const),
  ...[0, 1, 2, 3].map((j) => [0.5, -0.8 - j * 0.2] as const),
];

function hand(x: number, y: number, palmLength: number, angle: number): HandPoint[] {
  return OPEN_HAND.map(([dx, dy]) => {
    const offset = turned({ x: dx * palmLength, y: dy * palmLength }, angle);
    return { x: (x + offset.x) / PICTURE.width, y: (y + offset.y) / PICTURE.height, z: 0 };
  });
}

describe('the region of a palm', () => {
  test('upright: 2.6 times the palm, half a palm toward the fingers', () => {
    expectRegion(palmRegion(palm(320, 240, 100, 0), PICTURE), { x: 320, y: 190, size: 260, rotation: 0 });
  });

  test('turned to the right, it goes to the right; upside down, downward', () => {
    expectRegion(palmRegion(palm(320, 240, 100, Math.PI / 2), PICTURE), {
      x: 370,
      y: 240,
      size: 260,
      rotation: Math.PI / 2,
    });
    const { y, rotation } = palmRegion(palm(320, 240, 100, Math.PI), PICTURE);
    expect(y).toBeCloseTo(290, 6);
    expect(Math.abs(rotation)).toBeCloseTo(Math.PI, 6);
  });
});

describe('the region of landmarks', () => {
  test('upright: twice the square around wrist and lower joints, a tenth toward the fingers', () => {
    // The steady points reach from the wrist to the middle joint of the middle finger, 1.3 palms, and the thumb's joint is out at 0.66.
    const region = landmarkRegion(hand(320, 400, 100, 0), PICTURE);
    expectRegion(region, { x: 320 + (50 - 66) / 2, y: 400 - 65 - 13, size: 260, rotation: 0 });
  });

  test('fingertips do not move it', () => {
    const open = hand(320, 300, 80, 0.4);
    const tips = new Set([4, 7, 8, 11, 12, 15, 16, 19, 20]);
    const closed = open.map((point, i) => (tips.has(i) ? open[9]! : point));
    expect(landmarkRegion(closed, PICTURE)).toEqual(landmarkRegion(open, PICTURE));
  });

  test('property: turning and moving the hand turns and moves its region, and nothing else', () => {
    const angle = fc.double({ min: -3.1, max: 3.1, noNaN: true });
    const place = fc.double({ min: -100, max: 700, noNaN: true });
    fc.assert(
      fc.property(angle, place, place, fc.double({ min: 5, max: 300, noNaN: true }), (by, x, y, length) => {
        const upright = landmarkRegion(hand(0, 0, length, 0), PICTURE);
        const region = landmarkRegion(hand(x, y, length, by), PICTURE);
        const centre = turned(upright, by);
        expectRegion(region, { x: x + centre.x, y: y + centre.y, size: upright.size, rotation: by });
      }),
    );
  });
});

describe('what can be looked at', () => {
  test.each([
    ['within', { x: 100, y: 100, size: 50, rotation: 0 }, true],
    ['over the edge', { x: -20, y: 100, size: 50, rotation: 0 }, true],
    ['outside', { x: -26, y: 100, size: 50, rotation: 0 }, false],
    ['outside but for a corner', { x: -26, y: 100, size: 50, rotation: Math.PI / 4 }, true],
    ['below', { x: 100, y: 506, size: 50, rotation: 0 }, false],
    ['of no size', { x: 100, y: 100, size: 0, rotation: 0 }, false],
    ['not a number', { x: NaN, y: 100, size: 50, rotation: 0 }, false],
    ['turned by no number', { x: 100, y: 100, size: 50, rotation: NaN }, false],
  ])('%s', (_, region, isIn) => {
    expect(isInPicture(region, PICTURE)).toBe(isIn);
  });
});

function expectRegion(region: HandRegion, expected: HandRegion): void {
  for (const key of ['x', 'y', 'size', 'rotation'] as const) expect(region[key]).toBeCloseTo(expected[key], 6);
}
