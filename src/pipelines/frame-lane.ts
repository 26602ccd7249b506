import type { Clock } from '../base/clock.ts';
import type { FrameDropCause } from '../base/frame.ts';
import type { Picture } from '../base/picture.ts';
import type { Priority, Sample } from '../base/sample.ts';
import { classOfDear, COSTLY_MS } from '../flow/costly.ts';
import { countSuperseded, type Waiting } from '../flow/schedule.ts';
import type { WorkCost } from '../flow/work-cost.ts';
import type { ProgramCall } from '../inference/engine/types.ts';
import type { LossCause, Reader } from '../stream/reader.ts';
import type { Stream } from '../stream/stream.ts';
import { LaneOutput, type LanePipeline } from './lane-output.ts';

export interface FrameLaneOptions {
  readonly frames: Stream<Picture>;
  /** The pipelines that process each frame, in this order. */
  readonly pipelines: readonly [LanePipeline, ...LanePipeline[]];
  /** The source keeps to its grant: only then its waiting says something about the grants. */
  readonly isWithinGrant?: () => boolean;
}

export interface FrameLaneParts {
  readonly clock: Clock;
  /** Of this lane's kind, shared by all lanes of that kind. */
  readonly work: WorkCost;
  /** A picture is dear whose decoding costs more than this, nominal ms. */
  readonly dearFromMs: number;
  /** Frames that may be with the engine at once. */
  readonly inFlightMax: number;
  /** A frame that is with the engine for longer than this no longer holds up the frames behind it. */
  readonly stallTimeoutMs: number;
  readonly onReady: () => void;
}

/** A frame that waits, as the schedule sees it. */
export interface WaitingFrame extends Waiting {
  /** Its picture holds a worker for far longer than its kind of work does. */
  readonly isDear: boolean;
}

/** A frame that the engine has. */
export interface TakenFrame {
  readonly sample: Sample<Picture>;
  readonly takenTimeMs: number;
  readonly isDear: boolean;
  /** The class in which it was served, and what the lane paid for it, worker milliseconds. */
  readonly priority: Priority;
  readonly paidMs: number;
  /** The call of each pipeline's program, in the order of the outputs. */
  readonly calls: readonly ProgramCall[];
}

const INTERVAL_LEARNING = 0.3;
/** Weight of one picture in what decoding them takes. */
const DECODE_LEARNING = 0.1;
/** A source without a frame for this long was away. */
const AWAY_MS = 10_000;
/** Before anything is known of a kind of work; when a frame is done the lane pays its actual cost. */
const UNKNOWN_COST_MS = 10;

/** One source's frames, where they wait, and the outputs of its pipelines. */
export class FrameLane {
  readonly options: FrameLaneOptions;
  readonly reader: Reader<Picture>;
  /** In the order of the pipelines. */
  readonly outputs: readonly LaneOutput[];
  /** Virtual time in each class, worker milliseconds: rises with every frame that gets a worker. */
  readonly turns: [number, number, number, number] = [0, 0, 0, 0];
  readonly #parts: FrameLaneParts;
  /** What decoding its pictures takes, ordinary ones and dear ones; undefined: it has had none. */
  #decodeMs: number | undefined;
  #dearDecodeMs: number | undefined;
  #lastDearMs = -Infinity;
  readonly #isOrdered: boolean;
  /** Frames that workers hold, given-up ones included. */
  readonly #taken = new Set<TakenFrame>();
  /** Looks again when the frame that the lane waits for has stalled: nothing else may happen until it is given up. */
  #stallTimer: NodeJS.Timeout | undefined;
  /** Since when frames wait and none got a worker; undefined: none has waited since the last one. */
  #waitingSinceMs: number | undefined;
  #lastTakenMs = 0;
  #lastReadyMs = 0;
  /** Frames were lost since the last one that got a worker. */
  #hasLost = false;
  /** Between two frames that got a worker, while more waited; 0: the lane is not behind. */
  #intervalMs = 0;

