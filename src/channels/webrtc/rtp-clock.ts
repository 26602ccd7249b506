import { randomInt } from 'node:crypto';

/** Stamps of RTP for the frames that one viewer gets (RFC 3550, 5.1). */

const TICKS_PER_MS = 90;
const TICKS_PER_S = 90_000;
const ROUND = 2 ** 32;
/**
 * Whoever comes late gets the frames since the newest key frame at once. By their own times they would be seconds apart, and a player would show them so, and stay behind. So
 * those that are not the newest are a millisecond apart, right before the newest one.
 */
const CATCH_UP_S = 0.001;

interface TimedFrame {
  readonly epoch: number;
  readonly mediaTimeS: number;
}

/** A frame and how many came behind it before the viewer came. */
export interface Place {
  readonly newest: TimedFrame;
  readonly behind: number;
}

/** The time of the medium at which a frame is shown to a viewer that came late. */
export function catchUpTimeS({ epoch, mediaTimeS }: TimedFrame, { newest, behind }: Place): number {
  // Never before its own time: frames are farther apart than that.
  return epoch === newest.epoch ? Math.max(mediaTimeS, newest.mediaTimeS - behind * CATCH_UP_S) : mediaTimeS;
}

/** Stamps rise from frame to frame, also from an epoch to the next, whose times begin anew. */
export class RtpClock {
  readonly #base: number;
  #origin: (TimedFrame & { readonly ticks: number }) | undefined;
  #last = 0;
  #lastMs = 0;

  /** `base`: where they begin, by chance (5.1). */
  constructor(base = randomInt(ROUND)) {
    this.#base = base;
  }

  /** Of the next frame; `atMs`: when it came, for what is between two epochs. */
  stampOf({ epoch, mediaTimeS }: TimedFrame, atMs: number): number {
    if (this.#origin?.epoch !== epoch) {
      const sinceTicks = this.#origin === undefined ? 0 : Math.round((atMs - this.#lastMs) * TICKS_PER_MS);
      this.#origin = { epoch, mediaTimeS, ticks: this.#last + Math.max(1, sinceTicks) };
    }
    const { mediaTimeS: fromS, ticks } = this.#origin;
    const own = ticks + Math.round((mediaTimeS - fromS) * TICKS_PER_S);
    this.#last = Math.max(own, this.#last + 1);
    this.#lastMs = atMs;
    return (this.#base + this.#last) % ROUND;
  }
}
