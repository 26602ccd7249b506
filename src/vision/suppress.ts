import type { Candidates } from './candidates.ts';

export interface Kept {
  /** How many of `order` are kept, best first. */
  readonly count: number;
  /** Candidates, in order of score from the best; the first `count` are kept. A view, good until the next call. */
  readonly order: Uint32Array;
  /** Candidates that were not examined, because `max` were already kept. */
  readonly capped: number;
}

/**
 * Greedy non-maximum suppression per class: from the best score down, a candidate stays unless one of its own class that
 * stayed overlaps it by more than `iouMax`. At `iouMax` 1 nothing is suppressed, only sorted and cut to `max`.
 */
export function suppress(candidates: Candidates, iouMax: number, max: number): Kept {
  const { classIds, corners, count: total } = candidates;
  const order = bestFirst(candidates);
  let count = 0;
  let looked = 0;
  for (; looked < total && count < max; looked++) {
    const at = order[looked]!;
    let stays = true;
    if (iouMax < 1) {
      for (let k = 0; k < count && stays; k++) {
        const other = order[k]!;
        stays = classIds[other] !== classIds[at] || intersectionOverUnion(corners, other, at) <= iouMax;
      }
    }
    // The kept ones move to the front of the list, over places that have been looked at.
    if (stays) order[count++] = at;
  }
  return { count, order, capped: total - looked };
}

/**
 * Groups candidates of one object: from the best score down, each takes along the remaining ones that overlap it by more than
 * `iouMax`. Best first, within a group as well. The grouping of MediaPipe's weighted non-maximum suppression (its
 * `NonMaxSuppressionCalculator`), which then averages each group by its scores. It ignores classes.
 */
export function groupOverlapping(candidates: Candidates, iouMax: number): number[][] {
  const groups: number[][] = [];
  let rest = Array.from(bestFirst(candidates));
  while (rest.length > 0) {
    const best = rest[0]!;
    const group: number[] = [];
    const others: number[] = [];
    for (const at of rest) {
      const isSame = at === best || intersectionOverUnion(candidates.corners, best, at) > iouMax;
      (isSame ? group : others).push(at);
    }
    groups.push(group);
    rest = others;
  }
  return groups;
}

function bestFirst({ scores, order, count }: Candidates): Uint32Array {
  const sorted = order.subarray(0, count);
  for (let i = 0; i < count; i++) sorted[i] = i;
  sorted.sort((a, b) => scores[b]! - scores[a]! || a - b);
  return sorted;
}

function intersectionOverUnion(corners: Float32Array, first: number, second: number): number {
  const a = first * 4;
  const b = second * 4;
  const left = Math.max(corners[a]!, corners[b]!);
  const top = Math.max(corners[a + 1]!, corners[b + 1]!);
  const right = Math.min(corners[a + 2]!, corners[b + 2]!);
  const bottom = Math.min(corners[a + 3]!, corners[b + 3]!);
  if (right <= left || bottom <= top) return 0;
  const both = (right - left) * (bottom - top);
  const areaA = (corners[a + 2]! - corners[a]!) * (corners[a + 3]! - corners[a + 1]!);
  const areaB = (corners[b + 2]! - corners[b]!) * (corners[b + 3]! - corners[b + 1]!);
  return both / (areaA + areaB - both);
}
