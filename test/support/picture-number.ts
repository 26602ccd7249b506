/**
 * A number that a picture carries in itself, so that a test can tell which one it has in front of it, after coding, scaling and a browser: 24 bits and a
 * check of 8, as dark and bright cells in two rows over its top fifth.
 */

const COLUMNS = 16;
const ROWS = 2;
/** Part of the picture's height that both rows take. */
const BAND = 0.2;
const DARK = 24;
const BRIGHT = 224;

/** Brightness at a place within the band of cells; undefined: the place is below it. */
export function numberLuma(number: number, x: number, y: number, width: number, height: number): number | undefined {
  const row = Math.floor((y * ROWS) / (height * BAND));
  if (row >= ROWS) return undefined;
  const cell = row * COLUMNS + Math.floor((x * COLUMNS) / width);
  return (withCheck(number) >>> (31 - cell)) & 1 ? BRIGHT : DARK;
}

interface Pixels {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  /** Bytes a pixel, of which the first is looked at: 1 for a plane of luma, 3 for RGB, 4 for a canvas. */
  readonly pixelBytes: number;
  /** Default: rows without padding. */
  readonly rowBytes?: number;
}

/** Undefined: the picture carries none that can be read. */
export function readNumber({
  data,
  width,
  height,
  pixelBytes,
  rowBytes = width * pixelBytes,
}: Pixels): number | undefined {
  let value = 0;
  for (let cell = 0; cell < COLUMNS * ROWS; cell += 1) {
    const x = Math.floor((((cell % COLUMNS) + 0.5) * width) / COLUMNS);
    const y = Math.floor(((Math.floor(cell / COLUMNS) + 0.5) * height * BAND) / ROWS);
    value = value * 2 + (data[y * rowBytes + x * pixelBytes]! > (DARK + BRIGHT) / 2 ? 1 : 0);
  }
  const number = value >>> 8;
  return withCheck(number) === value >>> 0 ? number : undefined;
}

function withCheck(number: number): number {
  // Odd, and of no use to a picture that is all dark or all bright.
  const check = (Math.imul(number + 1, 0x9e3779b1) >>> 24) ^ 0x5a;
  return ((number << 8) | check) >>> 0;
}
