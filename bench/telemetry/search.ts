/** The highest rate at which something still works, by doubling and then halving the interval. Each trial costs seconds. */
export interface Search {
  readonly startHz: number;
  readonly hzMax: number;
  /** Trials in all; a rate is given up only when it fails twice. */
  readonly trialsMax: number;
  /** Stops when the highest good and the lowest bad rate are as near as this factor. */
  readonly near: number;
}

/** Gives the best good trial, or the last bad one with `isGood: false` when none was good. */
export async function highestRate<T>(
  { startHz, hzMax, trialsMax, near }: Search,
  trial: (hz: number) => Promise<{ readonly isGood: boolean; readonly result: T }>,
): Promise<{ readonly hz: number; readonly isGood: boolean; readonly result: T }> {
  let good: { hz: number; isGood: true; result: T } | undefined;
  let bad: { hz: number; isGood: false; result: T } | undefined;
  let hz = startHz;
  for (let trials = 0; trials < trialsMax; trials += 1) {
    let outcome = await trial(hz);
    if (!outcome.isGood && trials + 1 < trialsMax) {
      trials += 1;
      outcome = await trial(hz);
    }
    if (outcome.isGood) good = { hz, isGood: true, result: outcome.result };
    else bad = { hz, isGood: false, result: outcome.result };
    if (good?.hz === hzMax) break;
    if (good && bad && bad.hz / good.hz <= near) break;
    if (!bad) hz = Math.min(hzMax, hz * 2);
    else hz = good ? Math.sqrt(good.hz * bad.hz) : hz / 2;
  }
  const best = good ?? bad;
  if (!best) throw new RangeError(`a search of ${trialsMax} trials`);
  return best;
}
