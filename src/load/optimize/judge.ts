/** Compares measured candidates: which are better, good enough, or equal within noise. Pure. */

export const STRATEGIES_WEIGHED = ['latency', 'memory', 'balanced', 'aggressive'] as const;
export type Strategy = (typeof STRATEGIES_WEIGHED)[number];

/** Values of settings by dotted key, on top of the configuration that the search begins with. */
export type Settings = Readonly<Record<string, string | number>>;

/** A limit for the clients' pictures: the widest and highest in pixels, and the JPEG quality. */
export interface PictureLimit {
  readonly width: number;
  readonly height: number;
  readonly quality: number;
}

/** One span of load on one server; the names are those of the JSON document. */
export interface Measured {
  /** Of all sessions together. */
  readonly results_per_s: number;
  /** Results that came within the target latency. */
  readonly in_time_per_s: number;
  /** Capture to result; infinite where nothing came. */
  readonly p50_ms: number;
  readonly p95_ms: number;
  /** Share of the frames sent that were dropped, refused or never answered. */
  readonly loss_percent: number;
  /** Processor time of the server, in percent of all processors. */
  readonly cpu_percent: number;
  readonly memory_mb: number;
  /** Processor time of unrelated programs meanwhile, in percent of all processors. */
  readonly others_percent: number;
  /** One frame in a worker, without any waiting. */
  readonly work_p95_ms: number;
}

export interface Candidate {
  /** For people. */
  readonly name: string;
  readonly settings: Settings;
  readonly picture: PictureLimit;
  readonly measured: Measured;
}

export interface Goal {
  readonly strategy: Strategy;
  readonly targetMs: number;
}

const LOSS_MAX_PERCENT = 1;
/** Candidates that are so close to each other in results a second count as equal: then the strategy chooses. */
const TIE = 0.05;
/** Bounds on the noise that the machine's other work adds to one and the same configuration. */
const NOISE_MIN = 0.05;
const NOISE_MAX = 0.15;
/** Less than this is no reason to leave the default. */
const GAIN_MIN = 0.1;

/** Value below which the share `of` (0..1) of the values lies, by nearest rank; infinite where there are none. */
export function percentile(values: readonly number[], of: number): number {
  if (values.length === 0) return Infinity;
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(of * sorted.length) - 1)]!;
}

/** Of an even number the mean of the two in the middle; infinite where there are none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1] ?? Infinity, sorted[sorted.length >> 1] ?? Infinity];
  return low === high ? low : (low + high) / 2;
}

/** Each figure's own median over the rounds. */
export function medianOf(rounds: readonly Measured[]): Measured {
  const of = (name: keyof Measured): number => median(rounds.map((round) => round[name]));
  return {
    results_per_s: of('results_per_s'),
    in_time_per_s: of('in_time_per_s'),
    p50_ms: of('p50_ms'),
    p95_ms: of('p95_ms'),
    loss_percent: of('loss_percent'),
    cpu_percent: of('cpu_percent'),
    memory_mb: of('memory_mb'),
    others_percent: of('others_percent'),
    work_p95_ms: of('work_p95_ms'),
  };
}

/**
 * By how much rounds of one configuration differ in results a second, as a share of their median: twice the median of the deviations,
 * so that one round that was disturbed does not excuse everything.
 */
export function noiseOf(rounds: readonly Measured[]): number {
  const rates = rounds.map(({ results_per_s }) => results_per_s);
  const middle = median(rates);
  const deviation = median(rates.map((rate) => Math.abs(rate - middle)));
  return Math.min(NOISE_MAX, Math.max(NOISE_MIN, (2 * deviation) / Math.max(1e-9, middle)));
}

export function isWithin({ p95_ms, loss_percent }: Measured, targetMs: number): boolean {
  return p95_ms <= targetMs && loss_percent < LOSS_MAX_PERCENT;
}

/**
 * Best first. Those within the target come before all others, by their results in time; among those that give about as many as
 * the best one the strategy chooses. `defaultInTimePerS`: `aggressive` gives results away down to as many. Where none is within
 * the target, the shortest p95 comes first.
 */
export function rank<C extends Candidate>(candidates: readonly C[], goal: Goal, defaultInTimePerS: number): C[] {
  const within = candidates.filter(({ measured }) => isWithin(measured, goal.targetMs));
  if (within.length === 0) return candidates.toSorted(byP95);
  const most = Math.max(...within.map(({ measured }) => measured.in_time_per_s));
  const enough = (goal.strategy === 'aggressive' ? Math.min(most, defaultInTimePerS) : most) * (1 - TIE);
  const isEnough = ({ measured }: C): boolean => measured.in_time_per_s >= enough;
  return [
    ...within.filter(isEnough).toSorted(PREFERENCES[goal.strategy]),
    ...within.filter((one) => !isEnough(one)).toSorted(byResults),
    ...candidates.filter((one) => !within.includes(one)).toSorted(byP95),
  ];
}

