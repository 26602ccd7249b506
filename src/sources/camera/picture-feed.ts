import type { Clock } from '../../base/clock.ts';
import { toSightlineError } from '../../base/errors.ts';
import type { FrameOutcome } from '../../base/frame.ts';
import type { Picture } from '../../base/picture.ts';
import type { Random } from '../../base/random.ts';
import type { PipelineName } from '../../base/result.ts';
import type { Priority } from '../../base/sample.ts';
import type { MemoryAccount } from '../../fences/memory-ledger.ts';
import type { ClassAccounts } from '../../observe/frame-accounts.ts';
import type { FrameTracer } from '../../observe/traces/tracer.ts';
import { outcomeBytes, type FrameStreams } from '../../stream/frame-streams.ts';
import type { Stream } from '../../stream/stream.ts';
import { restartDelayMs, type RestartPolicy } from '../../supervise/restart.ts';
import { isSameList } from './camera-settings.ts';
import type { Reason } from './camera-state.ts';
import type { NamedOutcome } from '../../base/camera-frame.ts';
import type { ReaderData } from './messages.ts';
import { ownBytes } from './own-bytes.ts';
import { PictureAccounts, streamName, type NamedPicture, type PictureObserver } from './picture-accounts.ts';
import type { Taken } from './picture-share.ts';
import { patienceMs, pictureRate, steadyShare, waitingClass, type ModelSize, type PictureUse } from './picture-plan.ts';

/** The work of pipelines on the pictures of one camera, as it is needed here. */
export interface PictureWork {
  /** Where its pictures wait. */
  readonly frames: Stream<Picture>;
  readonly pipelines: readonly {
    readonly name: PipelineName;
    /** Id of its model. */
    readonly model: string;
    /** One for each picture, with its `seq`. */
    readonly outcomes: Stream<FrameOutcome>;
    /** Pictures that workers hold. */
    inFlight(): number;
  }[];
  /** Undefined: they look at parts of the picture. */
  readonly modelSize: ModelSize | undefined;
  /** Pictures that wait. */
  queued(): number;
  /** Its share of the engine, pictures a second; Infinity: unlimited. */
  rateFps(): number;
  /** From a worker's getting a picture until it is done, ms; 0: not known. */
  serviceMs(): number;
  /** A picture is about to be published. */
  noteFrame(): void;
  /** Pictures without an outcome are reported as dropped. Idempotent. */
  close(): void;
}

export interface PictureRequest {
  /** Name of the source: its streams are called `<source>/…`. */
  readonly source: string;
  readonly pipelines: readonly PipelineName[];
  readonly model: string | undefined;
  /** Pictures that may wait for a worker. */
  readonly queue: number;
  readonly priority: () => Priority;
  /** It sends nothing at all: it needs no share. */
  readonly isAway: () => boolean;
  readonly account: () => MemoryAccount;
}

/** Errors: PIPELINE_UNKNOWN, QUERY_BAD, MODEL_*, STREAM_LIMIT_REACHED, STREAM_CLOSED. */
export type OpenPictures = (request: PictureRequest) => Promise<PictureWork>;

export interface PictureFeedOptions {
  readonly camera: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly streams: FrameStreams;
  readonly account: () => MemoryAccount;
  readonly open: OpenPictures;
  readonly observer: PictureObserver;
  readonly tracer: () => FrameTracer | undefined;
  readonly priority: () => Priority;
  readonly isAway: () => boolean;
  readonly use: () => PictureUse;
  /** Pictures a second that are wanted; undefined: all. */
  readonly maxFps: () => number | undefined;
  /** What was arranged has changed: there is work, or none any more. */
  readonly onChange: () => void;
  /** The last picture could not wait for its turn: the camera's next one shall take its place. */
  readonly onMissed: () => void;
  /** All pipelines have their results of a picture. */
  readonly onDone: (done: Taken) => void;
  /** The pipelines cannot be opened; null: they are. */
  readonly onTrouble: (reason: Reason | null) => void;
}

interface Named extends NamedPicture {
  /** Pipelines whose outcome is still to come, and what workers have spent for the others, ms; undefined: not all of these have a result. */
  pending: number;
  runMs: number | undefined;
}

