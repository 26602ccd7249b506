import type { Clock } from '../base/clock.ts';
import { toSightlineError } from '../base/errors.ts';
import type { FrameDropCause, FrameOutcome, VideoFrame } from '../base/frame.ts';
import type { Sample } from '../base/sample.ts';
import type { Engine, InferenceOutcome } from '../inference/engine/types.ts';
import type { Reader } from '../stream/reader.ts';
import type { Stream } from '../stream/stream.ts';

/**
 * The `objects` pipeline: frames in, one outcome for each of them out, in the order of the frames.
 *
 * Frames wait in their streams, not here: only when the engine has a free slot is one taken, so that it is the newest
 * decision about which frame is worth a worker's time. Lanes take turns; a frame of higher priority goes first.
 */

export interface DetectLaneOptions {
  readonly frames: Stream<VideoFrame>;
  /** Belongs to the lane from now on: closed by `detach`. */
  readonly outcomes: Stream<FrameOutcome>;
  readonly modelId: string;
  readonly confidence?: number;
  readonly iou?: number;
}

export interface DetectPipelineOptions {
  readonly engine: Engine;
  readonly clock: Clock;
  /** Frames of one lane that may be with the engine at once. */
  readonly laneInFlightMax: number;
  /** A lane whose oldest frame is with a worker for longer than this gives it up for the newer ones behind it. */
  readonly stallTimeoutMs: number;
}

/** A frame that is with the engine. Its outcome is published when every older one of the lane has been. */
interface InFlight {
  readonly sample: Sample<VideoFrame>;
  readonly takenTimeMs: number;
  outcome: FrameOutcome | undefined;
  /** Its outcome is out already (it was given up): what the worker still says comes too late. */
  abandoned: boolean;
}

export interface DetectLaneCounts {
  /** Frames that are with the engine. */
  readonly inFlight: number;
  readonly results: number;
  readonly errors: number;
  readonly dropped: Readonly<Record<FrameDropCause, number>>;
}

/** One stream's place in the pipeline. */
export class DetectLane {
  readonly options: DetectLaneOptions;
  readonly reader: Reader<VideoFrame>;
  readonly #stallTimeoutMs: number;
  readonly #clock: Clock;
  readonly #inFlight: InFlight[] = [];
  readonly #dropped: Record<FrameDropCause, number> = { queue_full: 0, expired: 0, stale: 0, disconnected: 0 };
  #busy = 0;
  #results = 0;
  #errors = 0;
  #closed = false;

  constructor(options: DetectLaneOptions, clock: Clock, stallTimeoutMs: number, onReady: () => void) {
    this.options = options;
    this.#clock = clock;
    this.#stallTimeoutMs = stallTimeoutMs;
    this.reader = options.frames.subscribe({
      name: 'objects',
      contract: { kind: 'all' },
      onReady,
      onLost: (seqs, cause) => {
        for (const seq of seqs)
          this.#publishDropped(
            seq,
            cause === 'overflow' ? 'queue_full' : cause === 'expired' ? 'expired' : 'disconnected',
          );
      },
    });
  }

  /** Frames that workers hold, given-up ones included: what bounds this lane's share of the engine. */
  get busy(): number {
    return this.#busy;
  }

  /** The frame to process next, now counted as in flight. */
  take(): InFlight | undefined {
    const sample = this.reader.next();
    if (!sample) return undefined;
    const entry: InFlight = { sample, takenTimeMs: this.#clock.now(), outcome: undefined, abandoned: false };
    this.#inFlight.push(entry);
    this.#busy++;
    return entry;
  }

  /** The engine is done with a frame: publishes it and those behind it that waited for it. */
  settle(entry: InFlight, outcome: FrameOutcome): void {
    this.#busy--;
    if (entry.abandoned) return;
    entry.outcome = outcome;
    this.#giveUpStalled();
    while (this.#inFlight[0]?.outcome) {
      const done = this.#inFlight.shift()!;
      this.#publish(done.sample, done.outcome!);
    }
  }

  /** Leaves every frame out that no worker has yet. */
  discardQueued(): void {
    this.reader.drop('disconnected');
  }

  counts(): DetectLaneCounts {
    return {
      inFlight: this.#inFlight.length,
      results: this.#results,
      errors: this.#errors,
      dropped: { ...this.#dropped },
    };
  }

  close(): void {
    if (this.#closed) return;
    this.reader.close();
    for (const entry of this.#inFlight.splice(0)) {
      entry.abandoned = true;
      this.#publishDropped(entry.sample.seq, 'disconnected', entry.sample);
    }
    this.#closed = true;
    this.options.outcomes.close();
  }

  #giveUpStalled(): void {
    const now = this.#clock.now();
    while (
      this.#inFlight.length > 1 &&
      !this.#inFlight[0]!.outcome &&
      now - this.#inFlight[0]!.takenTimeMs > this.#stallTimeoutMs
    ) {
      const stalled = this.#inFlight.shift()!;
      stalled.abandoned = true;
      this.#publishDropped(stalled.sample.seq, 'stale', stalled.sample);
    }
  }

  #publishDropped(seq: number, cause: FrameDropCause, sample?: Sample<VideoFrame>): void {
    this.#publish({ seq, captureTimeMs: sample?.captureTimeMs ?? this.#clock.now() }, { kind: 'dropped', cause });
  }

  #publish(frame: { seq: number; captureTimeMs: number }, outcome: FrameOutcome): void {
    if (this.#closed) return;
    if (outcome.kind === 'result') this.#results++;
    else if (outcome.kind === 'error') this.#errors++;
    else this.#dropped[outcome.cause]++;
    this.options.outcomes.publish({ seq: frame.seq, captureTimeMs: frame.captureTimeMs, data: outcome });
  }
}

