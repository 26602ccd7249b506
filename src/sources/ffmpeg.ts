import { AV_FRAME_FLAG_INTERLACED, AV_LOG_QUIET } from 'node-av/constants';
import { FFmpegError, Log } from 'node-av/lib';
import type { Frame } from 'node-av/lib';

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
