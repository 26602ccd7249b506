import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { z } from 'zod';
import type { Clock } from '../base/clock.ts';
import type { DeepReadonly } from '../config/schema.ts';
import type { StagesMs } from '../protocol/video.ts';
import { part, type FigureValue, type HistogramValue, type Part } from './figures.ts';
import { amount, count, each } from './schema.ts';

/** Where frames come from: the sockets of clients, or cameras that the server reads itself. */
export const FRAME_LANES = ['video', 'cameras'] as const;
export type FrameLane = (typeof FRAME_LANES)[number];

/**
 * The stages of a frame whose times add up to `total`: each is a frame's own time in that stage. A camera's frame was decoded before it came to the server: what
 * passed until then is `capture` and `decode`.
 */
export const OWN_STAGES = ['capture', 'queue', 'decode', 'preprocess', 'inference', 'postprocess'] as const;
export type OwnStage = (typeof OWN_STAGES)[number];

/**
 * All measurements of a frame. `total` is capture to handed to the encoder, or to the result where nobody need be watching, as of cameras; `encode` and `transmit` (handed to the
 * socket to written to the kernel) come after it, for each client that gets the result.
 */
export const STAGES = [...OWN_STAGES, 'encode', 'transmit', 'total'] as const;
export type Stage = (typeof STAGES)[number];

export const latencySchema = z
  .object({
    count: count(),
    p50_ms: amount().nullable(),
    p95_ms: amount().nullable(),
    p99_ms: amount().nullable(),
    max_ms: amount().nullable(),
  })
  .meta({ id: 'Latency', description: 'percentiles of every recorded duration; null when there is none' });

const frameLatencySchema = z.object({
  stages: each(STAGES, () => latencySchema),
  bottlenecks: each(OWN_STAGES, count).describe('frames by the stage in which they spent most of their own time'),
});

export const latenciesSchema = z.object({
  since_start: frameLatencySchema,
  recent: frameLatencySchema.describe('of the last one to two windows'),
  window_s: amount(),
});

/** Percentiles to three digits. */
export type LatencyFigures = DeepReadonly<z.output<typeof latencySchema>>;
export type FrameLatencyFigures = DeepReadonly<z.output<typeof frameLatencySchema>>;

/** Bounds of the public histogram, seconds. */
const BUCKETS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.5, 1, 2.5, 5] as const;

export function latencyPart(latencies: FrameLatencies): Part<DeepReadonly<z.output<typeof latenciesSchema>>> {
  return part(
    () => ({
      since_start: latencies.sinceStart(),
      recent: latencies.recent(),
      window_s: latencies.windowMs / 1000,
    }),
    [
      {
        name: 'sightline_frame_stage_seconds',
        kind: 'histogram',
        unit: 'seconds',
        help: 'Time that frames spent in each stage; total is capture to handed to the encoder, of cameras capture to result',
        labels: ['lane', 'stage'],
        buckets: BUCKETS_S,
        read: () => inEachLane(STAGES, (lane, stage) => latencies.histogram(lane, stage)),
      },
      {
        name: 'sightline_frame_bottlenecks_total',
        kind: 'counter',
        help: 'Frames by the stage in which they spent most of their own time',
        labels: ['lane', 'stage'],
        read: () => inEachLane(OWN_STAGES, (lane, stage) => latencies.bottlenecks(lane)[stage]),
      },
    ],
  );
}

function inEachLane<S extends Stage, V extends FigureValue>(
  stages: readonly S[],
  of: (lane: FrameLane, stage: S) => V,
) {
  return FRAME_LANES.flatMap((lane) => stages.map((stage) => [[lane, stage], of(lane, stage)] as const));
}

/** Longer durations count as this one. */
const DURATION_MAX_US = 60_000_000;
const DEFAULT_WINDOW_MS = 60_000;

/** Of the public figures, since the start. */
interface LaneFigures {
  readonly buckets: Readonly<Record<Stage, BucketCounts>>;
  readonly bottlenecks: Record<OwnStage, number>;
}

/**
 * Latencies of frames by stage, since the start and recent: of all lanes together, and their buckets by lane. "Recent" is the last whole window and the current one, so
 * that it never begins empty: at 60 s the last one to two minutes. Memory is fixed (about 4 MB), whatever the rate.
 */
