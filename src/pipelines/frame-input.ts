import { ownTimeMs, type Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { FrameOutcome } from '../base/frame.ts';
import type { Picture } from '../base/picture.ts';
import type { PipelineResult } from '../base/result.ts';
import type { Reader } from '../stream/reader.ts';
import type { Stream } from '../stream/stream.ts';

type Result = Extract<FrameOutcome, { kind: 'result' }>;

/** What became of a frame, but for errors, which are thrown. */
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
  /** A pipeline's, of the frames: one for each, with its `seq`. */
  readonly outcomes: Stream<FrameOutcome>;
  /** Reads the header. Throws FRAME_*. */
  readonly readJpeg: (bytes: Uint8Array) => { readonly width: number; readonly height: number };
  readonly onClose: () => void;
}

/**
 * A source of frames inside this program. Its frames wait in a stream like those of a client, and take their turns beside them: of
 * more than fit the oldest are dropped.
 */
export class FrameInput implements Disposable {
  readonly #options: FrameInputOptions;
  readonly #reader: Reader<FrameOutcome>;
  readonly #waiting = new Map<number, PromiseWithResolvers<PushedFrame>>();
  #lastSeq = 0;
  #isClosed = false;

  constructor(options: FrameInputOptions) {
    this.#options = options;
    this.#reader = options.outcomes.subscribe({
      name: 'program',
      contract: { kind: 'all' },
      onReady: () => this.#take(),
      onClosed: () => this.close(),
    });
  }

  /**
   * What becomes of one JPEG, which is copied: its detections, or why it was left out. Errors: FRAME_* of the picture, INFERENCE_FAILED,
   * WORKER_LOST, STREAM_CLOSED.
   */
  async push(jpeg: Uint8Array, { captureTimeMs }: PushOptions = {}): Promise<PushedFrame> {
    if (!(jpeg instanceof Uint8Array))
      throw new SightlineError('FRAME_NOT_JPEG', 'a frame is a Uint8Array with a JPEG');
    if (captureTimeMs !== undefined && !Number.isFinite(captureTimeMs)) {
      throw new SightlineError('STREAM_OPTION_BAD', `captureTimeMs ${captureTimeMs} is no time in Unix milliseconds`);
    }
    const { width, height } = this.#options.readJpeg(jpeg);
    if (this.#isClosed) throw new SightlineError('STREAM_CLOSED', 'this source of frames is closed');
    const seq = ++this.#lastSeq;
    const outcome = Promise.withResolvers<PushedFrame>();
    this.#waiting.set(seq, outcome);
    this.#options.frames.publish({
      seq,
      data: { kind: 'jpeg', bytes: new Uint8Array(jpeg), width, height },
      ...(captureTimeMs !== undefined && { captureTimeMs: ownTimeMs(this.#options.clock, captureTimeMs) }),
    });
    return await outcome.promise;
  }

  /** Frames that have no outcome yet are told to be dropped. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      // The pipeline tells of what it has not done.
      this.#options.onClose();
    } finally {
      this.#reader.close();
      for (const { resolve } of this.#waiting.values()) resolve({ kind: 'dropped', cause: 'disconnected' });
      this.#waiting.clear();
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #take(): void {
    for (let sample = this.#reader.next(); sample !== undefined; sample = this.#reader.next()) {
      const waiting = this.#waiting.get(sample.seq);
      this.#waiting.delete(sample.seq);
      const outcome = sample.data;
      if (outcome.kind === 'error') waiting?.reject(new SightlineError(outcome.code, outcome.message));
      else waiting?.resolve(outcome.kind === 'result' ? pushedOf(outcome) : outcome);
    }
  }
}

/** Errors: INTERNAL for the result of another pipeline. */
function pushedOf({ result, ...outcome }: Result): PushedFrame {
  if (result.pipeline === 'objects') return { ...outcome, ...result };
  throw new SightlineError('INTERNAL', `a result of ${result.pipeline} for a source of objects`);
}
