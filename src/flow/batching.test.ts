import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Random, seededRandom } from '../base/random.ts';
import {
  Arrivals,
  BatchCosts,
  batchSizes,
  type BatchLimits,
  type Forming,
  pays,
  planRun,
  sumOfCosts,
} from './batching.ts';

/** What a run of so many pictures takes, ms. */
type Device = (pictures: number) => number;
const gpu: Device = (n) => 10 + 0.5 * n;
const cpu: Device = (n) => 9 * n;

/** Costs as the trial at load finds them, when it goes on up to `max` whether that pays or not. */
const known = (device: Device, max = 8) =>
  new BatchCosts(
    batchSizes(max).map((pictures) => ({ pictures, ms: device(pictures) })),
    max,
  );
const LIMITS: BatchLimits = { delayMs: 100, runMsMax: 5000 };
/** So many pictures, all with so much time left; the next ones come quickly. */
const forming = (pictures: number, leftMs = Infinity, change: Partial<Forming> = {}): Forming => ({
  leftMs: Array.from({ length: pictures }, () => leftMs),
  gapMs: 1,
  sinceArrivalMs: 0,
  waitedMs: 0,
  ...change,
});

test('sizes are the powers of two, and the largest', () => {
  expect([1, 2, 3, 6, 8, 32].map(batchSizes)).toEqual([
    [1],
    [1, 2],
    [1, 2, 3],
    [1, 2, 4, 6],
    [1, 2, 4, 8],
    [1, 2, 4, 8, 16, 32],
  ]);
});

test('a larger run pays from a tenth less for each picture on', () => {
  const alone = { pictures: 1, ms: 10 };
  expect([17.9, 18, 18.1, 20, Number.NaN].map((ms) => pays(alone, { pictures: 2, ms }))).toEqual([
    true,
    true,
    false,
    false,
    false,
  ]);
});

describe('costs', () => {
  test('begin with the trial; a number between two sizes fills the next one, more than the largest the largest', () => {
    const costs = known(gpu);
    expect([1, 2, 3, 4, 5, 8, 9].map((n) => costs.sizeFor(n))).toEqual([1, 2, 4, 4, 8, 8, 8]);
    expect([1, 3, 8].map((n) => costs.runMs(n))).toEqual([10.5, 12, 14]);
    expect(costs.inferenceMs()).toEqual({ 1: 10.5, 2: 11, 4: 12, 8: 14 });
  });

  test('tell how much of a run there would be for each picture if it were full', () => {
    const costs = known(gpu);
    expect(costs.bestShare(8)).toBe(1);
    expect(costs.bestShare(1)).toBeCloseTo(14 / 8 / 10.5, 5);
    expect(costs.bestShare(3)).toBeCloseTo(14 / 8 / 4, 5);
    expect(new BatchCosts().bestShare(1)).toBe(1);
    expect(new BatchCosts([{ pictures: 1, ms: 9 }]).bestShare(1)).toBe(1);
  });

  test('without a trial pictures run alone, and cost what they are seen to', () => {
    const costs = new BatchCosts();
    expect([costs.max, costs.sizeFor(3), costs.runMs(1)]).toEqual([1, 1, 0]);
    costs.observe(1, 9, 3);
    expect(costs.runMs(1)).toBe(12);
    expect(costs.inferenceMs()).toEqual({ 1: 9 });
  });

  test('a size that did not pay is told, and not used', () => {
    const costs = new BatchCosts(
      [
        { pictures: 1, ms: 9 },
        { pictures: 2, ms: 18 },
      ],
      1,
    );
    expect([costs.max, costs.sizeFor(2)]).toEqual([1, 1]);
    expect(costs.inferenceMs()).toEqual({ 1: 9, 2: 18 });
  });

  test('follow a device that becomes slower or quicker, also for sizes that are not in use', () => {
    for (const speed of [0.2, 5]) {
      const costs = known(gpu);
      for (let i = 0; i < 100; i++) costs.observe(1, gpu(1) * speed, 0);
      expect(costs.runMs(1)).toBeCloseTo(gpu(1) * speed, 1);
      expect(costs.runMs(8)).toBeCloseTo(gpu(8) * speed, 1);
    }
  });

  test('learn how sizes compare, and what a picture costs beside the run', () => {
    const costs = known((n) => 10 + 5 * n);
    for (let i = 0; i < 400; i++) for (const n of [1, 2, 4, 8]) costs.observe(n, gpu(n), 2);
    for (const n of [1, 2, 4, 8]) expect(Math.abs(costs.runMs(n) / (gpu(n) + 2 * n) - 1)).toBeLessThan(0.1);
  });

  test('one hiccup decides nothing, and what was not seen for long is tried again', () => {
    const costs = known(gpu);
    costs.observe(8, 100_000, 0);
    expect(costs.runMs(8)).toBeLessThan(gpu(8) * 1.2);
    for (let i = 0; i < 100; i++) {
      costs.observe(8, 60, 0);
      costs.observe(4, gpu(4), 0);
    }
    expect(planRun(costs, forming(8), LIMITS).pictures).toBe(4);
    for (let i = 0; i < 10_000; i++) costs.observe(4, gpu(4), 0);
    expect(planRun(costs, forming(8), LIMITS).pictures).toBe(8);
  });

  test('stay sound whatever they are told', () => {
    const odd = fc.oneof(fc.double(), fc.constantFrom(-1, 0, 1e-9, 1e9, 1e300, NaN, Infinity, -Infinity));
    const trial = fc.constantFrom([], [NaN], [0, 0, 0], [10, NaN, 5], [-3, 1e9, 2], [9, 18, 36]);
    fc.assert(
      fc.property(trial, fc.array(fc.tuple(odd, odd, odd), { maxLength: 50 }), (ms, runs) => {
        const costs = new BatchCosts(
          ms.map((each, i) => ({ pictures: 2 ** i, ms: each })),
          2 ** Math.max(0, ms.length - 1),
        );
        for (const run of runs) costs.observe(...run);
        for (const n of [1, 2, 3, 40]) {
          expect(costs.runMs(n)).toBeGreaterThanOrEqual(0);
          expect(costs.runMs(n)).toBeLessThan(Infinity);
          const { pictures, waitMs } = planRun(costs, forming(n), LIMITS);
          expect(pictures >= 1 && pictures <= Math.min(n, costs.max)).toBe(true);
          expect(waitMs >= 0 && waitMs <= LIMITS.delayMs).toBe(true);
        }
      }),
    );
  });
});

