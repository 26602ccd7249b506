import { BUCKETS, CLASSES, percentileOf, type StreamClass } from './frame-meter.ts';
import { SlotSums } from './windows.ts';

/**
 * What was promised, held against the figures. Pure but for the sums that it keeps: figures and `nowMs` in, one judgement for each rule and
 * class out.
 *
 * Burn rates: Beyer et al., The Site Reliability Workbook (2018), chapter 5, "Alerting on SLOs", method 6 (multiwindow, multi-burn-rate).
 * Where 1 % of the frames may be late, a share of 14.4 % burns at a rate of 14.4: in an hour it takes 2 % of what is allowed in 30 days.
 * An alert needs that rate in a long window, so that it means something, and in a short one, so that it ends soon after its cause.
 */

export const RULES = ['latency', 'drops', 'compliance', 'cpu', 'memory'] as const;
export type RuleName = (typeof RULES)[number];

/** Rules about the frames of a class; the others are about the server. */
export const CLASS_RULES: ReadonlySet<RuleName> = new Set(['latency', 'drops', 'compliance']);

export const SEVERITIES = ['none', 'warning', 'critical'] as const;
/** 0 none, 1 warning, 2 critical. */
export type Rank = 0 | 1 | 2;

/** Counts since the start. */
export interface ClassCounts {
  /** Results, and of these the late ones. */
  readonly results: number;
  readonly late: number;
  /** Frames that the server left without a result: dropped, or failed. */
  readonly lost: number;
  readonly failed: number;
}

export interface Figures {
  readonly classes: Readonly<Record<StreamClass, ClassCounts>>;
  /** Latencies since the last figures, by buckets (`frame-meter.ts`). */
  readonly latencies: Readonly<Record<StreamClass, ArrayLike<number>>>;
  readonly cpuPercent: number;
  readonly rssBytes: number;
}

export interface Threshold {
  readonly warning: number;
  readonly critical: number;
}

export interface Objectives {
  readonly percentile: number;
  readonly latencyMs: Threshold;
  readonly dropsPercent: Threshold;
  readonly cpuPercent: Threshold;
  readonly memoryBytes: Threshold;
  readonly classes: Readonly<Record<StreamClass, { readonly latencyMs: number; readonly compliancePercent: number }>>;
  /** What is well below a threshold, of it: 0..1. */
  readonly clearShare: number;
}

export type Unit = 'ms' | 'percent' | 'bytes' | 'burn_rate';

export interface Judgement {
  readonly rule: RuleName;
  /** null: the server as a whole. */
  readonly class: StreamClass | null;
  /** The highest rank whose threshold is exceeded. `unknown`: too few frames to say. */
  readonly rank: Rank | 'unknown';
  /** The highest rank that it is not well below; at least `rank`. */
  readonly floor: Rank;
  /** null: not known. */
  readonly value: number | null;
  /** The threshold of the rank, or of a warning. */
  readonly threshold: number;
  readonly unit: Unit;
}

const S = 1_000;
const MIN = 60 * S;
const HOUR = 60 * MIN;
const DAY = 24 * HOUR;

/** Pairs of windows and the rate in both of them that makes an alert (the workbook's table 5-8). */
export const BURNS = [
  { rank: 2, shortMs: 5 * MIN, longMs: HOUR, rate: 14.4 },
  { rank: 2, shortMs: 30 * MIN, longMs: 6 * HOUR, rate: 6 },
  { rank: 1, shortMs: 6 * HOUR, longMs: 3 * DAY, rate: 1 },
] as const satisfies readonly { rank: Rank; shortMs: number; longMs: number; rate: number }[];

/** Thresholds are about so long. */
export const WINDOW_MS = MIN;
/** Fewer frames in a window say nothing. */
export const FRAMES_MIN = 20;

const RECENT = { slotMs: 10 * S, slots: 8 };
const BURNING = { slotMs: MIN, slots: (3 * DAY) / MIN + 2 };

interface ClassSums {
  readonly latency: SlotSums;
  /** Results, lost. */
  readonly drops: SlotSums;
  /** All, and those that had no result in time. */
  readonly burn: SlotSums;
  before: ClassCounts | undefined;
}

export class ObjectiveJudge {
  readonly #classes: ReadonlyMap<StreamClass, ClassSums>;
  readonly #server = new SlotSums({ ...RECENT, width: 3 });

