import type { Clock } from '../../base/clock.ts';
import { toSightlineError } from '../../base/errors.ts';
import type { CaptureClock, FrameName } from '../../base/frame-name.ts';
import type { FrameDropCause, FrameOutcome } from '../../base/frame.ts';
import type { Picture } from '../../base/picture.ts';
import type { Random } from '../../base/random.ts';
import type { PipelineName } from '../../base/result.ts';
import type { Priority } from '../../base/sample.ts';
import type { MemoryAccount } from '../../fences/memory-ledger.ts';
import { outcomeBytes, type FrameStreams } from '../../stream/frame-streams.ts';
import type { Stream } from '../../stream/stream.ts';
import { restartDelayMs, type RestartPolicy } from '../../supervise/restart.ts';
import { isSameList } from './camera-settings.ts';
import type { Reason } from './camera-state.ts';
import type { NamedOutcome } from '../../base/camera-frame.ts';
import type { ReaderData } from './messages.ts';
import { ownBytes } from './own-bytes.ts';
import { patienceMs, pictureRate, steadyShare, type ModelSize } from './picture-plan.ts';

/** The work of pipelines on the pictures of one camera, as it is needed here. */
export interface PictureWork {
  /** Where its pictures wait. */
  readonly frames: Stream<Picture>;
  readonly pipelines: readonly {
    readonly name: PipelineName;
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
  readonly priority: () => Priority;
  readonly isAway: () => boolean;
  /** Part of its share of the engine that each uses, and how many there are. */
  readonly used: () => number;
  readonly cameras: () => number;
  /** Pictures a second that are wanted; undefined: all. */
  readonly maxFps: () => number | undefined;
  /** What was arranged has changed: there is work, or none any more. */
  readonly onChange: () => void;
  /** The last picture could not wait for its turn: the camera's next one shall take its place. */
  readonly onMissed: () => void;
  /** A result has come so long after its frame had; a worker was at it for so long. */
  readonly onResult: (tookMs: number, runMs: number) => void;
  /** The pipelines cannot be opened; null: they are. */
  readonly onTrouble: (reason: Reason | null) => void;
}

/** Of one pipeline. At every moment: pictures = results + errors + sum of dropped + queued + in flight. */
export interface PipelineAccounts {
  readonly pictures: number;
  readonly results: number;
  readonly errors: number;
  readonly dropped: Readonly<Record<FrameDropCause, number>>;
  readonly queued: number;
  readonly inFlight: number;
}

interface Named {
  readonly frame: FrameName;
  readonly clock: CaptureClock;
  readonly captureTimeMs: number;
  readonly arrivedMs: number;
  /** Pipelines whose outcome is still to come. */
  pending: number;
}

type MutableAccounts = { -readonly [K in 'pictures' | 'results' | 'errors']: number } & {
  readonly dropped: Record<FrameDropCause, number>;
};

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
  readonly #accounts = new Map<PipelineName, MutableAccounts>();
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
  /** Pictures in a row that were left out, and the last one of them. */
  #misses = 0;
  #missedSeq = 0;
  #unused = 0;
  #namesLost = 0;

