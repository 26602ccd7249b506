import { HAND_LANDMARKS, type Hand, type HandPoint } from '../../base/hand.ts';
import { SightlineError } from '../../base/errors.ts';
import type { FloatTensor } from '../types.ts';
import { type HandRegion, type PictureSize, turned } from './region.ts';

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

/** What the landmark model says of a region. */
export interface RegionReading {
  /** That there is a hand in the region at all, 0..1. What else is said means nothing where it is low. */
  readonly presence: number;
  readonly hand: Hand;
}

/**
 * Reads the landmark model's outputs. `inputSize`: side of the model's square input, pixels, over the whole of which the region lay.
 * The model was made for mirrored pictures: what it calls a left hand is a right one in a picture that is not mirrored, and here the
 * person's own hand is told. Errors: MODEL_UNSUPPORTED when the tensors are not those of a hand landmark model.
 */
export function readRegion(
  outputs: Readonly<Record<string, FloatTensor>>,
  inputSize: number,
  region: HandRegion,
  picture: PictureSize,
): RegionReading {
  const landmarks = outputOf(outputs, OUTPUTS.landmarks, HAND_LANDMARKS * 3);
  const world = outputOf(outputs, OUTPUTS.world, HAND_LANDMARKS * 3);
  const [presence] = outputOf(outputs, OUTPUTS.presence, 1);
  const [mirroredLeft] = outputOf(outputs, OUTPUTS.handedness, 1);
  const isRight = mirroredLeft! >= 0.5;
  return {
    presence: presence!,
    hand: {
      handedness: isRight ? 'right' : 'left',
      score: isRight ? mirroredLeft! : 1 - mirroredLeft!,
      landmarks: points(landmarks, (x, y, z) =>
        inPicture(x / inputSize, y / inputSize, z / inputSize, region, picture),
      ),
      world: points(world, (x, y, z) => ({ ...turned({ x, y }, region.rotation), z })),
    },
  };
}

/** From fractions of the region to fractions of the picture; depths become fractions of its width, as MediaPipe's do. */
function inPicture(x: number, y: number, z: number, region: HandRegion, picture: PictureSize): HandPoint {
  const offset = turned({ x: (x - 0.5) * region.size, y: (y - 0.5) * region.size }, region.rotation);
  return {
    x: (region.x + offset.x) / picture.width,
    y: (region.y + offset.y) / picture.height,
    z: ((z / DEPTH_SCALE) * region.size) / picture.width,
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
