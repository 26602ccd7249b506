import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { allowedCameras } from '../bench/fleet/load.ts';
import { RandomEdits, type Way } from '../bench/fleet/random-edits.ts';
import { addCounts, joined, lossesOf, NO_COUNTS, WatchLog } from '../bench/fleet/watch-log.ts';
import { ConfigCoordinator } from '../src/config/coordinator.ts';
import { valueAt } from '../src/config/keys.ts';
import { loadConfig } from '../src/config/load.ts';
import { cameraEntry } from '../src/config/schema.ts';

describe('random edits', () => {
  const cameras = {
    untouched: new Map([['quiet', { url: 'rtsp://10.0.0.1/quiet' }]]),
    touched: ['one', 'two', 'three', 'four'],
    urls: ['rtsp://10.0.0.1/a', 'rtsp://10.0.0.1/b', 'rtsp://10.0.0.1/c', 'rtsp://10.0.0.1/d', 'rtsp://10.0.0.1/e'],
  };
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sightline-edits-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  function open(seed: number) {
    const edits = new RandomEdits(seed, cameras);
    const file = join(folder, 'sightline.yaml');
    writeFileSync(file, edits.text);
    const coordinator = new ConfigCoordinator(loadConfig({ file }), () => {});
    const reload = (text: string) => {
      writeFileSync(file, text);
      coordinator.reload();
    };
    return { edits, coordinator, make: (way: Way) => make(coordinator, reload, way) };
  }

  test.each([1, 2])('seed %d: valid ones are taken, and come to what they say', (seed) => {
    const { edits, coordinator, make: makeOne } = open(seed);
    const kinds = new Set<string>();
    for (let i = 0; i < 150; i += 1) {
      const way = edits.valid();
      makeOne(way);
      kinds.add(way.kind === 'file' ? way.by : `${way.method} ${way.path.split('/')[2]}`);
      const { config } = coordinator;
      const expected = new Map([...cameras.untouched, ...edits.entries]);
      expect(config.cameras).toEqual(
        Object.fromEntries([...expected].map(([id, entry]) => [id, cameraEntry.parse(entry)])),
      );
      for (const [key, value] of edits.settings) expect(valueAt(config, key.split('.')), key).toEqual(value);
    }
    expect([...kinds].toSorted()).toEqual(['DELETE cameras', 'PUT cameras', 'PUT config', 'request', 'signal']);
  });

  test('the same seed makes the same edits', () => {
    const made = [0, 1].map(() => {
      const edits = new RandomEdits(7, cameras);
      return Array.from({ length: 50 }, () => [edits.valid(), edits.invalid(), edits.pauseMs()]);
    });
    expect(made[0]).toEqual(made[1]);
  });

  test('those with a fault are refused, and change nothing', () => {
    const { edits, coordinator, make: makeOne } = open(3);
    for (let i = 0; i < 100; i += 1) {
      makeOne(edits.valid());
      const before = JSON.stringify([coordinator.config, [...coordinator.pins], edits.text]);
      const way = edits.invalid();
      expect(() => makeOne(way), JSON.stringify(way)).toThrow(expect.objectContaining({ code: expect.any(String) }));
      expect(JSON.stringify([coordinator.config, [...coordinator.pins], edits.text])).toBe(before);
    }
  });
});

/** As the routes do it. */
function make(coordinator: ConfigCoordinator, reload: (text: string) => void, way: Way): void {
  if (way.kind === 'file') return reload(way.text);
  const { method, path, body } = way;
  if (path === '/api/config') return void coordinator.change(body as { settings: Record<string, unknown> });
  const name = decodeURIComponent(path.slice('/api/cameras/'.length));
  const before = coordinator.config.cameras[name];
  const value = method === 'DELETE' ? null : { ...(before && { url: before.url }), ...(body as object) };
  return void coordinator.change({ entry: { section: 'cameras', name, value } });
}

describe('what a viewer has seen', () => {
  const fragment = (epoch: number, seq: number, mediaTimeS = seq * 0.08) => ({
    frame: { epoch, seq },
    isKey: seq === 0,
    mediaTimeS,
    durationS: 0.08,
  });

  test('nothing is lost of what comes one behind the other', () => {
    const log = new WatchLog(1_000);
    for (let seq = 0; seq < 5; seq += 1) log.fragment(fragment(1, seq), 1_100 + seq * 80);
    expect(log.epoch).toBe(1);
    expect(log.take(1_500)).toEqual({
      ...NO_COUNTS,
      fragments: 5,
      epochs: 1,
      fragmentsApartMsMax: 100,
      resultsApartMsMax: 500,
    });
    log.fragment(fragment(1, 5), 1_600);
    expect(lossesOf(log.take(1_700))).toBe(0);
  });

  test('missing fragments, holes, new epochs, gaps and views that have ended are', () => {
    const log = new WatchLog(0);
    log.fragment(fragment(1, 0), 0);
    log.take(0);
    log.fragment(fragment(1, 3), 10);
    log.fragment(fragment(1, 4, 5), 20);
    log.fragment(fragment(2, 7), 30);
    log.gap();
    log.end();
    log.result(35);
    const report = log.take(40);
    expect(report).toMatchObject({ missing: 2, holes: 1, epochs: 1, headless: 1, gaps: 1, ends: 1, results: 1 });
    expect(lossesOf(report)).toBe(6);
  });

  test('a camera that stands still is told by the time without a fragment', () => {
    const log = new WatchLog(0);
    log.fragment(fragment(1, 0), 10);
    log.take(20);
    expect(log.take(5_000)).toMatchObject({ fragments: 0, fragmentsApartMsMax: 4_980 });
  });

  test('two viewers: counts are added, the longest time counts', () => {
    const one = { ...NO_COUNTS, missing: 2, fragmentsApartMsMax: 5, resultsApartMsMax: 9 };
    const other = { ...NO_COUNTS, missing: 3, gaps: 1, fragmentsApartMsMax: 7, resultsApartMsMax: 1 };
    expect(joined(one, other)).toEqual({
      ...NO_COUNTS,
      missing: 5,
      gaps: 1,
      fragmentsApartMsMax: 7,
      resultsApartMsMax: 9,
    });
    expect(addCounts(NO_COUNTS, other)).toEqual({ ...NO_COUNTS, missing: 3, gaps: 1 });
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
