import type { DrawnBoxes } from '../base/camera-frame.ts';
import type { CaptureClock } from '../base/frame-name.ts';
import type { NamedOutcomeMessage } from './cameras.ts';

/** Messages on the channels of data of a WHEP session, JSON text. */

/** `frames`: the name of a frame whose packets have this stamp, which `requestVideoFrameCallback` tells as `rtpTimestamp`. */
export interface WebRtcFrameMessage {
  readonly type: 'frame';
  readonly camera: string;
  readonly epoch: number;
  readonly seq: number;
  /** Unix ms. */
  readonly capture_time: number;
  readonly clock: CaptureClock;
  /** Of the frame in its epoch, s. */
  readonly media_time_s: number;
  /** It was encoded anew. */
  readonly transcoded: boolean;
  /** What is drawn on a frame of the annotated channel; `none` on others. */
  readonly boxes: DrawnBoxes;
  readonly rtp_timestamp: number;
}

/** `results`: what became of a frame in a pipeline. */
export type WebRtcResultMessage = { readonly type: 'result' } & NamedOutcomeMessage;

/** On both: the server ends the session. */
export interface WebRtcEndMessage {
  readonly type: 'end';
  readonly code: string;
  readonly message: string;
}
