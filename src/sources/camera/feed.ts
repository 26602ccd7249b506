import type { SightlineError } from '../../base/errors.ts';
import type { DrawnBoxes, NamedOutcome, RawFragment } from '../../base/camera-frame.ts';
import type { CaptureClock, FrameName } from '../../base/frame-name.ts';
import type { Stream } from '../../stream/stream.ts';
import type { CameraDocument, CameraStanding } from './documents.ts';

/** What a camera of the fleet gives to those who watch it. */

export interface Still {
  readonly frame: FrameName;
  /** Unix ms by the clock of this process. */
  readonly captureTimeMs: number;
  readonly clock: CaptureClock;
  readonly width: number;
  readonly height: number;
  /** What is drawn on it; `none` where that was not asked for. */
  readonly boxes: DrawnBoxes;
  readonly jpeg: Uint8Array;
}

export interface CameraFeed {
  readonly id: string;
  report(): CameraDocument;
  /** The part of it that each request asks for. */
  standing(): CameraStanding;
  /** Local socket into which the packets of its publisher go; undefined: it is not published to. */
  readonly inlet: string | undefined;
  /** It has masks: `raw` has not, and is for those who may see it so (`requireUnmasked`). Changes are told by `watchAll`, before another frame comes. */
  readonly isMasked: boolean;
  /** Polygons, as its settings have them; what is encoded anew has them. */
  readonly masks: readonly string[];
  /** Calls back after each change of its state. Returns a function that ends that. */
  watchState(onChange: () => void): () => void;
  /** Fragments come while somebody has asked for them by `watchRaw`; the newest group of pictures is kept then, so that a viewer begins at its key frame. */
  readonly raw: Stream<RawFragment>;
  /** Returns a function that ends that. */
  watchRaw(): () => void;
  /** The same frames, encoded anew as H.264 while somebody has asked for that by `watchTranscoded`. */
  readonly transcoded: Stream<RawFragment>;
  /** As `watchRaw`. `onFailed` (TRANSCODE_FAILED): nothing more comes, unless somebody asks for it when nobody does. Errors: TRANSCODE_LIMIT_REACHED. */
  watchTranscoded(onFailed: (error: SightlineError) => void): () => void;
  /** The same frames, or as many of them as the server has time for, with what was found drawn on them, while somebody has asked for that by `watchAnnotated`. */
  readonly annotated: Stream<RawFragment>;
  /** As `watchTranscoded`. Errors: ANNOTATE_LIMIT_REACHED, and ANNOTATE_FAILED to `onFailed`. */
  watchAnnotated(onFailed: (error: SightlineError) => void): () => void;
  readonly results: Stream<NamedOutcome>;
  /** The newest picture that is at hand. `isDrawn`: with what was found drawn on it; one that was looked at is preferred to one that is newer by 2 s. Errors: CAMERA_NO_PICTURE; that of a camera without a connection. */
  still(widthMax: number, isDrawn?: boolean): Promise<Still>;
}

export interface CameraFeeds {
  /** In the order of their ids. */
  all(): readonly CameraFeed[];
  /** Errors: CAMERA_UNKNOWN. */
  get(id: string): CameraFeed;
  /** Calls back when a camera was added, changed or removed. Returns a function that ends that. */
  watchAll(onChange: (id: string) => void): () => void;
}
