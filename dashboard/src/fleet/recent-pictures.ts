import type { FrameName } from 'sightline/client/cameras';
import { isSame } from './boxes.ts';

/** Small copies of the last frames that were shown: a result may come when its frame is gone from the screen. */
export class RecentPictures {
  readonly #max: number;
  readonly #width: number;
  /** The oldest first. Their canvases are used again. */
  readonly #pictures: { frame: FrameName; canvas: OffscreenCanvas }[] = [];

  constructor({ max, width }: { readonly max: number; readonly width: number }) {
    this.#max = max;
    this.#width = width;
  }

  add(frame: FrameName, picture: CanvasImageSource, size: { readonly width: number; readonly height: number }): void {
    const width = Math.min(this.#width, size.width);
    const height = Math.max(1, Math.round((width * size.height) / size.width));
    const canvas =
      this.#pictures.length < this.#max ? new OffscreenCanvas(width, height) : this.#pictures.shift()!.canvas;
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    canvas.getContext('2d', { alpha: false })!.drawImage(picture, 0, 0, width, height);
    this.#pictures.push({ frame, canvas });
  }

  of(frame: FrameName): OffscreenCanvas | undefined {
    return this.#pictures.find((picture) => isSame(picture.frame, frame))?.canvas;
  }
}
