import { extname } from 'node:path';
import type { ResultContents } from '../../base/result.ts';
import type { ProgramCall, ProgramOutcome } from '../../inference/engine/types.ts';
import type { ObjectsSettings } from './program.ts';

/** The program lies beside this file and has its ending: `.ts` in the clone, `.js` in the package. */
export const OBJECTS_PROGRAM = new URL(`./program${extname(import.meta.url)}`, import.meta.url);

/** The call that has a detector process a frame. */
export function objectsCall(modelId: string, { confidence, iou }: ObjectsSettings = {}): ProgramCall {
  const settings: ObjectsSettings = {
    ...(confidence !== undefined && { confidence }),
    ...(iou !== undefined && { iou }),
  };
  return { program: OBJECTS_PROGRAM, models: { detector: modelId }, settings };
}

export function objectsOf({ result }: ProgramOutcome): ResultContents['objects'] {
  return result as ResultContents['objects'];
}
