import { HAND_MIDDLE_KNUCKLE, HAND_WRIST, type Hand, type HandPoint } from '../../base/hand.ts';
import type { Size } from '../../base/picture.ts';
import type { RegionReading } from './landmarks.ts';
import type { Point } from '../placement.ts';
import { PALM_KEYPOINTS, type Palm } from './palm.ts';
import { type HandRegion, isInPicture, landmarkRegion, palmRegion } from './region.ts';
import { type HandFilterState, smoothHand } from './smooth.ts';

/**
 * Hands from one picture to the next: a hand is searched for where it was, and the palm detector rests. The scheme is that of
 * MediaPipe's `hand_landmark_tracking_cpu.pbtxt`, after F. Zhang et al., "MediaPipe Hands: On-device Real-time Hand Tracking" (2020).
 * Two things differ. MediaPipe looks for palms in every picture in which it follows fewer hands than it may. And it takes two for one
 * where their upright regions overlap by half, which those of hands that touch do; here the points themselves are compared.
 */

/** A palm whose wrist and middle knuckle are less than this from those of a followed hand is that hand, in sides of its region. */
const SAME_PALM_DISTANCE = 0.15;
/** Two sets of landmarks are one hand where they are less than this apart, in sides of its region. */
const SAME_HAND_DISTANCE = 0.1;

/** Pictures from one search for palms to the next while a hand is followed and there could be more: a search in 8 % of them. */
export const SEARCH_GAP_MAX = 12;

/** A state that is older says where hands were, not where they are, ms. */
export const STATE_AGE_MAX_MS = 1000;

/** The state of the hands of a picture for the next one of the same source. Plain data; never changed. */
export interface HandsState {
  /** When the picture was taken, Unix milliseconds. */
  readonly timeMs: number;
  readonly hands: readonly FollowedHand[];
  /** The next search comes with the so manieth picture from here, if there is room for a hand then. */
  readonly searchIn: number;
  /** The wait before that search, pictures. */
  readonly searchGap: number;
}

export interface FollowedHand {
  /** As the model said them, without smoothing: they say where to look next. */
  readonly landmarks: readonly HandPoint[];
  /** Absent where hands are not smoothed. */
  readonly filter?: HandFilterState;
}

/** A place at which there may be a hand. */
export interface HandCandidate {
  readonly region: HandRegion;
  /** The hand that was there in the picture before; absent for a palm that was found just now. */
  readonly before?: FollowedHand;
}

/** The state, unless it is too old, or of a later time, to say anything of a picture of `timeMs`. */
export function stateFor(state: HandsState | undefined, timeMs: number): HandsState | undefined {
  const ageMs = state ? timeMs - state.timeMs : Infinity;
  return ageMs >= 0 && ageMs <= STATE_AGE_MAX_MS ? state : undefined;
}

/** Whether palms are to be looked for in the next picture: at once where no hand is followed. */
export function isSearchDue(state: HandsState | undefined, handsMax: number): boolean {
  if (!state || state.hands.length === 0) return true;
  return state.hands.length < handsMax && state.searchIn <= 1;
}

/**
 * Where to look for hands: at those that are followed, then at palms that are none of them, the best first, up to `handsMax` in all.
 * `capped`: palms for which there was no room.
 */
export function handCandidates(
  state: HandsState | undefined,
  palms: readonly Palm[],
  picture: Size,
  handsMax: number,
): { readonly candidates: HandCandidate[]; readonly capped: number } {
  const followed = (state?.hands ?? []).map((before) => ({
    before,
    region: landmarkRegion(before.landmarks, picture),
  }));
  const candidates: HandCandidate[] = followed.filter(({ region }) => isInPicture(region, picture)).slice(0, handsMax);
  let capped = 0;
  for (const palm of palms) {
    const region = palmRegion(palm, picture);
    if (!isInPicture(region, picture) || candidates.some((other) => isPalmOf(palm, other, picture))) continue;
    if (candidates.length < handsMax) candidates.push({ region });
    else capped++;
  }
  return { candidates, capped };
}

/** The landmark model's output for a candidate. */
export interface HandReading {
  readonly candidate: HandCandidate;
  readonly reading: RegionReading;
}

export interface FollowOptions {
  readonly picture: Size;
  /** When the picture was taken, Unix milliseconds. */
  readonly timeMs: number;
  /** Presence below which a region has no hand, 0..1. */
  readonly presenceMin: number;
  readonly isSmoothed: boolean;
  /** Palms were looked for in this picture. */
  readonly isSearched: boolean;
}

/** The hands of a picture, from the landmark model's output for the candidates, and their state for the next one. */
export function followHands(
  before: HandsState | undefined,
  readings: readonly HandReading[],
  { picture, timeMs, presenceMin, isSmoothed, isSearched }: FollowOptions,
): { readonly hands: Hand[]; readonly state: HandsState } {
  const hands: Hand[] = [];
  const followed: FollowedHand[] = [];
  let kept = 0;
  for (const { candidate, reading } of readings) {
    const last = candidate.before;
    if (!(reading.presence >= presenceMin)) continue;
    const { landmarks } = reading.hand;
    const region = landmarkRegion(landmarks, picture);
    // Two that were followed may come upon the same hand: the one that was there first keeps it. Hands that touch stay two.
    const isSame = followed.some(
      (other) => distance(other.landmarks, landmarks, picture) < SAME_HAND_DISTANCE * region.size,
    );
    if (!isInPicture(region, picture) || isSame) continue;
    const smooth = isSmoothed ? smoothHand(last?.filter, reading.hand, region.size, picture, timeMs) : undefined;
    hands.push(smooth?.hand ?? reading.hand);
    followed.push({ landmarks, ...(smooth && { filter: smooth.state }) });
    if (last) kept++;
  }
  const isLost = kept < (before?.hands.length ?? 0);
  const isFound = followed.length > kept;
  return { hands, state: { timeMs, hands: followed, ...nextSearch(before, { isLost, isFound, isSearched }) } };
}

/**
 * The search for a lost hand begins in the very next picture, and then becomes ever more seldom: a fast hand is out of its region, not gone.
 */
function nextSearch(
  before: HandsState | undefined,
  { isLost, isFound, isSearched }: { isLost: boolean; isFound: boolean; isSearched: boolean },
): Pick<HandsState, 'searchIn' | 'searchGap'> {
  if (isLost && !isFound) return { searchIn: 1, searchGap: 1 };
  const gap = before && !isFound ? Math.min(SEARCH_GAP_MAX, before.searchGap * 2) : SEARCH_GAP_MAX;
  if (isSearched || !before) return { searchIn: gap, searchGap: gap };
  return { searchIn: before.searchIn - 1, searchGap: before.searchGap };
}

/** By wrist and middle knuckle, which palms and hands both have. */
function isPalmOf(palm: Palm, { before, region }: HandCandidate, picture: Size): boolean {
  if (!before) return false;
  const { wrist, middleKnuckle } = PALM_KEYPOINTS;
  const ofPalm = [palm.keypoints[wrist]!, palm.keypoints[middleKnuckle]!];
  const ofHand = [before.landmarks[HAND_WRIST]!, before.landmarks[HAND_MIDDLE_KNUCKLE]!];
  return distance(ofPalm, ofHand, picture) < SAME_PALM_DISTANCE * region.size;
}

/** From each point to its counterpart, on average, pixels. */
function distance(a: readonly Point[], b: readonly Point[], { width, height }: Size): number {
  const apart = a.reduce((sum, { x, y }, i) => sum + Math.hypot((x - b[i]!.x) * width, (y - b[i]!.y) * height), 0);
  return apart / a.length;
}
