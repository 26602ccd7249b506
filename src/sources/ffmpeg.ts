import { AV_FRAME_FLAG_INTERLACED, AV_LOG_QUIET } from 'node-av/constants';
import { FFmpegError, Log } from 'node-av/lib';
import type { Frame, IRational } from 'node-av/lib';
import type { Size } from '../base/picture.ts';

/** Common helpers for FFmpeg. */

// FFmpeg writes its messages about a file straight to standard error; its reasons travel in our errors instead.
Log.setLevel(AV_LOG_QUIET);

/** `AV_NOPTS_VALUE`: FFmpeg's "no time is known". */
export const NO_TIMESTAMP = -(2n ** 63n);

/** Demuxers that take any text for a moving picture ("text art"), which no user means. */
export const TEXT_ART = new Set(['tty', 'bin', 'xbin', 'adf', 'idf']);

/** FFmpeg's own words for a negative return code. */
export function reasonOf(code: number): string {
  return FFmpegError.fromCode(code)?.message ?? `FFmpeg error ${code}`;
}

/** The three planes of a packed yuv420p picture with even sides, as views. */
export function yuv420Planes(data: Buffer, width: number, height: number): [Buffer, Buffer, Buffer] {
  const luma = width * height;
  const chroma = luma / 4;
  return [data.subarray(0, luma), data.subarray(luma, luma + chroma), data.subarray(luma + chroma, luma + 2 * chroma)];
}

/**
 * Takes the two fields of an interlaced picture as one, line by line as they are stored: still objects are exact, and moving ones have
 * combed edges. Without it FFmpeg's scaler refuses the picture, because ours is not interlaced.
 */
export function weave(frame: Frame): void {
  frame.clearFlags(AV_FRAME_FLAG_INTERLACED);
}

/** Pixels that are not square are widened or narrowed until they are. `aspect`: of a pixel; 0 where that is not known. */
export function squareSize({ width, height }: Size, { num, den }: IRational): Size {
  const ratio = num > 0 && den > 0 ? num / den : 1;
  return { width: Math.max(1, Math.round(width * ratio)), height };
}