describe('how many', () => {
  const take = (device: Device, waiting: Forming, limits = LIMITS) => planRun(known(device), waiting, limits).pictures;

  test('as many as pay: on such a GPU all of them, on a CPU one', () => {
    expect([1, 2, 3, 8, 20].map((n) => take(gpu, forming(n)))).toEqual([1, 2, 3, 8, 8]);
    expect([1, 2, 3, 8, 20].map((n) => take(cpu, forming(n)))).toEqual([1, 1, 1, 1, 1]);
  });

  test('no more than the earliest deadline allows, with something to spare', () => {
    expect([12, 12.2, 14, 16].map((left) => take(gpu, forming(8, left)))).toEqual([1, 2, 4, 8]);
    expect(take(gpu, { ...forming(8), leftMs: [100, 100, 13, 100, 100, 100, 100, 100] })).toBe(2);
  });

  test('what is too late already holds nobody back', () => {
    expect(take(gpu, { ...forming(8), leftMs: [-50, 5, 100, 100, NaN, 100, 100, 100] })).toBe(8);
  });

  test('never for longer than a run may take', () => {
    expect(take(gpu, forming(8), { ...LIMITS, runMsMax: 13 })).toBe(4);
    expect(take(gpu, forming(8), { ...LIMITS, runMsMax: 1 })).toBe(1);
  });
});

describe('waiting', () => {
  const wait = (device: Device, waiting: Forming, limits = LIMITS) => planRun(known(device), waiting, limits).waitMs;

  test('pays while the next one comes soon, and less the more of them wait', () => {
    expect(wait(gpu, forming(1, Infinity, { gapMs: 4 }))).toBe(8);
    expect(wait(gpu, forming(1, Infinity, { gapMs: 5 }))).toBe(0);
    expect(wait(gpu, forming(3, Infinity, { gapMs: 2 }))).toBe(4);
    expect(wait(gpu, forming(3, Infinity, { gapMs: 3 }))).toBe(0);
    expect(wait(gpu, forming(8))).toBe(0);
    for (const gapMs of [0, 1, 5, 20]) expect(wait(cpu, forming(1, Infinity, { gapMs }))).toBe(0);
  });

  test('ends with the set time, the earliest deadline, and a stream that has stopped', () => {
    const at = (change: Partial<Forming>) => wait(gpu, forming(1, Infinity, { gapMs: 4, ...change }));
    expect(wait(gpu, forming(1, Infinity, { gapMs: 4 }), { ...LIMITS, delayMs: 2 })).toBe(2);
    expect(wait(gpu, forming(1, Infinity, { gapMs: 4 }), { ...LIMITS, delayMs: 0 })).toBe(0);
    expect(at({ waitedMs: 95 })).toBe(5);
    expect(at({ waitedMs: 100 })).toBe(0);
    expect(at({ leftMs: [17] })).toBeCloseTo(17 - 1.1 * 11, 5);
    expect(at({ leftMs: [12] })).toBe(0);
    expect(at({ leftMs: [-5] })).toBe(0);
    expect(at({ sinceArrivalMs: 6 })).toBe(2);
    expect(at({ sinceArrivalMs: 8 })).toBe(0);
  });

  test('not for a run that would be too long', () => {
    expect(wait(gpu, forming(1), { ...LIMITS, runMsMax: 10.8 })).toBe(0);
  });
});