  constructor(options: FrameLaneOptions, parts: FrameLaneParts) {
    this.options = options;
    this.#parts = parts;
    this.#isOrdered = options.pipelines.some(({ isOrdered }) => isOrdered === true);
    this.outputs = options.pipelines.map((one) => new LaneOutput(one, parts.clock, parts.stallTimeoutMs));
    this.reader = options.frames.subscribe({
      name: options.pipelines.map(({ name }) => name).join(','),
      contract: { kind: 'all' },
      onReady: () => {
        this.#noteReady();
        parts.onReady();
      },
      onLost: (seqs, cause) => {
        this.#hasLost = true;
        for (const seq of seqs) for (const output of this.outputs) output.drop(seq, dropCauseOf(cause));
      },
    });
  }

  get isWithinGrant(): boolean {
    return this.options.isWithinGrant?.() ?? true;
  }

  /** Frames that workers hold, given-up ones included: they bound this lane's share of the engine. */
  get busy(): number {
    return this.#taken.size;
  }

  /**
   * Cost of one of its frames, worker milliseconds (undefined: nothing is known), and time from a worker's getting it until it is done. What
   * decoding takes is its own: large pictures of others do not count for it. While it is costly: of its dear frames.
   */
  get work(): { readonly costMs: number | undefined; readonly serviceMs: number } {
    const { work } = this.#parts;
    if (this.#dearDecodeMs === undefined || !this.isCostly) return { costMs: this.#known, serviceMs: work.serviceMs };
    return { costMs: this.#dearCostMs(this.#dearDecodeMs), serviceMs: work.serviceMs + this.#dearDecodeMs };
  }

  /** Expected cost of a frame that is not dear, worker milliseconds. */
  get costMs(): number {
    return this.#known ?? UNKNOWN_COST_MS;
  }

  get #known(): number | undefined {
    const { work } = this.#parts;
    return this.#decodeMs === undefined ? work.costMs : work.costWith(this.#decodeMs);
  }

  #dearCostMs(decodeMs: number): number {
    return this.#parts.work.costWith(decodeMs) ?? UNKNOWN_COST_MS + decodeMs;
  }

  /** Has brought frames of late, or has some waiting, and none of them dear. */
  get isOrdinary(): boolean {
    return !this.isCostly && (this.isActive || this.reader.queued > 0);
  }

  /** Has brought a dear picture of late. */
  get isCostly(): boolean {
    return this.#parts.clock.now() - this.#lastDearMs <= COSTLY_MS;
  }

  isDear(picture: Picture): boolean {
    return nominalMs(picture) > this.#parts.dearFromMs;
  }

  /** The engine is done with a frame: it used this much worker time, some of it for decoding, this long after it was handed in. */
  observe({ isDear }: TakenFrame, workerMs: number, decodeMs: number, tookMs: number): void {
    if (isDear) {
      this.#dearDecodeMs = learn(this.#dearDecodeMs, decodeMs);
      return;
    }
    this.#decodeMs = learn(this.#decodeMs, decodeMs);
    this.#parts.work.observe(workerMs, tookMs, decodeMs);
  }

  /** Has brought a frame of late. */
  get isActive(): boolean {
    return this.#parts.clock.now() - this.#lastReadyMs <= AWAY_MS;
  }

