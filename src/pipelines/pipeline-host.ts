import { SightlineError } from '../base/errors.ts';
import type { FrameOutcome } from '../base/frame.ts';
import type { Picture } from '../base/picture.ts';
import type { PipelineName } from '../base/result.ts';
import type { Config } from '../config/schema.ts';
import type { MemoryAccount } from '../fences/memory-ledger.ts';
import type { FrameStreams } from '../stream/frame-streams.ts';
import type { Stream } from '../stream/stream.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { FrameLane } from './frame-lane.ts';
import type { LanePipeline } from './lane-output.ts';
import type { ModelSource, PipelineChoice, PreparedPipeline } from './pipeline.ts';
import { pipelineOf } from './registry.ts';

export interface PipelineHostOptions {
  readonly streams: FrameStreams;
  readonly dispatcher: Dispatcher;
  readonly models: ModelSource;
  readonly config: () => Config;
}

/** A source of frames, and the pipelines that it asks for. */
export interface SourceRequest {
  /** Unique among those that are open; its streams are called `<source>/<pipeline>`. */
  readonly source: string;
  readonly frames: Stream<Picture>;
  /** To whom its outcomes are charged. */
  readonly account: () => MemoryAccount;
  /** Names: at least one, none twice. */
  readonly pipelines: readonly string[];
  readonly choice: PipelineChoice;
  /** An option goes to those pipelines that take it; else all of them must. */
  readonly isChoiceForSome?: boolean;
  /** The source keeps to its grant; left out: it always does. */
  readonly isWithinGrant?: () => boolean;
}

/** One pipeline that works for a source. */
export interface OpenPipeline {
  readonly name: PipelineName;
  readonly outcomes: Stream<FrameOutcome>;
  /** Id of its model. */
  readonly model: string;
  /** As in `PreparedPipeline`. */
  readonly input: PreparedPipeline['input'];
  /** Frames that workers hold now. */
  readonly inFlight: () => number;
}

export interface OpenSource {
  /** Released by `Dispatcher.detach`. */
  readonly lane: FrameLane;
  /** In the order of the request. */
  readonly pipelines: readonly OpenPipeline[];
}

/** Opens lanes for the frames of sources, with the pipelines that each of them asks for. */
export class PipelineHost {
  readonly #options: PipelineHostOptions;

  constructor(options: PipelineHostOptions) {
    this.#options = options;
  }

  /** Errors: PIPELINE_UNKNOWN, QUERY_BAD (an option that a pipeline does not take), MODEL_*, STREAM_LIMIT_REACHED, STREAM_CLOSED. */
  async open(request: SourceRequest): Promise<OpenSource> {
    const { source, frames, account, pipelines, choice, isChoiceForSome = false, isWithinGrant } = request;
    const { streams, dispatcher, models, config } = this.#options;
    const wanted = pipelines.map(pipelineOf);
    for (const key of Object.keys(choice) as (keyof PipelineChoice)[]) {
      if (choice[key] === undefined) continue;
      const others = wanted.filter(({ choices }) => !choices.includes(key));
      if (others.length === 0 || (isChoiceForSome && others.length < wanted.length)) continue;
      throw new SightlineError('QUERY_BAD', `the pipeline ${others[0]!.name} takes no ${key}`);
    }
    const prepared = await Promise.all(wanted.map((pipeline) => pipeline.prepare(models, config(), choice)));
    const outcomes: Stream<FrameOutcome>[] = [];
    try {
      for (const { name } of wanted) {
        outcomes.push(streams.outcomes(`${source}/${name}`, config().streaming.results_history, account));
      }
    } catch (thrown) {
      for (const stream of outcomes) stream.close();
      throw thrown;
    }
    const parts = wanted.map(({ name, isOrdered }, i) => lanePipeline(name, isOrdered, prepared[i]!, outcomes[i]!)) as [
      LanePipeline,
      ...LanePipeline[],
    ];
    const lane = dispatcher.attach({ frames, pipelines: parts, ...(isWithinGrant && { isWithinGrant }) });
    return {
      lane,
      pipelines: wanted.map(({ name }, i) => ({
        name,
        outcomes: outcomes[i]!,
        model: prepared[i]!.model,
        input: prepared[i]!.input,
        inFlight: () => lane.outputs[i]!.counts().inFlight,
      })),
    };
  }
}

function lanePipeline(
  name: PipelineName,
  isOrdered: boolean,
  { program, models, settings }: PreparedPipeline,
  outcomes: Stream<FrameOutcome>,
): LanePipeline {
  return { name, program, models, settings, outcomes, isOrdered };
}
