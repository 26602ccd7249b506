import { z } from 'zod';
import type { Pipeline } from '../pipeline.ts';
import { objectsCall } from './call.ts';

const fraction = z.number().min(0).max(1);

export const objects: Pipeline<'objects'> = {
  name: 'objects',
  title: 'Objects',
  description: 'Objects with their boxes, by a detector of your choice.',
  choices: ['model', 'confidence', 'iou'],
  isOrdered: false,
  result: z.object({
    detections: z
      .array(
        z.object({
          label: z.string(),
          class_id: z.int().min(0).describe('index in the model’s label list'),
          score: fraction,
          box: z
            .object({ x: fraction, y: fraction, width: fraction, height: fraction })
            .describe('fractions of the picture, from its top left corner'),
        }),
      )
      .describe('best first'),
  }),
  models: ({ detection }) => ({ detector: detection.model }),
  async prepare(models, { detection }, choice) {
    const model = await models.detector(choice.model);
    const confidence = choice.confidence ?? detection.confidence_threshold;
    const iou = choice.iou ?? detection.iou_threshold;
    const thresholds = { ...(confidence !== undefined && { confidence }), ...(iou !== undefined && { iou }) };
    const { input } = await models.model(model);
    return { ...objectsCall(model, thresholds), model, ...(input && { input }) };
  },
};
