import { describe, expect, test } from 'vitest';
import { seededRandom, type Random } from '../../src/base/random.ts';
import { Priority } from '../../src/base/sample.ts';
import { Adaptive } from './controllers.ts';
import { LinkRun } from './link-run.ts';
import { Overload, type SourceOptions } from './overload.ts';
import { worldSeeds } from './seeds.ts';

/**
 * Worlds that nobody thought of, of links and of engines. Whatever they are, nothing stalls, nobody starves for longer than five
 * seconds, and every frame is accounted for. A failing world names its seed; `RANDOM_SEED=<seed>` runs that one alone.
 */

const WORLDS = 50;
/** A slow machine that has other things to do takes its time. */
const TIMEOUT_MS = 300_000;
const STARVED_MS = 5_000;
const seeds = worldSeeds(WORLDS);

const between = (random: Random, low: number, high: number) => low + (high - low) * random();
/** Small and large values as often: 1 to 2 as 10 to 20. */
const spread = (random: Random, low: number, high: number) => low * (high / low) ** random();

/** The longest span without a moment. */
function longestGap(moments: readonly number[], fromMs: number, toMs: number): number {
  const all = [fromMs, ...moments.filter((timeMs) => timeMs > fromMs && timeMs < toMs), toMs];
  return Math.max(...all.slice(1).map((timeMs, i) => timeMs - all[i]!));
}

describe('links', () => {
  test(`${seeds.length} links: frames arrive, grants stay within the settings`, { timeout: TIMEOUT_MS }, () => {
    for (const seed of seeds) {
      const random = seededRandom(seed);
      const forMs = 20_000;
      const count = 1 + Math.floor(random() * 3);
      const least = 600_000 * count;
      const capacity = [{ fromMs: 0, bps: spread(random, least, 50_000_000) }];
      for (let fromMs = spread(random, 200, 10_000); fromMs < forMs; fromMs += spread(random, 200, 10_000)) {
        capacity.push({ fromMs, bps: spread(random, least, 50_000_000) });
      }
      const stalls = Array.from({ length: Math.floor(random() * 4) }, () => ({
        fromMs: between(random, 0, forMs),
        forMs: between(random, 50, 1_500),
      }));
      const delayMs = spread(random, 1, 200);
      const settings = {
        stabilityMs: spread(random, 200, 20_000),
        minFps: between(random, 1, 5),
        maxFps: between(random, 10, 60),
        firstFps: between(random, 5, 30),
        startRung: Math.floor(random() * 5),
        windowMin: 2 + Math.floor(random() * 4),
      };
      const run = new LinkRun({
        seed,
        link: { capacity, delayMs, jitterMs: between(random, 0, 30), stalls },
        forMs,
        controllers: Array.from(
          { length: count },
          () => new Adaptive(random() < 0.9 ? 2 * delayMs : undefined, settings),
        ),
        staggerMs: between(random, 0, 2_000),
      });
      for (const [i, { delivered, asks }] of run.sessions.entries()) {
        const fromMs = asks[0]!.timeMs;
        expect(
          longestGap(
            delivered.map(({ resultMs }) => resultMs),
            fromMs,
            forMs,
          ),
          `seed ${seed}, session ${i}`,
        ).toBeLessThan(STARVED_MS);
        for (const { ask } of asks) {
          expect(ask.fps, `seed ${seed}`).toBeGreaterThan(0);
          expect(ask.fps, `seed ${seed}`).toBeLessThanOrEqual(settings.maxFps + 0.01);
          expect(ask.window, `seed ${seed}`).toBeGreaterThanOrEqual(2);
          expect(ask.window, `seed ${seed}`).toBeLessThanOrEqual(64);
          expect(ask.quality >= 25 && ask.quality <= 90, `seed ${seed}, quality ${ask.quality}`).toBe(true);
          expect(Number.isInteger(ask.width) && ask.width >= 320 && ask.width <= 640, `seed ${seed}`).toBe(true);
        }
      }
    }
  });
});

describe('engines', () => {
  test(
    `${seeds.length} engines: every stream gets results, every frame is accounted for`,
    { timeout: TIMEOUT_MS },
    async () => {
      for (const seed of seeds) {
        const random = seededRandom(seed);
        const forMs = 9_000;
        const engine = {
          workers: 1 + Math.floor(random() * 4),
          serviceMs: spread(random, 2, 120),
          spread: between(random, 0, 0.9),
        };
        const capacityFps = (engine.workers * 1000) / engine.serviceMs;
        // With fewer than this many frames a second for each nobody could serve all of them in time.
        const count = Math.max(1, Math.min(16, Math.floor(capacityFps / 1.5), 1 + Math.floor(random() * 20)));
        const sources = Array.from({ length: count }, (): SourceOptions => {
          const isBrief = random() < 0.2;
          return {
            fps: spread(random, 2, 60),
            priority: random() < 0.1 ? Priority.critical : random() < 0.2 ? Priority.low : Priority.normal,
            honours: random() < 0.8,
            fromMs: between(random, 0, 2_000),
            ...(isBrief && { untilMs: between(random, 3_000, 8_000) }),
          };
        });
        const settings = { budgetMs: spread(random, 5, 2_000), minFps: between(random, 1, 5) };
        const sim = await new Overload({
          seed,
          engine,
          sources,
          settings,
          frameQueue: 1 + Math.floor(random() * 30),
        }).run(forMs);
        for (const [i, source] of sim.sources.entries()) {
          const { options, results, lane } = source;
          const { fromMs = 0, untilMs = forMs } = options;
          const moments = results.map(({ resultMs }) => resultMs);
          expect(longestGap(moments, fromMs, Math.min(untilMs, forMs)), `seed ${seed}, source ${i}`).toBeLessThan(
            STARVED_MS,
          );
          const { published, queued } = lane.reader.counts();
          const { inFlight, errors, dropped, ...counts } = source.counts();
          const lost = Object.values(dropped).reduce((sum, n) => sum + n, 0);
          expect(published, `seed ${seed}, source ${i}`).toBe(queued + inFlight + counts.results + errors + lost);
        }
      }
    },
  );
});
