import { RateLoop } from './rate-loop.ts';
import { spreadCapacity, sum, type Demand } from './share.ts';

/**
 * How much work the inference engine is asked for, in worker milliseconds a second, and which source of frames gets how many of them.
 * Frames of one kind of work cost several times what those of another do: shared is the workers' time, and each source is told what its
 * share of it is in frames. The same loop as for a link holds the queue in front of the engine short. Pure.
 */

/** Running totals of the engine, and what the sources that keep to their grants have waited of late. */
export interface EngineFacts {
  readonly nowMs: number;
  /** Frames finished since the start. */
  readonly completed: number;
  /** What these have cost, worker milliseconds. */
  readonly workMs: number;
  /** Time for which workers had something to do since the start, all workers together. */
  readonly busyMs: number;
  /** Of that, what the same frames would have needed had every run been full; default: all of it. */
  readonly neededMs?: number | undefined;
  readonly workers: number;
  /** Mean wait for a worker since the last time. */
  readonly waitMs: number;
  /** What the first runs of its models let expect of a frame, worker milliseconds; it counts until more is known. */
  readonly expectedMs?: number | undefined;
}

/** What a source of frames asks for, in frames a second, and what one of them costs. */
export interface FrameDemand extends Omit<Demand, 'floor'> {
  /** Worker milliseconds a frame; undefined: nothing is known of this kind of work, and it is not held back. */
  readonly costMs: number | undefined;
}

/** Nearly all: a frame's time in a worker hardly varies. */
const HEADROOM = 0.97;
/**
 * Several sources together never come evenly, and are asked for so much more, nearly all of it where they are many: what a moment cannot take is left
 * out at its deadline, one frame in ten or twenty; without it as much of the workers' time would pass unused. A lone source comes as
 * it is asked, and would only wait. A queue that lasts lowers the rate all the same.
 */
const UNEVEN = 0.13;
/** Frames of many sources never come evenly: with less of a queue, or less than so many frames take, the workers would idle. */
const QUIET_MS = 15;
const QUIET_RUNS = 1.5;
/** Everybody may have so much, whatever higher classes could use; all together no more than this share of the capacity. */
const FLOOR_FPS = 0.75;
const FLOOR_SHARE = 0.5;
/** Worker milliseconds a second: no bound at all, before anything is known. */
const INITIAL_RATE = 1e9;
const MIN_RATE = 1;
/** What is reached of the workers' time is measured over so long at least, and while they were busy for a part of it. */
const MEASURE_MS = 300;
const BUSY_MIN = 0.05;
const LEARNING = 0.4;

export class EngineControl {
  readonly #loop = new RateLoop({ initial: INITIAL_RATE, min: MIN_RATE, headroom: HEADROOM });
  #last: EngineFacts | undefined;
  /** Worker milliseconds a second that the engine can do. */
  #capacity: number | undefined;
  /** The same in frames, of the mix of work of late. */
  #capacityFps: number | undefined;
  #load = 0;

  /** Frames a second that the engine can do of the mix of work of late, as measured; undefined before it has done any. */
  get capacityFps(): number | undefined {
    return this.#capacityFps;
  }

  /** Share of the workers' time that was used, 0..1. */
  get load(): number {
    return this.#load;
  }

  /** What all together are asked for, worker milliseconds a second. */
  get rate(): number {
    return this.#loop.rate;
  }

  /** The same in frames a second of the mix of work of late; undefined before anything is known of it. */
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
    // While no worker is ready (the only one is being replaced) nothing is learned of what one can do.
    const neededMs = (facts.neededMs ?? facts.busyMs) - (last.neededMs ?? last.busyMs);
    if (workers === 0 || this.#load < BUSY_MIN || completed <= 0 || workMs <= 0 || neededMs <= 0) return;
    this.#capacity = learn(this.#capacity, (workMs * 1000 * workers) / neededMs);
    this.#capacityFps = learn(this.#capacityFps, (completed * 1000 * workers) / neededMs);
  }

  /**
   * Frames a second for each, in the order of the demands: its share of the workers' time by what one of its frames costs. Infinity
   * while there is enough whatever they do. `ceilingFps`: what the process allows, all together, whatever the engine can do.
   */
  shares(demands: readonly FrameDemand[], ceilingFps = Infinity): number[] {
    const ofEngine = this.#sharesOfEngine(demands);
    const floor = Math.min(FLOOR_FPS, (FLOOR_SHARE * (this.#capacityFps ?? Infinity)) / demands.length);
    const bounded = demands.map(({ priority, wanted, most = wanted }, i) => {
      return { priority, wanted: Math.min(wanted, ofEngine[i]!), most: Math.min(most, ofEngine[i]!), floor };
    });
    return spreadCapacity(ceilingFps, bounded).map((fps, i) => Math.min(fps, ofEngine[i]!));
  }

  #sharesOfEngine(demands: readonly FrameDemand[]): number[] {
    // Of the capacity, not of the rate: a short queue is no reason to silence anybody.
    const floorMax = (FLOOR_SHARE * (this.#capacity ?? this.rate)) / demands.length;
    const inWork = demands.map(({ priority, wanted, most = wanted, costMs = 0 }) => ({
      priority,
      wanted: inMs(wanted, costMs),
      most: inMs(most, costMs),
      floor: Math.min(FLOOR_FPS * costMs, floorMax),
    }));
    const rate = this.rate * (1 + UNEVEN * mixture(inWork));
    return spreadCapacity(rate, inWork).map((share, i) => {
      const { costMs } = demands[i]!;
      return costMs === undefined || costMs <= 0 ? Infinity : share / costMs;
    });
  }
}

function learn(known: number | undefined, measured: number): number {
  return known === undefined ? measured : known + LEARNING * (measured - known);
}

/** As many frames as one likes of what costs nothing are nothing. */
function inMs(fps: number, costMs: number): number {
  return costMs <= 0 ? 0 : fps * costMs;
}

/** 0 for one source, nearly 1 for many: one less the share that two frames at random have of coming from the same one (Simpson, 1949). */
function mixture(demands: readonly Demand[]): number {
  const all = sum(demands.map(({ wanted }) => wanted));
  return all > 0 && all < Infinity ? 1 - sum(demands.map(({ wanted }) => (wanted / all) ** 2)) : 0;
}
