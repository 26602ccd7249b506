import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SightlineError } from '../base/errors.ts';
import { loadConfig, resolveConfig } from './load.ts';
import type { LoadOptions } from './load.ts';
import { PROFILES } from './profiles.ts';
import { CONFIG_KEYS } from './keys.ts';
import { STRATEGIES } from './strategies.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-config-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
function file(text: string | Uint8Array): string {
  const path = join(folder, `${++files}.yaml`);
  writeFileSync(path, text);
  return path;
}

/** The error of a configuration that must be refused. */
function refusal(options: LoadOptions): SightlineError {
  try {
    loadConfig(options);
  } catch (thrown) {
    if (thrown instanceof SightlineError) return thrown;
    throw thrown;
  }
  throw new Error('the configuration was taken');
}

describe('defaults', () => {
  test('are those of the contract', () => {
    const config = loadConfig();
    expect(config.server).toMatchObject({ host: '127.0.0.1', port: 8080, max_connections: 1000 });
    expect(config.streaming).toMatchObject({ max_fps: 30, default_fps: 15, queue_size: 25, session_timeout_s: 300 });
    expect(config.video).toEqual({ quality: 50, width: 640, height: 480, fps: 30 });
    expect(config.performance).toMatchObject({ adaptive_quality: true, target_latency_ms: 75, max_cpu_usage: 80 });
    expect(config.performance.max_memory_usage).toBe(8192);
    expect(config.hands).toEqual({
      model_complexity: 0,
      min_detection_confidence: 0.5,
      min_tracking_confidence: 0.5,
      max_hands: 2,
      smoothing: true,
    });
  });

  test('leave thresholds to the model', () => {
    expect(loadConfig().detection).toEqual({ model: 'ssd-oidv4' });
  });

  test.each([
    [{ XDG_CACHE_HOME: '/c', HOME: '/h' }, '/c/sightline'],
    [{ LOCALAPPDATA: '/l', HOME: '/h' }, '/l/sightline'],
    [{ HOME: '/h' }, '/h/.cache/sightline'],
    [{ XDG_CACHE_HOME: '', HOME: '/h' }, '/h/.cache/sightline'],
  ])('the cache of %o is %s', (env, expected) => {
    expect(loadConfig({ env }).models.cache_dir).toBe(expected);
  });

  test('every one is valid by its own schema', () => {
    const withDefault = [...CONFIG_KEYS.values()].filter((key) => key.defaultValue !== undefined);
    for (const key of withDefault) expect(key.schema.parse(key.defaultValue)).toEqual(key.defaultValue);
  });

  test('the result is frozen to its depth', () => {
    const config = loadConfig();
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.inference.providers)).toBe(true);
    expect(() => Object.assign(config.server, { port: 1 })).toThrow(TypeError);
  });

  test('lists are not shared between two configurations', () => {
    expect(loadConfig().server.allowed_hosts).not.toBe(loadConfig().server.allowed_hosts);
  });
});

describe('precedence', () => {
  test('defaults < strategy < profile < file < environment < flags', () => {
    const path = file('streaming:\n  queue_size: 11\n  results_history: 111\n  max_fps: 21\n');
    const { config, origins } = resolveConfig({
      file: path,
      env: { SIGHTLINE_STREAMING__RESULTS_HISTORY: '222', SIGHTLINE_STREAMING__MAX_FPS: '22' },
      flags: {
        'streaming.max_fps': '23',
        'performance.strategy': 'memory',
        'performance.profile': 'high_capacity',
      },
    });
    expect(config.inference.workers).toBe(1);
    expect(origins.get('inference.workers')).toBe('strategy memory');
    expect(config.streaming.send_buffer_bytes_max).toBe(524_288);
    expect(origins.get('streaming.send_buffer_bytes_max')).toBe('profile high_capacity');
    expect(config.streaming.queue_size).toBe(11);
    expect(origins.get('streaming.queue_size')).toBe(`${path} line 2`);
    expect(config.streaming.results_history).toBe(222);
    expect(origins.get('streaming.results_history')).toBe('environment SIGHTLINE_STREAMING__RESULTS_HISTORY');
    expect(config.streaming.max_fps).toBe(23);
    expect(origins.get('streaming.max_fps')).toBe('flag');
    expect(origins.get('server.port')).toBe('default');
  });

  test('a strategy in the file gives way to a key in the same file', () => {
    const path = file('performance: { strategy: latency }\nstreaming: { queue_size: 25 }');
    expect(loadConfig({ file: path }).streaming).toMatchObject({ queue_size: 25, window: 2 });
  });

  test('a flag that is undefined was not given', () => {
    expect(loadConfig({ flags: { 'server.port': undefined } }).server.port).toBe(8080);
  });

  test.each(Object.keys(STRATEGIES))('strategy %s is in range with every profile', (strategy) => {
    for (const profile of [undefined, ...Object.keys(PROFILES)]) {
      const flags = { 'performance.strategy': strategy, 'performance.profile': profile };
      expect(loadConfig({ flags }).performance.strategy).toBe(strategy);
    }
  });

  test('strategies name settings that exist, with values that are allowed', () => {
    for (const layer of Object.values(STRATEGIES)) {
      for (const [path, value] of Object.entries(layer)) {
        expect(CONFIG_KEYS.get(path)?.schema.safeParse(value).success, path).toBe(true);
      }
    }
  });
});

