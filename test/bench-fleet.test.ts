import { describe, expect, test } from 'vitest';
import { allowedCameras } from '../bench/fleet/load.ts';
import { WatchLog, type WatchedFragment } from '../bench/fleet/watch-log.ts';

describe('what a viewer has seen', () => {
  const fragment = (epoch: number, seq: number, mediaTimeS = seq / 10, isKey = seq === 0): WatchedFragment => ({
    frame: { epoch, seq },
    isKey,
    mediaTimeS,
    durationS: 0.1,
  });

  test('all that follows on each other is complete, from wherever it begins', () => {
    const log = new WatchLog(0);
    for (let seq = 7; seq < 20; seq += 1) log.fragment(fragment(1, seq, seq / 10, seq % 7 === 0), seq);
    expect(log.take(100)).toMatchObject({ fragments: 13, missing: 0, holes: 0, headless: 0, epochs: 1 });
  });

  test('what is missing counts by its number, and a hole in time as one', () => {
    const log = new WatchLog(0);
    for (const seq of [0, 1, 4]) log.fragment(fragment(1, seq), seq);
    log.fragment(fragment(1, 5, 0.52), 5);
    log.fragment(fragment(2, 3, 0, false), 6);
    expect(log.take(10)).toMatchObject({ fragments: 5, missing: 2, holes: 1, headless: 1, epochs: 2 });
    log.fragment(fragment(2, 5, 0.2), 11);
    expect(log.take(20)).toMatchObject({ fragments: 1, missing: 1, holes: 0, epochs: 0 });
  });

  test('the longest time without a result begins and ends with the span', () => {
    const log = new WatchLog(0);
    log.result(300);
    log.result(500);
    expect(log.take(600)).toMatchObject({ results: 2, resultsApartMsMax: 300 });
    log.result(700);
    expect(log.take(1_600)).toMatchObject({ results: 1, resultsApartMsMax: 900 });
  });
});

test('cameras that the costs of the parts allow: what the engine did beyond a look every four seconds was left over', () => {
  const costs = (mainMs: number, threadsMs: number, readersMs: number) => ({
    mainMs,
    threadsMs,
    readersMs,
    camerasMs: 50,
    viewersMs: 50,
    foreignMs: 0,
  });
  const parts = {
    reading: costs(10, 0, 90),
    watched: costs(60, 40, 100),
    whole: costs(80, 1_020, 200),
    runsPerS: 50,
    workerMs: 20,
  };
  // Of 100 cameras, ms a second: 100 outside, 200 read and passed on, 100 decoded; each run is 20 ms, and a camera has a quarter of one.
  expect(allowedCameras(parts, 100, 2)).toBeCloseTo(2_000 / (1 + 2 + 1 + 5), 6);
});
