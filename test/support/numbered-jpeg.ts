import type { Size } from '../../src/base/picture.ts';
import { encodeJpeg } from '../../src/media/jpeg.ts';
import { numberLuma } from './picture-number.ts';

/** A grey picture that carries a number. */
export function numberedJpeg(number: number, { width, height }: Size): Uint8Array {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const luma = numberLuma(number, x, y, width, height) ?? 90 + ((x + 2 * y) & 63);
      data.fill(luma, (y * width + x) * 3, (y * width + x) * 3 + 3);
    }
  }
  return encodeJpeg({ data, width, height }, 90);
}
