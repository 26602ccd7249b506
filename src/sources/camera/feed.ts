import type { CaptureClock, FrameName } from '../../base/frame-name.ts';
import type { FrameOutcome } from '../../base/frame.ts';
import type { PipelineName } from '../../base/result.ts';
import type { Stream } from '../../stream/stream.ts';
import type { CameraDocument } from './documents.ts';

/** What a camera of the fleet gives to those who watch it. */

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
  /** `moof` and `mdat`. */
  readonly bytes: Uint8Array;
}

export interface NamedOutcome {
  readonly frame: FrameName;
  readonly clock: CaptureClock;
  readonly pipeline: PipelineName;
  readonly outcome: FrameOutcome;
}

export interface Still {
  readonly frame: FrameName;
  /** Unix ms by the clock of this process. */
  readonly captureTimeMs: number;
  readonly clock: CaptureClock;
  readonly width: number;
  readonly height: number;
  readonly jpeg: Uint8Array;
}

export interface CameraFeed {
  readonly id: string;
  report(): CameraDocument;
  /** Calls back after each change of its state. Returns a function that ends that. */
  watchState(onChange: () => void): () => void;
  /** Fragments come while somebody has asked for them by `watchRaw`; the newest group of pictures is kept then, so that a viewer begins at its key frame. */
  readonly raw: Stream<RawFragment>;
  /** Returns a function that ends that. */
  watchRaw(): () => void;
  /** The same frames, encoded anew as H.264 while somebody has asked for that by `watchTranscoded`. */
  readonly transcoded: Stream<RawFragment>;
  /** As `watchRaw`. Errors: TRANSCODE_LIMIT_REACHED. */
  watchTranscoded(): () => void;
  readonly results: Stream<NamedOutcome>;
  /** The newest picture that is at hand. Errors: CAMERA_NO_PICTURE; that of a camera without a connection. */
  still(widthMax: number): Promise<Still>;
}

export interface CameraFeeds {
  /** In the order of their ids. */
  all(): readonly CameraFeed[];
  /** Errors: CAMERA_UNKNOWN. */
  get(id: string): CameraFeed;
  /** Calls back when a camera was added, changed or removed. Returns a function that ends that. */
  watchAll(onChange: (id: string) => void): () => void;
}
