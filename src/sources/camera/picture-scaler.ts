import { AV_FRAME_DATA_DISPLAYMATRIX, AV_PIX_FMT_GRAY8, AV_PIX_FMT_RGB24 } from 'node-av/constants';
import type { AVPixelFormat } from 'node-av/constants';
import { Frame, SoftwareScaleContext } from 'node-av/lib';
import { SightlineError } from '../../base/errors.ts';
import type { Size } from '../../base/picture.ts';
import { isUpright, orientationOf, swapsSides, turnUpright, uprightSize } from '../../media/orient.ts';
import { reasonOf, squareSize, weave } from '../ffmpeg.ts';
import type { MaskPainter } from './mask-painter.ts';
import type { PictureScale } from './messages.ts';

/** A picture as it leaves the decoder's process. */
export interface ScaledPicture extends Size {
  /** Packed, rows without padding: RGB, or one byte a pixel. */
  readonly bytes: Uint8Array;
  /** Before scaling: upright, with square pixels. */
  readonly source: Size;
}

/** Scales decoded pictures to one size after another; of one pixel format. One call at a time. */
export class PictureScaler {
  readonly #scaler = new SoftwareScaleContext();
  readonly #scaled = new Frame();
  readonly #format: AVPixelFormat;
  readonly #bytesPerPixel: number;
  readonly #masks: MaskPainter | undefined;

  /** `masks`: those of the picture are in what comes of it as well. */
  constructor(kind: 'rgb' | 'luma', masks?: MaskPainter) {
    this.#masks = masks;
    this.#format = kind === 'rgb' ? AV_PIX_FMT_RGB24 : AV_PIX_FMT_GRAY8;
    this.#bytesPerPixel = kind === 'rgb' ? 3 : 1;
    this.#scaler.allocContext();
    this.#scaled.alloc();
  }

  /** In memory of its own. Errors: CAMERA_FORMAT, MaskFault. */
  async scale(frame: Frame, scale: PictureScale): Promise<ScaledPicture> {
    const orientation = orientationOf(frame.getSideData(AV_FRAME_DATA_DISPLAYMATRIX));
    const square = squareSize(frame, frame.sampleAspectRatio);
    const source = uprightSize(square, orientation);
    const size = scaledSize(source, scale);
    // The scaler works on the picture as it is stored.
    const stored = swapsSides(orientation) ? { width: size.height, height: size.width } : size;
    this.#allocate(stored);
    weave(frame);
    const code = await this.#scaler.scaleFrame(this.#scaled, frame);
    const plane = this.#scaled.data?.[0];
    if (code < 0 || !plane) {
      throw new SightlineError('CAMERA_FORMAT', `its pictures cannot be converted: ${reasonOf(code)}`);
    }
    this.#masks?.paint(this.#scaled, orientation);
    const length = size.width * size.height * this.#bytesPerPixel;
    const bytes = Buffer.allocUnsafeSlow(length);
    // The watch of a picture does not care which side is up.
    if (isUpright(orientation) || this.#bytesPerPixel === 1) bytes.set(plane.subarray(0, length));
    else turnUpright(plane, stored.width, stored.height, orientation, bytes);
    return { ...size, bytes, source };
  }

  /** No call is under way. */
  close(): void {
    this.#scaler.freeContext();
    this.#scaled.free();
  }

  #allocate({ width, height }: Size): void {
    const scaled = this.#scaled;
    if (scaled.width === width && scaled.height === height) return;
    scaled.unref();
    scaled.width = width;
    scaled.height = height;
    scaled.format = this.#format;
    // Alignment 1: rows without padding.
    const code = scaled.getBuffer(1);
    if (code < 0) throw new SightlineError('CAMERA_FORMAT', `a picture of ${width}×${height}: ${reasonOf(code)}`);
  }
}

/** Pictures are not enlarged to be contained. */
export function scaledSize(source: Size, scale: PictureScale): Size {
  if (scale === null) return source;
  if (scale.fit === 'stretch') return { width: scale.width, height: scale.height };
  const factor = Math.min(1, scale.width / source.width, scale.height / source.height);
  return {
    width: Math.max(1, Math.round(source.width * factor)),
    height: Math.max(1, Math.round(source.height * factor)),
  };
}