export class DetectPipeline {
  readonly #options: DetectPipelineOptions;
  /** In the order of their turns: whoever was served goes to the end. */
  readonly #lanes: DetectLane[] = [];

  constructor(options: DetectPipelineOptions) {
    this.#options = options;
    options.engine.onFree = () => this.#pump();
  }

  attach(lane: DetectLaneOptions): DetectLane {
    const attached = new DetectLane(lane, this.#options.clock, this.#options.stallTimeoutMs, () => this.#pump());
    this.#lanes.push(attached);
    return attached;
  }

  /** Idempotent. What the lane still had queued or in flight is published as dropped before its outcomes close. */
  detach(lane: DetectLane): void {
    const index = this.#lanes.indexOf(lane);
    if (index >= 0) this.#lanes.splice(index, 1);
    lane.close();
  }

  #pump(): void {
    while (this.#options.engine.freeSlots > 0) {
      const lane = this.#nextLane();
      const entry = lane?.take();
      if (!lane || !entry) return;
      void this.#process(lane, entry);
    }
  }

  /** The lane whose head has the highest priority; among equals the one that waited longest for its turn. */
  #nextLane(): DetectLane | undefined {
    let best = -1;
    let bestPriority = -1;
    for (let i = 0; i < this.#lanes.length; i++) {
      const lane = this.#lanes[i]!;
      if (lane.busy >= this.#options.laneInFlightMax) continue;
      const head = lane.reader.peek();
      if (head && head.priority > bestPriority) {
        best = i;
        bestPriority = head.priority;
      }
    }
    if (best < 0) return undefined;
    const [lane] = this.#lanes.splice(best, 1);
    this.#lanes.push(lane!);
    return lane;
  }

  async #process(lane: DetectLane, entry: InFlight): Promise<void> {
    const { modelId, confidence, iou } = lane.options;
    let outcome: FrameOutcome;
    try {
      const done = await this.#options.engine.run({
        modelId,
        picture: { kind: 'jpeg', bytes: entry.sample.data.jpeg },
        ...(confidence !== undefined && { confidence }),
        ...(iou !== undefined && { iou }),
      });
      outcome = resultOf(entry.sample, done);
    } catch (thrown) {
      const { code, message } = toSightlineError(thrown, 'INFERENCE_FAILED');
      outcome = { kind: 'error', code, message };
    }
    lane.settle(entry, outcome);
    // A lane at its bound has room again, which the engine's own free slots do not tell.
    this.#pump();
  }
}

function resultOf(sample: Sample<VideoFrame>, done: InferenceOutcome): FrameOutcome {
  return {
    kind: 'result',
    width: done.width,
    height: done.height,
    detections: done.detections,
    receivedTimeMs: sample.publishedTimeMs,
    startedTimeMs: done.startedTimeMs,
    stagesMs: done.stagesMs,
  };
}
