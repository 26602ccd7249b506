import { SightlineError } from '../base/errors.ts';
import type { Size } from './fit.ts';

/** A canvas with a picture on it: can be drawn onto another canvas as it is. */
export type Picture = OffscreenCanvas | HTMLCanvasElement;

export type PictureContext = OffscreenCanvasRenderingContext2D | CanvasRenderingContext2D;

/** An `OffscreenCanvas` where it can encode (not in Safari before 16.4), else a canvas that is in no document. */
export function makePicture({ width, height }: Size): Picture {
  if (typeof OffscreenCanvas === 'function' && 'convertToBlob' in OffscreenCanvas.prototype)
    return new OffscreenCanvas(width, height);
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

/** A canvas whose pixels are read back once (to encode them) is better kept in main memory than on the GPU. */
export function contextOf(picture: Picture): PictureContext {
  const context = picture.getContext('2d', { alpha: false, willReadFrequently: true }) as PictureContext | null;
  if (context) return context;
  throw new SightlineError(
    'INTERNAL',
    `the browser gives no 2D context for a canvas of ${picture.width} × ${picture.height}`,
  );
}

/** `quality` 1..100. Throws FRAME_UNDECODABLE when the browser cannot encode (a tainted or lost canvas). */
export async function encodeJpeg(picture: Picture, quality: number): Promise<Uint8Array<ArrayBuffer>> {
  const options = { type: 'image/jpeg', quality: quality / 100 };
  const blob =
    'convertToBlob' in picture
      ? await picture.convertToBlob(options)
      : await new Promise<Blob | null>((resolve) => picture.toBlob(resolve, options.type, options.quality));
  if (!blob) throw new SightlineError('FRAME_UNDECODABLE', 'the browser could not encode the picture as a JPEG');
  return new Uint8Array(await blob.arrayBuffer());
}
