import { expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import type { Picture } from '../base/picture.ts';
import { SightlineError } from '../base/errors.ts';
import { readJpegHeader } from '../media/jpeg.ts';
import { SelfBenchmark, type EngineOccupancy } from './self-benchmark.ts';

const STAGES = { decode: 1, preprocess: 2, inference: 6, postprocess: 1 };
/** Two workers for nobody. */
const IDLE: EngineOccupancy = { workers: 2, load: 0, connected: 0, isWaiting: false };

/** Every picture takes 10 ms, whatever is beside it. */
function bench(occupancy: () => EngineOccupancy, clock = new ManualClock(0)) {
  const pictures = new Set<Picture>();
  let running = 0;
  let most = 0;
  const benchmark = new SelfBenchmark({
    clock,
    occupancy,
    run: async (picture) => {
      pictures.add(picture);
      most = Math.max(most, ++running);
      await Promise.resolve();
      clock.advance(10);
      running--;
      return STAGES;
    },
  });
  return { benchmark, clock, pictures, most: () => most };
}

test('for nobody it has all workers, for as long as it was asked, with one picture of the size of a camera’s', async () => {
  const { benchmark, pictures, most } = bench(() => IDLE);
  const result = await benchmark.run(1);
  expect(result).toMatchObject({ parallel: 2, stood_back: 0, stages_ms: STAGES });
  expect(most()).toBe(2);
  expect(result.seconds).toBeGreaterThanOrEqual(1);
  expect(result.seconds).toBeLessThan(1.05);
  expect(result.fps).toBeCloseTo(100, 0);
  expect(result.p95_ms).toBeGreaterThanOrEqual(result.p50_ms);
  await benchmark.run(0.1);
  expect(pictures.size).toBe(1);
  expect(readJpegHeader([...pictures][0]!.bytes)).toMatchObject({ width: 640, height: 480 });
});

test.each<[string, Partial<EngineOccupancy>, number]>([
  ['a worker is left to a client', { connected: 1 }, 3],
  ['what the sessions use is theirs', { connected: 1, load: 0.4 }, 2],
  ['whose load is of no session any more', { load: 0.9 }, 4],
])('%s', async (_, occupancy, parallel) => {
  const { benchmark } = bench(() => ({ ...IDLE, workers: 4, ...occupancy }));
  await expect(benchmark.run(0.1)).resolves.toMatchObject({ parallel });
});

test.each<[string, Partial<EngineOccupancy>]>([
  ['with its one worker and a client', { workers: 1, connected: 1 }],
  ['with sessions that use all of it', { workers: 4, connected: 1, load: 0.9 }],
  ['while a frame waits', { workers: 4, connected: 1, isWaiting: true }],
  ['without a worker', { workers: 0 }],
])('%s it does not begin', async (_, occupancy) => {
  const { benchmark } = bench(() => ({ ...IDLE, ...occupancy }));
  await expect(benchmark.run(1)).rejects.toMatchObject({ code: 'BENCHMARK_BUSY' });
});

test('one at a time', async () => {
  const { benchmark } = bench(() => ({ ...IDLE, workers: 1 }));
  const first = benchmark.run(0.1);
  await expect(benchmark.run(1)).rejects.toMatchObject({ code: 'BENCHMARK_BUSY' });
  await first;
  await expect(benchmark.run(0.1)).resolves.toMatchObject({ parallel: 1 });
});

test('stands back while there is no room, and says for how long; its own load takes nothing from it', async () => {
  const looked: number[] = [];
  const { benchmark, clock, most } = bench(() => {
    looked.push(0);
    // The first look is at the load, the second before it begins; after three pictures somebody else needs the engine.
    return { workers: 2, load: looked.length === 1 ? 0.5 : 1, connected: 1, isWaiting: looked.length > 5 };
  });
  const ticking = setInterval(() => clock.advance(20), 2);
  const { frames, stood_back } = await benchmark.run(2);
  clearInterval(ticking);
  expect(most()).toBe(1);
  expect(frames).toBe(3);
  expect(stood_back).toBeGreaterThan(0.9);
});

test('a picture that fails ends it, with its reason and nothing left behind', async () => {
  let runs = 0;
  const benchmark = new SelfBenchmark({
    clock: new ManualClock(0),
    occupancy: () => ({ ...IDLE, workers: 3 }),
    run: async () => {
      await Promise.resolve();
      throw new SightlineError('WORKER_LOST', `number ${++runs}`);
    },
  });
  await expect(benchmark.run(1)).rejects.toMatchObject({ code: 'WORKER_LOST', message: 'number 1' });
  expect(runs).toBe(3);
  await expect(benchmark.run(1)).rejects.toMatchObject({ code: 'WORKER_LOST' });
});
