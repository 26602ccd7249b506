import { TICKS_PER_S, type DrawnBoxes, type RawFragment } from '../base/camera-frame.ts';
import { SightlineError } from '../base/errors.ts';
import type { CaptureClock } from '../base/frame-name.ts';
import { eventData, eventMessage, fragmentTimes, setFragmentDuration } from '../media/fmp4.ts';
import { id3Text, readId3Text } from '../media/id3.ts';

/** What parts are made of: fragments, each with the name of its frame in front. */

export interface TimedFrame {
  readonly fragment: Pick<RawFragment, 'frame' | 'clock' | 'isKey' | 'boxes' | 'bytes'>;
  readonly decodeTime: number;
  /** How long it lasts. */
  readonly ticks: number;
  /** Unix ms by the wall clock. */
  readonly captureTimeMs: number;
}

/** What is told of a frame, as JSON. */
export interface ToldFrame {
  readonly camera: string;
  readonly epoch: number;
  readonly seq: number;
  /** Unix ms by the wall clock. */
  readonly capture_time: number;
  readonly clock: CaptureClock;
  readonly boxes: DrawnBoxes;
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

/** What the message in front of a fragment says of its frame. Errors: SOURCE_UNREADABLE, where there is none. */
export function toldFrame(event: Uint8Array | undefined): ToldFrame {
  const text = event && readId3Text(eventData(event));
  if (text?.description !== NAME_DESCRIPTION) throw new SightlineError('SOURCE_UNREADABLE', 'a frame without its name');
  return JSON.parse(text.value) as ToldFrame;
}

function nameOf({ fragment, ticks, captureTimeMs }: TimedFrame): Uint8Array {
  const { frame, clock, bytes, boxes = 'none' } = fragment;
  const { decodeTime, compositionOffset } = fragmentTimes(bytes);
  const { camera, epoch, seq } = frame;
  const name: ToldFrame = { camera, epoch, seq, capture_time: Math.round(captureTimeMs), clock, boxes };
  return eventMessage({
    schemeIdUri: SCHEME,
    id: seq,
    timescale: TICKS_PER_S,
    presentationTime: decodeTime + compositionOffset,
    duration: ticks,
    data: id3Text(NAME_DESCRIPTION, JSON.stringify(name)),
  });
}
