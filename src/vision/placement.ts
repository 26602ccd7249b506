import type { PictureInput } from './types.ts';

/** Where the scaled picture lies within the model's input, in pixels of the input. */
export interface Placement {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
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
