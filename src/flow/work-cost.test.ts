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

  test('is learned by a tenth with each frame, its deviation too', () => {
    const cost = new WorkCost();
    cost.observe(10, 40);
    cost.observe(20, 60);
    expect([cost.costMs, cost.serviceMs, cost.slackMs]).toEqual([
      expect.closeTo(11),
      expect.closeTo(42),
      expect.closeTo(2 * 2),
    ]);
  });
});
