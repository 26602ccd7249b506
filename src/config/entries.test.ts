import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { SightlineError } from '../base/errors.ts';
import { CONFIG_KEYS, ENTRY_SECTIONS, nodeOf, placeAt } from './keys.ts';
import { loadConfig, resolveConfig, type LoadOptions } from './load.ts';
import { PROFILES } from './profiles.ts';

/** Named entries, by the profiles. */

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-entries-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
function file(text: string): string {
  const path = join(folder, `${++files}.yaml`);
  writeFileSync(path, text);
  return path;
}

function refusal(options: LoadOptions): SightlineError {
  try {
    loadConfig(options);
  } catch (thrown) {
    if (thrown instanceof SightlineError) return thrown;
    throw thrown;
  }
  throw new Error('the configuration was taken');
}

const NIGHT = `
profiles:
  night:
    streaming:
      max_fps: 10
      default_fps: 10
    video: { width: 480 }
`;

describe('a profile of one’s own', () => {
  test('may be written in pieces, and each key tells where it came from', () => {
    const path = file(NIGHT);
    const { config, origins } = resolveConfig({
      file: path,
      env: { SIGHTLINE_PROFILES__NIGHT__VIDEO__WIDTH: '320', sightline_profiles__night__VIDEO__HEIGHT: '240' },
      flags: { 'profiles.night.performance.ladder': 'modes', 'profiles.night.streaming.default_fps': 8 },
    });
    expect(config.profiles['night']).toEqual({
      streaming: { max_fps: 10, default_fps: 8 },
      video: { width: 320, height: 240 },
      performance: { ladder: ['modes'] },
    });
    expect(Object.fromEntries([...origins].filter(([key]) => key.startsWith('profiles.night.')))).toEqual({
      'profiles.night.streaming.max_fps': `${path} line 5`,
      'profiles.night.streaming.default_fps': 'flag',
      'profiles.night.video.width': 'environment SIGHTLINE_PROFILES__NIGHT__VIDEO__WIDTH',
      'profiles.night.video.height': 'environment sightline_profiles__night__VIDEO__HEIGHT',
      'profiles.night.performance.ladder': 'flag',
    });
    expect(Object.isFrozen(config.profiles['night']!.streaming)).toBe(true);
    // Nobody has chosen it.
    expect(config.streaming.max_fps).toBe(30);
  });

  test('that is chosen beats the strategy, and gives way to what is set itself', () => {
    const { config, origins, overridden } = resolveConfig({
      file: file(`${NIGHT}    performance: { target_latency_ms: 90 }\nvideo: { width: 800 }\n`),
      flags: { 'performance.strategy': 'aggressive', 'performance.profile': 'night' },
    });
    expect(config.streaming).toMatchObject({ max_fps: 10, default_fps: 10, queue_size: 2 });
    expect(config.performance.target_latency_ms).toBe(90);
    expect(config.video).toMatchObject({ width: 800, height: 360 });
    expect(origins.get('streaming.max_fps')).toBe('profile night');
    expect(overridden).toContainEqual({
      path: 'video.width',
      value: 480,
      layer: 'profile night',
      by: origins.get('video.width'),
    });
  });

  test('may choose the strategy that it stands on', () => {
    const path = file('profiles: { small: { performance: { strategy: memory }, inference: { workers: 2 } } }');
    const flags = { 'performance.profile': 'small' };
    const { config, origins } = resolveConfig({ file: path, flags });
    expect(config.performance.strategy).toBe('memory');
    expect(config.inference).toMatchObject({ workers: 2, models_max: 3 });
    expect(origins.get('inference.models_max')).toBe('strategy memory');
    const own = loadConfig({ file: path, flags: { ...flags, 'performance.strategy': 'latency' } });
    expect(own).toMatchObject({ performance: { strategy: 'latency' }, inference: { workers: 2, models_max: 4 } });
  });

  test('stands beside the built-in ones, whose keys may be set otherwise', () => {
    expect(loadConfig().profiles).toEqual(PROFILES);
    const { profiles, streaming, inference } = loadConfig({
      flags: { 'profiles.high_capacity.streaming.queue_size': '7', 'performance.profile': 'high_capacity' },
    });
    expect(Object.keys(profiles)).toEqual(Object.keys(PROFILES));
    expect(streaming.queue_size).toBe(7);
    expect(inference.batch_max).toBe(20);
  });

  test.each(['10', '1.50', '0x1f', '1e3', 'null', 'true', 'a.b', 'a-b_c', 'x.streaming', 'n'.repeat(64)])(
    'may be called %s',
    (name) => {
      const path = file(`profiles:\n  ${name}:\n    log: { level: warn }\n`);
      const { config, origins } = resolveConfig({
        file: path,
        flags: { 'performance.profile': name, [`profiles.${name}.video.width`]: 320 },
      });
      expect(config.profiles[name]).toEqual({ log: { level: 'warn' }, video: { width: 320 } });
      expect(config).toMatchObject({ log: { level: 'warn' }, video: { width: 320 } });
      expect(origins.get(`profiles.${name}.log.level`)).toBe(`${path} line 3`);
    },
  );

  test('may set nothing', () => {
    for (const text of ['profiles:\n  bare:\n', 'profiles: { bare: {} }', 'profiles: { bare: { video: } }']) {
      const config = loadConfig({ file: file(text), flags: { 'performance.profile': 'bare' } });
      expect([config.profiles['bare'], config.video.width]).toEqual([{}, 640]);
    }
    expect(loadConfig({ file: file('profiles:\n') }).profiles).toEqual(PROFILES);
  });

  test('given as a whole by a program', () => {
    const night = { streaming: { max_fps: 12, default_fps: 12 } };
    const { profiles } = loadConfig({ flags: { 'profiles.night': night } });
    expect(profiles['night']).toEqual(night);
    expect(profiles['night']).not.toBe(night);
  });
});