  /**
   * The lane's standing in the schedule; undefined when it has no frame or has its share of the workers. `virtualMs`: of each class,
   * `claimMs`: of a lane that was idle, to what it left unused, in worker time.
   */
  waiting(virtualMs: readonly number[], claimMs: number): WaitingFrame | undefined {
    if (this.#isFull()) return undefined;
    const head = this.reader.peek();
    if (!head) return undefined;
    const { deadlineMs } = head;
    const isDear = this.isDear(head.data);
    const priority = isDear ? classOfDear(head.priority) : head.priority;
    const nowMs = this.#parts.clock.now();
    if (isDear) {
      this.#lastDearMs = nowMs;
      // Before the first one is done its headers tell.
      this.#dearDecodeMs ??= nominalMs(head.data);
    }
    return {
      isDear,
      priority,
      deadlineMs,
      turn: Math.max(this.turns[priority], virtualMs[priority]! - claimMs),
      costMs: isDear ? this.#dearCostMs(this.#dearDecodeMs!) : this.costMs,
      waitingSinceMs: this.#waitingSinceMs ?? nowMs,
      isWithinGrant: this.isWithinGrant,
      isSafe: nowMs + this.#parts.work.slackMs <= deadlineMs,
    };
  }

  /** The frame to process next, now counted as in flight, with its standing in the schedule. Older ones that it supersedes are dropped. */
  take({ isDear, priority, costMs: paidMs }: WaitingFrame): TakenFrame | undefined {
    const head = this.reader.peek();
    if (!head) return undefined;
    const budgetMs = head.deadlineMs - head.publishedTimeMs;
    const { frames } = this.options;
    const nowMs = this.#parts.clock.now();
    // The newest may be too late to be of use: then the others are not left out for it.
    const isNewestGood = nowMs <= frames.at(frames.head - 1)!.deadlineMs;
    const superseded = isNewestGood ? countSuperseded(this.reader.queued, this.#intervalMs, budgetMs) : 0;
    if (superseded > 0) this.reader.drop('superseded', superseded);
    // The schedule has seen the first one: a dear one behind it is not let in for it.
    const next = this.reader.peek();
    if (!next || this.isDear(next.data) !== isDear) return undefined;
    const sample = this.reader.next();
    if (!sample) return undefined;
    const calls = this.outputs.map((output) => output.begin(sample));
    const taken = { sample, takenTimeMs: nowMs, isDear, priority, paidMs, calls };
    this.#taken.add(taken);
    if (this.#isOrdered) this.#watchStall();
    this.#noteTaken(nowMs);
    // Pictures are large. Nobody else reads them: those that came before need not wait for newer ones to overwrite them.
    if (frames.readerCount === 1) frames.trim(sample.position);
    return taken;
  }

  /** No worker holds this frame any more. */
  release(taken: TakenFrame): void {
    this.#taken.delete(taken);
    if (this.#taken.size === 0) clearTimeout(this.#stallTimer);
  }

  /** Leaves out every frame that no worker has yet. */
  discardQueued(): void {
    this.reader.drop('disconnected');
    this.#waitingSinceMs = undefined;
    this.#intervalMs = 0;
  }

  /** Idempotent. */
  close(): void {
    clearTimeout(this.#stallTimer);
    this.reader.close();
    for (const output of this.outputs) output.close();
  }

  /** An ordered lane has one frame at a time; it stops waiting for a stalled one, whose state would be too old. */
  #isFull(): boolean {
    if (this.#taken.size >= this.#parts.inFlightMax) return true;
    if (!this.#isOrdered) return false;
    const sinceMs = this.#parts.clock.now() - this.#parts.stallTimeoutMs;
    for (const { takenTimeMs } of this.#taken) if (takenTimeMs >= sinceMs) return true;
    return false;
  }

  #watchStall(): void {
    clearTimeout(this.#stallTimer);
    // A timer may be early by a part of a millisecond.
    this.#stallTimer = setTimeout(() => this.#parts.onReady(), this.#parts.stallTimeoutMs + 1);
    this.#stallTimer.unref();
  }

  #noteReady(): void {
    const nowMs = this.#parts.clock.now();
    // Frames that expired unseen have waited too; a source that was away has not.
    if (nowMs - this.#lastReadyMs > AWAY_MS) this.#waitingSinceMs = nowMs;
    else this.#waitingSinceMs ??= nowMs;
    this.#lastReadyMs = nowMs;
  }

  #noteTaken(nowMs: number): void {
    // A lane that loses frames is behind, also when the queue is empty afterwards.
    const isBehind = this.reader.queued > 0 || this.#hasLost;
    this.#hasLost = false;
    const sinceMs = nowMs - this.#lastTakenMs;
    if (!isBehind) this.#intervalMs = 0;
    else if (this.#intervalMs === 0) this.#intervalMs = Math.min(sinceMs, nowMs - (this.#waitingSinceMs ?? nowMs));
    else this.#intervalMs += INTERVAL_LEARNING * (sinceMs - this.#intervalMs);
    this.#lastTakenMs = nowMs;
    this.#waitingSinceMs = this.reader.queued > 0 ? nowMs : undefined;
  }
}

/** What decoding a picture will cost, by its headers. */
function nominalMs(picture: Picture): number {
  return picture.kind === 'jpeg' ? (picture.decodeMs ?? 0) : 0;
}

function learn(known: number | undefined, measured: number): number {
  return known === undefined ? measured : known + DECODE_LEARNING * (measured - known);
}

function dropCauseOf(cause: LossCause): FrameDropCause {
  if (cause === 'overflow') return 'queue_full';
  if (cause === 'expired') return 'expired';
  return cause === 'superseded' ? 'superseded' : 'disconnected';
}
