import { SightlineError } from '../base/errors.ts';
import { contextOf, encodeJpeg, makePicture } from './canvas.ts';
import type { PictureFile } from './dom.ts';
import { fitInside } from './fit.ts';

const SIDE_MAX = 1280;
const QUALITY = 85;

export interface OptimisedImage {
  readonly jpeg: Uint8Array<ArrayBuffer>;
  readonly width: number;
  readonly height: number;
}

/**
 * A picture file (any format that the browser shows) made fit for sending: upright as its EXIF says, longest side at most
 * `sideMax` pixels, JPEG of `quality` 1..100. Throws FRAME_UNDECODABLE.
 */
export async function optimiseImage(
  file: PictureFile,
  { sideMax = SIDE_MAX, quality = QUALITY } = {},
): Promise<OptimisedImage> {
  const bitmap = await createImageBitmap(file, { imageOrientation: 'from-image' }).catch((cause: unknown) => {
    throw new SightlineError(
      'FRAME_UNDECODABLE',
      `the browser cannot read this picture (${file.type || 'unknown type'})`,
      { cause },
    );
  });
  try {
    const { width, height } = fitInside(bitmap, { width: sideMax, height: sideMax });
    const picture = makePicture({ width, height });
    const context = contextOf(picture);
    context.imageSmoothingQuality = 'high';
    context.drawImage(bitmap, 0, 0, width, height);
    return { jpeg: await encodeJpeg(picture, quality), width, height };
  } finally {
    bitmap.close();
  }
}
