/**
 * Which frames of a camera are decoded: no more than the pictures that the server takes need. What was seen of the camera decides: how often frames and key
 * frames come, and whether frames that no other depends on are among them. Pure.
 */

/** Without anybody asking: for the watch of the picture. */
export const WATCH_INTERVAL_MS = 4_000;

export interface SeenFrame {
  /** Decoding can begin at it. */
  readonly isKey: boolean;
  /** Others may depend on it. */
  readonly isReference: boolean;
  /** When it came. */
  readonly atMs: number;
  /** When it is shown, by the time of the medium: pictures leave the decoder in this order. */
  readonly shownMs: number;
}

/** `single`: this key frame alone, without what follows. `next`: in its turn. */
export type Decoding = 'skip' | 'single' | 'next';

/** `keys`: single key frames. `references`: all but those that no other depends on. */
export type DecodeMode = 'keys' | 'references' | 'all';

/** Until key frames have shown how often they come. */
const KEY_INTERVAL_MS = 1_000;
/** Key frames that come a little too seldom are still enough. */
const ENOUGH = 1.25;
/** Single key frames in a row that gave no picture, after which they are left: the camera refreshes its pictures bit by bit. */
const USELESS_MAX = 2;
/** Weight of the newest one in a mean: of intervals, and of what kind of frame it is, which alternates. */
const NEWEST_INTERVAL = 0.1;
const NEWEST_KIND = 0.02;
/** Of frames without those that no other depends on: a little fewer than asked for are still enough. */
const NEARLY = 1.1;
const KEY_INTERVALS_KEPT = 3;
/** A time that falls by more has begun anew. */
const ANEW_MS = 1_000;

/** How often frames come. */
export class Rhythm {
  #lastMs: number | undefined;
  #lastKeyMs: number | undefined;
  #frameMs: number | undefined;
  #keyIntervals: number[] = [];
  #referenceShare = 1;

