import { ownTimeMs, type Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { FrameOutcome } from '../base/frame.ts';
import type { Picture } from '../base/picture.ts';
import type { PipelineResult } from '../base/result.ts';
import type { Stream } from '../stream/stream.ts';
import { FrameOutcomes } from './frame-outcomes.ts';
import type { SourceRate } from './source-rate.ts';

type Result = Extract<FrameOutcome, { kind: 'result' }>;

/** The outcome of a frame, except for errors, which are thrown. */
export type PushedFrame =
  | (Omit<Result, 'result'> & Extract<PipelineResult, { pipeline: 'objects' }>)
  | Extract<FrameOutcome, { kind: 'dropped' }>;

export interface PushOptions {
  /** Unix ms; default: now. */
  readonly captureTimeMs?: number;
}

export interface FrameInputOptions {
  readonly clock: Clock;
  readonly frames: Stream<Picture>;
  /** The outcomes of a pipeline: one for each frame, with its `seq`. */
  readonly outcomes: Stream<FrameOutcome>;
  /** Reads the headers; `decodeMs` as in `Picture`. Throws FRAME_*. */
  readonly readJpeg: (bytes: Uint8Array) => {
    readonly width: number;
    readonly height: number;
    readonly decodeMs?: number;
  };
  /** Its share of the engine. */
  readonly rate: SourceRate;
  readonly onClose: () => void;
}

/**
 * A source of frames inside this program. Its frames wait in a stream like those of a client, and take their turns beside them; when
 * the stream is full the oldest are dropped. `rateFps` is its share of the engine.
 */
export class FrameInput implements Disposable {
  readonly #options: FrameInputOptions;
  readonly #outcomes: FrameOutcomes;
  #lastSeq = 0;
  #isClosed = false;

  constructor(options: FrameInputOptions) {
    this.#options = options;
    this.#outcomes = new FrameOutcomes([options], () => this.close());
  }

  /** Frames a second that the server can process for this source now; Infinity: unlimited. It follows what others use. */
  get rateFps(): number {
    return this.#options.rate.rateFps;
  }

  /** Calls back when the rate has changed by enough to matter. Returns a function that ends that. */
  watchRate(onRate: (rateFps: number) => void): () => void {
    return this.#options.rate.watch(onRate);
  }

  /**
   * Processes one JPEG, which is copied: returns its detections, or why it was left out. Errors: FRAME_* of the picture, INFERENCE_FAILED,
   * WORKER_LOST, STREAM_CLOSED.
   */
  async push(jpeg: Uint8Array, { captureTimeMs }: PushOptions = {}): Promise<PushedFrame> {
    if (!(jpeg instanceof Uint8Array))
      throw new SightlineError('FRAME_NOT_JPEG', 'a frame is a Uint8Array with a JPEG');
    if (captureTimeMs !== undefined && !Number.isFinite(captureTimeMs)) {
      throw new SightlineError(
        'STREAM_OPTION_BAD',
        `captureTimeMs ${captureTimeMs} is not a time in Unix milliseconds`,
      );
    }
    const { width, height, decodeMs = 0 } = this.#options.readJpeg(jpeg);
    if (this.#isClosed) throw new SightlineError('STREAM_CLOSED', 'this source of frames is closed');
    this.#options.rate.frame();
    const seq = ++this.#lastSeq;
    const [outcome] = this.#outcomes.of(seq);
    this.#options.frames.publish({
      seq,
      data: { kind: 'jpeg', bytes: new Uint8Array(jpeg), width, height, decodeMs },
      ...(captureTimeMs !== undefined && { captureTimeMs: ownTimeMs(this.#options.clock, captureTimeMs) }),
    });
    return pushedOf(await outcome!);
  }

  /** Frames without an outcome are reported as dropped. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      // The pipeline reports the frames that it has not processed.
      this.#options.onClose();
    } finally {
      this.#outcomes[Symbol.dispose]();
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Errors: that of the frame; INTERNAL for the result of another pipeline. */
function pushedOf(outcome: FrameOutcome): PushedFrame {
  if (outcome.kind === 'dropped') return outcome;
  if (outcome.kind === 'error') throw new SightlineError(outcome.code, outcome.message);
  const { result, ...others } = outcome;
  if (result.pipeline === 'objects') return { ...others, ...result };
  throw new SightlineError('INTERNAL', `a result of ${result.pipeline} for a source of objects`);
}
