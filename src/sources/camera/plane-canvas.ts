import type { Frame } from 'node-av/lib';
import { SightlineError } from '../../base/errors.ts';
import type { Canvas, Colour, Rectangle } from '../../media/overlay.ts';

/** Draws into a picture as an encoder takes it: 4:2:0, ITU-R BT.709, with room below black and above white. It is good for as long as the picture's memory is the same. */
export class PlaneCanvas implements Canvas {
  readonly width: number;
  readonly height: number;
  readonly #planes: readonly [luma: Buffer, u: Buffer, v: Buffer];
  readonly #rowBytes: readonly number[];

  /** Errors: INTERNAL. */
  constructor({ width, height, data, linesize }: Frame) {
    const [luma, u, v] = data ?? [];
    if (!luma || !u || !v)
      throw new SightlineError('INTERNAL', 'a picture without its three planes cannot be drawn on');
    this.width = width;
    this.height = height;
    this.#planes = [luma, u, v];
    // Asked once: it is a new array each time.
    this.#rowBytes = linesize;
  }

  fill({ left, top, right, bottom }: Rectangle, colour: Colour): void {
    const [fromX, toX] = [Math.max(0, left), Math.min(this.width, right)];
    const [fromY, toY] = [Math.max(0, top), Math.min(this.height, bottom)];
    if (fromX >= toX || fromY >= toY) return;
    const values = planesOf(colour);
    this.#fillPlane(0, values[0], fromX, fromY, toX, toY);
    // Whole samples, so that thin lines have their colour.
    const halves = [fromX >> 1, fromY >> 1, (toX + 1) >> 1, (toY + 1) >> 1] as const;
    this.#fillPlane(1, values[1], ...halves);
    this.#fillPlane(2, values[2], ...halves);
  }

  #fillPlane(plane: 0 | 1 | 2, value: number, fromX: number, fromY: number, toX: number, toY: number): void {
    const bytes = this.#planes[plane];
    const rowBytes = this.#rowBytes[plane]!;
    for (let y = fromY; y < toY; y++) bytes.fill(value, y * rowBytes + fromX, y * rowBytes + toX);
  }
}

/** ITU-R BT.709 §3, with 8 bits. */
export function planesOf([red, green, blue]: Colour): readonly [luma: number, u: number, v: number] {
  const luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return [
    Math.round(16 + (luma * 219) / 255),
    Math.round(128 + (((blue - luma) / 1.8556) * 224) / 255),
    Math.round(128 + (((red - luma) / 1.5748) * 224) / 255),
  ];
}
