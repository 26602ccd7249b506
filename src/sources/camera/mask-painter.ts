import {
  AV_FRAME_DATA_DISPLAYMATRIX,
  AV_PIX_FMT_GRAY8,
  AV_PIX_FMT_NV12,
  AV_PIX_FMT_RGB24,
  AV_PIX_FMT_YUV420P,
  AV_PIX_FMT_YUV422P,
  AV_PIX_FMT_YUV444P,
  AV_PIX_FMT_YUVJ420P,
  AV_PIX_FMT_YUVJ422P,
  AV_PIX_FMT_YUVJ444P,
  AVCOL_RANGE_JPEG,
  AVCOL_RANGE_MPEG,
  AVCOL_SPC_BT709,
  AVCOL_SPC_RGB,
  type AVPixelFormat,
} from 'node-av/constants';
import { Frame, SoftwareScaleContext } from 'node-av/lib';
import type { Polygon } from '../../base/polygon.ts';
import { samplesUnder, widened, type SampleRuns } from '../../media/mask.ts';
import { orientationOf, storedPlace, UPRIGHT, type Orientation } from '../../media/orient.ts';
import { reasonOf, weave } from '../ffmpeg.ts';

/** The masks of a picture cannot be drawn: it goes nowhere. */
export class MaskFault extends Error {}

/** One plane of a pixel format. */
interface PlaneLayout {
  /** So many pixels of the picture share a sample, in each direction. */
  readonly across: 1 | 2;
  readonly down: 1 | 2;
  readonly bytes: 1 | 2 | 3;
  readonly isLuma: boolean;
}

const luma: PlaneLayout = { across: 1, down: 1, bytes: 1, isLuma: true };
const chroma = (across: 1 | 2, down: 1 | 2, bytes: 1 | 2 = 1): PlaneLayout => ({ across, down, bytes, isLuma: false });
const planar = (across: 1 | 2, down: 1 | 2): PlaneLayout[] => [luma, chroma(across, down), chroma(across, down)];
/** Formats into which masks are drawn as they are; others are converted first. */
const LAYOUTS: ReadonlyMap<AVPixelFormat, readonly PlaneLayout[]> = new Map<AVPixelFormat, readonly PlaneLayout[]>([
  [AV_PIX_FMT_YUV420P, planar(2, 2)],
  [AV_PIX_FMT_YUVJ420P, planar(2, 2)],
  [AV_PIX_FMT_YUV422P, planar(2, 1)],
  [AV_PIX_FMT_YUVJ422P, planar(2, 1)],
  [AV_PIX_FMT_YUV444P, planar(1, 1)],
  [AV_PIX_FMT_YUVJ444P, planar(1, 1)],
  [AV_PIX_FMT_NV12, [luma, chroma(2, 2, 2)]],
  [AV_PIX_FMT_GRAY8, [luma]],
  [AV_PIX_FMT_RGB24, [{ across: 1, down: 1, bytes: 3, isLuma: true }]],
]);
/** ITU-R BT.601 and others: black of the range that leaves room below, and no colour. */
const BLACK = 16;
const NO_COLOUR = 128;
/** These have all of the range. */
const FULL: ReadonlySet<AVPixelFormat> = new Set<AVPixelFormat>([
  AV_PIX_FMT_YUVJ420P,
  AV_PIX_FMT_YUVJ422P,
  AV_PIX_FMT_YUVJ444P,
  AV_PIX_FMT_GRAY8,
  AV_PIX_FMT_RGB24,
]);
/** Sizes and forms of planes whose samples are remembered: of the decoded picture, and of what is made of it. */
const REMEMBERED_MAX = 16;

/**
 * Blacks out the masks of a camera in its pictures: in the decoded one, before anything is made of it, and once more in what it was scaled to, since scaling mixes what is
 * beside a mask into its margin. One call at a time.
 */
export class MaskPainter {
  readonly #polygons: readonly Polygon[] | undefined;
  readonly #remembered = new Map<string, SampleRuns>();
  #scaler: SoftwareScaleContext | undefined;
  #converted: Frame | undefined;

  /** In fractions of the upright picture; undefined: they are not known, and no picture goes anywhere. */
  constructor(polygons: readonly Polygon[] | undefined) {
    this.#polygons = polygons;
  }

  get isEmpty(): boolean {
    return this.#polygons?.length === 0;
  }