describe('arrivals', () => {
  test('give the mean gap, in bursts as well; a pause is soon forgotten', () => {
    const arrivals = new Arrivals();
    expect(arrivals.gapMs).toBeGreaterThan(100);
    for (let i = 0; i < 300; i++) arrivals.note(Math.floor(i / 4) * 12);
    expect(arrivals.gapMs).toBeGreaterThan(1.5);
    expect(arrivals.gapMs).toBeLessThan(5);
    arrivals.note(1e9);
    for (let i = 1; i <= 40; i++) arrivals.note(1e9 + 3 * i);
    expect(arrivals.gapMs).toBeLessThan(4);
    expect(arrivals.sinceMs(1e9 + 125)).toBe(5);
    arrivals.note(NaN);
    arrivals.note(5);
    expect(arrivals.gapMs).toBeGreaterThanOrEqual(0);
  });
});

/** One worker that serves pictures as `WorkerLoop` does, on simulated time. */
interface Load {
  readonly device: Device;
  readonly costs: BatchCosts;
  readonly limits: BatchLimits;
  /** When each picture comes, ascending, ms. */
  readonly arrivalsMs: readonly number[];
  readonly budgetMs: number;
  readonly random: Random;
}

function serve({ device, costs, limits, arrivalsMs, budgetMs, random }: Load) {
  let nowMs = 0;
  const arrivals = new Arrivals();
  const doneMs: number[] = [];
  const sizes: number[] = [];
  let waitedInAllMs = 0;
  let heldLongestMs = 0;
  let queue: number[] = [];
  let next = 0;
  const comeUntil = (untilMs: number) => {
    for (; next < arrivalsMs.length && arrivalsMs[next]! <= untilMs; next++) {
      arrivals.note(arrivalsMs[next]!);
      queue.push(arrivalsMs[next]!);
    }
  };
  while (next < arrivalsMs.length || queue.length > 0) {
    if (queue.length === 0) nowMs = Math.max(nowMs, arrivalsMs[next]!);
    comeUntil(nowMs);
    const sinceMs = nowMs;
    const plan = () => {
      const leftMs = queue.map((cameMs) => cameMs + budgetMs - nowMs);
      const { gapMs } = arrivals;
      return planRun(
        costs,
        { leftMs, gapMs, sinceArrivalMs: arrivals.sinceMs(nowMs), waitedMs: nowMs - sinceMs },
        limits,
      );
    };
    let planned = plan();
    for (; planned.waitMs > 0; planned = plan()) {
      nowMs = Math.min(nowMs + planned.waitMs, arrivalsMs[next] ?? Infinity);
      comeUntil(nowMs);
    }
    waitedInAllMs += nowMs - sinceMs;
    heldLongestMs = Math.max(heldLongestMs, nowMs - sinceMs);
    const { pictures } = planned;
    const tookMs = device(costs.sizeFor(pictures)) * (0.97 + 0.06 * random());
    nowMs += tookMs;
    costs.observe(pictures, tookMs, 0);
    comeUntil(nowMs);
    for (const cameMs of queue.slice(0, pictures)) doneMs.push(nowMs - cameMs);
    queue = queue.slice(pictures);
    sizes.push(pictures);
  }
  const inTime = doneMs.filter((ms) => ms <= budgetMs).length / doneMs.length;
  const meanMs = doneMs.reduce((sum, ms) => sum + ms, 0) / doneMs.length;
  return { inTime, meanMs, perSecond: (doneMs.length * 1000) / nowMs, sizes, waitedInAllMs, heldLongestMs };
}

