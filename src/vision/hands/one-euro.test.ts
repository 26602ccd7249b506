import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../base/random.ts';
import { oneEuroStep, type OneEuroOptions, type OneEuroState } from './one-euro.ts';

const OPTIONS: OneEuroOptions = { minCutoffHz: 1, beta: 10, speedCutoffHz: 1 };

/** Filtered values of one coordinate, one sample every `stepMs`. */
function filtered(values: readonly number[], options = OPTIONS, unit = 1, stepMs = 33): number[] {
  let state: OneEuroState | undefined;
  return values.map((value, i) => {
    state = oneEuroStep(state, Float64Array.of(value), i * stepMs, unit, options);
    return state.values[0]!;
  });
}

describe('the One Euro filter', () => {
  test('the first sample passes', () => expect(filtered([5])).toEqual([5]));

  test('the weights are those of the paper', () => {
    // At 33 ms and without speed: α = 1 / (1 + 1 / (2π · 1 Hz · 0.033 s)).
    const weight = 1 / (1 + 1 / (2 * Math.PI * 0.033));
    expect(filtered([0, 1], { ...OPTIONS, beta: 0 })[1]).toBeCloseTo(weight, 10);
    // With it: the speed is 1 / 0.033, filtered once by α; the cutoff grows by 10 times that.
    const cutoff = 1 + 10 * (weight / 0.033);
    expect(filtered([0, 1])[1]).toBeCloseTo(1 / (1 + 1 / (2 * Math.PI * cutoff * 0.033)), 10);
  });

  test('what rests trembles less, what moves hardly lags', () => {
    const random = seededRandom(7);
    const noise = Array.from({ length: 300 }, () => (random() - 0.5) * 0.002);
    const spread = (values: number[]) => Math.max(...values.slice(30)) - Math.min(...values.slice(30));
    expect(spread(filtered(noise))).toBeLessThan(spread(noise) / 2);
    // Two units a second, for three seconds.
    const ramp = Array.from({ length: 90 }, (_, i) => i * 0.066);
    expect(ramp[89]! - filtered(ramp)[89]!).toBeLessThan(0.066);
  });

  test('a larger unit is a slower movement: it is filtered more', () => {
    expect(filtered([0, 1], OPTIONS, 10)[1]).toBeLessThan(filtered([0, 1], OPTIONS, 1)[1]!);
  });

  test('a sample that is not later, or of another length, passes as it is, and the filter begins anew', () => {
    const first = oneEuroStep(undefined, Float64Array.of(0, 0), 100, 1, OPTIONS);
    for (const timeMs of [100, 50, NaN]) {
      expect([...oneEuroStep(first, Float64Array.of(8, 9), timeMs, 1, OPTIONS).values]).toEqual([8, 9]);
    }
    expect([...oneEuroStep(first, Float64Array.of(8), 133, 1, OPTIONS).values]).toEqual([8]);
  });

  test('nothing that was handed in is changed, nor handed out', () => {
    const values = Float64Array.of(1);
    const first = oneEuroStep(undefined, values, 0, 1, OPTIONS);
    values[0] = 2;
    const second = oneEuroStep(first, values, 33, 1, OPTIONS);
    expect([first.values[0], values[0]]).toEqual([1, 2]);
    expect(second.values[0]).not.toBe(2);
  });

  test('property: it never leaves the range of its samples, and a constant stays itself', () => {
    const value = fc.double({ min: -10, max: 10, noNaN: true });
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 60 }), (values) => {
        const out = filtered(values);
        expect(Math.min(...out)).toBeGreaterThanOrEqual(Math.min(...values) - 1e-9);
        expect(Math.max(...out)).toBeLessThanOrEqual(Math.max(...values) + 1e-9);
        expect(filtered(values.map(() => 3)).every((v) => v === 3)).toBe(true);
      }),
    );
  });
});
