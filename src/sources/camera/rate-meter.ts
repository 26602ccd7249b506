/** How many frames come a second, over two seconds, once the burst of frames that a camera begins with is over. Pure. */

const BURST_MS = 1_000;
const WINDOW_MS = 2_000;
const FRAMES_MIN = 20;

export class RateMeter {
  #firstMs: number | undefined;
  #beganMs: number | undefined;
  #frames = 0;

  /** One has come; the rate when a window is full, else undefined. */
  see(atMs: number): number | undefined {
    this.#firstMs ??= atMs;
    if (atMs - this.#firstMs < BURST_MS) return undefined;
    this.#beganMs ??= atMs;
    this.#frames += 1;
    const passedMs = atMs - this.#beganMs;
    if (passedMs < WINDOW_MS || this.#frames < FRAMES_MIN) return undefined;
    const rateFps = ((this.#frames - 1) * 1000) / passedMs;
    [this.#beganMs, this.#frames] = [atMs, 1];
    return rateFps;
  }
}
