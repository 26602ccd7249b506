import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SightlineError } from '../base/errors.ts';
import { ConfigCoordinator, type ConfigRequest } from './coordinator.ts';
import { loadConfig, type LoadOptions } from './load.ts';
import { PROFILES } from './profiles.ts';
import { CONFIG_KEYS, valueAt } from './keys.ts';
import type { Config } from './schema.ts';
import { STRATEGIES } from './strategies.ts';

function coordinator(options: LoadOptions = {}, apply: (config: Config) => void = () => {}): ConfigCoordinator {
  return new ConfigCoordinator(loadConfig({ env: { HOME: '/h' }, ...options }), apply);
}

function refusal(act: () => unknown): SightlineError {
  try {
    act();
  } catch (thrown) {
    if (thrown instanceof SightlineError) return thrown;
    throw thrown;
  }
  throw new Error('it was taken');
}

const keysOf = (changes: readonly { path: string }[]): string[] => changes.map(({ path }) => path);

describe('a strategy chosen at run time', () => {
  test('changes what can change, and tells what waits for a start', () => {
    const applied: Config[] = [];
    const one = coordinator({}, (config) => applied.push(config));
    const change = one.change({ strategy: 'memory' });
    expect(keysOf(change.atOnce)).toEqual(['performance.strategy', 'performance.max_memory_usage']);
    expect(change.newSessions).toContainEqual({ path: 'streaming.queue_size', from: 25, to: 8 });
    expect(change.needsRestart).toEqual([
      { path: 'inference.workers', from: 0, to: 1 },
      { path: 'inference.models_max', from: 4, to: 3 },
    ]);
    expect(change.overridden).toEqual([]);
    expect(applied).toEqual([one.config]);
    expect(one.config).toMatchObject({ streaming: { queue_size: 8 }, inference: { workers: 0, models_max: 4 } });
    expect(Object.isFrozen(one.config.streaming)).toBe(true);
    expect(one.state.origins.get('streaming.queue_size')).toBe('strategy memory');
    expect(one.state.origins.get('inference.workers')).toBe('default');
    expect(one.state.needsRestart).toEqual(change.needsRestart);
  });

  test('gives way to the file, the environment and flags, and tells so; a pin beats them', () => {
    const folder = mkdtempSync(join(tmpdir(), 'sightline-coordinator-'));
    const file = join(folder, 'c.yaml');
    writeFileSync(file, 'streaming: { queue_size: 11 }\n');
    const one = coordinator({
      file,
      env: { HOME: '/h', SIGHTLINE_STREAMING__RESULTS_HISTORY: '99' },
      flags: { 'performance.max_memory_usage': 4000 },
    });
    // The file is read once: what it says later is for the next start.
    rmSync(folder, { recursive: true });
    expect(one.change({ strategy: 'memory' }).overridden).toEqual([
      { path: 'streaming.queue_size', value: 8, layer: 'strategy memory', by: `${file} line 1` },
      {
        path: 'streaming.results_history',
        value: 64,
        layer: 'strategy memory',
        by: 'environment SIGHTLINE_STREAMING__RESULTS_HISTORY',
      },
      { path: 'performance.max_memory_usage', value: 2048, layer: 'strategy memory', by: 'flag' },
    ]);
    expect(one.config.streaming).toMatchObject({ queue_size: 11, results_history: 99 });
    const pinned = one.change({ settings: { 'streaming.queue_size': 5 } });
    expect(pinned.newSessions).toEqual([{ path: 'streaming.queue_size', from: 11, to: 5 }]);
    expect(one.state.origins.get('streaming.queue_size')).toBe('set at run time');
    expect(one.change({ settings: { 'streaming.queue_size': null } }).newSessions).toEqual([
      { path: 'streaming.queue_size', from: 5, to: 11 },
    ]);
  });

  test('let go of, it is what the flags say again', () => {
    const one = coordinator({ flags: { 'performance.strategy': 'latency', 'performance.profile': 'high_capacity' } });
    one.change({ strategy: 'aggressive', profile: 'none' });
    expect(one.config.performance).toMatchObject({ strategy: 'aggressive', target_latency_ms: 30, stability_s: 5 });
    expect(one.config.performance.profile).toBeUndefined();
    expect(one.state.pins).toEqual(
      new Map<string, unknown>([
        ['performance.strategy', 'aggressive'],
        ['performance.profile', undefined],
      ]),
    );
    one.change({ strategy: null, profile: null });
    expect(one.config.performance).toMatchObject({ strategy: 'latency', profile: 'high_capacity', stability_s: 10 });
    expect(one.state.pins.size).toBe(0);
    expect(one.config).toEqual(
      loadConfig({
        env: { HOME: '/h' },
        flags: { 'performance.strategy': 'latency', 'performance.profile': 'high_capacity' },
      }),
    );
  });
});