describe('the environment', () => {
  test('is read whatever its case, by the type of each key', () => {
    const config = loadConfig({
      env: {
        sightline_server__PORT: '9000',
        SIGHTLINE_INFERENCE__WARM_UP: 'off',
        SIGHTLINE_INFERENCE__PROVIDERS: 'cuda, cpu',
        SIGHTLINE_SERVER__ALLOWED_HOSTS: '',
        SIGHTLINE_STREAMING__PING_INTERVAL_S: '12.5',
        SIGHTLINE_DETECTION__MODEL: '0123',
      },
    });
    expect(config.server).toMatchObject({ port: 9000, allowed_hosts: [] });
    expect(config.inference).toMatchObject({ warm_up: false, providers: ['cuda', 'cpu'] });
    expect(config.streaming.ping_interval_s).toBe(12.5);
    expect(config.detection.model).toBe('0123');
  });

  test('may hold variables of others that begin alike', () => {
    const env = { SIGHTLINE_PORT: 'tcp://10.0.0.1:8080', SIGHTLINE_SERVICE_HOST: '10.0.0.1', SIGHTLINE_DEBUG: '1' };
    expect(loadConfig({ env }).server.port).toBe(8080);
  });

  test.each([
    [{ SIGHTLINE_SERVER__PROT: '1' }, 'CONFIG_KEY_UNKNOWN', /server\.prot.*SIGHTLINE_SERVER__PROT.*server\.port\?/],
    [{ SIGHTLINE_A__B__C: '1' }, 'CONFIG_KEY_UNKNOWN', /"a\.b\.c"/],
    [{ SIGHTLINE_SERVER__PORT: '' }, 'CONFIG_VALUE_BAD', /server\.port .*whole number from 0 to 65535, not ""/],
    [{ SIGHTLINE_SERVER__PORT: '0x50' }, 'CONFIG_VALUE_BAD', /not "0x50"/],
    [{ SIGHTLINE_SERVER__PORT: 'Infinity' }, 'CONFIG_VALUE_BAD', /not "Infinity"/],
    [{ SIGHTLINE_SERVER__PORT: '1e9' }, 'CONFIG_VALUE_BAD', /not 1000000000/],
    [{ SIGHTLINE_INFERENCE__WARM_UP: 'maybe' }, 'CONFIG_VALUE_BAD', /true or false, not "maybe"/],
    [{ SIGHTLINE_SERVER__PORT: '1', sightline_server__port: '2' }, 'CONFIG_CONTRADICTION', /server\.port is set twice/],
  ])('%o is refused', (env, code, message) => {
    expect(refusal({ env: env as LoadOptions['env'] & {} })).toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
  });
});

