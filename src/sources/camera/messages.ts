import type { ChannelForm, DrawnBoxes } from '../../base/camera-frame.ts';
import type { CaptureClock } from '../../base/frame-name.ts';
import type { ErrorCode } from '../../base/errors.ts';
import type { Size } from '../../base/picture.ts';
import type { Polygon } from '../../base/polygon.ts';
import type { PipelineName, PipelineResult } from '../../base/result.ts';
import type { HardwareType } from './hardware.ts';
import type { PictureCondition } from '../../vision/picture-watch.ts';

/**
 * What the server and a process that reads cameras say to each other. Orders and news go over the channel of the child process; pictures and fragments over a
 * pipe of their own (`data-codec.ts`), since they are large and many. A process knows its cameras by numbers that the server gives; a number is not given
 * again in the life of a process.
 */

/** Where the frames of a camera come from, as the process needs to know it. */
export interface CameraInput {
  /** With credentials, if there are any: it goes into no log and no message. */
  readonly url: string;
  /** Path of the local socket through which the packets of its publisher come, where it is published to. */
  readonly inlet?: string;
  /** Names what it looks at: a connection goes on with what the last one of the same name has learned of the picture. Left out: with nothing. */
  readonly scene?: string;
  readonly transport: 'tcp' | 'udp';
  /** A file begins anew at its end; else the camera ends there. */
  readonly loop: boolean;
  /** Files: at the pace of their timestamps, or as fast as they can be read. */
  readonly pace: 'live' | 'fast';
  /** Networks of addresses that this camera may be at, or be sent on to, apart from public ones (CIDR). */
  readonly allowedNetworks: readonly string[];
  /** Until the first frame. */
  readonly openTimeoutMs: number;
  /** Without a frame for so long a camera has stalled, and its connection ends. */
  readonly stallTimeoutMs: number;
  /** Larger pictures, and faster streams, are refused. */
  readonly pixelsMax: number;
  readonly rateFpsMax: number;
  /** Parts of the upright picture that nobody is to see: they are black in all that is made of it. A reader without this gives none. */
  readonly masks: readonly Polygon[];
}

/** How decoded pictures are scaled before they cross to the server; null: not at all. `contain`: the longest fits, the aspect is kept; `stretch`: exactly this size. */
export type PictureScale = (Size & { readonly fit: 'contain' | 'stretch' }) | null;

/** Somebody watches the annotated channel. */
export interface AnnotatedWish {
  /** Neither side of its pictures is longer. */
  readonly sideMax: number;
  /** Pictures a second, at most. */
  readonly fpsMax: number;
  /** Those whose results are drawn: a frame that went to the engine waits for them, for a moment. */
  readonly pipelines: readonly PipelineName[];
}

export type ReaderOrder =
  | { readonly type: 'open'; readonly camera: number; readonly epoch: number; readonly input: CameraInput }
  | { readonly type: 'close'; readonly camera: number }
  /** Pictures a second that the server takes of this camera; the process decodes no more than that needs. Infinity: all. */
  | { readonly type: 'pictures'; readonly camera: number; readonly rateFps: number; readonly scale: PictureScale }
  /** Somebody watches the raw channel: fragments from the last key frame on, until nobody does. */
  | { readonly type: 'raw'; readonly camera: number; readonly isWanted: boolean }
  /** Somebody watches it encoded anew as H.264: all frames are decoded and encoded, until nobody does. */
  | { readonly type: 'transcoded'; readonly camera: number; readonly isWanted: boolean }
  /** Somebody watches it with what was found drawn on it, or nobody any more (null): likewise. */
  | { readonly type: 'annotated'; readonly camera: number; readonly wish: AnnotatedWish | null }
  /** What a pipeline says of one of its frames, while somebody watches that, or asks for such stills; null: there is no result. */
  | {
      readonly type: 'result';
      readonly camera: number;
      readonly epoch: number;
      readonly seq: number;
      readonly pipeline: PipelineName;
      readonly result: PipelineResult | null;
    }
  /** What decodes its frames from the next key frame on: a device of this kind; null: the software, as in the beginning. */
  | { readonly type: 'decoder'; readonly camera: number; readonly by: HardwareType | null }
  /**
   * A JPEG of the newest picture that is at hand, at most so wide. `drawn`: with what these pipelines have found drawn on it; null: as it is. Answered by a `still` over
   * the pipe, or by `still_failed`.
   */
  | {
      readonly type: 'still';
      readonly camera: number;
      readonly request: number;
      readonly widthMax: number;
      readonly drawn: readonly PipelineName[] | null;
    };

export { PICTURE_CONDITIONS, type PictureCondition } from '../../vision/picture-watch.ts';

export interface StreamFacts extends Size {
  /** FFmpeg's names: `rtsp`, `h264`. */
  readonly format: string;
  readonly codec: string;
  /** RFC 6381, such as `avc1.64001f`; null: this codec has no raw channel. */
  readonly codecString: string | null;
  readonly clock: CaptureClock;
}

