import type { CaptureClock, FrameName } from './frame-name.ts';
import type { FrameOutcome } from './frame.ts';
import type { PipelineName } from './result.ts';
import type { Sample } from './sample.ts';

/** What the streams of a camera hold: its frames as they are, and what became of them in the pipelines. */

/** The camera's own frames; the same encoded anew; and encoded with what was found in them drawn on them. */
export const CHANNEL_FORMS = ['raw', 'transcoded', 'annotated'] as const;
export type ChannelForm = (typeof CHANNEL_FORMS)[number];

/** What is drawn on a frame of the annotated channel: what was found in that very frame; where boxes of earlier frames will have gone by then; or nothing. */
export const DRAWN_BOXES = ['none', 'own', 'predicted'] as const;
export type DrawnBoxes = (typeof DRAWN_BOXES)[number];

/** Of the times in fragments: those of MPEG and RTP, and a multiple of all usual frame rates. */
export const TICKS_PER_S = 90_000;

/** An MP4 initialisation segment: all fragments of its epoch need it first, of those that are encoded anew the ones of its size. */
export interface RawInit {
  /** Its fragments are encoded anew as H.264. */
  readonly isTranscoded: boolean;
  readonly epoch: number;
  /** RFC 6381. */
  readonly codecString: string;
  /** Pixels. */
  readonly width: number;
  readonly height: number;
  readonly bytes: Uint8Array;
}

/** Those of one name are the same: within an epoch nothing but the size changes, and that where pictures are encoded anew. */
export function isSameInit(one: InitName, other: InitName | undefined): boolean {
  return one.epoch === other?.epoch && one.width === other.width && one.height === other.height;
}

export type InitName = Pick<RawInit, 'epoch' | 'width' | 'height'>;

/** One frame of the raw channel. Its sample has the capture time; `seq` of the sample rises over all epochs. */
export interface RawFragment {
  readonly init: RawInit;
  readonly frame: FrameName;
  readonly clock: CaptureClock;
  /**
   * Its place in the order in which fragments of its epoch come, those counted that did not come as far as the stream. Of frames as they were sent it is the number
   * in the name; those that were encoded anew come in the order of presentation.
   */
  readonly order: number;
  /** What follows can be decoded without anything before it. */
  readonly isKey: boolean;
  /** Presentation, from the beginning of the epoch, and how long it is shown, seconds. */
  readonly mediaTimeS: number;
  readonly durationS: number;
  /** Of the annotated channel alone. */
  readonly boxes?: DrawnBoxes;
  /** `moof` and `mdat`. */
  readonly bytes: Uint8Array;
}

/**
 * Whether one that is no key frame can be decoded behind another one. Of frames as they were sent none may be missing; those that are encoded anew build on the one before,
 * whatever was left out before encoding.
 */
export function follows(
  last: { readonly epoch: number; readonly order: number; readonly position: number } | undefined,
  { position, data }: Sample<RawFragment>,
): boolean {
  if (last?.epoch !== data.frame.epoch) return false;
  return data.init.isTranscoded ? last.position + 1 === position : last.order + 1 === data.order;
}

export interface NamedOutcome {
  readonly frame: FrameName;
  readonly clock: CaptureClock;
  readonly pipeline: PipelineName;
  readonly outcome: FrameOutcome;
}