  constructor(options: PictureFeedOptions) {
    this.#options = options;
    this.results = options.streams.create<NamedOutcome>(
      `camera:${options.camera}/results`,
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
    const { used, cameras, maxFps } = this.#options;
    const shareFps = this.#shareFps ?? this.#work.rateFps();
    return Math.min(maxFps() ?? Infinity, pictureRate(shareFps, used(), cameras()));
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

  /** `unused`: pictures that came while there was no pipeline for them. */
  accounts(): {
    readonly pipelines: ReadonlyMap<PipelineName, PipelineAccounts>;
    readonly unused: number;
    readonly namesLost: number;
  } {
    const all = new Map<PipelineName, PipelineAccounts>();
    for (const [name, { dropped, ...counts }] of this.#accounts) {
      const pipeline = this.#work?.pipelines.find((one) => one.name === name);
      const waiting = pipeline ? { queued: this.#work!.queued(), inFlight: pipeline.inFlight() } : NOTHING;
      all.set(name, { ...counts, dropped: { ...dropped }, ...waiting });
    }
    return { pipelines: all, unused: this.#unused, namesLost: this.#namesLost };
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
    const { camera, clock, priority, cameras } = this.#options;
    const { epoch, seq: frameSeq, width, height, source } = data;
    const seq = ++this.#lastSeq;
    const frame = { camera, epoch, seq: frameSeq };
    const arrivedMs = captureTimeMs + data.capturedBeforeMs;
    this.#names.set(seq, { frame, clock: data.clock, captureTimeMs, arrivedMs, pending: work.pipelines.length });
    if (this.#names.size > NAMES_MAX) {
      this.#names.delete(this.#names.keys().next().value!);
      this.#namesLost++;
    }
    for (const { name } of work.pipelines) this.#of(name).pictures++;
    work.noteFrame();
    work.frames.publish({
      seq,
      data: { kind: 'rgb', bytes: ownBytes(data.bytes), width, height, source },
      captureTimeMs,
      priority: priority(),
      deadlineMs: clock.now() + patienceMs(this.rateFps, cameras(), clock.now() - this.#resultOfMs, work.serviceMs()),
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
      work = await open({ source: `camera:${camera}`, pipelines, model, queue: QUEUE, priority, isAway, account });
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
    for (const pipeline of work.pipelines) this.#follow(pipeline.name, pipeline.outcomes);
    onTrouble(null);
    onChange();
  }

  #follow(pipeline: PipelineName, outcomes: Stream<FrameOutcome>): void {
    const accounts = this.#of(pipeline);
    const reader = outcomes.subscribe({
      name: 'camera',
      contract: { kind: 'all' },
      onReady: () => take(),
      onEnding: () => take(),
    });
    const take = (): void => {
      for (let sample = reader.next(); sample !== undefined; sample = reader.next()) {
        const { data: outcome, seq } = sample;
        if (outcome.kind === 'result') {
          accounts.results++;
          this.#resultOfMs = Math.max(this.#resultOfMs, outcome.receivedTimeMs);
          this.#misses = 0;
          this.#note(seq, outcome);
        } else if (outcome.kind === 'error') accounts.errors++;
        else accounts.dropped[outcome.cause]++;
        if (outcome.kind === 'dropped' && outcome.cause === 'expired') this.#miss(seq);
        this.#tell(pipeline, seq, outcome);
      }
    };
  }

  /** A few times: where the engine has too little time for all, more pictures would only cost more. Each picture counts once, whatever the number of its pipelines. */
  #miss(seq: number): void {
    if (seq !== this.#lastSeq || seq === this.#missedSeq) return;
    this.#missedSeq = seq;
    if (++this.#misses <= MISSES_MAX) this.#options.onMissed();
  }

  #note(seq: number, { stagesMs }: Extract<FrameOutcome, { kind: 'result' }>): void {
    const named = this.#names.get(seq);
    if (!named) return;
    const { clock, onResult } = this.#options;
    const { decode, preprocess, inference, postprocess } = stagesMs;
    onResult(clock.now() - named.arrivedMs, decode + preprocess + inference + postprocess);
  }

  #tell(pipeline: PipelineName, seq: number, outcome: FrameOutcome): void {
    const named = this.#names.get(seq);
    if (!named) return;
    if (--named.pending === 0) this.#names.delete(seq);
    if (this.results.closed) return;
    const { frame, clock, captureTimeMs } = named;
    this.results.publish({ data: { frame, clock, pipeline, outcome }, captureTimeMs });
  }

  #of(pipeline: PipelineName): MutableAccounts {
    let accounts = this.#accounts.get(pipeline);
    if (!accounts) {
      const dropped = { queue_full: 0, expired: 0, superseded: 0, stale: 0, disconnected: 0 };
      accounts = { pictures: 0, results: 0, errors: 0, dropped };
      this.#accounts.set(pipeline, accounts);
    }
    return accounts;
  }
}

const NOTHING = { queued: 0, inFlight: 0 } as const;
