import type { Hand, HandPoint } from '../../base/hand.ts';
import type { Size } from '../../base/picture.ts';
import { type OneEuroOptions, type OneEuroState, oneEuroStep } from './one-euro.ts';

/**
 * Speeds are in hands a second: the size of a hand is the unit, so that one far away is filtered like one nearby. Found on clips of
 * people who sign, at 30 pictures a second: a resting hand moves a quarter less from picture to picture, a signing one is 2 ms late.
 */
export const HAND_FILTER: OneEuroOptions = { minCutoffHz: 0.5, beta: 80, speedCutoffHz: 5 };

/** The unit of the world's points, metres: about the breadth of a hand. */
const WORLD_UNIT_M = 0.1;

/** The smoothing state of a hand between two pictures. */
export interface HandFilterState {
  readonly landmarks: OneEuroState;
  readonly world: OneEuroState;
}

/**
 * The hand with its points filtered, each coordinate by itself. `size`: of the hand's region, pixels. `before`: of the same
 * hand in the picture before, if it was in one.
 */
export function smoothHand(
  before: HandFilterState | undefined,
  hand: Hand,
  size: number,
  picture: Size,
  timeMs: number,
): { readonly hand: Hand; readonly state: HandFilterState } {
  // In widths of the picture along all three axes, so that one unit holds for all, whatever the picture's size.
  const aspect = picture.height / picture.width;
  const widths = hand.landmarks.map(({ x, y, z }) => ({ x, y: y * aspect, z }));
  const unit = size / picture.width;
  const landmarks = oneEuroStep(before?.landmarks, flat(widths), timeMs, unit, HAND_FILTER);
  const world = oneEuroStep(before?.world, flat(hand.world), timeMs, WORLD_UNIT_M, HAND_FILTER);
  return {
    hand: {
      ...hand,
      landmarks: points(landmarks.values).map(({ x, y, z }) => ({ x, y: y / aspect, z })),
      world: points(world.values),
    },
    state: { landmarks, world },
  };
}

function flat(hand: readonly HandPoint[]): Float64Array {
  return Float64Array.from(hand.flatMap(({ x, y, z }) => [x, y, z]));
}

function points(values: Float64Array): HandPoint[] {
  return Array.from({ length: values.length / 3 }, (_, i) => ({
    x: values[3 * i]!,
    y: values[3 * i + 1]!,
    z: values[3 * i + 2]!,
  }));
}
