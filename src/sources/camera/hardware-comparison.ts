import {
  AV_CODEC_ID_H264,
  AV_CODEC_ID_HEVC,
  AV_PIX_FMT_YUV420P,
  FF_ENCODER_LIBX264,
  FF_ENCODER_LIBX265,
} from 'node-av/constants';
import type { FFEncoderCodec } from 'node-av/constants';
import { Codec, CodecContext, Dictionary, Frame, Packet, Rational } from 'node-av/lib';
import { reasonOf } from '../ffmpeg.ts';
import type { HardwareCodec } from './hardware.ts';
import { PictureDecoder, type CodedFrame, type OpenDecoder } from './picture-decoder.ts';
import { PictureScaler } from './picture-scaler.ts';
import type { TrackFacts } from './source.ts';

/**
 * Is a device to be trusted with cameras? H.264 and H.265 say exactly what the pictures of a stream are, to the last bit. All is done as with a camera: frames in their
 * turn, then key frames alone.
 */

/** No device takes less than some; none needs more. */
const SIZE = { width: 320, height: 192 } as const;
const FRAMES = 12;
const KEY_EVERY = 6;
/** Of 255, in the mean. Other colours differ by dozens. */
const COLOUR_DIFFERENCE_MAX = 2;

const CODECS: Readonly<Record<HardwareCodec, Pick<TrackFacts, 'codecId'> & { readonly encoder: FFEncoderCodec }>> = {
  h264: { codecId: AV_CODEC_ID_H264, encoder: FF_ENCODER_LIBX264 },
  hevc: { codecId: AV_CODEC_ID_HEVC, encoder: FF_ENCODER_LIBX265 },
};

/** What is wrong with a device's pictures of made frames; undefined: they are those of the software, to the last bit, each with the number of its frame. */
export async function faultOf(device: OpenDecoder, name: HardwareCodec): Promise<string | undefined> {
  const { codecId, encoder } = CODECS[name];
  const track: TrackFacts = {
    ...SIZE,
    format: 'rtsp',
    codec: name,
    codecId,
    extradata: undefined,
    parameters: undefined,
    isStored: false,
  };
  const frames = await madeFrames(encoder);
  const right = await decoded(track, frames, undefined);
  const found = await decoded(track, frames, device);
  if (found.fault !== undefined) return found.fault;
  if (right.pictures.size !== frames.length + keysOf(frames).length) throw new Error(`FFmpeg decodes no ${name}`);
  for (const [id, picture] of right.pictures) {
    const other = found.pictures.get(id);
    if (!other || !isSame(other, picture)) return `picture ${id} of ${right.pictures.size} is not as it should be`;
  }
  return undefined;
}

interface Seen {
  readonly luma: Buffer;
  readonly rgb: Buffer;
}

/** Brightness to the last bit. Colours are made of it by other ways from each pixel format, and rounded otherwise. */
function isSame(one: Seen, other: Seen): boolean {
  if (!one.luma.equals(other.luma) || one.rgb.length !== other.rgb.length) return false;
  const difference = one.rgb.reduce((sum, value, at) => sum + Math.abs(value - other.rgb[at]!), 0);
  return difference / one.rgb.length <= COLOUR_DIFFERENCE_MAX;
}

/** All pictures by the numbers of their frames; a key frame that was decoded alone has the number behind those of all. */
async function decoded(
  track: TrackFacts,
  frames: readonly CodedFrame[],
  device: OpenDecoder | undefined,
): Promise<{ readonly pictures: ReadonlyMap<number, Seen>; readonly fault: string | undefined }> {
  const pictures = new Map<number, Seen>();
  const [luma, rgb] = [new PictureScaler('luma'), new PictureScaler('rgb')];
  let fault: string | undefined;
  const decoder = new PictureDecoder(
    async (picture, id) => {
      const seen = [await luma.scale(picture, null), await rgb.scale(picture, null)].map(({ bytes }) =>
        Buffer.from(bytes),
      );
      pictures.set(id, { luma: seen[0]!, rgb: seen[1]! });
    },
    (_, why) => (fault ??= why ?? undefined),
  );
  const limits = { pixelsMax: SIZE.width * SIZE.height, extradata: undefined };
  await decoder.open(track, limits, device);
  for (const frame of frames) await decoder.next(frame);
  await decoder.drain();
  for (const key of keysOf(frames)) await decoder.single({ ...key, id: frames.length + key.id });
  decoder.close();
  luma.close();
  rgb.close();
  return { pictures, fault };
}

function keysOf(frames: readonly CodedFrame[]): readonly CodedFrame[] {
  return frames.filter(({ isKey }) => isKey);
}

/** A moving pattern, in the order of presentation. */
async function madeFrames(name: FFEncoderCodec): Promise<CodedFrame[]> {
  const found = Codec.findEncoderByName(name);
  if (!found) throw new Error(`this FFmpeg has no ${name}`);
  const { width, height } = SIZE;
  const codec = new CodecContext();
  codec.allocContext3(found);
  [codec.width, codec.height, codec.pixelFormat] = [width, height, AV_PIX_FMT_YUV420P];
  codec.timeBase = new Rational(1, 25);
  codec.framerate = new Rational(25, 1);
  codec.gopSize = KEY_EVERY;
  codec.maxBFrames = 0;
  codec.threadCount = 1;
  using options = Dictionary.fromObject({
    preset: 'ultrafast',
    tune: 'zerolatency',
    'x265-params': `log-level=none:keyint=${KEY_EVERY}:min-keyint=${KEY_EVERY}:scenecut=0:pools=none`,
  });
  check(await codec.open2(found, options));
  const picture = new Frame();
  picture.alloc();
  [picture.width, picture.height, picture.format] = [width, height, AV_PIX_FMT_YUV420P];
  check(picture.getBuffer());
  const packet = new Packet();
  packet.alloc();
  const frames: CodedFrame[] = [];
  const take = async (): Promise<void> => {
    while ((await codec.receivePacket(packet)) >= 0) {
      frames.push({ id: Number(packet.pts), bytes: Uint8Array.from(packet.data!), isKey: packet.isKeyframe });
      packet.unref();
    }
  };
  for (let number = 0; number < FRAMES; number += 1) {
    check(picture.makeWritable());
    paint(picture, number);
    picture.pts = BigInt(number);
    check(await codec.sendFrame(picture));
    await take();
  }
  await codec.sendFrame(null);
  await take();
  codec.freeContext();
  picture.free();
  packet.free();
  return frames;
}

function paint(picture: Frame, number: number): void {
  const [luma, ...chroma] = picture.data!;
  const [stride = 0] = picture.linesize;
  for (let y = 0; y < SIZE.height; y += 1) {
    for (let x = 0; x < SIZE.width; x += 1) luma![y * stride + x] = 16 + ((((x * 3) ^ (y * 5)) + number * 7) % 220);
  }
  for (const [i, plane] of chroma.entries()) plane?.fill(96 + 32 * i + number);
}

function check(code: number): void {
  if (code < 0) throw new Error(reasonOf(code));
}
