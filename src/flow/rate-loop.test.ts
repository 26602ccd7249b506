import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RateLoop, type RateLoopInput } from './rate-loop.ts';

const SETTINGS = { initial: 100, min: 10, headroom: 0.9 };
const CALM: Omit<RateLoopInput, 'nowMs'> = { queueMs: 0, quietMs: 5, capacity: undefined, peak: undefined };

/** A loop that was told something at 0, so that the next word has a time to count from. */
function loop(settings = SETTINGS): RateLoop {
  const started = new RateLoop(settings);
  started.update({ nowMs: 0, ...CALM });
  return started;
}

describe('no queue', () => {
  test('the rate rises by 40 % of the peak a second', () => {
    expect(loop().update({ nowMs: 100, ...CALM, peak: 1_000 })).toBeCloseTo(140);
  });

  test('while no peak is known, of itself', () => {
    expect(loop().update({ nowMs: 100, ...CALM })).toBeCloseTo(104);
  });

  test('up to a share of the capacity, whatever it was before', () => {
    expect(loop().update({ nowMs: 100, ...CALM, capacity: 110, peak: 1_000 })).toBeCloseTo(99);
    expect(loop().update({ nowMs: 0, ...CALM, capacity: 50 })).toBeCloseTo(45);
  });

  test('a queue that is not longer than what is quiet is none', () => {
    expect(loop().update({ nowMs: 100, ...CALM, queueMs: 5, peak: 1_000 })).toBeCloseTo(140);
  });

  test('a pause of a minute counts as a fifth of a second, time that stands or steps back as none', () => {
    expect(loop().update({ nowMs: 60_000, ...CALM, peak: 1_000 })).toBeCloseTo(180);
    expect(loop().update({ nowMs: 0, ...CALM, peak: 1_000 })).toBe(100);
    expect(loop().update({ nowMs: -60_000, ...CALM, peak: 1_000 })).toBe(100);
  });

  test('the first word sets the time and the cap, and lets nothing rise', () => {
    expect(new RateLoop(SETTINGS).update({ nowMs: 1.7e12, ...CALM, peak: 1_000 })).toBe(100);
  });
});

describe('a queue', () => {
  test('of 20 ms makes the rate fall by the factor e in half a second, of 60 ms and more three times as fast', () => {
    const steady = (queueMs: number) => {
      const falling = loop();
      falling.update({ nowMs: 100, ...CALM, queueMs: queueMs + CALM.quietMs });
      return falling.steadyRate;
    };
    expect(steady(20)).toBeCloseTo(100 * Math.exp(-0.2));
    expect(steady(40)).toBeCloseTo(100 * Math.exp(-0.4));
    expect(steady(60)).toBeCloseTo(100 * Math.exp(-0.6));
    expect(steady(6_000)).toBeCloseTo(100 * Math.exp(-0.6));
  });

  test('holds back what would drain it in a quarter of a second, four fifths at most, until it is gone', () => {
    const held = loop();
    held.update({ nowMs: 0, ...CALM, queueMs: 55 });
    expect([held.rate, held.steadyRate]).toEqual([expect.closeTo(80), 100]);
    held.update({ nowMs: 0, ...CALM, queueMs: 5_000 });
    expect([held.rate, held.steadyRate]).toEqual([expect.closeTo(20), 100]);
    held.update({ nowMs: 0, ...CALM });
    expect(held.rate).toBe(100);
  });

  test('does not push a rate below four fifths of a known capacity, nor lift one that is below', () => {
    const falling = loop();
    for (let nowMs = 100; nowMs <= 5_000; nowMs += 100) falling.update({ nowMs, ...CALM, queueMs: 500, capacity: 100 });
    expect(falling.steadyRate).toBeCloseTo(80);
    falling.update({ nowMs: 5_100, ...CALM, queueMs: 500, capacity: 1_000 });
    expect(falling.steadyRate).toBeCloseTo(80);
  });

  test('without a known capacity takes the rate down to the least', () => {
    const falling = loop();
    for (let nowMs = 100; nowMs <= 5_000; nowMs += 100) falling.update({ nowMs, ...CALM, queueMs: 500 });
    expect([falling.rate, falling.steadyRate]).toEqual([10, 10]);
  });
});

