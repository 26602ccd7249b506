import { z } from 'zod';
import { HAND_LANDMARKS } from '../../base/hand.ts';
import type { Config } from '../../config/schema.ts';
import type { Pipeline } from '../pipeline.ts';
import { HAND_MODELS, HANDS_PROGRAM, handsSettings, type HandModels } from './call.ts';

const point = z.object({ x: z.number(), y: z.number(), z: z.number() });

export const hands: Pipeline<'hands'> = {
  name: 'hands',
  title: 'Hands',
  description: 'Hands with 21 landmarks each, in the picture and in metres, followed from frame to frame.',
  choices: [],
  isOrdered: true,
  result: z.object({
    hands: z.array(
      z.object({
        handedness: z.enum(['left', 'right']).describe('of the person in the picture'),
        score: z.number().min(0).max(1).describe('of the handedness'),
        landmarks: z
          .array(point)
          .length(HAND_LANDMARKS)
          .describe('`x` and `y` are fractions of the picture, and may lie outside; `z` is in the scale of `x`'),
        world: z.array(point).length(HAND_LANDMARKS).describe('metres, from the hand’s geometric centre'),
      }),
    ),
  }),
  models: modelsOf,
  async prepare(models, config) {
    const byRole = modelsOf(config);
    await Promise.all(Object.values(byRole).map((id) => models.model(id)));
    return { program: HANDS_PROGRAM, models: byRole, settings: handsSettings(config.hands), model: byRole.landmarks };
  },
};

function modelsOf({ hands: { model_complexity } }: Config): HandModels {
  return HAND_MODELS[model_complexity === 0 ? 0 : 1];
}
