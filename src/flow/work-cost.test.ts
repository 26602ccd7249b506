import { describe, expect, test } from 'vitest';
import { WorkCost } from './work-cost.ts';

describe('WorkCost', () => {
  test('of nothing nothing is known; from a promise on it is learned', () => {
    expect(new WorkCost().costMs).toBeUndefined();
    const cost = new WorkCost(20);
    expect([cost.costMs, cost.serviceMs, cost.slackMs]).toEqual([20, 0, 0]);
    cost.observe(12, 40);
    expect([cost.costMs, cost.serviceMs, cost.slackMs]).toEqual([expect.closeTo(19.2), 40, 0]);
  });

  test('its times are learned by a tenth with each frame, their deviation too', () => {
    const cost = new WorkCost();
    cost.observe(10, 40);
    cost.observe(20, 60);
    expect([cost.serviceMs, cost.slackMs]).toEqual([expect.closeTo(42), expect.closeTo(2 * 2)]);
  });

  test('its cost is the mean of the first frames, and follows slowly then: hands that are searched for now and then do not sway it', () => {
    const cost = new WorkCost();
    for (const ms of [10, 20, 30]) cost.observe(ms, ms);
    expect(cost.costMs).toBeCloseTo(20);
    const levels: number[] = [];
    for (let i = 0; i < 400; i++) {
      cost.observe(i % 8 === 0 ? 21 : 7, 20);
      levels.push(cost.costMs!);
    }
    const settled = levels.slice(200);
    const mean = 7 + 14 / 8;
    expect(Math.max(...settled)).toBeLessThan(1.05 * mean);
    expect(Math.min(...settled)).toBeGreaterThan(0.95 * mean);
    for (let i = 0; i < 100; i++) cost.observe(14, 20);
    expect(cost.costMs).toBeGreaterThan(0.95 * 14);
  });
});
