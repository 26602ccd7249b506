import type { FrameDropCause, FrameOutcome } from '../base/frame.ts';
import type { PipelineName } from '../base/result.ts';
import { NO_DROPS, type FrameAccounts } from '../observe/frame-accounts.ts';
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

/** The outgoing answers of one pipeline, and their accounts. */
export class PipelineAnswers {
  readonly pipeline: AttachedPipeline;
  readonly reader: Reader<FrameOutcome>;
  /** Losses not yet reported to the client, by cause. */
  readonly untold = new Map<DropCause, number[]>();
  readonly #dropped: Record<DropCause, number> = { ...NO_DROPS };
  results = 0;
  /** Of these, those that came later than the objective of their class allows. */
  late = 0;
  errors = 0;

  /** `onLost`: the ring was full, or the reader gave up its contents. */
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

  /** Counts losses; `isTold`: there is a client to report them to. Returns how many of that cause wait to be reported. */
  lose(seqs: readonly number[], cause: DropCause | FrameDropCause, isTold: boolean): number {
    this.#dropped[cause] += seqs.length;
    if (!isTold) return 0;
    const untold = this.untold.get(cause) ?? [];
    untold.push(...seqs);
    this.untold.set(cause, untold);
    return untold.length;
  }

  /** Frames that the server left without a result; not those whose client had gone, or did not read. */
  get lost(): number {
    const { queue_full, expired, superseded, stale } = this.#dropped;
    return queue_full + expired + superseded + stale;
  }

  accounts(received: number, queued: number): FrameAccounts {
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
