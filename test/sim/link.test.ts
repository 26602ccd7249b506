import { describe, expect, test } from 'vitest';
import { Adaptive } from './controllers.ts';
import { jainIndex, percentile } from './figures.ts';
import { LinkRun, makeController, runAll } from './link-run.ts';
import { stalls, VARIABLE_CAPACITY, wifi } from './traces.ts';

/**
 * The network side of the controller on simulated links. Every run is repeatable: a failing one prints its seed in its name.
 * Bars are those of the project's promise, where nothing else is said.
 */

const SEED = 9;
const M = 1_000_000;
const adaptive = (
  delayMs: number,
  link: { capacity: { fromMs: number; bps: number }[]; jitterMs?: number },
  forMs: number,
) => new LinkRun({ seed: SEED, link: { ...link, delayMs }, forMs, controllers: [makeController('adaptive', delayMs)] });

describe.each([5, 20, 50, 150])(`variable capacity (RFC 8867 §5.1), one way %i ms, seed ${SEED}`, (delayMs) => {
  const run = new LinkRun({
    seed: SEED,
    link: { ...VARIABLE_CAPACITY.link, delayMs, jitterMs: 2 },
    forMs: VARIABLE_CAPACITY.forMs,
    controllers: [makeController('adaptive', delayMs)],
  });
  const steady = [
    [10_000, 20_000],
    [30_000, 40_000],
    [50_000, 60_000],
    [70_000, 80_000],
  ] as const;

  test('half a second after a quarter is left of the link nothing waits for 50 ms any more', () => {
    expect(run.calmFrom(50, 40_000, 60_000) - 40_000).toBeLessThanOrEqual(500);
  });

  test.each(steady)(
    'from %i to %i ms: little stands in the queue, the link is used, the picture keeps its size',
    (from, to) => {
      expect(run.queueMs(0.5, from, to)).toBeLessThanOrEqual(20);
      expect(run.queueMs(0.95, from, to)).toBeLessThanOrEqual(25);
      expect(run.utilisation(from, to)).toBeGreaterThanOrEqual(0.8);
      expect(run.ladderMoves(from, to)).toBeLessThanOrEqual((to - from) / 5_000);
    },
  );
});

describe.each([5, 20, 50, 150])(`a doubled link, one way %i ms, seed ${SEED}`, (delayMs) => {
  test.each([3, 5, 8])('of %i Mbit/s is in use after three seconds, and nothing overshoots', (mbps) => {
    const capacity = [
      { fromMs: 0, bps: mbps * M },
      { fromMs: 30_000, bps: 2 * mbps * M },
    ];
    const run = adaptive(delayMs, { capacity, jitterMs: 2 }, 60_000);
    expect(run.utilisation(32_000, 34_000)).toBeGreaterThanOrEqual(0.9);
    expect(run.queueMs(1, 30_000, 40_000)).toBeLessThanOrEqual(100);
  });
});

describe.each([2, 20, 50])(`a narrow link, one way %i ms, seed ${SEED}`, (delayMs) => {
  test.each([1, 2, 3, 4, 6, 12])('of %i Mbit/s: nine of ten results are in time, for the way itself', (mbps) => {
    const run = adaptive(delayMs, { capacity: [{ fromMs: 0, bps: mbps * M }], jitterMs: 2 }, 40_000);
    const late = run.sessions[0]!.delivered.filter(({ captureMs }) => captureMs >= 10_000);
    const inTime = late.filter(({ captureMs, resultMs }) => resultMs - captureMs <= 75 + 2 * delayMs);
    expect(inTime.length / late.length).toBeGreaterThanOrEqual(0.9);
    expect(late.length / 30).toBeGreaterThanOrEqual(15);
    expect(run.utilisation(10_000, 40_000)).toBeGreaterThanOrEqual(0.8);
  });
});

describe('several sessions on one link, seeds 1 to 10', () => {
  // How evenly depends on the order in which their cameras happen to beat.
  test.each([
    [2, 50, 0.95, 25],
    [4, 20, 0.9, 30],
  ])('%i sessions, 5 Mbit/s each, one way %i ms: Jain’s index %d in the middle', (count, delayMs, middle, waitMs) => {
    const runs = Array.from(
      { length: 10 },
      (_, i) =>
        new LinkRun({
          seed: i + 1,
          link: { capacity: [{ fromMs: 0, bps: count * 5 * M }], delayMs, jitterMs: 2 },
          forMs: 60_000,
          controllers: Array.from({ length: count }, () => makeController('adaptive', delayMs)),
          staggerMs: 5_000,
        }),
    );
    const indices = runs.map((run) => jainIndex(run.sharesBps(35_000, 60_000)));
    expect(percentile(indices, 0.5)).toBeGreaterThanOrEqual(middle);
    expect(Math.min(...indices)).toBeGreaterThanOrEqual(0.75);
    for (const run of runs) {
      expect(run.utilisation(35_000, 60_000)).toBeGreaterThanOrEqual(0.8);
      expect(run.queueMs(0.5, 35_000, 60_000)).toBeLessThanOrEqual(waitMs);
      expect(run.queueMs(0.95, 35_000, 60_000)).toBeLessThanOrEqual(100);
    }
  });
});

