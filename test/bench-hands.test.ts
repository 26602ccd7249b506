import { describe, expect, test } from 'vitest';
import {
  compareHands,
  handednessByShape,
  handednessOf,
  pairsOf,
  type ComparedFrame,
  type SeenHand,
} from '../bench/hands/comparison.ts';

/** A hand of a palm 50 pixels long in a picture of 200 × 100: all points at the wrist but the middle finger's knuckle. */
const hand = (x: number, y: number, handedness: SeenHand['handedness'] = 'right'): SeenHand => ({
  handedness,
  landmarks: Array.from({ length: 21 }, (_, i) => ({ x: x / 200, y: (i === 9 ? y - 50 : y) / 100 })),
});
const frame = (reference: readonly SeenHand[], ours: readonly SeenHand[]): ComparedFrame => ({
  width: 200,
  height: 100,
  reference,
  ours,
});

describe('hands against the reference', () => {
  test('distances are in palms of the reference, in pixels along both axes', () => {
    const [pair] = pairsOf(frame([hand(100, 80)], [hand(103, 84)]));
    expect(pair!.distances).toHaveLength(21);
    for (const distance of pair!.distances) expect(distance).toBeCloseTo(5 / 50, 10);
  });

  test('the nearest ones are pairs, in whatever order they come and whichever hand they are', () => {
    const two = frame([hand(40, 80), hand(150, 80)], [hand(152, 80, 'left'), hand(41, 80, 'right')]);
    const pairs = pairsOf(two).map(({ reference, ours, isSameHand }) => ({ reference, ours, isSameHand }));
    expect(pairs).toEqual([
      { reference: 0, ours: 1, isSameHand: true },
      { reference: 1, ours: 0, isSameHand: false },
    ]);
  });

  test('nobody has two partners, and what is a palm away is another hand', () => {
    expect(pairsOf(frame([hand(100, 80), hand(102, 80)], [hand(101.5, 80)]))).toMatchObject([{ reference: 1 }]);
    expect(pairsOf(frame([hand(100, 80)], [hand(149, 80)]))).toHaveLength(1);
    expect(pairsOf(frame([hand(100, 80)], [hand(151, 80)]))).toEqual([]);
  });

  test('presence is of frames, handedness and distances are of pairs, and every hand is accounted for', () => {
    const result = compareHands([
      frame([], []),
      frame([hand(100, 80)], []),
      frame([], [hand(100, 80)]),
      frame([hand(40, 80), hand(150, 80)], [hand(40, 80)]),
      frame([hand(40, 80)], [hand(45, 80, 'left')]),
    ]);
    expect(result).toMatchObject({
      frames: 5,
      referenceFrames: 3,
      oursFrames: 3,
      presence: 0.6,
      sameCount: 0.4,
      pairs: 2,
      onlyReference: 2,
      onlyOurs: 1,
      handedness: 0.5,
    });
    expect(result.distanceMedian).toBeCloseTo(0.05, 10);
    expect(result.distanceP95).toBeCloseTo(0.1, 10);
  });

  test('where nothing was found nothing agrees', () => {
    expect(compareHands([])).toMatchObject({ presence: Number.NaN, distanceMedian: Number.NaN });
    expect(compareHands([frame([hand(1, 1)], [])])).toMatchObject({ presence: 0, handedness: Number.NaN });
  });

  test('a right hand shows its palm with the index finger at the right; bent the other way it is a left one', () => {
    const bent = (z: number) => {
      const points = Array.from({ length: 21 }, () => ({ x: 0, y: 0, z: 0 }));
      for (const [i, knuckle] of [5, 9, 13, 17].entries()) {
        points[knuckle] = { x: 3 - 2 * i, y: -8, z: 0 };
        points[knuckle + 3] = { x: 3 - 2 * i, y: -10, z };
      }
      return points;
    };
    const mirrored = bent(-4).map(({ x, y, z }) => ({ x: -x, y, z }));
    expect([bent(-4), bent(4), mirrored].map(handednessByShape)).toEqual(['right', 'left', 'left']);
  });

  test('a label of the reference means the other hand', () => {
    expect([handednessOf('Left'), handednessOf('Right')]).toEqual(['right', 'left']);
  });
});
