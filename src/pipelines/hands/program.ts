import { SightlineError } from '../../base/errors.ts';
import type { ResultContents } from '../../base/result.ts';
import type { ModelManifest } from '../../inference/manifest.ts';
import type { ModelHandle, Program } from '../../inference/programs/program.ts';
import {
  followHands,
  handCandidates,
  type HandReading,
  type HandsState,
  isSearchDue,
  stateFor,
} from '../../vision/hands/follow.ts';
import { readRegion } from '../../vision/hands/landmarks.ts';
import { type Palm, PalmDetector } from '../../vision/hands/palm.ts';
import { cropOf } from '../../vision/hands/region.ts';
import type { Region } from '../../vision/placement.ts';
import type { RgbxPicture } from '../../vision/preprocess.ts';

export interface HandsSettings {
  /** Least score of a palm, 0..1. */
  readonly detectionConfidence: number;
  /** Least presence of a hand, 0..1. */
  readonly trackingConfidence: number;
  /** Most hands in one picture. */
  readonly maxHands: number;
  /** Whether the One Euro filter smooths the landmarks. */
  readonly smoothing: boolean;
}

/**
 * Hands and their 21 landmarks. Its roles: `palm`, which finds hands, in few pictures, and `landmarks`, which runs once for each hand
 * of a picture. Needs the state of the previous picture to follow a hand; without it the program searches for palms.
 */
export const program: Program<HandsSettings, HandsState, ResultContents['hands']> = {
  name: 'hands',
  async run({ picture, captureTimeMs: timeMs, settings, state, model }) {
    const { detectionConfidence, trackingConfidence, maxHands, smoothing } = settings;
    const before = stateFor(state, timeMs);
    const isSearched = isSearchDue(before, maxHands);
    const palms = isSearched ? await findPalms(model('palm'), picture, detectionConfidence) : [];
    const { candidates, capped } = handCandidates(before, palms, picture, maxHands);
    const landmarks = model('landmarks');
    const readings: HandReading[] = [];
    for (const candidate of candidates) {
      const { tensors, placement } = await landmarks.infer(picture, cropOf(candidate.region, picture));
      const reading = readRegion(tensors, placement, candidate.region, picture);
      readings.push({ candidate, reading });
    }
    const followed = followHands(before, readings, {
      picture,
      timeMs,
      presenceMin: trackingConfidence,
      isSmoothed: smoothing,
      isSearched,
    });
    return { result: { hands: followed.hands }, state: followed.state, capped };
  },
};

/**
 * The whole picture as a region: sampled bilinearly, as MediaPipe does. The palm detector, which was trained on such pictures, misses
 * palms in the smoother ones that averaging makes.
 */
const WHOLE: Region = { centreX: 0.5, centreY: 0.5, width: 1, height: 1 };

/** Anchors and scratch space, which depend on the model alone. */
const palmDetectors = new WeakMap<ModelManifest, PalmDetector>();

async function findPalms(palm: ModelHandle, picture: RgbxPicture, confidence: number): Promise<Palm[]> {
  const { manifest } = palm;
  const { head, input, defaults } = manifest;
  if (head.kind !== 'ssd') {
    throw new SightlineError('MODEL_UNSUPPORTED', `model ${manifest.id} finds no palms: its head is ${head.kind}`);
  }
  const detector = palmDetectors.get(manifest) ?? new PalmDetector({ head, input });
  palmDetectors.set(manifest, detector);
  const { tensors, placement } = await palm.infer(picture, WHOLE);
  return detector.detect(tensors, placement, { confidence, iou: defaults.iou });
}
