import { extname } from 'node:path';
import type { ResultContents } from '../../base/result.ts';
import type { Config } from '../../config/schema.ts';
import type { ProgramCall, ProgramOutcome } from '../../inference/engine/types.ts';
import type { HandsSettings } from './program.ts';

/** The program lies beside this file and has its ending: `.ts` in the clone, `.js` in the package. */
export const HANDS_PROGRAM = new URL(`./program${extname(import.meta.url)}`, import.meta.url);

/** Models of the program's roles by `hands.model_complexity`. */
export const HAND_MODELS = [
  { palm: 'palm-lite', landmarks: 'hand-lite' },
  { palm: 'palm-full', landmarks: 'hand-full' },
] as const;

export type HandModels = (typeof HAND_MODELS)[number];

export function handsSettings(config: Omit<Config['hands'], 'model_complexity'>): HandsSettings {
  return {
    detectionConfidence: config.min_detection_confidence,
    trackingConfidence: config.min_tracking_confidence,
    maxHands: config.max_hands,
    smoothing: config.smoothing,
  };
}

/** The call that has the program process a frame. `state`: its output for the previous frame of the same source. */
export function handsCall(models: HandModels, settings: HandsSettings, state?: unknown): ProgramCall {
  return { program: HANDS_PROGRAM, models, settings, state };
}

export function handsOf({ result }: ProgramOutcome): ResultContents['hands'] {
  return result as ResultContents['hands'];
}
