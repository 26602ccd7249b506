import { SightlineError } from '../base/errors.ts';
import { drawScaled, encodeJpeg, makePicture } from './canvas.ts';
import type { Canvas, Picture } from './dom.ts';
import type { Size } from './fit.ts';

/** The worker's input, which it closes. */
export interface EncodeRequest extends Size {
  readonly source: VideoFrame | ImageBitmap;
  /** 1..100. */
  readonly quality: number;
}

export type EncodeReply =
  | { readonly type: 'ready' }
  | { readonly type: 'encoded'; readonly jpeg: Uint8Array<ArrayBuffer>; readonly picture: ImageBitmap }
  | { readonly type: 'failed'; readonly message: string };

/** The part of a `Worker` that is needed. */
export interface EncodingWorkerLike {
  postMessage(request: EncodeRequest, transfer: Transferable[]): void;
  addEventListener(type: 'message', listener: (event: { readonly data: EncodeReply }) => void): void;
  addEventListener(type: 'error' | 'messageerror', listener: () => void): void;
  terminate(): void;
}

/** A JPEG, and the picture that is in it. */
export interface EncodedPicture {
  readonly jpeg: Uint8Array<ArrayBuffer>;
  readonly picture: Picture;
}

/** A worker that does not answer for this long will not answer any more. */
const ANSWER_TIMEOUT_MS = 5_000;
/** Idle canvases, for pictures that are encoded in place. */
const IDLE_MAX = 4;

/**
 * Makes JPEGs of a video's pictures, one at a time: in a worker, so that neither the page waits for the encoder nor the encoder
 * for the page. Until the worker reports that it is ready, and for good once it fails or when it never comes (a browser without
 * `OffscreenCanvas` in workers, a Content-Security-Policy without `worker-src`), they are made in place.
 */
export class PictureEncoder {
  readonly #idle: Canvas[] = [];
  #worker: EncodingWorkerLike | undefined;
  #isReady = false;
  #answer: PromiseWithResolvers<EncodedPicture> | undefined;

  constructor(worker: EncodingWorkerLike | undefined) {
    this.#worker = worker;
    worker?.addEventListener('message', ({ data }) => this.#onReply(data));
    for (const event of ['error', 'messageerror'] as const) {
      worker?.addEventListener(event, () => this.#giveUp('the encoding worker is gone'));
    }
  }

  /** Are pictures made in the worker now? */
  get isInWorker(): boolean {
    return this.#isReady;
  }

  /**
   * The video's picture at the time of the call; not before the last call has ended. Errors: FRAME_UNDECODABLE, or those of the
   * browser for a video that it does not let the page read.
   */
  encode(video: HTMLVideoElement, size: Size, quality: number): Promise<EncodedPicture> {
    return this.#isReady ? this.#encodeInWorker(video, size, quality) : this.#encodeHere(video, size, quality);
  }

  /** The picture is not needed any more. */
  release(picture: Picture): void {
    if ('close' in picture) picture.close();
    else if (this.#idle.length < IDLE_MAX) this.#idle.push(picture);
  }

  close(): void {
    this.#giveUp('the capture was stopped');
    this.#idle.length = 0;
  }

  async #encodeHere(video: HTMLVideoElement, size: Size, quality: number): Promise<EncodedPicture> {
    const picture = this.#idle.pop() ?? makePicture(size);
    try {
      drawScaled(picture, video, size);
      return { jpeg: await encodeJpeg(picture, quality), picture };
    } catch (thrown) {
      this.release(picture);
      throw thrown;
    }
  }

  async #encodeInWorker(video: HTMLVideoElement, size: Size, quality: number): Promise<EncodedPicture> {
    const source = await frameOf(video);
    if (!this.#worker) {
      // It was closed while the frame was taken.
      source.close();
      return this.#encodeHere(video, size, quality);
    }
    const { width, height } = size;
    const answer = Promise.withResolvers<EncodedPicture>();
    this.#answer = answer;
    const timer = setTimeout(() => this.#giveUp('the encoding worker does not answer'), ANSWER_TIMEOUT_MS);
    try {
      this.#worker.postMessage({ source, width, height, quality }, [source]);
      return await answer.promise;
    } finally {
      clearTimeout(timer);
      this.#answer = undefined;
    }
  }

  #onReply(reply: EncodeReply): void {
    if (reply.type === 'encoded') this.#answer?.resolve(reply);
    else if (reply.type === 'ready') this.#isReady = true;
    else this.#giveUp(`the encoding worker failed: ${reply.message}`);
  }

  /** The worker's current picture is lost; the next one is made in place. */
  #giveUp(why: string): void {
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#isReady = false;
    this.#answer?.reject(new SightlineError('FRAME_UNDECODABLE', why));
  }
}

/** The video's current picture, in a form that can be passed to a worker. */
function frameOf(video: HTMLVideoElement): VideoFrame | Promise<ImageBitmap> {
  if (typeof VideoFrame !== 'function') return createImageBitmap(video);
  const frame = new VideoFrame(video);
  // Not all browsers rotate a frame of a video that was recorded sideways.
  if (frame.displayWidth === video.videoWidth && frame.displayHeight === video.videoHeight) return frame;
  frame.close();
  return createImageBitmap(video);
}

/** Undefined where there are no workers that draw, or where the page forbids them. */
export function encodingWorker(): EncodingWorkerLike | undefined {
  if (typeof Worker !== 'function' || typeof OffscreenCanvas !== 'function') return undefined;
  try {
    // The ending is that of the published package; bundlers find the source in the clone by it as well.
    return new Worker(new URL('./encoding-worker.js', import.meta.url), { type: 'module' });
  } catch {
    return undefined;
  }
}