describe('against what most programs do', () => {
  const traces = [VARIABLE_CAPACITY, stalls(3), wifi(4), wifi(5)];
  const cases = traces.flatMap((trace, i) =>
    [5, 20, 50].map((delayMs) => ({ trace, delayMs, label: `${trace.name} ${i}` })),
  );
  test.each(cases)(
    `$label, one way $delayMs ms, seed ${SEED}: later than none, and hardly fewer frames`,
    ({ trace, delayMs }) => {
      const all = runAll({ seed: SEED, link: { ...trace.link, delayMs }, forMs: trace.forMs });
      const { adaptive: own, ...baselines } = all;
      const others = Object.values(baselines);
      for (const other of others) expect(own.latencyMs(0.95)).toBeLessThan(other.latencyMs(0.95));
      expect(own.delivered).toBeGreaterThanOrEqual(0.9 * Math.max(...others.map(({ delivered }) => delivered)));
    },
  );

  test(`a link that needs it, seed ${SEED}: at least 40 % of the bytes saved, and more results in time`, () => {
    const delayMs = 20;
    const all = runAll({ seed: SEED, link: { capacity: [{ fromMs: 0, bps: 3 * M }], delayMs }, forMs: 30_000 });
    // Offered, not carried: what a fixed quality wants to send piles up in front of the link.
    const bytes = (run: LinkRun) => run.link.passages.reduce((sum, passage) => sum + passage.bytes, 0);
    const inTime = (run: LinkRun) =>
      run.sessions[0]!.delivered.filter(({ captureMs, resultMs }) => resultMs - captureMs <= 75 + 2 * delayMs).length;
    expect(bytes(all.adaptive)).toBeLessThanOrEqual(0.6 * bytes(all.fixed));
    for (const other of [all.fixed, all.threshold, all.drop_oldest])
      expect(inTime(all.adaptive)).toBeGreaterThan(inTime(other));
  });
});

describe('clients that do not play along', () => {
  const link = { capacity: [{ fromMs: 0, bps: 10 * M }], delayMs: 20 };

  test('without a round trip the first grant stays while the way carries it, and falls when it does not', () => {
    const roomy = new LinkRun({ seed: SEED, link, forMs: 20_000, controllers: [new Adaptive(undefined)] });
    expect(roomy.sessions[0]!.delivered.length).toBeGreaterThan(280);
    const tight = { capacity: [{ fromMs: 0, bps: 2 * M }], delayMs: 20 };
    const run = new LinkRun({ seed: SEED, link: tight, forMs: 30_000, controllers: [new Adaptive(undefined)] });
    expect(run.queueMs(0.95, 5_000, 30_000)).toBeLessThan(150);
    expect(run.delivered).toBeGreaterThan(150);
  });

  test.each([
    ['ahead', -5_000],
    ['behind', 3_600_000],
  ])('a clock that is %s by %i ms changes nothing but what its owner gets', (_, offMs) => {
    const liar = new Adaptive(40);
    const frame = liar.frame.bind(liar);
    liar.frame = (sim) => frame({ ...sim, captureMs: sim.captureMs - offMs, sentMs: sim.sentMs - offMs });
    const run = new LinkRun({ seed: SEED, link, forMs: 20_000, controllers: [liar, new Adaptive(40)] });
    for (const { delivered } of run.sessions) expect(delivered.length).toBeGreaterThan(60);
    expect(run.queueMs(0.95, 5_000, 20_000)).toBeLessThan(100);
  });

  test('a client without a round trip is not held for ever to what its way carried in a bad minute', () => {
    const capacity = [
      { fromMs: 0, bps: 10 * M },
      { fromMs: 10_000, bps: M },
      { fromMs: 15_000, bps: 50 * M },
    ];
    const run = new LinkRun({
      seed: 1,
      link: { capacity, delayMs: 20, jitterMs: 2 },
      forMs: 120_000,
      controllers: [new Adaptive(undefined)],
    });
    const { delivered, asks } = run.sessions[0]!;
    const late = delivered.filter(({ captureMs }) => captureMs >= 110_000);
    // It began with 15 frames a second of medium size; fifty times the way is no reason for fewer and smaller ones.
    expect(late.length / 10).toBeGreaterThan(14);
    expect(asks.at(-1)!.ask.width).toBeGreaterThanOrEqual(512);
  });
});
