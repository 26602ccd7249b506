import { SightlineError } from '../base/errors.ts';
import { jpegGrowth } from './jpeg-size.ts';
import type { PerformanceMode, QualityLevel } from '../protocol/video.ts';

/** The rungs between which the quality of a session moves. */

export interface Rung {
  readonly name: string;
  /** JPEG quality, 1..100. */
  readonly quality: number;
  /** Of width and height. */
  readonly scale: number;
  /** Frames per second. */
  readonly fps: number;
}

/** The five quality levels of requirement Q1. */
const LEVELS: Readonly<Record<QualityLevel, Omit<Rung, 'name'>>> = {
  ultra_low: { quality: 25, scale: 0.5, fps: 10 },
  low: { quality: 40, scale: 0.65, fps: 15 },
  medium: { quality: 60, scale: 0.8, fps: 20 },
  high: { quality: 75, scale: 0.9, fps: 25 },
  ultra_high: { quality: 90, scale: 1, fps: 30 },
};

/** The four performance modes of requirement Q2; `frameSkip` n leaves n frames out between two. */
const MODES: Readonly<
  Record<PerformanceMode, { quality: number; scale: number; frameSkip: number; targetMs: number }>
> = {
  ultra_performance: { quality: 40, scale: 0.6, frameSkip: 3, targetMs: 30 },
  high_performance: { quality: 50, scale: 0.75, frameSkip: 2, targetMs: 50 },
  balanced: { quality: 65, scale: 0.85, frameSkip: 1, targetMs: 75 },
  high_quality: { quality: 80, scale: 1, frameSkip: 0, targetMs: 100 },
};

/** A mode as a rung: frames left out of what the source shows. */
export function rungOfMode(mode: PerformanceMode, sourceFps: number): Rung {
  const { quality, scale, frameSkip } = MODES[mode];
  return { name: mode, quality, scale, fps: sourceFps / (frameSkip + 1) };
}

export function rungOfLevel(level: QualityLevel): Rung {
  const { quality, scale, fps } = LEVELS[level];
  return { name: level, quality, scale, fps };
}

/** Both built-in ladders, from the lowest rung up. */
export function builtInLadder(kind: 'levels' | 'modes', sourceFps: number): Rung[] {
  if (kind === 'levels') return (Object.keys(LEVELS) as QualityLevel[]).map(rungOfLevel);
  return (Object.keys(MODES) as PerformanceMode[]).map((mode) => rungOfMode(mode, sourceFps));
}

/**
 * The ladder that the settings name: `levels`, `modes`, or rungs of the user's own, each `name quality scale fps`, in rising order
 * of what they cost. `maxFps` is what a session may be granted at the most: who allows more than the highest level has gets it there.
 * Errors: CONFIG_VALUE_BAD.
 */
export function ladderOf(words: readonly string[], sourceFps: number, maxFps: number): Rung[] {
  const [only] = words;
  if (words.length === 1 && (only === 'levels' || only === 'modes')) {
    const rungs = builtInLadder(only, sourceFps);
    const top = rungs.pop()!;
    return [...rungs, only === 'levels' ? { ...top, fps: Math.max(top.fps, maxFps) } : top];
  }
  const rungs = words.map(rungOf);
  if (rungs.length === 0) throw bad('there is no rung');
  const falling = rungs.findIndex((rung, i) => i > 0 && !isAbove(rung, rungs[i - 1]!));
  if (falling > 0) throw bad(`"${words[falling]}" costs no more than the rung below it, or has a smaller picture`);
  if (new Set(rungs.map(({ name }) => name)).size < rungs.length) throw bad('two rungs have the same name');
  return rungs;
}

/** Costs more, and the picture is no smaller: a step up must be one. */
function isAbove(rung: Rung, below: Rung): boolean {
  return weightOf(rung) > weightOf(below) && rung.scale >= below.scale;
}

function rungOf(text: string): Rung {
  const [name = '', ...numbers] = text.trim().split(/\s+/);
  const [quality = NaN, scale = NaN, fps = NaN] = numbers.map(Number);
  const isRung = numbers.length === 3 && quality >= 1 && quality <= 100 && scale >= 0.05 && scale <= 1;
  if (!isRung || !(fps >= 0.1 && fps <= 60)) {
    throw bad(`"${text}" is not levels, modes or "name quality(1..100) scale(0.05..1) fps(0.1..60)"`);
  }
  return { name, quality, scale, fps };
}

