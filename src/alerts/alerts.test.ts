import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock, wallTimeMs } from '../base/clock.ts';
import { Priority } from '../base/sample.ts';
import { Log } from '../log/log.ts';
import { loadConfig } from '../config/load.ts';
import { Hub } from '../stream/hub.ts';
import type { Store } from '../store/store.ts';
import { Alerts, type StreamTally } from './alerts.ts';
import type { SendOutcome } from './delivery.ts';
import type { AlertDocument, Notification } from './documents.ts';
import { CLASSES, FrameMeter } from './frame-meter.ts';
import { alertsSettings, KINDS } from './settings.ts';

const GIB = 2 ** 30;
const YEARS_MS = 5 * 365 * 86_400_000;

/** As the store, in memory: what it has at any moment is what a process that is killed then leaves. */
class KeptRecords {
  readonly records = new Map<string, { kind: string; key: string; value: string; timeMs: number }>();

  async read(kind: string, limit: number) {
    return [...this.records.values()].filter((one) => one.kind === kind).slice(-limit);
  }
  put(kind: string, key: string, value: unknown): void {
    this.records.set(`${kind} ${key}`, { kind, key, value: JSON.stringify(value), timeMs: 0 });
  }
  delete(kind: string, key: string): void {
    this.records.delete(`${kind} ${key}`);
  }
  report() {
    return { state: 'file' } as ReturnType<Store['report']>;
  }
}

/** A server with streams of frames, and a place that is told. */
class World {
  readonly clock: ManualClock;
  readonly kept: KeptRecords;
  readonly meter: FrameMeter;
  readonly alerts: Alerts;
  readonly hub: Hub;
  readonly got: Notification[] = [];
  readonly told: string[] = [];
  readonly streams = new Map<string, { -readonly [K in keyof StreamTally]: StreamTally[K] }>();
  outcome: SendOutcome = { kind: 'delivered' };
  cpuPercent = 10;
  readonly counts = { results: 0, late: 0, lost: 0, failed: 0 };

  constructor(kept = new KeptRecords(), clock = new ManualClock(), flags: Record<string, unknown> = {}) {
    this.kept = kept;
    this.clock = clock;
    this.meter = new FrameMeter(() => clock.now());
    this.hub = new Hub({ clock, streamsMax: 10 });
    const none = { results: 0, late: 0, lost: 0, failed: 0 };
    const config = loadConfig({ flags });
    this.alerts = new Alerts({
      clock,
      random: () => 0.5,
      log: new Log({ clock, sink: ({ text }) => void this.told.push(text) }),
      store: kept,
      hub: this.hub,
      meter: this.meter,
      figures: () => ({
        classes: { critical: none, high: none, normal: { ...this.counts }, low: none },
        cpuPercent: this.cpuPercent,
        rssBytes: GIB,
      }),
      streams: () => this.streams.values(),
      sinks: [
        {
          name: 'place',
          send: async (notification) => {
            if (this.outcome.kind === 'delivered') this.got.push(notification);
            return this.outcome;
          },
          close: () => undefined,
        },
      ],
      settings: { ...alertsSettings(config, 16 * GIB), instance: 'here' },
    });
    worlds.push(this);
  }

  /** So many seconds, each with a frame of each of these streams that takes so long. */
  async pass(seconds: number, ms: Record<string, number> = {}): Promise<void> {
    for (let s = 0; s < seconds; s++) {
      this.clock.advance(1_000);
      for (const [client_id, total] of Object.entries(ms)) this.frame(client_id, total);
      this.alerts.tick();
      await Promise.resolve().then(() => undefined);
      await Promise.resolve();
    }
  }

  frame(client_id: string, total: number): void {
    const tally = this.streams.get(client_id) ?? { client_id, class: 'normal' as const, frames: 0, bad: 0 };
    this.streams.set(client_id, tally);
    tally.frames++;
    const stages_ms = { capture: 1, queue: 1, decode: 1, preprocess: 1, inference: total - 6, postprocess: 2, total };
    this.counts.results++;
    const result = { client_id, pipeline: 'objects', seq: tally.frames, stages_ms };
    if (!this.meter.frame(result, Priority.normal)) return;
    this.counts.late++;
    tally.bad++;
  }

