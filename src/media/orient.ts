/**
 * How to rotate a stored picture upright: the four signs of a display matrix that only rotates by quarters and
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
 * 14496-12 §6.2.2 stores it. Angles that are not a multiple of a quarter, and damaged matrices, count as upright.
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

/** The orientation that EXIF calls 1 to 8: where the stored row 0 and column 0 lie in the picture (EXIF 2.3 §4.6.4). */
export function orientationOfExif(value: number): Orientation {
  return EXIF_ORIENTATIONS[value - 1] ?? UPRIGHT;
}

const EXIF_ORIENTATIONS: readonly Orientation[] = [
  UPRIGHT,
  { a: -1, b: 0, c: 0, d: 1 },
  { a: -1, b: 0, c: 0, d: -1 },
  { a: 1, b: 0, c: 0, d: -1 },
  { a: 0, b: 1, c: 1, d: 0 },
  { a: 0, b: 1, c: -1, d: 0 },
  { a: 0, b: -1, c: -1, d: 0 },
  { a: 0, b: -1, c: 1, d: 0 },
];

export function isUpright(o: Orientation): boolean {
  return o.a === 1 && o.d === 1;
}

/** Width and height change places. */
export function swapsSides(o: Orientation): boolean {
  return o.a === 0;
}

/** Upright size of a picture that is stored in this size. */
export function uprightSize(
  { width, height }: { readonly width: number; readonly height: number },
  o: Orientation,
): { readonly width: number; readonly height: number } {
  return swapsSides(o) ? { width: height, height: width } : { width, height };
}

/** Where a place of the upright picture lies in the stored one; both in fractions of their sides. */
export function storedPlace({ x, y }: { readonly x: number; readonly y: number }, { a, b, c, d }: Orientation) {
  const [u, v] = [x - (a + c < 0 ? 1 : 0), y - (b + d < 0 ? 1 : 0)];
  return { x: a * u + b * v, y: c * u + d * v };
}

/** Side of the parts in which a picture is turned, pixels. */
const TILE = 16;

/**
 * Rotates a packed picture of `width` × `height` pixels, 3 or 4 bytes each, into `into` (as long, another buffer), whose width and
 * height are those of `uprightSize`. Pictures of 4 bytes a pixel start at a multiple of 4 bytes in their buffers.
 */
export function turnUpright(
  data: Uint8Array,
  width: number,
  height: number,
  o: Orientation,
  into: Uint8Array,
  bytesPerPixel: 3 | 4 = 3,
): void {
  const outWidth = uprightSize({ width, height }, o).width;
  const alongX = o.a + o.b * outWidth;
  const alongY = o.c + o.d * outWidth;
  // Where the stored corner (0, 0) ends up.
  const left = o.a < 0 ? width - 1 : o.c < 0 ? height - 1 : 0;
  const top = o.b < 0 ? width - 1 : o.d < 0 ? height - 1 : 0;
  const first = left + top * outWidth;
  if (bytesPerPixel === 4) {
    const pixels = new Uint32Array(data.buffer, data.byteOffset, width * height);
    const turned = new Uint32Array(into.buffer, into.byteOffset, width * height);
    // Where rows become columns, each pixel of a row lies in another line of the cache: in tiles these are used while they are there.
    const tile = swapsSides(o) ? TILE : Math.max(width, height);
    for (let fromY = 0; fromY < height; fromY += tile) {
      for (let fromX = 0; fromX < width; fromX += tile) {
        const toX = Math.min(width, fromX + tile);
        for (let y = fromY; y < Math.min(height, fromY + tile); y += 1) {
          let target = first + fromX * alongX + y * alongY;
          for (let source = y * width + fromX; source < y * width + toX; source += 1, target += alongX) {
            turned[target] = pixels[source]!;
          }
        }
      }
    }
    return;
  }
  for (let y = 0, source = 0; y < height; y += 1) {
    for (let x = 0, target = 3 * (first + y * alongY); x < width; x += 1, source += 3, target += 3 * alongX) {
      into[target] = data[source]!;
      into[target + 1] = data[source + 1]!;
      into[target + 2] = data[source + 2]!;
    }
  }
}