describe('what is refused', () => {
  test.each([
    [
      'a key that does not exist, by its whole path',
      'profiles:\n  night:\n    streaming: { max_fsp: 10 }\n',
      'CONFIG_KEY_UNKNOWN',
      /"profiles\.night\.streaming\.max_fsp" \(.* line 3\), did you mean profiles\.night\.streaming\.max_fps\?/,
    ],
    [
      'a key in a wrong section',
      'profiles: { night: { streaming: { quality: 10 } } }',
      'CONFIG_KEY_UNKNOWN',
      /did you mean profiles\.night\.video\.quality\?/,
    ],
    [
      'a section that does not exist',
      'profiles: { night: { vidio: {} } }',
      'CONFIG_KEY_UNKNOWN',
      /"profiles\.night\.vidio"/,
    ],
    [
      'a profile in a profile',
      'profiles: { a: { performance: { profile: b } } }',
      'CONFIG_KEY_UNKNOWN',
      /profiles\.a\.perf/,
    ],
    [
      'profiles in a profile',
      'profiles: { a: { profiles: { b: {} } } }',
      'CONFIG_KEY_UNKNOWN',
      /"profiles\.a\.profiles"/,
    ],
    [
      'a value out of range',
      'profiles: { a: { video: { width: 3 } } }',
      'CONFIG_VALUE_BAD',
      /profiles\.a\.video\.width must be/,
    ],
    [
      'a scalar for an entry',
      'profiles: { a: 5 }',
      'CONFIG_VALUE_BAD',
      /profiles\.a must be a section with keys, not 5/,
    ],
    ['a list for an entry', 'profiles: { a: [1] }', 'CONFIG_VALUE_BAD', /profiles\.a must be a section/],
    [
      'a scalar for its section',
      'profiles: { a: { video: x } }',
      'CONFIG_VALUE_BAD',
      /profiles\.a\.video must be a section/,
    ],
    ['a list of entries', 'profiles: [a]', 'CONFIG_VALUE_BAD', /profiles must be a section/],
    ['the same name twice', 'profiles:\n  a: {}\n  a: {}\n', 'CONFIG_UNREADABLE', /unique/],
    [
      'a capital letter',
      'profiles: { Night: {} }',
      'CONFIG_KEY_UNKNOWN',
      /"profiles\.Night" .*a name has 1 to 64 characters/,
    ],
    ['a name too long', `profiles: { ${'n'.repeat(65)}: {} }`, 'CONFIG_KEY_UNKNOWN', /a name has 1 to 64/],
    ['no name', 'profiles: { "": {} }', 'CONFIG_KEY_UNKNOWN', /a name has/],
    ['a name with a slash', 'profiles: { a/b: {} }', 'CONFIG_KEY_UNKNOWN', /a name has/],
    ['a name that is a path', 'profiles: { a.video.width: {} }', 'CONFIG_KEY_UNKNOWN', /a name does not end in a key/],
    ['none', 'profiles: { none: {} }', 'CONFIG_KEY_UNKNOWN', /cannot be called none/],
    ['constructor', 'profiles: { constructor: { polluted: 1 } }', 'CONFIG_KEY_UNKNOWN', /cannot be called constructor/],
    ['__proto__ as a name', 'profiles: { __proto__: { polluted: 1 } }', 'CONFIG_KEY_UNKNOWN', /__proto__/],
    ['__proto__ in an entry', 'profiles: { a: { __proto__: { polluted: 1 } } }', 'CONFIG_KEY_UNKNOWN', /__proto__/],
    [
      '__proto__ in its section',
      'profiles: { a: { video: { __proto__: 1 } } }',
      'CONFIG_KEY_UNKNOWN',
      /video\.__proto__/,
    ],
  ])('%s', (_, text, code, message) => {
    const error = refusal({ file: file(text) });
    expect(error.message).toMatch(message);
    expect(error.code).toBe(code);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  test.each([
    ['profiles.night', '5', 'CONFIG_VALUE_BAD', /profiles\.night must be a section with keys, not "5" \(flag\)/],
    ['profiles.night', ['a'], 'CONFIG_VALUE_BAD', /must be a section/],
    ['profiles.night', { streaming: { window: 1 } }, 'CONFIG_VALUE_BAD', /profiles\.night\.streaming\.window must be/],
    ['profiles.night.video', '5', 'CONFIG_KEY_UNKNOWN', /"profiles\.night\.video"/],
    ['profiles.night.video.widht', '5', 'CONFIG_KEY_UNKNOWN', /did you mean profiles\.night\.video\.width\?/],
    ['profiles', 'night', 'CONFIG_KEY_UNKNOWN', /there is no setting "profiles" \(flag\)$/],
    ['profiles.', 'x', 'CONFIG_KEY_UNKNOWN', /a name has/],
    ['profiles.NIGHT.video.width', 'x', 'CONFIG_KEY_UNKNOWN', /a name has/],
    ['profiles.__proto__.video.width', '100', 'CONFIG_KEY_UNKNOWN', /a name has/],
    [
      'performance.profile',
      'nigth',
      'CONFIG_VALUE_BAD',
      /one of high_performance, high_capacity, not "nigth" \(flag\)$/,
    ],
    ['performance.profile', 'high_capacty', 'CONFIG_VALUE_BAD', /did you mean high_capacity\?/],
    ['performance.profile', 'none', 'CONFIG_VALUE_BAD', /performance\.profile must be one of/],
  ])('the flag %s %o', (path, value, code, message) => {
    const error = refusal({ flags: { [path]: value } });
    expect(error.message).toMatch(message);
    expect(error.code).toBe(code);
  });

  test('one entry too many, out of whatever it comes', () => {
    const many = (count: number) => Array.from({ length: count }, (_, i) => `  p${i}: {}\n`).join('');
    const { entriesMax } = ENTRY_SECTIONS.get('profiles')!;
    const full = file(`profiles:\n${many(entriesMax - 2)}`);
    expect(Object.keys(loadConfig({ file: full }).profiles)).toHaveLength(entriesMax);
    const more = `it has more than ${entriesMax} entries`;
    expect(refusal({ file: full, flags: { 'profiles.one.video.width': 99 } })).toMatchObject({
      code: 'CONFIG_VALUE_BAD',
      message: `profiles: ${more}`,
    });
    expect(refusal({ file: file(`profiles:\n${many(100)}`) }).message).toContain('profiles has more than 64 entries');
  });

  test('a great many out of one, by aliases', () => {
    const aliases = (count: number) => Array.from({ length: count }, (_, i) => `  p${i}: *a\n`).join('');
    const text = (count: number) => `profiles:\n  a: &a { video: { width: 100 } }\n${aliases(count)}`;
    expect(loadConfig({ file: file(text(61)) }).profiles['p60']).toEqual({ video: { width: 100 } });
    expect(refusal({ file: file(text(99)) })).toMatchObject({ code: 'CONFIG_VALUE_BAD' });
    expect(refusal({ file: file(text(200)) })).toMatchObject({
      code: 'CONFIG_UNREADABLE',
      message: expect.stringContaining('more than 100 aliases'),
    });
  });

  test('a profile that contradicts what stands beside it, once it is chosen', () => {
    const path = file('profiles: { slow: { streaming: { max_fps: 10 } } }');
    expect(loadConfig({ file: path }).streaming.max_fps).toBe(30);
    expect(refusal({ file: path, flags: { 'performance.profile': 'slow' } })).toMatchObject({
      code: 'CONFIG_CONTRADICTION',
      message: expect.stringContaining('streaming.max_fps (10)'),
    });
  });

  test('whatever an entry holds, the answer is a configuration or a configuration error (property)', () => {
    const name = fc.oneof(
      fc.constantFrom('night', 'a.b', '__proto__', 'constructor', 'none', 'x.video.width'),
      fc.string(),
    );
    const inner = fc.constantFrom(...[...CONFIG_KEYS.keys()].map((key) => `.${key}`), '', '.video', '.toString');
    fc.assert(
      fc.property(name, inner, fc.anything({ withNullPrototype: true }), (entry, key, value) => {
        const path = `profiles.${entry}${key}`;
        try {
          const config = loadConfig({ flags: Object.fromEntries([[path, value]]) });
          expect(Object.isFrozen(config.profiles)).toBe(true);
          expect(Object.keys(config.profiles).length).toBeLessThanOrEqual(3);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(SightlineError);
          expect((thrown as SightlineError).code).toMatch(/^CONFIG_/);
        }
        expect(Object.getOwnPropertyNames(Object.prototype)).not.toContain('video');
      }),
      { numRuns: 300 },
    );
  });
});

describe('the tree of a schema', () => {
  test('sections in sections, and entries in sections', () => {
    const schema = z.strictObject({
      outer: z.strictObject({
        plain: z.int().min(0).max(9).default(1),
        inner: z.strictObject({ deep: z.boolean().default(true) }),
        rows: z
          .record(z.string(), z.strictObject({ at: z.strictObject({ x: z.int().min(0).max(1) }) }))
          .meta({ entriesMax: 3 }),
      }),
    });
    const root = nodeOf(schema);
    const outer = root.kind === 'section' ? root.children.get('outer') : undefined;
    if (outer?.kind !== 'section') throw new Error('it is no section');
    const inner = outer.children.get('inner');
    expect(inner).toMatchObject({ kind: 'section' });
    expect(inner?.kind === 'section' && inner.children.get('deep')).toMatchObject({
      key: { path: 'outer.inner.deep', kind: 'boolean', defaultValue: true },
    });
    const rows = outer.children.get('rows');
    expect(rows).toMatchObject({ kind: 'entries', path: 'outer.rows', entriesMax: 3, defaultValue: {} });
    expect(rows?.kind === 'entries' && [...rows.keys]).toMatchObject([
      ['at.x', { path: 'outer.rows.*.at.x', kind: 'integer' }],
    ]);
  });

  test('entries in entries, or entries that are no sections, cannot be', () => {
    const row = z.strictObject({ x: z.int() });
    const rows = z.record(z.string(), row).meta({ entriesMax: 1 });
    expect(() => nodeOf(z.strictObject({ a: z.record(z.string(), z.strictObject({ rows })) }))).toThrow(TypeError);
    expect(() => nodeOf(z.strictObject({ a: z.record(z.string(), z.int()) }))).toThrow(TypeError);
  });

  test('no key of an entry ends in another one, so that a path has one meaning', () => {
    for (const { keys } of ENTRY_SECTIONS.values()) {
      for (const path of keys.keys()) {
        const tails = path.split('.').map((_, i, steps) => steps.slice(i + 1).join('.'));
        expect(
          tails.filter((tail) => keys.has(tail)),
          path,
        ).toEqual([]);
      }
    }
  });

  test('a path is split behind the shortest name', () => {
    expect(placeAt('profiles.a.b.video.width')).toMatchObject({
      steps: ['profiles', 'a.b', 'video', 'width'],
      entry: { name: 'a.b', path: 'profiles.a.b' },
    });
    expect(placeAt('profiles.a.video')).toMatchObject({ key: undefined, entry: { name: 'a.video' } });
    expect(placeAt('profiles.a.video.width.video.width')).toBeUndefined();
  });
});
