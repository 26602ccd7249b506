import type { Picture } from '../../src/base/picture.ts';
import type { Detection } from '../../src/base/detection.ts';
import type { Engine, InferenceJob, ProgramOutcome } from '../../src/inference/engine/types.ts';
import { readJpegHeader } from '../../src/media/jpeg.ts';
import { uprightSize } from '../../src/media/orient.ts';
import { objectsCall, objectsOf } from '../../src/pipelines/objects/call.ts';
import type { ObjectsSettings } from '../../src/pipelines/objects/program.ts';

/** The objects program on an engine, for tests that have a picture and want what is in it. */
export async function findObjects(
  engine: Engine,
  modelId: string,
  picture: Picture,
  { confidence, iou, ...job }: ObjectsSettings & Partial<InferenceJob> = {},
): Promise<ProgramOutcome & { readonly detections: readonly Detection[] }> {
  const settings = { ...(confidence !== undefined && { confidence }), ...(iou !== undefined && { iou }) };
  const [outcome] = engine.run({ picture, programs: [objectsCall(modelId, settings)], ...job });
  const done = await outcome!;
  return { ...done, ...objectsOf(done) };
}

/** Its size is what the header says; 1 × 1 where there is no sound header. */
export function jpegPicture(bytes: Uint8Array): Picture {
  try {
    const header = readJpegHeader(bytes);
    return { kind: 'jpeg', bytes, ...uprightSize(header, header.orientation) };
  } catch {
    return { kind: 'jpeg', bytes, width: 1, height: 1 };
  }
}

export function rgbPicture(bytes: Uint8Array, width: number, height: number): Picture & { readonly kind: 'rgb' } {
  return { kind: 'rgb', bytes, width, height, source: { width, height } };
}
