import type { Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { FrameOutcome } from '../base/frame.ts';
import type { Picture } from '../base/picture.ts';
import type { ModelBook } from '../inference/model-book.ts';
import { uprightJpegSize, type ImageLimits } from '../media/jpeg.ts';
import type { Hub } from '../stream/hub.ts';
import type { Stream } from '../stream/stream.ts';
import type { DetectLane, DetectLaneOptions, DetectPipeline } from './detect.ts';
import { FrameInput } from './frame-input.ts';

/** What a source of frames may choose; all of it is the server's where it is not given. */
export interface DetectorChoice {
  /** Id of a model. */
  readonly model?: string | undefined;
  /** Thresholds, 0..1. */
  readonly confidence?: number | undefined;
  readonly iou?: number | undefined;
}

/** A session that asks for a pipeline. */
export interface SessionRequest extends DetectorChoice {
  readonly pipelines: readonly string[];
  readonly clientId: string;
  readonly frames: Stream<Picture>;
  readonly isWithinGrant: () => boolean;
}

/** For sources that begin from now on. */
export interface DetectSourceSettings {
  /** Frames of a source of this program that wait for a worker. */
  readonly frameQueue: number;
  readonly resultsHistory: number;
  /** Thresholds of who chooses none, 0..1; not given: those of the model. */
  readonly confidence: number | undefined;
  readonly iou: number | undefined;
}

export interface DetectSourcesOptions {
  readonly hub: Hub;
  readonly clock: Clock;
  readonly detect: DetectPipeline;
  readonly models: Pick<ModelBook, 'detector'>;
  readonly imageLimits: ImageLimits;
  readonly settings: DetectSourceSettings;
}

/** Where frames of a session, or of this program, come into the pipeline. */
export class DetectSources {
  readonly #options: DetectSourcesOptions;
  #settings: DetectSourceSettings;
  readonly #inputs = new Set<FrameInput>();
  #lastInput = 0;

  constructor(options: DetectSourcesOptions) {
    this.#options = options;
    this.#settings = options.settings;
  }

  configure(settings: DetectSourceSettings): void {
    this.#settings = settings;
  }

  /** A source of frames in this program. Errors: MODEL_*, STREAM_LIMIT_REACHED, STREAM_CLOSED. */
  async openInput(choice: DetectorChoice = {}): Promise<FrameInput> {
    const { hub, clock, detect, models, imageLimits } = this.#options;
    const modelId = await models.detector(choice.model);
    // A colon stands in no client's name.
    const name = `program:${++this.#lastInput}`;
    const frames = hub.create<Picture>(`${name}/frames`, { capacity: this.#settings.frameQueue });
    const { outcomes, lane } = this.#openLane(name, { frames, modelId, ...choice });
    const input = new FrameInput({
      frames,
      outcomes,
      clock,
      readJpeg: (bytes) => uprightJpegSize(bytes, imageLimits),
      onClose: () => {
        this.#inputs.delete(input);
        detect.detach(lane);
        frames.close();
      },
    });
    this.#inputs.add(input);
    return input;
  }

  /** The `objects` pipeline for one session, with its model ready. Errors: PIPELINE_UNKNOWN, MODEL_*, STREAM_LIMIT_REACHED. */
  async attach({ pipelines, clientId, ...request }: SessionRequest) {
    const { detect, models } = this.#options;
    const unknown = pipelines.find((name) => name !== 'objects');
    if (unknown !== undefined) {
      throw new SightlineError('PIPELINE_UNKNOWN', `there is no pipeline "${unknown.slice(0, 80)}"; there is objects`);
    }
    const model = await models.detector(request.model);
    const { outcomes, lane } = this.#openLane(clientId, { ...request, modelId: model });
    return {
      pipelines: [{ name: 'objects' as const, outcomes, model, inFlight: () => lane.counts().inFlight }],
      queued: () => lane.reader.queued,
      serviceMs: () => detect.serviceMs,
      discardQueued: () => lane.discardQueued(),
      detach: () => detect.detach(lane),
    };
  }

  /** Closes the sources of this program; frames of theirs that wait are answered. */
  close(): void {
    for (const input of this.#inputs) input.close();
  }

  /** A lane of the pipeline for frames of one source, and the stream of their outcomes. */
  #openLane(
    source: string,
    {
      frames,
      modelId,
      isWithinGrant,
      ...choice
    }: Pick<DetectLaneOptions, 'frames' | 'modelId' | 'isWithinGrant'> & DetectorChoice,
  ): { readonly outcomes: DetectLaneOptions['outcomes']; readonly lane: DetectLane } {
    const { hub, detect } = this.#options;
    const outcomes = hub.create<FrameOutcome>(`${source}/objects`, { capacity: this.#settings.resultsHistory });
    const confidence = choice.confidence ?? this.#settings.confidence;
    const iou = choice.iou ?? this.#settings.iou;
    const lane = detect.attach({
      frames,
      outcomes,
      modelId,
      ...(isWithinGrant && { isWithinGrant }),
      ...(confidence !== undefined && { confidence }),
      ...(iou !== undefined && { iou }),
    });
    return { outcomes, lane };
  }
}
