import { placePicture, type Placement } from './placement.ts';
import type { PictureInput } from './types.ts';

/** A picture of 4 bytes a pixel (red, green, blue, unused), rows without padding, at a multiple of 4 bytes in its buffer. */
export interface RgbxPicture {
  readonly data: Uint8Array;
  /** Pixels. */
  readonly width: number;
  /** Pixels. */
  readonly height: number;
}

/** Weights are 8 bits, so that four of them times a channel fit into 16 bits: two channels go through one multiplication. */
const ONE = 256;
const RED_AND_BLUE = 0x00ff00ff;

/**
 * Scales pictures into a model's input tensor: bilinear, sample centres aligned (as OpenCV, TensorFlow and FFmpeg do by
 * default), normalised, in the model's layout and channel order, all in one pass over the output. Keeps the sampling
 * tables of the last picture size. Measured against FFmpeg's swscale and against ONNX Runtime's Resize (docs/performance.md).
 */
export class Preprocessor {
  readonly #input: PictureInput;
  /** Sizes that the tables, and the padding in `#padded`, are good for. */
  #tables:
    | {
        readonly width: number;
        readonly height: number;
        readonly x: Axis;
        readonly y: Axis;
        readonly placement: Placement;
      }
    | undefined;
  #padded: Float32Array | undefined;

  constructor(input: PictureInput) {
    this.#input = input;
  }

  /** Values of the input tensor. */
  get length(): number {
    return this.#input.width * this.#input.height * 3;
  }

  /** Fills `out` (`length` values, always the same array if it can be) and tells where the picture lies in it. */
  write(picture: RgbxPicture, out: Float32Array): Placement {
    const tables = this.#tablesFor(picture.width, picture.height);
    if (this.#padded !== out) {
      this.#pad(out);
      this.#padded = out;
    }
    const pixels = new Uint32Array(picture.data.buffer, picture.data.byteOffset, picture.width * picture.height);
    const { placement } = tables;
    const same = placement.width === picture.width && placement.height === picture.height;
    if (same) this.#copy(pixels, placement, out);
    else this.#resample(pixels, tables.x, tables.y, placement, out);
    return placement;
  }

  #tablesFor(width: number, height: number) {
    if (this.#tables?.width === width && this.#tables.height === height) return this.#tables;
    const placement = placePicture(this.#input, width, height);
    this.#tables = {
      width,
      height,
      x: axis(width, placement.width, 1),
      y: axis(height, placement.height, width),
      placement,
    };
    this.#padded = undefined;
    return this.#tables;
  }

