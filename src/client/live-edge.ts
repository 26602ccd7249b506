/** Behind the newest frame's end a player stays by the length of that frame and by this, and by more where it had to wait, seconds. */
const MARGIN_S = 0.06;
const MARGIN_S_MAX = 0.3;
const MARGIN_STEP_S = 0.04;
/** So much of what was added goes again, in each second without waiting. */
const MARGIN_DECAY_S = 0.01;
/** So far beyond its place a player jumps, and does not hurry any more. */
const JUMP_S = 0.6;
/** Nearer than this to its place it leaves the rate alone. */
const DEAD_ZONE_S = 0.015;
/** Change of the rate for each second of distance. */
const GAIN = 0.5;
const RATE_MIN = 0.9;
const RATE_MAX = 1.1;
/** Rates are told in steps of this: a browser may hiccup at each change. */
const RATE_STEP = 0.01;

export type EdgeMove =
  | { readonly kind: 'rate'; readonly rate: number }
  | { readonly kind: 'jump'; readonly backS: number };

/**
 * Keeps a player close to the newest frame: by its rate, within what nobody sees, and by a jump where it is too far behind. It goes as close as the
 * stream lets it without waiting for frames. Pure.
 */
export class LiveEdge {
  #marginS = MARGIN_S;
  #decayedMs: number | undefined;

  /** How far behind the end of the newest frame the player is to be when that has just come, seconds. */
  targetS(frameS: number): number {
    return frameS + this.#marginS;
  }

  /** The player had to wait for a frame. */
  waited(): void {
    this.#marginS = Math.min(MARGIN_S_MAX, this.#marginS + MARGIN_STEP_S);
  }

  /** A frame has come. `distanceS`: from the moment that is shown to the end of the newest frame; `frameS`: how long one is shown. */
  move({ distanceS, frameS, nowMs }: { distanceS: number; frameS: number; nowMs: number }): EdgeMove {
    this.#decay(nowMs);
    const targetS = this.targetS(frameS);
    const excessS = distanceS - targetS;
    if (excessS > JUMP_S) return { kind: 'jump', backS: targetS };
    if (Math.abs(excessS) <= DEAD_ZONE_S) return { kind: 'rate', rate: 1 };
    const rate = Math.min(RATE_MAX, Math.max(RATE_MIN, 1 + excessS * GAIN));
    return { kind: 'rate', rate: Math.round(rate / RATE_STEP) * RATE_STEP };
  }

  #decay(nowMs: number): void {
    const elapsedS = (nowMs - (this.#decayedMs ?? nowMs)) / 1000;
    this.#decayedMs = nowMs;
    this.#marginS = Math.max(MARGIN_S, this.#marginS - elapsedS * MARGIN_DECAY_S);
  }
}
