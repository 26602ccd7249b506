/** Age at which the weight of a sample has fallen to a third. */
const AVERAGE_MS = 1_000;
const REPORT_INTERVAL_MS = 1_000;
/** Two repaints of a usual screen: less is no lag. */
const QUIET_MS = 34;
/** A change by less than this share is not worth a report. */
const NEWS = 0.2;

/** How far the display is behind the results, and when to report it to the server: at most once a second, and only changes. Pure. */
export class RenderLag {
  #averageMs = 0;
  #lastMs: number | undefined;
  #reportedMs = 0;
  #reportedAtMs = -Infinity;

  get averageMs(): number {
    return this.#averageMs;
  }

  /** A result was shown `lagMs` after its arrival. Returns the lag to report, if it is time for one; 0 ends an earlier report. */
  add(lagMs: number, nowMs: number): number | undefined {
    const sinceMs = Math.max(0, nowMs - (this.#lastMs ?? nowMs));
    this.#lastMs = nowMs;
    this.#averageMs += (1 - Math.exp(-sinceMs / AVERAGE_MS)) * (lagMs - this.#averageMs);
    const toTellMs = this.#averageMs < QUIET_MS ? 0 : Math.round(this.#averageMs);
    if (nowMs - this.#reportedAtMs < REPORT_INTERVAL_MS || !this.#isNews(toTellMs)) return undefined;
    this.#reportedMs = toTellMs;
    this.#reportedAtMs = nowMs;
    return toTellMs;
  }

  /** Another connection: its server knows nothing of earlier reports. */
  forgetReport(): void {
    this.#reportedMs = 0;
  }

  #isNews(lagMs: number): boolean {
    if (lagMs === 0 || this.#reportedMs === 0) return lagMs !== this.#reportedMs;
    return Math.abs(lagMs - this.#reportedMs) > NEWS * this.#reportedMs;
  }
}
