import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { collectingLog } from '../../../test/support/log.ts';
import { Priority } from '../../base/sample.ts';
import { systemClock } from '../../base/clock.ts';
import { ConfigCoordinator } from '../../config/coordinator.ts';
import { loadConfig } from '../../config/load.ts';
import { CAMERAS_MAX } from '../../config/schema.ts';
import { Store } from '../../store/store.ts';
import { KeptCameras } from './kept-cameras.ts';
import { fleetSettings } from './settings.ts';

/** Cameras across restarts, by a real store. */

let folder: string;
const open: Store[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-kept-'));
});
afterEach(async () => {
  for (const store of open.splice(0)) await store.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Start {
  readonly declared?: Readonly<Record<string, unknown>>;
  readonly flags?: Readonly<Record<string, unknown>>;
  readonly mode?: 'file' | 'memory';
}

/** A server, as far as it keeps cameras, with these in its file. */
async function start({ declared = {}, flags = {}, mode = 'file' }: Start = {}) {
  const { log, entries } = collectingLog();
  const path = mode === 'file' ? join(folder, 'sightline.db') : undefined;
  const store = new Store({ settings: { file: path, bytesMax: 2 ** 20, retention: {} }, clock: systemClock, log });
  open.push(store);
  const file = join(folder, 'sightline.yaml');
  writeFileSync(file, JSON.stringify({ cameras: declared }));
  const applied: string[][] = [];
  const coordinator = new ConfigCoordinator(loadConfig({ file, flags }), ({ cameras }) =>
    applied.push(Object.keys(cameras)),
  );
  const kept = new KeptCameras({ store, log, coordinator });
  await kept.open();
  return {
    kept,
    store,
    coordinator,
    applied,
    get urls() {
      return Object.fromEntries([...fleetSettings(coordinator.config).cameras].map(([id, { url }]) => [id, url]));
    },
    told: (): Record<string, unknown>[] => entries.map(({ event, fields }) => Object.assign({ event }, fields)),
    put(name: string, value: Record<string, unknown> | null) {
      coordinator.change({ entry: { section: 'cameras', name, value } });
      kept.save();
    },
    set(settings: Record<string, unknown>) {
      coordinator.change({ settings });
      kept.save();
    },
  };
}

const DECLARED = { gate: { url: 'rtsp://gate/file' }, yard: { url: 'rtsp://yard/file', class: 'low' } };

describe('the next start', () => {
  test('has cameras as they were left: added, changed, removed, and single keys of them', async () => {
    const first = await start({ declared: DECLARED });
    first.put('north.1', { url: 'rtsp://me:secret@north/1', pipelines: ['hands'], class: 'critical' });
    first.put('gate', { url: 'rtsp://gate/changed', enabled: false });
    first.put('yard', null);
    first.put('brief', { url: 'a.mp4' });
    first.put('brief', null);
    first.set({ 'cameras.north.1.transport': 'udp' });
    const left = first.coordinator.config.cameras;
    await first.store.close();

    const second = await start({ declared: DECLARED });
    expect(second.coordinator.config.cameras).toEqual(left);
    expect(second.applied).toEqual([['gate', 'north.1']]);
    expect(second.told()).toEqual([{ event: 'cameras_restored', cameras: 2, removed: 1 }]);
    expect(fleetSettings(second.coordinator.config).cameras.get('north.1')).toEqual({
      url: 'rtsp://me:secret@north/1',
      isEnabled: true,
      transport: 'udp',
      priority: Priority.critical,
      pipelines: ['hands'],
      masks: [],
      loop: true,
      pace: 'live',
    });
    expect(second.coordinator.state.origins.get('cameras.gate.url')).toBe('set at run time');
    // What is undone is that of the file again, and stays so.
    second.set({ 'cameras.yard': null, 'cameras.gate': null });
    second.put('north.1', null);
    await second.store.close();
    const third = await start({ declared: DECLARED });
    expect(third.urls).toEqual({ gate: 'rtsp://gate/file', yard: 'rtsp://yard/file' });
    expect(third.told()).toEqual([]);
    expect(await third.store.read('camera', 10)).toEqual([]);
  });

  test('with another file: what is kept goes before it, and a removed camera that it does not have is forgotten', async () => {
    const first = await start({ declared: DECLARED });
    first.put('gate', { url: 'rtsp://gate/kept' });
    first.put('yard', null);
    await first.store.close();
    const second = await start({ declared: { gate: { url: 'rtsp://gate/new' } } });
    expect(second.urls).toEqual({ gate: 'rtsp://gate/kept' });
    await second.store.close();
    const third = await start({ declared: DECLARED });
    expect(third.urls).toEqual({ gate: 'rtsp://gate/kept', yard: 'rtsp://yard/file' });
  });

  test('what is on its command line goes before what was kept', async () => {
    const first = await start({ flags: { 'cameras.cam1.url': 'rtsp://one/1' } });
    first.put('cam1', null);
    first.put('other', { url: 'rtsp://other/1' });
    await first.store.close();
    const second = await start({ flags: { 'cameras.cam1.url': 'rtsp://one/2' } });
    expect(second.urls).toEqual({ cam1: 'rtsp://one/2', other: 'rtsp://other/1' });
  });

  test('a thousand of them', async () => {
    const first = await start();
    const entries = Array.from({ length: CAMERAS_MAX }, (_, i) => {
      return { section: 'cameras', name: `c${i}`, value: { url: `rtsp://c/${i}` } };
    });
    first.coordinator.change({ entries });
    first.kept.save();
    await first.store.close();
    const second = await start();
    expect(Object.keys(second.urls)).toHaveLength(CAMERAS_MAX);
    expect(second.applied).toHaveLength(1);
    await second.store.close();
    // With those of a file it is one too many: nothing is lost.
    const third = await start({ declared: { one: { url: 'rtsp://one/1' } } });
    expect(third.urls).toEqual({ one: 'rtsp://one/1' });
    expect(third.told()).toEqual([
      expect.objectContaining({ event: 'camera_not_restored', reason: expect.stringContaining('1000') }),
    ]);
    expect(await third.store.read('camera', 2_000)).toHaveLength(CAMERAS_MAX);
  });
});

test('what fits no more is left out and told, one by one, without what is secret', async () => {
  const { store } = await start();
  const records: Record<string, unknown> = {
    good: { '': { url: 'rtsp://good/1' } },
    odd: { '': { url: 'gopher://me:hidden1@odd/1' } },
    later: { '': { url: 'rtsp://me:hidden2@later/1', zoom: 3 } },
    wrong: { '': { url: 'rtsp://wrong/1' }, class: 'hidden3' },
    key: { '': { url: 'rtsp://key/1' }, zoom: 3 },
    half: { enabled: false },
    empty: {},
    none: null,
    text: 'hidden4',
    list: [{ url: 'rtsp://list/1' }],
    '../etc': { '': { url: 'rtsp://x/1' } },
    __proto__: { '': { url: 'rtsp://x/2' } },
    removed: { '': null },
  };
  for (const [id, value] of Object.entries(records)) store.put('camera', id, value);
  store.put('camera', '__proto__', { '': { url: 'rtsp://x/3' } });
  await store.close();
  const second = await start();
  expect(second.urls).toEqual({ good: 'rtsp://good/1' });
  const told = second.told();
  expect(
    told
      .map(({ camera }) => camera)
      .filter(Boolean)
      .toSorted(),
  ).toEqual(
    ['odd', 'later', 'wrong', 'key', 'half', 'empty', 'none', 'text', 'list', '../etc', '__proto__'].toSorted(),
  );
  expect(JSON.stringify(told)).not.toMatch(/hidden\d/);
  expect(({} as Record<string, unknown>)['url']).toBeUndefined();
  // They stay in the store, for a version that knows them; but one that is not there has nothing to be removed.
  await second.store.close();
  const keys = (await (await start()).store.read('camera', 100)).map(({ key }) => key);
  expect(keys).toContain('later');
  expect(keys).not.toContain('removed');
});

test('in memory nothing is kept, and that is known', async () => {
  const first = await start({ mode: 'memory' });
  expect(first.kept.isKept([])).toBe(false);
  first.put('gate', { url: 'rtsp://gate/1' });
  await first.store.close();
  expect((await start({ mode: 'memory' })).urls).toEqual({});
  expect((await start()).kept.isKept([])).toBe(true);
});

test('a camera that is for one run alone is not kept, whatever is done to it, and one that takes its place is', async () => {
  const first = await start();
  const lent = { url: '/cache/clip.mp4' };
  first.coordinator.change({ entry: { section: 'cameras', name: 'demo', value: lent } });
  first.kept.leaveOut(lent);
  first.kept.save();
  first.put('demo', { ...lent, enabled: false });
  first.set({ 'cameras.demo.class': 'high' });
  first.put('gate', { url: 'rtsp://gate/1' });
  const { cameras } = first.coordinator.config;
  expect(cameras['demo']).toMatchObject({ enabled: false, class: 'high' });
  expect(first.kept.isKept([cameras['gate']!])).toBe(true);
  expect(first.kept.isKept([cameras['gate']!, cameras['demo']!])).toBe(false);
  first.kept.rewrite();
  await first.store.close();

  const second = await start();
  expect(second.urls).toEqual({ gate: 'rtsp://gate/1' });
  second.coordinator.change({ entry: { section: 'cameras', name: 'demo', value: lent } });
  second.kept.leaveOut(lent);
  second.put('demo', null);
  second.put('demo', { url: 'rtsp://mine/1' });
  await second.store.close();
  expect((await start()).urls).toEqual({ gate: 'rtsp://gate/1', demo: 'rtsp://mine/1' });
});

test('a store that has lost everything gets it again', async () => {
  const first = await start();
  first.put('gate', { url: 'rtsp://gate/1' });
  first.store.delete('camera', 'gate');
  first.kept.rewrite();
  await first.store.close();
  expect((await start()).urls).toEqual({ gate: 'rtsp://gate/1' });
});
