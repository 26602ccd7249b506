import { median, percentile } from '../support/statistics.ts';

/** Hands of ours held against hands of the reference, frame by frame. Pure. */

export interface PlacedPoint {
  readonly x: number;
  readonly y: number;
}

/** What is compared of a hand. */
export interface SeenHand {
  /** The person's own hand. */
  readonly handedness: 'left' | 'right';
  /** 21 points, fractions of the picture. */
  readonly landmarks: readonly PlacedPoint[];
}

export interface ComparedFrame {
  /** Pixels. */
  readonly width: number;
  readonly height: number;
  readonly reference: readonly SeenHand[];
  readonly ours: readonly SeenHand[];
}

export interface Comparison {
  readonly frames: number;
  /** Frames in which the reference, and ours, find a hand at all. */
  readonly referenceFrames: number;
  readonly oursFrames: number;
  /** Share of the frames in which both find a hand or neither does. */
  readonly presence: number;
  /** Share of the frames in which both find the same number of hands. */
  readonly sameCount: number;
  /** Hands that both find. */
  readonly pairs: number;
  readonly onlyReference: number;
  readonly onlyOurs: number;
  /** Share of the pairs that agree on which hand it is. */
  readonly handedness: number;
  /** Between the landmarks of the pairs, as shares of the palm's length in the reference. */
  readonly distanceMedian: number;
  readonly distanceP95: number;
}

const WRIST = 0;
const MIDDLE_KNUCKLE = 9;
/** Hands whose landmarks are on average farther apart than a palm's length are two hands. */
const PAIR_DISTANCE_MAX = 1;

/** Without a frame, or a pair, what would be a share or a distance is NaN: no promise kept. */
export function compareHands(frames: readonly ComparedFrame[]): Comparison {
  const pairs = frames.flatMap(pairsOf);
  const distances = pairs.flatMap(({ distances }) => distances);
  const count = (is: (frame: ComparedFrame) => boolean): number => frames.filter(is).length;
  const handsOf = (who: 'reference' | 'ours'): number => frames.reduce((sum, frame) => sum + frame[who].length, 0);
  return {
    frames: frames.length,
    referenceFrames: count(({ reference }) => reference.length > 0),
    oursFrames: count(({ ours }) => ours.length > 0),
    presence: count(({ reference, ours }) => reference.length > 0 === ours.length > 0) / frames.length,
    sameCount: count(({ reference, ours }) => reference.length === ours.length) / frames.length,
    pairs: pairs.length,
    onlyReference: handsOf('reference') - pairs.length,
    onlyOurs: handsOf('ours') - pairs.length,
    handedness: pairs.filter(({ isSameHand }) => isSameHand).length / pairs.length,
    distanceMedian: distances.length === 0 ? Number.NaN : median(distances),
    distanceP95: distances.length === 0 ? Number.NaN : percentile(distances, 95),
  };
}

export interface HandPair {
  readonly reference: number;
  readonly ours: number;
  readonly isSameHand: boolean;
  /** Of each landmark, as a share of the palm's length in the reference. */
  readonly distances: readonly number[];
}

/** Each hand has one partner at most; the nearest pair is made first, whatever hand either says it is. */
export function pairsOf({ width, height, reference, ours }: ComparedFrame): HandPair[] {
  const apart = (a: PlacedPoint, b: PlacedPoint): number => Math.hypot((a.x - b.x) * width, (a.y - b.y) * height);
  const candidates = reference.flatMap((theirs, i) => {
    const palm = apart(theirs.landmarks[WRIST]!, theirs.landmarks[MIDDLE_KNUCKLE]!);
    return ours.map((own, j) => ({
      reference: i,
      ours: j,
      isSameHand: own.handedness === theirs.handedness,
      distances: own.landmarks.map((point, k) => apart(point, theirs.landmarks[k]!) / palm),
    }));
  });
  const pairs: HandPair[] = [];
  for (const pair of candidates.toSorted((a, b) => mean(a.distances) - mean(b.distances))) {
    if (!(mean(pair.distances) <= PAIR_DISTANCE_MAX)) continue;
    if (pairs.some((made) => made.reference === pair.reference || made.ours === pair.ours)) continue;
    pairs.push(pair);
  }
  return pairs;
}

interface WorldPoint extends PlacedPoint {
  /** Smaller is nearer. */
  readonly z: number;
}

/** Knuckle and tip of each finger but the thumb. */
const FINGERS = [
  [5, 8],
  [9, 12],
  [13, 16],
  [17, 20],
] as const;

/**
 * Which of the person's own hands these points are by their shape alone, in a picture that is not mirrored: fingers bend to the
 * palm's side, and seen from there the index finger is to the right of the little one at a right hand that points upward.
 */
export function handednessByShape(points: readonly WorldPoint[]): 'left' | 'right' {
  const from = (a: number, b: number): [number, number, number] => {
    const [p, q] = [points[a]!, points[b]!];
    return [q.x - p.x, q.y - p.y, q.z - p.z];
  };
  const [ax, ay, az] = from(WRIST, 5);
  const [bx, by, bz] = from(WRIST, 17);
  const normal = [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx];
  let bend = 0;
  for (const [knuckle, tip] of FINGERS) {
    for (const [axis, length] of from(knuckle, tip).entries()) bend += length * normal[axis]!;
  }
  return bend > 0 ? 'right' : 'left';
}

/**
 * Which of the person's own hands the package's label means in a picture that is not mirrored: the other one, since it takes
 * every picture for a mirrored one.
 */
export function handednessOf(label: 'Left' | 'Right'): 'left' | 'right' {
  return label === 'Left' ? 'right' : 'left';
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
