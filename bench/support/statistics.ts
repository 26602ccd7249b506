/** The few statistics that the benchmarks need. Inputs are never changed; an empty one is a fault of the caller. */

/** The middle value; of an even number of values the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/**
 * The value that `percent` (0 to 100) of the values do not exceed, interpolated linearly between ranks (Hyndman and Fan 1996,
 * definition 7, as in R and NumPy).
 */
export function percentile(values: readonly number[], percent: number): number {
  if (values.length === 0) throw new RangeError('a percentile of no values');
  const sorted = values.toSorted((a, b) => a - b);
  const rank = ((sorted.length - 1) * percent) / 100;
  const below = Math.floor(rank);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below]! + (sorted[above]! - sorted[below]!) * (rank - below);
}

/** The straight line with the least squared error; a slope of 0 where all x are equal. */
export function linearFit(points: readonly { readonly x: number; readonly y: number }[]): {
  readonly slope: number;
  readonly intercept: number;
} {
  if (points.length === 0) throw new RangeError('a line through no points');
  const meanX = mean(points.map(({ x }) => x));
  const meanY = mean(points.map(({ y }) => y));
  let together = 0;
  let alone = 0;
  for (const { x, y } of points) {
    together += (x - meanX) * (y - meanY);
    alone += (x - meanX) ** 2;
  }
  const slope = alone === 0 ? 0 : together / alone;
  return { slope, intercept: meanY - slope * meanX };
}

/** The median of the slopes of all pairs of points (Theil 1950, Sen 1968): outliers do not bend it. NaN without two different x. */
export function theilSenSlope(points: readonly { readonly x: number; readonly y: number }[]): number {
  const slopes: number[] = [];
  for (const [i, a] of points.entries()) {
    for (const b of points.slice(i + 1)) if (a.x !== b.x) slopes.push((b.y - a.y) / (b.x - a.x));
  }
  return slopes.length === 0 ? Number.NaN : median(slopes);
}

/**
 * Jain's index of fairness (Jain, Chiu and Hawe 1984): 1 when all have the same, 1 / n when one has everything. 0 when nobody has
 * anything: that is no fair share.
 */
export function jainIndex(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('the fairness of no values');
  const squares = values.reduce((sum, value) => sum + value ** 2, 0);
  return squares === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) ** 2 / (values.length * squares);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
