import { expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { adaptedHz, LagMeter } from './lag.ts';

test.each([
  ['halves at once', 100, 100, 60, 50, 50],
  ['halves again', 50, 100, 60, 50, 25],
  ['keeps one a second', 1.5, 100, 60, 50, 1],
  ['never asks for more than was wanted', 0.5, 0.5, 60, 50, 0.5],
  ['stays while the lag is middling', 25, 100, 20, 50, 25],
  ['comes back slowly', 40, 100, 5, 50, 50],
  ['and no higher than wanted', 90, 100, 0, 50, 100],
])('the rate %s', (_, hz, wanted, lagMs, lagMaxMs, adapted) =>
  expect(adaptedHz(hz, wanted, lagMs, lagMaxMs)).toBe(adapted),
);

test('reports the worst of a second while there is a lag, and its end once', () => {
  const clock = new ManualClock();
  const reports: number[] = [];
  const seconds: number[] = [];
  let waitedMs = 0;
  const meter = new LagMeter({
    clock,
    waitedMs: () => waitedMs,
    onSecond: (lagMs) => seconds.push(lagMs),
    report: (lagMs) => reports.push(lagMs),
  });
  meter.start();
  meter.stop();
  const second = (lateMs = 0) => {
    for (let i = 0; i < 4; i++) {
      clock.advance(250 + (i === 1 ? lateMs : 0));
      meter.tick();
    }
  };
  second();
  expect(reports).toEqual([]);
  second(80);
  waitedMs = 30;
  second();
  expect(meter.lagMs).toBe(30);
  waitedMs = 9;
  second();
  second();
  expect(reports).toEqual([80, 30, 0]);
  expect(seconds).toEqual([0, 80, 30, 0, 0]);
});
