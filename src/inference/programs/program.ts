import type { Size } from '../../base/picture.ts';
import type { Detected, Thresholds } from '../../vision/detector.ts';
import type { Placement, Region } from '../../vision/placement.ts';
import type { RgbxPicture } from '../../vision/preprocess.ts';
import type { FloatTensor } from '../../vision/types.ts';
import type { ModelManifest } from '../manifest.ts';

/**
 * The work of a worker thread on one decoded picture, to completion. A module exports its program as `program`; the engine is given the
 * module's URL, which each worker imports once. A program keeps nothing between frames, so that any worker takes any frame: its
 * state comes in with the job and goes back with the result. Settings, state and result must be what `structuredClone` takes.
 *
 * Programs of several frames share runs of a model: one program runs at a time, and a run begins when each of them waits for one or is
 * done. A program that waits for something else (a timer, a file) holds up the worker.
 */
export interface Program<Settings = unknown, State = unknown, Result = unknown> {
  /** Its name in figures and messages. */
  readonly name: string;
  run(call: ProgramCallContext<Settings, State>): Promise<Finished<State, Result>>;
}

export interface Finished<State = unknown, Result = unknown> {
  readonly result: Result;
  /** For the next frame of this source. */
  readonly state?: State;
  /** Things that were left out because the frame had reached its limit. */
  readonly capped?: number;
}

export interface ProgramCallContext<Settings = unknown, State = unknown> {
  /** Decoded, upright; all programs of the frame read the same one, and its memory serves others when the frame is done. */
  readonly picture: RgbxPicture;
  /** Size of the picture that this one was scaled from, pixels; its own size where it was not scaled. */
  readonly source: Size;
  /** Unix milliseconds. */
  readonly captureTimeMs: number;
  readonly settings: Settings;
  /** State that the program returned with an earlier frame of this source, if it was kept. */
  readonly state: State | undefined;
  /** The model that the job names for this role. Errors: MODEL_UNKNOWN. */
  model(role: string): ModelHandle;
}

export interface Inferred {
  /** By name, of this picture alone. The memory is the model's own: valid until the program waits for something else. */
  readonly tensors: Readonly<Record<string, FloatTensor>>;
  /** Maps points of the input to points of the picture: `toPicture`. */
  readonly placement: Placement;
}

/** A loaded model, for one program on one frame. */
export interface ModelHandle {
  readonly manifest: ModelManifest;
  /**
   * Scales the picture, or the region of it, into the model's input and runs the model. Errors: INFERENCE_FAILED, also once the
   * program is done.
   */
  infer(picture: RgbxPicture, region?: Region): Promise<Inferred>;
  /** As `infer`, and decodes the model's objects. Errors: also MODEL_UNSUPPORTED where it has no detector head. */
  detect(picture: RgbxPicture, thresholds: Thresholds): Promise<Detected>;
}