/** Pictures of streams with jitter, bursts and pauses. */
function uneven(random: Random, perSecond: number, seconds: number): number[] {
  const times: number[] = [];
  for (let atMs = 0; atMs < seconds * 1000;) {
    // Exponential gaps, now and then a burst or a pause.
    const kind = random();
    const gapMs = (-Math.log(1 - random()) * 1000) / perSecond;
    atMs += kind < 0.1 ? gapMs * 5 : gapMs * 0.6;
    const burst = kind > 0.95 ? 4 : 1;
    for (let i = 0; i < burst; i++) times.push(atMs);
  }
  return times;
}

describe('under uneven load', () => {
  const SEED = 11;
  const run = (device: Device, perSecond: number, max: number, limits = LIMITS) =>
    serve({
      device,
      costs: known(device, max),
      limits,
      arrivalsMs: uneven(seededRandom(SEED), perSecond, 20),
      budgetMs: 75,
      random: seededRandom(SEED + 1),
    });

  test('a GPU serves several times as many pictures as one by one, in time', () => {
    // One by one it could do 95 a second.
    const alone = run(gpu, 250, 1);
    const shared = run(gpu, 250, 8, { ...LIMITS, delayMs: 2 });
    expect(alone.perSecond).toBeLessThan(96);
    expect(alone.inTime).toBeLessThan(0.05);
    expect(shared.perSecond).toBeGreaterThan(240);
    expect(shared.inTime).toBeGreaterThan(0.99);
    expect(shared.heldLongestMs).toBeLessThanOrEqual(2);
  });

  test('where one by one would do, sharing and waiting make results come no later on the whole', () => {
    for (const perSecond of [5, 20, 50, 80]) {
      const alone = run(gpu, perSecond, 1);
      for (const delayMs of [0, 2, 20, 100]) {
        const shared = run(gpu, perSecond, 8, { ...LIMITS, delayMs });
        expect(shared.meanMs).toBeLessThan(alone.meanMs * 1.05);
        expect(shared.inTime).toBeGreaterThanOrEqual(alone.inTime - 0.005);
      }
    }
  });

  test('a CPU never waits and never shares, whatever it was taken for', () => {
    for (const perSecond of [20, 90, 300]) {
      const { sizes, waitedInAllMs } = run(cpu, perSecond, 8);
      expect(new Set(sizes)).toEqual(new Set([1]));
      expect(waitedInAllMs).toBe(0);
    }
  });

  test('nothing stalls: every picture is done, and none is held back beyond the set time', () => {
    const device = fc.record({
      fixed: fc.double({ min: 0, max: 50, noNaN: true }),
      each: fc.double({ min: 0.01, max: 20, noNaN: true }),
    });
    const gaps = fc.array(fc.oneof(fc.double({ min: 0, max: 30, noNaN: true }), fc.constantFrom(0, 0, 500, 100_000)), {
      minLength: 1,
      maxLength: 80,
    });
    fc.assert(
      fc.property(
        device,
        gaps,
        fc.constantFrom(1, 2, 5, 8, 32),
        fc.double({ min: 0, max: 100, noNaN: true }),
        fc.constantFrom(1, 20, 75, 1000, Infinity),
        fc.nat(),
        ({ fixed, each }, between, max, delayMs, budgetMs, seed) => {
          let atMs = 0;
          const { sizes, heldLongestMs } = serve({
            device: (n) => fixed + each * n,
            costs: known((n) => fixed + each * n, max),
            limits: { delayMs, runMsMax: 5000 },
            arrivalsMs: between.map((gapMs) => (atMs += gapMs)),
            budgetMs,
            random: seededRandom(seed),
          });
          expect(sizes.reduce((sum, n) => sum + n, 0)).toBe(between.length);
          expect(heldLongestMs).toBeLessThanOrEqual(delayMs + 1e-6);
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('several models', () => {
  test('cost what they cost together, also where one of them takes fewer pictures', () => {
    const [few, many] = [known(gpu, 2), known((n) => 4 + n)];
    expect(sumOfCosts([few])).toBe(few);
    expect(sumOfCosts([])).toMatchObject({ max: 1 });
    const both = sumOfCosts([few, many]);
    expect(both.max).toBe(8);
    // Four pictures are two runs of the one and one of the other.
    expect([1, 2, 4].map((n) => both.runMs(n))).toEqual([
      few.runMs(1) + many.runMs(1),
      few.runMs(2) + many.runMs(2),
      2 * few.runMs(2) + many.runMs(4),
    ]);
    expect(planRun(both, forming(4), LIMITS).pictures).toBe(4);
    expect(planRun(both, forming(4, both.runMs(4)), LIMITS).pictures).toBe(2);
  });
});
