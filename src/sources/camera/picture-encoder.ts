import {
  AV_CODEC_FLAG_GLOBAL_HEADER,
  AV_FRAME_DATA_DISPLAYMATRIX,
  AV_PICTURE_TYPE_I,
  AV_PICTURE_TYPE_NONE,
  AV_PIX_FMT_YUV420P,
  AVCOL_PRI_BT709,
  AVCOL_RANGE_MPEG,
  AVCOL_SPC_BT709,
  AVCOL_TRC_BT709,
  FF_ENCODER_LIBX264,
} from 'node-av/constants';
import { Codec, CodecContext, Dictionary, Frame, Packet, Rational, SoftwareScaleContext } from 'node-av/lib';
import { SightlineError } from '../../base/errors.ts';
import type { Size } from '../../base/picture.ts';
import { mp4Track, type Mp4Track } from '../../media/fmp4.ts';
import { isKeyUnit, isSampleUnit, nalUnits, parameterSetsOf } from '../../media/nal.ts';
import { orientationOf } from '../../media/orient.ts';
import { reasonOf, squareSize, weave } from '../ffmpeg.ts';
import type { MaskPainter } from './mask-painter.ts';
import { scaledSize } from './picture-scaler.ts';
import { TICKS_PER_S } from '../../base/camera-frame.ts';

/** Neither side of what is encoded anew is longer. */
export const SIDE_MAX = 1280;
/** H.264 of 4:2:0 takes even sides alone. */
const SIDE_STEP = 2;
/**
 * Each picture leaves the encoder before the next one comes, and key frames come only when they are asked for. The rate is that of a constant quality, and
 * bounded: what a viewer cannot pass on would be left out for it.
 */
const OPTIONS = {
  preset: 'ultrafast',
  tune: 'zerolatency',
  profile: 'baseline',
  bf: '0',
  g: String(2 ** 30),
  sc_threshold: '0',
  'forced-idr': '1',
  crf: '25',
  maxrate: '4000000',
  bufsize: '2000000',
} as const;
/**
 * Masks are as much wider as a block is that the encoder transforms (ITU-T H.264 §8.5: 4 × 4 in the profile that is taken): a block with the edge of a mask in it would
 * leave some of what is beside the mask under it, the more the fewer bits there are.
 */
const MASK_MARGIN_PX = 4;
/** For the encoder's idea of a rate; times are those of the pictures. */
const USUAL_FPS = 25;
const FRAMING = { kind: 'annexb' } as const;

export interface EncodedPicture {
  /** For a sample of MP4. */
  readonly units: readonly Uint8Array[];
  readonly isKey: boolean;
}

/** Encodes pictures of one size as H.264, in one thread. */
export class PictureEncoder {
  readonly track: Mp4Track;
  /** Of the pictures that it takes. */
  readonly source: Size;
  readonly #codec: CodecContext;
  readonly #masks: MaskPainter;
  readonly #scaler = new SoftwareScaleContext();
  readonly #packet = new Packet();

  private constructor(codec: CodecContext, track: Mp4Track, source: Size, masks: MaskPainter) {
    this.#codec = codec;
    this.#masks = masks;
    this.track = track;
    this.source = source;
    this.#scaler.allocContext();
    this.#packet.alloc();
  }

