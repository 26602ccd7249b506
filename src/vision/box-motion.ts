import type { Box, Detection } from '../base/detection.ts';

/** Where boxes are between two looks at a picture, if all goes on as it went. Pure. */

/** What was found in one picture, and when that was. */
export interface Look {
  /** Any clock that rises. */
  readonly atMs: number;
  readonly detections: readonly Detection[];
}

/** A box of the one look is that of the other from this part of both on that they share: an object that is seen anew would fly across the picture otherwise. */
const OVERLAP_MIN = 0.1;
/** What was seen so long before says nothing of how it moves. */
const APART_MS_MAX = 3_000;

/**
 * The later look's boxes at a moment after it, each going on as fast as it came from the box of the same class in the earlier look that it overlaps most (constant velocity of all four sides). One
 * without such a box stays where it is. What has left the picture is left out.
 */
export function boxesAt(earlier: Look | undefined, later: Look, atMs: number): readonly Detection[] {
  const spanMs = earlier === undefined ? 0 : later.atMs - earlier.atMs;
  if (earlier === undefined || spanMs <= 0 || spanMs > APART_MS_MAX || atMs <= later.atMs) return later.detections;
  const befores = matches(earlier.detections, later.detections);
  const part = (atMs - later.atMs) / spanMs;
  return later.detections.flatMap((detection, i) => {
    const before = befores[i];
    if (before === undefined) return detection;
    const box = movedOn(before, detection.box, part);
    return box ? { ...detection, box } : [];
  });
}

/** For each box of the second list that of the first, or undefined; each is used once, the most alike first. */
function matches(first: readonly Detection[], second: readonly Detection[]): (Box | undefined)[] {
  const pairs = second.flatMap(({ classId, box }, to) =>
    first.flatMap((other, from) => {
      const overlap = other.classId === classId ? overlapOf(other.box, box) : 0;
      return overlap >= OVERLAP_MIN ? { from, to, overlap } : [];
    }),
  );
  const found: (Box | undefined)[] = second.map(() => undefined);
  const taken = new Set<number>();
  for (const { from, to } of pairs.toSorted((a, b) => b.overlap - a.overlap)) {
    if (taken.has(from) || found[to] !== undefined) continue;
    taken.add(from);
    found[to] = first[from]!.box;
  }
  return found;
}

/** Intersection over union. */
function overlapOf(a: Box, b: Box): number {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  if (width <= 0 || height <= 0) return 0;
  const shared = width * height;
  return shared / (a.width * a.height + b.width * b.height - shared);
}

function movedOn(before: Box, now: Box, part: number): Box | undefined {
  const on = (from: number, to: number): number => Math.min(1, Math.max(0, to + (to - from) * part));
  const [left, top] = [on(before.x, now.x), on(before.y, now.y)];
  const right = on(before.x + before.width, now.x + now.width);
  const bottom = on(before.y + before.height, now.y + now.height);
  if (right <= left || bottom <= top) return undefined;
  return { x: left, y: top, width: right - left, height: bottom - top };
}
