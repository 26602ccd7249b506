import type { Detection } from './detection.ts';
import type { Hand } from './hand.ts';

/** The contents of each pipeline's result. A new pipeline adds a line here. */
export interface ResultContents {
  objects: { readonly detections: readonly Detection[] };
  hands: { readonly hands: readonly Hand[] };
}

export type PipelineName = keyof ResultContents;

/** Their names: all that the type has, and no others. */
export const PIPELINES = { objects: 'objects', hands: 'hands' } as const satisfies { [Name in PipelineName]: Name };
export const PIPELINE_NAMES: readonly PipelineName[] = Object.values(PIPELINES);

/** A pipeline's result for one frame: its contents, beside its name. */
export type PipelineResult = { [P in PipelineName]: { readonly pipeline: P } & ResultContents[P] }[PipelineName];