type Order = (a: Candidate, b: Candidate) => number;

const byResults: Order = (a, b) => b.measured.in_time_per_s - a.measured.in_time_per_s;
const byP95: Order = (a, b) => (a.measured.p95_ms === b.measured.p95_ms ? 0 : a.measured.p95_ms - b.measured.p95_ms);
const byMemory: Order = (a, b) => a.measured.memory_mb - b.measured.memory_mb;
const byPixels: Order = (a, b) => b.picture.width * b.picture.height - a.picture.width * a.picture.height;
const byQuality: Order = (a, b) => b.picture.quality - a.picture.quality;
const byChanges: Order = (a, b) => Object.keys(a.settings).length - Object.keys(b.settings).length;

function first(...orders: readonly Order[]): Order {
  return (a, b) => orders.reduce((decided, order) => (decided !== 0 ? decided : order(a, b)), 0);
}

const PREFERENCES: Readonly<Record<Strategy, Order>> = {
  balanced: first(byPixels, byQuality, byChanges, byP95),
  memory: first(byMemory, byChanges),
  latency: first(byP95, byChanges),
  aggressive: first(byP95, byChanges),
};

export interface Verdict {
  /** It measures no worse than the default, and better by the strategy's criterion. */
  readonly adopted: boolean;
  /** For people: its gain, or why it is rejected. */
  readonly reasons: readonly string[];
}

/** Whether a candidate is to take the default's place, by the medians of spans that took turns. */
export function judge(standard: Measured, candidate: Measured, goal: Goal, noise: number): Verdict {
  const shortfalls = shortfallsOf(standard, candidate, goal, noise);
  if (shortfalls.length > 0) return { adopted: false, reasons: shortfalls };
  const gains = gainsOf(standard, candidate, goal, noise);
  if (gains.length > 0) return { adopted: true, reasons: gains };
  return { adopted: false, reasons: [`it gains no more than the measurements' own noise (${percent(noise)})`] };
}

/** Only results in time count: a server that is late with all of them is not worth keeping. */
function shortfallsOf(standard: Measured, candidate: Measured, { targetMs }: Goal, noise: number): string[] {
  const found: string[] = [];
  if (candidate.p95_ms > targetMs && candidate.p95_ms > standard.p95_ms) {
    found.push(`p95 is ${ms(candidate.p95_ms)} against ${ms(standard.p95_ms)} of the default`);
  }
  if (candidate.loss_percent >= LOSS_MAX_PERCENT && candidate.loss_percent > standard.loss_percent) {
    found.push(`${candidate.loss_percent.toFixed(1)} % of the frames are lost`);
  }
  if (candidate.in_time_per_s < standard.in_time_per_s * (1 - noise)) {
    found.push(`${inTime(candidate)} against ${inTime(standard)} of the default`);
  }
  return found;
}

function gainsOf(standard: Measured, candidate: Measured, { strategy, targetMs }: Goal, noise: number): string[] {
  const gains: string[] = [];
  if (isWithin(candidate, targetMs) && !isWithin(standard, targetMs)) {
    gains.push(
      `it holds ${ms(targetMs)} (p95 ${ms(candidate.p95_ms)}), which the default does not (p95 ${ms(standard.p95_ms)}, ` +
        `${standard.loss_percent.toFixed(1)} % lost)`,
    );
  }
  if (candidate.in_time_per_s > standard.in_time_per_s * (1 + noise)) {
    gains.push(`${inTime(candidate)} against ${inTime(standard)} of the default`);
  }
  const weighsTime = strategy === 'latency' || strategy === 'aggressive' || !isWithin(standard, targetMs);
  if (weighsTime && candidate.p95_ms < standard.p95_ms * (1 - GAIN_MIN)) {
    gains.push(`p95 is ${ms(candidate.p95_ms)} against ${ms(standard.p95_ms)} of the default`);
  }
  if (strategy === 'memory' && candidate.memory_mb < standard.memory_mb * (1 - GAIN_MIN)) {
    gains.push(`it takes ${candidate.memory_mb.toFixed(0)} MB against ${standard.memory_mb.toFixed(0)} of the default`);
  }
  return gains;
}

function inTime({ in_time_per_s }: Measured): string {
  return `${in_time_per_s.toFixed(1)} results/s in time`;
}

function ms(value: number): string {
  return Number.isFinite(value) ? `${value.toFixed(value < 10 ? 1 : 0)} ms` : 'without end';
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}
