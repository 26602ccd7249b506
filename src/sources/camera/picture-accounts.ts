import type { Clock } from '../../base/clock.ts';
import type { CaptureClock, FrameName } from '../../base/frame-name.ts';
import type { FrameDropCause, FrameOutcome } from '../../base/frame.ts';
import type { PipelineName } from '../../base/result.ts';
import { classOf, type Priority, type PriorityClass } from '../../base/sample.ts';
import { NO_DROPS, type ClassAccounts } from '../../observe/frame-accounts.ts';
import type { FrameTrace } from '../../observe/traces/frame-trace.ts';
import type { FrameTracer } from '../../observe/traces/tracer.ts';
import { stagesOf } from '../../protocol/outcome-message.ts';
import type { StagesMs } from '../../protocol/video.ts';

/** A frame of a camera of which a pipeline has a result. */
export interface ObservedFrame {
  /** `camera:` and the id of the camera: no client has such a name. */
  readonly client_id: string;
  readonly pipeline: PipelineName;
  readonly epoch: number;
  readonly seq: number;
}

/** Where the latencies of cameras' frames go. */
export interface PictureObserver {
  /**
   * A frame has its result. `stages`: from its capture, by whichever clock; `ownStages`: from its arrival, which is what the server is answerable for. True: by these it is
   * later than the objective of its class allows.
   */
  frame(frame: ObservedFrame, priority: Priority, stages: StagesMs, ownStages: StagesMs): boolean;
  /** What a frame of this class may take from its arrival. */
  budgetMs(priority: Priority): number;
}

/** A picture that was handed to pipelines. */
export interface NamedPicture {
  readonly frame: FrameName;
  readonly clock: CaptureClock;
  readonly captureTimeMs: number;
  readonly arrivedTimeMs: number;
  /** Decoding and scaling it. */
  readonly decodeMs: number;
  readonly priority: Priority;
  readonly trace: FrameTrace | undefined;
}

/** The part of a camera's work that the accounts need. */
export interface CountedWork {
  readonly pipelines: readonly { readonly name: PipelineName; readonly model: string; inFlight(): number }[];
  queued(): number;
}

export interface PictureAccountsOptions {
  readonly camera: string;
  readonly clock: Clock;
  readonly observer: PictureObserver;
  /** undefined: nobody wants traces. */
  readonly tracer: () => FrameTracer | undefined;
}

/** Counts of one pipeline and class. At every moment: pictures = results + errors + sum of dropped + queued + in flight. */
interface Counts {
  readonly pipeline: PipelineName;
  readonly class: PriorityClass;
  pictures: number;
  results: number;
  errors: number;
  readonly dropped: Record<FrameDropCause, number>;
  late: number;
  lost: number;
}

/** What became of the pictures of one camera, with their latencies and traces. */
export class PictureAccounts {
  readonly #options: PictureAccountsOptions;
  readonly #counts = new Map<string, Counts>();
  /** Of the newest picture: none but that one waits. */
  #class: PriorityClass | undefined;

  constructor(options: PictureAccountsOptions) {
    this.#options = options;
  }

  /** A picture is about to be handed to these pipelines. */
  came(priority: Priority, pipelines: CountedWork['pipelines']): FrameTrace | undefined {
    this.#class = classOf(priority);
    for (const { name } of pipelines) this.#of(name, priority).pictures++;
    return this.#options.tracer()?.begin(undefined);
  }

