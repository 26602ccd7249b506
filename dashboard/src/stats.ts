import type { CapturedResult } from 'sightline/client';

/** Where the time of a frame goes, in the order of its way. */
export const STAGES = ['capture', 'queue', 'decode', 'preprocess', 'inference', 'postprocess', 'return'] as const;
export type Stage = (typeof STAGES)[number];

/** One result's times, ms. `total`: from capture to arrival here, both on this machine's clock. */
export interface FrameTimes {
  readonly receivedTimeMs: number;
  readonly totalMs: number;
  readonly stagesMs: Readonly<Record<Stage, number>>;
}

export interface LiveFigures {
  /** The typical frame of the last second, whose stages add up to its total; undefined while nothing comes. */
  readonly typical: Pick<FrameTimes, 'totalMs' | 'stagesMs'> | undefined;
  /** 95th percentile over the last frames, ms. */
  readonly p95Ms: number | undefined;
  /** Results per second. */
  readonly fps: number;
}

const WINDOW_MS = 1_000;
const RATE_WINDOW_MS = 2_000;
const FRAMES_MAX = 240;

/** What the server's stages do not account for is the way back: encoding, network, and the browser's turn. */
export function frameTimes({
  result,
  captureTimeMs,
  receivedTimeMs,
}: Omit<CapturedResult, 'picture' | 'sentTimeMs'>): FrameTimes {
  const { capture, queue, decode, preprocess, inference, postprocess } = result.stages_ms;
  const totalMs = receivedTimeMs - captureTimeMs;
  const told = capture + queue + decode + preprocess + inference + postprocess;
  return {
    receivedTimeMs,
    totalMs,
    stagesMs: { capture, queue, decode, preprocess, inference, postprocess, return: Math.max(0, totalMs - told) },
  };
}

/** The last frames' times, for the figures on the page. */
export class LiveStats {
  readonly #frames: FrameTimes[] = [];

  add(times: FrameTimes): void {
    this.#frames.push(times);
    if (this.#frames.length > FRAMES_MAX) this.#frames.shift();
  }

  clear(): void {
    this.#frames.length = 0;
  }

  read(nowMs: number): LiveFigures {
    const within = (ms: number) => this.#frames.filter(({ receivedTimeMs }) => nowMs - receivedTimeMs <= ms);
    return {
      typical: typicalOf(within(WINDOW_MS)),
      p95Ms: percentile(
        this.#frames.map(({ totalMs }) => totalMs),
        0.95,
      ),
      fps: rate(
        within(RATE_WINDOW_MS).map(({ receivedTimeMs }) => receivedTimeMs),
        nowMs,
      ),
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
    stagesMs: Object.fromEntries(
      STAGES.map((stage) => [stage, mean(({ stagesMs }) => stagesMs[stage])]),
    ) as FrameTimes['stagesMs'],
  };
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

function percentile(values: readonly number[], fraction: number): number | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(1, Math.ceil(sorted.length * fraction)) - 1];
}