function bad(what: string): SightlineError {
  return new SightlineError('CONFIG_VALUE_BAD', `performance.ladder: ${what}`);
}

/** Bytes of a rung's second relative to one picture at scale 1 and quality 50: what rungs of two ladders are compared by. */
function weightOf({ quality, scale, fps }: Omit<Rung, 'name'>): number {
  return fps * scale ** 2 * jpegGrowth(quality);
}

/** The rung that costs most nearly what `wanted` does. */
export function nearestRung(rungs: readonly Rung[], wanted: Omit<Rung, 'name'>): number {
  const distance = (rung: Rung) => Math.abs(Math.log(weightOf(rung) / weightOf(wanted)));
  return rungs.reduce((best, rung, i) => (distance(rung) < distance(rungs[best]!) ? i : best), 0);
}

/** What the rungs cost and what there is, in any one unit. */
export interface LadderInput {
  readonly nowMs: number;
  readonly available: number;
  /** A higher rung must be affordable for so long without a break; half as long where there is plenty. */
  readonly stabilityMs: number;
  /** What the least of a rung takes. */
  readonly costOf: (rung: number) => number;
}

/** A rung must be affordable with this much to spare before it is taken … */
const UP_MARGIN = 1.1;
/** … and is held until what there is falls below this share of its cost: fewer frames bridge the difference. */
const DOWN_MARGIN = 0.8;
/** Where there is so many times its cost, half of the time is enough. Steps still are as far apart as ever. */
const PLENTY = 3;
/** A step up that did not last makes the next one wait longer, up to so many times the stability time. */
const PATIENCE_MAX = 8;

/** The slow part of the adaptation: down at once, up one rung at a time. Pure. */
export class Ladder {
  readonly #top: number;
  #rung: number;
  /** Since when a higher rung is affordable; undefined: it is not. */
  #affordableSinceMs: number | undefined;
  #wentUpMs = -Infinity;
  /** The last step up has not proved itself yet. */
  #isOnTrial = false;
  #patience = 1;
  #moves = 0;

  constructor(rungs: number, start: number) {
    this.#top = rungs - 1;
    this.#rung = Math.min(start, this.#top);
  }

  get rung(): number {
    return this.#rung;
  }

  get moves(): number {
    return this.#moves;
  }

  update({ nowMs, available, stabilityMs, costOf }: LadderInput): number {
    if (this.#isOnTrial && nowMs - this.#wentUpMs >= 2 * stabilityMs) {
      this.#isOnTrial = false;
      this.#patience = 1;
    }
    // A clock that was set back must not hold a step for as long.
    this.#wentUpMs = Math.min(this.#wentUpMs, nowMs);
    let target = this.#rung;
    while (target > 0 && available < DOWN_MARGIN * costOf(target)) target--;
    if (target < this.#rung) {
      // So soon after a step up: that step was a mistake, one however far it goes down.
      if (this.#isOnTrial) this.#patience = Math.min(PATIENCE_MAX, this.#patience * 2);
      this.#isOnTrial = false;
      this.#move(target);
    } else if (this.#rung < this.#top && available >= UP_MARGIN * costOf(this.#rung + 1)) {
      this.#affordableSinceMs ??= nowMs;
      const share = Math.min(1, Math.max(0.5, (0.5 * PLENTY * costOf(this.#rung + 1)) / available));
      const isProven = nowMs - this.#affordableSinceMs >= stabilityMs * this.#patience * share;
      if (isProven && nowMs - this.#wentUpMs >= stabilityMs) {
        this.#wentUpMs = nowMs;
        this.#isOnTrial = true;
        this.#move(this.#rung + 1);
      }
    } else {
      this.#affordableSinceMs = undefined;
    }
    return this.#rung;
  }

  #move(rung: number): void {
    this.#rung = rung;
    this.#affordableSinceMs = undefined;
    this.#moves++;
  }
}
