import { mp4Fragment, mp4Track, type Mp4Track } from '../../src/media/fmp4.ts';
import type { ParameterSets } from '../../src/media/nal.ts';
import { numberedClip, type CodedFrame, type NumberedClipOptions } from './coded-clip.ts';

/** Real pictures with their numbers in them, as a camera's raw channel has them. */

const TICKS_PER_S = 90_000;

export interface NumberedVideo {
  readonly sets: ParameterSets;
  readonly track: Mp4Track;
  readonly rateFps: number;
  readonly frames: readonly CodedFrame[];
}

export async function numberedVideo(options: NumberedClipOptions = {}): Promise<NumberedVideo> {
  const { sets, rateFps, frames } = await numberedClip({ ...options, options: { tune: 'zerolatency' } });
  return { sets, track: mp4Track(sets, TICKS_PER_S), rateFps, frames };
}

/** A frame as a fragment, to be shown at `atS` of its epoch. */
export function fragmentOf(video: NumberedVideo, sequence: number, atS: number, durationS: number): Uint8Array {
  const { units, isKey } = frameOf(video, sequence);
  const [decodeTime, duration] = [Math.round(atS * TICKS_PER_S), Math.round(durationS * TICKS_PER_S)];
  return mp4Fragment(sequence + 1, { decodeTime, duration, compositionOffset: 0, isKey, units });
}

/** The clip begins anew at its end. */
export function frameOf({ frames }: NumberedVideo, sequence: number): CodedFrame {
  return frames[sequence % frames.length]!;
}
