import { open, stat } from 'node:fs/promises';
import {
  AV_CODEC_ID_MJPEG,
  AV_CODEC_ID_NONE,
  AV_DISPOSITION_ATTACHED_PIC,
  AV_DISPOSITION_DEPENDENT,
  AV_FRAME_DATA_DISPLAYMATRIX,
  AV_PIX_FMT_RGB24,
  AVERROR_EAGAIN,
  AVERROR_EOF,
  AVERROR_INVALIDDATA,
  AVMEDIA_TYPE_VIDEO,
} from 'node-av/constants';
import {
  avGetCodecName,
  avGetPixFmtName,
  CodecContext,
  Dictionary,
  FormatContext,
  Frame,
  Packet,
  SoftwareScaleContext,
} from 'node-av/lib';
import type { AVPixelFormat } from 'node-av/constants';
import type { Codec, IRational, Stream } from 'node-av/lib';
import { SightlineError } from '../base/errors.ts';
import type { Size } from '../base/picture.ts';
import type { RgbPicture } from '../media/jpeg.ts';
import { isUpright, orientationOf, turnUpright, uprightSize } from '../media/orient.ts';
import { NO_TIMESTAMP, reasonOf, squareSize, TEXT_ART, weave } from './ffmpeg.ts';
import { decodeJpegStill, findHeif, readHeifStill } from './still.ts';

export interface VideoFileOptions {
  /** Pictures whose longest side is over this are scaled down to it, pixels. Default: no limit. */
  readonly sideMax?: number;
  /** Decoder threads. Each adds a frame of delay and of memory. Default 1. */
  readonly threads?: number;
  /** Ends the reading, also one that waits for the network. */
  readonly signal?: AbortSignal;
  /** A network source that is silent for this long is unreadable. Default 15,000. */
  readonly stallTimeoutMs?: number;
}

export interface VideoInfo {
  /** Size of the first picture: upright, with square pixels, after scaling. Later ones may have another size. */
  readonly width: number;
  readonly height: number;
  /** FFmpeg's names: `mov,mp4,m4a,3gp,3g2,mj2` and `h264`, say. */
  readonly format: string;
  readonly codec: string;
  /** FFmpeg's name of the stored pixels: `yuv420p`, say. */
  readonly pixelFormat: string;
  /** Mean frame rate; 25 where the file has none. */
  readonly rateFps: number;
  /** Undefined where the file does not tell (a live stream). */
  readonly durationS: number | undefined;
  /** An estimate, for progress. Undefined where the file does not tell. */
  readonly frames: number | undefined;
  /** One picture, not a video: a picture file, or a local file of one frame. */
  readonly still: boolean;
}

export interface VideoFrame {
  /** Packed RGB, 3 bytes a pixel, rows without padding. Borrowed: the next frame is written over it. */
  readonly data: Uint8Array;
  /** Its own size: a stream may change its size in the middle. */
  readonly width: number;
  readonly height: number;
  /** Place in the file, from 0. */
  readonly index: number;
  /** Presentation time in seconds from the start of the file; never falls. */
  readonly ptsS: number;
  /** Time for demuxing, decoding and converting this frame. */
  readonly decodeMs: number;
}

const MICROSECONDS = 1e6;

/** Failures to get a frame when there is no more data, until that counts as the end. */
const DRAIN_FAILURES_MAX = 100;

/**
 * Opens a video file, a picture, or a URL (http, https, rtsp …) that FFmpeg can read, and decodes its first frame. Errors:
 * SOURCE_NOT_FOUND; SOURCE_UNREADABLE with FFmpeg's reason; the signal's reason when aborted.
 */
