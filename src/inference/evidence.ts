/**
 * Evidence from the first run about an output [1, rows, columns], small enough to be kept: ranges, and what its rows and columns look like
 * when read as boxes or as scores. It can contradict a guess at the kind of model.
 */

/** For each place of an axis: its numbers over the other axis. */
export interface AxisEvidence {
  readonly min: readonly number[];
  readonly max: readonly number[];
  /** All numbers of the place are whole. */
  readonly whole: readonly boolean[];
  /** The first four places read as boxes; undefined with fewer. */
  readonly boxes?: BoxEvidence;
}

/** Shares of the boxes that are not four zeros; a share of none is 0. */
export interface BoxEvidence {
  /** How many are not four zeros. */
  readonly count: number;
  /** Some number is over 2: pixels, not fractions. */
  readonly isPixels: boolean;
  /** Share with a third or fourth number below 0: not a size. */
  readonly negative: number;
  /** Share with the right before the left or the bottom above the top, read as corners. */
  readonly crossed: number;
  /** Share with more than 5 % of the picture outside of it, read as centre and size. */
  readonly spilt: number;
}

/** Each row's columns read as scores of classes: shares of the rows. */
export interface ScoreEvidence {
  /** The row sums up to 1 and has nothing below 0. */
  readonly sumsToOne: number;
  /** The last column is more probable than all others together in a softmax of the row, and the first or last as it stands. */
  readonly lastWins: number;
  readonly firstWinsPlain: number;
  readonly lastWinsPlain: number;
  /** Some column is over 0, also without the first or the last one. */
  readonly positive: number;
  readonly positiveButFirst: number;
  readonly positiveButLast: number;
}

export interface Evidence {
  /** By column over the rows, and the other way round; left out for an axis that is longer than any list of classes. */
  readonly columns?: AxisEvidence;
  readonly rows?: AxisEvidence;
  readonly scores?: ScoreEvidence;
}

/** Longer axes are boxes, not classes. */
const AXIS_MAX = 2048;
/** Above it a box is in pixels: fractions hardly leave 0..1. */
const FRACTION_MAX = 2;
const SPILL = 0.05;

/** `data`: the first picture's rows × columns numbers, row by row. `width`, `height`: of the picture, pixels. */
export function evidenceOf(
  data: ArrayLike<number>,
  [rows, columns]: readonly [number, number],
  { width, height }: { readonly width: number; readonly height: number },
): Evidence {
  const at = (row: number, column: number) => data[row * columns + column] ?? 0;
  const isScored = columns <= AXIS_MAX && columns > 0;
  return {
    ...(columns <= AXIS_MAX && { columns: axisEvidence(columns, rows, (place, i) => at(i, place), width, height) }),
    ...(rows <= AXIS_MAX && { rows: axisEvidence(rows, columns, at, width, height) }),
    ...(isScored && { scores: scoreEvidence(rows, columns, at) }),
  };
}

type At = (place: number, i: number) => number;

function axisEvidence(places: number, length: number, at: At, width: number, height: number): AxisEvidence {
  const min: number[] = [];
  const max: number[] = [];
  const whole: boolean[] = [];
  for (let place = 0; place < places; place++) {
    let low = Infinity;
    let high = -Infinity;
    let isWhole = true;
    for (let i = 0; i < length; i++) {
      const value = at(place, i);
      // NaN is no evidence: zeros as a picture can lead to 0 / 0.
      if (!Number.isFinite(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
      isWhole &&= Number.isInteger(value);
    }
    min.push(low === Infinity ? 0 : short(low));
    max.push(high === -Infinity ? 0 : short(high));
    whole.push(isWhole);
  }
  return { min, max, whole, ...(places >= 4 && { boxes: boxEvidence(length, at, max, width, height) }) };
}

function boxEvidence(length: number, at: At, max: readonly number[], width: number, height: number): BoxEvidence {
  const isPixels = Math.max(...max.slice(0, 4)) > FRACTION_MAX;
  const [w, h] = isPixels ? [width, height] : [1, 1];
  let count = 0;
  let negative = 0;
  let crossed = 0;
  let spilt = 0;
  for (let i = 0; i < length; i++) {
    const [a, b, c, d] = [at(0, i), at(1, i), at(2, i), at(3, i)];
    if ((a === 0 && b === 0 && c === 0 && d === 0) || !Number.isFinite(a + b + c + d)) continue;
    count++;
    if (c < 0 || d < 0) negative++;
    if (c < a || d < b) crossed++;
    if (isOutside(a - c / 2, a + c / 2, w) || isOutside(b - d / 2, b + d / 2, h)) spilt++;
  }
  return {
    count,
    isPixels,
    negative: share(negative, count),
    crossed: share(crossed, count),
    spilt: share(spilt, count),
  };
}

function isOutside(low: number, high: number, side: number): boolean {
  return low < -SPILL * side || high > (1 + SPILL) * side;
}

function scoreEvidence(rows: number, columns: number, at: (row: number, column: number) => number): ScoreEvidence {
  const found = { ones: 0, last: 0, firstPlain: 0, lastPlain: 0, all: 0, butFirst: 0, butLast: 0 };
  for (let row = 0; row < rows; row++) {
    const first = at(row, 0);
    const last = at(row, columns - 1);
    let sum = 0;
    let low = Infinity;
    let highest = -Infinity;
    let middle = -Infinity;
    for (let column = 0; column < columns; column++) {
      const value = at(row, column);
      sum += value;
      low = Math.min(low, value);
      highest = Math.max(highest, value);
      if (column > 0 && column < columns - 1) middle = Math.max(middle, value);
    }
    let exponentials = 0;
    for (let column = 0; column < columns; column++) exponentials += Math.exp(at(row, column) - highest);
    if (Math.abs(sum - 1) < 0.01 && low > -0.001) found.ones++;
    if (Math.exp(last - highest) / exponentials > 0.5) found.last++;
    if (first > 0.5) found.firstPlain++;
    if (last > 0.5) found.lastPlain++;
    if (highest > 0) found.all++;
    if (Math.max(middle, last) > 0) found.butFirst++;
    if (Math.max(middle, first) > 0) found.butLast++;
  }
  return {
    sumsToOne: share(found.ones, rows),
    lastWins: share(found.last, rows),
    firstWinsPlain: share(found.firstPlain, rows),
    lastWinsPlain: share(found.lastPlain, rows),
    positive: share(found.all, rows),
    positiveButFirst: share(found.butFirst, rows),
    positiveButLast: share(found.butLast, rows),
  };
}

function share(part: number, whole: number): number {
  return whole === 0 ? 0 : short(part / whole);
}

/** Six digits are enough to judge by, and short to keep. */
function short(value: number): number {
  return Number(value.toPrecision(6));
}