  see({ isKey, isReference, atMs }: Omit<SeenFrame, 'shownMs'>): void {
    if (this.#lastMs !== undefined) {
      const interval = Math.max(0, atMs - this.#lastMs);
      this.#frameMs = this.#frameMs === undefined ? interval : mean(this.#frameMs, interval, NEWEST_INTERVAL);
    }
    this.#lastMs = atMs;
    this.#referenceShare = mean(this.#referenceShare, isReference ? 1 : 0, NEWEST_KIND);
    if (!isKey) return;
    if (this.#lastKeyMs !== undefined) {
      this.#keyIntervals = [...this.#keyIntervals, atMs - this.#lastKeyMs].slice(-KEY_INTERVALS_KEPT);
    }
    this.#lastKeyMs = atMs;
  }

  /** 0: not known yet. */
  get frameMs(): number {
    return this.#frameMs ?? 0;
  }

  /** Between key frames: the longest of the last few, and the time since the last one if that is longer. */
  get keyMs(): number {
    const longest = this.#keyIntervals.length > 0 ? Math.max(...this.#keyIntervals) : KEY_INTERVAL_MS;
    const now = this.#lastMs ?? 0;
    return Math.max(longest, now - (this.#lastKeyMs ?? now));
  }

  /** Of all frames. */
  get referenceShare(): number {
    return this.#referenceShare;
  }
}

/** `areKeysUseless`: key frames alone give no picture. */
export function decodeMode(rateFps: number, rhythm: Rhythm, areKeysUseless: boolean): DecodeMode {
  if (rateFps <= 0) return 'keys';
  const neededMs = 1000 / rateFps;
  if (!areKeysUseless && rhythm.keyMs <= neededMs * ENOUGH && (rhythm.frameMs > 0 || neededMs >= KEY_INTERVAL_MS)) {
    return 'keys';
  }
  const referenceMs = rhythm.frameMs / rhythm.referenceShare;
  return rhythm.referenceShare < 0.95 && rhythm.frameMs > 0 && referenceMs <= neededMs * NEARLY ? 'references' : 'all';
}

/** Pictures that come so seldom are those of every so many key frames, as long as that makes no difference to how many there are. */
const STRIDES_MS = { min: 500, max: 3_900 } as const;
const STRIDE_SLACK = 0.1;

/**
 * Of how many key frames one is taken, so that pictures come so seldom; 0: it is not a matter of key frames. A fixed number, so that a camera keeps its place among others
 * that have theirs; it is looked at in the longest time of `STRIDES_MS` where its key frames allow it.
 */
export function keyStride(intervalMs: number, keyMs: number): number {
  const { min, max } = STRIDES_MS;
  if (intervalMs <= min || intervalMs > max) return 0;
  const stride = Math.min(Math.ceil(intervalMs / keyMs - STRIDE_SLACK), Math.floor(max / keyMs));
  return Math.max(1, stride);
}

/** Lets things happen so many times a second at most, and keeps the mean rate where they come in jerks. */
export class Pace {
  #nextMs = -Infinity;
  #intervalMs = 0;

  /** Whether one may happen now, or `slackMs` later; and if the time has begun anew. */
  isDue(atMs: number, slackMs = 0): boolean {
    return atMs + slackMs >= this.#nextMs || atMs < this.#nextMs - 2 * this.#intervalMs - ANEW_MS;
  }

  /** How late one is that happens now; 0 for the first one. */
  lateMs(atMs: number): number {
    return this.#nextMs === -Infinity ? 0 : Math.max(0, atMs - this.#nextMs);
  }

  /** One happens. */
  take(atMs: number, intervalMs: number): void {
    // What was not used for long is not made up for.
    const isNear = Math.abs(atMs - this.#nextMs) < intervalMs;
    this.#nextMs = (isNear ? this.#nextMs : atMs) + intervalMs;
    this.#intervalMs = intervalMs;
  }

  reset(): void {
    this.#nextMs = -Infinity;
  }
}

export class DecodePlan {
  readonly rhythm = new Rhythm();
  readonly #pictures = new Pace();
  readonly #watch = new Pace();
  #rateFps = 0;
  #isAllWanted = false;
  /** All frames since a key frame were decoded that the next one may depend on. */
  #isUnbroken = false;
  #uselessKeys = 0;
  #turn = { keys: 0, keyMs: 0 };

  /** Pictures a second that are wanted; 0: none. */
  order(rateFps: number): void {
    if (rateFps === this.#rateFps) return;
    this.#rateFps = rateFps;
    this.#pictures.reset();
  }

  /** Every frame is decoded, however few pictures are wanted; or no more than these need. */
  wantAll(isAllWanted: boolean): void {
    this.#isAllWanted = isAllWanted;
  }

  get mode(): DecodeMode {
    if (this.#isAllWanted) return 'all';
    return decodeMode(this.#rateFps, this.rhythm, this.#uselessKeys >= USELESS_MAX);
  }

  /** What to do with a frame; each is shown to it once, in order. */
  see(frame: SeenFrame): Decoding {
    this.rhythm.see(frame);
    const { mode } = this;
    if (mode === 'keys') {
      this.#isUnbroken = false;
      return frame.isKey && this.#isKeyDue(frame) ? 'single' : 'skip';
    }
    if (frame.isKey) this.#isUnbroken = true;
    if (!this.#isUnbroken) return 'skip';
    return mode === 'references' && !frame.isReference ? 'skip' : 'next';
  }

  /** All frames since a key frame were decoded that the next one may depend on. */
  get isUnbroken(): boolean {
    return this.#isUnbroken;
  }

  /** Those that were not decoded in their turn are decoded after all, before the next one. */
  mend(): void {
    this.#isUnbroken = true;
  }

  /** Of how many key frames the last picture was the one that is taken, and the time from one of these to the next, ms; `keys` 0: it was not taken so. */
  get turn(): { readonly keys: number; readonly keyMs: number } {
    return this.#turn;
  }

  /** Frames are missing, or were not decoded after all: what follows cannot be, up to the next key frame. */
  break(): void {
    this.#isUnbroken = false;
  }

  /** What came of a single key frame. */
  noteSingle(gavePicture: boolean): void {
    this.#uselessKeys = gavePicture ? 0 : this.#uselessKeys + 1;
  }

  /** The time of the medium begins anew. */
  restart(): void {
    this.#isUnbroken = false;
    this.#pictures.reset();
  }

  /** Whether a decoded picture, of a frame that is shown at this time, is one of those that are wanted; then it counts as taken. */
  takesPicture(shownMs: number): boolean {
    if (!this.#isPictureDue(shownMs)) return false;
    const intervalMs = 1000 / this.#rateFps;
    const { keyMs } = this.rhythm;
    const keys = this.mode === 'keys' ? keyStride(intervalMs, keyMs) : 0;
    // Counted from this very key frame.
    if (keys > 0) this.#pictures.reset();
    this.#pictures.take(shownMs, keys > 0 ? keys * keyMs : intervalMs);
    this.#turn = { keys, keyMs };
    return true;
  }

  #isKeyDue({ atMs, shownMs }: SeenFrame): boolean {
    const isDue = this.#isPictureDue(shownMs) || this.#watch.isDue(atMs, this.rhythm.keyMs / 2);
    if (isDue) this.#watch.take(atMs, WATCH_INTERVAL_MS);
    return isDue;
  }

  /** A frame is taken that is nearer to its time than the next one will be. */
  #isPictureDue(shownMs: number): boolean {
    if (this.#rateFps <= 0) return false;
    const slackMs = (this.mode === 'keys' ? this.rhythm.keyMs : this.rhythm.frameMs) / 2;
    return this.#rateFps === Infinity || this.#pictures.isDue(shownMs, slackMs);
  }
}

function mean(old: number, newest: number, weight: number): number {
  return old + weight * (newest - old);
}
