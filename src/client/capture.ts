import { systemClock, wallTimeMs } from '../base/clock.ts';
import { toSightlineError } from '../base/errors.ts';
import type { SightlineError } from '../base/errors.ts';
import type { PipelineName } from '../base/result.ts';
import type { CameraStream, Picture, VideoElement } from './dom.ts';
import type { EncodedPicture } from './encoder.ts';
import { encodingWorker, PictureEncoder } from './encoder.ts';
import { fitInside } from './fit.ts';
import type { Size } from './fit.ts';
import { PendingPictures } from './pictures.ts';
import { RenderLag } from './render-lag.ts';
import type { VideoResult, VideoSession } from './video.ts';

/** V8: no picture leaves the browser with a longer side, whatever the grant. */
const SIDE_MAX = 1280;

/** A capture time that a camera reports is believed when it is at most this old, ms. */
const CAMERA_AGE_MAX_MS = 1_000;

/** A result with its very picture. The picture is only lent: it may be freed once `onResult` has returned. */
export type CapturedResult<P extends PipelineName = 'objects'> = VideoResult<P> & {
  readonly picture: Picture;
};

export interface CaptureOptions<P extends PipelineName = 'objects'> {
  readonly session: Pick<VideoSession<P>, 'send' | 'canSend' | 'grant' | 'on' | 'reportLag'>;
  /** A playing `<video>`, which stays the caller's; or a stream, which the capture owns from now on and stops in the end. */
  readonly source: VideoElement | CameraStream;
  readonly onResult: (result: CapturedResult<P>) => void;
  /** Every frame that was sent; the picture is lent for the call. */
  readonly onFrame?: (frame: {
    readonly seq: number;
    readonly picture: Picture;
    readonly captureTimeMs: number;
  }) => void;
  /** A frame that could not be captured or sent; the next one is tried all the same. */
  readonly onError?: (error: SightlineError) => void;
}

/** `seen = sent + skipped + busy + failed`, but for one that is being encoded. */
export interface CaptureStats {
  /** Frames that the source showed. */
  readonly seen: number;
  readonly sent: number;
  /** Left out because the grant did not allow them. */
  readonly skipped: number;
  /** Left out because the one before was still being encoded. */
  readonly busy: number;
  readonly failed: number;
  /** Time of the last frame's drawing and encoding. */
  readonly encodeMs: number;
  /** Are frames encoded in a worker? From the moment that it is ready, where the browser has such workers. */
  readonly inWorker: boolean;
  /** From a result's arrival to the repaint that shows it, averaged over about a second. */
  readonly shownAfterMs: number;
}

export interface Capture {
  /** `paused`: the page is hidden or the source shows nothing new, so that browsers hand out no frames. */
  readonly state: 'running' | 'paused' | 'stopped';
  stats(): CaptureStats;
  /** Frees every picture, and stops the tracks of a stream; may be called again. */
  stop(): void;
}

/** Sends the source's frames, as fast and as large as the session's grant allows; see `CaptureOptions`. */
export function startCapture<P extends PipelineName = 'objects'>(options: CaptureOptions<P>): Capture {
  return new VideoCapture(options);
}

interface CapturedFrame {
  readonly picture: Picture;
  readonly captureTimeMs: number;
}

class VideoCapture<P extends PipelineName> implements Capture {
  readonly #options: CaptureOptions<P>;
  readonly #video: HTMLVideoElement;
  readonly #stream: MediaStream | undefined;
  readonly #pending: PendingPictures<CapturedFrame>;
  readonly #encoder = new PictureEncoder(encodingWorker());
  readonly #lag = new RenderLag();
  readonly #unsubscribe: (() => void)[];
  readonly #stats = { seen: 0, sent: 0, skipped: 0, busy: 0, failed: 0, encodeMs: 0 };
  #encoding = false;
  #stopped = false;
  #cancelNext: () => void = () => {};
  /** Arrival of the first result that the coming repaint shows. */
  #arrivedMs: number | undefined;
  #repaint = 0;

