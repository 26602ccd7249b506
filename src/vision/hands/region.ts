import { HAND_WRIST, type HandPoint } from '../../base/hand.ts';
import type { Size } from '../../base/picture.ts';
import type { Point, Region } from '../placement.ts';
import { PALM_KEYPOINTS, type Palm } from './palm.ts';

/** A square of the picture that holds one hand, turned so that its fingers point upward. */
export interface HandRegion {
  /** The centre, pixels of the picture. */
  readonly x: number;
  readonly y: number;
  /** Side, pixels. */
  readonly size: number;
  /** Radians, clockwise as the picture is seen: how the upright square is turned to lie on the hand. −π..π. */
  readonly rotation: number;
}

// Numbers of MediaPipe's graphs `palm_detection_detection_to_roi.pbtxt` and `hand_landmark_landmarks_to_roi.pbtxt`.
const FROM_PALM = { scale: 2.6, shiftY: -0.5 } as const;
const FROM_LANDMARKS = { scale: 2, shiftY: -0.1 } as const;

/** Points that stay put while fingers move: wrist, thumb up to its last joint, the two lower joints of each finger. */
const STEADY_POINTS = [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18] as const;
/** The direction of a hand is from its wrist to these: middle joint of index, middle (twice as heavy) and ring finger. */
const MIDDLE_JOINTS = { index: 6, middle: 10, ring: 14 } as const;

/** The region of a palm: 2.6 times as large, moved toward the fingers by half a palm, wrist to middle finger upright. */
export function palmRegion(palm: Palm, picture: Size): HandRegion {
  const wrist = toPixels(palm.keypoints[PALM_KEYPOINTS.wrist]!, picture);
  const knuckle = toPixels(palm.keypoints[PALM_KEYPOINTS.middleKnuckle]!, picture);
  const centre = toPixels(palm, picture);
  const rotation = uprightRotation(wrist, knuckle);
  return grown(centre, palm.width * picture.width, palm.height * picture.height, rotation, FROM_PALM);
}

/**
 * The region in which the next picture has the hand of these landmarks: twice the square around the points that stay put, as it
 * lies along the hand. Source of the method: MediaPipe's `HandLandmarksToRectCalculator`.
 */
export function landmarkRegion(landmarks: readonly HandPoint[], picture: Size): HandRegion {
  const at = (i: number) => toPixels(landmarks[i]!, picture);
  const [index, middle, ring] = [at(MIDDLE_JOINTS.index), at(MIDDLE_JOINTS.middle), at(MIDDLE_JOINTS.ring)];
  const joints = {
    x: (index.x + ring.x) / 4 + middle.x / 2,
    y: (index.y + ring.y) / 4 + middle.y / 2,
  };
  const rotation = uprightRotation(at(HAND_WRIST), joints);
  // The smallest rectangle along the hand around the points, in axes of its own.
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const i of STEADY_POINTS) {
    const { x, y } = turned(at(i), -rotation);
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
  }
  const centre = turned({ x: (left + right) / 2, y: (top + bottom) / 2 }, rotation);
  return grown(centre, right - left, bottom - top, rotation, FROM_LANDMARKS);
}

/** The region as a crop of the picture. Beyond its border the landmark model gets the border's pixels, as in MediaPipe. */
export function cropOf({ x, y, size, rotation }: HandRegion, { width, height }: Size): Region {
  return {
    centreX: x / width,
    centreY: y / height,
    width: size / width,
    height: size / height,
    rotation,
    outside: 'replicate',
  };
}

/** Whether it has a size and any of the picture lies in it; else the model would see nothing. */
export function isInPicture({ x, y, size, rotation }: HandRegion, { width, height }: Size): boolean {
  if (!(size >= 1) || !Number.isFinite(x + y + size + rotation)) return false;
  const reach = (size / 2) * (Math.abs(Math.cos(rotation)) + Math.abs(Math.sin(rotation)));
  return x + reach > 0 && y + reach > 0 && x - reach < width && y - reach < height;
}

/** Turns a point around the origin, clockwise as a picture is seen (its y axis points down). */
export function turned({ x, y }: Point, angle: number): Point {
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return { x: cos * x - sin * y, y: sin * x + cos * y };
}

/** How far clockwise a picture's upright is turned to point from `from` to `to`; −π..π. */
function uprightRotation(from: Point, to: Point): number {
  return Math.atan2(to.x - from.x, from.y - to.y);
}

function grown(
  centre: Point,
  width: number,
  height: number,
  rotation: number,
  { scale, shiftY }: { readonly scale: number; readonly shiftY: number },
): HandRegion {
  const shift = turned({ x: 0, y: height * shiftY }, rotation);
  return { x: centre.x + shift.x, y: centre.y + shift.y, size: Math.max(width, height) * scale, rotation };
}

function toPixels({ x, y }: Point, { width, height }: Size): Point {
  return { x: x * width, y: y * height };
}
