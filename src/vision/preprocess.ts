import { placePicture, placeRegion, type Placement, type Region } from './placement.ts';
import { channelsOf, type PictureInput } from './types.ts';

/** A picture of 4 bytes a pixel (red, green, blue, unused), rows without padding, at a multiple of 4 bytes in its buffer. */
export interface RgbxPicture {
  readonly data: Uint8Array;
  /** Pixels. */
  readonly width: number;
  /** Pixels. */
  readonly height: number;
}

/** From this many times the pixels of its place in the input on, a picture is averaged, below interpolated. */
const AVERAGING_SHRINK = 4;
/** Samples along each axis that are averaged into one value. */
const TAPS = 3;
/** Weights of interpolation are 8 bits, so that four of them times a channel fit into 16: two channels go through one multiplication. */
const ONE = 256;
const RED_AND_BLUE = 0x00ff00ff;
const GREEN = 0x0000ff00;
/** Green is summed where it lies, 8 bits up. */
const GREEN_UNIT = 256;
/** Weights of red, green and blue in luma: ITU-R BT.601, as OpenCV and Pillow have it. */
const LUMA = [0.299, 0.587, 0.114] as const;

/**
 * Scales pictures into a model's input tensor, normalised, in the model's layout and channel order, all in one pass over the
 * output. Up to a shrink of 2 × 2 it interpolates bilinearly with sample centres aligned, as OpenCV, TensorFlow and FFmpeg do
 * by default; beyond, where two samples an axis would leave out pixels and alias, it averages 3 × 3 samples spread over the
 * source area, which costs the same. Measured against FFmpeg's scaler and ONNX Runtime's Resize: docs/performance.md.
 * Keeps the sampling tables of the last picture size.
 */
export class Preprocessor {
  readonly #input: PictureInput;
  readonly #channels: Channels;
  /** The scaled picture in three planes of 0..255, for a model that takes its luma alone. */
  readonly #planes: Float32Array | undefined;
  #tables: Tables | undefined;
  /** Arrays whose padding is in place, and for which tables. */
  readonly #padded = new WeakMap<Float32Array, Tables>();

  constructor(input: PictureInput) {
    this.#input = input;
    const isGrey = channelsOf(input) === 1;
    this.#channels = channelPlan(isGrey ? { ...input, ...PLANES } : input);
    if (isGrey) this.#planes = new Float32Array(input.width * input.height * 3);
  }