export class FrameLatencies {
  readonly windowMs: number;
  readonly #clock: Clock;
  readonly #sinceStart = new Slice();
  readonly #lanes = Object.fromEntries(
    FRAME_LANES.map((lane): [FrameLane, LaneFigures] => [
      lane,
      { buckets: byStage(STAGES, () => new BucketCounts(BUCKETS_S)), bottlenecks: byStage(OWN_STAGES, () => 0) },
    ]),
  ) as Readonly<Record<FrameLane, LaneFigures>>;
  readonly #merged = new Slice();
  #current = new Slice();
  #last = new Slice();
  #windowEndMs: number;

  constructor(clock: Clock, windowMs: number = DEFAULT_WINDOW_MS) {
    this.#clock = clock;
    this.windowMs = windowMs;
    this.#windowEndMs = clock.now() + windowMs;
  }

  /** One frame was answered with a result. */
  frame(lane: FrameLane, stages: StagesMs): void {
    this.#turnWindow();
    this.#sinceStart.frame(stages);
    this.#current.frame(stages);
    const { buckets, bottlenecks } = this.#lanes[lane];
    for (const stage of OWN_STAGES) buckets[stage].record(stages[stage] / 1000);
    buckets.total.record(stages.total / 1000);
    bottlenecks[bottleneckOf(stages)]++;
  }

  encoded(lane: FrameLane, durationMs: number): void {
    this.#record(lane, 'encode', durationMs);
  }

  transmitted(lane: FrameLane, durationMs: number): void {
    this.#record(lane, 'transmit', durationMs);
  }

  sinceStart(): FrameLatencyFigures {
    return this.#sinceStart.figures();
  }

  /** Since the start, seconds. */
  histogram(lane: FrameLane, stage: Stage): HistogramValue {
    return this.#lanes[lane].buckets[stage].read();
  }

  /** Since the start. */
  bottlenecks(lane: FrameLane): Readonly<Record<OwnStage, number>> {
    return this.#lanes[lane].bottlenecks;
  }

  recent(): FrameLatencyFigures {
    this.#turnWindow();
    this.#merged.reset();
    this.#merged.add(this.#last);
    this.#merged.add(this.#current);
    return this.#merged.figures();
  }

  #record(lane: FrameLane, stage: Stage, durationMs: number): void {
    this.#turnWindow();
    this.#sinceStart.record(stage, durationMs);
    this.#current.record(stage, durationMs);
    this.#lanes[lane].buckets[stage].record(durationMs / 1000);
  }

  #turnWindow(): void {
    const nowMs = this.#clock.now();
    if (nowMs < this.#windowEndMs) return;
    [this.#last, this.#current] = [this.#current, this.#last];
    this.#current.reset();
    // Nothing was recorded for a whole window and more: the stored values are not recent.
    if (nowMs >= this.#windowEndMs + this.windowMs) this.#last.reset();
    this.#windowEndMs = nowMs + this.windowMs;
  }
}

/** Node's histograms cannot count the values below a bound. */
class BucketCounts {
  readonly #bounds: readonly number[];
  /** Of each bucket by itself; the last one has no bound. */
  readonly #counts: number[];
  #sum = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }

  record(given: number): void {
    // As in the percentiles: a capture time a little ahead of the server's clock must not give a negative duration.
    const value = given > 0 ? given : 0;
    const at = this.#bounds.findIndex((bound) => value <= bound);
    this.#counts[at < 0 ? this.#bounds.length : at]!++;
    this.#sum += Math.min(value, DURATION_MAX_US / 1e6);
  }

  read(): HistogramValue {
    let below = 0;
    const counts = this.#counts.map((count) => (below += count));
    return { counts: counts.slice(0, -1), count: below, sum: this.#sum };
  }
}

/** Records of one stretch of time. */
class Slice {
  readonly #histograms = byStage(STAGES, () => createHistogram({ lowest: 1, highest: DURATION_MAX_US, figures: 3 }));
  readonly #bottlenecks = byStage(OWN_STAGES, () => 0);

  frame(stages: StagesMs): void {
    for (const stage of OWN_STAGES) this.record(stage, stages[stage]);
    this.record('total', stages.total);
    this.#bottlenecks[bottleneckOf(stages)]++;
  }

  record(stage: Stage, durationMs: number): void {
    this.#histograms[stage].record(microseconds(durationMs));
  }

  add(other: Slice): void {
    for (const stage of STAGES) this.#histograms[stage].add(other.#histograms[stage]);
    for (const stage of OWN_STAGES) this.#bottlenecks[stage] += other.#bottlenecks[stage];
  }

  reset(): void {
    for (const stage of STAGES) this.#histograms[stage].reset();
    for (const stage of OWN_STAGES) this.#bottlenecks[stage] = 0;
  }

  figures(): FrameLatencyFigures {
    return {
      stages: byStage(STAGES, (stage) => figuresOf(this.#histograms[stage])),
      bottlenecks: { ...this.#bottlenecks },
    };
  }
}

/** The stage with the largest own time; of equals the earlier one. */
export function bottleneckOf(stages: Readonly<Record<OwnStage, number>>): OwnStage {
  let worst: OwnStage = OWN_STAGES[0];
  for (const stage of OWN_STAGES) if (stages[stage] > stages[worst]) worst = stage;
  return worst;
}

/** Node's histograms take whole numbers from 1. A capture time a little ahead of the server's clock gives a negative duration. */
function microseconds(durationMs: number): number {
  return durationMs > 0 ? Math.min(DURATION_MAX_US, Math.max(1, Math.round(durationMs * 1000))) : 1;
}

function figuresOf(histogram: RecordableHistogram): LatencyFigures {
  if (histogram.count === 0) return { count: 0, p50_ms: null, p95_ms: null, p99_ms: null, max_ms: null };
  return {
    count: histogram.count,
    p50_ms: histogram.percentile(50) / 1000,
    p95_ms: histogram.percentile(95) / 1000,
    p99_ms: histogram.percentile(99) / 1000,
    max_ms: histogram.max / 1000,
  };
}

function byStage<S extends Stage, V>(stages: readonly S[], make: (stage: S) => V): Record<S, V> {
  return Object.fromEntries(stages.map((stage) => [stage, make(stage)])) as Record<S, V>;
}
