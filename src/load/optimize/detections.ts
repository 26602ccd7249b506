import type { Box } from '../../base/detection.ts';
import type { WireDetection } from '../../protocol/video.ts';

/** Boxes that overlap by so much are the same object. */
const IOU_MIN = 0.5;

/** How many of the boxes in `reference` are still in `found`: each is matched once, the best first. */
export function keptBoxes(reference: readonly WireDetection[], found: readonly WireDetection[]): number {
  const free = new Set(found);
  let kept = 0;
  for (const { label, box } of reference.toSorted((a, b) => b.score - a.score)) {
    let [best, overlap] = [undefined as WireDetection | undefined, IOU_MIN];
    for (const other of free) {
      if (other.label !== label) continue;
      const iou = intersectionOverUnion(box, other.box);
      if (iou >= overlap) [best, overlap] = [other, iou];
    }
    if (!best) continue;
    free.delete(best);
    kept += 1;
  }
  return kept;
}

function intersectionOverUnion(a: Box, b: Box): number {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  if (width <= 0 || height <= 0) return 0;
  const both = width * height;
  return both / (a.width * a.height + b.width * b.height - both);
}
