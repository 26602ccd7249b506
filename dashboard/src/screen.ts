import { drawDetections } from 'sightline/client';
import type { CapturedResult } from 'sightline/client';

/** The canvas: shows a picture with its own boxes, sharp at the screen's resolution. Touched once a frame, and on a resize. */
export class Screen {
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  #shape = '';
  /** What was shown before the first of several changes of size: through a small one it would come out coarse. */
  #carried: OffscreenCanvas | undefined;

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
    this.#context = canvas.getContext('2d', { alpha: false })!;
    new ResizeObserver(() => this.#resize()).observe(canvas);
  }

  show({ result, picture }: CapturedResult): void {
    const shape = `${picture.width} / ${picture.height}`;
    if (shape !== this.#shape) {
      this.#shape = shape;
      this.#canvas.style.aspectRatio = shape;
      this.#resize();
    }
    this.#carried = undefined;
    const { width, height } = this.#canvas;
    this.#context.drawImage(picture, 0, 0, width, height);
    drawDetections(this.#context, result.detections, { width, height, scale: this.#scale });
    this.#canvas.dataset['seq'] = String(result.seq);
  }

  /** Canvas pixels per CSS pixel: that of the screen. */
  get #scale(): number {
    return globalThis.devicePixelRatio || 1;
  }

  /** A canvas is blank after a change of size: the picture that it shows is carried over, for when no other one comes. */
  #resize(): void {
    const width = Math.round(this.#canvas.clientWidth * this.#scale);
    const height = Math.round(this.#canvas.clientHeight * this.#scale);
    if (width === 0 || height === 0 || (width === this.#canvas.width && height === this.#canvas.height)) return;
    this.#carried ??= copyOf(this.#canvas);
    this.#canvas.width = width;
    this.#canvas.height = height;
    this.#context.drawImage(this.#carried, 0, 0, width, height);
  }
}

function copyOf(canvas: HTMLCanvasElement): OffscreenCanvas {
  const copy = new OffscreenCanvas(canvas.width, canvas.height);
  copy.getContext('2d')?.drawImage(canvas, 0, 0);
  return copy;
}
