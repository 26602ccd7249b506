/**
 * The One Euro filter: a low-pass whose cutoff rises with the speed of its input, so that resting points do not tremble
 * and what moves does not lag. Source: G. Casiez, N. Roussel and D. Vogel, "1€ Filter: A Simple Speed-based Low-pass Filter for Noisy
 * Input in Interactive Systems" (CHI 2012).
 */

export interface OneEuroOptions {
  /** Cutoff of what rests, Hz: lower trembles less. */
  readonly minCutoffHz: number;
  /** Hz of cutoff for each unit a second: higher lags less. */
  readonly beta: number;
  /** Cutoff of the speed itself, Hz. */
  readonly speedCutoffHz: number;
}

/** The filter's state between two samples of as many values. Never changed: a step makes a new one. */
export interface OneEuroState {
  readonly timeMs: number;
  /** Filtered. */
  readonly values: Float64Array;
  /** Filtered, units a second. */
  readonly speeds: Float64Array;
}

/**
 * One step. `unit`: how much of a value is one unit of speed, such as the size of the hand whose points they are, so that a hand far
 * away is filtered like one nearby. The first sample, and one that is not later than the last, passes as it is.
 */
export function oneEuroStep(
  before: OneEuroState | undefined,
  values: Float64Array,
  timeMs: number,
  unit: number,
  { minCutoffHz, beta, speedCutoffHz }: OneEuroOptions,
): OneEuroState {
  const seconds = before ? (timeMs - before.timeMs) / 1000 : 0;
  if (!before || !(seconds > 0) || before.values.length !== values.length) {
    return { timeMs, values: values.slice(), speeds: new Float64Array(values.length) };
  }
  const filtered = new Float64Array(values.length);
  const speeds = new Float64Array(values.length);
  const speedWeight = weightOf(speedCutoffHz, seconds);
  for (let i = 0; i < values.length; i++) {
    const last = before.values[i]!;
    const raw = (values[i]! - last) / unit / seconds;
    const speed = before.speeds[i]! + speedWeight * (raw - before.speeds[i]!);
    const weight = weightOf(minCutoffHz + beta * Math.abs(speed), seconds);
    speeds[i] = speed;
    filtered[i] = last + weight * (values[i]! - last);
  }
  return { timeMs, values: filtered, speeds };
}

/** Weight of a new sample in exponential smoothing with this cutoff: 0..1. */
function weightOf(cutoffHz: number, seconds: number): number {
  const turns = 2 * Math.PI * cutoffHz * seconds;
  return turns / (turns + 1);
}
