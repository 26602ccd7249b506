import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Demuxer } from 'node-av/api';
import { AV_CODEC_ID_HEVC, FF_ENCODER_LIBX264, FF_ENCODER_LIBX265 } from 'node-av/constants';
import { framingOf, isKeyUnit, isSampleUnit, nalUnits, parameterSetsIn, parameterSetsOf } from '../../src/media/nal.ts';
import type { NalCodec, ParameterSets } from '../../src/media/nal.ts';
import { mp4Fragment, mp4Track } from '../../src/media/fmp4.ts';
import type { Mp4Track } from '../../src/media/fmp4.ts';
import { writeClip } from './clips.ts';
import { numberLuma } from './picture-number.ts';

/** One coded picture. */
export interface CodedFrame {
  /** Without parameter sets and delimiters. */
  readonly units: readonly Uint8Array[];
  readonly isKey: boolean;
  /** Place in the order of presentation, from 0: the number that a numbered clip's picture carries, unless its first one is another. */
  readonly order: number;
}

/** Coded pictures in the order of decoding, all in memory. The first one is a key frame. */
export interface CodedClip {
  readonly codec: NalCodec;
  readonly rateFps: number;
  readonly sets: ParameterSets;
  readonly frames: readonly CodedFrame[];
}

export interface NumberedClipOptions {
  readonly codec?: NalCodec;
  /** Default 320 × 180. */
  readonly width?: number;
  readonly height?: number;
  /** Default 50. */
  readonly frames?: number;
  /** In its first picture. Default 0. */
  readonly firstNumber?: number;
  /** From one key frame to the next. Default 25. */
  readonly keyEvery?: number;
  /** Pictures between two references that are predicted from both. Default 0. */
  readonly bFrames?: number;
  readonly interlaced?: boolean;
  /** Of the encoder, beside what follows from those above. */
  readonly options?: Readonly<Record<string, string>>;
}

/** A moving picture with its number in it (`picture-number.ts`). */
export async function numberedClip({
  codec = 'h264',
  width = 320,
  height = 180,
  frames = 50,
  firstNumber = 0,
  keyEvery = 25,
  bFrames = 0,
  interlaced = false,
  options = {},
}: NumberedClipOptions = {}): Promise<CodedClip> {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-clip-'));
  try {
    const path = join(folder, 'clip.mp4');
    await writeClip(path, {
      codec: codec === 'h264' ? FF_ENCODER_LIBX264 : FF_ENCODER_LIBX265,
      format: 'mp4',
      width,
      height,
      frames,
      interlaced,
      luma: (frame, x, y) => numberLuma(firstNumber + frame, x, y, width, height) ?? movingLuma(frame, x, y),
      options: {
        preset: 'ultrafast',
        crf: '23',
        bf: String(bFrames),
        g: String(keyEvery),
        keyint_min: String(keyEvery),
        ...(codec === 'h264'
          ? { sc_threshold: '0' }
          : { 'x265-params': 'log-level=none:scenecut=0:open-gop=0:pools=none:frame-threads=1' }),
        ...options,
      },
    });
    return await clipOfFile(path);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The pictures of a file with H.264 or H.265, as they are. */
export async function clipOfFile(path: string): Promise<CodedClip> {
  await using demuxer = await Demuxer.open(path);
  const stream = demuxer.video()!;
  const { codecpar } = stream;
  const codec = codecpar.codecId === AV_CODEC_ID_HEVC ? 'hevc' : 'h264';
  const extradata = codecpar.extradata ?? undefined;
  const framing = framingOf(codec, extradata);
  let sets = parameterSetsOf(codec, extradata);
  const coded: { units: Uint8Array[]; isKey: boolean; pts: bigint }[] = [];
  for await (const packet of demuxer.packets(stream.index)) {
    if (!packet) break;
    // The packet's memory goes with it.
    const units = nalUnits(Buffer.from(packet.data!), framing);
    sets ??= parameterSetsIn(codec, units);
    const isKey = units.some((unit) => isKeyUnit(codec, unit));
    coded.push({ units: units.filter((unit) => isSampleUnit(codec, unit)), isKey, pts: packet.pts });
    packet.free();
  }
  if (!sets || coded.length === 0) throw new Error(`${path} has no pictures that can be sent`);
  const places = new Map(
    coded
      .map(({ pts }) => pts)
      .toSorted((a, b) => Number(a - b))
      .map((pts, i) => [pts, i]),
  );
  const { num, den } = stream.avgFrameRate;
  return {
    codec,
    rateFps: num / den,
    sets,
    frames: coded.map(({ units, isKey, pts }) => ({ units, isKey, order: places.get(pts)! })),
  };
}

/** Each frame as a decoder takes it, key frames with the parameter sets in front. */
export function annexbFrames({ sets, frames }: CodedClip): Buffer[] {
  return frames.map(({ units, isKey }) => {
    const all = isKey ? [sets.vps, sets.sps, sets.pps, units].flat() : units;
    return Buffer.concat(all.flatMap((unit) => [Buffer.of(0, 0, 0, 1), unit]));
  });
}

/** As a raw stream, with its parameter sets in front. */
export function annexbOf({ sets, frames }: CodedClip): Buffer {
  const units = [sets.vps, sets.sps, sets.pps, ...frames.map((frame) => frame.units)].flat();
  return Buffer.concat(units.flatMap((unit) => [Buffer.of(0, 0, 0, 1), unit]));
}

/** `fragments[i]` is that of `clip.frames[i]`; each frame is 1,000 ticks long. */
export function mp4Of(clip: CodedClip): { readonly track: Mp4Track; readonly fragments: readonly Uint8Array[] } {
  const TICKS = 1000;
  // Nothing is shown before it is decoded where the first one is shown as late as the worst of all needs.
  const delay = Math.max(...clip.frames.map(({ order }, index) => index - order));
  return {
    track: mp4Track(clip.sets, TICKS * clip.rateFps),
    fragments: clip.frames.map(({ units, isKey, order }, index) =>
      mp4Fragment(index + 1, {
        decodeTime: index * TICKS,
        duration: TICKS,
        compositionOffset: (order + delay - index) * TICKS,
        isKey,
        units,
      }),
    ),
  };
}

/** Stripes that move to the left, and a slow change from above to below. */
function movingLuma(frame: number, x: number, y: number): number {
  return 60 + (((x + 3 * frame) >> 3) % 10) * 12 + ((y + frame) % 64);
}
