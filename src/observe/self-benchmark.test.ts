import { expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import { SelfBenchmark } from './self-benchmark.ts';

const STAGES = { decode: 1, preprocess: 2, inference: 6, postprocess: 1 };

/** Every picture takes 10 ms, whatever is beside it. */
function bench(clock = new ManualClock(0)) {
  let running = 0;
  let most = 0;
  const benchmark = new SelfBenchmark({
    clock,
    run: async () => {
      most = Math.max(most, ++running);
      await Promise.resolve();
      clock.advance(10);
      running--;
      return STAGES;
    },
  });
  return { benchmark, clock, most: () => most };
}

test('runs as many pictures at once as there is room for, for as long as it was asked', async () => {
  const { benchmark, most } = bench();
  const result = await benchmark.run(1, () => 2);
  expect(result).toMatchObject({ parallel: 2, stood_back: 0, stages_ms: STAGES });
  expect(most()).toBe(2);
  expect(result.seconds).toBeGreaterThanOrEqual(1);
  expect(result.seconds).toBeLessThan(1.05);
  expect(result.fps).toBeCloseTo(100, 0);
  expect(result.p95_ms).toBeGreaterThanOrEqual(result.p50_ms);
});

test('without room it does not begin; one at a time', async () => {
  const { benchmark } = bench();
  await expect(benchmark.run(1, () => 0)).rejects.toMatchObject({ code: 'BENCHMARK_BUSY' });
  const first = benchmark.run(0.1, () => 1);
  await expect(benchmark.run(1, () => 1)).rejects.toMatchObject({ code: 'BENCHMARK_BUSY' });
  await first;
  await expect(benchmark.run(0.1, () => 1)).resolves.toMatchObject({ parallel: 1 });
});

test('stands back while there is no room, and says for how long', async () => {
  const { benchmark, clock, most } = bench();
  const ticking = setInterval(() => clock.advance(20), 2);
  let looks = 0;
  // After three pictures somebody else needs the engine.
  const { frames, stood_back } = await benchmark.run(2, () => (looks++ < 4 ? 1 : 0));
  clearInterval(ticking);
  expect(most()).toBe(1);
  expect(frames).toBe(3);
  expect(stood_back).toBeGreaterThan(0.9);
});

test('a picture that fails ends it, with its reason and nothing left behind', async () => {
  let runs = 0;
  const benchmark = new SelfBenchmark({
    clock: new ManualClock(0),
    run: async () => {
      await Promise.resolve();
      throw new SightlineError('WORKER_LOST', `number ${++runs}`);
    },
  });
  await expect(benchmark.run(1, () => 3)).rejects.toMatchObject({ code: 'WORKER_LOST', message: 'number 1' });
  expect(runs).toBe(3);
  await expect(benchmark.run(1, () => 1)).rejects.toMatchObject({ code: 'WORKER_LOST' });
});
