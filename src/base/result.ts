import type { Detection } from './detection.ts';
import type { Hand } from './hand.ts';

/** The contents of each pipeline's result. A new pipeline adds a line here. */
export interface ResultContents {
  objects: { readonly detections: readonly Detection[] };
  hands: { readonly hands: readonly Hand[] };
}

export type PipelineName = keyof ResultContents;

const NAMES: Readonly<Record<PipelineName, true>> = { objects: true, hands: true };
export const PIPELINE_NAMES = Object.keys(NAMES) as readonly PipelineName[];

/** A pipeline's result for one frame: its contents, beside its name. */
export type PipelineResult = { [P in PipelineName]: { readonly pipeline: P } & ResultContents[P] }[PipelineName];