/** The newest wins: what a camera has seen before that is of no use to anybody. */
const QUEUE = 1;
/** Outcomes for those who come a moment later. */
const RESULTS_KEPT = 64;
/** Of a result's name, beside its outcome. */
const NAME_BYTES = 300;
/** Pictures that wait or are with workers are far fewer: a name beyond that is of a picture whose outcome was lost. */
const NAMES_MAX = 1_024;
/** For which the camera's next picture takes the place. */
const MISSES_MAX = 2;
const RETRY: RestartPolicy = { firstDelayMs: 1_000, delayMaxMs: 60_000, healthyMs: 0 };

/** Brings the pictures of a camera to its pipelines, and the names of their frames to the results. */
export class PictureFeed {
  readonly results: Stream<NamedOutcome>;
  readonly #options: PictureFeedOptions;
  readonly #accounts: PictureAccounts;
  /** Frames without an outcome, by the number of the picture. */
  readonly #names = new Map<number, Named>();
  #wanted: { readonly pipelines: readonly PipelineName[]; readonly model: string | undefined } | undefined;
  #work: PictureWork | undefined;
  #shareFps: number | undefined;
  /** Rises with every change of what is wanted: what was begun before is not taken up. */
  #turn = 0;
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  #lastSeq = 0;
  /** When the last picture came that has a result. */
  #resultOfMs = 0;
  /** Pictures in a row that were left out, and the last of them: several pipelines may share it. */
  #misses = 0;
  #missedSeq = 0;
  #unused = 0;
  #namesLost = 0;

  constructor(options: PictureFeedOptions) {
    this.#options = options;
    this.#accounts = new PictureAccounts(options);
    this.results = options.streams.create<NamedOutcome>(
      `${streamName(options.camera)}/results`,
      RESULTS_KEPT,
      options.account,
      ({ outcome }) => outcomeBytes(outcome) + NAME_BYTES,
    );
  }

  get modelSize(): ModelSize | undefined {
    return this.#work?.modelSize;
  }

