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
import type { PipelineHost } from './pipeline-host.ts';
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
  readonly #inputs = new Set<FrameInput>();
  #lastInput = 0;

  constructor(options: FrameSourcesOptions) {
    this.#options = options;
  }

  /** A source of frames in this program. Errors: MODEL_*, STREAM_LIMIT_REACHED, STREAM_CLOSED. */
  async openInput(choice: PipelineChoice = {}): Promise<FrameInput> {
    const { hub, streams, memory, clock, dispatcher, admission, host, imageLimits, frameQueue } = this.#options;
    // No client's name contains a colon.
    const source = `program:${++this.#lastInput}`;
    const frames = streams.frames(`${source}/frames`, frameQueue(), () => account);
    const account = memory.open('program', source);
    const end = (): void => {
      frames.close();
      account.close();
    };
    const rate: SourceRate = new SourceRate({
      clock,
      priority: Priority.normal,
      costMs: () => lane.work.costMs,
      isCostly: () => lane.isCostly,
      guard: (callback) => hub.guard(callback),
    });
    const isWithinGrant = (): boolean => rate.isWithin;
    const opening = host.open({
      source,
      frames,
      account: () => account,
      pipelines: ['objects'],
      choice,
      isWithinGrant,
    });
    const { lane, pipelines } = await opening.catch((thrown: unknown) => {
      end();
      throw thrown;
    });
    const leave = admission.join(rate);
    const input = new FrameInput({
      frames,
      outcomes: pipelines[0]!.outcomes,
      rate,
      clock,
      readJpeg: (bytes) => uprightJpegSize(bytes, imageLimits),
      onClose: () => {
        this.#inputs.delete(input);
        leave();
        dispatcher.detach(lane);
        end();
      },
    });
    this.#inputs.add(input);
    return input;
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
    for (const input of this.#inputs) input.close();
  }
}
