import type { Hand } from '../../base/hand.ts';
import { SightlineError } from '../../base/errors.ts';
import type { ModelManifest } from '../../inference/manifest.ts';
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
import type { HandRegion, PictureSize } from '../../vision/hands/region.ts';
import type { Placement } from '../../vision/placement.ts';
import type { RgbxPicture } from '../../vision/preprocess.ts';
import type { FloatTensor } from '../../vision/types.ts';

// The interface of the engine's programs, until the engine has it.
interface Region {
  readonly centreX: number;
  readonly centreY: number;
  readonly width: number;
  readonly height: number;
  readonly rotation?: number;
  readonly outside?: 'pad' | 'replicate';
}
interface ModelHandle {
  readonly manifest: ModelManifest;
  infer(
    picture: RgbxPicture,
    region?: Region,
  ): Promise<{ readonly tensors: Readonly<Record<string, FloatTensor>>; readonly placement: Placement }>;
}
interface ProgramCallContext<Settings, State> {
  readonly picture: RgbxPicture;
  readonly captureTimeMs: number;
  readonly settings: Settings;
  readonly state: State | undefined;
  model(role: string): ModelHandle;
}
interface Program<Settings, State, Result> {
  readonly name: string;
  run(
    call: ProgramCallContext<Settings, State>,
  ): Promise<{ readonly result: Result; readonly state?: State; readonly capped?: number }>;
}

export interface HandsSettings {
  /** Score from which a palm counts, 0..1. */
  readonly detectionConfidence: number;
  /** Presence from which a hand counts, 0..1. */
  readonly trackingConfidence: number;
  /** Most hands in one picture. */
  readonly maxHands: number;
  /** Whether landmarks go through the One Euro filter. */
  readonly smoothing: boolean;
}

/**
 * Hands and their 21 landmarks. Its roles: `palm`, which finds hands, in few pictures, and `landmarks`, which is run once for each hand
 * of a picture. Needs the state of the picture before to follow a hand; without it palms are looked for anew.
 */
export const program: Program<HandsSettings, HandsState, { readonly hands: readonly Hand[] }> = {
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
      const { tensors } = await landmarks.infer(picture, cropOf(candidate.region, picture));
      const reading = readRegion(tensors, landmarks.manifest.input.width, candidate.region, picture);
      readings.push({ ...candidate, reading });
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

/** The region in the terms of a crop; at the picture's border the landmark model gets the border's pixels on, as in MediaPipe. */
function cropOf({ x, y, size, rotation }: HandRegion, { width, height }: PictureSize): Region {
  return {
    centreX: x / width,
    centreY: y / height,
    width: size / width,
    height: size / height,
    rotation,
    outside: 'replicate',
  };
}
