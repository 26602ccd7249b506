import { costlyShare, demandOfCostly } from './costly.ts';
import { RateLoop } from './rate-loop.ts';
import { spreadCapacity, sum, type Demand } from './share.ts';

/**
 * How much work to ask of the inference engine, in worker milliseconds a second, and how many frames each source gets of it.
 * Frames of one kind of work cost several times what those of another do, so sources share the workers' time, and each source is told
 * its share in frames. The same loop as for a link keeps the queue in front of the engine short. Pure.
 */

/** Running totals of the engine, and the recent wait of sources that keep to their grants. */
export interface EngineFacts {
  readonly nowMs: number;
  /** Frames finished since the start. */
  readonly completed: number;
  /** Total cost of these, worker milliseconds. */
  readonly workMs: number;
  /** Busy time of all workers together since the start. */
  readonly busyMs: number;
  /** Of that, the time that the same frames would have needed had every run been full; default: all of it. */
  readonly neededMs?: number | undefined;
  readonly workers: number;
  /** Mean wait for a worker since the last time. */
  readonly waitMs: number;
  /** Cost of a frame as expected from the first runs of its models, worker milliseconds; it counts until more is known. */
  readonly expectedMs?: number | undefined;
}

/** A source's demand in frames a second, and the cost of one of its frames. */
export interface FrameDemand extends Omit<Demand, 'floor'> {
  /** Worker milliseconds a frame; undefined: nothing is known of this kind of work, and it is not held back. */
  readonly costMs: number | undefined;
  /** Its pictures hold a worker for far longer than others do: it has no class above normal, and leaves a worker to the others. */
  readonly isCostly?: boolean;
}

/** Nearly all: a frame's time in a worker hardly varies. */
const HEADROOM = 0.97;
/**
 * Frames of several sources never come evenly, so they are asked for this much more, nearly all of it where they are many. Frames that
 * a moment cannot take are left out at their deadlines, one in ten or twenty; without it as much of the workers' time would be unused.
 * A lone source comes as it is asked, and would only wait. A queue that lasts lowers the rate all the same.
 */
const UNEVEN = 0.13;
/** Frames of many sources never come evenly: with a shorter queue, or one shorter than this many frames take, the workers would idle. */
const QUIET_MS = 15;
const QUIET_RUNS = 1.5;
/** Every source may have this much, whatever higher classes could use; all together no more than this share of the capacity. */
const FLOOR_FPS = 0.75;
const FLOOR_SHARE = 0.5;
/** Worker milliseconds a second: no bound at all, before anything is known. */
const INITIAL_RATE = 1e9;
const MIN_RATE = 1;
/** The useful share of the workers' time is measured over at least this long, and while they were busy for a part of it. */
const MEASURE_MS = 300;
const BUSY_MIN = 0.05;
const LEARNING = 0.4;

export class EngineControl {
  readonly #loop = new RateLoop({ initial: INITIAL_RATE, min: MIN_RATE, headroom: HEADROOM });
  #last: EngineFacts | undefined;
  /** The engine's capacity, worker milliseconds a second. */
  #capacity: number | undefined;
  /** The same in frames of the recent mix of work. */
  #capacityFps: number | undefined;
  #load = 0;

  /** Measured capacity for the recent mix of work, frames a second; undefined before the engine has done any. */
  get capacityFps(): number | undefined {
    return this.#capacityFps;
  }

  /** Share of the workers' time that was used, 0..1. */
  get load(): number {
    return this.#load;
  }

  /** What all sources together are asked for, worker milliseconds a second. */
  get rate(): number {
    return this.#loop.rate;
  }

  /** The same in frames a second of the recent mix of work; undefined before anything is known of it. */
  get rateFps(): number | undefined {
    return this.#capacityFps === undefined ? undefined : this.rate / (this.#capacity! / this.#capacityFps);
  }

