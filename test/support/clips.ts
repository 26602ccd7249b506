import { appendFile, readFile, rm, writeFile } from 'node:fs/promises';
import {
  AV_CODEC_FLAG_GLOBAL_HEADER,
  AV_CODEC_FLAG_INTERLACED_DCT,
  AV_CODEC_FLAG_INTERLACED_ME,
  AV_FRAME_FLAG_INTERLACED,
  AV_FRAME_FLAG_TOP_FIELD_FIRST,
  AV_LOG_QUIET,
  AV_PIX_FMT_YUV420P,
  AVERROR_EAGAIN,
  AVERROR_EOF,
} from 'node-av/constants';
import type { AVPixelFormat, FFEncoderCodec } from 'node-av/constants';
import { Codec, CodecContext, Dictionary, FormatContext, Frame, Log, Packet, Rational } from 'node-av/lib';

/** Clips of kinds that the project itself does not write. */

const RATE_FPS = 25;

// Encoders write their figures to standard error.
Log.setLevel(AV_LOG_QUIET);

export interface ClipOptions {
  readonly codec: FFEncoderCodec;
  /** FFmpeg's name of the container: `mpegts`, say. */
  readonly format: string;
  readonly width: number;
  readonly height: number;
  readonly frames: number;
  readonly interlaced?: boolean;
  /** Of both planes of colour; default: grey. */
  readonly chroma?: number;
  /** Brightness of a pixel of a frame, 0..255. */
  readonly luma?: (frame: number, x: number, y: number) => number;
  readonly pixelFormat?: AVPixelFormat;
  readonly options?: Readonly<Record<string, string>>;
}

/** Writes one stream of pictures without sound. */
export async function writeClip(path: string, clip: ClipOptions): Promise<void> {
  const { width, height, frames, interlaced = false, chroma = 128, luma = () => 128 } = clip;
  const { pixelFormat = AV_PIX_FMT_YUV420P } = clip;
  const codec = Codec.findEncoderByName(clip.codec);
  if (!codec) throw new Error(`this FFmpeg has no encoder ${clip.codec}`);
  using encoder = new CodecContext();
  using packet = new Packet();
  using frame = new Frame();
  const format = new FormatContext();
  packet.alloc();
  frame.alloc();
  encoder.allocContext3(codec);
  encoder.width = width;
  encoder.height = height;
  encoder.pixelFormat = pixelFormat;
  encoder.timeBase = new Rational(1, RATE_FPS);
  encoder.framerate = new Rational(RATE_FPS, 1);
  encoder.bitRate = 25_000_000n;
  encoder.threadCount = 1;
  if (interlaced) encoder.setFlags(AV_CODEC_FLAG_INTERLACED_DCT, AV_CODEC_FLAG_INTERLACED_ME);
  if (clip.format === 'mp4' || clip.format === 'avif') encoder.setFlags(AV_CODEC_FLAG_GLOBAL_HEADER);
  using options = Dictionary.fromObject(clip.options ?? {});
  check(await encoder.open2(codec, options));
  check(format.allocOutputContext2(null, clip.format, `file:${path}`));
  const stream = format.newStream(null);
  check(stream.codecpar.fromContext(encoder));
  stream.timeBase = encoder.timeBase;
  check(await format.openOutput());
  check(await format.writeHeader(null));
  frame.width = width;
  frame.height = height;
  frame.format = pixelFormat;
  check(frame.getBuffer());
  if (interlaced) frame.setFlags(AV_FRAME_FLAG_INTERLACED, AV_FRAME_FLAG_TOP_FIELD_FIRST);
  for (let index = 0; index <= frames; index += 1) {
    if (index < frames) {
      frame.makeWritable();
      const [y, ...colours] = frame.data as [Buffer, ...Buffer[]];
      // Asked once: it is a new array each time.
      const pitch = frame.linesize[0]!;
      for (const plane of colours) plane.fill(chroma);
      for (let row = 0; row < height; row += 1) {
        for (let x = 0; x < width; x += 1) y[row * pitch + x] = luma(index, x, row);
      }
      frame.pts = BigInt(index);
      frame.duration = 1n;
    }
    check(await encoder.sendFrame(index < frames ? frame : null));
    for (;;) {
      const received = await encoder.receivePacket(packet);
      if (received === AVERROR_EAGAIN || received === AVERROR_EOF) break;
      check(received);
      packet.streamIndex = 0;
      packet.duration = 1n;
      packet.rescaleTs(encoder.timeBase, stream.timeBase);
      check(await format.interleavedWriteFrame(packet));
    }
  }
  check(await format.writeTrailer());
  await format.closeOutput();
  format.freeContext();
}

/** Several clips in one file, one after the other: in a transport stream or a raw one that needs nothing else. */
export async function writeClips(path: string, clips: readonly ClipOptions[]): Promise<void> {
  await writeFile(path, '');
  for (const [index, clip] of clips.entries()) {
    const part = `${path}.${index}`;
    await writeClip(part, clip);
    await appendFile(path, await readFile(part));
    await rm(part);
  }
}

function check(code: number): void {
  if (code < 0) throw new Error(`FFmpeg error ${code}`);
}
