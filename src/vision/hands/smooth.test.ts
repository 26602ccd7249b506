import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../base/random.ts';
import type { Hand } from '../../base/hand.ts';
import { type HandFilterState, smoothHand } from './smooth.ts';

const PICTURE = { width: 640, height: 480 };
const SIZE = 256;

/** Every point at the same place, in fractions of the picture and in metres. */
function hand(x: number, y: number, over: Partial<Hand> = {}): Hand {
  const all = (point: { x: number; y: number; z: number }) => Array.from({ length: 21 }, () => point);
  return {
    handedness: 'left',
    score: 0.75,
    landmarks: all({ x, y, z: -0.01 }),
    world: all({ x: 0.01, y: 0.02, z: 0 }),
    ...over,
  };
}

describe('smoothing of hands', () => {
  test('the first picture of a hand passes, axis by axis', () => {
    const { hand: smooth } = smoothHand(undefined, hand(0.25, 0.75), SIZE, PICTURE, 0);
    expect(smooth).toMatchObject({ handedness: 'left', score: 0.75 });
    expect(smooth.landmarks).toHaveLength(21);
    expect(smooth.landmarks[20]!.x).toBeCloseTo(0.25, 12);
    expect(smooth.landmarks[20]!.y).toBeCloseTo(0.75, 12);
    expect(smooth.landmarks[20]!.z).toBeCloseTo(-0.01, 12);
    expect(smooth.world[20]).toEqual({ x: 0.01, y: 0.02, z: 0 });
  });

  test('a hand that rests trembles less', () => {
    const random = seededRandom(3);
    let state: HandFilterState | undefined;
    const [raw, smooth]: [number[], number[]] = [[], []];
    for (let i = 0; i < 120; i++) {
      // A pixel to either side.
      const said = hand(0.5 + (random() - 0.5) / 320, 0.5);
      const next = smoothHand(state, said, SIZE, PICTURE, i * 33);
      state = next.state;
      raw.push(said.landmarks[0]!.x);
      smooth.push(next.hand.landmarks[0]!.x);
    }
    expect(unrest(smooth)).toBeLessThan(unrest(raw) / 2);
  });

  test('a hand of half the size on a picture of half the size is filtered alike', () => {
    const step = (size: number, picture: { width: number; height: number }) => {
      const first = smoothHand(undefined, hand(0.5, 0.5), size, picture, 0);
      return smoothHand(first.state, hand(0.51, 0.52), size, picture, 33).hand.landmarks[0]!;
    };
    const whole = step(SIZE, PICTURE);
    const half = step(SIZE / 2, { width: 320, height: 240 });
    expect(half.x).toBeCloseTo(whole.x, 12);
    expect(half.y).toBeCloseTo(whole.y, 12);
    // And a picture whose size changes on the way is no movement.
    const first = smoothHand(undefined, hand(0.5, 0.5), SIZE, PICTURE, 0);
    const next = smoothHand(first.state, hand(0.5, 0.5), SIZE / 2, { width: 320, height: 240 }, 33);
    expect(next.hand.landmarks[0]!.x).toBeCloseTo(0.5, 12);
    expect(next.hand.landmarks[0]!.y).toBeCloseTo(0.5, 12);
  });
});

/** Mean distance from one value to the next. */
function unrest(values: readonly number[]): number {
  return values.slice(1).reduce((sum, value, i) => sum + Math.abs(value - values[i]!), 0) / (values.length - 1);
}
