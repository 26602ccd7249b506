import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import {
  AV_CODEC_FLAG_GLOBAL_HEADER,
  AV_PIX_FMT_RGB24,
  AV_PIX_FMT_YUV420P,
  AVCOL_PRI_BT709,
  AVCOL_RANGE_MPEG,
  AVCOL_SPC_BT709,
  AVCOL_TRC_BT709,
  AVERROR_EAGAIN,
  AVERROR_EOF,
  FF_ENCODER_LIBX264,
  FF_ENCODER_PNG,
} from 'node-av/constants';
import type { FFEncoderCodec } from 'node-av/constants';
import {
  Codec,
  CodecContext,
  Dictionary,
  FormatContext,
  Frame,
  Packet,
  Rational,
  SoftwareScaleContext,
} from 'node-av/lib';
import type { Stream } from 'node-av/lib';
import { SightlineError } from '../base/errors.ts';
import { encodeJpeg } from '../media/jpeg.ts';
import type { RgbPicture } from '../media/jpeg.ts';
import { reasonOf, yuv420Planes } from './ffmpeg.ts';

export interface VideoWriterOptions {
  /** Size of the input pictures, pixels, at least 2. H.264 wants even sides: an odd last column or row is cut off. */
  readonly width: number;
  readonly height: number;
  /** Mean frame rate: the length of the last frame, and the rate for players. The frames bring their own times. */
  readonly rateFps: number;
  /** x264's speed. Default `veryfast`. */
  readonly preset?: string;
  /** x264's constant quality, 0 (lossless) to 51. Default 21. */
  readonly crf?: number;
  /** Encoder threads. Default 1. */
  readonly threads?: number;
  /** Time between two key frames, seconds. Default: where x264 sees a need, every 250 frames at least. */
  readonly keyFrameS?: number;
  /** Most frames in a row that depend on a later one. Default: that of the preset. */
  readonly bFrames?: number;
}

const JPEG_QUALITY = 90;

/** Time unit of the frames: that of MPEG, and a multiple of all usual frame rates. */
const TICKS_PER_S = 90_000;

/**
 * Starts an H.264 MP4 (yuv420p, BT.709, index in front). The file grows under a temporary name beside `path` and takes its
 * place, replacing an older file, when `finish` is called; otherwise nothing is left of it. Errors: OUTPUT_FAILED.
 */
export async function createVideo(path: string, options: VideoWriterOptions): Promise<VideoWriter> {
  const { width, height } = options;
  if (width < 2 || height < 2) throw failed(path, `a picture of ${width}×${height} is too small for H.264`);
  const temporary = await reserve(path);
  const writer = new VideoWriter(path, temporary, options);
  try {
    await writer.open();
    return writer;
  } catch (error) {
    await writer.close();
    throw error;
  }
}

/** One writer, one caller: each call is awaited before the next. */
export class VideoWriter implements AsyncDisposable {
  readonly path: string;
  /** Frames taken so far. */
  frames = 0;
  /** Of these, pictures of another size than the video's. */
  fitted = 0;
  readonly #temporary: string;
  readonly #options: VideoWriterOptions;
  readonly #format = new FormatContext();
  readonly #encoder = new CodecContext();
  readonly #packet = new Packet();
  readonly #converter: Converter;
  #stream: Stream | undefined;
  #lastTick = -1n;
  #busy: Promise<unknown> = Promise.resolve();
  #finished = false;
  #closing: Promise<void> | undefined;
  /** A process that is ended from outside leaves no half file behind either. */
  readonly #onExit = () => rmSync(this.#temporary, { force: true });

