import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Offers } from './offers.ts';

test('the rate is right in the mean, however often it is asked', () => {
  const rates = fc.record({ fps: fc.integer({ min: 1, max: 120 }), tickMs: fc.integer({ min: 5, max: 40 }) });
  fc.assert(
    fc.property(rates, ({ fps, tickMs }) => {
      const offers = new Offers(0);
      let count = 0;
      for (let nowMs = tickMs; nowMs <= 10_000; nowMs += tickMs) count += offers.due(nowMs, fps);
      expect(Math.abs(count - 10 * fps)).toBeLessThanOrEqual(1 + (fps * tickMs) / 1000);
    }),
  );
});

test('nothing is made up for after a pause, and a step back in time is none', () => {
  const offers = new Offers(0);
  expect(offers.due(60_000, 100)).toBe(10);
  expect(offers.due(50_000, 100)).toBe(0);
  expect(offers.due(60_010, 100)).toBe(1);
});
