import type { Clock } from '../base/clock.ts';
import { toSightlineError } from '../base/errors.ts';
import type { FrameOutcome } from '../base/frame.ts';
import type { Picture } from '../base/picture.ts';
import type { PipelineResult } from '../base/result.ts';
import { Priority, type Sample } from '../base/sample.ts';
import type { EngineFacts } from '../flow/engine-control.ts';
import { dearFrom, dearMax } from '../flow/costly.ts';
import { isRescue, isStarved, pickNext, type Waiting } from '../flow/schedule.ts';
import { sum } from '../flow/share.ts';
import { WorkCost } from '../flow/work-cost.ts';
import type { Engine, EngineStats, ProgramOutcome } from '../inference/engine/types.ts';
import {
  FrameLane,
  type FrameLaneOptions,
  type FrameLaneParts,
  type TakenFrame,
  type WaitingFrame,
} from './frame-lane.ts';
import type { LaneOutput, LanePipeline } from './lane-output.ts';

/**
 * Hands frames to one engine: lanes of every source and every pipeline, one dispatcher for each engine.
 *
 * Frames wait in their streams, not here: only when the engine has a free slot does the dispatcher take one, so that it decides as late as
 * possible which frame is worth a worker's time (`flow/schedule.ts`). A frame that cannot be in time any more, or would hold up a
 * newer frame of its stream for too long, never gets a worker. A lane pays for its frames in worker time: their expected
 * cost when they are taken, the difference to the actual cost when they are done.
 *
 * Pictures that hold a worker for far longer than their kind of work does (`flow/costly.ts`) never hold all workers while other
 * lanes have work, and what they cost is expected of nobody else.
 */

export interface DispatcherOptions {
  /** This dispatcher is the only listener of its `onFree`. */
  readonly engine: Engine;
  readonly clock: Clock;
  /** Frames of one lane that may be with the engine at once. */
  readonly laneInFlightMax: number;
  /** A lane whose oldest frame is with a worker for longer than this gives it up for the newer ones behind it. */
  readonly stallTimeoutMs: number;
}

