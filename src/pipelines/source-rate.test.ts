import { describe, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { SourceRate } from './source-rate.ts';

function setUp() {
  const clock = new ManualClock();
  const faults: unknown[] = [];
  const rate = new SourceRate({
    clock,
    priority: () => 1,
    costMs: () => 20,
    guard: (callback) => {
      try {
        callback();
      } catch (thrown) {
        faults.push(thrown);
      }
    },
  });
  const send = (fps: number, forMs: number) => {
    for (let passedMs = 0; passedMs < forMs; passedMs += 1_000 / fps) {
      clock.advance(1_000 / fps);
      rate.frame();
    }
  };
  return { clock, rate, faults, send };
}

describe('SourceRate', () => {
  test('is told when it changes by enough, and not otherwise; without a bound at first', () => {
    const { rate } = setUp();
    const told: number[] = [];
    const end = rate.watch((fps) => told.push(fps));
    for (const fps of [Infinity, 100, 104, 95, 50, 50, Infinity, Infinity]) rate.onShare(fps);
    expect(told).toEqual([100, 50, Infinity]);
    expect(rate.rateFps).toBe(Infinity);
    end();
    rate.onShare(10);
    expect(told).toHaveLength(3);
    expect(rate.rateFps).toBe(10);
  });

  test('small steps in one direction are told in the end', () => {
    const { rate } = setUp();
    rate.onShare(100);
    for (let fps = 99; fps >= 90; fps--) rate.onShare(fps);
    expect(rate.rateFps).toBe(94);
  });

  test('nothing at all is a rate, too', () => {
    const { rate } = setUp();
    rate.onShare(0);
    expect(rate.rateFps).toBe(0);
    rate.onShare(0);
    rate.onShare(5);
    expect(rate.rateFps).toBe(5);
  });

  test('what a watcher throws stops no other one', () => {
    const { rate, faults } = setUp();
    const told: number[] = [];
    rate.watch(() => {
      throw new Error('mine');
    });
    rate.watch((fps) => told.push(fps));
    rate.onShare(10);
    expect([told, faults.length]).toEqual([[10], 1]);
  });

  test('one that has sent nothing asks for hardly anything, one that sends for a little more than it does', () => {
    const { clock, rate, send } = setUp();
    expect(rate.demand(clock.now())).toEqual({ priority: 1, wanted: 1, most: Infinity });
    expect(rate.costMs()).toBe(20);
    send(20, 5_000);
    expect(rate.demand(clock.now())!.wanted).toBeCloseTo(26);
    clock.advance(10_000);
    expect(rate.demand(clock.now())!.wanted).toBeLessThan(1.2);
  });

  test('who sends much more than it was told does not keep to it', () => {
    const { rate, send } = setUp();
    rate.onShare(10);
    send(15, 3_000);
    expect(rate.isWithin).toBe(true);
    send(40, 3_000);
    expect(rate.isWithin).toBe(false);
  });
});