  update(facts: EngineFacts): void {
    this.#last ??= facts;
    const elapsedMs = facts.nowMs - this.#last.nowMs;
    if (elapsedMs >= MEASURE_MS) {
      this.#measure(facts, this.#last, elapsedMs);
      this.#last = facts;
    }
    const { nowMs, waitMs: queueMs, workers, expectedMs } = facts;
    if (this.#capacity === undefined && workers > 0 && expectedMs !== undefined && expectedMs > 0) {
      this.#capacity = workers * 1000;
      this.#capacityFps = this.#capacity / expectedMs;
    }
    const capacity = this.#capacity;
    const serviceMs = this.#capacityFps === undefined ? 0 : (workers * 1000) / this.#capacityFps;
    this.#loop.update({
      nowMs,
      queueMs,
      quietMs: Math.max(QUIET_MS, QUIET_RUNS * serviceMs),
      capacity,
      peak: capacity,
    });
  }

  #measure(facts: EngineFacts, last: EngineFacts, elapsedMs: number): void {
    const { workers } = facts;
    const completed = facts.completed - last.completed;
    const workMs = facts.workMs - last.workMs;
    this.#load = Math.min(1, (facts.busyMs - last.busyMs) / (elapsedMs * Math.max(1, workers)));
    // While no worker is ready (the only one is being replaced) nothing can be learned of its capacity.
    const neededMs = (facts.neededMs ?? facts.busyMs) - (last.neededMs ?? last.busyMs);
    if (workers === 0 || this.#load < BUSY_MIN || completed <= 0 || workMs <= 0 || neededMs <= 0) return;
    this.#capacity = learn(this.#capacity, (workMs * 1000 * workers) / neededMs);
    this.#capacityFps = learn(this.#capacityFps, (completed * 1000 * workers) / neededMs);
  }

  /**
   * Frames a second for each, in the order of the demands: its share of the workers' time divided by the cost of one of its frames.
   * Infinity while there is enough whatever they do. `ceilingFps`: the limit of the process for all together, whatever the engine's capacity.
   */
  shares(given: readonly FrameDemand[], ceilingFps = Infinity): number[] {
    const demands = given.map((demand) => (demand.isCostly === true ? demandOfCostly(demand) : demand));
    const ofEngine = this.#sharesOfEngine(demands);
    const floor = Math.min(FLOOR_FPS, (FLOOR_SHARE * (this.#capacityFps ?? Infinity)) / demands.length);
    const bounded = demands.map(({ priority, wanted, most = wanted }, i) => {
      return { priority, wanted: Math.min(wanted, ofEngine[i]!), most: Math.min(most, ofEngine[i]!), floor };
    });
    return spreadCapacity(ceilingFps, bounded).map((fps, i) => Math.min(fps, ofEngine[i]!));
  }

  #sharesOfEngine(demands: readonly FrameDemand[]): number[] {
    // A share of the capacity, not of the rate: a short queue is no reason to silence any source.
    const floorMax = (FLOOR_SHARE * (this.#capacity ?? this.rate)) / demands.length;
    const costly = demands.filter(({ isCostly }) => isCostly === true).length;
    const costlyRate = costly < demands.length ? this.rate * costlyShare(this.#last?.workers ?? 1) : Infinity;
    const bounds = demands.map(({ isCostly }) => (isCostly === true ? costlyRate / costly : Infinity));
    const inWork = demands.map(({ priority, wanted, most = wanted, costMs = 0 }, i) => ({
      priority,
      wanted: Math.min(bounds[i]!, inMs(wanted, costMs)),
      most: Math.min(bounds[i]!, inMs(most, costMs)),
      floor: Math.min(FLOOR_FPS * costMs, floorMax),
    }));
    const rate = this.rate * (1 + UNEVEN * mixture(inWork));
    return spreadCapacity(rate, inWork).map((share, i) => {
      const { costMs } = demands[i]!;
      return costMs === undefined || costMs <= 0 ? Infinity : Math.min(share, bounds[i]!) / costMs;
    });
  }
}

function learn(known: number | undefined, measured: number): number {
  return known === undefined ? measured : known + LEARNING * (measured - known);
}

/** Any number of frames that cost nothing adds up to nothing. */
function inMs(fps: number, costMs: number): number {
  return costMs <= 0 ? 0 : fps * costMs;
}

/** 0 for one source, nearly 1 for many: one less the probability that two random frames come from the same one (Simpson, 1949). */
function mixture(demands: readonly Demand[]): number {
  const all = sum(demands.map(({ wanted }) => wanted));
  return all > 0 && all < Infinity ? 1 - sum(demands.map(({ wanted }) => (wanted / all) ** 2)) : 0;
}
