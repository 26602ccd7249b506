import { TICKS_PER_S, type RawFragment } from '../base/camera-frame.ts';
import { eventMessage, fragmentTimes, setFragmentDuration } from '../media/fmp4.ts';
import { id3Text } from '../media/id3.ts';

/** What parts are made of: fragments, each with the name of its frame in front. */

export interface TimedFrame {
  readonly fragment: RawFragment;
  readonly decodeTime: number;
  /** How long it lasts. */
  readonly ticks: number;
  /** Unix ms by the wall clock. */
  readonly captureTimeMs: number;
}

/** https://aomediacodec.github.io/id3-emsg/ */
const SCHEME = 'https://aomedia.org/emsg/ID3';
/** Of the text in the ID3 tag. */
export const NAME_DESCRIPTION = 'sightline.frame';

/** In memory of their own, and in one piece. */
export function partBytes(frames: readonly TimedFrame[]): Uint8Array {
  const pieces = frames.flatMap((frame) => [nameOf(frame), frame.fragment.bytes]);
  const bytes = joined(pieces);
  let at = 0;
  for (const [i, piece] of pieces.entries()) {
    // The copy says how long the frame lasts; the camera's fragment could but guess.
    if (i % 2 === 1) setFragmentDuration(bytes.subarray(at, at + piece.length), frames[i >> 1]!.ticks);
    at += piece.length;
  }
  return bytes;
}

/** Not of Node's pool: it is kept for as long as its segment is. */
export function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const bytes = Buffer.allocUnsafeSlow(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

function nameOf({ fragment, ticks, captureTimeMs }: TimedFrame): Uint8Array {
  const { frame, clock, bytes, boxes = 'none' } = fragment;
  const { decodeTime, compositionOffset } = fragmentTimes(bytes);
  const { camera, epoch, seq } = frame;
  const name = { camera, epoch, seq, capture_time: Math.round(captureTimeMs), clock, boxes };
  return eventMessage({
    schemeIdUri: SCHEME,
    id: seq,
    timescale: TICKS_PER_S,
    presentationTime: decodeTime + compositionOffset,
    duration: ticks,
    data: id3Text(NAME_DESCRIPTION, JSON.stringify(name)),
  });
}