  /** Pictures a second to ask the camera for; 0: there is nobody for them. */
  get rateFps(): number {
    if (!this.#work) return 0;
    const { use, maxFps } = this.#options;
    const shareFps = this.#shareFps ?? this.#work.rateFps();
    return Math.min(maxFps() ?? Infinity, pictureRate(shareFps, use()));
  }

  /** To be called once a second. */
  tick(): void {
    if (this.#work) this.#shareFps = steadyShare(this.#shareFps, this.#work.rateFps());
  }

  /** Of a picture at the engine, ms; 0: not known. */
  get serviceMs(): number {
    return this.#work?.serviceMs() ?? 0;
  }

  /** Its share of the engine; undefined: there is no work. */
  get grantedFps(): number | undefined {
    return this.#work?.rateFps();
  }

  /** `frames`: those that were handed to pipelines. `unused`: pictures that came while there was no pipeline for them. */
  accounts(): { readonly frames: readonly ClassAccounts[]; readonly unused: number; readonly namesLost: number } {
    return { frames: this.#accounts.read(this.#work), unused: this.#unused, namesLost: this.#namesLost };
  }

  /** Answers that were due, and those of them that were no result in time. */
  tally(): { readonly frames: number; readonly bad: number } {
    return this.#accounts.tally();
  }

  /** Takes up other pipelines, or another model; with the same ones nothing happens. */
  configure(pipelines: readonly PipelineName[], model: string | undefined): void {
    const before = this.#wanted;
    if (before && before.model === model && isSameList(before.pipelines, pipelines)) return;
    this.#wanted = { pipelines, model };
    this.#failures = 0;
    this.#stop();
    if (pipelines.length > 0) void this.#open();
    else this.#options.onTrouble(null);
  }

  push(data: Extract<ReaderData, { kind: 'picture' }>, captureTimeMs: number): void {
    const work = this.#work;
    // At the end of the server the work closes first.
    if (!work || work.frames.closed) {
      this.#unused++;
      return;
    }
    const { camera, clock, priority: ofClass, use } = this.#options;
    const { epoch, seq: frameSeq, width, height, source, decodeMs } = data;
    const seq = ++this.#lastSeq;
    const priority = ofClass();
    this.#names.set(seq, {
      frame: { camera, epoch, seq: frameSeq },
      clock: data.clock,
      captureTimeMs,
      arrivedTimeMs: captureTimeMs + data.capturedBeforeMs,
      decodeMs,
      priority,
      trace: this.#accounts.came(priority, work.pipelines),
      pending: work.pipelines.length,
      runMs: 0,
    });
    if (this.#names.size > NAMES_MAX) {
      this.#names.delete(this.#names.keys().next().value!);
      this.#namesLost++;
    }
    work.noteFrame();
    work.frames.publish({
      seq,
      data: { kind: 'rgb', bytes: ownBytes(data.bytes), width, height, source },
      captureTimeMs,
      priority: waitingClass(priority, use().isDrawn),
      deadlineMs: clock.now() + patienceMs(this.rateFps, use(), clock.now() - this.#resultOfMs, work.serviceMs()),
    });
  }

  /** Idempotent. */
  close(): void {
    this.#stop();
    this.#wanted = undefined;
    this.results.close();
  }

  #stop(): void {
    this.#turn++;
    clearTimeout(this.#retry);
    const work = this.#work;
    // Its last pictures are reported in this call.
    work?.close();
    this.#work = undefined;
    this.#shareFps = undefined;
    this.#names.clear();
    if (work) this.#options.onChange();
  }

  async #open(): Promise<void> {
    const { camera, open, priority, isAway, account, onTrouble, onChange } = this.#options;
    const { pipelines, model } = this.#wanted!;
    const turn = this.#turn;
    let work: PictureWork;
    try {
      work = await open({ source: streamName(camera), pipelines, model, queue: QUEUE, priority, isAway, account });
    } catch (thrown) {
      if (turn !== this.#turn) return;
      const { code, message } = toSightlineError(thrown);
      const delayMs = restartDelayMs(RETRY, ++this.#failures, this.#options.random());
      this.#retry = setTimeout(() => void this.#open(), delayMs);
      onTrouble({ code, message });
      return;
    }
    if (turn !== this.#turn) return work.close();
    this.#failures = 0;
    this.#work = work;
    for (const pipeline of work.pipelines) this.#follow(pipeline);
    onTrouble(null);
    onChange();
  }

  #follow(pipeline: PictureWork['pipelines'][number]): void {
    const reader = pipeline.outcomes.subscribe({
      name: 'camera',
      contract: { kind: 'all' },
      onReady: () => take(),
      onEnding: () => take(),
    });
    const take = (): void => {
      for (let sample = reader.next(); sample !== undefined; sample = reader.next()) {
        const { data: outcome, seq } = sample;
        if (outcome.kind === 'result') {
          this.#resultOfMs = Math.max(this.#resultOfMs, outcome.receivedTimeMs);
          this.#misses = 0;
        }
        const isPutOff = outcome.kind === 'dropped' && outcome.cause === 'expired' && this.#miss(seq);
        this.#tell(pipeline, seq, outcome, isPutOff);
      }
    };
  }

  /**
   * The camera's next picture takes its place, a few times: where the engine has too little time for all, more pictures would only cost more. True: it does, or will.
   */
  #miss(seq: number): boolean {
    if (seq !== this.#lastSeq) return false;
    if (seq !== this.#missedSeq) {
      this.#missedSeq = seq;
      if (++this.#misses <= MISSES_MAX) this.#options.onMissed();
    }
    return this.#misses <= MISSES_MAX;
  }

  #note(named: Named, outcome: FrameOutcome): void {
    if (outcome.kind !== 'result' || named.runMs === undefined) {
      named.runMs = undefined;
      return;
    }
    const { decode, preprocess, inference, postprocess } = outcome.stagesMs;
    named.runMs += decode + preprocess + inference + postprocess;
    if (named.pending > 0) return;
    const { clock, onDone } = this.#options;
    const work = this.#work?.pipelines.map(({ name, model }) => `${name} ${model}`).join() ?? '';
    onDone({ work, tookMs: clock.now() - named.arrivedTimeMs, runMs: named.runMs });
  }

  #tell(pipeline: PictureWork['pipelines'][number], seq: number, outcome: FrameOutcome, isPutOff: boolean): void {
    const named = this.#names.get(seq);
    if (!named) return;
    if (--named.pending === 0) this.#names.delete(seq);
    this.#accounts.settled(pipeline, named, outcome, isPutOff);
    this.#note(named, outcome);
    if (this.results.closed) return;
    const { frame, clock, captureTimeMs } = named;
    this.results.publish({ data: { frame, clock, pipeline: pipeline.name, outcome }, captureTimeMs });
  }
}