  constructor(path: string, temporary: string, options: VideoWriterOptions) {
    this.path = path;
    this.#temporary = temporary;
    this.#options = options;
    this.#packet.alloc();
    this.#converter = new Converter(options.width, options.height);
    process.once('exit', this.#onExit);
  }

  /** Called by `createVideo` only. */
  async open(): Promise<void> {
    const { rateFps, preset = 'veryfast', crf = 21, threads = 1, keyFrameS, bFrames } = this.#options;
    const encoder = this.#encoder;
    const codec = findEncoder(FF_ENCODER_LIBX264, this.path);
    encoder.allocContext3(codec);
    encoder.width = this.#converter.width;
    encoder.height = this.#converter.height;
    encoder.pixelFormat = AV_PIX_FMT_YUV420P;
    encoder.timeBase = new Rational(1, TICKS_PER_S);
    encoder.framerate = new Rational(Math.round(rateFps * 1000), 1000);
    encoder.threadCount = threads;
    encoder.colorSpace = AVCOL_SPC_BT709;
    encoder.colorPrimaries = AVCOL_PRI_BT709;
    encoder.colorTrc = AVCOL_TRC_BT709;
    encoder.colorRange = AVCOL_RANGE_MPEG;
    encoder.setFlags(AV_CODEC_FLAG_GLOBAL_HEADER);
    using codecOptions = Dictionary.fromObject({
      preset,
      crf,
      ...(keyFrameS !== undefined && { g: Math.round(keyFrameS * rateFps), sc_threshold: 0 }),
      ...(bFrames !== undefined && { bf: bFrames }),
    });
    this.#check(await this.#run(encoder.open2(codec, codecOptions)));

    const format = this.#format;
    this.#check(format.allocOutputContext2(null, 'mp4', `file:${this.#temporary}`));
    const stream = format.newStream(null);
    this.#check(stream.codecpar.fromContext(encoder));
    stream.timeBase = encoder.timeBase;
    stream.avgFrameRate = encoder.framerate;
    this.#check(await this.#run(format.openOutput()));
    using formatOptions = Dictionary.fromObject({ movflags: '+faststart' });
    this.#check(await this.#run(format.writeHeader(formatOptions)));
    this.#stream = stream;
  }

  /**
   * Adds a picture: packed RGB in the writer's size, only read during the call. `ptsS` in seconds; a time that does not rise
   * is moved to just behind the last one. A picture of another `size` keeps its shape: it is scaled to fit into the video's, between
   * black bars, for a video has one size. Errors: OUTPUT_FAILED (a full disk, say).
   */
  async write(
    data: Uint8Array,
    ptsS: number,
    size: { readonly width: number; readonly height: number } = this.#options,
  ): Promise<void> {
    this.#checkOpen();
    const { width, height } = size;
    const isOther = width !== this.#options.width || height !== this.#options.height;
    if (isOther) this.fitted += 1;
    const converted = isOther ? this.#converter.fit({ data, width, height }) : this.#converter.convert(data);
    await this.#add(await this.#run(converted), ptsS);
  }

  /** The same for a packed yuv420p picture (BT.709, video range) in the writer's size, whose sides must be even. */
  async writeYuv420(data: Buffer, ptsS: number): Promise<void> {
    this.#checkOpen();
    await this.#add(this.#converter.take(data), ptsS);
  }

  /** Writes the rest and puts the file in its place. Errors: OUTPUT_FAILED. */
  async finish(): Promise<void> {
    this.#checkOpen();
    await this.#encode(null);
    this.#check(await this.#run(this.#format.writeTrailer()));
    await this.#run(this.#format.closeOutput());
    await rename(this.#temporary, this.path).catch((cause: Error) => {
      throw failed(this.path, cause.message, cause);
    });
    this.#finished = true;
    await this.close();
  }

