import type { FrameTrace, Stage } from 'sightline/client';

/** One result's trace, and when it came here. */
export interface FrameTimes extends FrameTrace {
  readonly receivedTimeMs: number;
}

/** Median and 95th percentile, ms. */
export interface Spread {
  readonly p50Ms: number;
  readonly p95Ms: number;
}

export interface LiveFigures {
  /** The typical frame of the last second, or else the last one, whose stages add up to its total; undefined while nothing comes. */
  readonly typical: Pick<FrameTimes, 'totalMs' | 'stagesMs'> | undefined;
  /** Over the last five seconds; undefined when nothing came in them. Percentiles of stages do not add up. */
  readonly spread: { readonly total: Spread; readonly stages: Readonly<Record<Stage, Spread>> } | undefined;
  /** Results per second. */
  readonly fps: number;
  /** Share of dropped frames among those answered in the last two seconds, 0..1. */
  readonly droppedShare: number;
}

/** Shown until the server's budget for the session is known. */
export const BUDGET_MS = 75;

const WINDOW_MS = 1_000;
/** How long the last result stands for the last second, where results are rare. */
const LAST_MS = 3_000;
const SPREAD_WINDOW_MS = 5_000;
const RATE_WINDOW_MS = 2_000;
const FRAMES_MAX = 300;

/** The last frames' times, for the figures on the page. */
export class LiveStats {
  readonly #frames: FrameTimes[] = [];
  readonly #drops: { readonly timeMs: number; readonly count: number }[] = [];

  add(times: FrameTimes): void {
    this.#frames.push(times);
    if (this.#frames.length > FRAMES_MAX) this.#frames.shift();
  }

  addDrops(timeMs: number, count: number): void {
    this.#drops.push({ timeMs, count });
    if (this.#drops.length > FRAMES_MAX) this.#drops.shift();
  }

  clear(): void {
    this.#frames.length = 0;
    this.#drops.length = 0;
  }

  read(nowMs: number): LiveFigures {
    const within = (ms: number) => this.#frames.filter(({ receivedTimeMs }) => nowMs - receivedTimeMs <= ms);
    const recent = within(RATE_WINDOW_MS);
    const dropped = this.#drops.reduce(
      (sum, { timeMs, count }) => sum + (nowMs - timeMs <= RATE_WINDOW_MS ? count : 0),
      0,
    );
    return {
      typical: typicalOf(within(WINDOW_MS)) ?? typicalOf(within(LAST_MS).slice(-1)),
      spread: spreadOf(within(SPREAD_WINDOW_MS)),
      fps: rate(
        recent.map(({ receivedTimeMs }) => receivedTimeMs),
        nowMs,
      ),
      droppedShare: dropped === 0 ? 0 : dropped / (dropped + recent.length),
    };
  }
}

/**
 * The mean of the middle fifth by total. Medians of single stages would not add up to the median of the whole; the one
 * median frame would, but jumps about from reading to reading.
 */
function typicalOf(frames: readonly FrameTimes[]): LiveFigures['typical'] {
  if (frames.length === 0) return undefined;
  const sorted = frames.toSorted((a, b) => a.totalMs - b.totalMs);
  const middle = sorted.slice(Math.floor(sorted.length * 0.4), Math.ceil(sorted.length * 0.6));
  const mean = (of: (frame: FrameTimes) => number) => middle.reduce((sum, frame) => sum + of(frame), 0) / middle.length;
  return {
    totalMs: mean(({ totalMs }) => totalMs),
    stagesMs: ofStages(frames, (stage) => mean(({ stagesMs }) => stagesMs[stage])),
  };
}

function ofStages<T>([first]: readonly FrameTimes[], of: (stage: Stage) => T): Record<Stage, T> {
  const stages = Object.keys(first!.stagesMs) as Stage[];
  return Object.fromEntries(stages.map((stage) => [stage, of(stage)])) as Record<Stage, T>;
}

/** Events per second: those in the window over the time that they span, up to now once it is longer than usual. */
function rate(timesMs: readonly number[], nowMs: number): number {
  const [first] = timesMs;
  const last = timesMs.at(-1);
  if (first === undefined || last === undefined || timesMs.length < 2) return 0;
  const meanGapMs = (last - first) / (timesMs.length - 1);
  const silenceMs = nowMs - last;
  return silenceMs > 2 * meanGapMs ? (timesMs.length * 1000) / (nowMs - first) : 1000 / meanGapMs;
}

function spreadOf(frames: readonly FrameTimes[]): LiveFigures['spread'] {
  if (frames.length === 0) return undefined;
  const spread = (of: (frame: FrameTimes) => number): Spread => {
    const sorted = frames.map(of).toSorted((a, b) => a - b);
    return { p50Ms: percentile(sorted, 0.5), p95Ms: percentile(sorted, 0.95) };
  };
  return {
    total: spread(({ totalMs }) => totalMs),
    stages: ofStages(frames, (stage) => spread(({ stagesMs }) => stagesMs[stage])),
  };
}

/** For at least one value. */
function percentile(sorted: readonly number[], fraction: number): number {
  return sorted[Math.max(1, Math.ceil(sorted.length * fraction)) - 1]!;
}
