/** A point of a hand. */
export interface HandPoint {
  readonly x: number;
  readonly y: number;
  readonly z: number;
}

/** One hand in one picture. */
export interface Hand {
  /** The person's own hand, in a picture that is not mirrored. */
  readonly handedness: 'left' | 'right';
  /** Certainty of the handedness, 0.5..1. */
  readonly score: number;
  /**
   * The 21 landmarks: the wrist, then thumb, index, middle, ring and little finger, four each, from the palm to the tip. `x`, `y`: fractions
   * of the upright picture; they may lie outside of it, where a part of the hand does. `z`: depth from the wrist in the scale of
   * `x`, smaller is nearer to the camera.
   */
  readonly landmarks: readonly HandPoint[];
  /** The same points in metres, from the hand's geometric centre; axes as in the picture. */
  readonly world: readonly HandPoint[];
}

export const HAND_LANDMARKS = 21;

/** Indices into the landmarks. */
export const HAND_WRIST = 0;
export const HAND_MIDDLE_KNUCKLE = 9;

/** Pairs of landmarks that a drawing joins: the outline of the palm, then what lies beyond it, finger by finger. */
export const HAND_CONNECTIONS: readonly (readonly [number, number])[] = [
  ...chain(0, 1, 5, 9, 13, 17, 0),
  ...chain(1, 2, 3, 4),
  ...chain(5, 6, 7, 8),
  ...chain(9, 10, 11, 12),
  ...chain(13, 14, 15, 16),
  ...chain(17, 18, 19, 20),
];

/** Red, green, blue, 0..255: two that are safe for any colour vision (Okabe and Ito, 2008). */
export const HAND_COLOURS: Readonly<Record<Hand['handedness'], readonly [number, number, number]>> = {
  left: [230, 159, 0],
  right: [86, 180, 233],
};

function chain(...points: number[]): [number, number][] {
  return points.slice(1).map((point, i) => [points[i]!, point]);
}
