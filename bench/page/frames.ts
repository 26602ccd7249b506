import { percentile } from '../support/statistics.ts';

export interface FrameFigures {
  readonly framesPerS: number;
  /** Between one frame and the next, ms. */
  readonly gapP99Ms: number;
  readonly gapMaxMs: number;
}

/** `timesMs`: when the callbacks of `requestAnimationFrame` were called within a span. */
export function frameFigures(timesMs: readonly number[], spanMs: number): FrameFigures {
  const gapsMs = timesMs.slice(1).map((timeMs, i) => timeMs - timesMs[i]!);
  // A page that stands still has no two frames: then the whole span is a gap.
  if (gapsMs.length === 0) return { framesPerS: 0, gapP99Ms: spanMs, gapMaxMs: spanMs };
  return {
    framesPerS: (gapsMs.length * 1_000) / (timesMs.at(-1)! - timesMs[0]!),
    gapP99Ms: percentile(gapsMs, 99),
    gapMaxMs: Math.max(...gapsMs),
  };
}

/** What a page has to reach where the idle one reaches `idlePerS`: 55, or nine tenths where the machine cannot do 60. */
export function framesBar(idlePerS: number): number {
  return idlePerS >= 59 ? 55 : idlePerS * 0.9;
}

/** To be evaluated in a page: the times of its frames during `spanMs`, on its own clock. */
export function framesScript(spanMs: number): string {
  return `new Promise((resolve) => {
    const times = [];
    const start = performance.now();
    setTimeout(() => resolve(times), ${spanMs} + 1000);
    const frame = () => {
      const now = performance.now();
      if (now - start > ${spanMs}) return resolve(times);
      times.push(now);
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  })`;
}