describe('an entry at run time', () => {
  const NIGHT = { streaming: { max_fps: 10, default_fps: 10 } };
  const put = (name: string, value: Record<string, unknown> | null = NIGHT): ConfigRequest => ({
    entry: { section: 'profiles', name, value },
  });

  test('is set, chosen, changed while it is in force, and taken away', () => {
    const applied: Config[] = [];
    const one = coordinator({}, (config) => applied.push(config));
    expect(one.change(put('night')).atOnce).toEqual([{ path: 'profiles.night', from: undefined, to: NIGHT }]);
    expect(one.config.streaming.max_fps).toBe(30);
    expect(keysOf(one.change({ profile: 'night' }).atOnce)).toEqual([
      'streaming.max_fps',
      'streaming.default_fps',
      'performance.profile',
    ]);
    const changed = one.change(put('night', { ...NIGHT, inference: { workers: 3 } }));
    expect(keysOf(changed.atOnce)).toEqual(['profiles.night']);
    expect(changed.needsRestart).toEqual([{ path: 'inference.workers', from: 0, to: 3 }]);
    const fewer = one.change(put('night', { streaming: { max_fps: 20 } }));
    expect(fewer.atOnce).toContainEqual({ path: 'streaming.default_fps', from: 10, to: 15 });
    expect(one.config.streaming).toMatchObject({ max_fps: 20, default_fps: 15 });
    expect(applied.at(-1)).toBe(one.config);
    expect(one.state.origins.get('streaming.max_fps')).toBe('profile night');
    expect(one.state.origins.get('profiles.night.streaming.max_fps')).toBe('set at run time');
    // It is in use.
    expect(refusal(() => one.change(put('night', null)))).toMatchObject({
      code: 'CONFIG_VALUE_BAD',
      message: expect.stringContaining('performance.profile must be one of'),
    });
    one.change({ profile: null });
    expect(one.change(put('night', null)).atOnce).toEqual([
      { path: 'profiles.night', from: { streaming: { max_fps: 20 } }, to: undefined },
    ]);
    expect(one.state.pins.size).toBe(0);
  });

  test('takes the place of the file’s as a whole, until it is let go of', () => {
    const folder = mkdtempSync(join(tmpdir(), 'sightline-coordinator-'));
    const file = join(folder, 'c.yaml');
    writeFileSync(file, 'profiles: { night: { video: { width: 320 } } }\n');
    const one = coordinator({ file });
    rmSync(folder, { recursive: true });
    one.change(put('night'));
    expect(one.config.profiles['night']).toEqual(NIGHT);
    // A single key of it, on top.
    one.change({ settings: { 'profiles.night.streaming.window': 5 } });
    expect(one.config.profiles['night']).toEqual({ streaming: { ...NIGHT.streaming, window: 5 } });
    one.change(put('night', null));
    expect(Object.hasOwn(one.config.profiles, 'night')).toBe(false);
    expect(one.state.pins).toEqual(new Map([['profiles.night', undefined]]));
    expect(refusal(() => one.change(put('night', null))).code).toBe('CONFIG_ENTRY_UNKNOWN');
    one.change({ settings: { 'profiles.night': null } });
    expect(one.config.profiles['night']).toEqual({ video: { width: 320 } });
    one.change({ settings: { 'profiles.night.video.height': 240 } });
    expect(one.config.profiles['night']).toEqual({ video: { width: 320, height: 240 } });
    one.change({ settings: { 'profiles.night.video.height': null } });
    expect(one.state.pins.size).toBe(0);
  });

  test('of a built-in profile comes back when it is let go of', () => {
    const one = coordinator();
    one.change(put('high_capacity', {}));
    expect(one.config.profiles['high_capacity']).toEqual({});
    one.change(put('high_capacity', null));
    expect(Object.keys(one.config.profiles)).toEqual(['high_performance']);
    one.change({ settings: { 'profiles.high_capacity': null } });
    expect(one.config.profiles).toEqual(PROFILES);
  });

  test('names that come and go leave nothing behind', () => {
    const one = coordinator();
    for (let i = 0; i < 5; i++) {
      one.change(put(`p${i}`));
      one.change(put(`p${i}`, null));
    }
    expect(one.state.pins.size).toBe(0);
  });

  test.each<[string, ConfigRequest, string, string]>([
    [
      'a section that is none',
      { entry: { section: 'profils', name: 'a', value: {} } },
      'CONFIG_KEY_UNKNOWN',
      'profiles?',
    ],
    ['a section of keys', { entry: { section: 'server', name: 'port', value: {} } }, 'CONFIG_KEY_UNKNOWN', '"server"'],
    ['a bad name', put('Night'), 'CONFIG_KEY_UNKNOWN', '"Night": a name has'],
    ['__proto__', put('__proto__'), 'CONFIG_KEY_UNKNOWN', '"__proto__"'],
    ['constructor', put('constructor'), 'CONFIG_KEY_UNKNOWN', 'constructor'],
    ['constructor, to be taken away', put('constructor', null), 'CONFIG_ENTRY_UNKNOWN', 'constructor'],
    ['a name that is a path', put('a.video.width'), 'CONFIG_KEY_UNKNOWN', 'does not end in a key'],
    ['one that is not there', put('nobody', null), 'CONFIG_ENTRY_UNKNOWN', 'profiles has no entry "nobody"'],
    ['one that was never set, let go of', { settings: { 'profiles.nobody': null } }, 'CONFIG_ENTRY_UNKNOWN', 'nobody'],
    ['an unknown key', put('a', { video: { widht: 9 } }), 'CONFIG_KEY_UNKNOWN', 'did you mean profiles.a.video.width?'],
    ['a bad value', put('a', { video: { width: 9 } }), 'CONFIG_VALUE_BAD', 'profiles.a.video.width must be'],
    ['a scalar for a section', put('a', { video: 9 }), 'CONFIG_VALUE_BAD', 'profiles.a.video must be a section'],
    ['what the server must not be', put('high_capacity', { streaming: { max_fps: 5 } }), 'CONFIG_CONTRADICTION', '(5)'],
    [
      'one good and one bad',
      { ...put('a'), settings: { 'streaming.window': 1 } },
      'CONFIG_VALUE_BAD',
      'streaming.window',
    ],
  ])('%s is refused and changes nothing', (_, request, code, words) => {
    let applied = 0;
    const one = coordinator({ flags: { 'performance.profile': 'high_capacity' } }, () => applied++);
    const before = one.config;
    expect(refusal(() => one.change(request))).toMatchObject({ code, message: expect.stringContaining(words) });
    expect(one.config).toBe(before);
    expect([one.state.pins.size, applied]).toEqual([0, 0]);
  });

  test('so is one too many', () => {
    const one = coordinator();
    for (let i = 2; i < 64; i++) one.change(put(`p${i}`, {}));
    expect(refusal(() => one.change(put('one-more', {})))).toMatchObject({
      code: 'CONFIG_VALUE_BAD',
      message: 'profiles: it has more than 64 entries',
    });
    expect(Object.keys(one.config.profiles)).toHaveLength(64);
  });
});

