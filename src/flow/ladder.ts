import { SightlineError } from '../base/errors.ts';
import { jpegGrowth } from './jpeg-size.ts';
import type { PerformanceMode, QualityLevel } from '../protocol/video.ts';

/** The rungs between which the quality of a session moves. */

export interface Rung {
  readonly name: string;
  /** JPEG quality, 1..100. */
  readonly quality: number;
  /** Scale of width and height. */
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

/** A mode as a rung: the source leaves out frames. */
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
 * of cost. `maxFps` is the most that a session may be granted; a value above the highest level's rate raises that level.
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

/** Costs more, and the picture is not smaller: a step up must be one. */
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

/** Bytes a second of a rung relative to one picture at scale 1 and quality 50, for comparing rungs of two ladders. */
function weightOf({ quality, scale, fps }: Omit<Rung, 'name'>): number {
  return fps * scale ** 2 * jpegGrowth(quality);
}

/** The rung whose cost is nearest to that of `wanted`. */
export function nearestRung(rungs: readonly Rung[], wanted: Omit<Rung, 'name'>): number {
  const distance = (rung: Rung) => Math.abs(Math.log(weightOf(rung) / weightOf(wanted)));
  return rungs.reduce((best, rung, i) => (distance(rung) < distance(rungs[best]!) ? i : best), 0);
}

/** Costs of the rungs and what is available, in any one unit. */
export interface LadderInput {
  readonly nowMs: number;
  readonly available: number;
  /** How long a higher rung must be affordable without a break; half as long where there is plenty. */
  readonly stabilityMs: number;
  /** Cost of a rung at its least. */
  readonly costOf: (rung: number) => number;
}

/** A rung must be affordable with this much to spare before it is taken … */
const UP_MARGIN = 1.1;
/** … and is held until the available amount falls below this share of its cost: fewer frames bridge the difference. */
const DOWN_MARGIN = 0.8;
/** Where this many times its cost is available, half of the time is enough. The least time between two steps stays the same. */
const PLENTY = 3;
/** A step up that did not last makes the next one wait longer, up to this many times the stability time. */
const PATIENCE_MAX = 8;

/** The slow part of the adaptation: down at once, up one rung at a time. Pure. */
export class Ladder {
  readonly #top: number;
  #rung: number;
  /** When a higher rung became affordable; undefined: it is not. */
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
      // A step down this soon after a step up: that step up was one mistake, however far it goes down.
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
