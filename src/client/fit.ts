export interface Size {
  readonly width: number;
  readonly height: number;
}

/**
 * The largest size of the same shape as `source` inside `limit`, whole pixels, at least 1 × 1; never larger than `source`,
 * since made-up pixels are of no use.
 */
export function fitInside(source: Size, limit: Size): { width: number; height: number } {
  const scale = Math.min(1, limit.width / source.width, limit.height / source.height);
  return { width: scaled(source.width, scale), height: scaled(source.height, scale) };
}

function scaled(side: number, scale: number): number {
  return Math.max(1, Math.round(side * scale));
}