/** Kinds of work whose cost is remembered, also while no lane has them; a further one replaces the one attached longest ago. */
const WORK_KINDS_MAX = 64;
/** Share of a frame's time that is the run of its model; the rest is decoding, scaling, and delays of a busy machine. */
const RUN_SHARE = 0.75;

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #lanes: FrameLane[] = [];
  /** By kind of work, the last attached one at the end. */
  readonly #work = new Map<string, Kind>();
  readonly #allWork = new WorkCost();
  /** In each class: the least use of a waiting lane when one was last served. */
  readonly #virtualMs: [number, number, number, number] = [0, 0, 0, 0];
  #picksSinceRescue = 0;
  /** Dear frames that workers hold, given-up ones included. */
  #dearInFlight = 0;
  #waited = { sumMs: 0, frames: 0 };

  constructor(options: DispatcherOptions) {
    this.#options = options;
    options.engine.onFree = () => this.#pump();
  }

  attach(options: FrameLaneOptions): FrameLane {
    const { clock, laneInFlightMax: inFlightMax, stallTimeoutMs } = this.#options;
    const kind = this.#kindOf(options.pipelines);
    const onReady = () => this.#onReady(lane);
    const lane: FrameLane = new FrameLane(options, { clock, ...kind, inFlightMax, stallTimeoutMs, onReady });
    this.#lanes.push(lane);
    return lane;
  }

  /** Idempotent. Frames of the lane that are queued or in flight are published as dropped before its outcomes close. */
  detach(lane: FrameLane): void {
    const index = this.#lanes.indexOf(lane);
    if (index >= 0) this.#lanes.splice(index, 1);
    lane.close();
  }

  /** Recent time from handing a frame to a worker until it is done, ms, for all kinds of work. */
  get serviceMs(): number {
    return this.#allWork.serviceMs;
  }

  /** Totals of the engine so far, and the wait for it since the last call. */
  facts(): Omit<EngineFacts, 'nowMs'> {
    const { workers, decodes, workerMs, busyMs, neededMs } = this.#options.engine.stats();
    return { workers, completed: decodes, workMs: workerMs, busyMs, neededMs, waitMs: this.takeWaitMs() };
  }

  /**
   * Mean wait for a worker of the frames that got one since the last call, of sources that keep to their grants; the longest wait
   * while none got one. Begins anew. Frames without a deadline do not count as waiting.
   */
  takeWaitMs(): number {
    const { sumMs, frames } = this.#waited;
    this.#waited = { sumMs: 0, frames: 0 };
    return frames > 0 ? sumMs / frames : this.#longestWaitMs();
  }

  /** In the highest class that waits: lower ones wait for that, not for the engine. */
  #longestWaitMs(): number {
    const nowMs = this.#options.clock.now();
    let highest = -1;
    let longestMs = 0;
    for (const lane of this.#lanes) {
      const head = lane.reader.peek();
      if (!head || head.priority < highest || lane.isDear(head.data)) continue;
      if (head.priority > highest) longestMs = 0;
      highest = head.priority;
      if (lane.isWithinGrant && head.deadlineMs < Infinity)
        longestMs = Math.max(longestMs, nowMs - head.publishedTimeMs);
    }
    return longestMs;
  }

  #kindOf(pipelines: readonly LanePipeline[]): Kind {
    const name = nameOf(pipelines);
    const kind = this.#work.get(name) ?? newKind(promisedMs(pipelines, this.#options.engine.stats()));
    this.#work.delete(name);
    this.#work.set(name, kind);
    if (this.#work.size > WORK_KINDS_MAX) this.#work.delete(this.#work.keys().next().value!);
    return kind;
  }

  /** With no free slot only an urgent frame is worth a look at all lanes. */
  #onReady(lane: FrameLane): void {
    if (this.#options.engine.freeSlots > 0 || lane.reader.peek()?.priority === Priority.critical) this.#pump();
  }

  #pump(): void {
    const { engine } = this.#options;
    for (let urgentSlots = engine.urgentSlots; urgentSlots > 0; urgentSlots = engine.urgentSlots) {
      const next = this.#nextLane(engine.freeSlots > 0 ? Priority.low : Priority.critical);
      if (!next) return;
      const { lane, picked, hasStarved } = next;
      const taken = lane.take(picked);
      if (!taken) continue;
      // A frame that starved has waited for others, and a dear one for its turn among such frames: not for the engine.
      const isMeasure = !hasStarved && !taken.isDear && lane.isWithinGrant;
      if (isMeasure && taken.sample.deadlineMs < Infinity) this.#noteWait(taken);
      void this.#process(lane, taken);
    }
  }

  /** Whose frame is next, of those with this priority and above. */
  #nextLane(
    priorityMin: Priority,
  ): { readonly lane: FrameLane; readonly picked: WaitingFrame; readonly hasStarved: boolean } | undefined {
    const lanes: FrameLane[] = [];
    const waiting: WaitingFrame[] = [];
    const claimMs = this.#claimMs();
    for (const lane of this.#lanes) {
      const one = lane.waiting(this.#virtualMs, claimMs);
      if (!one || one.priority < priorityMin || (one.isDear && !this.#takesDear())) continue;
      lanes.push(lane);
      waiting.push(one);
    }
    const nowMs = this.#options.clock.now();
    const index = pickNext(waiting, nowMs, this.#picksSinceRescue);
    if (index < 0) return undefined;
    const lane = lanes[index]!;
    const picked = waiting[index]!;
    const wasRescue = isRescue(picked, nowMs, this.#picksSinceRescue);
    this.#picksSinceRescue = wasRescue ? 0 : this.#picksSinceRescue + 1;
    const { priority, turn, costMs } = picked;
    this.#virtualMs[priority] = Math.max(this.#virtualMs[priority], leastTurn(waiting, priority));
    lane.turns[priority] = turn + costMs;
    return { lane, picked, hasStarved: isStarved(picked, nowMs) };
  }

  /** May a worker get one more dear frame? While other lanes have work of late, not every worker. */
  #takesDear(): boolean {
    if (this.#dearInFlight < dearMax(this.#options.engine.stats().workers)) return true;
    return !this.#lanes.some((lane) => lane.isOrdinary);
  }

  /**
   * A lane that was idle has no claim to what it left unused, but for one frame of the dearest kind that comes in, since a short queue is
   * empty now and then. It is the same worker time for all: with a frame of its own for each, dear frames would always go first.
   */
  #claimMs(): number {
    let dearestMs = 0;
    for (const lane of this.#lanes) if (lane.isActive) dearestMs = Math.max(dearestMs, lane.costMs);
    return dearestMs;
  }

  #noteWait({ sample, takenTimeMs }: TakenFrame): void {
    this.#waited.sumMs += takenTimeMs - sample.publishedTimeMs;
    this.#waited.frames++;
  }

  async #process(lane: FrameLane, taken: TakenFrame): Promise<void> {
    const { sample, calls, takenTimeMs, isDear, priority, paidMs } = taken;
    const { data: picture, captureTimeMs, deadlineMs } = sample;
    const { clock, engine, stallTimeoutMs } = this.#options;
    const urgent = priority === Priority.critical;
    if (isDear) this.#dearInFlight += 1;
    const runs = engine.run({
      picture,
      programs: calls,
      captureTimeMs,
      deadlineMs,
      urgent,
      ...(isDear && { expectedMs: paidMs }),
    });
    const costs = await Promise.all(lane.outputs.map((output, i) => settle(output, sample, runs[i]!)));
    if (isDear) this.#dearInFlight -= 1;
    lane.release(taken);
    const tookMs = clock.now() - takenTimeMs;
    if (costs.includes(undefined)) {
      // A failed frame shows no cost: it pays for its time in the engine, which is what a hung one takes, up to a bound.
      lane.turns[priority] += Math.min(tookMs, stallTimeoutMs) - paidMs;
    } else {
      const costMs = sum(costs.map((cost) => cost!.workerMs));
      lane.turns[priority] += costMs - paidMs;
      lane.observe(taken, costMs, costs[0]!.stagesMs.decode, tookMs);
      this.#allWork.observe(costMs, tookMs);
    }
    // A lane at its bound has room again, which the engine's own free slots do not show.
    this.#pump();
  }
}

/** One pipeline's part of a frame, reported as soon as it is ready. undefined: it failed. */
async function settle(
  output: LaneOutput,
  sample: Sample<Picture>,
  run: Promise<ProgramOutcome>,
): Promise<ProgramOutcome | undefined> {
  try {
    const done = await run;
    output.settle(sample, resultOf(output.pipeline, sample, done), done.state);
    return done;
  } catch (thrown) {
    const { code, message } = toSightlineError(thrown, 'INFERENCE_FAILED');
    output.settle(sample, { kind: 'error', code, message });
    return undefined;
  }
}

function resultOf({ name }: LanePipeline, sample: Sample<Picture>, done: ProgramOutcome): FrameOutcome {
  return {
    kind: 'result',
    width: done.width,
    height: done.height,
    // The result of the program of this name: its contents are those of the name (`ResultContents`).
    result: { pipeline: name, ...(done.result as object) } as PipelineResult,
    receivedTimeMs: sample.publishedTimeMs,
    startedTimeMs: done.startedTimeMs,
    stagesMs: done.stagesMs,
  };
}

function leastTurn(waiting: readonly Waiting[], priority: Priority): number {
  let least = Infinity;
  for (const one of waiting) if (one.priority === priority) least = Math.min(least, one.turn);
  return least;
}

/** A kind of work: certain programs with certain models. */
type Kind = Pick<FrameLaneParts, 'work' | 'dearFromMs'>;

function newKind(promisedMs: number | undefined): Kind {
  return { work: new WorkCost(promisedMs), dearFromMs: dearFrom(promisedMs) };
}

/** The same programs with the same models cost the same. */
function nameOf(pipelines: readonly LanePipeline[]): string {
  return JSON.stringify(pipelines.map(({ program, models }) => [String(program), Object.entries(models).toSorted()]));
}

/** From the engine's first runs of the models; undefined for models that were not loaded here. */
function promisedMs(pipelines: readonly LanePipeline[], { models }: EngineStats): number | undefined {
  const runsMs = pipelines
    .flatMap((pipeline) => Object.values(pipeline.models))
    .map((id) => models.find((model) => model.id === id)?.batch.costsMs['1']);
  return runsMs.length === 0 || runsMs.includes(undefined) ? undefined : sum(runsMs as number[]) / RUN_SHARE;
}
