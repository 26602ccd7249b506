import type { CaptureClock, FrameName } from './frame-name.ts';
import type { FrameOutcome } from './frame.ts';
import type { PipelineName } from './result.ts';

/** What the streams of a camera hold: its frames as they are, and what became of them in the pipelines. */

/** The camera's own frames; the same encoded anew; and encoded with what was found in them drawn on them. */
export const CHANNEL_FORMS = ['raw', 'transcoded', 'annotated'] as const;
export type ChannelForm = (typeof CHANNEL_FORMS)[number];

/** What is drawn on a frame of the annotated channel: what was found in that very frame; where boxes of earlier frames will have gone by then; or nothing. */
export const DRAWN_BOXES = ['none', 'own', 'predicted'] as const;
export type DrawnBoxes = (typeof DRAWN_BOXES)[number];

/** An MP4 initialisation segment: all fragments of its epoch need it first. */
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

export interface NamedOutcome {
  readonly frame: FrameName;
  readonly clock: CaptureClock;
  readonly pipeline: PipelineName;
  readonly outcome: FrameOutcome;
}
