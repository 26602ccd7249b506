/** How many frames a second a source uses, and how many to ask for because of that. Pure. */

/** Averaging time of the used rate. */
const AVERAGE_MS = 500;
/** Half-life of the rate that a source was able to send: a path that was bad for a while must not define the source. */
const MOST_USED_HALF_LIFE_MS = 20_000;
/** A source may have this much more than it uses: room to show that it would use more. */
const DEMAND_FACTOR = 1.25;
const DEMAND_MORE_FPS = 1;
/** Before its second frame a source may want everything, but one that sends nothing for so long has no such claim. */
const FRESH_MS = 2_000;
/** A source that has sent nothing for so long is not in use. */
const IN_USE_MS = 3_000;
/** A source that sends this much more than it was granted does not keep to its grant. */
const OVER_GRANT = 1.5;
const OVER_GRANT_FPS = 3;

export class UseMeter {
  #fps: number | undefined;
  /** Since when nothing is known. */
  #freshMs: number | undefined;
  #mostFps = 0;
  #lastFrameMs: number | undefined;

  /** Recent rate; undefined before two frames have come. */
  get fps(): number | undefined {
    return this.#fps;
  }

  /** The recent peak of what the source is able to send, with room to show that it would send more. */
  get sourceFps(): number {
    return this.#mostFps * DEMAND_FACTOR + DEMAND_MORE_FPS;
  }

  /** A frame came. Two that come together at the beginning show no more than `maxFps`. */
  frame(nowMs: number, maxFps: number): void {
    const sinceMs = this.#lastFrameMs === undefined ? 0 : nowMs - this.#lastFrameMs;
    if (this.#lastFrameMs !== undefined && sinceMs > 0) {
      const weight = 1 - Math.exp(-sinceMs / AVERAGE_MS);
      const fps = 1000 / sinceMs;
      this.#fps = this.#fps === undefined ? Math.min(fps, maxFps) : this.#fps + weight * (fps - this.#fps);
    }
    this.#lastFrameMs = nowMs;
    this.#mostFps = Math.max(this.#fps ?? 0, this.#mostFps * 0.5 ** (sinceMs / MOST_USED_HALF_LIFE_MS));
  }

  /** Little more than it uses, falling while no frame comes; at first, before anything is known, Infinity. */
  wantedFps(nowMs: number): number {
    if (this.#fps === undefined) {
      this.#freshMs ??= nowMs;
      return nowMs - (this.#lastFrameMs ?? this.#freshMs) < FRESH_MS ? Infinity : DEMAND_MORE_FPS;
    }
    const idleMs = nowMs - (this.#lastFrameMs ?? nowMs);
    const used = Math.min(this.#fps, idleMs > AVERAGE_MS ? 1000 / idleMs : Infinity);
    return used * DEMAND_FACTOR + DEMAND_MORE_FPS;
  }

  /** Has a frame come of late? */
  isInUse(nowMs: number): boolean {
    return this.#lastFrameMs !== undefined && nowMs - this.#lastFrameMs < IN_USE_MS;
  }

  /** Does the source keep to this rate, with some patience? */
  keepsTo(rateFps: number): boolean {
    return (this.#fps ?? 0) <= OVER_GRANT * rateFps + OVER_GRANT_FPS;
  }

  /** The used rate no longer counts; what the source is able to send still does. */
  restart(): void {
    this.#fps = undefined;
    this.#freshMs = undefined;
    this.#lastFrameMs = undefined;
  }
}