  constructor() {
    this.#classes = new Map(
      CLASSES.map((name) => [
        name,
        {
          latency: new SlotSums({ ...RECENT, width: BUCKETS }),
          drops: new SlotSums({ ...RECENT, width: 2 }),
          burn: new SlotSums({ ...BURNING, width: 2 }),
          before: undefined,
        },
      ]),
    );
  }

  /** To be called once a second, with figures read then. */
  judge(figures: Figures, objectives: Objectives, nowMs: number): Judgement[] {
    const ofClasses = CLASSES.flatMap((name) => {
      const sums = this.#classes.get(name)!;
      note(sums, figures.classes[name], figures.latencies[name], nowMs);
      return [
        judgeLatency(name, sums, objectives, nowMs),
        judgeDrops(name, sums, objectives, nowMs),
        judgeCompliance(name, sums, objectives, nowMs),
      ];
    });
    this.#server.add(nowMs, [1, figures.cpuPercent, figures.rssBytes]);
    const [readings = 0, cpu = 0, memory = 0] = this.#server.sum(nowMs, WINDOW_MS);
    const ofServer = { class: null, clearShare: objectives.clearShare } as const;
    return [
      ...ofClasses,
      judgeThreshold({ rule: 'cpu', unit: 'percent', ...ofServer }, cpu / readings, objectives.cpuPercent),
      judgeThreshold({ rule: 'memory', unit: 'bytes', ...ofServer }, memory / readings, objectives.memoryBytes),
    ];
  }

  /** How fast what is allowed is used up, for each class and window; null: too few frames. */
  burnRates(objectives: Objectives, nowMs: number): { class: StreamClass; windowMs: number; rate: number | null }[] {
    const windows = [...new Set(BURNS.flatMap(({ shortMs, longMs }) => [shortMs, longMs]))].toSorted((a, b) => a - b);
    return CLASSES.flatMap((name) => {
      const { burn } = this.#classes.get(name)!;
      const allowed = allowedOf(objectives, name);
      return windows.map((windowMs) => ({
        class: name,
        windowMs,
        rate: rateIn(burn, nowMs, windowMs, allowed) ?? null,
      }));
    });
  }
}

/** Counts may begin anew only with the process, and with it this. */
function note(sums: ClassSums, counts: ClassCounts, latencies: ArrayLike<number>, nowMs: number): void {
  const { before } = sums;
  sums.before = counts;
  // What has happened before the first look has no time.
  if (!before) return;
  const results = counts.results - before.results;
  const lost = counts.lost - before.lost;
  const failed = counts.failed - before.failed;
  const late = counts.late - before.late;
  if (results + lost + failed === 0) return;
  sums.latency.add(nowMs, latencies as readonly number[]);
  sums.drops.add(nowMs, [results + failed, lost]);
  sums.burn.add(nowMs, [results + failed + lost, late + failed + lost]);
}

interface About {
  readonly rule: RuleName;
  readonly class: StreamClass | null;
  readonly unit: Unit;
  readonly clearShare: number;
}

/** A value that is to stay at or below two thresholds. */
export function judgeThreshold(about: About, value: number | null, { warning, critical }: Threshold): Judgement {
  const { clearShare, ...rest } = about;
  if (value === null) return { ...rest, rank: 'unknown', floor: 0, value, threshold: warning };
  const above = (share: number): Rank => (value > critical * share ? 2 : value > warning * share ? 1 : 0);
  const rank = above(1);
  return { ...rest, rank, floor: above(clearShare), value, threshold: rank === 2 ? critical : warning };
}

function judgeLatency(name: StreamClass, { latency }: ClassSums, objectives: Objectives, nowMs: number): Judgement {
  const counts = latency.sum(nowMs, WINDOW_MS);
  const frames = counts.reduce((sum, count) => sum + count, 0);
  const value = frames < FRAMES_MIN ? null : percentileOf(counts, objectives.percentile);
  const about = { rule: 'latency', class: name, unit: 'ms', clearShare: objectives.clearShare } as const;
  return judgeThreshold(about, value, objectives.latencyMs);
}

function judgeDrops(name: StreamClass, { drops }: ClassSums, objectives: Objectives, nowMs: number): Judgement {
  const [others = 0, lost = 0] = drops.sum(nowMs, WINDOW_MS);
  const frames = others + lost;
  const about = { rule: 'drops', class: name, unit: 'percent', clearShare: objectives.clearShare } as const;
  return judgeThreshold(about, frames < FRAMES_MIN ? null : (100 * lost) / frames, objectives.dropsPercent);
}

function judgeCompliance(name: StreamClass, { burn }: ClassSums, objectives: Objectives, nowMs: number): Judgement {
  const allowed = allowedOf(objectives, name);
  const about = { rule: 'compliance', class: name, unit: 'burn_rate' } as const;
  const ageMs = burn.ageMs(nowMs);
  let [rank, floor]: [Rank, Rank] = [0, 0];
  /** The pair that is judged by: the gravest that burns, else the first that is known. */
  let shown: { value: number; threshold: number } | undefined;
  for (const pair of BURNS) {
    const short = rateIn(burn, nowMs, pair.shortMs, allowed);
    const long = rateIn(burn, nowMs, pair.longMs, allowed);
    // A server that has run for less than the short window has no long one.
    if (short === undefined || long === undefined || ageMs < pair.shortMs) continue;
    const both = Math.min(short, long);
    shown ??= { value: both, threshold: pair.rate };
    if (both > pair.rate && pair.rank > rank) {
      rank = pair.rank;
      shown = { value: both, threshold: pair.rate };
    }
    if (both > pair.rate * objectives.clearShare && pair.rank > floor) floor = pair.rank;
  }
  if (!shown) return { ...about, rank: 'unknown', floor: 0, value: null, threshold: BURNS[0].rate };
  return { ...about, rank, floor, ...shown };
}

function allowedOf({ classes }: Objectives, name: StreamClass): number {
  return 1 - classes[name].compliancePercent / 100;
}

function rateIn(burn: SlotSums, nowMs: number, windowMs: number, allowed: number): number | undefined {
  const [frames = 0, bad = 0] = burn.sum(nowMs, windowMs);
  return frames < FRAMES_MIN ? undefined : bad / frames / allowed;
}