describe('values', () => {
  test.each([
    ['streaming.max_fps', 61],
    ['streaming.max_fps', 4],
    ['streaming.max_fps', 20.5],
    ['streaming.window', 1],
    ['server.port', -1],
    ['server.port', Number.NaN],
    ['server.host', ''],
    ['server.allowed_hosts', ['x', 3]],
    ['inference.hint', 'speed'],
    ['inference.providers', []],
    ['inference.providers', ['gpu']],
    ['inference.threads_per_worker', 65],
    ['detection.confidence_threshold', 1.01],
    ['inference.warm_up', 1],
    ['log.level', null],
    ['performance.strategy', '__proto__'],
    ['performance.profile', 'constructor'],
  ])('%s: %o is refused by name', (path, value) => {
    const error = refusal({ flags: { [path]: value } });
    expect(error.code).toBe('CONFIG_VALUE_BAD');
    expect(error.message).toContain(`${path} must be`);
  });

  test('a long one is shown in part', () => {
    expect(refusal({ flags: { 'log.level': 'x'.repeat(10_000) } }).message.length).toBeLessThan(300);
  });

  test.each(['__proto__', 'constructor', '__proto__.polluted', 'server.__proto__', 'server.toString', ''])(
    'the key "%s" does not exist',
    (path) => {
      expect(refusal({ flags: Object.fromEntries([[path, '1']]) }).code).toBe('CONFIG_KEY_UNKNOWN');
      expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    },
  );

  test('all mistakes are told at once', () => {
    const error = refusal({ flags: { 'server.port': -1, 'video.width': 0, 'log.levle': 'info' } });
    expect(error.code).toBe('CONFIG_VALUE_BAD');
    expect(error.message).toMatch(/server\.port.*video\.width.*log\.levle.*log\.level\?/);
  });

  test('a right key in a wrong section is found', () => {
    expect(refusal({ flags: { 'streaming.quality': 50 } }).message).toContain('did you mean video.quality?');
  });

  test('any number in range is taken as it is, any other refused (property)', () => {
    const numbers = [...CONFIG_KEYS.values()].filter((key) => key.kind === 'integer' || key.kind === 'number');
    fc.assert(
      fc.property(fc.constantFrom(...numbers), fc.double(), fc.boolean(), (key, real, round) => {
        const value = round ? Math.round(real) : real;
        const [low, high] = key.allowed.match(/-?[\d.]+/g)!.map(Number) as [number, number];
        const fits = value >= low && value <= high && (key.kind === 'number' || Number.isInteger(value));
        expect(key.schema.safeParse(value).success).toBe(fits);
      }),
    );
  });

  test('whatever a flag holds, the answer is a configuration or a configuration error (property)', () => {
    const path = fc.oneof(fc.constantFrom(...CONFIG_KEYS.keys()), fc.string());
    fc.assert(
      fc.property(path, fc.anything(), (key, value) => {
        try {
          expect(Object.isFrozen(loadConfig({ flags: Object.fromEntries([[key, value]]) }))).toBe(true);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(SightlineError);
          expect((thrown as SightlineError).code).toMatch(/^(CONFIG_|ADDRESS_NEEDS)/);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('contradictions', () => {
  test.each([
    [{ 'streaming.default_fps': 31 }, /streaming\.default_fps \(31\) is more than streaming\.max_fps \(30\)/],
    [{ 'streaming.pong_timeout_s': 21 }, /pong_timeout_s \(21\) is more than streaming\.ping_interval_s \(20\)/],
    [{ 'server.header_timeout_ms': 40_000 }, /header_timeout_ms \(40000\) is more than server\.request_timeout_ms/],
  ])('%o', (flags, message) => {
    expect(refusal({ flags })).toMatchObject({ code: 'CONFIG_CONTRADICTION', message: expect.stringMatching(message) });
  });
});

describe('the file', () => {
  test('may be empty, hold only comments, or sections without keys', () => {
    for (const text of ['', '# nothing\n', 'server:\nlog: {}\n', '---\n']) {
      expect(loadConfig({ file: file(text) }).server.port).toBe(8080);
    }
  });

  test('an optional key without a value is not set, another is refused', () => {
    expect(loadConfig({ file: file('detection:\n  iou_threshold:\n') }).detection).not.toHaveProperty('iou_threshold');
    expect(refusal({ file: file('server:\n  port:\n') }).message).toContain('server.port must be');
  });

  test('an anchor may be used', () => {
    const path = file('server:\n  allowed_hosts: &names [a, b]\nmodels:\n  manifests: *names\n');
    expect(loadConfig({ file: path }).models.manifests).toEqual(['a', 'b']);
  });

  test('origins and hosts are brought into the form of the headers, and those that could never match are refused by name', () => {
    const path = file('server:\n  allowed_origins: [HTTPS://A.example:443/]\n  allowed_hosts: [Cam.Example]\n');
    expect(loadConfig({ file: path }).server).toMatchObject({
      allowed_origins: ['https://a.example'],
      allowed_hosts: ['cam.example'],
    });
    const { message } = refusal({ flags: { 'server.allowed_origins': 'https://a.example,*,b.example' } });
    expect(message).toBe(
      'server.allowed_origins has "*": there are no wildcards: name every origin in full; "b.example": an origin begins with its scheme, such as https://b.example (flag)',
    );
    expect(refusal({ env: { SIGHTLINE_SERVER__ALLOWED_HOSTS: 'cam.example:80' } }).message).toContain(
      'server.allowed_hosts has "cam.example:80": a host has no port here, every port counts: write cam.example',
    );
  });

  test.each([
    [
      'an unknown key, with its line',
      'server:\n  port: 1\n  prot: 2\n',
      'CONFIG_KEY_UNKNOWN',
      /"server\.prot" \(.* line 3\), did you mean server\.port/,
    ],
    ['an unknown section', 'sever:\n  port: 1\n', 'CONFIG_KEY_UNKNOWN', /"sever" .* did you mean server\?/],
    ['a key at the top', 'port: 1\n', 'CONFIG_KEY_UNKNOWN', /"port" .* did you mean server\.port\?/],
    ['a list at the top', '- server\n', 'CONFIG_UNREADABLE', /sections with keys/],
    ['text at the top', 'hello', 'CONFIG_UNREADABLE', /sections with keys/],
    ['a section that is none', 'server: 8080\n', 'CONFIG_VALUE_BAD', /server must be a section with keys, not 8080/],
    ['text for a number', 'server:\n  port: "80"\n', 'CONFIG_VALUE_BAD', /server\.port .* not "80"/],
    ['yes for a boolean', 'inference:\n  warm_up: yes\n', 'CONFIG_VALUE_BAD', /warm_up .* not "yes"/],
    ['a map for a number', 'server:\n  port: { a: 1 }\n', 'CONFIG_VALUE_BAD', /server\.port/],
    ['the same key twice', 'server:\n  port: 1\n  port: 2\n', 'CONFIG_UNREADABLE', /unique.*line 3/],
    ['the same section twice', 'log:\n  level: info\nlog:\n', 'CONFIG_UNREADABLE', /unique/],
    ['two documents', 'log:\n---\nlog:\n', 'CONFIG_UNREADABLE', /multiple documents/],
    ['a bad indent', 'server:\n\tport: 1\n', 'CONFIG_UNREADABLE', /line 2/],
    ['an alias without an anchor', 'server:\n  port: *nowhere\n', 'CONFIG_UNREADABLE', /nowhere/],
    ['an unknown tag', 'server:\n  port: !!js/function "x"\n', 'CONFIG_VALUE_BAD', /server\.port/],
    ['a merge key', 'log: &l\n  level: info\nserver:\n  <<: *l\n', 'CONFIG_KEY_UNKNOWN', /server\.<</],
    ['__proto__ as a section', '__proto__:\n  polluted: 1\n', 'CONFIG_KEY_UNKNOWN', /__proto__/],
    ['__proto__ as a key', 'server:\n  __proto__: { polluted: 1 }\n', 'CONFIG_KEY_UNKNOWN', /server\.__proto__/],
    ['a map as a key', 'server:\n  ? { a: 1 }\n  : 2\n', 'CONFIG_KEY_UNKNOWN', /server\./],
    ['a number as a key', 'server:\n  1: 2\n', 'CONFIG_KEY_UNKNOWN', /server\.1/],
  ])('with %s is refused', (_, text, code, message) => {
    const error = refusal({ file: file(text) });
    expect(error.message).toMatch(message);
    expect(error.code).toBe(code);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  test('with a bomb of aliases is refused at once', () => {
    const levels = Array.from({ length: 26 }, (_, i) => {
      const name = String.fromCodePoint(97 + i);
      return i === 0
        ? `${name}: &${name} [x, x]`
        : `${name}: &${name} [${`*${String.fromCodePoint(96 + i)}, `.repeat(9)}]`;
    });
    const startMs = performance.now();
    const error = refusal({ file: file(`server:\n  ${levels.join('\n  ')}\n  allowed_hosts: *z\n`) });
    expect(error).toMatchObject({ code: 'CONFIG_UNREADABLE', message: expect.stringMatching(/alias/i) });
    expect(performance.now() - startMs).toBeLessThan(2000);
  });

  test('that is nested without end is refused', () => {
    expect(refusal({ file: file(`server: ${'['.repeat(50_000)}`) }).code).toBe('CONFIG_UNREADABLE');
  });

  test('that is huge, not text, a folder or missing is refused by name', () => {
    expect(refusal({ file: file('#'.repeat(300_000)) }).message).toMatch(/300000 bytes are more than 262144/);
    expect(refusal({ file: file(Uint8Array.of(0xff, 0xd8, 0xff, 0xe0)) }).message).toMatch(/not UTF-8/);
    expect(refusal({ file: folder }).message).toContain(`${folder} cannot be read: it is not a file`);
    expect(refusal({ file: join(folder, 'none.yaml') }).message).toMatch(/none\.yaml cannot be read: there is no such/);
    expect(refusal({ file: folder })).toMatchObject({ code: 'CONFIG_UNREADABLE' });
  });

  test('whatever it holds, the answer is a configuration or a configuration error (property)', () => {
    const line = fc.oneof(
      fc.constantFrom(
        'server:',
        '  port: 1',
        'a: &a',
        '*a',
        '? x',
        '- y',
        '"',
        '{',
        '  host: [',
        '%YAML 1.1',
        '--- !!map',
      ),
      fc.string({ maxLength: 20 }),
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 12 }), (text) => {
        try {
          expect(Object.isFrozen(loadConfig({ file: file(text.join('\n')) }))).toBe(true);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(SightlineError);
        }
      }),
      { numRuns: 200 },
    );
  });
});
