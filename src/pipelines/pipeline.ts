import type { z } from 'zod';
import type { PipelineName } from '../base/result.ts';
import type { Config } from '../config/schema.ts';
import type { ProgramCall } from '../inference/engine/types.ts';
import type { WireContents } from '../protocol/video.ts';
import type { PictureInput } from '../vision/types.ts';

/** Options that a source of frames may choose; a missing one has the server's default. */
export interface PipelineChoice {
  /** Id of a model. */
  readonly model?: string | undefined;
  /** Thresholds, 0..1. */
  readonly confidence?: number | undefined;
  readonly iou?: number | undefined;
}

/** Makes models ready; `ModelBook` fits. Errors: MODEL_*. */
export interface ModelSource {
  /** Returns the id of a detector; default: the default model's. */
  detector(requested?: string): Promise<string>;
  model(id: string): Promise<{ readonly id: string; readonly input?: PictureInput }>;
}

/** The work on each frame of a source. */
export interface PreparedPipeline extends Omit<ProgramCall, 'state'> {
  /** The id that clients see. */
  readonly model: string;
  /** How its model sees the picture, where it needs no more of it: a source may scale its pictures to that. Left out: it looks at parts of them. */
  readonly input?: Pick<PictureInput, 'width' | 'height' | 'fit'>;
}

/** One kind of work on frames: its name, its needs and its results. */
export interface Pipeline<P extends PipelineName = PipelineName> {
  readonly name: P;
  readonly title: string;
  /** A sentence for people. */
  readonly description: string;
  /** Options that a source may choose. */
  readonly choices: readonly (keyof PipelineChoice)[];
  /** Its program needs the state of frame n for frame n + 1. */
  readonly isOrdered: boolean;
  /** Fields that a result has beside the common ones. */
  readonly result: z.ZodType<WireContents[P]>;
  /** Ids of its models by their role in its program; the defaults of those that a source may choose. */
  models(config: Config): Readonly<Record<string, string>>;
  /** Makes its models ready. Errors: MODEL_*. */
  prepare(models: ModelSource, config: Config, choice: PipelineChoice): Promise<PreparedPipeline>;
}