export async function openVideo(input: string, options: VideoFileOptions = {}): Promise<VideoFile> {
  options.signal?.throwIfAborted();
  const local = !isUrl(input);
  if (local) await checkFile(input);
  const file = new VideoFile(input, options);
  try {
    await file.open(local);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

export function isUrl(input: string): boolean {
  return /^[a-z][a-z0-9+.-]+:\/\//i.test(input);
}

/**
 * The frames of one video, one at a time: a frame is decoded on request, and one picture is held. One consumer.
 */
export class VideoFile implements AsyncDisposable {
  readonly input: string;
  /** Packets that the decoder refused as damaged. */
  damaged = 0;
  readonly #options: VideoFileOptions;
  readonly #format = new FormatContext();
  readonly #codec = new CodecContext();
  readonly #packet = new Packet();
  readonly #frame = new Frame();
  readonly #scaler = new SoftwareScaleContext();
  readonly #scaled = new Frame();
  #stream: Stream | undefined;
  #info: VideoInfo | undefined;
  /** Memory of the decoded picture, and of the upright one. JavaScript owns it: a view that outlives us is harmless. */
  #picture = new Uint8Array(0);
  #first: VideoFrame | undefined;
  /** A frame is decoded and waits in `#frame`. */
  #isWaiting = false;
  /** The packets are JPEGs of picture files, which are not left to FFmpeg's decoder. */
  #areJpegs = false;
  /** There is nothing to decode any more: a picture that was read whole. */
  #isRead = false;
  #index = 0;
  #ptsS = 0;
  #startS = 0;
  #draining = false;
  #readError: number | undefined;
  /** The file lacks the mark that its kind ends with. */
  #isCut = false;
  /** The time unit of each stream, in seconds. */
  #unitsS: number[] = [];
  /** Where the packets read so far end, in any stream: shows a file that was cut off. */
  #reachedS = 0;
  #busy: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;
  readonly #onAbort = () => this.#format.interrupt();

  constructor(input: string, options: VideoFileOptions) {
    this.input = input;
    this.#options = options;
    this.#format.allocContext();
    this.#packet.alloc();
    this.#frame.alloc();
    this.#scaled.alloc();
    this.#scaler.allocContext();
    options.signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  get info(): VideoInfo {
    if (!this.#info) throw new SightlineError('INTERNAL', `${this.input}: not open`);
    return this.#info;
  }

  /** Called by `openVideo` only. */
  async open(local: boolean): Promise<void> {
    const format = this.#format;
    // Before FFmpeg, which silently leaves out unknown parts of such a picture.
    const heif = local ? await findHeif(this.input) : undefined;
    using dictionary = Dictionary.fromObject(openOptions(local, this.#options.stallTimeoutMs ?? 15_000));
    // The prefix keeps FFmpeg from taking a colon in a file's name for a protocol.
    const url = local ? `file:${this.input}` : this.input;
    const opened = await this.#run(format.openInput(url, null, dictionary));
    if (opened === AVERROR_INVALIDDATA) throw this.#unreadable(`FFmpeg finds no video in it (${reasonOf(opened)})`);
    this.#check(opened);
    const name = format.iformat?.name ?? '';
    if (TEXT_ART.has(name)) throw this.#unreadable('it is text, not video');
    this.#check(await this.#run(format.findStreamInfo(null)));
    const best = format.findBestStream(AVMEDIA_TYPE_VIDEO, -1, -1, true);
    const stream = format.streams[best.streamIndex];
    // A song's cover is a video stream of one picture to FFmpeg.
    if (!stream || (stream.disposition & AV_DISPOSITION_ATTACHED_PIC) !== 0) {
      throw this.#unreadable('there is no video stream in it');
    }
    if (!best.decoder || stream.codecpar.codecId === AV_CODEC_ID_NONE) {
      throw this.#unreadable('FFmpeg has no decoder for its video stream');
    }
    this.#stream = stream;
    this.#unitsS = format.streams.map(({ timeBase }) => seconds(timeBase));
    const isPictureFile = /(^|,)image2|_pipe$/.test(name);
    this.#startS = stream.startTime === NO_TIMESTAMP ? 0 : Number(stream.startTime) * seconds(stream.timeBase);
    if (heif) {
      const beganMs = performance.now();
      const run = (call: Promise<number>) => this.#run(call);
      const picture = await readHeifStill({ path: this.input, format, run }, heif);
      this.#isRead = true;
      this.#first = await this.#takePicture(picture, beganMs);
    } else {
      // A film may have such a stream as well; a picture lasts no time.
      const isTile = format.duration <= 0n && (stream.disposition & AV_DISPOSITION_DEPENDENT) !== 0;
      if (isTile && name.startsWith('mov')) {
        throw this.#unreadable('it is one tile of a picture; such a picture is read from a local file alone');
      }
      this.#areJpegs = isPictureFile && stream.codecpar.codecId === AV_CODEC_ID_MJPEG;
      if (!this.#areJpegs) await this.#openDecoder(stream, best.decoder);
      this.#first = await this.#next();
      const nothing = isPictureFile
        ? 'it is damaged or breaks off: there is not one whole picture in it'
        : 'there is not one whole frame in it';
      if (!this.#first) throw this.#unreadable(this.#endReason() ?? nothing);
      // A live source would have to be waited for.
      if (local && !isPictureFile) this.#isWaiting = await this.#receive();
      this.#isCut = local && !(await isEnded(name, this.input));
    }
    const still = isPictureFile || heif !== undefined || (local && !this.#isWaiting);
    const durationS = format.duration > 0n && !still ? Number(format.duration) / MICROSECONDS : undefined;
    const rateFps = frameRate(stream);
    this.#info = {
      width: this.#first.width,
      height: this.#first.height,
      format: name,
      codec: avGetCodecName(stream.codecpar.codecId) ?? 'unknown',
      pixelFormat: avGetPixFmtName(stream.codecpar.format as AVPixelFormat) ?? 'unknown',
      rateFps,
      durationS,
      frames: still ? 1 : frameCount(stream, durationS, rateFps),
      still,
    };
  }

  async #openDecoder(stream: Stream, decoder: Codec): Promise<void> {
    this.#codec.allocContext3(decoder);
    this.#check(this.#codec.parametersToContext(stream.codecpar));
    this.#codec.pktTimebase = stream.timeBase;
    this.#codec.threadCount = this.#options.threads ?? 1;
    this.#check(await this.#run(this.#codec.open2(decoder, null)));
  }

  /**
   * The frames in order of presentation. Damaged ones are left out and counted in `damaged`. Errors: SOURCE_UNREADABLE when the
   * file breaks off, after its last whole frame; the signal's reason when aborted. Ends quietly when the file is closed.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<VideoFrame, void, undefined> {
    if (this.#first) {
      const first = this.#first;
      this.#first = undefined;
      yield first;
    }
    while (!this.#closing) {
      const frame = await this.#next();
      if (!frame) break;
      yield frame;
    }
    if (this.#closing) return;
    const reason = this.#endReason();
    if (reason !== undefined) throw this.#unreadable(`it breaks off after ${this.#index} frames: ${reason}`);
  }

  /** Frees everything; a running read ends first. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#format.interrupt();
    await this.#busy.catch(() => undefined);
    this.#scaler.freeContext();
    this.#scaled.free();
    this.#frame.free();
    this.#packet.free();
    this.#codec.freeContext();
    await this.#format.closeInput();
  }

  /** The next frame; undefined at the end of the file, or of what is readable of it. */
  async #next(): Promise<VideoFrame | undefined> {
    const beganMs = performance.now();
    if (this.#areJpegs) return await this.#nextJpeg(beganMs);
    if (!this.#isWaiting && !(await this.#receive())) return undefined;
    this.#isWaiting = false;
    try {
      return await this.#convert(this.#frame, beganMs);
    } finally {
      this.#frame.unref();
    }
  }

  async #nextJpeg(beganMs: number): Promise<VideoFrame | undefined> {
    for (;;) {
      const read = await this.#run(this.#format.readFrame(this.#packet));
      if (read === AVERROR_EAGAIN) continue;
      if (read < 0) {
        if (read !== AVERROR_EOF) this.#readError = read;
        return undefined;
      }
      const isOurs = this.#packet.streamIndex === this.#stream?.index;
      const bytes = isOurs ? Buffer.from(this.#packet.data ?? []) : undefined;
      this.#packet.unref();
      if (bytes) return await this.#takePicture(decodeJpegStill(this.input, bytes), beganMs);
    }
  }

  /** Decodes until a frame is there; false at the end. */
  async #receive(): Promise<boolean> {
    let failures = 0;
    while (!this.#closing && !this.#isRead) {
      const received = await this.#run(this.#codec.receiveFrame(this.#frame));
      if (received >= 0) return true;
      if (received === AVERROR_EOF) break;
      if (received !== AVERROR_EAGAIN) this.damaged += 1;
      // Some decoders never come to an end with data that is cut off.
      if (this.#draining && ++failures > DRAIN_FAILURES_MAX) break;
      await this.#feed();
    }
    return false;
  }

  /** Hands one packet to the decoder, or once the end of the packets. */
  async #feed(): Promise<void> {
    if (this.#draining) return;
    const read = await this.#run(this.#format.readFrame(this.#packet));
    if (read === AVERROR_EAGAIN) return;
    if (read < 0) {
      if (read !== AVERROR_EOF) this.#readError = read;
      this.#draining = true;
      await this.#run(this.#codec.sendPacket(null));
      return;
    }
    this.#noteEnd(this.#packet);
    if (this.#packet.streamIndex === this.#stream?.index) {
      const sent = await this.#run(this.#codec.sendPacket(this.#packet));
      if (sent < 0) this.damaged += 1;
    }
    this.#packet.unref();
  }

  #noteEnd({ pts, duration, streamIndex }: Packet): void {
    const unitS = this.#unitsS[streamIndex];
    if (unitS !== undefined && pts !== NO_TIMESTAMP) {
      this.#reachedS = Math.max(this.#reachedS, Number(pts + duration) * unitS);
    }
  }

  async #convert(frame: Frame, beganMs: number): Promise<VideoFrame> {
    const orientation = orientationOf(frame.getSideData(AV_FRAME_DATA_DISPLAYMATRIX));
    const scaled = this.#scaled;
    const { sideMax = Infinity } = this.#options;
    const size = outputSize(frame, frame.sampleAspectRatio, sideMax);
    if (scaled.width !== size.width || scaled.height !== size.height) this.#allocate(size);
    weave(frame);
    this.#check(await this.#run(this.#scaler.scaleFrame(scaled, frame)));
    const plane = scaled.data?.[0];
    if (!plane) throw new SightlineError('INTERNAL', `${this.input}: FFmpeg gave a picture without pixels`);
    if (isUpright(orientation)) this.#picture.set(plane.subarray(0, this.#picture.length));
    else turnUpright(plane, size.width, size.height, orientation, this.#picture);
    return this.#handOut({ data: this.#picture, ...uprightSize(size, orientation) }, this.#frame, beganMs);
  }

  #allocate({ width, height }: { readonly width: number; readonly height: number }): void {
    const scaled = this.#scaled;
    scaled.unref();
    scaled.width = width;
    scaled.height = height;
    scaled.format = AV_PIX_FMT_RGB24;
    // Alignment 1: rows without padding.
    this.#check(scaled.getBuffer(1));
    this.#picture = new Uint8Array(width * height * 3);
  }

  /** A picture that is decoded and upright already. */
  async #takePicture(picture: RgbPicture, beganMs: number): Promise<VideoFrame> {
    const { data, width, height } = picture;
    if (Math.max(width, height) <= (this.#options.sideMax ?? Infinity))
      return this.#handOut(picture, undefined, beganMs);
    const pixels = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    using frame = Frame.fromVideoBuffer(pixels, { width, height, format: AV_PIX_FMT_RGB24 });
    return await this.#convert(frame, beganMs);
  }

  #handOut(picture: RgbPicture, frame: Frame | undefined, beganMs: number): VideoFrame {
    const index = this.#index;
    this.#index += 1;
    this.#ptsS = Math.max(this.#ptsS, frame ? this.#presentationS(index) : 0);
    return { ...picture, index, ptsS: this.#ptsS, decodeMs: performance.now() - beganMs };
  }

  #presentationS(index: number): number {
    const stream = this.#stream!;
    const pts = this.#frame.bestEffortTimestamp;
    if (pts === NO_TIMESTAMP) return index / frameRate(stream);
    return Number(pts) * seconds(stream.timeBase) - this.#startS;
  }

  /** Why there are no more frames, where the reason is not simply the file's end. */
  #endReason(): string | undefined {
    if (this.#readError !== undefined) return reasonOf(this.#readError);
    if (this.#isCut) return 'its end is not there';
    const { iformat, startTime, duration } = this.#format;
    // Only these containers state their length in their header; elsewhere FFmpeg guesses it.
    if (!/^(mov|matroska)/.test(iformat?.name ?? '') || duration <= 0n) return undefined;
    const beginS = startTime === NO_TIMESTAMP ? 0 : Number(startTime) / MICROSECONDS;
    const durationS = Number(duration) / MICROSECONDS;
    const thereS = this.#reachedS - beginS;
    if (thereS >= durationS - Math.max(1, durationS * 0.05)) return undefined;
    return `of its ${durationS.toFixed(1)} s only ${thereS.toFixed(1)} s are there`;
  }

  /** Every native call goes through here, so that closing can wait for the running one. */
  async #run(call: Promise<number>): Promise<number> {
    this.#busy = call;
    const code = await call;
    this.#options.signal?.throwIfAborted();
    return code;
  }

  #check(code: number): void {
    if (code < 0) throw this.#unreadable(reasonOf(code));
  }

  #unreadable(reason: string): SightlineError {
    return new SightlineError('SOURCE_UNREADABLE', `cannot read ${this.input}: ${reason}`);
  }
}

async function checkFile(path: string): Promise<void> {
  const unreadable = (reason: string) => new SightlineError('SOURCE_UNREADABLE', `cannot read ${path}: ${reason}`);
  const found = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT' || cause.code === 'ENOTDIR') {
      throw new SightlineError('SOURCE_NOT_FOUND', `there is no file ${path}`, { cause });
    }
    throw unreadable(cause.message);
  });
  if (found.isDirectory()) throw unreadable('it is a folder');
  // Opening a pipe waits for its writer in a place that no signal reaches.
  if (!found.isFile()) throw unreadable('it is a pipe or a device, not a file');
  if (found.size === 0) throw unreadable('it is empty (0 bytes)');
}

/** The end of an animation; FFmpeg silently takes a partial one. */
const ENDINGS: Readonly<Record<string, Buffer>> = { gif: Buffer.of(0x3b), apng: Buffer.from('IEND') };
/** How far from a file's end its ending may lie: padding may follow. */
const ENDING_BYTES = 4096;

async function isEnded(format: string, path: string): Promise<boolean> {
  const ending = ENDINGS[format];
  if (!ending) return true;
  await using file = await open(path);
  const { size } = await file.stat();
  const length = Math.min(size, ENDING_BYTES);
  const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length);
  if (format !== 'gif') return buffer.includes(ending);
  // One byte alone may be data: behind a GIF's end come zeros, if anything.
  return buffer.toString('latin1').replace(/\0+$/, '').endsWith(ending.toString('latin1'));
}

/** A local file may name other local files (a playlist), but never send us into the network. */
function openOptions(local: boolean, stallTimeoutMs: number): Record<string, string> {
  // A `%` in a picture's name is not a pattern of a sequence.
  if (local) return { protocol_whitelist: 'file,crypto,data', pattern_type: 'none' };
  const microseconds = String(stallTimeoutMs * 1000);
  return { rw_timeout: microseconds, timeout: microseconds };
}

/** With square pixels; the longest side is brought down to `sideMax`. */
export function outputSize(frame: Size, aspect: IRational, sideMax: number): Size {
  const { width, height } = squareSize(frame, aspect);
  const scale = Math.min(1, sideMax / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

function seconds(timeBase: IRational): number {
  return timeBase.num / timeBase.den;
}

function frameRate(stream: Stream): number {
  for (const rate of [stream.avgFrameRate, stream.rFrameRate]) {
    if (rate.num > 0 && rate.den > 0) return rate.num / rate.den;
  }
  return 25;
}

function frameCount(stream: Stream, durationS: number | undefined, rateFps: number): number | undefined {
  if (stream.nbFrames > 0n) return Number(stream.nbFrames);
  return durationS === undefined ? undefined : Math.round(durationS * rateFps);
}