  /** For pictures like this one, whose masks are in what comes of them as well. `sideMax`: neither side of what comes of it is longer. Errors: INTERNAL. */
  static async open(picture: Frame, masks: MaskPainter, sideMax: number): Promise<PictureEncoder> {
    const found = Codec.findEncoderByName(FF_ENCODER_LIBX264);
    if (!found) throw new SightlineError('INTERNAL', 'this FFmpeg has no encoder for H.264');
    const { width, height } = sizeFor(picture, sideMax);
    const codec = new CodecContext();
    codec.allocContext3(found);
    [codec.width, codec.height, codec.pixelFormat] = [width, height, AV_PIX_FMT_YUV420P];
    codec.timeBase = new Rational(1, TICKS_PER_S);
    codec.framerate = new Rational(USUAL_FPS, 1);
    codec.threadCount = 1;
    codec.colorSpace = AVCOL_SPC_BT709;
    codec.colorPrimaries = AVCOL_PRI_BT709;
    codec.colorTrc = AVCOL_TRC_BT709;
    codec.colorRange = AVCOL_RANGE_MPEG;
    codec.setFlags(AV_CODEC_FLAG_GLOBAL_HEADER);
    using options = Dictionary.fromObject(OPTIONS);
    try {
      check(await codec.open2(found, options));
      const sets = parameterSetsOf('h264', codec.extraData ?? undefined);
      if (!sets) throw new SightlineError('INTERNAL', 'the encoder tells no parameters of coding');
      const source = { width: picture.width, height: picture.height };
      return new PictureEncoder(codec, mp4Track(sets, TICKS_PER_S), source, masks);
    } catch (thrown) {
      codec.freeContext();
      throw thrown;
    }
  }

  /** What comes of such a picture has the size that it would have of an encoder for that bound. */
  suits(picture: Frame, sideMax: number): boolean {
    const { width, height } = sizeFor(picture, sideMax);
    return width === this.#codec.width && height === this.#codec.height;
  }

  /** The picture, which is only read, as it is to be encoded: its caller frees it. Not while another call of this is under way. Errors: INTERNAL, MaskFault. */
  async scale(picture: Frame): Promise<Frame> {
    weave(picture);
    const scaled = new Frame();
    scaled.alloc();
    [scaled.width, scaled.height, scaled.format] = [this.#codec.width, this.#codec.height, AV_PIX_FMT_YUV420P];
    scaled.colorSpace = AVCOL_SPC_BT709;
    scaled.colorRange = AVCOL_RANGE_MPEG;
    try {
      check(scaled.getBuffer());
      check(await this.#scaler.scaleFrame(scaled, picture));
      const orientation = orientationOf(picture.getSideData(AV_FRAME_DATA_DISPLAYMATRIX));
      this.#masks.paint(scaled, orientation, MASK_MARGIN_PX);
      return scaled;
    } catch (thrown) {
      scaled.free();
      throw thrown;
    }
  }

  /** One of `scale`. `ticks`: when it is presented; rises. Not while another call of this is under way. Errors: INTERNAL. */
  async encode(scaled: Frame, ticks: number, isKey: boolean): Promise<EncodedPicture> {
    scaled.pts = BigInt(ticks);
    scaled.pictType = isKey ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
    check(await this.#codec.sendFrame(scaled));
    const packet = this.#packet;
    check(await this.#codec.receivePacket(packet));
    // The packet's memory goes with it.
    const units = nalUnits(Buffer.from(packet.data ?? []), FRAMING).filter((unit) => isSampleUnit('h264', unit));
    packet.unref();
    return { units, isKey: units.some((unit) => isKeyUnit('h264', unit)) };
  }

  /** No call is under way. */
  close(): void {
    this.#codec.freeContext();
    this.#scaler.freeContext();
    this.#packet.free();
  }
}

function sizeFor(picture: Frame, sideMax: number): Size {
  return encodedSize(squareSize(picture, picture.sampleAspectRatio), sideMax);
}

/** As the picture is shown, with square pixels. */
export function encodedSize(source: Size, sideMax: number): Size {
  const { width, height } = scaledSize(source, { width: sideMax, height: sideMax, fit: 'contain' });
  return { width: even(width), height: even(height) };
}

function even(side: number): number {
  return Math.max(SIDE_STEP, side - (side % SIDE_STEP));
}

function check(code: number): void {
  if (code < 0) throw new SightlineError('INTERNAL', `a picture cannot be encoded: ${reasonOf(code)}`);
}
