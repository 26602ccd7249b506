import type { FrameDropCause, FrameOutcome } from '../base/frame.ts';
import type { PipelineName } from '../base/result.ts';
import type { DropCause } from '../protocol/video.ts';
import type { Reader } from '../stream/reader.ts';
import type { Stream } from '../stream/stream.ts';

/** A pipeline that works for a session. */
export interface AttachedPipeline {
  readonly name: PipelineName;
  /** One for each frame. */
  readonly outcomes: Stream<FrameOutcome>;
  /** Id of its model. */
  readonly model: string;
  /** Frames that workers hold now. */
  readonly inFlight: () => number;
}

/** What became of the frames of one pipeline: `received = results + errors + Σ dropped + queued + in_flight + unsent`. */
export interface VideoSessionAccounts {
  /** Frames that the pipeline owes an answer. */
  readonly received: number;
  readonly results: number;
  readonly errors: number;
  readonly dropped: Readonly<Record<DropCause, number>>;
  /** Waiting for a worker; with a worker; answered but not handed to the socket yet. */
  readonly queued: number;
  readonly in_flight: number;
  readonly unsent: number;
}

/** The answers of one pipeline on their way to the socket, and their books. */
export class PipelineAnswers {
  readonly pipeline: AttachedPipeline;
  readonly reader: Reader<FrameOutcome>;
  /** Losses that the client has not been told yet, by cause. */
  readonly untold = new Map<DropCause, number[]>();
  readonly #dropped = noLosses();
  results = 0;
  errors = 0;

  /** `onLost`: the ring was full, or the reader let go of what it held. */
  constructor(
    pipeline: AttachedPipeline,
    on: {
      readonly ready: () => void;
      readonly lost: (answers: PipelineAnswers, seqs: readonly number[], cause: DropCause) => void;
    },
  ) {
    this.pipeline = pipeline;
    this.reader = pipeline.outcomes.subscribe({
      name: 'socket',
      contract: { kind: 'all' },
      onReady: on.ready,
      onLost: (seqs, cause) => on.lost(this, seqs, cause === 'overflow' ? 'slow_reader' : 'disconnected'),
    });
  }

  /** Counts losses; `isTold`: there is a client that is to hear of them. Gives how many of that cause wait to be told. */
  lose(seqs: readonly number[], cause: DropCause | FrameDropCause, isTold: boolean): number {
    this.#dropped[cause] += seqs.length;
    if (!isTold) return 0;
    const untold = this.untold.get(cause) ?? [];
    untold.push(...seqs);
    this.untold.set(cause, untold);
    return untold.length;
  }

  accounts(received: number, queued: number): VideoSessionAccounts {
    return {
      received,
      results: this.results,
      errors: this.errors,
      dropped: { ...this.#dropped },
      queued,
      in_flight: this.pipeline.inFlight(),
      unsent: this.reader.queued,
    };
  }
}

export function noLosses(): Record<DropCause, number> {
  return { queue_full: 0, expired: 0, superseded: 0, stale: 0, slow_reader: 0, disconnected: 0 };
}

/** The books of several pipelines, or sessions, as one. */
export function addAccounts(one: VideoSessionAccounts, other: VideoSessionAccounts): VideoSessionAccounts {
  return {
    received: one.received + other.received,
    results: one.results + other.results,
    errors: one.errors + other.errors,
    dropped: addLosses(one.dropped, other.dropped),
    queued: one.queued + other.queued,
    in_flight: one.in_flight + other.in_flight,
    unsent: one.unsent + other.unsent,
  };
}

export function addLosses(
  one: Readonly<Record<DropCause, number>>,
  other: Readonly<Record<DropCause, number>>,
): Record<DropCause, number> {
  const causes = Object.keys(one) as DropCause[];
  return Object.fromEntries(causes.map((cause) => [cause, one[cause] + other[cause]])) as Record<DropCause, number>;
}
