import { builtInLadder } from '../../src/flow/ladder.ts';
import { decodeJpeg, encodeJpeg, jpegBytesMax } from '../../src/media/jpeg.ts';
import { cameraPictures, type PictureSize } from '../support/pictures.ts';

/**
 * What the camera of this benchmark sees: it tilts slowly over some views, one below the other, so that two frames in a row
 * hardly differ, as those of a camera do, and a scene is followed by one that costs more or fewer bytes.
 */

const SEED = 20_263;
const VIEWS = 8;
const VIEW_MS = 8_000;
const FULL: PictureSize = { width: 640, height: 480 };
/** Of the pictures that are encoded again: as good as untouched. */
const QUALITY = 95;

interface Picture {
  readonly jpeg: Uint8Array;
  readonly width: number;
}

export class Strip {
  /** From the largest size to the smallest; the first view stands again below the last one. Packed RGB. */
  readonly #formats: readonly (PictureSize & { readonly pixels: Buffer })[];
  readonly #work = Buffer.alloc(jpegBytesMax(FULL.width, FULL.height));

  private constructor(formats: readonly (PictureSize & { readonly pixels: Buffer })[]) {
    this.#formats = formats;
  }

  /** In the sizes of the quality ladder. Takes most of a second. */
  static async load(): Promise<Strip> {
    const scales = builtInLadder('levels', 1).map(({ scale }) => scale);
    const formats: (PictureSize & { pixels: Buffer })[] = [];
    for (const scale of scales.toReversed()) {
      const size = { width: Math.round(FULL.width * scale), height: Math.round(FULL.height * scale) };
      const bytes = size.width * size.height * 3;
      const pixels = Buffer.alloc((VIEWS + 1) * bytes);
      const views = await cameraPictures(VIEWS, SEED, size, { min: QUALITY, max: QUALITY });
      for (const [i, view] of views.entries()) decodeJpeg(view, pixels.subarray(i * bytes, (i + 1) * bytes));
      pixels.copy(pixels, VIEWS * bytes, 0, bytes);
      formats.push({ ...size, pixels });
    }
    return new Strip(formats);
  }

  /** What the camera sees at a moment, in its largest size that fits. The bytes are good until the next call. */
  picture(timeMs: number, size: PictureSize, quality: number): Picture {
    const fits = this.#formats.find(({ width, height }) => width <= size.width && height <= size.height);
    const { width, height, pixels } = fits ?? this.#formats.at(-1)!;
    const turn = (timeMs / VIEW_MS) % VIEWS;
    const row = Math.floor((turn < 0 ? turn + VIEWS : turn) * height);
    const data = pixels.subarray(row * width * 3, (row + height) * width * 3);
    return { jpeg: encodeJpeg({ data, width, height }, quality, this.#work), width };
  }
}
