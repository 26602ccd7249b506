/** Where on the time line recordings are. Pure. */

export interface Span {
  /** Unix ms. */
  readonly from: number;
  readonly to: number;
}

export interface Window {
  readonly fromMs: number;
  readonly toMs: number;
}

/** A bar, as shares of the width of the line. */
export interface Bar {
  readonly left: number;
  readonly width: number;
}

export function barsOf(spans: readonly Span[], { fromMs, toMs }: Window): Bar[] {
  const lengthMs = toMs - fromMs;
  return spans.flatMap(({ from, to }) => {
    const [left, right] = [Math.max(from, fromMs), Math.min(to, toMs)].map((timeMs) => (timeMs - fromMs) / lengthMs);
    return right! > left! ? [{ left: left!, width: right! - left! }] : [];
  });
}

/** The moment at a share of the line, or the nearest one that was recorded; undefined: none was. At the end of a span there is nothing to be seen any more. */
export function momentAt(share: number, { fromMs, toMs }: Window, spans: readonly Span[]): number | undefined {
  const wanted = fromMs + share * (toMs - fromMs);
  let nearest: number | undefined;
  for (const { from, to } of spans) {
    const moment = Math.max(from, Math.min(wanted, to - LAST_MS));
    if (nearest === undefined || Math.abs(moment - wanted) < Math.abs(nearest - wanted)) nearest = moment;
  }
  return nearest;
}

/** Before the end of a span. */
const LAST_MS = 1_000;

/** Marks of the hour or the minute, so many that they can be read. */
export function marksOf({ fromMs, toMs }: Window, countMax = 7): number[] {
  const stepMs = STEPS_MS.find((step) => (toMs - fromMs) / step <= countMax) ?? STEPS_MS.at(-1)!;
  // By the hours of the reader's clock.
  const shiftMs = new Date(fromMs).getTimezoneOffset() * 60_000;
  const first = Math.ceil((fromMs - shiftMs) / stepMs) * stepMs + shiftMs;
  const marks: number[] = [];
  for (let timeMs = first; timeMs < toMs; timeMs += stepMs) marks.push(timeMs);
  return marks;
}

const MINUTE_MS = 60_000;
const STEPS_MS = [10, 15, 30, 60, 120, 240, 1_440].map((minutes) => minutes * MINUTE_MS);
