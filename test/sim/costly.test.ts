import { describe, expect, test } from 'vitest';
import { Priority } from '../../src/base/sample.ts';
import { percentile } from './figures.ts';
import { Overload, type SimSource, type SourceOptions } from './overload.ts';

/** A camera beside sources whose pictures hold a worker far longer than its own do, and that keep to nothing. */

const SEED = 7;
const SERVICE_MS = 30;
/** What the dearest picture that is let in takes to decode. */
const DEAREST_MS = 500;
const FOR_MS = 30_000;
const PATIENT = { timeout: 60_000 };

const camera: SourceOptions = { fps: 10, priority: Priority.normal, honours: true };
const costly: SourceOptions = { fps: 2, priority: Priority.critical, honours: false, decodeMs: DEAREST_MS };
const times = (count: number, of: (i: number) => SourceOptions) => Array.from({ length: count }, (_, i) => of(i));

async function simulate(workers: number, others: readonly SourceOptions[]): Promise<Overload> {
  const engine = { workers, serviceMs: SERVICE_MS, spread: 0.2 };
  return new Overload({ seed: SEED, engine, sources: [camera, ...others], settings: { budgetMs: 75 } }).run(FOR_MS);
}

const p95Of = ({ results }: SimSource) =>
  percentile(
    results.map((r) => r.resultMs - r.captureMs),
    0.95,
  );
const refusedOf = (sim: Overload) => sim.sources.reduce((sum, { refused }) => sum + refused.length, 0);
const resultsOf = (sources: readonly SimSource[]) => sources.reduce((sum, { results }) => sum + results.length, 0);

function expectBalanced(sim: Overload): void {
  for (const source of sim.sources) {
    const { published, queued } = source.lane.reader.counts();
    const { inFlight, results, errors, dropped } = source.counts();
    expect(published).toBe(queued + inFlight + results + errors + Object.values(dropped).reduce((a, b) => a + b, 0));
    expect(source.sent.length).toBeGreaterThanOrEqual(published + source.refused.length);
  }
}

describe.each([2, 4])(`an engine of %i workers, seed ${SEED}`, (workers) => {
  test.each<[string, boolean, readonly SourceOptions[]]>([
    ['two of the dearest a second', false, [costly]],
    ['ten a second', true, [{ ...costly, fps: 10 }]],
    ['as many as there is room for', true, [{ ...costly, fps: 60 }]],
    ['ten sources', true, times(10, () => costly)],
    ['three sources that honour their grants', false, times(3, () => ({ ...costly, fps: 5, honours: true }))],
    [
      'a new source each second',
      false,
      times(30, (i) => ({ ...costly, fps: 5, fromMs: 1000 * i, untilMs: 1000 * i + 900 })),
    ],
    ['a hundred a second that take a fifth', true, [{ ...costly, fps: 100, decodeMs: 100 }]],
    [
      'thirty a second that are not quite dear',
      false,
      [{ ...costly, fps: 30, decodeMs: 39, priority: Priority.normal }],
    ],
  ])('the camera keeps its results beside %s', PATIENT, async (_, isRefused, others) => {
    const alone = (await simulate(workers, [])).sources[0]!;
    const sim = await simulate(workers, others);
    const [beside, ...rest] = sim.sources as [SimSource, ...SimSource[]];
    expect(beside.results.length).toBeGreaterThanOrEqual(0.85 * alone.results.length);
    expect(beside.results.length).toBeGreaterThanOrEqual(0.95 * beside.sent.length);
    expect(p95Of(beside)).toBeLessThanOrEqual(p95Of(alone) + 2.5 * SERVICE_MS);
    // They get something, and are told where they want more than that.
    expect(resultsOf(rest)).toBeGreaterThan(20);
    expect(refusedOf(sim) > 0).toBe(isRefused);
    expectBalanced(sim);
  });
});

test(`what one source's pictures cost is expected of no other, seed ${SEED}`, PATIENT, async () => {
  const sim = await simulate(2, [{ ...costly, fps: 30, decodeMs: 39, priority: Priority.normal }, costly]);
  const costs = sim.sources.map(({ lane }) => lane.work.costMs!);
  expect(costs[0]).toBeGreaterThan(0.85 * SERVICE_MS);
  expect(costs[0]).toBeLessThan(1.15 * SERVICE_MS);
  expect(costs[1]! - costs[0]!).toBeGreaterThan(30);
  expect(costs[2]! - costs[0]!).toBeGreaterThan(0.8 * DEAREST_MS);
});

test(`a costly source that is alone has all workers, seed ${SEED}`, PATIENT, async () => {
  const engine = { workers: 2, serviceMs: SERVICE_MS };
  const alone = await new Overload({ seed: SEED, engine, sources: [{ ...costly, fps: 10 }] }).run(FOR_MS);
  // Two workers, half a second and a little each.
  expect(resultsOf(alone.sources)).toBeGreaterThan((0.85 * (2 * FOR_MS)) / (DEAREST_MS + SERVICE_MS));
});

test(`sources that are connected and send nothing take nothing from the camera, seed ${SEED}`, PATIENT, async () => {
  const sim = await simulate(
    2,
    times(30, () => ({ ...costly, fromMs: 2 * FOR_MS })),
  );
  const [beside] = sim.sources as [SimSource];
  const later = beside.results.filter(({ captureMs }) => captureMs > 5_000);
  expect(later.length).toBeGreaterThanOrEqual(0.95 * camera.fps * (FOR_MS / 1000 - 5));
});
