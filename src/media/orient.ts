/**
 * How a stored picture is turned to stand upright: the four signs of a display matrix that only turns by quarters and
 * mirrors. A stored pixel (x, y) belongs at (a·x + c·y, b·x + d·y), moved so that the corner is at the origin.
 */
export interface Orientation {
  readonly a: -1 | 0 | 1;
  readonly b: -1 | 0 | 1;
  readonly c: -1 | 0 | 1;
  readonly d: -1 | 0 | 1;
}

export const UPRIGHT: Orientation = { a: 1, b: 0, c: 0, d: 1 };

/**
 * The orientation in a display matrix: nine little-endian int32 in 16.16 fixed point, rows [a b u], [c d v], [x y w], as ISO/IEC
 * 14496-12 §6.2.2 stores it. Angles that are no multiple of a quarter, and damaged matrices, count as upright.
 */
export function orientationOf(matrix: Uint8Array | null): Orientation {
  if (!matrix || matrix.byteLength < 36) return UPRIGHT;
  const view = new DataView(matrix.buffer, matrix.byteOffset, matrix.byteLength);
  const sign = (index: number) => Math.sign(view.getInt32(index * 4, true)) as -1 | 0 | 1;
  const [a, b, c, d] = [sign(0), sign(1), sign(3), sign(4)];
  const straight = a !== 0 && d !== 0 && b === 0 && c === 0;
  const turned = a === 0 && d === 0 && b !== 0 && c !== 0;
  return straight || turned ? { a, b, c, d } : UPRIGHT;
}

export function isUpright(o: Orientation): boolean {
  return o.a === 1 && o.d === 1;
}

/** Width and height change places. */
export function swapsSides(o: Orientation): boolean {
  return o.a === 0;
}

/**
 * Turns packed RGB of `width` × `height` pixels into `into` (as long as `data`, another buffer), whose width and height are
 * swapped where `swapsSides` says so.
 */
export function turnUpright(data: Uint8Array, width: number, height: number, o: Orientation, into: Uint8Array): void {
  const outWidth = swapsSides(o) ? height : width;
  const alongX = 3 * (o.a + o.b * outWidth);
  const alongY = 3 * (o.c + o.d * outWidth);
  // Where the stored corner (0, 0) ends up.
  const left = o.a < 0 ? width - 1 : o.c < 0 ? height - 1 : 0;
  const top = o.b < 0 ? width - 1 : o.d < 0 ? height - 1 : 0;
  let rowTarget = 3 * (left + top * outWidth);
  let source = 0;
  for (let y = 0; y < height; y += 1) {
    let target = rowTarget;
    for (let x = 0; x < width; x += 1) {
      into[target] = data[source]!;
      into[target + 1] = data[source + 1]!;
      into[target + 2] = data[source + 2]!;
      source += 3;
      target += alongX;
    }
    rowTarget += alongY;
  }
}
