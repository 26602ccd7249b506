/**
 * How large a JPEG becomes: bytes = density × pixels × growth(quality). The density is the scene's own and is learned from the
 * frames; the growth is that of the quantisation step, which follows from the quality as in the Independent JPEG Group's library
 * (jpeg_quality_scaling). Within a few steps of quality it is accurate to some percent, and the next frames
 * correct the error.
 */

/** Bytes fall with the quantisation step to this power; found on photographs of streets, quality 25 to 90. */
const EXPONENT = 0.6;
/** Weight of one frame in the learned density. */
const LEARNING = 0.25;
/** A street at 640×480 and quality 50 is about 35 kB. */
const DENSITY_FIRST = 0.11;

/** Size at `quality` (1..100) relative to quality 50. */
export function jpegGrowth(quality: number): number {
  const step = quality < 50 ? 50 / quality : Math.max(0.02, 2 - quality / 50);
  return step ** -EXPONENT;
}

export class JpegSizes {
  #density = DENSITY_FIRST;
  #isLearned = false;

  learn(frame: { readonly bytes: number; readonly pixels: number; readonly quality: number }): void {
    const density = frame.bytes / (frame.pixels * jpegGrowth(frame.quality));
    if (!(density > 0 && density < Infinity)) return;
    this.#density = this.#isLearned ? this.#density + LEARNING * (density - this.#density) : density;
    this.#isLearned = true;
  }

  bytes(pixels: number, quality: number): number {
    return this.#density * pixels * jpegGrowth(quality);
  }
}
