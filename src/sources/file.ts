import { stat } from 'node:fs/promises';
import {
  AV_CODEC_ID_NONE,
  AV_DISPOSITION_ATTACHED_PIC,
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
import type { IRational, Stream } from 'node-av/lib';
import { SightlineError } from '../base/errors.ts';
import { isUpright, orientationOf, swapsSides, turnUpright } from '../media/orient.ts';
import type { Orientation } from '../media/orient.ts';
import { NO_TIMESTAMP, reasonOf } from './ffmpeg.ts';

export interface VideoFileOptions {
  /** Pictures whose longest side is over this are scaled down to it, pixels. Default: no limit. */
  readonly sideMax?: number;
  /** Decoder threads. Each adds a frame of delay and of memory. Default 1. */
  readonly threads?: number;
  /** Ends the reading, also one that waits for the network. */
  readonly signal?: AbortSignal;
  /** A network source that says nothing for so long is unreadable. Default 15,000. */
  readonly stallTimeoutMs?: number;
}

export interface VideoInfo {
  /** Of the pictures that come out: upright, with square pixels, after scaling. */
  readonly width: number;
  readonly height: number;
  /** FFmpeg's names: `mov,mp4,m4a,3gp,3g2,mj2` and `h264`, say. */
  readonly format: string;
  readonly codec: string;
  /** FFmpeg's name of the stored pixels: `yuv420p`, say. */
  readonly pixelFormat: string;
  /** Mean frame rate; 25 where the file tells none. */
  readonly rateFps: number;
  /** Undefined where the file does not tell (a live stream). */
  readonly durationS: number | undefined;
  /** An estimate, for progress. Undefined where the file does not tell. */
  readonly frames: number | undefined;
  /** One picture, not a video. */
  readonly still: boolean;
}

export interface VideoFrame {
  /** Packed RGB, 3 bytes a pixel, rows without padding. Borrowed: the next frame is written over it. */
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  /** Place in the file, from 0. */
  readonly index: number;
  /** Presentation time in seconds from the start of the file; never falls. */
  readonly ptsS: number;
  /** What demuxing, decoding and conversion of this frame took. */
  readonly decodeMs: number;
}

/** Demuxers that take any text for a moving picture ("text art"): whoever hands in such a file meant something else. */
const TEXT_ART = new Set(['tty', 'bin', 'xbin', 'adf', 'idf']);

const MICROSECONDS = 1e6;

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
 * The frames of one video, one at a time: a frame is decoded when it is asked for, and one picture is held. One consumer.
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
  /** What is handed out, and what is turned upright into it. JavaScript owns the memory: a view that outlives us is harmless. */
  #picture = new Uint8Array(0);
  #first: VideoFrame | undefined;
  #index = 0;
  #ptsS = 0;
  #startS = 0;
  #draining = false;
  #readError: number | undefined;
  /** The time unit of each stream, in seconds. */
  #unitsS: number[] = [];
  /** Where the packets read so far end, of any stream: tells a file that was cut off. */
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
    this.#codec.allocContext3(best.decoder);
    this.#check(this.#codec.parametersToContext(stream.codecpar));
    this.#codec.pktTimebase = stream.timeBase;
    this.#codec.threadCount = this.#options.threads ?? 1;
    this.#check(await this.#run(this.#codec.open2(best.decoder, null)));
    this.#startS = stream.startTime === NO_TIMESTAMP ? 0 : Number(stream.startTime) * seconds(stream.timeBase);

    this.#first = await this.#next();
    if (!this.#first) throw this.#unreadable(this.#endReason() ?? 'there is not one whole frame in it');
    const still = /(^|,)image2|_pipe$/.test(name);
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

  /** Frees everything; a read under way ends first. */
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

  /** Decodes until a frame is there; undefined at the end of the file, or of what is readable of it. */
  async #next(): Promise<VideoFrame | undefined> {
    const beganMs = performance.now();
    while (!this.#closing) {
      const received = await this.#run(this.#codec.receiveFrame(this.#frame));
      if (received >= 0) {
        try {
          return await this.#convert(beganMs);
        } finally {
          this.#frame.unref();
        }
      }
      if (received === AVERROR_EOF) return undefined;
      if (received !== AVERROR_EAGAIN) this.damaged += 1;
      await this.#feed();
    }
    return undefined;
  }

  /** Hands one packet to the decoder, or tells it once that there are no more. */
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

  async #convert(beganMs: number): Promise<VideoFrame> {
    const frame = this.#frame;
    const orientation = orientationOf(frame.getSideData(AV_FRAME_DATA_DISPLAYMATRIX));
    const scaled = this.#scaled;
    if (this.#picture.length === 0) this.#allocate();
    this.#check(await this.#run(this.#scaler.scaleFrame(scaled, frame)));
    const { width, height } = this.#handOut(orientation);
    const index = this.#index;
    this.#index += 1;
    this.#ptsS = Math.max(this.#ptsS, this.#presentationS(index));
    return { data: this.#picture, width, height, index, ptsS: this.#ptsS, decodeMs: performance.now() - beganMs };
  }

  /** All pictures get the size of the first: a stream whose resolution changes on its way is scaled to it. */
  #allocate(): void {
    const { width, height, sampleAspectRatio } = this.#frame;
    const size = outputSize(width, height, sampleAspectRatio, this.#options.sideMax ?? Infinity);
    this.#scaled.width = size.width;
    this.#scaled.height = size.height;
    this.#scaled.format = AV_PIX_FMT_RGB24;
    // Alignment 1: rows without padding.
    this.#check(this.#scaled.getBuffer(1));
    this.#picture = new Uint8Array(size.width * size.height * 3);
  }

  #handOut(orientation: Orientation): { width: number; height: number } {
    const { width, height } = this.#scaled;
    const plane = this.#scaled.data?.[0];
    if (!plane) throw new SightlineError('INTERNAL', `${this.input}: FFmpeg gave a picture without pixels`);
    if (isUpright(orientation)) {
      this.#picture.set(plane.subarray(0, this.#picture.length));
      return { width, height };
    }
    turnUpright(plane, width, height, orientation, this.#picture);
    return swapsSides(orientation) ? { width: height, height: width } : { width, height };
  }

  #presentationS(index: number): number {
    const stream = this.#stream!;
    const pts = this.#frame.bestEffortTimestamp;
    if (pts === NO_TIMESTAMP) return index / frameRate(stream);
    return Number(pts) * seconds(stream.timeBase) - this.#startS;
  }

  /** Why there are no more frames, where that is not simply the file's end. */
  #endReason(): string | undefined {
    if (this.#readError !== undefined) return reasonOf(this.#readError);
    const { iformat, startTime, duration } = this.#format;
    // Only these containers state their length in their header; elsewhere FFmpeg guesses it.
    if (!/^(mov|matroska)/.test(iformat?.name ?? '') || duration <= 0n) return undefined;
    const beginS = startTime === NO_TIMESTAMP ? 0 : Number(startTime) / MICROSECONDS;
    const durationS = Number(duration) / MICROSECONDS;
    const thereS = this.#reachedS - beginS;
    if (thereS >= durationS - Math.max(1, durationS * 0.05)) return undefined;
    return `of its ${durationS.toFixed(1)} s only ${thereS.toFixed(1)} s are there`;
  }

  /** Every native call goes through here, so that closing can wait for the one under way. */
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

/** A local file may name other local files (a playlist), but never send us into the network. */
function openOptions(local: boolean, stallTimeoutMs: number): Record<string, string> {
  // A `%` in a picture's name is no pattern of a sequence.
  if (local) return { protocol_whitelist: 'file,crypto,data', pattern_type: 'none' };
  const microseconds = String(stallTimeoutMs * 1000);
  return { rw_timeout: microseconds, timeout: microseconds };
}

/** Pixels that are not square are widened or narrowed until they are; then the longest side is brought down to `sideMax`. */
export function outputSize(
  width: number,
  height: number,
  aspect: { readonly num: number; readonly den: number },
  sideMax: number,
): { width: number; height: number } {
  const ratio = aspect.num > 0 && aspect.den > 0 ? aspect.num / aspect.den : 1;
  const square = width * ratio;
  const scale = Math.min(1, sideMax / Math.max(square, height));
  return { width: Math.max(1, Math.round(square * scale)), height: Math.max(1, Math.round(height * scale)) };
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
