import { RateLoop } from './rate-loop.ts';
import { shareCapacity, sum, type Demand } from './share.ts';

/**
 * How many frames a second the inference engine is asked for, all sessions together, and who of them gets how many. The same
 * loop as for a link holds the queue in front of the engine short. Pure.
 */

/** Running totals of the engine, and what the sessions that keep to their grants have waited of late. */
export interface EngineFacts {
  readonly nowMs: number;
  /** Frames finished since the start. */
  readonly completed: number;
  /** Time for which workers had something to do since the start, all workers together. */
  readonly busyMs: number;
  /** Of that, what the same frames would have needed had every run been full; default: all of it. */
  readonly neededMs?: number | undefined;
  readonly workers: number;
  /** Mean wait for a worker since the last time. */
  readonly waitMs: number;
  /** What the first runs of a model let expect, frames a second; it counts until more is known. */
  readonly expectedFps?: number | undefined;
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
const INITIAL_FPS = 10_000;
const MIN_FPS = 1;
/** The capacity is measured over so long at least, and while the workers were busy for a part of it. */
const MEASURE_MS = 300;
const BUSY_MIN = 0.05;
const LEARNING = 0.4;

export class EngineControl {
  readonly #loop = new RateLoop({ initial: INITIAL_FPS, min: MIN_FPS, headroom: HEADROOM });
  #last: EngineFacts | undefined;
  #capacity: number | undefined;
  #load = 0;

  /** Frames a second that the engine can do, as measured; undefined before it has done any. */
  get capacityFps(): number | undefined {
    return this.#capacity;
  }

  /** Share of the workers' time that was used, 0..1. */
  get load(): number {
    return this.#load;
  }

  get rateFps(): number {
    return this.#loop.rate;
  }

  update(facts: EngineFacts): void {
    this.#last ??= facts;
    const elapsedMs = facts.nowMs - this.#last.nowMs;
    if (elapsedMs >= MEASURE_MS) {
      const completed = facts.completed - this.#last.completed;
      const busyMs = facts.busyMs - this.#last.busyMs;
      this.#load = Math.min(1, busyMs / (elapsedMs * Math.max(1, facts.workers)));
      // While no worker is ready (the only one is being replaced) nothing is learned of what one can do.
      const neededMs = (facts.neededMs ?? facts.busyMs) - (this.#last.neededMs ?? this.#last.busyMs);
      if (facts.workers > 0 && this.#load >= BUSY_MIN && completed > 0 && neededMs > 0) {
        const capacity = (completed * 1000 * facts.workers) / neededMs;
        this.#capacity =
          this.#capacity === undefined ? capacity : this.#capacity + LEARNING * (capacity - this.#capacity);
      }
      this.#last = facts;
    }
    this.#capacity ??= facts.expectedFps;
    const { nowMs, waitMs: queueMs, workers } = facts;
    const capacity = this.#capacity;
    const serviceMs = capacity === undefined ? 0 : (workers * 1000) / capacity;
    this.#loop.update({
      nowMs,
      queueMs,
      quietMs: Math.max(QUIET_MS, QUIET_RUNS * serviceMs),
      capacity,
      peak: capacity,
    });
  }

  /**
   * Frames a second for each, in the order of the demands; Infinity for all while there is enough whatever they do. What is left when
   * everybody has what they want is spread out: who begins to use more must not have been told that there is no limit.
   * `ceilingFps`: what the process allows, all together, whatever the engine can do.
   */
  shares(demands: readonly Demand[], ceilingFps = Infinity): number[] {
    const rate = Math.min(ceilingFps, this.rateFps * (1 + UNEVEN * mixture(demands)));
    const rooms = demands.map(({ wanted, most = wanted }) => Math.max(wanted, most));
    if (sum(rooms) <= rate) return demands.map(() => Infinity);
    // Of the capacity, not of the rate: a short queue is no reason to silence anybody.
    const floor = (FLOOR_SHARE * (this.#capacity ?? rate)) / demands.length;
    const shares = shareCapacity(rate, demands, Math.min(FLOOR_FPS, floor));
    const more = demands.map(({ priority }, i) => ({ priority, wanted: rooms[i]! - shares[i]! }));
    const spare = shareCapacity(Math.max(0, rate - sum(shares)), more, 0);
    return shares.map((share, i) => share + spare[i]!);
  }
}

/** 0 for one source, nearly 1 for many: one less the share that two frames at random have of coming from the same one (Simpson, 1949). */
function mixture(demands: readonly Demand[]): number {
  const all = sum(demands.map(({ wanted }) => wanted));
  return all > 0 && all < Infinity ? 1 - sum(demands.map(({ wanted }) => (wanted / all) ** 2)) : 0;
}