  constructor(options: CaptureOptions<P>) {
    const { session, source, onResult } = options;
    this.#options = options;
    this.#stream = source instanceof MediaStream ? source : undefined;
    this.#video = source instanceof MediaStream ? playStream(source) : source;
    this.#pending = new PendingPictures(({ picture }) => this.#encoder.release(picture));
    this.#unsubscribe = [
      session.on('result', (received) => {
        this.#awaitRepaint();
        const sent = this.#pending.get(received.result.seq);
        if (sent) onResult({ ...received, picture: sent.picture });
      }),
      // With several pipelines each has its result on the same picture.
      session.on('answered', ({ seqs }) => this.#pending.free(seqs)),
      // The server of another connection knows nothing of the old lag.
      session.on('state', ({ state }) => state === 'open' && this.#lag.forgetReport()),
      onHidden(() => this.#forgetRepaint()),
    ];
    this.#awaitFrame();
  }

  get state(): Capture['state'] {
    if (this.#stopped) return 'stopped';
    return document.hidden || this.#video.paused ? 'paused' : 'running';
  }

  stats(): CaptureStats {
    return { ...this.#stats, inWorker: this.#encoder.isInWorker, shownAfterMs: this.#lag.averageMs };
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#cancelNext();
    this.#forgetRepaint();
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#pending.freeAll();
    this.#encoder.close();
    if (!this.#stream) return;
    for (const track of this.#stream.getTracks()) track.stop();
    this.#video.srcObject = null;
  }

  #awaitFrame(): void {
    this.#cancelNext = onNextFrame(this.#video, (captureTimeMs) => {
      // Before the work, so that a fault in it does not end the capture.
      this.#awaitFrame();
      this.#onFrame(captureTimeMs);
    });
  }

  #onFrame(captureTimeMs: number): void {
    this.#stats.seen++;
    if (this.#encoding) this.#stats.busy++;
    else if (!this.#options.session.canSend()) this.#stats.skipped++;
    else void this.#capture(captureTimeMs);
  }

  /** Takes the frame at once, since the video moves on; sends it when it is encoded. */
  async #capture(captureTimeMs: number): Promise<void> {
    const { session, onFrame, onError } = this.#options;
    const startedMs = performance.now();
    this.#encoding = true;
    let encoded: EncodedPicture | undefined;
    try {
      encoded = await this.#encoder.encode(this.#video, this.#pictureSize(), session.grant.quality);
      this.#stats.encodeMs = performance.now() - startedMs;
      const { jpeg, picture } = encoded;
      const seq = this.#stopped ? undefined : session.send({ jpeg, captureTimeMs });
      if (seq === undefined) {
        this.#stats.skipped++;
        return;
      }
      this.#stats.sent++;
      this.#pending.keep(seq, { picture, captureTimeMs });
      encoded = undefined;
      onFrame?.({ seq, picture, captureTimeMs });
    } catch (thrown) {
      this.#stats.failed++;
      // A caller that stops the capture in the middle of a frame does not want its error.
      if (!this.#stopped) onError?.(toSightlineError(thrown));
    } finally {
      if (encoded) this.#encoder.release(encoded.picture);
      this.#encoding = false;
    }
  }

  #pictureSize(): Size {
    const { grant } = this.#options.session;
    const limit = { width: Math.min(grant.width, SIDE_MAX), height: Math.min(grant.height, SIDE_MAX) };
    return fitInside({ width: this.#video.videoWidth, height: this.#video.videoHeight }, limit);
  }

  /** The drawing of `onResult` is visible with the next repaint: the time until then shows whether the page keeps up. */
  #awaitRepaint(): void {
    if (document.hidden || this.#arrivedMs !== undefined) return;
    this.#arrivedMs = performance.now();
    this.#repaint = requestAnimationFrame(() => {
      const nowMs = performance.now();
      const lagMs = this.#lag.add(nowMs - (this.#arrivedMs ?? nowMs), nowMs);
      this.#arrivedMs = undefined;
      if (lagMs !== undefined) this.#options.session.reportLag(lagMs);
    });
  }

  /** A hidden page is not painted, which says nothing about how it keeps up. */
  #forgetRepaint(): void {
    cancelAnimationFrame(this.#repaint);
    this.#arrivedMs = undefined;
  }
}

function onHidden(callback: () => void): () => void {
  const look = (): void => {
    if (document.hidden) callback();
  };
  document.addEventListener('visibilitychange', look);
  return () => document.removeEventListener('visibilitychange', look);
}

function playStream(stream: MediaStream): HTMLVideoElement {
  const video = document.createElement('video');
  video.muted = true;
  video.playsInline = true;
  video.srcObject = stream;
  // Rejected when the stream is stopped before it began: then there is nothing to play.
  video.play().catch(() => {});
  return video;
}

/**
 * Calls back once, for the next frame that the video shows, with its capture time (Unix ms). A camera's own time is
 * taken where the browser reports it. Browsers without `requestVideoFrameCallback` are asked at every repaint.
 */
function onNextFrame(video: HTMLVideoElement, callback: (captureTimeMs: number) => void): () => void {
  if ('requestVideoFrameCallback' in video) {
    const handle = video.requestVideoFrameCallback((_now, { captureTime }) => {
      const nowMs = performance.now();
      const isCredible = captureTime !== undefined && captureTime <= nowMs && captureTime > nowMs - CAMERA_AGE_MAX_MS;
      callback(wallTimeMs(systemClock, performance.timeOrigin + (isCredible ? captureTime : nowMs)));
    });
    return () => video.cancelVideoFrameCallback(handle);
  }
  return onNextRepaint(video, callback);
}

function onNextRepaint(video: HTMLVideoElement, callback: (captureTimeMs: number) => void): () => void {
  const before = video.currentTime;
  let handle = requestAnimationFrame(function look() {
    if (video.currentTime !== before && video.videoWidth > 0) callback(wallTimeMs(systemClock));
    else handle = requestAnimationFrame(look);
  });
  return () => cancelAnimationFrame(handle);
}