  /** `isPutOff`: it was left out, and the camera's next picture takes its place. `model`: of the pipeline. */
  settled(
    pipeline: { readonly name: PipelineName; readonly model: string },
    picture: NamedPicture,
    outcome: FrameOutcome,
    isPutOff: boolean,
  ): void {
    const counts = this.#of(pipeline.name, picture.priority);
    if (outcome.kind === 'result') {
      counts.results++;
      if (this.#observe(pipeline.name, picture, outcome)) counts.late++;
    } else if (outcome.kind === 'error') counts.errors++;
    else {
      counts.dropped[outcome.cause]++;
      if (outcome.cause !== 'disconnected' && !isPutOff) counts.lost++;
    }
    this.#trace(pipeline, picture, outcome);
  }

  /** By pipeline and class. `work`: undefined: there is none, and nothing waits. */
  read(work: CountedWork | undefined): ClassAccounts[] {
    return Array.from(this.#counts.values(), (counts) => {
      const { pipeline, class: name, pictures: received, results, errors, dropped, late, lost } = counts;
      const isNewest = name === this.#class;
      return {
        lane: 'cameras',
        pipeline,
        class: name,
        received,
        results,
        errors,
        dropped: Object.assign({}, NO_DROPS, dropped),
        queued: isNewest ? (work?.queued() ?? 0) : 0,
        in_flight: isNewest ? this.#inFlight(counts, work) : openOf(counts),
        unsent: 0,
        late,
        lost,
        failed: errors,
      };
    });
  }

  /** Answers that were due, and those of them that were no result in time. */
  tally(): { readonly frames: number; readonly bad: number } {
    let [frames, bad] = [0, 0];
    for (const { results, errors, late, lost } of this.#counts.values()) {
      frames += results + errors + lost;
      bad += late + errors + lost;
    }
    return { frames, bad };
  }

  /** What workers hold, less what came before the camera's class was changed. */
  #inFlight({ pipeline }: Counts, work: CountedWork | undefined): number {
    let held = work?.pipelines.find(({ name }) => name === pipeline)?.inFlight() ?? 0;
    for (const other of this.#counts.values()) {
      if (other.pipeline === pipeline && other.class !== this.#class) held -= openOf(other);
    }
    return held;
  }

  #observe(
    pipeline: PipelineName,
    { frame, captureTimeMs, arrivedTimeMs, decodeMs, priority }: NamedPicture,
    outcome: Extract<FrameOutcome, { kind: 'result' }>,
  ): boolean {
    const { camera, clock, observer } = this.#options;
    const nowMs = clock.now();
    const stages = stagesOf(outcome, captureTimeMs, nowMs, decodeMs);
    const ownStages = arrivedTimeMs === captureTimeMs ? stages : stagesOf(outcome, arrivedTimeMs, nowMs, decodeMs);
    const { epoch, seq } = frame;
    return observer.frame({ client_id: streamName(camera), pipeline, epoch, seq }, priority, stages, ownStages);
  }

  #trace({ name, model }: { name: PipelineName; model: string }, picture: NamedPicture, outcome: FrameOutcome): void {
    const { frame, captureTimeMs, arrivedTimeMs, decodeMs, priority, trace } = picture;
    if (!trace) return;
    const { camera, clock, observer, tracer } = this.#options;
    tracer()?.end({
      trace,
      clientId: streamName(camera),
      pipeline: name,
      model,
      epoch: frame.epoch,
      seq: frame.seq,
      captureTimeMs,
      answeredTimeMs: clock.now(),
      budgetMs: observer.budgetMs(priority),
      budgetFromMs: arrivedTimeMs,
      outcome:
        outcome.kind === 'result'
          ? { ...outcome, decodedBeforeMs: decodeMs }
          : { kind: outcome.kind, reason: outcome.kind === 'error' ? outcome.code : outcome.cause },
    });
  }

  #of(pipeline: PipelineName, priority: Priority): Counts {
    const key = `${priority} ${pipeline}`;
    let counts = this.#counts.get(key);
    if (!counts) {
      const dropped = { queue_full: 0, expired: 0, superseded: 0, stale: 0, disconnected: 0 };
      counts = { pipeline, class: classOf(priority), pictures: 0, results: 0, errors: 0, dropped, late: 0, lost: 0 };
      this.#counts.set(key, counts);
    }
    return counts;
  }
}

export function streamName(camera: string): string {
  return `camera:${camera}`;
}

/** Pictures without an outcome. */
function openOf({ pictures, results, errors, dropped }: Counts): number {
  return Object.values(dropped).reduce((left, count) => left - count, pictures - results - errors);
}