test('a loop that learns nothing for an hour rises, but not for ever', () => {
  const idle = loop();
  for (let nowMs = 100; nowMs <= 3_600_000; nowMs += 100) idle.update({ nowMs, ...CALM });
  expect(idle.rate).toBeGreaterThan(1e9);
  expect(idle.rate).toBeLessThan(Infinity);
  // The same instant once more.
  expect(idle.update({ nowMs: 3_600_000, ...CALM })).toBe(idle.rate);
  expect(idle.update({ nowMs: 3_600_100, ...CALM, capacity: 1_000, peak: 1_000 })).toBe(900);
});

test('the least is granted whatever the capacity, and whatever is held back', () => {
  const least = loop();
  expect(least.update({ nowMs: 100, ...CALM, capacity: 0, peak: 0 })).toBe(10);
  expect(least.update({ nowMs: 200, ...CALM, queueMs: 1e9, capacity: 0, peak: 0 })).toBe(10);
  expect(new RateLoop({ ...SETTINGS, initial: 1 }).rate).toBe(10);
});

describe('several loops on one resource', () => {
  const CAPACITY = 1_000;
  const two = () => [0.8, 0.1].map((share) => loop({ initial: share * CAPACITY, min: 1, headroom: 1 }));
  const steady = (loops: readonly RateLoop[]) => loops.map(({ steadyRate }) => steadyRate);

  test('rise by the same amount and fall by the same factor', () => {
    const loops = two();
    for (const one of loops) one.update({ nowMs: 50, ...CALM, peak: CAPACITY });
    expect(steady(loops)).toEqual([expect.closeTo(820), expect.closeTo(120)]);
    for (const one of loops) one.update({ nowMs: 150, ...CALM, queueMs: 25, peak: CAPACITY });
    expect(steady(loops)).toEqual([expect.closeTo(820 * Math.exp(-0.2)), expect.closeTo(120 * Math.exp(-0.2))]);
  });

  test('share it in the end, whoever was there first, and use it', () => {
    const loops = two();
    let queueMs = 0;
    let used = 0;
    for (let nowMs = 0; nowMs < 180_000; nowMs += 10) {
      const asked = loops.reduce((sum, { rate }) => sum + rate, 0);
      queueMs = Math.max(0, queueMs + 10 * (asked / CAPACITY - 1));
      if (nowMs >= 170_000) used += Math.min(1, asked / CAPACITY) / 1_000;
      for (const one of loops) one.update({ nowMs, queueMs, quietMs: 5, capacity: undefined, peak: CAPACITY });
    }
    const [first, second] = steady(loops);
    expect(first! / second!).toBeGreaterThan(0.95);
    expect(first! / second!).toBeLessThan(1.05);
    expect(used).toBeGreaterThan(0.9);
  });
});

test('property: whatever it is told, the rate is a number between the least and the share of the capacity', () => {
  const figures = fc.oneof(fc.double({ min: 0, max: 1e4, noNaN: true }), fc.constantFrom(0, -1, 5e-324, 1e100, -1e100));
  const words = fc.record({
    stepMs: fc.constantFrom(0, 0.001, 10, 100, 60_000, -1_000, -1e12),
    queueMs: figures,
    quietMs: fc.constantFrom(0, 5, 100),
    // Either both are known or none is.
    measured: fc.option(fc.record({ capacity: figures, peak: figures }), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(words, { maxLength: 100 }), (all) => {
      const told = new RateLoop(SETTINGS);
      let nowMs = 1.7e12;
      for (const { stepMs, queueMs, quietMs, measured } of all) {
        nowMs += stepMs;
        const before = told.steadyRate;
        const rate = told.update({ nowMs, queueMs, quietMs, capacity: measured?.capacity, peak: measured?.peak });
        expect(rate).toBe(told.rate);
        expect(rate).toBeGreaterThanOrEqual(SETTINGS.min);
        expect(rate).toBeLessThanOrEqual(told.steadyRate);
        expect(told.steadyRate).toBeLessThan(Infinity);
        const most = measured && Math.max(SETTINGS.min, SETTINGS.headroom * measured.capacity);
        expect(told.steadyRate).toBeLessThanOrEqual(most ?? Infinity);
        if (queueMs > quietMs) expect(told.steadyRate).toBeLessThanOrEqual(before);
      }
    }),
  );
});
