import { expect } from 'vitest';
import { seededRandom, type Random } from '../../src/base/random.ts';
import { Priority } from '../../src/base/sample.ts';
import { percentile } from './figures.ts';
import { Overload, type SourceOptions } from './overload.ts';

/** Two kinds of work of unlike cost under ten times what the engine can do, half of the sessions of each, at random. */

const PROGRAMS = ['objects', 'hands'] as const;
const OVERLOAD = 10;
/** Frames of hands that are searched for, and what they cost beside those in which hands are followed, as measured. */
const SEARCHES = { share: 0.12, times: 3 };
/** The controllers have found their way. */
const SETTLED_MS = 2_000;

export interface MixFigures {
  /** In words, for a failure. */
  readonly mix: string;
  /** Of the workers' time of both kinds, what ordinary sessions of the first had, 0..1; 0.5 is even. */
  readonly share: number;
  /** Capture to result, in runs of the longer model. */
  readonly p95Runs: number;
  /** The longest time that anybody was without a result, ms. */
  readonly gapMs: number;
  readonly isBalanced: boolean;
}

/**
 * What holds in every mix. Even is half of the workers' time for each kind; a few seconds with few frames are off by more than
 * many: all by less than a twentieth, nearly all (`isVeryEven`) by less than half of that. The slowest twentieth of few frames is
 * very few: nearly all mixes (`isPrompt`) have results within four runs of the longer model, all within four and a half.
 */
export function expectFairMix({ mix, share, p95Runs, gapMs, isBalanced }: MixFigures): {
  readonly isVeryEven: boolean;
  readonly isPrompt: boolean;
} {
  expect(Math.abs(share - 0.5), `share ${share.toFixed(3)}: ${mix}`).toBeLessThanOrEqual(0.05);
  expect(p95Runs, mix).toBeLessThanOrEqual(4.5);
  expect(gapMs, mix).toBeLessThan(5_000);
  expect(isBalanced, mix).toBe(true);
  return { isVeryEven: Math.abs(share - 0.5) <= 0.025, isPrompt: p95Runs <= 4 };
}

const between = (random: Random, low: number, high: number) => low + (high - low) * random();
/** Small and large values as often: 1 to 2 as 10 to 20. */
const spread = (random: Random, low: number, high: number) => low * (high / low) ** random();

export async function runMix(seed: number): Promise<MixFigures> {
  const random = seededRandom(seed);
  const workers = 1 + Math.floor(random() * 4);
  const cheapMs = spread(random, 8, 30);
  // Shorter runs are lost in what is fixed: the way, and the room that a budget has.
  const dearMs = Math.max(15, cheapMs * spread(random, 1, 4));
  const costsMs = random() < 0.5 ? { objects: cheapMs, hands: dearMs } : { objects: dearMs, hands: cheapMs };
  // So few that a session's frame rate bounds none of the cheap ones, so many that each of the dear ones has two a second.
  const least = Math.max(2, Math.ceil((workers * 1000) / 2 / cheapMs / 20));
  const most = Math.max(least, Math.floor((workers * 1000) / 2 / dearMs / 2));
  const each = Math.min(12, least + Math.floor(random() * (most - least + 1)));
  const honouring = [0, 0.5, 1][Math.floor(random() * 3)]!;
  const budgetMs = between(random, 2.5, 3.2) * dearMs;
  const sources = PROGRAMS.flatMap((program): SourceOptions[] => {
    const fps = (OVERLOAD * workers * 1000) / 2 / costsMs[program] / each;
    // As many in both, or it would be the flood that takes more, and not the pipeline.
    const ordinary = Array.from({ length: each }, (_, i): SourceOptions => ({
      fps,
      priority: Priority.normal,
      honours: i < honouring * each,
      program,
    }));
    const critical: SourceOptions = { fps: 2, priority: Priority.critical, honours: true, program };
    return [critical].concat(ordinary);
  });
  const forMs = SETTLED_MS + (900 * dearMs) / workers;
  const cheap = PROGRAMS.find((program) => costsMs[program] === cheapMs)!;
  const followedMs = cheapMs / (1 + SEARCHES.share * (SEARCHES.times - 1));
  // The longest run is still that of the dear program.
  const hasSearches = random() < 0.5 && SEARCHES.times * followedMs <= dearMs;
  const engine = hasSearches
    ? { costsMs: { ...costsMs, [cheap]: followedMs }, rare: { [cheap]: SEARCHES } }
    : { costsMs };
  const sim = await new Overload({
    seed,
    engine: { workers, serviceMs: dearMs, ...engine, spread: between(random, 0, 0.3) },
    sources,
    settings: { budgetMs },
  }).run(forMs);
  const settled = sim.sources.map(({ results }) => results.filter(({ resultMs }) => resultMs > SETTLED_MS));
  const workOf = (program: (typeof PROGRAMS)[number]) =>
    sim.sources.reduce((sum, { options }, i) => {
      const isOne = options.program === program && options.priority === Priority.normal;
      return isOne ? sum + settled[i]!.length * costsMs[program] : sum;
    }, 0);
  const latenciesMs = settled.flat().map(({ captureMs, resultMs }) => resultMs - captureMs);
  const gapsMs = settled.map((results) => {
    const moments = [SETTLED_MS, ...results.map(({ resultMs }) => resultMs), forMs];
    return Math.max(...moments.slice(1).map((timeMs, i) => timeMs - moments[i]!));
  });
  return {
    mix: `seed ${seed}: ${workers} workers, ${each} sessions of ${costsMs.objects.toFixed(1)} ms and of ${costsMs.hands.toFixed(1)} ms, ${100 * honouring} % honouring${hasSearches ? `, some of ${cheap} three times as long` : ''}, budget ${budgetMs.toFixed(0)} ms`,
    share: workOf('objects') / (workOf('objects') + workOf('hands')),
    p95Runs: percentile(latenciesMs, 0.95) / dearMs,
    gapMs: Math.max(...gapsMs),
    isBalanced: sim.sources.every((source) => {
      const { published, queued } = source.lane.reader.counts();
      const { inFlight, results, errors, dropped } = source.counts();
      const lost = Object.values(dropped).reduce((sum, n) => sum + n, 0);
      return published === queued + inFlight + results + errors + lost;
    }),
  };
}
