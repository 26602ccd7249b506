import { expect, test } from 'vitest';
import { Priority } from '../../base/sample.ts';
import {
  isRateNews,
  isSameScale,
  nextRate,
  orderDelayMs,
  patienceMs,
  pictureRate,
  pictureScale,
  steadyShare,
  waitingClass,
} from './picture-plan.ts';

test('a camera alone uses its share, many use less of theirs, and each has its floor', () => {
  const rate = (shareFps: number, used: number, cameras: number, isDrawn = false) =>
    pictureRate(shareFps, { used, cameras, isDrawn });
  expect(rate(20, 0.65, 1)).toBe(20);
  expect(rate(20, 0.65, 100)).toBeCloseTo(13.07);
  expect(rate(20, 0.2, 100)).toBeCloseTo(4.16);
  expect(rate(0.01, 0.65, 100)).toBeCloseTo(0.35);
  expect(rate(Infinity, 0.65, 100)).toBe(Infinity);
  // What was found in one frame is drawn on those behind it for a second and a half.
  expect([rate(0.01, 0.65, 100, true), rate(20, 0.65, 1, true)]).toEqual([1, 20]);
});

test('begins with little and doubles', () => {
  const way = (cameras: number, fps: number) => {
    const all = [nextRate(undefined, fps, cameras)];
    while (all.at(-1)! < fps && all.length < 20) all.push(nextRate(all.at(-1), fps, cameras));
    return all;
  };
  expect(way(1, 12.5)).toEqual([1, 2, 4, 8, 12.5]);
  expect(way(20, 2)).toEqual([0.5, 1, 2]);
  expect(way(100, 1)[0]).toBeCloseTo(0.35);
  expect(way(1, Infinity)).toEqual([1, 2, 4, 8, 16, 32, 64, Infinity]);
  expect(nextRate(0, 5, 1)).toBe(1);
  expect(nextRate(8, 0, 1)).toBe(0);
});

test('a slow camera does not follow each swing of its share, a fast one does', () => {
  let share = steadyShare(undefined, 0.6);
  for (let i = 0; i < 20; i++) share = steadyShare(share, i % 2 === 0 ? 0.3 : 0.6);
  expect(share).toBeCloseTo(0.45, 1);
  expect([steadyShare(0.6, 0.1), steadyShare(12, 6), steadyShare(1, Infinity)]).toEqual([0.1, 6, Infinity]);
});

test('slow cameras are spread over the time from one picture to the next, but none waits for long', () => {
  const delayMs = (rateFps: number, sinceLastMs: number | undefined, cameras = 100) =>
    orderDelayMs(rateFps, cameras, sinceLastMs, 0.5);
  expect([delayMs(1 / 3, 0), delayMs(1, 0), delayMs(25, 0), delayMs(1, 0, 2)]).toEqual([1_500, 500, 0, 0]);
  expect([delayMs(1 / 3, 2_800), delayMs(1 / 3, 9_000), delayMs(0, 0)]).toEqual([200, 0, 0]);
  // Of many that come at once, each by its own time.
  expect([delayMs(0.5, undefined), delayMs(1 / 10, undefined), delayMs(25, undefined)]).toEqual([1_000, 3_000, 0]);
});

test('small changes are no news, the end and the beginning are', () => {
  expect([isRateNews(10, 10), isRateNews(10, 11), isRateNews(10, 7.9), isRateNews(10, 0)]).toEqual([
    false,
    false,
    true,
    true,
  ]);
  expect([isRateNews(Infinity, Infinity), isRateNews(Infinity, 3), isRateNews(3, Infinity)]).toEqual([
    false,
    true,
    true,
  ]);
});

test('pictures are made as small as their one model takes them, and never larger', () => {
  const model = { width: 300, height: 300, fit: 'stretch' } as const;
  expect(pictureScale(model, undefined)).toBe(model);
  expect(pictureScale(model, { width: 768, height: 200 })).toBe(model);
  expect(pictureScale(model, { width: 200, height: 200 })).toBeNull();
  expect(pictureScale(undefined, { width: 1920, height: 1080 })).toEqual({ width: 1280, height: 1280, fit: 'contain' });
  expect(pictureScale(undefined, { width: 1280, height: 720 })).toBeNull();
  expect(isSameScale(model, { ...model })).toBe(true);
  expect(isSameScale(model, { ...model, fit: 'contain' })).toBe(false);
  expect([isSameScale(undefined, null), isSameScale(null, null)]).toEqual([false, true]);
});

test('pictures that are drawn on wait in the next higher class, but for critical', () => {
  const classes = Object.values(Priority);
  expect(classes.map((one) => waitingClass(one, true))).toEqual([1, 2, 2, 3]);
  expect(classes.map((one) => waitingClass(one, false))).toEqual(classes);
});

test('a picture waits for a worker for as long as no other can take its place in time', () => {
  const patience = (sinceResultMs: number, rateFps = 0.35, cameras = 100, serviceMs = 30) =>
    patienceMs(rateFps, { cameras, isDrawn: false }, sinceResultMs, serviceMs);
  expect(patienceMs(1, { cameras: 100, isDrawn: true }, 900, 20)).toBe(1_000);
  expect([1_000, 1_920, 2_880, 3_840, 10_000].map((since) => patience(since))).toEqual([45, 45, 75, 480, 480]);
  // Nobody is in its way, or nothing is known yet.
  expect([patience(1_000, 5), patience(1_000, 0.35, 3), patience(1_000, 0.35, 100, 0)]).toEqual([4_000, 4_000, 4_000]);
  expect(patience(10_000, 0.35, 100, 1_000)).toBe(4_000);
});
