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
      { path: 'inference.models_max', from: 4, to: 2 },
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
