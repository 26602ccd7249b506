import { stat } from 'node:fs/promises';
import {
  AV_DISPOSITION_ATTACHED_PIC,
  AV_PKT_DATA_NEW_EXTRADATA,
  AV_PKT_DATA_PRFT,
  AVDISCARD_ALL,
  AVERROR_EAGAIN,
  AVERROR_EOF,
  AVERROR_EXIT,
  AVMEDIA_TYPE_AUDIO,
  AVMEDIA_TYPE_VIDEO,
  AVSEEK_SET,
} from 'node-av/constants';
import { avGetCodecName, Dictionary, FormatContext, InputFormat, IOContext, Packet } from 'node-av/lib';
import type { Stream } from 'node-av/lib';
import { SightlineError } from '../../base/errors.ts';
import { NO_TIMESTAMP, TEXT_ART } from '../ffmpeg.ts';
import { formatFault, networkFault } from './faults.ts';
import { monotonicMs, type PacketSource, type SourcePacket, type TrackFacts } from './source.ts';
import { TICKS_PER_S } from '../../base/camera-frame.ts';

/** Whatever FFmpeg can read: files, devices, bytes that we have fetched ourselves, and a few kinds of addresses. */

/** Bytes in order. */
export interface ByteSource {
  /** Some bytes, at most so many; undefined: there are no more. */
  read(bytesMax: number): Promise<Uint8Array | undefined>;
  close(): void;
  /** Where it can be read from any place on: how long it is, and how to. */
  readonly seekable?: { readonly length: number; readonly seek: (to: number) => Promise<void> };
}

export type FfmpegInput =
  | { readonly kind: 'file'; readonly path: string; readonly isLooped: boolean }
  | { readonly kind: 'device'; readonly path: string }
  /** `isStored`: it does not come at its own pace. */
  | { readonly kind: 'bytes'; readonly bytes: ByteSource; readonly isStored: boolean }
  | { readonly kind: 'address'; readonly url: string; readonly options: Readonly<Record<string, string>> };

/** Their timestamps are made up. */
const TIMELESS = new Set(['mpjpeg', 'mjpeg']);
const IO_BUFFER_BYTES = 32 * 1024;
/** `AVSEEK_SIZE`, as a question for the length. */
const ASK_LENGTH = 0x10000;
/** For a few frames: what a stream is shows in its first packets. */
const LIVE_PROBE = { analyzeduration: '100000', probesize: '32' };
const BYTES_PROBE = { analyzeduration: '1000000', probesize: '1000000' };
/** `AVProducerReferenceTime`: Unix time in microseconds first. */
const PRFT_BYTES_MIN = 8;
/** Of FFmpeg's client for RTSP: it gives a frame when the next one begins. */
const LATE_CODECS = new Set(['h264', 'hevc']);

export class FfmpegSource implements PacketSource {
  readonly #input: FfmpegInput;
  readonly #packet = new Packet();
  #format: FormatContext | undefined;
  #io: IOContext | undefined;
  #stream: Stream | undefined;
  #isTimeless = false;
  #isLate = false;
  #ticks = 0;
  #busy: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;
  #bytesFault: unknown;
  #isRestart = false;
  #packets = 0;
  #lastGivenMs: number | undefined;

  constructor(input: FfmpegInput) {
    this.#input = input;
    this.#packet.alloc();
  }

