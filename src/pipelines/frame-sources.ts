import type { Clock } from '../base/clock.ts';
import type { Picture } from '../base/picture.ts';
import { Priority } from '../base/sample.ts';
import { uprightJpegSize, type ImageLimits } from '../media/jpeg.ts';
import type { MemoryAccount, MemoryLedger } from '../fences/memory-ledger.ts';
import type { FrameStreams } from '../stream/frame-streams.ts';
import type { Hub } from '../stream/hub.ts';
import type { Stream } from '../stream/stream.ts';
import type { Admission } from './admission.ts';
import type { Dispatcher } from './dispatcher.ts';
import { FrameInput } from './frame-input.ts';
import type { PipelineChoice } from './pipeline.ts';
import type { OpenPipeline, PipelineHost } from './pipeline-host.ts';
import { SourceRate } from './source-rate.ts';

/** A session that asks for pipelines. */
export interface SessionRequest extends PipelineChoice {
  /** Names, as the client wrote them. */
  readonly pipelines: readonly string[];
  readonly clientId: string;
  readonly frames: Stream<Picture>;
  /** To whom its outcomes are charged. */
  readonly account: () => MemoryAccount;
  readonly isWithinGrant: () => boolean;
}

/** A source of frames in this program. */
export interface ProgramSource {
  /** Unique among those that are open. */
  readonly source: string;
  /** Names. */
  readonly pipelines: readonly string[];
  readonly choice: PipelineChoice;
  /** As in `SourceRequest`. */
  readonly isChoiceForSome?: boolean;
  /** Frames that may wait for a worker: when there are more, the oldest go. */
  readonly queue: number;
  /** Left out: normal. */
  readonly priority?: () => Priority;
  /** It sends nothing at all, and needs no share of the engine. */
  readonly isAway?: () => boolean;
  /** To whom its frames and outcomes are charged. */
  readonly account: () => MemoryAccount;
}

export interface SourceWork {
  readonly frames: Stream<Picture>;
  /** In the order of the request. */
  readonly pipelines: readonly OpenPipeline[];
  readonly rate: SourceRate;
  /** Frames that wait. */
  queued(): number;
  /** From a worker's getting one of its frames until it is done, ms; 0: not known. */
  serviceMs(): number;
  /** Its waiting frames are answered. Idempotent. */
  close(): void;
}

export interface FrameSourcesOptions {
  readonly hub: Hub;
  readonly streams: FrameStreams;
  readonly memory: MemoryLedger;
  readonly clock: Clock;
  readonly dispatcher: Dispatcher;
  readonly admission: Admission;
  readonly host: PipelineHost;
  readonly imageLimits: ImageLimits;
  /** Frames of a source of this program that may wait for a worker. */
  readonly frameQueue: () => number;
}

/** Connects frames of sessions, and of this program, to their pipelines. */
export class FrameSources {
  readonly #options: FrameSourcesOptions;
  /** Ends of the sources of this program. */
  readonly #open = new Set<() => void>();
  #lastInput = 0;

  constructor(options: FrameSourcesOptions) {
    this.#options = options;
  }

  /** A source of frames in this program. Errors: MODEL_*, STREAM_LIMIT_REACHED, STREAM_CLOSED. */
  async openInput(choice: PipelineChoice = {}): Promise<FrameInput> {
    const { memory, clock, imageLimits, frameQueue } = this.#options;
    // No client's name contains a colon.
    const source = `program:${++this.#lastInput}`;
    const account = memory.open('program', source);
    const opening = this.open({ source, pipelines: ['objects'], choice, queue: frameQueue(), account: () => account });
    const work = await opening.catch((thrown: unknown) => {
      account.close();
      throw thrown;
    });
    return new FrameInput({
      frames: work.frames,
      outcomes: work.pipelines[0]!.outcomes,
      rate: work.rate,
      clock,
      readJpeg: (bytes) => uprightJpegSize(bytes, imageLimits),
      onClose: () => {
        work.close();
        account.close();
      },
    });
  }

  /**
   * The pipelines of a source without a socket, with their models ready, and its share of the engine. Errors: PIPELINE_UNKNOWN, QUERY_BAD, MODEL_*,
   * STREAM_LIMIT_REACHED, STREAM_CLOSED.
   */
  async open(request: ProgramSource): Promise<SourceWork> {
    const { source, pipelines: names, choice, isChoiceForSome = false, queue, priority, isAway, account } = request;
    const { hub, streams, clock, dispatcher, admission, host } = this.#options;
    const frames = streams.frames(`${source}/frames`, queue, account);
    const rate: SourceRate = new SourceRate({
      clock,
      priority: priority ?? (() => Priority.normal),
      ...(isAway && { isAway }),
      costMs: () => lane.work.costMs,
      isCostly: () => lane.isCostly,
      guard: (callback) => hub.guard(callback),
    });
    const isWithinGrant = (): boolean => rate.isWithin;
    const opening = host.open({ source, frames, account, pipelines: names, choice, isChoiceForSome, isWithinGrant });
    const { lane, pipelines } = await opening.catch((thrown: unknown) => {
      frames.close();
      throw thrown;
    });
    const leave = admission.join(rate);
    const close = (): void => {
      if (!this.#open.delete(close)) return;
      leave();
      // Its waiting frames are answered.
      dispatcher.detach(lane);
      frames.close();
    };
    this.#open.add(close);
    return { frames, pipelines, rate, queued: () => lane.reader.queued, serviceMs: () => lane.work.serviceMs, close };
  }

  /** The pipelines of one session, with their models ready. Errors: PIPELINE_UNKNOWN, QUERY_BAD, MODEL_*, STREAM_LIMIT_REACHED. */
  async attach({ clientId, frames, account, pipelines: names, isWithinGrant, ...choice }: SessionRequest) {
    const { dispatcher, host } = this.#options;
    const { model, confidence, iou } = choice;
    const { lane, pipelines } = await host.open({
      source: clientId,
      frames,
      account,
      pipelines: names,
      choice: { model, confidence, iou },
      isWithinGrant,
    });
    return {
      pipelines,
      queued: () => lane.reader.queued,
      serviceMs: () => lane.work.serviceMs,
      costMs: () => lane.work.costMs,
      isCostly: () => lane.isCostly,
      isDear: (picture: Picture) => lane.isDear(picture),
      discardQueued: () => lane.discardQueued(),
      detach: () => dispatcher.detach(lane),
    };
  }

  /** Closes the sources of this program; their waiting frames are answered. */
  close(): void {
    for (const close of this.#open) close();
  }
}