  /** Frees everything; a file that is not finished is removed. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await this.#busy.catch(() => undefined);
    this.#converter.free();
    this.#packet.free();
    this.#encoder.freeContext();
    if (!this.#finished) {
      await this.#format.closeOutput();
      await rm(this.#temporary, { force: true });
    }
    this.#format.freeContext();
    process.off('exit', this.#onExit);
  }

  #checkOpen(): void {
    if (this.#closing) throw new SightlineError('INTERNAL', `${this.path} is closed`);
  }

  async #add(frame: Frame, ptsS: number): Promise<void> {
    const tick = BigInt(Math.round(ptsS * TICKS_PER_S));
    this.#lastTick = tick > this.#lastTick ? tick : this.#lastTick + 1n;
    frame.pts = this.#lastTick;
    frame.duration = BigInt(Math.round(TICKS_PER_S / this.#options.rateFps));
    await this.#encode(frame);
    this.frames += 1;
  }

  async #encode(frame: Frame | null): Promise<void> {
    this.#check(await this.#run(this.#encoder.sendFrame(frame)));
    for (;;) {
      const received = await this.#run(this.#encoder.receivePacket(this.#packet));
      if (received === AVERROR_EAGAIN || received === AVERROR_EOF) return;
      this.#check(received);
      this.#packet.streamIndex = 0;
      this.#packet.rescaleTs(this.#encoder.timeBase, this.#stream!.timeBase);
      this.#check(await this.#run(this.#format.interleavedWriteFrame(this.#packet)));
    }
  }

  async #run<T>(call: Promise<T>): Promise<T> {
    this.#busy = call;
    return await call;
  }

  #check(code: number): void {
    checkOutput(this.path, code);
  }
}

/** File endings of the pictures that `writePicture` makes. */
export function isPicturePath(path: string): boolean {
  return /\.(jpe?g|png)$/i.test(path);
}

export function isVideoPath(path: string): boolean {
  return /\.(mp4|m4v)$/i.test(path);
}

/**
 * Writes packed RGB as a JPEG or PNG, by the path's ending, under a temporary name first. Errors: OUTPUT_FAILED.
 */
export async function writePicture(path: string, picture: RgbPicture): Promise<void> {
  const png = extname(path).toLowerCase() === '.png';
  const temporary = await reserve(path);
  try {
    await writeFile(temporary, png ? await encodePng(path, picture) : encodeJpeg(picture, JPEG_QUALITY));
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error instanceof SightlineError ? error : failed(path, (error as Error).message, error);
  }
}

async function encodePng(path: string, { data, width, height }: RgbPicture): Promise<Uint8Array> {
  using encoder = new CodecContext();
  using packet = new Packet();
  const pixels = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  using frame = Frame.fromVideoBuffer(pixels, { width, height, format: AV_PIX_FMT_RGB24 });
  const codec = findEncoder(FF_ENCODER_PNG, path);
  encoder.allocContext3(codec);
  encoder.width = width;
  encoder.height = height;
  encoder.pixelFormat = AV_PIX_FMT_RGB24;
  // A still has no time; the encoder insists on a unit for it.
  encoder.timeBase = new Rational(1, 1);
  packet.alloc();
  checkOutput(path, await encoder.open2(codec, null));
  checkOutput(path, await encoder.sendFrame(frame));
  checkOutput(path, await encoder.receivePacket(packet));
  // The packet's memory goes with it.
  return Buffer.from(packet.data ?? []);
}

/** Packed RGB into yuv420p (BT.709, video range), through buffers that are used again and again. */
class Converter {
  readonly width: number;
  readonly height: number;
  readonly #stride: number;
  readonly #source = new Frame();
  readonly #target = new Frame();
  readonly #scaler = new SoftwareScaleContext();