describe('what is refused changes nothing', () => {
  test.each<[string, ConfigRequest, string, string]>([
    ['an unknown key', { settings: { 'streaming.queue_sise': 3 } }, 'CONFIG_KEY_UNKNOWN', 'streaming.queue_size?'],
    ['an unknown key let go of', { settings: { nonsense: null } }, 'CONFIG_KEY_UNKNOWN', 'nonsense'],
    ['a key of an object', { settings: { constructor: 1 } }, 'CONFIG_KEY_UNKNOWN', 'constructor'],
    ['a key of the start', { settings: { 'server.port': 1 } }, 'CONFIG_KEY_FIXED', 'performance.stability_s'],
    ['the same let go of', { settings: { 'server.port': null } }, 'CONFIG_KEY_FIXED', 'server.port'],
    ['a wrong type', { settings: { 'streaming.max_fps': '20' } }, 'CONFIG_VALUE_BAD', '"20"'],
    ['a value out of range', { settings: { 'performance.stability_s': -1 } }, 'CONFIG_VALUE_BAD', '-1'],
    ['no number', { settings: { 'performance.stability_s': NaN } }, 'CONFIG_VALUE_BAD', 'NaN'],
    [
      'two that contradict each other',
      { settings: { 'streaming.max_fps': 10 } },
      'CONFIG_CONTRADICTION',
      'streaming.default_fps (15)',
    ],
    [
      'one good and one bad',
      { strategy: 'latency', settings: { 'performance.stability_s': 1, 'streaming.window': 1 } },
      'CONFIG_VALUE_BAD',
      'streaming.window',
    ],
  ])('%s', (_, request, code, words) => {
    let applied = 0;
    const one = coordinator({}, () => applied++);
    const before = one.config;
    const error = refusal(() => one.change(request));
    expect(error).toMatchObject({ code, message: expect.stringContaining(words) });
    expect(one.config).toBe(before);
    expect(one.state.pins.size).toBe(0);
    expect(applied).toBe(0);
  });

  test('also what whoever it concerns refuses', () => {
    const one = coordinator({}, ({ performance }) => {
      if (performance.strategy === 'memory') throw new SightlineError('CONFIG_VALUE_BAD', 'not with me');
    });
    one.change({ strategy: 'latency' });
    expect(refusal(() => one.change({ strategy: 'memory', settings: { 'streaming.window': 9 } })).message).toBe(
      'not with me',
    );
    expect(one.config.performance.strategy).toBe('latency');
    expect(one.change({}).atOnce).toEqual([]);
    expect(one.config.streaming.window).toBe(2);
  });
});