  /** A decoded picture with its masks: the same one, or another that is this one's until the next call. Errors: MaskFault. */
  async mask(picture: Frame): Promise<Frame> {
    if (this.isEmpty) return picture;
    const frame = LAYOUTS.has(picture.format as AVPixelFormat) ? picture : await this.#convert(picture);
    // The decoder may still predict others from it.
    const code = frame.makeWritable();
    if (code < 0) throw new MaskFault(`the picture cannot be written to: ${reasonOf(code)}`);
    this.paint(frame, orientationOf(picture.getSideData(AV_FRAME_DATA_DISPLAYMATRIX)));
    return frame;
  }

  /**
   * Into a picture that nobody else has, of any size; `orientation`: how it is stored; `marginPx`: so much wider than they are, in its pixels. Errors: MaskFault.
   */
  paint(frame: Frame, orientation: Orientation = UPRIGHT, marginPx = 0): void {
    if (this.isEmpty) return;
    const format = frame.format as AVPixelFormat;
    const layouts = LAYOUTS.get(format);
    const { data, linesize, width, height } = frame;
    if (!this.#polygons) throw new MaskFault('the masks are not known');
    if (!layouts || !data) throw new MaskFault(`pictures of the format ${format} cannot be drawn into`);
    const isFull = FULL.has(format) || frame.colorRange === AVCOL_RANGE_JPEG;
    for (const [i, layout] of layouts.entries()) {
      const [plane, rowBytes = 0] = [data[i], linesize[i]];
      const rows = Math.ceil(height / layout.down);
      if (!plane || rowBytes <= 0 || plane.length < rowBytes * (rows - 1)) {
        throw new MaskFault(`plane ${i} of the picture cannot be drawn into`);
      }
      const value = !layout.isLuma ? NO_COLOUR : isFull ? 0 : BLACK;
      fill(plane, rowBytes, this.#runsOf(width, height, layout, orientation, marginPx), layout.bytes, value);
    }
  }

  /** No call is under way. */
  close(): void {
    this.#scaler?.freeContext();
    this.#converted?.free();
    this.#scaler = this.#converted = undefined;
  }

  #runsOf(
    width: number,
    height: number,
    { across, down }: PlaneLayout,
    orientation: Orientation,
    marginPx: number,
  ): SampleRuns {
    const { a, b, c, d } = orientation;
    const key = [width, height, across, down, a, b, c, d, marginPx].join();
    const known = this.#remembered.get(key);
    if (known) return known;
    const polygons = this.#polygons!.map((polygon) => polygon.map((point) => storedPlace(point, orientation)));
    const grid = {
      width: Math.ceil(width / across),
      height: Math.ceil(height / down),
      across: width / across,
      down: height / down,
    };
    const touched = samplesUnder(polygons, grid);
    const [wider, higher] = [Math.ceil(marginPx / across), Math.ceil(marginPx / down)];
    const runs = marginPx > 0 ? widened(touched, grid, wider, higher) : touched;
    if (this.#remembered.size >= REMEMBERED_MAX) this.#remembered.delete(this.#remembered.keys().next().value!);
    this.#remembered.set(key, runs);
    return runs;
  }

  /** Of the same size, in a format that can be drawn into. */
  async #convert(picture: Frame): Promise<Frame> {
    weave(picture);
    this.#scaler ??= allocated();
    const converted = (this.#converted ??= new Frame());
    converted.free();
    converted.alloc();
    [converted.width, converted.height, converted.format] = [picture.width, picture.height, AV_PIX_FMT_YUV420P];
    let code = converted.getBuffer();
    if (code >= 0) code = converted.copyProps(picture);
    if (picture.colorSpace === AVCOL_SPC_RGB) {
      converted.colorSpace = AVCOL_SPC_BT709;
      converted.colorRange = AVCOL_RANGE_MPEG;
    }
    if (code >= 0) code = await this.#scaler.scaleFrame(converted, picture);
    if (code < 0) throw new MaskFault(`the picture cannot be converted: ${reasonOf(code)}`);
    return converted;
  }
}

function allocated(): SoftwareScaleContext {
  const scaler = new SoftwareScaleContext();
  scaler.allocContext();
  return scaler;
}

function fill(plane: Uint8Array, rowBytes: number, runs: SampleRuns, bytes: number, value: number): void {
  for (let i = 0; i < runs.length; i += 3) {
    const row = runs[i]! * rowBytes;
    plane.fill(value, row + runs[i + 1]! * bytes, row + runs[i + 2]! * bytes);
  }
}