  /**
   * Fills `out` (a value for each pixel and channel, the same few arrays if possible) and returns where the picture, or the region of it,
   * lies in it. Errors: INFERENCE_FAILED for a region without an area.
   */
  write(picture: RgbxPicture, out: Float32Array, region?: Region): Placement {
    const into = this.#planes ?? out;
    const placement = region ? this.#crop(picture, region, into) : this.#scale(picture, into);
    if (this.#planes) luma(this.#planes, this.#input, out);
    return placement;
  }

  /** Crops, turns and scales in one pass: bilinear, with sample centres aligned, as MediaPipe's `ImageToTensorCalculator`. */
  #crop(picture: RgbxPicture, region: Region, out: Float32Array): Placement {
    const placement = placeRegion(this.#input, region, picture.width, picture.height);
    // Its padding has been overwritten.
    this.#padded.delete(out);
    const pad = region.outside === 'replicate' ? undefined : (this.#input.padValue ?? 0);
    crop(picture, placement, { ...this.#channels, first: 0, pitch: this.#input.width * this.#channels.step }, pad, out);
    return placement;
  }

  #scale(picture: RgbxPicture, out: Float32Array): Placement {
    const tables = this.#tablesFor(picture.width, picture.height);
    if (this.#padded.get(out) !== tables) {
      this.#pad(out);
      this.#padded.set(out, tables);
    }
    const pixels = new Uint32Array(picture.data.buffer, picture.data.byteOffset, picture.width * picture.height);
    const { placement } = tables;
    // Where the first value of each row of the picture stands.
    const first = placement.y * this.#input.width + placement.x;
    const to = {
      ...this.#channels,
      first: first * this.#channels.step,
      pitch: this.#input.width * this.#channels.step,
    };
    if (tables.kind === 'copy') copy(pixels, placement, to, out);
    else if (tables.kind === 'average') average(pixels, tables, to, out);
    else interpolate(pixels, tables, to, out);
    return placement;
  }

  #tablesFor(width: number, height: number): Tables {
    if (this.#tables?.width !== width || this.#tables.height !== height) {
      this.#tables = makeTables(width, height, placePicture(this.#input, width, height));
    }
    return this.#tables;
  }

  #pad(out: Float32Array): void {
    const { step, red, green, blue } = this.#channels;
    const pad = this.#input.padValue ?? 0;
    for (let at = 0, end = this.#input.width * this.#input.height * step; at < end; at += step) {
      out[red.offset + at] = pad * red.gain + red.bias;
      out[green.offset + at] = pad * green.gain + green.bias;
      out[blue.offset + at] = pad * blue.gain + blue.bias;
    }
  }
}

/** Packed RGB into 4 bytes a pixel. `into` must start at a multiple of 4 bytes. */
export function expandRgb(rgb: Uint8Array, width: number, height: number, into: Uint8Array): RgbxPicture {
  const pixels = new Uint32Array(into.buffer, into.byteOffset, width * height);
  for (let i = 0, from = 0; i < pixels.length; i++, from += 3) {
    pixels[i] = rgb[from]! | (rgb[from + 1]! << 8) | (rgb[from + 2]! << 16);
  }
  return { data: into, width, height };
}

/** Where a channel goes and how a byte becomes a value: value = byte × gain + bias. */
interface Channel {
  readonly offset: number;
  readonly gain: number;
  readonly bias: number;
}

interface Channels {
  /** Values from one pixel to the next. */
  readonly step: number;
  readonly red: Channel;
  readonly green: Channel;
  readonly blue: Channel;
}

interface Target extends Channels {
  readonly first: number;
  /** Values from one row to the next. */
  readonly pitch: number;
}

/** Plain pixel values, plane by plane. */
const PLANES = { layout: 'nchw', colour: 'rgb', mean: [0, 0, 0], std: [1, 1, 1] } as const;

function channelPlan({ width, height, layout, colour, mean, std }: PictureInput): Channels {
  const plane = layout === 'nchw' ? width * height : 1;
  const channel = (i: 0 | 1 | 2): Channel => ({ offset: i * plane, gain: 1 / std[i], bias: -mean[i] / std[i] });
  const [red, blue] = colour === 'rgb' ? ([0, 2] as const) : ([2, 0] as const);
  return { step: layout === 'nchw' ? 1 : 3, red: channel(red), green: channel(1), blue: channel(blue) };
}

/** One channel out of three planes: its layout is the same in either order of axes. */
function luma(planes: Float32Array, { width, height, mean, std }: PictureInput, out: Float32Array): void {
  const pixels = width * height;
  const [red, green, blue] = LUMA.map((weight) => weight / std[0]) as [number, number, number];
  const bias = -mean[0] / std[0];
  for (let i = 0; i < pixels; i++) {
    out[i] = planes[i]! * red + planes[pixels + i]! * green + planes[2 * pixels + i]! * blue + bias;
  }
}

type Tables = { readonly width: number; readonly height: number; readonly placement: Placement } & (
  | { readonly kind: 'copy' }
  | { readonly kind: 'average'; readonly columns: Int32Array; readonly rows: Int32Array }
  | { readonly kind: 'interpolate'; readonly x: Axis; readonly y: Axis }
);

/** A picture that has the size of its place already is copied. */
function makeTables(width: number, height: number, placement: Placement): Tables {
  const source = { width, height, placement };
  if (placement.width === width && placement.height === height) return { ...source, kind: 'copy' };
  if (width * height >= AVERAGING_SHRINK * placement.width * placement.height) {
    const columns = spread(width, placement.width, 1);
    return { ...source, kind: 'average', columns, rows: spread(height, placement.height, width) };
  }
  const x = axis(width, placement.width, 1);
  return { ...source, kind: 'interpolate', x, y: axis(height, placement.height, width) };
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

/** For each output coordinate `TAPS` source coordinates, as offsets, evenly over the span that it stands for. */
function spread(from: number, to: number, stride: number): Int32Array {
  return Int32Array.from({ length: to * TAPS }, (_, i) => Math.floor(((i + 0.5) * from) / (to * TAPS)) * stride);
}

function copy(pixels: Uint32Array, { width, height }: Placement, to: Target, out: Float32Array): void {
  const { step, red, green, blue } = to;
  for (let y = 0, from = 0; y < height; y++) {
    for (let x = 0, at = to.first + y * to.pitch; x < width; x++, from++, at += step) {
      const pixel = pixels[from]!;
      out[red.offset + at] = (pixel & 255) * red.gain + red.bias;
      out[green.offset + at] = ((pixel >>> 8) & 255) * green.gain + green.bias;
      out[blue.offset + at] = ((pixel >>> 16) & 255) * blue.gain + blue.bias;
    }
  }
}

// The two loops below are the hot ones. Pixels are read as one number each; red and blue are worked on together, 16 bits
// apart, so that no sum of weights × 255 spills over. Loops over the taps are written out: V8 does not unroll them, and
// they took 2.6 times as long.

function interpolate(
  pixels: Uint32Array,
  { x: axisX, y: axisY, placement }: Tables & { kind: 'interpolate' },
  to: Target,
  out: Float32Array,
): void {
  const { near, far, weight } = axisX;
  const { first, pitch, step } = to;
  const { width, height } = placement;
  const { redAt, redGain, redBias, greenAt, greenGain, greenBias, blueAt, blueGain, blueBias } = scaled(to, ONE);
  for (let y = 0; y < height; y++) {
    const top = axisY.near[y]!;
    const bottom = axisY.far[y]!;
    const down = axisY.weight[y]!;
    for (let x = 0, at = first + y * pitch; x < width; x++, at += step) {
      const left = near[x]!;
      const right = far[x]!;
      const across = weight[x]!;
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
      const greens =
        (Math.imul(p0 & GREEN, w0) +
          Math.imul(p1 & GREEN, w1) +
          Math.imul(p2 & GREEN, w2) +
          Math.imul(p3 & GREEN, w3)) |
        0;
      out[redAt + at] = (redBlue & 0xffff) * redGain + redBias;
      out[greenAt + at] = greens * greenGain + greenBias;
      out[blueAt + at] = (redBlue >>> 16) * blueGain + blueBias;
    }
  }
}

function average(
  pixels: Uint32Array,
  { columns, rows, placement }: Tables & { kind: 'average' },
  to: Target,
  out: Float32Array,
): void {
  const { first, pitch, step } = to;
  const { width, height } = placement;
  const { redAt, redGain, redBias, greenAt, greenGain, greenBias, blueAt, blueGain, blueBias } = scaled(
    to,
    TAPS * TAPS,
  );
  for (let y = 0; y < height; y++) {
    const r0 = rows[y * TAPS]!;
    const r1 = rows[y * TAPS + 1]!;
    const r2 = rows[y * TAPS + 2]!;
    for (let x = 0, tap = 0, at = first + y * pitch; x < width; x++, tap += TAPS, at += step) {
      const c0 = columns[tap]!;
      const c1 = columns[tap + 1]!;
      const c2 = columns[tap + 2]!;
      const p0 = pixels[r0 + c0]! | 0;
      const p1 = pixels[r0 + c1]! | 0;
      const p2 = pixels[r0 + c2]! | 0;
      const p3 = pixels[r1 + c0]! | 0;
      const p4 = pixels[r1 + c1]! | 0;
      const p5 = pixels[r1 + c2]! | 0;
      const p6 = pixels[r2 + c0]! | 0;
      const p7 = pixels[r2 + c1]! | 0;
      const p8 = pixels[r2 + c2]! | 0;
      const redBlue =
        ((p0 & RED_AND_BLUE) +
          (p1 & RED_AND_BLUE) +
          (p2 & RED_AND_BLUE) +
          (p3 & RED_AND_BLUE) +
          (p4 & RED_AND_BLUE) +
          (p5 & RED_AND_BLUE) +
          (p6 & RED_AND_BLUE) +
          (p7 & RED_AND_BLUE) +
          (p8 & RED_AND_BLUE)) |
        0;
      const greens =
        ((p0 & GREEN) +
          (p1 & GREEN) +
          (p2 & GREEN) +
          (p3 & GREEN) +
          (p4 & GREEN) +
          (p5 & GREEN) +
          (p6 & GREEN) +
          (p7 & GREEN) +
          (p8 & GREEN)) |
        0;
      out[redAt + at] = (redBlue & 0xffff) * redGain + redBias;
      out[greenAt + at] = greens * greenGain + greenBias;
      out[blueAt + at] = (redBlue >>> 16) * blueGain + blueBias;
    }
  }
}

/** `pad`: the grey value outside the picture; undefined: the nearest pixel. */
function crop(
  { data, width: columns, height: rows }: RgbxPicture,
  { width, height, region }: Placement,
  to: Target,
  pad: number | undefined,
  out: Float32Array,
): void {
  const pixels = new Uint32Array(data.buffer, data.byteOffset, columns * rows);
  const { x0, xu, xv, y0, yu, yv } = region!;
  const { first, pitch, step } = to;
  const { redAt, redGain, redBias, greenAt, greenGain, greenBias, blueAt, blueGain, blueBias } = scaled(to, ONE);
  const grey = (pad ?? 0) * 0x010101;
  const tap = (x: number, y: number): number => {
    if (x >= 0 && y >= 0 && x < columns && y < rows) return pixels[y * columns + x]! | 0;
    if (pad !== undefined) return grey;
    return pixels[Math.min(rows - 1, Math.max(0, y)) * columns + Math.min(columns - 1, Math.max(0, x))]! | 0;
  };
  for (let j = 0; j < height; j++) {
    const v = (j + 0.5) / height;
    const left = columns * (x0 + xv * v) - 0.5;
    const top = rows * (y0 + yv * v) - 0.5;
    for (let i = 0, at = first + j * pitch; i < width; i++, at += step) {
      const u = (i + 0.5) / width;
      // In 1/256 of a pixel. Whatever lies farther outside is outside all the same, and stays within 32 bits.
      const x = fixed(left + columns * xu * u, columns);
      const y = fixed(top + rows * yu * u, rows);
      const across = x & (ONE - 1);
      const down = y & (ONE - 1);
      const column = x >> 8;
      const row = y >> 8;
      let p0: number;
      let p1: number;
      let p2: number;
      let p3: number;
      if (column >= 0 && row >= 0 && column < columns - 1 && row < rows - 1) {
        const corner = row * columns + column;
        p0 = pixels[corner]! | 0;
        p1 = pixels[corner + 1]! | 0;
        p2 = pixels[corner + columns]! | 0;
        p3 = pixels[corner + columns + 1]! | 0;
      } else {
        p0 = tap(column, row);
        p1 = tap(column + 1, row);
        p2 = tap(column, row + 1);
        p3 = tap(column + 1, row + 1);
      }
      const w3 = (Math.imul(across, down) + ONE / 2) >> 8;
      const w2 = down - w3;
      const w1 = across - w3;
      const w0 = ONE - down - w1;
      const redBlue =
        (Math.imul(p0 & RED_AND_BLUE, w0) +
          Math.imul(p1 & RED_AND_BLUE, w1) +
          Math.imul(p2 & RED_AND_BLUE, w2) +
          Math.imul(p3 & RED_AND_BLUE, w3)) |
        0;
      const greens =
        (Math.imul(p0 & GREEN, w0) +
          Math.imul(p1 & GREEN, w1) +
          Math.imul(p2 & GREEN, w2) +
          Math.imul(p3 & GREEN, w3)) |
        0;
      out[redAt + at] = (redBlue & 0xffff) * redGain + redBias;
      out[greenAt + at] = greens * greenGain + greenBias;
      out[blueAt + at] = (redBlue >>> 16) * blueGain + blueBias;
    }
  }
}

function fixed(place: number, pixels: number): number {
  return Math.round(Math.min(pixels + 1, Math.max(-2, place)) * ONE);
}

/** Channels for sums of `total` weights, flat, so that the loops read locals. */
function scaled({ red, green, blue }: Channels, total: number) {
  return {
    redAt: red.offset,
    redGain: red.gain / total,
    redBias: red.bias,
    greenAt: green.offset,
    greenGain: green.gain / total / GREEN_UNIT,
    greenBias: green.bias,
    blueAt: blue.offset,
    blueGain: blue.gain / total,
    blueBias: blue.bias,
  };
}
