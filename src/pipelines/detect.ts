import type { Clock } from '../base/clock.ts';
import { toSightlineError } from '../base/errors.ts';
import type { FrameDropCause, FrameOutcome } from '../base/frame.ts';
import type { Picture } from '../base/picture.ts';
import { Priority, type Sample } from '../base/sample.ts';
import { countSuperseded, isRescue, isStarved, pickNext, type Waiting } from '../flow/schedule.ts';
import type { Engine, ProgramOutcome } from '../inference/engine/types.ts';
import type { LossCause, Reader } from '../stream/reader.ts';
import type { Stream } from '../stream/stream.ts';
import { objectsCall, objectsOf } from './objects/call.ts';

/**
 * The `objects` pipeline: frames in, one outcome for each of them out, in the order of the frames.
 *
 * Frames wait in their streams, not here: only when the engine has a free slot is one taken, so that it is the newest
 * decision about which frame is worth a worker's time (`flow/schedule.ts`). What cannot be in time any more, or would hold up a
 * newer frame of its stream for too long, never gets a worker.
 */

export interface DetectLaneOptions {
  readonly frames: Stream<Picture>;
  /** Belongs to the lane from now on: closed by `detach`. */
  readonly outcomes: Stream<FrameOutcome>;
  readonly modelId: string;
  readonly confidence?: number;
  readonly iou?: number;
  /** The source keeps to what it was granted: only then its waiting says something about the grants. */
  readonly isWithinGrant?: () => boolean;
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
  readonly sample: Sample<Picture>;
  readonly takenTimeMs: number;
  outcome: FrameOutcome | undefined;
}

export interface DetectLaneCounts {
  /** Frames that are with the engine. */
  readonly inFlight: number;
  readonly results: number;
  readonly errors: number;
  readonly dropped: Readonly<Record<FrameDropCause, number>>;
}

/** Weight of one frame in the time that the engine takes, and in the interval of a lane. */
const SERVICE_LEARNING = 0.1;
/** Hardly any frame takes longer than the mean and so many mean deviations, as time-outs are estimated (Jacobson, 1988). */
const DEVIATIONS = 2;
const INTERVAL_LEARNING = 0.3;
/** A source that brought nothing for so long was away. */
const AWAY_MS = 10_000;