  async open(): Promise<TrackFacts> {
    if (this.#closing) throw new SightlineError('CAMERA_ENDED', 'it was closed');
    await this.#checkPath();
    const { kind } = this.#input;
    const stream = await this.#openFormat();
    const name = this.#format!.iformat?.name ?? '';
    const codec = avGetCodecName(stream.codecpar.codecId) ?? 'unknown';
    const isLive = kind === 'address' || kind === 'device' || (kind === 'bytes' && !this.#input.isStored);
    this.#isTimeless = isLive && TIMELESS.has(name);
    this.#isLate = name === 'rtsp' && LATE_CODECS.has(codec);
    return {
      format: name,
      codec,
      codecId: stream.codecpar.codecId,
      extradata: copyOf(stream.codecpar.extradata),
      width: stream.codecpar.width,
      height: stream.codecpar.height,
      parameters: stream.codecpar,
      isStored: !isLive,
    };
  }

  async read(): Promise<SourcePacket | undefined> {
    while (!this.#closing) {
      const code = await this.#run(this.#format!.readFrame(this.#packet));
      if (this.#closing) return undefined;
      if (code === AVERROR_EAGAIN) continue;
      if (code < 0) {
        if (this.#bytesFault !== undefined) throw this.#bytesFault;
        if (code !== AVERROR_EOF && code !== AVERROR_EXIT) throw this.#fault(code);
        if (this.#input.kind !== 'file' || !this.#input.isLooped || this.#packets === 0) return undefined;
        await this.#beginAnew();
        continue;
      }
      const packet = this.#packet.streamIndex === this.#stream!.index ? this.#take() : undefined;
      this.#packet.unref();
      if (packet) return packet;
    }
    return undefined;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#format?.interrupt();
    if (this.#input.kind === 'bytes') this.#input.bytes.close();
    await this.#busy.catch(() => undefined);
    await this.#closeFormat();
    this.#packet.free();
  }

  async #closeFormat(): Promise<void> {
    const format = this.#format;
    this.#format = undefined;
    await format?.closeInput();
    this.#io?.freeContext();
    this.#io = undefined;
  }

  async #openFormat(): Promise<Stream> {
    const input = this.#input;
    const format = new FormatContext();
    this.#format = format;
    format.allocContext();
    using options = Dictionary.fromObject(optionsOf(input));
    const device = input.kind === 'device' ? InputFormat.findInputFormat('v4l2') : null;
    if (input.kind === 'device' && !device) throw refused('this FFmpeg reads no devices');
    if (input.kind === 'bytes') format.pb = this.#openBytes(input.bytes);
    this.#check(await this.#run(format.openInput(addressOf(input), device, options)));
    const name = format.iformat?.name ?? '';
    if (TEXT_ART.has(name)) throw refused('it is text, not video');
    if (/(^|,)image2|_pipe$/.test(name)) throw refused('it is a picture, not a video');
    this.#check(await this.#run(format.findStreamInfo(null)));
    const best = format.findBestStream(AVMEDIA_TYPE_VIDEO, -1, -1, true);
    const stream = format.streams[best.streamIndex];
    // A song's cover is a video stream of one picture to FFmpeg.
    if (!stream || (stream.disposition & AV_DISPOSITION_ATTACHED_PIC) !== 0) {
      const hasSound = format.streams.some(({ codecpar }) => codecpar.codecType === AVMEDIA_TYPE_AUDIO);
      throw refused(hasSound ? 'it sends sound and no video' : 'there is no video in it');
    }
    if (!best.decoder) throw refused('FFmpeg has no decoder for its video');
    for (const other of format.streams) if (other.index !== stream.index) other.discard = AVDISCARD_ALL;
    this.#stream = stream;
    this.#ticks = (stream.timeBase.num / stream.timeBase.den) * TICKS_PER_S;
    return stream;
  }

  async #beginAnew(): Promise<void> {
    await this.#closeFormat();
    if (this.#closing) return;
    this.#packets = 0;
    await this.#openFormat();
    this.#isRestart = true;
  }

  #openBytes(bytes: ByteSource): IOContext {
    const io = new IOContext();
    let at = 0;
    const read = async (bytesMax: number): Promise<Buffer | number> => {
      try {
        const part = await bytes.read(bytesMax);
        if (!part || part.length === 0) return AVERROR_EOF;
        at += part.length;
        return Buffer.from(part.buffer, part.byteOffset, part.length);
      } catch (thrown) {
        this.#bytesFault ??= thrown;
        return AVERROR_EXIT;
      }
    };
    const { seekable } = bytes;
    const seek = async (offset: bigint, whence: number): Promise<bigint | number> => {
      if (whence === ASK_LENGTH) return BigInt(seekable!.length);
      if (whence !== AVSEEK_SET) return AVERROR_EXIT;
      try {
        if (Number(offset) !== at) await seekable!.seek(Number(offset));
        at = Number(offset);
        return offset;
      } catch (thrown) {
        this.#bytesFault ??= thrown;
        return AVERROR_EXIT;
      }
    };
    io.allocContextWithCallbacks(IO_BUFFER_BYTES, 0, read, null, seekable ? (seek as never) : null);
    this.#io = io;
    return io;
  }

  #take(): SourcePacket | undefined {
    const packet = this.#packet;
    const { data } = packet;
    if (!data || data.length === 0) return undefined;
    const isRestart = this.#isRestart;
    this.#isRestart = false;
    this.#packets += 1;
    const time = (value: bigint) =>
      value === NO_TIMESTAMP || this.#isTimeless ? undefined : Math.round(Number(value) * this.#ticks);
    const nowMs = monotonicMs();
    // Its first bytes had come when the frame before was given.
    const arrivedMs = this.#isLate ? (this.#lastGivenMs ?? nowMs) : nowMs;
    this.#lastGivenMs = nowMs;
    const reference = packet.getSideData(AV_PKT_DATA_PRFT);
    return {
      bytes: Buffer.from(data),
      isKey: packet.isKeyframe,
      pts: time(packet.pts),
      dts: time(packet.dts),
      duration: packet.duration > 0n ? time(packet.duration) : undefined,
      arrivedMs,
      cameraMs:
        reference && reference.length >= PRFT_BYTES_MIN ? Number(reference.readBigInt64LE(0)) / 1000 : undefined,
      lost: 0,
      isRestart,
      extradata: copyOf(packet.getSideData(AV_PKT_DATA_NEW_EXTRADATA)),
    };
  }

  async #checkPath(): Promise<void> {
    const { kind } = this.#input;
    if (kind !== 'file' && kind !== 'device') return;
    const found = await stat(this.#input.path).catch((cause: NodeJS.ErrnoException) => {
      const isMissing = cause.code === 'ENOENT' || cause.code === 'ENOTDIR';
      throw isMissing
        ? new SightlineError('CAMERA_NOT_FOUND', `there is no such ${kind}`, { cause })
        : new SightlineError('CAMERA_UNREACHABLE', `it cannot be opened (${cause.code})`, { cause });
    });
    if (kind === 'device') {
      if (!found.isCharacterDevice()) throw refused('it is no device of video');
      return;
    }
    if (found.isDirectory()) throw refused('it is a folder');
    // Opening a pipe waits for its writer in a place that nothing reaches.
    if (!found.isFile()) throw refused('it is a pipe or a device, not a file');
    if (found.size === 0) throw refused('it is empty');
  }

