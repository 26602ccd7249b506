import type { CameraFragment } from './camera-session.ts';

/** A frame and its place on the player's timeline. */
export interface PlacedFrame {
  readonly fragment: CameraFragment;
  /** Presentation, seconds. */
  readonly startS: number;
  readonly endS: number;
}

/** Frames that are remembered; of more the oldest are forgotten. */
const FRAMES_MAX = 2_000;
/** Beyond so many durations after the frame before, a browser takes the frame for one behind a gap (Media Source Extensions, 3.5.8: two), and shows nothing up to the next key frame. */
const LATE_DURATIONS = 1.5;
/** What a browser says of times is rounded, to microseconds at best. */
const TOLERANCE_S = 0.002;
const DURATION_S_MIN = 0.001;

/**
 * Puts frames one after the other on the timeline of a player, whatever their epochs, gaps and clocks, and finds the frame of a moment again. Where a
 * frame would not follow the one before, all that comes from there on is moved, so that the timeline has no holes. Pure.
 */
export class FrameTimeline {
  /** In the order of presentation. */
  #frames: PlacedFrame[] = [];
  #offsetS = 0;
  #epoch: number | undefined;
  /** Decoding of the last frame, and how long that one is shown. */
  #lastS = 0;
  #lastDurationS = 0;

  /** How long the last frame is shown. */
  get lastDurationS(): number {
    return this.#lastDurationS;
  }

  /** End of the last frame. */
  get endS(): number {
    return this.#frames.at(-1)?.endS ?? 0;
  }

  get size(): number {
    return this.#frames.length;
  }

  /** What is to be added to a frame's times when it comes next. `decodeS`: by the frame's own clock, as its fragment has it. */
  offsetFor({ frame, isKey, mediaTimeS }: CameraFragment, decodeS: number): number {
    const laterS = decodeS + this.#offsetS - this.#lastS;
    const isSame = frame.epoch === this.#epoch && laterS > 0;
    if (isSame && laterS <= LATE_DURATIONS * this.#lastDurationS) return this.#offsetS;
    const followsS = this.#lastS + this.#lastDurationS - decodeS;
    // Behind all that is shown, which frames that were decoded before others that are shown earlier are not yet.
    return isKey ? Math.max(followsS, this.endS - mediaTimeS) : followsS;
  }

  place(fragment: CameraFragment, decodeS: number): PlacedFrame {
    const { frame, mediaTimeS } = fragment;
    const durationS = Math.max(DURATION_S_MIN, fragment.durationS);
    this.#offsetS = this.offsetFor(fragment, decodeS);
    this.#epoch = frame.epoch;
    this.#lastS = decodeS + this.#offsetS;
    this.#lastDurationS = durationS;
    const startS = mediaTimeS + this.#offsetS;
    const placed = { fragment, startS, endS: startS + durationS };
    // Frames come in the order of decoding, which differs by a few places at most.
    let place = this.#frames.length;
    while (place > 0 && this.#frames[place - 1]!.startS > startS) place--;
    this.#frames.splice(place, 0, placed);
    if (this.#frames.length > FRAMES_MAX) this.#frames.shift();
    return placed;
  }

  /** The frame that begins at this moment; undefined: none, it was forgotten, or there are two, and nobody knows which of them a browser shows. */
  at(timeS: number): PlacedFrame | undefined {
    const place = this.#placeOf(timeS + TOLERANCE_S);
    const [before, found] = [this.#frames[place - 1], this.#frames[place]];
    if (!found || timeS - found.startS > TOLERANCE_S) return undefined;
    return before && timeS - before.startS <= TOLERANCE_S ? undefined : found;
  }

  /** Beginning of the newest key frame up to a moment: before that nothing is needed to go on from there. */
  keyBefore(timeS: number): number | undefined {
    for (let place = this.#placeOf(timeS); place >= 0; place--) {
      if (this.#frames[place]!.fragment.isKey) return this.#frames[place]!.startS;
    }
    return undefined;
  }

  /** Forgets frames that have ended by then. */
  forgetBefore(timeS: number): void {
    const kept = this.#frames.findIndex(({ endS }) => endS > timeS);
    this.#frames.splice(0, kept < 0 ? this.#frames.length : kept);
  }

  /** The last frame that begins by then; -1: none. */
  #placeOf(timeS: number): number {
    let [low, high] = [0, this.#frames.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#frames[middle]!.startS <= timeS) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}
