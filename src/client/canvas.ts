import { SightlineError } from '../base/errors.ts';
import type { Canvas } from './dom.ts';
import type { Size } from './fit.ts';

export type CanvasContext = OffscreenCanvasRenderingContext2D | CanvasRenderingContext2D;

/** An `OffscreenCanvas` where it can encode (not in Safari before 16.4), else a canvas that is in no document. */
export function makePicture({ width, height }: Size): Canvas {
  if (typeof OffscreenCanvas === 'function' && 'convertToBlob' in OffscreenCanvas.prototype)
    return new OffscreenCanvas(width, height);
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

/** A canvas whose pixels are read back once (to encode them) is better kept in main memory than on the GPU. */
export function contextOf(canvas: Canvas): CanvasContext {
  const context = canvas.getContext('2d', { alpha: false, willReadFrequently: true }) as CanvasContext | null;
  if (context) return context;
  throw new SightlineError(
    'INTERNAL',
    `the browser gives no 2D context for a canvas of ${canvas.width} × ${canvas.height}`,
  );
}

/** Fills a canvas of this size with a picture; its earlier content is lost. */
export function drawScaled(canvas: Canvas, source: CanvasImageSource, { width, height }: Size): void {
  // Setting a canvas's size clears it, even to the same size.
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  contextOf(canvas).drawImage(source, 0, 0, width, height);
}

/** `quality` 1..100. Throws FRAME_UNDECODABLE when the browser cannot encode (a tainted or lost canvas). */
export async function encodeJpeg(canvas: Canvas, quality: number): Promise<Uint8Array<ArrayBuffer>> {
  const options = { type: 'image/jpeg', quality: quality / 100 };
  const blob =
    'convertToBlob' in canvas
      ? await canvas.convertToBlob(options)
      : await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, options.type, options.quality));
  if (!blob) throw new SightlineError('FRAME_UNDECODABLE', 'the browser could not encode the picture as a JPEG');
  return new Uint8Array(await blob.arrayBuffer());
}