/** Of one camera since it was opened. */
export interface ReaderCounts {
  readonly received: number;
  readonly receivedBytes: number;
  /** Frames that the decoder took; those that it refused as damaged, or that were lost on the way. */
  readonly decoded: number;
  readonly damaged: number;
  /** Pictures that went nowhere, since the masks could not be drawn into them. */
  readonly unmasked: number;
  /** Pictures handed to the pipe, and those that it had no room for. */
  readonly pictures: number;
  readonly picturesDropped: number;
  /** Fragments likewise: whole groups of pictures, so that what follows can be decoded. */
  readonly fragments: number;
  readonly fragmentsDropped: number;
  /** Frames that were encoded anew and handed to the pipe, and those that were not, though somebody watched: no time for them, no room, or damaged. */
  readonly transcoded: number;
  readonly transcodedDropped: number;
  /** The same of those on which results were drawn. */
  readonly annotated: number;
  readonly annotatedDropped: number;
  readonly decodeMs: number;
  readonly scaleMs: number;
  /** Encoding anew, and scaling for that. */
  readonly encodeMs: number;
}

export type ReaderNews =
  /** It is published to: it waits for that now, or somebody has come. */
  | { readonly type: 'publisher'; readonly camera: number; readonly isThere: boolean }
  /** The first frame is there, or the parameters of coding have changed (then with a new epoch that the process has taken). */
  | { readonly type: 'live'; readonly camera: number; readonly epoch: number; readonly facts: StreamFacts }
  /**
   * It sends nothing any more: `ended`, or why. Its number is free of work; it may be opened again. `dataBytes`: of all that the process has sent over the pipe before,
   * which may come later than this.
   */
  | {
      readonly type: 'ended';
      readonly camera: number;
      readonly code: ErrorCode | null;
      readonly reason: string;
      readonly dataBytes: number;
    }
  /** Its pictures come of another decoder: `software`, or a kind of device. `fault`: why the device that was to decode it does not any more, or cannot. */
  | { readonly type: 'decoder'; readonly camera: number; readonly by: string; readonly fault: string | null }
  | { readonly type: 'condition'; readonly camera: number; readonly condition: PictureCondition }
  /** It is not encoded anew any more, until that is asked for once more. */
  | { readonly type: 'transcode_failed'; readonly camera: number; readonly reason: string }
  | { readonly type: 'annotate_failed'; readonly camera: number; readonly reason: string }
  | {
      readonly type: 'still_failed';
      readonly camera: number;
      readonly request: number;
      readonly code: ErrorCode;
      readonly reason: string;
    }
  /** Once a second, of all cameras. */
  | { readonly type: 'counts'; readonly cameras: readonly (readonly [camera: number, counts: ReaderCounts])[] };

/** What all data of a frame has in common. */
export interface FrameData {
  readonly camera: number;
  readonly epoch: number;
  readonly seq: number;
  /** When its last byte had come: CLOCK_MONOTONIC, ms, as `process.hrtime` has it in every process. */
  readonly arrivedMs: number;
  /** The capture before that, ms, at least 0; 0 where the camera tells no time. */
  readonly capturedBeforeMs: number;
  readonly clock: CaptureClock;
}

export type ReaderData =
  /** Before the first fragment of an epoch. `bytes`: an MP4 initialisation segment. */
  | {
      readonly kind: 'init';
      readonly form: ChannelForm;
      readonly camera: number;
      readonly epoch: number;
      readonly codecString: string;
      readonly width: number;
      readonly height: number;
      readonly bytes: Uint8Array;
    }
  /** One frame as an MP4 fragment. Times are those of the medium, in seconds from the beginning of the epoch: presentation, and how long it is shown. */
  | (FrameData & {
      readonly kind: 'fragment';
      readonly form: ChannelForm;
      /** What is drawn on it; `none` in the other forms. */
      readonly boxes: DrawnBoxes;
      /** Its place in the order in which fragments of its epoch come, frames that were left out counted: `seq`, where they come as they were sent. */
      readonly order: number;
      readonly isKey: boolean;
      readonly mediaTimeS: number;
      readonly durationS: number;
      readonly bytes: Uint8Array;
    })
  /**
   * Packed RGB, scaled as ordered. `source`: size before that, upright, with square pixels. `keys`: one of so many key frames is taken, which come every `keyMs`; 0:
   * pictures come otherwise.
   */
  | (FrameData & {
      readonly kind: 'picture';
      readonly keys: number;
      readonly keyMs: number;
      readonly width: number;
      readonly height: number;
      readonly source: Size;
      readonly decodeMs: number;
      readonly bytes: Uint8Array;
    })
  /** A JPEG. `boxes`: what is drawn on it. */
  | (FrameData & {
      readonly kind: 'still';
      readonly request: number;
      readonly boxes: DrawnBoxes;
      readonly width: number;
      readonly height: number;
      readonly bytes: Uint8Array;
    });
