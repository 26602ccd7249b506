import { HAND_LANDMARKS, type Hand, type HandPoint } from '../../base/hand.ts';
import { SightlineError } from '../../base/errors.ts';
import type { Size } from '../../base/picture.ts';
import { type Placement, toPicture } from '../placement.ts';
import type { FloatTensor } from '../types.ts';
import { type HandRegion, turned } from './region.ts';

/**
 * Outputs of MediaPipe's hand landmark models (lite and full): points in pixels of the input [1, 63], presence 0..1 [1, 1], handedness
 * 0..1 [1, 1], points in metres [1, 63].
 */
const OUTPUTS = {
  landmarks: 'Identity',
  presence: 'Identity_1',
  handedness: 'Identity_2',
  world: 'Identity_3',
} as const;

/** The model's depths are divided by it to be in the scale of x (MediaPipe's `hand_landmark_cpu.pbtxt`, `normalize_z`). */
const DEPTH_SCALE = 0.4;

/** The landmark model's output for a region. */
export interface RegionReading {
  /** Probability that there is a hand in the region at all, 0..1. The other fields mean nothing where it is low. */
  readonly presence: number;
  readonly hand: Hand;
}

/**
 * Reads the landmark model's outputs. `placement`: how the region lay in the model's input.
 * The model was made for mirrored pictures: its left hand is a right one in a picture that is not mirrored, and this reports the
 * person's own hand. Errors: MODEL_UNSUPPORTED when the tensors are not those of a hand landmark model.
 */
export function readRegion(
  outputs: Readonly<Record<string, FloatTensor>>,
  placement: Placement,
  region: HandRegion,
  picture: Size,
): RegionReading {
  const landmarks = outputOf(outputs, OUTPUTS.landmarks, HAND_LANDMARKS * 3);
  const world = outputOf(outputs, OUTPUTS.world, HAND_LANDMARKS * 3);
  const [presence] = outputOf(outputs, OUTPUTS.presence, 1);
  const [mirroredLeft] = outputOf(outputs, OUTPUTS.handedness, 1);
  // In the scale of x: the region's side is so much of the picture's width.
  const depth = region.size / picture.width / placement.width / DEPTH_SCALE;
  const isRight = mirroredLeft! >= 0.5;
  return {
    presence: presence!,
    hand: {
      handedness: isRight ? 'right' : 'left',
      score: isRight ? mirroredLeft! : 1 - mirroredLeft!,
      landmarks: points(landmarks, (x, y, z) => ({ ...toPicture(placement, { x, y }), z: z * depth })),
      world: points(world, (x, y, z) => ({ ...turned({ x, y }, region.rotation), z })),
    },
  };
}

function points(values: Float32Array, point: (x: number, y: number, z: number) => HandPoint): HandPoint[] {
  return Array.from({ length: HAND_LANDMARKS }, (_, i) =>
    point(values[3 * i]!, values[3 * i + 1]!, values[3 * i + 2]!),
  );
}

function outputOf(outputs: Readonly<Record<string, FloatTensor>>, name: string, length: number): Float32Array {
  const data = outputs[name]?.data;
  if (data?.length !== length) {
    throw new SightlineError(
      'MODEL_UNSUPPORTED',
      `hand landmark output ${name} has ${data?.length ?? 'no'} numbers where it has ${length}`,
    );
  }
  return data;
}
