/** After a pause (a page that was hidden) at most this much time is made up for. */
const CATCH_UP_MS = 100;

/** How many frames a camera offers when it is looked at now and then, so that the rate is right in the mean. Pure. */
export class Offers {
  #atMs: number;
  #owed = 0;

  constructor(nowMs: number) {
    this.#atMs = nowMs;
  }

  due(nowMs: number, fps: number): number {
    const elapsedMs = Math.min(CATCH_UP_MS, Math.max(0, nowMs - this.#atMs));
    this.#atMs = Math.max(this.#atMs, nowMs);
    this.#owed += (elapsedMs / 1000) * fps;
    const due = Math.floor(this.#owed);
    this.#owed -= due;
    return due;
  }
}
