import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ConfigCoordinator } from './coordinator.ts';
import { loadConfig, resolveConfig, type LoadOptions } from './load.ts';
import { CAMERAS_MAX } from './schema.ts';
import { shownValue } from './secrets.ts';

/** The section `cameras`. */

const URL = 'rtsp://10.0.0.7/live';

function fileOf(text: string, use: (file: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'sightline-cameras-'));
  try {
    const file = join(folder, 'c.yaml');
    writeFileSync(file, text);
    use(file);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const refusal = (options: LoadOptions): unknown => {
  try {
    return loadConfig(options);
  } catch (thrown) {
    return thrown;
  }
};

test('a camera needs an address, and has defaults for all else', () => {
  fileOf(`cameras: { gate: { url: ${URL} }, north.1: { url: a.mp4, pipelines: [], class: low } }`, (file) => {
    const { config, origins } = resolveConfig({
      file,
      env: { SIGHTLINE_CAMERAS__GATE__TRANSPORT: 'udp', SIGHTLINE_CAMERAS__YARD__URL: 'http://cam/x' },
      flags: { 'cameras.gate.pipelines': 'objects,hands', 'cameras.gate.enabled': 'no' },
    });
    expect(config.cameras).toEqual({
      gate: {
        url: URL,
        enabled: false,
        transport: 'udp',
        class: 'normal',
        pipelines: ['objects', 'hands'],
        masks: [],
        record: 'off',
        record_labels: [],
        loop: true,
        pace: 'live',
      },
      'north.1': {
        url: 'a.mp4',
        enabled: true,
        transport: 'tcp',
        class: 'low',
        pipelines: [],
        masks: [],
        record: 'off',
        record_labels: [],
        loop: true,
        pace: 'live',
      },
      yard: expect.objectContaining({ url: 'http://cam/x' }),
    });
    expect(origins.get('cameras.yard.url')).toBe('environment SIGHTLINE_CAMERAS__YARD__URL');
    // A profile has no cameras of its own.
    expect(refusal({ file, flags: { 'profiles.night.cameras.gate.url': URL } })).toMatchObject({
      code: 'CONFIG_KEY_UNKNOWN',
    });
  });
});

describe('what is refused', () => {
  test.each([
    ['no address', 'cameras: { gate: { class: high } }', 'CONFIG_VALUE_BAD', /cameras\.gate\.url/],
    ['an odd scheme', 'cameras: { gate: { url: "concat:a|b" } }', 'CONFIG_VALUE_BAD', /begins with one of rtsp:/],
    ['an unknown key', 'cameras: { gate: { url: a, trasport: tcp } }', 'CONFIG_KEY_UNKNOWN', /gate\.transport\?/],
    ['an unknown class', 'cameras: { gate: { url: a, class: best } }', 'CONFIG_VALUE_BAD', /one of critical, high/],
    ['a pipeline twice', 'cameras: { gate: { url: a, pipelines: [hands, hands] } }', 'CONFIG_VALUE_BAD', /twice/],
    ['an unknown pipeline', 'cameras: { gate: { url: a, pipelines: [faces] } }', 'CONFIG_VALUE_BAD', /objects, hands/],
    ['a path for a name', 'cameras: { ../x: { url: a } }', 'CONFIG_KEY_UNKNOWN', /a name has 1 to 64/],
    ['dots for a name', 'cameras: { a..b: { url: a } }', 'CONFIG_KEY_UNKNOWN', /two dots/],
    ['dots alone for a name', 'cameras: { "..": { url: a } }', 'CONFIG_KEY_UNKNOWN', /a name has 1 to 64/],
    ['__proto__', 'cameras: { __proto__: { url: a } }', 'CONFIG_KEY_UNKNOWN', /a name has 1 to 64/],
    [
      'a mask of two points',
      'cameras: { gate: { url: a, masks: ["0,0 1,1"] } }',
      'CONFIG_VALUE_BAD',
      /cameras\.gate\.masks has "0,0 1,1": .*3 to 64/,
    ],
    [
      'a mask in pixels',
      'cameras: { gate: { url: a, masks: ["0,0 640,0 640,360"] } }',
      'CONFIG_VALUE_BAD',
      /gate\.masks .*too far/,
    ],
    [
      'masks that are none',
      'cameras: { gate: { url: a, masks: [[0, 0]] } }',
      'CONFIG_VALUE_BAD',
      /gate\.masks must be .*polygon of 3 to 64/,
    ],
    [
      'too many masks',
      `cameras: { gate: { url: a, masks: [${'"0,0 1,0 1,1",'.repeat(33)}] } }`,
      'CONFIG_VALUE_BAD',
      /at most 32/,
    ],
    ['a network that is none', 'fleet: { allowed_networks: [lan] }', 'CONFIG_VALUE_BAD', /not an address/],
  ])('%s', (_what, text, code, message) => {
    fileOf(text, (file) => {
      expect(refusal({ file })).toMatchObject({ code, message: expect.stringMatching(message) });
    });
  });

  test('masks are taken in one form, however they are written', () => {
    const flags = { 'cameras.gate.url': URL, 'cameras.gate.masks': '0 0 0.5 0 0.5 0.5, .5 .5 1 .5 1 2' };
    expect(loadConfig({ flags }).cameras['gate']!.masks).toEqual(['0,0 0.5,0 0.5,0.5', '0.5,0.5 1,0.5 1,2']);
  });

  test('one camera too many', () => {
    const flags = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`cameras.c${i}.url`, URL]));
    expect(Object.keys(loadConfig({ flags: flags(CAMERAS_MAX) }).cameras)).toHaveLength(CAMERAS_MAX);
    expect(refusal({ flags: flags(CAMERAS_MAX + 1) })).toMatchObject({ code: 'CONFIG_VALUE_BAD' });
  });
});