  /** `latency critical` … of what the place has got. */
  get words(): string[] {
    return this.got.map(({ alert: { rule, state } }) => `${rule} ${state}`);
  }
}

let worlds: World[] = [];
beforeEach(() => (worlds = []));
afterEach(() => {
  for (const world of worlds) world.alerts.close();
});

const slow = (count: number, ms = 300) =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`cam${n}`, ms + n]));
const ofLatency = ({ alerts }: World): AlertDocument | undefined =>
  alerts.report().alerts.find(({ rule }) => rule === 'latency');

test('nothing is wrong: nothing is told, and nothing is kept', async () => {
  const world = new World();
  await world.alerts.open();
  await world.pass(200, slow(5, 40));
  expect(world.alerts.report()).toMatchObject({ alerts: [], silences: [], history: [], enabled: true });
  expect(world.got).toEqual([]);
  expect([...world.kept.records.keys()]).toEqual([]);
  expect(world.told).toEqual([]);
});

test('thirty slow streams are one alert, with the worst of them, and the slowest frames as evidence; then it is over', async () => {
  const world = new World();
  await world.alerts.open();
  const beganMs = world.clock.now();
  await world.pass(30, slow(30));
  expect(ofLatency(world)).toMatchObject({ state: 'pending' });
  await world.pass(3, slow(30));
  expect(world.words).toEqual(['latency critical']);
  const [{ alert, ...notification } = undefined!] = world.got;
  expect(notification).toMatchObject({ version: 1, kind: 'firing', previous: null, instance: 'here' });
  expect(alert.summary).toMatch(/^95 % of the frames of class normal take up to 3\d\d ms, over 200 ms$/);
  expect(alert.streams!.count).toBe(30);
  expect(alert.streams!.worst).toHaveLength(5);
  expect(alert.evidence).toHaveLength(5);
  expect(alert.evidence[0]).toMatchObject({
    client_id: 'cam29',
    pipeline: 'objects',
    stages_ms: { total: 329, inference: 323 },
  });
  expect(Math.abs(alert.started_at - beganMs)).toBeLessThan(3_000);
  expect(world.told[0]).toMatch(/^critical: 95 %/);
  // Values that lie between the threshold and well below it: on for good.
  await world.pass(310, slow(5, 185));
  expect(world.words).toEqual(['latency critical', 'compliance critical']);
  await world.pass(140, slow(20, 40));
  expect(world.words.at(-1)).toBe('latency resolved');
  expect(world.got.at(-1)).toMatchObject({ kind: 'resolved', previous: 'critical', alert: { id: alert.id } });
  expect(ofLatency(world)).toBeUndefined();
  expect(world.alerts.report().history.map(({ rule, state }) => `${rule} ${state}`)).toEqual([
    'latency resolved',
    'compliance critical',
    'latency critical',
  ]);
});

test('the wall clock, set back or ahead by years, fires nothing and ends nothing', async () => {
  const world = new World();
  await world.alerts.open();
  await world.pass(100, slow(5, 40));
  for (const byMs of [YEARS_MS, -3 * YEARS_MS]) {
    world.clock.stepWall(byMs);
    await world.pass(30, slow(5, 40));
    expect(world.got).toEqual([]);
  }
  await world.pass(100, slow(30));
  expect(world.words).toEqual(['latency critical']);
  const { id, started_at } = ofLatency(world)!;
  // Times of day are told as they were.
  expect(Math.abs(started_at - wallTimeMs(world.clock))).toBeLessThan(110_000);
  const silence = world.alerts.silence({ match: { rule: 'compliance' }, duration_s: 2_000, comment: '' }, 'me');
  for (const byMs of [-YEARS_MS, 2 * YEARS_MS]) {
    world.clock.stepWall(byMs);
    await world.pass(30, slow(30));
    expect(ofLatency(world)).toMatchObject({ id, started_at, state: 'critical' });
  }
  expect(world.alerts.report().silences).toEqual([silence]);
  expect(world.words).toEqual(['latency critical']);
});

