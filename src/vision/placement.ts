import { SightlineError } from '../base/errors.ts';
import type { PictureInput } from './types.ts';

/** Where the scaled picture, or the region of it, lies within the model's input, in pixels of the input. */
export interface Placement {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  /** Fractions of the region → fractions of the picture. Absent: it is the whole picture. */
  readonly region?: Affine;
}

/** x = x0 + xu·u + xv·v, y = y0 + yu·u + yv·v. */
export interface Affine {
  readonly x0: number;
  readonly xu: number;
  readonly xv: number;
  readonly y0: number;
  readonly yu: number;
  readonly yv: number;
}

/** A turned rectangle of a picture, as MediaPipe's `NormalizedRect`; it may reach beyond the picture. */
export interface Region {
  /** Of its centre, fractions of the picture. */
  readonly centreX: number;
  readonly centreY: number;
  /** Before it is turned, fractions of the picture's width and height. */
  readonly width: number;
  readonly height: number;
  /** Radians, clockwise in the picture; default: 0. */
  readonly rotation?: number;
  /** Value outside the picture: the input's `padValue` (default), or the nearest pixel of the border. */
  readonly outside?: 'pad' | 'replicate';
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Places a picture of `width` × `height` pixels: all over the input, or as large as fits with its shape kept. */
export function placePicture(input: PictureInput, width: number, height: number): Placement {
  if (input.fit === 'stretch') return { x: 0, y: 0, width: input.width, height: input.height };
  const ratio = Math.min(input.width / width, input.height / height);
  // A very flat picture still gets one row.
  const scaledWidth = Math.max(1, Math.round(width * ratio));
  const scaledHeight = Math.max(1, Math.round(height * ratio));
  const centred = input.fit === 'letterbox';
  return {
    x: centred ? (input.width - scaledWidth) >> 1 : 0,
    y: centred ? (input.height - scaledHeight) >> 1 : 0,
    width: scaledWidth,
    height: scaledHeight,
  };
}

/**
 * Places a region of a picture of `width` × `height` pixels all over the input. Where the input keeps the picture's shape the region
 * grows in one direction until it has the shape of the input, so that nothing is padded inside the picture. Errors:
 * INFERENCE_FAILED for a region without an area.
 */
export function placeRegion(input: PictureInput, region: Region, width: number, height: number): Placement {
  const { centreX, centreY, rotation = 0 } = region;
  let across = region.width * width;
  let down = region.height * height;
  if (input.fit !== 'stretch') {
    const ratio = input.width / input.height;
    if (across < down * ratio) across = down * ratio;
    else down = across / ratio;
  }
  const [cos, sin] = [Math.cos(rotation), Math.sin(rotation)];
  const xu = (across * cos) / width;
  const xv = (-down * sin) / width;
  const yu = (across * sin) / height;
  const yv = (down * cos) / height;
  const affine: Affine = { x0: centreX - (xu + xv) / 2, xu, xv, y0: centreY - (yu + yv) / 2, yu, yv };
  if (!(across > 0 && down > 0 && Object.values(affine).every(Number.isFinite))) {
    throw new SightlineError(
      'INFERENCE_FAILED',
      `a region of ${region.width} × ${region.height} of the picture around (${centreX}, ${centreY})`,
    );
  }
  return { x: 0, y: 0, width: input.width, height: input.height, region: affine };
}

/** A point of the input, in its pixels, as fractions of the picture. */
export function toPicture({ x, y, width, height, region }: Placement, point: Point): Point {
  const u = (point.x - x) / width;
  const v = (point.y - y) / height;
  if (!region) return { x: u, y: v };
  const { x0, xu, xv, y0, yu, yv } = region;
  return { x: x0 + xu * u + xv * v, y: y0 + yu * u + yv * v };
}

/** A point of the picture, as fractions of it, in pixels of the input. */
export function toInput({ x, y, width, height, region }: Placement, point: Point): Point {
  if (!region) return { x: x + point.x * width, y: y + point.y * height };
  const { x0, xu, xv, y0, yu, yv } = region;
  const dx = point.x - x0;
  const dy = point.y - y0;
  const area = xu * yv - xv * yu;
  return { x: x + ((dx * yv - dy * xv) / area) * width, y: y + ((dy * xu - dx * yu) / area) * height };
}
