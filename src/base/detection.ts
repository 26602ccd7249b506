/** A rectangle as fractions of the frame, from its top left corner; all four lie in 0..1. */
export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** One object that a detector found. */
export interface Detection {
  readonly label: string;
  /** Index in the model's label list. */
  readonly classId: number;
  /** Confidence, 0..1. */
  readonly score: number;
  readonly box: Box;
}

/** Times of one frame's stages in a worker, in milliseconds. */
export interface WorkerStagesMs {
  readonly decode: number;
  readonly preprocess: number;
  readonly inference: number;
  readonly postprocess: number;
}
