import { drawDetections, drawHands } from 'sightline/client';
import type { CapturedResult, PipelineName } from 'sightline/client';

/** The canvas: shows a picture with its results, sharp at the screen's resolution. Touched once a frame, and on a resize. */
export class Screen {
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  #shape = '';
  /** The content before the first of several changes of size: copied through a small canvas it would become coarse. */
  #carried: OffscreenCanvas | undefined;

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
    this.#context = canvas.getContext('2d', { alpha: false })!;
    new ResizeObserver(() => this.#resize()).observe(canvas);
  }

  /** Several results of a frame are drawn as they come, on the picture that is already there. */
  show({ result, picture }: CapturedResult<PipelineName>): void {
    const shape = `${picture.width} / ${picture.height}`;
    if (shape !== this.#shape) {
      this.#shape = shape;
      this.#canvas.style.aspectRatio = shape;
      this.#resize();
    }
    this.#carried = undefined;
    const { width, height } = this.#canvas;
    const seq = String(result.seq);
    if (this.#canvas.dataset['seq'] !== seq) this.#context.drawImage(picture, 0, 0, width, height);
    const area = { width, height, scale: this.#scale };
    if (result.pipeline === 'hands') drawHands(this.#context, result.hands, area);
    else drawDetections(this.#context, result.detections, area);
    this.#canvas.dataset['seq'] = seq;
  }

  /** Canvas pixels per CSS pixel: the screen's ratio. */
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
