import type { Detection } from './detection.ts';

/** A point as fractions of the upright picture; it may lie outside. */
export interface Landmark {
  readonly x: number;
  readonly y: number;
  /** Depth in the scale of `x`; smaller is nearer to the camera. */
  readonly z: number;
}

/** A point in metres, from the hand's geometric centre. */
export interface WorldPoint {
  readonly x: number;
  readonly y: number;
  readonly z: number;
}

export interface Hand {
  /** Of the person in the picture. */
  readonly handedness: 'left' | 'right';
  /** Of the handedness, 0..1. */
  readonly score: number;
  /** 21, in MediaPipe's order. */
  readonly landmarks: readonly Landmark[];
  /** 21, in the same order. */
  readonly world: readonly WorldPoint[];
}

/** What each pipeline says of a frame. A new pipeline adds a line here. */
export interface ResultContents {
  objects: { readonly detections: readonly Detection[] };
  hands: { readonly hands: readonly Hand[] };
}

export type PipelineName = keyof ResultContents;

/** What a pipeline found in one frame: its contents, beside its name. */
export type PipelineResult = { [P in PipelineName]: { readonly pipeline: P } & ResultContents[P] }[PipelineName];
