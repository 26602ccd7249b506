import type { Candidates } from './candidates.ts';

export interface Kept {
  /** How many of `order` are kept, best first. */
  readonly count: number;
  /** Candidates, in order of score from the best; the first `count` are kept. A view, good until the next call. */
  readonly order: Uint32Array;
  /** Candidates that were not even looked at, because `max` were kept already. */
  readonly capped: number;
}

/**
 * Greedy non-maximum suppression per class: from the best score down, a candidate stays unless one of its own class that
 * stayed overlaps it by more than `iouMax`. At `iouMax` 1 nothing is suppressed, only sorted and cut to `max`.
 */
export function suppress(candidates: Candidates, iouMax: number, max: number): Kept {
  const { scores, classIds, corners, count: total } = candidates;
  const order = candidates.order.subarray(0, total);
  for (let i = 0; i < total; i++) order[i] = i;
  order.sort((a, b) => scores[b]! - scores[a]! || a - b);
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