  constructor(width: number, height: number) {
    this.width = width - (width % 2);
    this.height = height - (height % 2);
    this.#stride = width * 3;
    this.#scaler.allocContext();
    for (const [frame, format] of [
      [this.#source, AV_PIX_FMT_RGB24],
      [this.#target, AV_PIX_FMT_YUV420P],
    ] as const) {
      frame.alloc();
      frame.width = this.width;
      frame.height = this.height;
      frame.format = format;
      frame.getBuffer();
    }
    this.#target.colorSpace = AVCOL_SPC_BT709;
    this.#target.colorRange = AVCOL_RANGE_MPEG;
  }

  /** The frame is good until the next call. `data` is read before the call returns. */
  async convert(data: Uint8Array): Promise<Frame> {
    const source = this.#source;
    copyRows(data, this.#stride, source.data![0]!, source.linesize[0]!, this.width * 3, this.height);
    // The encoder may still hold the last picture: then this one goes into a buffer of its own.
    this.#target.makeWritable();
    const code = await this.#scaler.scaleFrame(this.#target, source);
    if (code < 0) throw new SightlineError('INTERNAL', `a picture of ${this.width}×${this.height}: ${reasonOf(code)}`);
    return this.#target;
  }

  /** A picture of any size, as large as fits, in the middle. The frame is good until the next call. */
  async fit(picture: RgbPicture): Promise<Frame> {
    const scale = Math.min(this.width / picture.width, this.height / picture.height);
    const width = Math.max(1, Math.round(picture.width * scale));
    const height = Math.max(1, Math.round(picture.height * scale));
    const pixels = Buffer.from(picture.data.buffer, picture.data.byteOffset, picture.data.byteLength);
    const { width: fromWidth, height: fromHeight } = picture;
    using source = Frame.fromVideoBuffer(pixels, { width: fromWidth, height: fromHeight, format: AV_PIX_FMT_RGB24 });
    using scaled = new Frame();
    using scaler = new SoftwareScaleContext();
    scaled.alloc();
    scaled.width = width;
    scaled.height = height;
    scaled.format = AV_PIX_FMT_RGB24;
    scaled.getBuffer();
    scaler.allocContext();
    const code = await scaler.scaleFrame(scaled, source);
    if (code < 0) throw new SightlineError('INTERNAL', `a picture of ${fromWidth}×${fromHeight}: ${reasonOf(code)}`);
    const canvas = new Uint8Array(this.#stride * this.height);
    const corner = ((this.height - height) >> 1) * this.#stride + 3 * ((this.width - width) >> 1);
    copyRows(scaled.data![0]!, scaled.linesize[0]!, canvas.subarray(corner), this.#stride, 3 * width, height);
    return await this.convert(canvas);
  }

  /** A picture that is converted already. The frame is good until the next call. */
  take(data: Buffer): Frame {
    const { width, height } = this;
    const target = this.#target;
    target.makeWritable();
    const planes = target.data!;
    for (const [index, source] of yuv420Planes(data, width, height).entries()) {
      const [rowBytes, rows] = index === 0 ? [width, height] : [width / 2, height / 2];
      copyRows(source, rowBytes, planes[index]!, target.linesize[index]!, rowBytes, rows);
    }
    return target;
  }

  free(): void {
    this.#scaler.freeContext();
    this.#source.free();
    this.#target.free();
  }
}

function copyRows(
  from: Uint8Array,
  fromPitch: number,
  to: Uint8Array,
  toPitch: number,
  rowBytes: number,
  rows: number,
): void {
  for (let y = 0; y < rows; y += 1) to.set(from.subarray(y * fromPitch, y * fromPitch + rowBytes), y * toPitch);
}

function findEncoder(name: FFEncoderCodec, path: string): Codec {
  const codec = Codec.findEncoderByName(name);
  if (!codec) throw failed(path, `this FFmpeg has no encoder ${name}`);
  return codec;
}

/** An empty file under a name of its own beside `path`: proves that the folder is there and takes files. */
async function reserve(path: string): Promise<string> {
  const found = await stat(path).catch(() => undefined);
  if (found && !found.isFile()) throw failed(path, found.isDirectory() ? 'it is a folder' : 'it is not a file');
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(4).toString('hex')}.partial`);
  try {
    await (await open(temporary, 'wx')).close();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw failed(path, code === 'ENOENT' ? `there is no folder ${dirname(path)}` : message, cause);
  }
  return temporary;
}

function checkOutput(path: string, code: number): void {
  if (code < 0) throw failed(path, reasonOf(code));
}

function failed(path: string, reason: string, cause?: unknown): SightlineError {
  return new SightlineError('OUTPUT_FAILED', `cannot write ${path}: ${reason}`, { cause });
}
