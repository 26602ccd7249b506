import { z } from 'zod';
import { SightlineError } from '../base/errors.ts';
import type { PipelineName } from '../base/result.ts';
import type { Config } from '../config/schema.ts';
import { hands } from './hands/pipeline.ts';
import { objects } from './objects/pipeline.ts';
import type { Pipeline } from './pipeline.ts';

/** Every pipeline that there is. A new one adds its folder and a line here. */
export const PIPELINES: { readonly [P in PipelineName]: Pipeline<P> } = { objects, hands };

/** Throws PIPELINE_UNKNOWN. */
export function pipelineOf(name: string): Pipeline {
  const known = Object.keys(PIPELINES);
  if (known.includes(name)) return PIPELINES[name as PipelineName] as Pipeline;
  throw new SightlineError(
    'PIPELINE_UNKNOWN',
    `there is no pipeline "${name.slice(0, 80)}"; there are ${known.join(', ')}`,
  );
}

/** Description of every pipeline, for clients that choose one. */
export function pipelineReports(config: Config) {
  return Object.values(PIPELINES as Readonly<Record<string, Pipeline>>).map((pipeline) => {
    const { name, title, description, choices, result } = pipeline;
    const { $schema: _, ...schema } = z.toJSONSchema(result);
    return { name, title, description, models: pipeline.models(config), choices: [...choices], result: schema };
  });
}
