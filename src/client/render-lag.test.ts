import { expect, test } from 'vitest';
import { RenderLag } from './render-lag.ts';

/** Shows a result every 50 ms for a while, and returns what was reported, with its time. */
function show(lag: RenderLag, fromMs: number, forMs: number, lagMs: number): [number, number][] {
  const reports: [number, number][] = [];
  for (let nowMs = fromMs; nowMs < fromMs + forMs; nowMs += 50) {
    const report = lag.add(lagMs, nowMs);
    if (report !== undefined) reports.push([nowMs, report]);
  }
  return reports;
}

test('a display that keeps up is not worth a word', () => {
  expect(show(new RenderLag(), 0, 60_000, 17)).toEqual([]);
});

test('a single hiccup is none either', () => {
  const lag = new RenderLag();
  show(lag, 0, 2_000, 17);
  expect(lag.add(120, 2_050)).toBeUndefined();
  expect(show(lag, 2_100, 5_000, 17)).toEqual([]);
});

test('lag that stays is told once it matters, again while it changes, and at its end', () => {
  const lag = new RenderLag();
  const rising = show(lag, 0, 10_000, 200);
  expect(rising.length).toBeLessThanOrEqual(4);
  expect(rising.at(-1)![1]).toBeGreaterThan(160);
  expect(lag.averageMs).toBeCloseTo(200, 0);
  const falling = show(lag, 10_000, 10_000, 15);
  expect(falling.at(-1)![1]).toBe(0);
});

test('at most once a second', () => {
  const lag = new RenderLag();
  const times: number[] = [];
  for (let nowMs = 0; nowMs < 30_000; nowMs += 20) {
    const wildMs = Math.floor(nowMs / 700) % 2 === 0 ? 400 : 5;
    if (lag.add(wildMs, nowMs) !== undefined) times.push(nowMs);
  }
  expect(times.length).toBeGreaterThan(5);
  const gaps = times.slice(1).map((time, i) => time - times[i]!);
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(1_000);
});

test('another connection is told anew', () => {
  const lag = new RenderLag();
  show(lag, 0, 10_000, 200);
  expect(show(lag, 10_000, 3_000, 200)).toEqual([]);
  lag.forgetReport();
  expect(show(lag, 13_000, 1_000, 200)).toEqual([[13_000, 200]]);
});
