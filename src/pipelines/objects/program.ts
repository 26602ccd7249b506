import type { ResultContents } from '../../base/result.ts';
import type { ModelManifest } from '../../inference/manifest.ts';
import type { Program } from '../../inference/programs/program.ts';
import type { Thresholds } from '../../vision/detector.ts';

/** Overrides of the model's own thresholds, 0..1. */
export interface ObjectsSettings {
  readonly confidence?: number;
  readonly iou?: number;
}

/** One run of a detector. Its role: `detector`. */
export const program: Program<ObjectsSettings, undefined, ResultContents['objects']> = {
  name: 'objects',
  async run({ picture, settings, model }) {
    const detector = model('detector');
    const { detections, capped } = await detector.detect(picture, thresholdsOf(settings, detector.manifest));
    return { result: { detections }, capped };
  },
};

function thresholdsOf({ confidence, iou }: ObjectsSettings, { defaults }: ModelManifest): Thresholds {
  return {
    confidence: confidence ?? defaults.confidence,
    iou: iou ?? defaults.iou,
    // A given confidence applies to every class.
    ...(defaults.perClass && confidence === undefined && { perClass: defaults.perClass }),
  };
}