test('turned off, what fires is over and says why; turned on again, it begins anew', async () => {
  const world = new World();
  await world.alerts.open();
  const settings = (enabled: boolean) => ({
    ...alertsSettings(loadConfig({ flags: { 'alerts.enabled': enabled } }), 16 * GIB),
    instance: 'here',
  });
  await world.pass(33, slow(30));
  expect(world.words).toEqual(['latency critical']);
  world.alerts.configure(settings(false));
  await world.pass(600, slow(30));
  expect(world.words).toEqual(['latency critical', 'latency resolved']);
  expect(world.got.at(-1)!.alert.resolved_because).toBe('turned_off');
  expect(world.alerts.report()).toMatchObject({ enabled: false, alerts: [] });
  world.alerts.configure(settings(true));
  // The frames of the time before are not those of now.
  await world.pass(100, slow(5, 40));
  expect(world.words).toHaveLength(2);
  await world.pass(100, slow(30));
  expect(world.words.slice(2)).toContain('latency critical');
});

describe('a silence', () => {
  test('holds the tongue, not the alert; what still fires at its end is told then', async () => {
    const world = new World();
    await world.alerts.open();
    const { alerts } = world;
    alerts.silence({ match: { rule: 'latency', class: 'normal' }, duration_s: 120, comment: 'moving it' }, 'ops');
    await world.pass(100, slow(30));
    expect(world.got).toEqual([]);
    expect(ofLatency(world)).toMatchObject({ state: 'critical', silenced: true });
    expect(alerts.firing()).toEqual([]);
    await world.pass(25, slow(30));
    expect(world.words).toEqual(['latency critical']);
    expect(alerts.report().silences).toEqual([]);
    expect(world.kept.records.has(KINDS.silence)).toBe(false);
  });

  test('of another class, rule or severity is none; one that is told before is told that it is over', async () => {
    const world = new World();
    await world.alerts.open();
    for (const match of [{ class: 'high' }, { rule: 'cpu' }, { severity: 'warning' }] as const) {
      world.alerts.silence({ match, duration_s: 9_000, comment: '' }, 'ops');
    }
    await world.pass(100, slow(30));
    expect(world.words).toEqual(['latency critical']);
    const all = world.alerts.silence({ match: {}, duration_s: 9_000, comment: '' }, 'ops');
    await world.pass(300, slow(30, 40));
    expect(world.words).toEqual(['latency critical', 'latency resolved']);
    expect(world.alerts.unsilence(all.id, 'ops').author).toBe('ops');
    expect(() => world.alerts.unsilence(all.id, 'ops')).toThrow(expect.objectContaining({ code: 'SILENCE_UNKNOWN' }));
  });

  test('there are so many and no more', () => {
    const { alerts } = new World();
    for (let n = 0; n < 100; n++) alerts.silence({ match: {}, duration_s: 60, comment: '' }, 'ops');
    expect(() => alerts.silence({ match: {}, duration_s: 60, comment: '' }, 'ops')).toThrow(
      expect.objectContaining({ code: 'SILENCE_LIMIT_REACHED' }),
    );
  });
});

