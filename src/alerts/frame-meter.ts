import { Priority } from '../base/sample.ts';
import type { StagesMs } from '../protocol/video.ts';

/**
 * What objectives need to know of each result, at the cost of a few additions: whether it is late, how the latencies of its class are
 * distributed, and the slowest of the minute with all their stages.
 */

/** Classes of streams, the most important first. */
export const CLASSES = ['critical', 'high', 'normal', 'low'] as const satisfies readonly (keyof typeof Priority)[];
export type StreamClass = (typeof CLASSES)[number];

/** The slowest frames that are kept for each class and minute. */
const SLOWEST_MAX = 5;
const MINUTE_MS = 60_000;

/**
 * Bounds of the buckets grow by the sixteenth root of 2, so that a percentile is wrong by 2.2 % at most; 256 of them reach from
 * half a millisecond to half a minute.
 */
const STEPS = 16;
export const BUCKETS = 256;
const LOWEST_LOG2 = -1;

export function bucketOf(ms: number): number {
  const at = Math.floor((Math.log2(ms) - LOWEST_LOG2) * STEPS);
  return at > 0 ? Math.min(at, BUCKETS - 1) : 0;
}

/** The value below which `percent` of what the buckets hold lies, ms; null: they are empty. */
export function percentileOf(counts: ArrayLike<number>, percent: number): number | null {
  let total = 0;
  for (let i = 0; i < BUCKETS; i++) total += counts[i]!;
  if (total === 0) return null;
  let left = (total * percent) / 100;
  for (let i = 0; i < BUCKETS; i++) {
    left -= counts[i]!;
    // The middle of the bucket, on its scale.
    if (left <= 0) return 2 ** ((i + 0.5) / STEPS + LOWEST_LOG2);
  }
  return null;
}

/** The part of a result that the meter reads. */
export interface MeteredResult {
  /** Of a session, or `camera:` and the id of a camera. */
  readonly client_id: string;
  readonly pipeline: string;
  /** Of a camera's frame; with `seq` that is its name. */
  readonly epoch?: number;
  readonly seq: number;
  readonly stages_ms: StagesMs;
}

/** A frame that was slow, with the time that it spent in each stage. */
export interface SlowFrame extends MeteredResult {
  /** When its result was there, by the clock that nobody sets. */
  readonly timeMs: number;
}

/** The slowest so many, in no order: a new one takes the place of the fastest. */
export class Slowest {
  readonly #frames: SlowFrame[] = [];
  /** A frame that is not slower is not kept. */
  #floorMs = -Infinity;

  offer(result: MeteredResult, now: () => number): void {
    const { total } = result.stages_ms;
    if (total <= this.#floorMs) return;
    const { client_id, pipeline, epoch, seq, stages_ms } = result;
    const frames = this.#frames;
    const at = frames.length < SLOWEST_MAX ? frames.length : fastestOf(frames);
    frames[at] = { client_id, pipeline, ...(epoch !== undefined && { epoch }), seq, timeMs: now(), stages_ms };
    if (frames.length === SLOWEST_MAX) this.#floorMs = frames[fastestOf(frames)]!.stages_ms.total;
  }

  take(): SlowFrame[] {
    this.#floorMs = -Infinity;
    return this.#frames.splice(0);
  }

  get all(): readonly SlowFrame[] {
    return this.#frames;
  }
}

function fastestOf(frames: readonly SlowFrame[]): number {
  let at = 0;
  for (let i = 1; i < frames.length; i++) if (frames[i]!.stages_ms.total < frames[at]!.stages_ms.total) at = i;
  return at;
}

interface ClassMeter {
  counts: Uint32Array;
  lateMs: number;
  readonly current: Slowest;
  last: readonly SlowFrame[];
}

const CLASS_OF: readonly StreamClass[] = ['low', 'normal', 'high', 'critical'];

export class FrameMeter {
  readonly #now: () => number;
  /** By the number of the class. */
  readonly #meters: readonly ClassMeter[];
  #minuteEndMs: number;

  constructor(now: () => number) {
    this.#now = now;
    this.#meters = CLASS_OF.map(() => ({
      counts: new Uint32Array(BUCKETS),
      lateMs: Infinity,
      current: new Slowest(),
      last: [],
    }));
    this.#minuteEndMs = now() + MINUTE_MS;
  }

  /** From when on a result of each class is late. */
  configure(lateMs: Readonly<Record<StreamClass, number>>): void {
    for (const [number, name] of CLASS_OF.entries()) this.#meters[number]!.lateMs = lateMs[name];
  }

  /** How long a frame of this class may take. */
  lateMs(priority: Priority): number {
    return this.#meters[priority]!.lateMs;
  }

  /** One frame was answered with a result. True: it is late for its class. */
  frame(result: MeteredResult, priority: Priority): boolean {
    const meter = this.#meters[priority]!;
    const { total } = result.stages_ms;
    meter.counts[bucketOf(total)]!++;
    meter.current.offer(result, this.#now);
    return total > meter.lateMs;
  }

  /** The latencies of a class since the last call, by buckets. */
  take(name: StreamClass): Uint32Array {
    const meter = this.#meters[Priority[name]]!;
    const { counts } = meter;
    meter.counts = new Uint32Array(BUCKETS);
    return counts;
  }

  /** The slowest frames of this minute and the last one, the slowest first. `name` left out: of all classes. */
  slowest(name?: StreamClass): SlowFrame[] {
    this.#turn();
    const meters = name === undefined ? this.#meters : [this.#meters[Priority[name]]!];
    const all = meters.flatMap(({ current, last }) => current.all.concat(last));
    return all.toSorted((a, b) => b.stages_ms.total - a.stages_ms.total).slice(0, SLOWEST_MAX);
  }

  /** To be called once a second or so. */
  tick(): void {
    this.#turn();
  }

  #turn(): void {
    const nowMs = this.#now();
    if (nowMs < this.#minuteEndMs) return;
    const isStale = nowMs >= this.#minuteEndMs + MINUTE_MS;
    for (const meter of this.#meters) {
      const taken = meter.current.take();
      meter.last = isStale ? [] : taken;
    }
    this.#minuteEndMs = nowMs + MINUTE_MS;
  }
}