test('a configuration that a program made itself is all its own', () => {
  const config = loadConfig({ env: { HOME: '/h' } });
  const own = { ...config, streaming: { ...config.streaming, queue_size: 7 } };
  const one = new ConfigCoordinator(own, () => {});
  const { overridden } = one.change({ strategy: 'latency' });
  expect(overridden).toContainEqual({
    path: 'streaming.queue_size',
    value: 4,
    layer: 'strategy latency',
    by: 'program',
  });
  expect(one.config.streaming.queue_size).toBe(7);
});

test('whatever is chosen in whatever order: the last choice counts, and what needs a start stays', () => {
  const strategies = [...Object.keys(STRATEGIES), null] as (keyof typeof STRATEGIES | null)[];
  const profiles = [...Object.keys(PROFILES), 'none', null] as (string | null)[];
  const step = fc.record({ strategy: fc.constantFrom(...strategies), profile: fc.constantFrom(...profiles) });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 8 }), (steps) => {
      const one = coordinator();
      const started = one.config;
      for (const request of steps) one.change(request);
      const { strategy, profile } = steps.at(-1)!;
      const fresh = loadConfig({
        env: { HOME: '/h' },
        flags: {
          'performance.strategy': strategy ?? undefined,
          'performance.profile': profile === 'none' ? undefined : (profile ?? undefined),
        },
      });
      for (const { path, steps, applies } of CONFIG_KEYS.values()) {
        expect(valueAt(one.config, steps), path).toEqual(valueAt(applies === 'restart' ? started : fresh, steps));
      }
      expect(one.config.inference).toEqual(started.inference);
    }),
    { numRuns: 60 },
  );
});