describe('after a restart', () => {
  test('what was firing still is, since when it was; what was not delivered is; silences hold; the history is there', async () => {
    const world = new World();
    await world.alerts.open();
    world.outcome = { kind: 'failed', reason: 'away' };
    world.alerts.silence({ match: { rule: 'compliance' }, duration_s: 7_200, comment: '' }, 'ops');
    await world.pass(100, slow(30));
    const { id, started_at } = ofLatency(world)!;
    expect(world.got).toEqual([]);

    // It is killed: nothing is said to anybody. Meanwhile the wall clock was set ahead by years.
    const later = new World(world.kept, new ManualClock(world.clock.now() + 60_000));
    await later.alerts.open();
    expect(ofLatency(later)).toMatchObject({ id, started_at, state: 'critical' });
    await later.pass(1);
    expect(later.words).toEqual(['latency critical']);
    expect(later.got[0]!.alert.id).toBe(id);
    expect(later.alerts.report()).toMatchObject({ silences: [{ author: 'ops' }], history: [{ id }] });
    expect([...later.kept.records.values()].filter(({ kind }) => kind === KINDS.notification)).toEqual([]);
    // It goes on, and is told once.
    await later.pass(100, slow(30));
    expect(later.words).toEqual(['latency critical']);
    await later.pass(200, slow(30, 40));
    expect(later.words).toEqual(['latency critical', 'latency resolved']);
    expect(later.got[1]!.alert).toMatchObject({ id, started_at });

    const last = new World(world.kept, new ManualClock(later.clock.now() + YEARS_MS));
    await last.alerts.open();
    expect(ofLatency(last)).toBeUndefined();
    expect(last.alerts.report().history).toHaveLength(2);
  });

  test('turned off meanwhile, what was firing is over, and that is told', async () => {
    const first = new World();
    await first.alerts.open();
    await first.pass(33, slow(30));
    const world = new World(first.kept, new ManualClock(), { 'alerts.enabled': false });
    await world.alerts.open();
    await world.pass(1);
    expect(world.got.map(({ alert }) => [alert.rule, alert.state, alert.resolved_because])).toEqual([
      ['latency', 'resolved', 'turned_off'],
    ]);
    expect(world.alerts.report().alerts).toEqual([]);
  });

  test('without frames an alert is over after a while, and says why', async () => {
    const world = new World();
    await world.alerts.open();
    await world.pass(100, slow(30));
    const later = new World(world.kept, world.clock);
    await later.alerts.open();
    await later.pass(590);
    expect(ofLatency(later)).toMatchObject({ state: 'critical' });
    await later.pass(20);
    expect(later.got.map(({ alert }) => alert.resolved_because)).toEqual(['no_frames']);
  });

  test('records of something else are left out and removed', async () => {
    const kept = new KeptRecords();
    kept.put(KINDS.state, 'latency/normal', { told: 2, alert: { nonsense: true } });
    kept.put(KINDS.state, 'x', null);
    kept.records.set('damaged', { kind: KINDS.state, key: 'y', value: '{"told":', timeMs: 0 });
    kept.put(KINDS.silence, 'x', { id: 5 });
    kept.put(KINDS.event, 'x', 'y');
    kept.put(KINDS.notification, 'gone/x', { version: 9 });
    const world = new World(kept);
    await world.alerts.open();
    expect(world.alerts.report()).toMatchObject({ alerts: [], silences: [], history: [] });
    kept.records.delete('damaged');
    expect([...kept.records.keys()]).toEqual(['alert_event x']);
    expect(world.told).toHaveLength(1);
  });
});

test('a store that has lost everything gets it again', async () => {
  const world = new World();
  await world.alerts.open();
  world.outcome = { kind: 'failed', reason: 'away' };
  world.alerts.silence({ match: { rule: 'cpu' }, duration_s: 7_200, comment: '' }, 'ops');
  await world.pass(100, slow(30));
  const before = [...world.kept.records.keys()].toSorted();
  expect(before.length).toBeGreaterThan(3);
  world.kept.records.clear();
  world.alerts.rewrite();
  expect([...world.kept.records.keys()].toSorted()).toEqual(before);
});

test('its changes are a stream; other thresholds count at once; a machine with less memory has other ones', async () => {
  const world = new World();
  await world.alerts.open();
  const reader = world.alerts.events.subscribe({ name: 'test', contract: { kind: 'all' }, from: 'live' });
  world.cpuPercent = 85;
  await world.pass(40);
  expect(reader.next()!.data).toMatchObject({ rule: 'cpu', class: null, state: 'warning', streams: null });
  const settings = alertsSettings(loadConfig({ flags: { 'alerts.cpu_critical_percent': 84 } as never }), 2 * GIB);
  expect(settings.objectives.memoryBytes).toEqual({ warning: 1.5 * GIB, critical: 1.75 * GIB });
  expect(alertsSettings(loadConfig({}), 64 * GIB).objectives.memoryBytes).toEqual({
    warning: 6 * GIB,
    critical: 7 * GIB,
  });
  world.alerts.configure({ ...settings, instance: 'here' });
  await world.pass(40);
  expect(reader.next()!.data).toMatchObject({ rule: 'cpu', state: 'critical' });
  expect(world.got.map(({ previous }) => previous)).toEqual([null, 'warning']);
  expect(CLASSES).toHaveLength(4);
});
