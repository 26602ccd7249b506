import type { RtpFrame } from './rtp.ts';

/**
 * Stills, viewers that come, and cameras of which key frames alone are decoded need one now and then. An encoder of WebRTC makes one only when it is asked, and whoever has lost a frame cannot
 * decode before the next.
 */
const KEY_INTERVAL_MS = 2_000;
/** Until what was asked for has had the time to come. */
const AGAIN_MS = 500;

/** When a publisher is to be asked for a key frame. Pure. */
export class KeyWish {
  #keyMs = -Infinity;
  #askedMs = -Infinity;

  /** A frame has come. */
  see({ isKey, lost }: Pick<RtpFrame, 'isKey' | 'lost'>, nowMs: number): void {
    if (isKey) this.#keyMs = nowMs;
    else if (lost > 0) this.#keyMs = -Infinity;
  }

  /** To be called whenever something has come; true: it is asked for one now. */
  isDue(nowMs: number): boolean {
    if (nowMs - this.#keyMs < KEY_INTERVAL_MS || nowMs - this.#askedMs < AGAIN_MS) return false;
    this.#askedMs = nowMs;
    return true;
  }
}
