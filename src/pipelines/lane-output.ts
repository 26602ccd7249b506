import type { Clock } from '../base/clock.ts';
import type { FrameDropCause, FrameOutcome } from '../base/frame.ts';
import type { Picture } from '../base/picture.ts';
import type { PipelineName } from '../base/result.ts';
import type { Sample } from '../base/sample.ts';
import type { ProgramCall } from '../inference/engine/types.ts';
import type { Stream } from '../stream/stream.ts';

/** One pipeline for the frames of a lane. */
export interface LanePipeline extends Omit<ProgramCall, 'state'> {
  readonly name: PipelineName;
  /** Owned by the lane from now on: closed when the lane is detached. */
  readonly outcomes: Stream<FrameOutcome>;
  /** Its program needs the state of frame n for frame n + 1: then the lane has one frame with the engine at a time. */
  readonly isOrdered?: boolean;
}

/** Where a frame of a lane is that one of its pipelines has got. */
export interface OutputCounts {
  /** Frames that are with the engine. */
  readonly inFlight: number;
  readonly results: number;
  readonly errors: number;
  readonly dropped: Readonly<Record<FrameDropCause, number>>;
}

/** A frame that is with the engine. Its outcome is published when every older one of the pipeline has been. */
interface InFlight {
  readonly sample: Sample<Picture>;
  readonly takenTimeMs: number;
  outcome: FrameOutcome | undefined;
}

interface KeptState {
  readonly position: number;
  readonly captureTimeMs: number;
  readonly state: unknown;
}

/** An older state does not fit the picture: the program begins anew. */
const STATE_AGE_MAX_MS = 1_000;

/** The output of one pipeline of a lane: outcomes in the order of the frames, accounts of its own, and the state between frames. */
export class LaneOutput {
  readonly pipeline: LanePipeline;
  readonly #clock: Clock;
  readonly #stallTimeoutMs: number;
  readonly #inFlight: InFlight[] = [];
  readonly #dropped: Record<FrameDropCause, number> = {
    queue_full: 0,
    expired: 0,
    superseded: 0,
    stale: 0,
    disconnected: 0,
  };
  #kept: KeptState | undefined;
  #results = 0;
  #errors = 0;
  #closed = false;

  constructor(pipeline: LanePipeline, clock: Clock, stallTimeoutMs: number) {
    this.pipeline = pipeline;
    this.#clock = clock;
    this.#stallTimeoutMs = stallTimeoutMs;
  }

  /** A frame goes to the engine: returns the call of the program. */
  begin(sample: Sample<Picture>): ProgramCall {
    this.#inFlight.push({ sample, takenTimeMs: this.#clock.now(), outcome: undefined });
    const { program, models, settings } = this.pipeline;
    const state = this.#stateFor(sample);
    return { program, models, settings, ...(state !== undefined && { state }) };
  }

  /** The engine is done with a frame: publishes it and those behind it that waited for it. `state`: the output for the next one. */
  settle(sample: Sample<Picture>, outcome: FrameOutcome, state?: unknown): void {
    const entry = this.#inFlight.find((one) => one.sample.position === sample.position);
    // It was given up: newer ones are out already, or the lane is closed.
    if (!entry) return;
    entry.outcome = outcome;
    if (outcome.kind === 'result') this.#keep(sample, state);
    this.#giveUpStalled();
    while (this.#inFlight[0]?.outcome) {
      const done = this.#inFlight.shift()!;
      this.#publish(done.sample, done.outcome!);
    }
  }

  /** A frame that never got to the engine. */
  drop(seq: number, cause: FrameDropCause): void {
    this.#publishDropped(seq, cause);
  }

  counts(): OutputCounts {
    return {
      inFlight: this.#inFlight.length,
      results: this.#results,
      errors: this.#errors,
      dropped: { ...this.#dropped },
    };
  }

  /** Publishes frames with the engine as dropped, then closes the outcomes. Idempotent. */
  close(): void {
    if (this.#closed) return;
    for (const { sample } of this.#inFlight.splice(0)) this.#publishDropped(sample.seq, 'disconnected', sample);
    this.#closed = true;
    this.#kept = undefined;
    this.pipeline.outcomes.close();
  }

  #stateFor({ captureTimeMs }: Sample<Picture>): unknown {
    if (!this.#kept) return undefined;
    const ageMs = Math.abs(captureTimeMs - this.#kept.captureTimeMs);
    return ageMs <= STATE_AGE_MAX_MS ? this.#kept.state : undefined;
  }

  #keep({ position, captureTimeMs }: Sample<Picture>, state: unknown): void {
    if (position > (this.#kept?.position ?? -1)) this.#kept = { position, captureTimeMs, state };
  }

  #giveUpStalled(): void {
    const nowMs = this.#clock.now();
    while (
      this.#inFlight.length > 1 &&
      !this.#inFlight[0]!.outcome &&
      nowMs - this.#inFlight[0]!.takenTimeMs > this.#stallTimeoutMs
    ) {
      const { sample } = this.#inFlight.shift()!;
      this.#publishDropped(sample.seq, 'stale', sample);
    }
  }

  #publishDropped(seq: number, cause: FrameDropCause, sample?: Sample<Picture>): void {
    this.#publish({ seq, captureTimeMs: sample?.captureTimeMs ?? this.#clock.now() }, { kind: 'dropped', cause });
  }

  #publish(frame: { seq: number; captureTimeMs: number }, outcome: FrameOutcome): void {
    if (this.#closed) return;
    if (outcome.kind === 'result') this.#results++;
    else if (outcome.kind === 'error') this.#errors++;
    else this.#dropped[outcome.cause]++;
    this.pipeline.outcomes.publish({ seq: frame.seq, captureTimeMs: frame.captureTimeMs, data: outcome });
  }
}
