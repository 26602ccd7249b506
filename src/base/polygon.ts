/** Polygons over a picture, as people write them: `0.1,0.1 0.4,0.1 0.4,0.5`, the points in the manner of SVG. Pure. */

/** Fractions of the picture's width and height, from its left and top edges. */
export interface PolygonPoint {
  readonly x: number;
  readonly y: number;
}

export type Polygon = readonly PolygonPoint[];

export const POLYGON_POINTS = { min: 3, max: 64 } as const;
/** A point may lie outside of the picture, and no farther than that from its corner. */
const REACH_MAX = 10;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

type Read =
  | { readonly polygon: Polygon; readonly fault?: undefined }
  | { readonly polygon?: undefined; readonly fault: string };

/** Commas and spaces separate numbers alike. Edges may cross each other, and points may lie outside of the picture; a polygon that covers nothing of it is refused. */
export function readPolygon(text: string): Read {
  const words = text.split(/[\s,]+/).filter((word) => word !== '');
  const odd = words.find((word) => !NUMBER.test(word));
  if (odd !== undefined) return { fault: `${JSON.stringify(odd.slice(0, 40))} is no number` };
  if (words.length % 2 === 1) return { fault: 'a point has two numbers, and the last one has a single one' };
  const numbers = words.map(Number);
  const points = words.length / 2;
  const { min, max } = POLYGON_POINTS;
  if (points < min || points > max) return { fault: `a polygon has ${min} to ${max} points, and this one ${points}` };
  const far = numbers.find((number) => Math.abs(number) > REACH_MAX);
  if (far !== undefined) return { fault: `${far} is too far away: places are fractions of the picture, 0 to 1` };
  const polygon = Array.from({ length: points }, (_, i) => ({ x: numbers[2 * i]!, y: numbers[2 * i + 1]! }));
  if (isFlat(polygon)) return { fault: 'all of its points lie on one line: it covers nothing' };
  const isBeside = (axis: 'x' | 'y') => polygon.every((p) => p[axis] <= 0) || polygon.every((p) => p[axis] >= 1);
  if (isBeside('x') || isBeside('y')) return { fault: 'it lies outside of the picture: places are fractions, 0 to 1' };
  return { polygon };
}

/** As `readPolygon` takes it. */
export function polygonText(polygon: Polygon): string {
  return polygon.map(({ x, y }) => `${x},${y}`).join(' ');
}

function isFlat(polygon: Polygon): boolean {
  const [first] = polygon as readonly [PolygonPoint, ...PolygonPoint[]];
  const other = polygon.find(({ x, y }) => x !== first.x || y !== first.y);
  if (!other) return true;
  const [dx, dy] = [other.x - first.x, other.y - first.y];
  return polygon.every(({ x, y }) => (x - first.x) * dy === (y - first.y) * dx);
}
