import { extname } from 'node:path';

/** The program lies beside this file and has its ending: `.ts` in the clone, `.js` in the package. */
export const HANDS_PROGRAM = new URL(`./program${extname(import.meta.url)}`, import.meta.url);

/** Models of the program's roles by `hands.model_complexity`. */
export const HAND_MODELS = [
  { palm: 'palm-lite', landmarks: 'hand-lite' },
  { palm: 'palm-full', landmarks: 'hand-full' },
] as const;
