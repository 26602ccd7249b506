/** The points of one batch: for each field as many values as there are times. */
export interface ColumnBatch {
  readonly count: number;
  /** Unix ms. */
  readonly times: ArrayLike<number>;
  column(path: string): ArrayLike<number> | undefined;
}

/**
 * The newest points of some fields, in the arrays that a plot draws. Each array has twice the room that is needed; when it
 * is full the newest half moves to the front, so that the points lie in one piece and appending costs no allocation.
 */
export class RecentSeries {
  readonly #paths: readonly string[];
  readonly #pointsMax: number;
  readonly #everyMs: number;
  readonly #timesS: Float64Array;
  readonly #values: readonly Float64Array[];
  #end = 0;
  #lastMs = -Infinity;

  /** `everyMs`: points that come sooner after the last one are left out; 0 keeps all. */
  constructor(paths: readonly string[], pointsMax: number, everyMs = 0) {
    this.#paths = paths;
    this.#pointsMax = pointsMax;
    this.#everyMs = everyMs;
    this.#timesS = new Float64Array(2 * pointsMax);
    this.#values = paths.map(() => new Float64Array(2 * pointsMax));
  }

  get length(): number {
    return Math.min(this.#end, this.#pointsMax);
  }

  /** Time of the newest point, Unix s. */
  get lastS(): number | undefined {
    return this.#end === 0 ? undefined : this.#timesS[this.#end - 1];
  }

  append(batch: ColumnBatch): void {
    const { count, times } = batch;
    const sources = this.#paths.map((path) => batch.column(path));
    for (let i = 0; i < count; i++) {
      const timeMs = times[i]!;
      // Timers of the publisher are not exact: a point a little early is in time.
      if (timeMs - this.#lastMs < this.#everyMs * 0.95 || timeMs <= this.#lastMs) continue;
      this.#lastMs = timeMs;
      if (this.#end === this.#timesS.length) this.#moveToFront();
      this.#timesS[this.#end] = timeMs / 1000;
      for (let k = 0; k < sources.length; k++) this.#values[k]![this.#end] = sources[k]?.[i] ?? NaN;
      this.#end++;
    }
  }

  /** Times (Unix s) and then the values of each path; good until the next `append`. */
  view(): Float64Array[] {
    const begin = this.#end - this.length;
    return [this.#timesS, ...this.#values].map((array) => array.subarray(begin, this.#end));
  }

  clear(): void {
    this.#end = 0;
    this.#lastMs = -Infinity;
  }

  #moveToFront(): void {
    for (const array of [this.#timesS, ...this.#values]) array.copyWithin(0, this.#end - this.#pointsMax, this.#end);
    this.#end = this.#pointsMax;
  }
}