  /** Every native call goes through here, so that closing can wait for the running one. */
  async #run(call: Promise<number>): Promise<number> {
    this.#busy = call;
    return await call;
  }

  #check(code: number): void {
    if (code >= 0) return;
    if (this.#bytesFault !== undefined) throw this.#bytesFault;
    throw this.#fault(code);
  }

  #fault(code: number): SightlineError {
    return this.#input.kind === 'address' ? networkFault(code) : formatFault(code);
  }
}

function refused(reason: string): SightlineError {
  return new SightlineError('CAMERA_FORMAT', reason);
}

function copyOf(bytes: Uint8Array | null): Uint8Array | undefined {
  return bytes && bytes.length > 0 ? Uint8Array.from(bytes) : undefined;
}

function addressOf(input: FfmpegInput): string {
  if (input.kind === 'bytes') return '';
  // The prefix keeps FFmpeg from taking a colon in a file's name for a protocol.
  return input.kind === 'file' ? `file:${input.path}` : input.kind === 'device' ? input.path : input.url;
}

/** What is read may name other files where it is a file, and nothing in the network; what comes from the network names nothing. */
function optionsOf(input: FfmpegInput): Record<string, string> {
  if (input.kind === 'file') return { protocol_whitelist: 'file,crypto,data', pattern_type: 'none' };
  if (input.kind === 'bytes') return { ...BYTES_PROBE, protocol_whitelist: 'data' };
  return input.kind === 'device' ? {} : { ...LIVE_PROBE, ...input.options };
}
