import { readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { isAlias, isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import type { Document, Node, Pair, YAMLMap } from 'yaml';
import type { z } from 'zod';
import { SightlineError } from '../base/errors.ts';
import type { ErrorCode } from '../base/errors.ts';
import { PROFILES } from './profiles.ts';
import { CONFIG_KEYS, configSchema } from './schema.ts';
import type { Config, ConfigKey } from './schema.ts';
import { STRATEGIES } from './strategies.ts';
import { suggest } from './suggest.ts';

export interface LoadOptions {
  /** YAML file. Not given: no file is read. */
  readonly file?: string | undefined;
  /** `SIGHTLINE_SECTION__KEY`, and what the default cache folder hangs on. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Dotted key → text or value; `undefined` counts as not given. */
  readonly flags?: Readonly<Record<string, unknown>>;
}

/** The effective configuration, and for each key where its value came from, in words. */
export interface ResolvedConfig {
  readonly config: Config;
  readonly origins: ReadonlyMap<string, string>;
  /** What the strategy and the profile would have set, and something else has set otherwise. */
  readonly overridden: readonly OverriddenSetting[];
}

export interface OverriddenSetting {
  readonly path: string;
  /** What the strategy or the profile says. */
  readonly value: unknown;
  /** `strategy latency`. */
  readonly layer: string;
  /** Where the value in force came from. */
  readonly by: string;
}

/** One value on its way in. */
interface Setting {
  readonly path: string;
  readonly value: unknown;
  readonly origin: string;
}

/** The size of a configuration is a few kB; a file of more than this is something else. */
const FILE_BYTES_MAX = 262_144;
/** Uses of YAML aliases (also nested) in one file; the usual bomb needs millions. */
const ALIASES_MAX = 100;
const VALUE_SHOWN_CHARS_MAX = 60;
/** Of one list. */
const FAULTS_SHOWN_MAX = 5;
const PIN_ORIGIN = 'set at run time';

/**
 * The configuration of this process: defaults < strategy < profile < file < environment < flags, checked and frozen.
 * Errors: CONFIG_UNREADABLE, CONFIG_KEY_UNKNOWN, CONFIG_VALUE_BAD, CONFIG_CONTRADICTION, ADDRESS_NEEDS_CREDENTIALS.
 */
export function loadConfig(options: LoadOptions = {}): Config {
  return resolveConfig(options).config;
}

/** As `loadConfig`, with the origin of each value. */
export function resolveConfig(options: LoadOptions = {}): ResolvedConfig {
  return ConfigSources.read(options).resolve();
}

/** What each configuration was made from, so that a server that was given one can resolve it anew. */
const SOURCES = new WeakMap<Config, ConfigSources>();

/** What a configuration is made from, read once: the same file may say something else later. */
export class ConfigSources {
  readonly #defaults: ReadonlyMap<string, Setting>;
  /** Of the file, the environment and the flags, by path. */
  readonly #own: ReadonlyMap<string, Setting>;

  private constructor(defaults: ReadonlyMap<string, Setting>, own: ReadonlyMap<string, Setting>) {
    this.#defaults = defaults;
    this.#own = own;
  }

  /** Errors: CONFIG_UNREADABLE, CONFIG_KEY_UNKNOWN, CONFIG_VALUE_BAD. */
  static read(options: LoadOptions = {}): ConfigSources {
    const env = options.env ?? {};
    const given = [
      ...(options.file === undefined ? [] : fileSettings(options.file)),
      ...envSettings(env),
      ...flagSettings(options.flags ?? {}),
    ];
    return new ConfigSources(new Map(defaultSettings(env)), collect(given));
  }

  /** What `config` was made from. One that a program has put together itself is all its own: no strategy changes it. */
  static of(config: Config): ConfigSources {
    const own = [...CONFIG_KEYS.values()].map((key) => ({
      path: key.path,
      value: configValue(config, key),
      origin: 'program',
    }));
    return SOURCES.get(config) ?? new ConfigSources(new Map(), collect(own));
  }

  /**
   * `pins` beat everything else, by dotted key; one that is `undefined` takes the value away that the file, the environment or a
   * flag gives. Errors: CONFIG_KEY_UNKNOWN, CONFIG_VALUE_BAD, CONFIG_CONTRADICTION, ADDRESS_NEEDS_CREDENTIALS.
   */
  resolve(pins: ReadonlyMap<string, unknown> = new Map()): ResolvedConfig {
    const pinned = collect([...pins].map(([path, value]) => ({ path, value, origin: PIN_ORIGIN })));
    const own = new Map([...this.#own, ...pinned].filter(([path]) => !pins.has(path) || pinned.has(path)));
    const strategy = (own.get('performance.strategy')?.value ?? 'balanced') as keyof typeof STRATEGIES;
    const profile = own.get('performance.profile')?.value as keyof typeof PROFILES | undefined;
    const layers = [
      ...overlay(STRATEGIES[strategy], `strategy ${strategy}`),
      ...(profile === undefined ? [] : overlay(PROFILES[profile], `profile ${profile}`)),
    ];
    const effective = new Map([...this.#defaults, ...layers, ...own]);
    const config = buildConfig([...effective].map(([path, { value }]) => [path, value]));
    SOURCES.set(config, this);
    check(config);
    return {
      config,
      origins: new Map([...effective].map(([path, setting]) => [path, setting.origin])),
      overridden: layers.flatMap(([path, { value, origin }]) => {
        const inForce = effective.get(path)!;
        if (isDeepStrictEqual(inForce.value, value)) return [];
        return [{ path, value, layer: origin, by: inForce.origin }];
      }),
    };
  }
}

/** Of one key; `undefined`: not set. */
export function configValue(config: Config, key: ConfigKey): unknown {
  return (config[key.section as keyof Config] as Readonly<Record<string, unknown>>)[key.name];
}

/** A frozen configuration of these values, by path, which must be valid. */
export function buildConfig(values: Iterable<readonly [path: string, value: unknown]>): Config {
  const sections = Object.fromEntries(
    Object.keys(configSchema.shape).map((section) => [section, {} as Record<string, unknown>]),
  );
  for (const [path, value] of values) {
    const key = CONFIG_KEYS.get(path)!;
    sections[key.section]![key.name] = structuredClone(value);
  }
  return deepFreeze(configSchema.parse(sections));
}

function check(config: Config): void {
  const problems = new Problems();
  for (const contradiction of contradictions(config)) problems.add('CONFIG_CONTRADICTION', contradiction);
  problems.throwIfAny();
  if (isLoopback(config.server.host)) return;
  throw new SightlineError(
    'ADDRESS_NEEDS_CREDENTIALS',
    `server.host ${config.server.host} can be reached from other machines, and this version has no credentials: ` +
      'use 127.0.0.1, ::1 or localhost, with a proxy that asks for credentials in front',
  );
}

/** Everything that is wrong is told at once: nobody likes to mend a file line by line. */
class Problems {
  readonly #found: { code: ErrorCode; message: string }[] = [];

  add(code: ErrorCode, message: string): void {
    this.#found.push({ code, message });
  }

  throwIfAny(): void {
    const [first] = this.#found;
    if (first === undefined) return;
    throw new SightlineError(first.code, this.#found.map((problem) => problem.message).join('; '));
  }
}

/** Settings by path; of several for one path the last stands. Errors: CONFIG_KEY_UNKNOWN, CONFIG_VALUE_BAD, all in one. */
function collect(settings: readonly Setting[]): Map<string, Setting> {
  const problems = new Problems();
  const collected = new Map<string, Setting>();
  for (const setting of settings) {
    const key = CONFIG_KEYS.get(setting.path);
    if (key === undefined) {
      problems.add('CONFIG_KEY_UNKNOWN', unknownKey(setting));
      continue;
    }
    const parsed = key.schema.safeParse(setting.value);
    if (!parsed.success) {
      problems.add('CONFIG_VALUE_BAD', badValue(key, setting, parsed.error.issues));
    } else if (parsed.data === undefined) {
      collected.delete(setting.path);
    } else {
      collected.set(setting.path, { ...setting, value: parsed.data });
    }
  }
  problems.throwIfAny();
  return collected;
}

function unknownKey({ path, origin }: Setting): string {
  const name = path.slice(path.lastIndexOf('.') + 1);
  // A right key in the wrong section is as common as a misspelt one.
  const elsewhere = [...CONFIG_KEYS.values()].find((key) => key.name === name);
  const meant = elsewhere?.path ?? suggest(path, [...CONFIG_KEYS.keys(), ...Object.keys(configSchema.shape)]);
  const hint = meant === undefined ? '' : `, did you mean ${meant}?`;
  return `there is no setting ${shown(path)} (${origin})${hint}`;
}

function badValue(key: ConfigKey, { value, origin }: Setting, issues: readonly z.core.$ZodIssue[]): string {
  // Where a key has rules of its own, they tell more than what is allowed in general.
  const own = issues.filter(({ code }) => code === 'custom');
  if (own.length > 0 && own.length === issues.length) {
    const faults = own
      .slice(0, FAULTS_SHOWN_MAX)
      .map(({ path, message }) => `${shown(path.reduce<unknown>(inside, value))}: ${message}`);
    return `${key.path} has ${faults.join('; ')} (${origin})`;
  }
  return `${key.path} must be ${article(key.allowed)}, not ${shown(value)} (${origin})`;
}

function inside(value: unknown, key: PropertyKey): unknown {
  return (value as Readonly<Record<PropertyKey, unknown>> | undefined)?.[key];
}

function article(allowed: string): string {
  return /^(one|true|text)/.test(allowed) ? allowed : `a ${allowed}`;
}

/** A value as it may stand in a message: short, on one line, without control characters. */
function shown(value: unknown): string {
  const json = typeof value === 'bigint' ? String(value) : (JSON.stringify(plain(value)) ?? String(value));
  return json.length > VALUE_SHOWN_CHARS_MAX ? `${json.slice(0, VALUE_SHOWN_CHARS_MAX)}…` : json;
}

/** JSON has no word for infinity and the like; here `null` would mislead. */
function plain(value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
}

function defaultSettings(env: Readonly<Record<string, string | undefined>>): [string, Setting][] {
  const settings: [string, Setting][] = [];
  for (const key of CONFIG_KEYS.values()) {
    const value = key.path === 'models.cache_dir' ? defaultCacheDir(env) : key.defaultValue;
    if (value !== undefined) settings.push([key.path, { path: key.path, value, origin: 'default' }]);
  }
  return settings;
}

function overlay(layer: Readonly<Record<string, unknown>>, origin: string): [string, Setting][] {
  return Object.entries(layer).map(([path, value]) => [path, { path, value, origin }]);
}

/** XDG Base Directory Specification 0.8; on Windows the local application data. */
function defaultCacheDir(env: Readonly<Record<string, string | undefined>>): string {
  const base = env['XDG_CACHE_HOME'] || env['LOCALAPPDATA'];
  if (base !== undefined && base !== '') return join(base, 'sightline');
  return join(env['HOME'] || homedir(), '.cache', 'sightline');
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  for (const inner of Object.values(value)) deepFreeze(inner);
  return Object.freeze(value);
}

/** Values that are each allowed and cannot stand together. */
function contradictions(config: Config): string[] {
  const found: string[] = [];
  const atMost = (low: string, lowValue: number, high: string, highValue: number): void => {
    if (lowValue > highValue) found.push(`${low} (${lowValue}) is more than ${high} (${highValue})`);
  };
  const { server, streaming } = config;
  atMost('streaming.default_fps', streaming.default_fps, 'streaming.max_fps', streaming.max_fps);
  atMost('streaming.pong_timeout_s', streaming.pong_timeout_s, 'streaming.ping_interval_s', streaming.ping_interval_s);
  atMost('server.header_timeout_ms', server.header_timeout_ms, 'server.request_timeout_ms', server.request_timeout_ms);
  return found;
}

/** Whether only this machine can reach the address. */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase().replace(/^\[(.*)\]$/, '$1');
  return name === 'localhost' || name === '::1' || /^127(\.\d{1,3}){3}$/.test(name);
}

/**
 * `SIGHTLINE_SERVER__PORT`: the two underscores tell our variables from others that begin with the name, such as those
 * that Kubernetes makes for a service called sightline (`SIGHTLINE_PORT`).
 */
function envSettings(env: Readonly<Record<string, string | undefined>>): Setting[] {
  const settings = new Map<string, Setting>();
  for (const [name, value] of Object.entries(env)) {
    const match = /^SIGHTLINE_([^_].*?)__(.+)$/i.exec(name);
    if (match === null || value === undefined) continue;
    const path = `${match[1]}.${match[2]}`.toLowerCase().replaceAll('__', '.');
    const earlier = settings.get(path);
    if (earlier !== undefined && earlier.value !== fromText(path, value)) {
      throw new SightlineError('CONFIG_CONTRADICTION', `${path} is set twice: ${earlier.origin} and ${name}`);
    }
    settings.set(path, { path, value: fromText(path, value), origin: `environment ${name}` });
  }
  return [...settings.values()];
}

function flagSettings(flags: Readonly<Record<string, unknown>>): Setting[] {
  return Object.entries(flags)
    .filter(([, value]) => value !== undefined)
    .map(([path, value]) => ({
      path,
      value: typeof value === 'string' ? fromText(path, value) : value,
      origin: 'flag',
    }));
}

/** Text as the key's type; what does not read as such stays text and is refused with its own words. */
function fromText(path: string, text: string): unknown {
  switch (CONFIG_KEYS.get(path)?.kind) {
    case 'integer':
    case 'number':
      return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text.trim()) ? Number(text) : text;
    case 'boolean': {
      const word = text.trim().toLowerCase();
      if (['true', '1', 'yes', 'on'].includes(word)) return true;
      return ['false', '0', 'no', 'off'].includes(word) ? false : text;
    }
    case 'list':
      return text.trim() === '' ? [] : text.split(',').map((item) => item.trim());
    default:
      return text;
  }
}

function fileSettings(file: string): Setting[] {
  const text = readText(file);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const [error] = document.errors;
  if (error !== undefined) throw unreadable(file, error.message.split('\n')[0]!.replace(/:$/, ''));
  try {
    return documentSettings(document, file, lines);
  } catch (thrown) {
    // Too many aliases, or one without its anchor.
    if (thrown instanceof ReferenceError) throw unreadable(file, thrown.message);
    throw thrown;
  }
}

function readText(file: string): string {
  try {
    const stat = statSync(file);
    if (!stat.isFile()) throw unreadable(file, 'it is not a file');
    if (stat.size > FILE_BYTES_MAX) throw unreadable(file, `${stat.size} bytes are more than ${FILE_BYTES_MAX}`);
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file));
  } catch (thrown) {
    if (thrown instanceof SightlineError) throw thrown;
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw unreadable(file, 'there is no such file');
    if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') throw unreadable(file, 'it is not UTF-8 text');
    throw unreadable(file, thrown instanceof Error ? thrown.message : String(thrown));
  }
}

function unreadable(file: string, why: string): SightlineError {
  return new SightlineError('CONFIG_UNREADABLE', `the configuration ${file} cannot be read: ${why}`);
}

function documentSettings(document: Document, file: string, lines: LineCounter): Setting[] {
  const root = resolved(document.contents as Node | null, document);
  if (isEmpty(root)) return [];
  if (!isMap(root)) throw unreadable(file, 'the top must be sections with keys');
  const settings: Setting[] = [];
  for (const sectionPair of root.items as Pair<Node, Node | null>[]) {
    const section = keyText(sectionPair);
    const origin = at(sectionPair, file, lines);
    const body = resolved(sectionPair.value, document);
    if (!Object.hasOwn(configSchema.shape, section)) {
      settings.push({ path: section, value: undefined, origin });
    } else if (isMap(body)) {
      settings.push(...sectionSettings(section, body, document, file, lines));
    } else if (!isEmpty(body)) {
      throw new SightlineError(
        'CONFIG_VALUE_BAD',
        `${section} must be a section with keys, not ${shown(body.toJS(document, { maxAliasCount: ALIASES_MAX }))} (${origin})`,
      );
    }
  }
  return settings;
}

function sectionSettings(
  section: string,
  body: YAMLMap,
  document: Document,
  file: string,
  lines: LineCounter,
): Setting[] {
  return (body.items as Pair<Node, Node | null>[]).map((pair) => {
    // Maps stay maps: a plain object would let `__proto__` and the like act.
    const raw: unknown = pair.value?.toJS(document, { maxAliasCount: ALIASES_MAX, mapAsMap: true });
    // An empty value is a value that is not set, where a key may be so.
    const path = `${section}.${keyText(pair)}`;
    const value = raw === null && CONFIG_KEYS.get(path)?.optional === true ? undefined : raw;
    return { path, value, origin: at(pair, file, lines) };
  });
}

function resolved(node: Node | null, document: Document): Node | null {
  return isAlias(node) ? (node.resolve(document) ?? null) : node;
}

/** `key:` with nothing behind it. */
function isEmpty(node: Node | null): node is null {
  return node === null || (isScalar(node) && node.value === null);
}

function keyText(pair: Pair<Node, unknown>): string {
  return isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
}

function at(pair: Pair<Node, unknown>, file: string, lines: LineCounter): string {
  const offset = pair.key.range?.[0];
  return offset === undefined ? file : `${file} line ${lines.linePos(offset).line}`;
}