describe('user and password of an address', () => {
  const secret = 'rtsp://admin:hidden1@cam/user=hidden2_password=hidden3?token=hidden4&channel=1';

  test('are shown to nobody, whatever way they come', () => {
    const config = loadConfig({ flags: { 'cameras.gate.url': secret, 'cameras.a.b.url': secret } });
    expect(config.cameras['gate']!.url).toBe(secret);
    const shown = shownValue('', config);
    expect(JSON.stringify(shown)).not.toMatch(/hidden\d/);
    expect(shown.cameras['gate']!.url).toBe('rtsp://[redacted]@cam/user=[redacted]&channel=1');
    for (const value of [secret, 'admin:hidden1@cam', { deep: 'hidden1' }, [secret]]) {
      expect(JSON.stringify(shownValue('cameras.a.b.url', value))).not.toMatch(/hidden\d/);
      expect(JSON.stringify(shownValue('cameras.a.b', { url: value, class: 'low' }))).not.toMatch(/hidden\d/);
      expect(JSON.stringify(shownValue('cameras', { 'a.b': { url: value } }))).not.toMatch(/hidden\d/);
    }
  });

  test.each([
    ['rtsp//admin:hidden1@cam/live'],
    ['admin:hidden1@10.0.0.7:554/live'],
    ['ftp://admin:hidden1@cam/live'],
    ['rtsp://admin:hidden1#@cam/live'],
    [`rtsp://admin:hidden1@cam/${'x'.repeat(2_000)}`],
    [['rtsp://admin:hidden1@cam/live']],
    [{ a: 'hidden1' }],
  ])('are in no refusal: %j', (url) => {
    for (const flags of [{ 'cameras.gate.url': url }, { 'cameras.gate': { url } }]) {
      expect(refusal({ flags })).toMatchObject({
        code: 'CONFIG_VALUE_BAD',
        message: expect.not.stringMatching(/hidden\d/),
      });
    }
  });
});

describe('at run time', () => {
  const put = (name: string, value: Record<string, unknown> | null) => ({ section: 'cameras', name, value });

  test('a camera is added, changed and removed, each alone', () => {
    const coordinator = new ConfigCoordinator(loadConfig({ flags: { 'cameras.gate.url': URL } }), () => {});
    const before = coordinator.config.cameras['gate'];
    expect(coordinator.change({ entry: put('yard', { url: 'rtsp://y/1' }) }).atOnce).toEqual([
      { path: 'cameras.yard', from: undefined, to: expect.objectContaining({ url: 'rtsp://y/1', class: 'normal' }) },
    ]);
    expect(coordinator.change({ entry: put('yard', { url: 'rtsp://y/2' }) }).atOnce).toHaveLength(1);
    expect(coordinator.config.cameras['gate']).toEqual(before);
    expect(coordinator.change({ entry: put('gate', null) }).atOnce).toMatchObject([{ path: 'cameras.gate' }]);
    expect(Object.keys(coordinator.config.cameras)).toEqual(['yard']);
    expect(coordinator.change({ settings: { 'fleet.max_concurrent_streams': 7 } }).atOnce).toEqual([
      { path: 'fleet.max_concurrent_streams', from: 100, to: 7 },
    ]);
    expect(() => coordinator.change({ settings: { 'fleet.processes': 3 } })).toThrow(/cannot change while/);
  });

  test('many at once, all or none', () => {
    const coordinator = new ConfigCoordinator(loadConfig(), () => {});
    const many = Array.from({ length: 500 }, (_, i) => put(`c${i}`, { url: `rtsp://c/${i}` }));
    expect(coordinator.change({ entries: many }).atOnce).toHaveLength(500);
    const state = coordinator.state;
    const bad = [put('new', { url: URL }), put('c7', null), put('worse', { url: URL, class: 'best' })];
    expect(() => coordinator.change({ entries: bad })).toThrow(/cameras\.worse\.class/);
    expect(coordinator.state).toEqual(state);
    expect(() => coordinator.change({ entries: [put('nobody', null)] })).toThrow(/no entry "nobody"/);
  });
});
