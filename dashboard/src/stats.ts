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
  /** Median over the last second, ms; undefined while nothing comes. */
  readonly totalMs: number | undefined;
  readonly stagesMs: Readonly<Record<Stage, number>> | undefined;
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
    const recent = this.#frames.filter(({ receivedTimeMs }) => nowMs - receivedTimeMs <= WINDOW_MS);
    const stage = (name: Stage) =>
      percentile(
        recent.map(({ stagesMs }) => stagesMs[name]),
        0.5,
      ) ?? 0;
    return {
      totalMs: percentile(
        recent.map(({ totalMs }) => totalMs),
        0.5,
      ),
      p95Ms: percentile(
        this.#frames.map(({ totalMs }) => totalMs),
        0.95,
      ),
      stagesMs:
        recent.length === 0
          ? undefined
          : (Object.fromEntries(STAGES.map((name) => [name, stage(name)])) as Record<Stage, number>),
      fps: rate(
        this.#frames.map(({ receivedTimeMs }) => receivedTimeMs).filter((time) => nowMs - time <= RATE_WINDOW_MS),
        nowMs,
      ),
    };
  }
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
