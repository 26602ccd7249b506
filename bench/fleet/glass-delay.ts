import { median } from '../support/statistics.ts';
import type { SentPicture } from './identity-log.ts';

/** From the camera to the screen: how long a picture was under way, by the number in it. Pure. */

export interface SeenPicture {
  /** That the picture carries; undefined: none can be read in it. */
  readonly number: number | undefined;
  /** Unix ms. */
  readonly shownTimeMs: number;
  /** How long it was under way as its player tells it. */
  readonly latencyMs: number;
}

export interface GlassDelays {
  readonly delaysMs: readonly number[];
  /** What the player tells less what was measured, the median. */
  readonly toldMoreMs: number;
  /** Pictures with a number that was not sent before they were shown. */
  readonly strangers: number;
}

/** A clip that begins anew sends its numbers again: the picture was the last one that was sent with its number. */
export function glassDelays(sent: readonly SentPicture[], seen: readonly SeenPicture[]): GlassDelays {
  const times = new Map<number, number[]>();
  for (const { number, sentTimeMs } of sent) {
    const all = times.get(number);
    if (all) all.push(sentTimeMs);
    else times.set(number, [sentTimeMs]);
  }
  const delaysMs: number[] = [];
  const toldMoreMs: number[] = [];
  for (const { number, shownTimeMs, latencyMs } of seen) {
    const sentMs = number === undefined ? undefined : times.get(number)?.findLast((timeMs) => timeMs <= shownTimeMs);
    if (sentMs === undefined) continue;
    delaysMs.push(shownTimeMs - sentMs);
    toldMoreMs.push(latencyMs - (shownTimeMs - sentMs));
  }
  return {
    delaysMs,
    toldMoreMs: toldMoreMs.length > 0 ? median(toldMoreMs) : Number.NaN,
    strangers: seen.length - delaysMs.length,
  };
}