  #pad(out: Float32Array): void {
    const plan = this.#plan();
    const pad = this.#input.padValue ?? 0;
    const { width, height } = this.#input;
    for (let at = 0, end = width * height * plan.step; at < end; at += plan.step) {
      out[plan.red + at] = pad * plan.redGain + plan.redBias;
      out[plan.green + at] = pad * plan.greenGain + plan.greenBias;
      out[plan.blue + at] = pad * plan.blueGain + plan.blueBias;
    }
  }

  /** The picture has the size that the model wants: nothing to scale. */
  #copy(pixels: Uint32Array, placement: Placement, out: Float32Array): void {
    const { step, red, green, blue, redGain, redBias, greenGain, greenBias, blueGain, blueBias } = this.#plan();
    const { width, height } = placement;
    for (let y = 0, from = 0; y < height; y++) {
      let at = ((placement.y + y) * this.#input.width + placement.x) * step;
      for (let x = 0; x < width; x++, from++, at += step) {
        const pixel = pixels[from]!;
        out[red + at] = (pixel & 255) * redGain + redBias;
        out[green + at] = ((pixel >>> 8) & 255) * greenGain + greenBias;
        out[blue + at] = ((pixel >>> 16) & 255) * blueGain + blueBias;
      }
    }
  }

  #resample(pixels: Uint32Array, axisX: Axis, axisY: Axis, placement: Placement, out: Float32Array): void {
    const { step, red, green, blue, redBias, greenBias, blueBias, ...plan } = this.#plan();
    const redGain = plan.redGain / ONE;
    const greenGain = plan.greenGain / ONE;
    const blueGain = plan.blueGain / ONE;
    const { width, height } = placement;
    const { near: nearX, far: farX, weight: weightX } = axisX;
    for (let y = 0; y < height; y++) {
      const top = axisY.near[y]!;
      const bottom = axisY.far[y]!;
      const down = axisY.weight[y]!;
      let at = ((placement.y + y) * this.#input.width + placement.x) * step;
      for (let x = 0; x < width; x++, at += step) {
        const left = nearX[x]!;
        const right = farX[x]!;
        const across = weightX[x]!;
        const w3 = (Math.imul(across, down) + ONE / 2) >> 8;
        const w2 = down - w3;
        const w1 = across - w3;
        const w0 = ONE - down - w1;
        const p0 = pixels[top + left]! | 0;
        const p1 = pixels[top + right]! | 0;
        const p2 = pixels[bottom + left]! | 0;
        const p3 = pixels[bottom + right]! | 0;
        const redBlue =
          (Math.imul(p0 & RED_AND_BLUE, w0) +
            Math.imul(p1 & RED_AND_BLUE, w1) +
            Math.imul(p2 & RED_AND_BLUE, w2) +
            Math.imul(p3 & RED_AND_BLUE, w3)) |
          0;
        const greenSum =
          (Math.imul((p0 >>> 8) & 255, w0) +
            Math.imul((p1 >>> 8) & 255, w1) +
            Math.imul((p2 >>> 8) & 255, w2) +
            Math.imul((p3 >>> 8) & 255, w3)) |
          0;
        out[red + at] = (redBlue & 0xffff) * redGain + redBias;
        out[green + at] = greenSum * greenGain + greenBias;
        out[blue + at] = (redBlue >>> 16) * blueGain + blueBias;
      }
    }
  }

  /** Where each channel goes and how a byte becomes a value: value = byte × gain + bias. */
  #plan() {
    const { width, height, layout, colour, mean, std } = this.#input;
    const plane = layout === 'nchw' ? width * height : 1;
    const [r, b] = colour === 'rgb' ? ([0, 2] as const) : ([2, 0] as const);
    return {
      step: layout === 'nchw' ? 1 : 3,
      red: r * plane,
      green: plane,
      blue: b * plane,
      redGain: 1 / std[r],
      redBias: -mean[r] / std[r],
      greenGain: 1 / std[1],
      greenBias: -mean[1] / std[1],
      blueGain: 1 / std[b],
      blueBias: -mean[b] / std[b],
    };
  }
}

/** Packed RGB into 4 bytes a pixel. */
export function expandRgb(rgb: Uint8Array, width: number, height: number, into: Uint8Array): RgbxPicture {
  const pixels = new Uint32Array(into.buffer, into.byteOffset, width * height);
  for (let i = 0, from = 0; i < pixels.length; i++, from += 3) {
    pixels[i] = rgb[from]! | (rgb[from + 1]! << 8) | (rgb[from + 2]! << 16);
  }
  return { data: into, width, height };
}

/** For each output coordinate the two source coordinates, as offsets, and the weight of the far one in 1/256. */
interface Axis {
  readonly near: Int32Array;
  readonly far: Int32Array;
  readonly weight: Int32Array;
}

function axis(from: number, to: number, stride: number): Axis {
  const near = new Int32Array(to);
  const far = new Int32Array(to);
  const weight = new Int32Array(to);
  for (let i = 0; i < to; i++) {
    const place = Math.min(from - 1, Math.max(0, ((i + 0.5) * from) / to - 0.5));
    const whole = Math.floor(place);
    near[i] = whole * stride;
    far[i] = Math.min(whole + 1, from - 1) * stride;
    weight[i] = Math.round((place - whole) * ONE);
  }
  return { near, far, weight };
}
