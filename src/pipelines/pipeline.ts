import type { z } from 'zod';
import type { PipelineName } from '../base/result.ts';
import type { Config } from '../config/schema.ts';
import type { ProgramCall } from '../inference/engine/types.ts';
import type { WireContents } from '../protocol/video.ts';

/** What a source of frames may choose; all of it is the server's where it is not given. */
export interface PipelineChoice {
  /** Id of a model. */
  readonly model?: string | undefined;
  /** Thresholds, 0..1. */
  readonly confidence?: number | undefined;
  readonly iou?: number | undefined;
}

/** What makes models ready; `ModelBook` fits. Errors: MODEL_*. */
export interface ModelSource {
  /** Gives the id of a detector; not given: of the default one. */
  detector(requested?: string): Promise<string>;
  model(id: string): Promise<{ readonly id: string }>;
}

/** What is to be done with each frame of a source. */
export interface PreparedPipeline extends Omit<ProgramCall, 'state'> {
  /** The id that clients are told. */
  readonly model: string;
}

/** One kind of work on frames: what it is called, what it needs, what it gives. */
export interface Pipeline<P extends PipelineName = PipelineName> {
  readonly name: P;
  readonly title: string;
  /** A sentence for people. */
  readonly description: string;
  /** What a source may choose of it. */
  readonly choices: readonly (keyof PipelineChoice)[];
  /** Its program needs the state of frame n for frame n + 1. */
  readonly isOrdered: boolean;
  /** What a result holds beside what all results hold. */
  readonly result: z.ZodType<WireContents[P]>;
  /** Ids of its models by the role that they have in its program; of those that a source may choose, the default. */
  models(config: Config): Readonly<Record<string, string>>;
  /** Makes its models ready. Errors: MODEL_*. */
  prepare(models: ModelSource, config: Config, choice: PipelineChoice): Promise<PreparedPipeline>;
}