/** One stream's place in the pipeline. */
export class DetectLane {
  readonly options: DetectLaneOptions;
  readonly reader: Reader<Picture>;
  readonly #stallTimeoutMs: number;
  readonly #clock: Clock;
  readonly #inFlight: InFlight[] = [];
  readonly #dropped: Record<FrameDropCause, number> = {
    queue_full: 0,
    expired: 0,
    superseded: 0,
    stale: 0,
    disconnected: 0,
  };
  #busy = 0;
  /** Virtual time: rises with every frame that gets a worker. */
  turn = 0;
  /** Since when frames wait and none got a worker; undefined: none has waited since the last one. */
  #waitingSinceMs: number | undefined;
  #lastTakenMs = 0;
  #lastReadyMs = 0;
  /** Frames were lost since the last one that got a worker. */
  #hasLost = false;
  /** Between two frames that got a worker, while more waited; 0: the lane is not behind. */
  #intervalMs = 0;
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
      onReady: () => {
        const nowMs = clock.now();
        // Frames that expired unseen have waited too; a source that was away has not.
        if (nowMs - this.#lastReadyMs > AWAY_MS) this.#waitingSinceMs = nowMs;
        else this.#waitingSinceMs ??= nowMs;
        this.#lastReadyMs = nowMs;
        onReady();
      },
      onLost: (seqs, cause) => {
        this.#hasLost = true;
        for (const seq of seqs) this.#publishDropped(seq, dropCauseOf(cause));
      },
    });
  }

  get isWithinGrant(): boolean {
    return this.options.isWithinGrant?.() ?? true;
  }

  /** Frames that workers hold, given-up ones included: what bounds this lane's share of the engine. */
  get busy(): number {
    return this.#busy;
  }

  /** How the lane stands in line; undefined when it has nothing to give or its share of the workers. */
  waiting(inFlightMax: number, slackMs: number): Waiting | undefined {
    if (this.#busy >= inFlightMax) return undefined;
    const head = this.reader.peek();
    if (!head) return undefined;
    const { priority, deadlineMs } = head;
    const nowMs = this.#clock.now();
    return {
      priority,
      deadlineMs,
      turn: this.turn,
      waitingSinceMs: this.#waitingSinceMs ?? nowMs,
      isWithinGrant: this.isWithinGrant,
      isSafe: nowMs + slackMs <= deadlineMs,
    };
  }

  /** The frame to process next, now counted as in flight. Older ones that it supersedes are dropped. */
  take(): InFlight | undefined {
    const head = this.reader.peek();
    if (!head) return undefined;
    const budgetMs = head.deadlineMs - head.publishedTimeMs;
    const { frames } = this.options;
    // The newest may have come too late to be worth anything: then the others are not left out for it.
    const isNewestGood = this.#clock.now() <= frames.at(frames.head - 1)!.deadlineMs;
    const superseded = isNewestGood ? countSuperseded(this.reader.queued, this.#intervalMs, budgetMs) : 0;
    if (superseded > 0) this.reader.drop('superseded', superseded);
    const sample = this.reader.next();
    if (!sample) return undefined;
    const nowMs = this.#clock.now();
    const entry: InFlight = { sample, takenTimeMs: nowMs, outcome: undefined };
    this.#inFlight.push(entry);
    this.#busy++;
    this.#noteTaken(nowMs);
    return entry;
  }

  #noteTaken(nowMs: number): void {
    // Who loses frames is behind, also when the queue is empty afterwards.
    const isBehind = this.reader.queued > 0 || this.#hasLost;
    this.#hasLost = false;
    const sinceMs = nowMs - this.#lastTakenMs;
    if (!isBehind) this.#intervalMs = 0;
    else if (this.#intervalMs === 0) this.#intervalMs = Math.min(sinceMs, nowMs - (this.#waitingSinceMs ?? nowMs));
    else this.#intervalMs += INTERVAL_LEARNING * (sinceMs - this.#intervalMs);
    this.#lastTakenMs = nowMs;
    this.#waitingSinceMs = this.reader.queued > 0 ? nowMs : undefined;
  }

  /** The engine is done with a frame: publishes it and those behind it that waited for it. */
  settle(entry: InFlight, outcome: FrameOutcome): void {
    this.#busy--;
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
    this.#waitingSinceMs = undefined;
    this.#intervalMs = 0;
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
      this.#publishDropped(stalled.sample.seq, 'stale', stalled.sample);
    }
  }

  #publishDropped(seq: number, cause: FrameDropCause, sample?: Sample<Picture>): void {
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
  readonly #lanes: DetectLane[] = [];
  /** Virtual time: the turn of the lane that was served last. A lane that was idle has no claim to what it left. */
  #turn = 0;
  #picksSinceRescue = 0;
  #serviceMs = 0;
  /** Mean deviation from it. */
  #serviceDeviationMs = 0;
  #waited = { sumMs: 0, frames: 0 };

  constructor(options: DetectPipelineOptions) {
    this.#options = options;
    options.engine.onFree = () => this.#pump();
  }

  attach(lane: DetectLaneOptions): DetectLane {
    const attached: DetectLane = new DetectLane(lane, this.#options.clock, this.#options.stallTimeoutMs, () =>
      this.#onReady(attached),
    );
    this.#lanes.push(attached);
    return attached;
  }

  /** Idempotent. What the lane still had queued or in flight is published as dropped before its outcomes close. */
  detach(lane: DetectLane): void {
    const index = this.#lanes.indexOf(lane);
    if (index >= 0) this.#lanes.splice(index, 1);
    lane.close();
  }

  /** From handed to a worker to done, ms, of late. */
  get serviceMs(): number {
    return this.#serviceMs;
  }

  /**
   * Mean wait for a worker of the frames that got one since the last call, of sources that keep to their grants; the longest wait
   * while none got one. Begins anew.
   */
  takeWaitMs(): number {
    const { sumMs, frames } = this.#waited;
    this.#waited = { sumMs: 0, frames: 0 };
    return frames > 0 ? sumMs / frames : this.#longestWaitMs();
  }

  /** In the highest class that waits: what lower ones wait for is not the engine. */
  #longestWaitMs(): number {
    const nowMs = this.#options.clock.now();
    let highest = -1;
    let longestMs = 0;
    for (const lane of this.#lanes) {
      const head = lane.reader.peek();
      if (!head || head.priority < highest) continue;
      if (head.priority > highest) longestMs = 0;
      highest = head.priority;
      if (lane.isWithinGrant) longestMs = Math.max(longestMs, nowMs - head.publishedTimeMs);
    }
    return longestMs;
  }

  /** With no slot free only an urgent frame is worth a look at everybody who waits. */
  #onReady(lane: DetectLane): void {
    if (this.#options.engine.freeSlots > 0 || lane.reader.peek()?.priority === Priority.critical) this.#pump();
  }

  #pump(): void {
    const { engine } = this.#options;
    for (let urgentSlots = engine.urgentSlots; urgentSlots > 0; urgentSlots = engine.urgentSlots) {
      const next = this.#nextLane(engine.freeSlots > 0 ? Priority.low : Priority.critical);
      if (!next) return;
      const { lane, hasStarved } = next;
      const entry = lane.take();
      if (!entry) continue;
      // A frame that starved has waited for others, not for the engine.
      if (!hasStarved && lane.isWithinGrant) this.#noteWait(entry);
      void this.#process(lane, entry);
    }
  }

  /** Whose frame is next, of those with this priority and above. */
  #nextLane(priorityMin: Priority): { lane: DetectLane; hasStarved: boolean } | undefined {
    const lanes: DetectLane[] = [];
    const waiting: Waiting[] = [];
    const slackMs = DEVIATIONS * this.#serviceDeviationMs;
    for (const lane of this.#lanes) {
      const one = lane.waiting(this.#options.laneInFlightMax, slackMs);
      if (!one || one.priority < priorityMin) continue;
      lanes.push(lane);
      waiting.push(one);
    }
    const nowMs = this.#options.clock.now();
    const picked = pickNext(waiting, nowMs, this.#picksSinceRescue);
    if (picked < 0) return undefined;
    const wasRescue = isRescue(waiting[picked]!, nowMs, this.#picksSinceRescue);
    this.#picksSinceRescue = wasRescue ? 0 : this.#picksSinceRescue + 1;
    const lane = lanes[picked]!;
    this.#turn = Math.max(this.#turn, lane.turn);
    lane.turn = this.#turn + 1;
    return { lane, hasStarved: isStarved(waiting[picked]!, nowMs) };
  }

  #noteWait({ sample, takenTimeMs }: InFlight): void {
    this.#waited.sumMs += takenTimeMs - sample.publishedTimeMs;
    this.#waited.frames++;
  }

  async #process(lane: DetectLane, entry: InFlight): Promise<void> {
    const { modelId, confidence, iou } = lane.options;
    let outcome: FrameOutcome;
    try {
      const [running] = this.#options.engine.run({
        picture: entry.sample.data,
        programs: [
          objectsCall(modelId, { ...(confidence !== undefined && { confidence }), ...(iou !== undefined && { iou }) }),
        ],
        captureTimeMs: entry.sample.captureTimeMs,
        deadlineMs: entry.sample.deadlineMs,
        urgent: entry.sample.priority === Priority.critical,
      });
      const done = await running!;
      outcome = resultOf(entry.sample, done);
      const tookMs = this.#options.clock.now() - entry.takenTimeMs;
      const errorMs = this.#serviceMs === 0 ? 0 : Math.abs(tookMs - this.#serviceMs);
      this.#serviceMs += (this.#serviceMs === 0 ? 1 : SERVICE_LEARNING) * (tookMs - this.#serviceMs);
      this.#serviceDeviationMs += SERVICE_LEARNING * (errorMs - this.#serviceDeviationMs);
    } catch (thrown) {
      const { code, message } = toSightlineError(thrown, 'INFERENCE_FAILED');
      outcome = { kind: 'error', code, message };
    }
    lane.settle(entry, outcome);
    // A lane at its bound has room again, which the engine's own free slots do not tell.
    this.#pump();
  }
}

function dropCauseOf(cause: LossCause): FrameDropCause {
  if (cause === 'overflow') return 'queue_full';
  if (cause === 'expired') return 'expired';
  return cause === 'superseded' ? 'superseded' : 'disconnected';
}

function resultOf(sample: Sample<Picture>, done: ProgramOutcome): FrameOutcome {
  return {
    kind: 'result',
    width: done.width,
    height: done.height,
    result: { pipeline: 'objects', ...objectsOf(done) },
    receivedTimeMs: sample.publishedTimeMs,
    startedTimeMs: done.startedTimeMs,
    stagesMs: done.stagesMs,
  };
}
