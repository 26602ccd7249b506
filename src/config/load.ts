import { readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { isAlias, isMap, isScalar, LineCounter, parseDocument, visit } from 'yaml';
import type { Document, Node, Pair } from 'yaml';
import type { z } from 'zod';
import { SightlineError } from '../base/errors.ts';
import type { ErrorCode } from '../base/errors.ts';
import { redactText } from '../log/redact.ts';
import { CONFIG_KEYS, CONFIG_ROOT, ENTRY_SECTIONS, nameFault, placeAt } from './keys.ts';
import type { ConfigKey, ConfigNode, EntryPlace } from './keys.ts';
import { configSchema } from './schema.ts';
import type { Config } from './schema.ts';
import { shownValue } from './secrets.ts';
import { STRATEGIES } from './strategies.ts';
import { suggest } from './suggest.ts';

export interface LoadOptions {
  /** YAML file. Not given: no file is read. */
  readonly file?: string | undefined;
  /** `SIGHTLINE_SECTION__KEY`, and the variables that decide the default cache folder. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Dotted key → text or value; `undefined` counts as not given. */
  readonly flags?: Readonly<Record<string, unknown>>;
}

/** The effective configuration, and the origin of each key's value, in words. */
export interface ResolvedConfig {
  readonly config: Config;
  readonly origins: ReadonlyMap<string, string>;
  /** Values of the strategy and the profile that something else overrides. */
  readonly overridden: readonly OverriddenSetting[];
}

export interface OverriddenSetting {
  readonly path: string;
  /** The value of the strategy or the profile. */
  readonly value: unknown;
  /** `strategy latency`. */
  readonly layer: string;
  /** Origin of the value in force. */
  readonly by: string;
}

/** One value before it is checked. */
interface Setting {
  readonly path: string;
  readonly steps: readonly string[];
  /** `undefined`: an entry as a whole, which may have no keys. */
  readonly key: ConfigKey | undefined;
  readonly entry: EntryPlace | undefined;
  readonly value: unknown;
  readonly origin: string;
}

/** One whose place is not known yet. */
interface Given {
  readonly path: string;
  readonly value: unknown;
  readonly origin: string;
}

/** The size of a configuration is a few kB; a file of more than this is something else. */
const FILE_BYTES_MAX = 262_144;
/** Uses of YAML aliases (also nested) in one file; the usual bomb needs millions. */
const ALIASES_MAX = 100;
const VALUE_SHOWN_CHARS_MAX = 60;
/** Most elements of one list. */
const FAULTS_SHOWN_MAX = 5;
const NAMES_SHOWN_MAX = 20;
const PIN_ORIGIN = 'set at run time';

/**
 * The configuration of this process: defaults < strategy < profile < file < environment < flags, checked and frozen.
 * Errors: CONFIG_UNREADABLE, CONFIG_KEY_UNKNOWN, CONFIG_VALUE_BAD, CONFIG_CONTRADICTION.
 */
export function loadConfig(options: LoadOptions = {}): Config {
  return resolveConfig(options).config;
}

/** As `loadConfig`, with the origin of each value. */
export function resolveConfig(options: LoadOptions = {}): ResolvedConfig {
  return ConfigSources.read(options).resolve();
}

/** The sources of each configuration, so that a server that was given one can resolve it anew. */
const SOURCES = new WeakMap<Config, ConfigSources>();

/** The sources of a configuration, read once: the same file may change later, and is read again by `reread`. */
export class ConfigSources {
  readonly #options: LoadOptions | undefined;
  readonly #defaults: ReadonlyMap<string, Setting>;
  /** Of the file, the environment and the flags, by path. */
  readonly #own: ReadonlyMap<string, Setting>;
  #entryPaths: ReadonlySet<string> | undefined;

  private constructor(
    defaults: ReadonlyMap<string, Setting>,
    own: ReadonlyMap<string, Setting>,
    options?: LoadOptions,
  ) {
    this.#options = options;
    this.#defaults = defaults;
    this.#own = own;
  }

  /** Errors: CONFIG_UNREADABLE, CONFIG_KEY_UNKNOWN, CONFIG_VALUE_BAD. */
  static read(options: LoadOptions = {}): ConfigSources {
    const env = options.env ?? {};
    const intake = new Intake();
    if (options.file !== undefined) readFile(options.file, intake);
    for (const given of [...envSettings(env), ...flagSettings(options.flags ?? {})]) intake.take(given);
    return new ConfigSources(defaultSettings(env), intake.settings(), options);
  }

  /** The sources of `config`. One that a program has put together itself is all its own: no strategy changes it. */
  static of(config: Config): ConfigSources {
    const known = SOURCES.get(config);
    if (known) return known;
    const intake = new Intake();
    intake.takeTree(CONFIG_ROOT, [], plainTree(config, 'program'));
    return new ConfigSources(new Map(), intake.settings());
  }

  /** As they are now. What a program has put together itself stays as it is. Errors: those of `read`. */
  reread(): ConfigSources {
    return this.#options === undefined ? this : ConfigSources.read(this.#options);
  }

  /** Whether the defaults, the file, the environment or a flag have the entry. */
  hasEntry(path: string): boolean {
    this.#entryPaths ??= new Set(
      [...this.#defaults.values(), ...this.#own.values()].flatMap(({ entry }) => entry?.path ?? []),
    );
    return this.#entryPaths.has(path);
  }

  /**
   * `pins` beat everything else, by dotted key; one that is `undefined` removes the value that the file, the environment or a
   * flag gives. A pin of an entry replaces the whole entry.
   * Errors: CONFIG_KEY_UNKNOWN, CONFIG_VALUE_BAD, CONFIG_CONTRADICTION.
   */
  resolve(pins: ReadonlyMap<string, unknown> = new Map()): ResolvedConfig {
    const intake = new Intake();
    for (const [path, value] of pins) intake.take({ path, value, origin: PIN_ORIGIN });
    const pinned = intake.settings();
    const isLeft = ([path, { entry }]: readonly [string, Setting]): boolean =>
      !pins.has(path) && !(entry && pins.has(entry.path));
    const defaults = [...this.#defaults].filter(isLeft);
    const own = new Map([...[...this.#own].filter(isLeft), ...pinned]);
    const layers = layersOf(own, new Map([...defaults, ...own]));
    const effective = new Map([...defaults, ...layers, ...own]);
    const config = buildConfig([...effective.values()].map(({ steps, value }) => [steps, value]));
    SOURCES.set(config, this);
    check(config);
    const keys = [...effective].filter(([, { key }]) => key !== undefined);
    return {
      config,
      origins: new Map(keys.map(([path, { origin }]) => [path, origin])),
      overridden: layers.flatMap(([path, { value, origin }]) => {
        const inForce = effective.get(path)!;
        if (isDeepStrictEqual(inForce.value, value)) return [];
        return [{ path, value, layer: origin, by: inForce.origin }];
      }),
    };
  }
}

/**
 * The values of strategy and profile, by the user's choice (`own`) among the profiles of `all`. A profile may choose the strategy,
 * which it beats. Throws CONFIG_VALUE_BAD where there is no such profile.
 */
function layersOf(own: ReadonlyMap<string, Setting>, all: ReadonlyMap<string, Setting>): [string, Setting][] {
  const chosen = own.get('performance.profile');
  const profile = chosen === undefined ? [] : profileLayer(chosen, [...all.values()]);
  const strategy =
    (own.get('performance.strategy') ?? new Map(profile).get('performance.strategy'))?.value ?? 'balanced';
  return [...overlay(STRATEGIES[strategy as keyof typeof STRATEGIES], `strategy ${strategy as string}`), ...profile];
}

function profileLayer({ value: chosen, origin }: Setting, all: readonly Setting[]): [string, Setting][] {
  const profiles = all.filter(({ entry }) => entry?.section.path === 'profiles');
  const settings = profiles.filter(({ entry }) => entry!.name === chosen);
  if (settings.length > 0) {
    const keys = settings.filter(({ key }) => key !== undefined);
    const layer = Object.fromEntries(keys.map(({ steps, value }) => [steps.slice(2).join('.'), value]));
    return overlay(layer, `profile ${chosen as string}`);
  }
  const names = [...new Set(profiles.map(({ entry }) => entry!.name))];
  const meant = suggest(chosen as string, names);
  const hint = meant === undefined ? '' : `, did you mean ${meant}?`;
  const some = `${names.slice(0, NAMES_SHOWN_MAX).join(', ')}${names.length > NAMES_SHOWN_MAX ? ', …' : ''}`;
  throw new SightlineError(
    'CONFIG_VALUE_BAD',
    `performance.profile must be one of ${some}, not ${shown(chosen)} (${origin})${hint}`,
  );
}

/** A frozen configuration of these values, by their places, each of which must be valid. Errors: CONFIG_VALUE_BAD. */
export function buildConfig(values: Iterable<readonly [steps: readonly string[], value: unknown]>): Config {
  const root = Object.fromEntries(Object.keys(configSchema.shape).map((section) => [section, {}]));
  for (const [steps, value] of values) put(root, steps, structuredClone(value));
  const parsed = configSchema.safeParse(root);
  if (parsed.success) return deepFreeze(parsed.data);
  const faults = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  throw new SightlineError('CONFIG_VALUE_BAD', faults.slice(0, FAULTS_SHOWN_MAX).join('; '));
}

/** No step is `__proto__` or the like: each is a key of the schema, or a name that was found fit. */
function put(root: Record<string, unknown>, steps: readonly string[], value: unknown): void {
  const last = steps.at(-1)!;
  let at = root;
  for (const step of steps.slice(0, -1)) at = (at[step] ??= {}) as Record<string, unknown>;
  // An entry as a whole stands before its keys or behind them.
  at[last] = isRecord(value) ? { ...value, ...(at[last] as object | undefined) } : value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function check(config: Config): void {
  const problems = new Problems();
  for (const contradiction of contradictions(config)) problems.add('CONFIG_CONTRADICTION', contradiction);
  problems.throwIfAny();
}

/** Reports all faults at once, since mending a file line by line is tedious. */
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

/** A value of any form: scalar, list, or a section with its content. */
interface Tree {
  /** Where it stands, in words. */
  readonly origin: string;
  readonly isEmpty: boolean;
  /** `undefined`: it is not a section. */
  readonly children: readonly (readonly [name: string, child: Tree])[] | undefined;
  value(): unknown;
}

function plainTree(value: unknown, origin: string): Tree {
  const isSection = isRecord(value);
  return {
    origin,
    isEmpty: value === undefined || value === null,
    children: isSection
      ? Object.entries(value).map(([name, child]) => [name, plainTree(child, origin)] as const)
      : undefined,
    value: () => value,
  };
}

/** Gathers settings by path, and all their faults; of several for one path the last stands. */
class Intake {
  readonly #problems = new Problems();
  readonly #taken = new Map<string, Setting>();

  /** Errors, all in one: CONFIG_KEY_UNKNOWN, CONFIG_VALUE_BAD. */
  settings(): ReadonlyMap<string, Setting> {
    this.#problems.throwIfAny();
    return this.#taken;
  }

  /** By its path, which is that of a key, or of an entry as a whole. */
  take(given: Given): void {
    const place = placeAt(given.path);
    if (place?.key) {
      this.#add({ ...given, ...place });
    } else if (place?.entry && given.value === undefined) {
      // It is removed: there is nothing to gather.
    } else if (place?.entry && (isRecord(given.value) || !place.entry.name.includes('.'))) {
      this.takeTree(place.entry.section.entry, place.steps, plainTree(given.value, given.origin), place.entry);
    } else {
      this.#problems.add('CONFIG_KEY_UNKNOWN', unknownKey(given));
    }
  }

  /** The content of a section, an entry or a key. */
  takeTree(node: ConfigNode, steps: readonly string[], tree: Tree, entry?: EntryPlace): void {
    const path = steps.join('.');
    const { origin } = tree;
    if (node.kind === 'key') {
      const raw = tree.value();
      // An empty value is a value that is not set, where a key may be so.
      const value = raw === null && node.key.optional ? undefined : raw;
      this.#add({ path, steps, key: node.key, entry, value, origin });
      return;
    }
    if (entry?.path === path) this.#taken.set(path, { path, steps, key: undefined, entry, value: {}, origin });
    if (tree.children === undefined) {
      if (!tree.isEmpty) this.#problems.add('CONFIG_VALUE_BAD', noSection(path, tree));
      return;
    }
    // Anchors and aliases make a great many of them out of a short file.
    if (node.kind === 'entries' && tree.children.length > node.entriesMax) {
      this.#problems.add('CONFIG_VALUE_BAD', `${path} has more than ${node.entriesMax} entries (${origin})`);
      return;
    }
    for (const [name, child] of tree.children) this.#takeChild(node, [...steps, name], child, entry);
  }

  #takeChild(
    node: Exclude<ConfigNode, { kind: 'key' }>,
    steps: readonly string[],
    child: Tree,
    entry: EntryPlace | undefined,
  ): void {
    const name = steps.at(-1)!;
    const path = steps.join('.');
    if (node.kind === 'section') {
      const inner = node.children.get(name);
      if (inner) this.takeTree(inner, steps, child, entry);
      else this.#problems.add('CONFIG_KEY_UNKNOWN', unknownKey({ path, origin: child.origin }));
      return;
    }
    const fault = nameFault(node, name);
    if (fault === undefined) this.takeTree(node.entry, steps, child, { section: node, name, path });
    else this.#problems.add('CONFIG_KEY_UNKNOWN', unknownKey({ path, origin: child.origin }, `: ${fault}`));
  }

  #add(setting: Setting): void {
    const parsed = setting.key!.schema.safeParse(setting.value);
    if (!parsed.success) {
      this.#problems.add('CONFIG_VALUE_BAD', badValue(setting, parsed.error.issues));
    } else if (parsed.data === undefined) {
      this.#taken.delete(setting.path);
    } else {
      this.#taken.set(setting.path, { ...setting, value: parsed.data });
    }
  }
}

function noSection(path: string, tree: Tree): string {
  return `${path} must be a section with keys, not ${shown(tree.value())} (${tree.origin})`;
}

function unknownKey({ path, origin }: Pick<Given, 'path' | 'origin'>, hint = hintFor(path)): string {
  return `there is no setting ${shown(path)} (${origin})${hint}`;
}

function hintFor(path: string): string {
  const { prefix, keys } = neighboursOf(path);
  if (typeof keys === 'string') return `: ${keys}`;
  // A right key in the wrong section is as common as a misspelt one.
  const name = path.slice(path.lastIndexOf('.') + 1);
  const elsewhere = [...keys].find(([, key]) => key.name === name)?.[0];
  const sections = prefix === '' ? [...CONFIG_ROOT.children.keys()].filter((section) => section !== path) : [];
  const meant = elsewhere ?? suggest(path.slice(prefix.length), [...keys.keys(), ...sections]);
  return meant === undefined ? '' : `, did you mean ${prefix}${meant}?`;
}

/** The keys beside it, by their paths behind `prefix`; or the fault of its entry's name. */
function neighboursOf(path: string): { prefix: string; keys: ReadonlyMap<string, ConfigKey> | string } {
  for (const section of ENTRY_SECTIONS.values()) {
    if (!path.startsWith(`${section.path}.`)) continue;
    const [name = ''] = path.slice(section.path.length + 1).split('.');
    const prefix = `${section.path}.${name}.`;
    return { prefix, keys: nameFault(section, name) ?? section.keys };
  }
  return { prefix: '', keys: CONFIG_KEYS };
}

function badValue({ path, key, value, origin }: Setting, issues: readonly z.core.$ZodIssue[]): string {
  // Where a key has rules of its own, they say more than the general ones.
  const own = issues.filter(({ code }) => code === 'custom');
  if (own.length > 0 && own.length === issues.length) {
    const faults = own
      .slice(0, FAULTS_SHOWN_MAX)
      .map((issue) => `${shown(issue.path.reduce<unknown>(inside, shownValue(path, value)))}: ${issue.message}`);
    return `${path} has ${faults.join('; ')} (${origin})`;
  }
  return `${path} must be ${article(key!.allowed)}, not ${shown(shownValue(path, value))} (${origin})`;
}

function inside(value: unknown, key: PropertyKey): unknown {
  return (value as Readonly<Record<PropertyKey, unknown>> | undefined)?.[key];
}

/** The allowed values of a key as the end of a sentence. */
export function article(allowed: string): string {
  return /^(one|true|text|the)/.test(allowed) ? allowed : `a ${allowed}`;
}

/** A value as it may stand in a message: short, on one line, without control characters. */
function shown(value: unknown): string {
  const whole = typeof value === 'bigint' ? String(value) : (JSON.stringify(plain(value)) ?? String(value));
  // Before it is cut: half of a secret is not known for one.
  const json = redactText(whole);
  return json.length > VALUE_SHOWN_CHARS_MAX ? `${json.slice(0, VALUE_SHOWN_CHARS_MAX)}…` : json;
}

/** JSON has no form for infinity and the like; here `null` would mislead. */
function plain(value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
}

function defaultSettings(env: Readonly<Record<string, string | undefined>>): ReadonlyMap<string, Setting> {
  const intake = new Intake();
  for (const { path, defaultValue } of CONFIG_KEYS.values()) {
    const given = traceDefault(path, env);
    if (given) intake.take(given);
    const value = folderDefault(path, env) ?? defaultValue;
    if (!given && value !== undefined) intake.take({ path, value, origin: 'default' });
  }
  for (const section of ENTRY_SECTIONS.values()) {
    intake.takeTree(section, section.steps, plainTree(section.defaultValue, 'default'));
  }
  return intake.settings();
}

function overlay(layer: Readonly<Record<string, unknown>>, origin: string): [string, Setting][] {
  return Object.entries(layer).map(([path, value]) => [path, { ...placeAt(path)!, value, origin }]);
}

/** XDG Base Directory Specification 0.8; on Windows the local application data. */
function folderDefault(path: string, env: Readonly<Record<string, string | undefined>>): string | undefined {
  const folder = (variable: string, ...home: string[]): string => {
    const base = env[variable] || env['LOCALAPPDATA'];
    return join(base ? base : join(env['HOME'] || homedir(), ...home), 'sightline');
  };
  if (path === 'models.cache_dir') return folder('XDG_CACHE_HOME', '.cache');
  if (path === 'auth.keys_file') return join(folder('XDG_DATA_HOME', '.local', 'share'), 'keys.json');
  if (path === 'store.file') return join(folder('XDG_DATA_HOME', '.local', 'share'), 'sightline.db');
  if (path === 'archive.folder') return join(folder('XDG_DATA_HOME', '.local', 'share'), 'recordings');
  if (path === 'server.tls.folder') return join(folder('XDG_DATA_HOME', '.local', 'share'), 'tls');
  return undefined;
}

/**
 * Variables by which programs of all kinds are told where their traces go: a setting of ours beats them.
 * https://opentelemetry.io/docs/specs/otel/protocol/exporter/
 */
function traceDefault(path: string, env: Readonly<Record<string, string | undefined>>): Given | undefined {
  const from = (name: string, read: (text: string) => unknown): Given | undefined => {
    const text = env[name]?.trim();
    return text ? { path, value: read(text), origin: `environment ${name}` } : undefined;
  };
  switch (path) {
    case 'observe.traces.endpoint':
      return (
        from('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', (text) => text) ??
        from('OTEL_EXPORTER_OTLP_ENDPOINT', (text) => `${text.replace(/\/+$/, '')}/v1/traces`)
      );
    case 'observe.traces.headers':
      return (
        from('OTEL_EXPORTER_OTLP_TRACES_HEADERS', traceHeaders) ?? from('OTEL_EXPORTER_OTLP_HEADERS', traceHeaders)
      );
    case 'observe.traces.service_name':
      return from('OTEL_SERVICE_NAME', (text) => text);
    default:
      return undefined;
  }
}

/** In the form of W3C Baggage: `name=value` with commas between, the values percent-encoded. */
function traceHeaders(text: string): string[] {
  return text.split(',').map((pair) => {
    try {
      return decodeURIComponent(pair.trim());
    } catch {
      return pair.trim();
    }
  });
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
  const { cert_file: certificate, key_file: key } = server.tls;
  if ((certificate === undefined) !== (key === undefined))
    found.push('server.tls needs cert_file and key_file together');
  const { udp_port_first: first, udp_port_last: last } = config.webrtc;
  if ((first === 0) !== (last === 0)) found.push('webrtc needs udp_port_first and udp_port_last together');
  atMost('webrtc.udp_port_first', first, 'webrtc.udp_port_last', last);
  const { jwks_url: jwks, issuer, audience } = config.auth.jwt;
  const given = [jwks, issuer, audience].filter((value) => value !== undefined).length;
  if (given > 0 && given < 3) found.push('auth.jwt needs jwks_url, issuer and audience together');
  for (const [key, url] of [
    ['auth.jwt.jwks_url', jwks],
    ['auth.callback_url', config.auth.callback_url],
    ['observe.traces.endpoint', config.observe.traces.endpoint],
    ['alerts.webhook_url', config.alerts.webhook_url],
    ['alerts.alertmanager_url', config.alerts.alertmanager_url],
  ] as const) {
    if (url !== undefined && !/^https?:$/.test(URL.parse(url)?.protocol ?? ''))
      found.push(`${key} is no http: or https: address`);
  }
  const { headers } = config.observe.traces;
  const badHeader = headers.findIndex((pair) => !/^[\w!#$%&'*+.^`|~-]+=[\t\x20-\x7e\x80-\xff]*$/.test(pair));
  // Its value may be a secret also where its form is wrong.
  if (badHeader >= 0) found.push(`observe.traces.headers: number ${badHeader + 1} is not name=value`);
  const { alerts } = config;
  const broker = alerts.mqtt_url;
  if (broker !== undefined && !/^(mqtts?|wss?):$/.test(URL.parse(broker)?.protocol ?? ''))
    found.push('alerts.mqtt_url is no mqtt:, mqtts:, ws: or wss: address');
  if (/[#+]/.test(alerts.mqtt_topic_prefix)) found.push('alerts.mqtt_topic_prefix has a wildcard in it');
  for (const name of ['latency', 'drops', 'cpu', 'memory'] as const) {
    const unit = name === 'latency' ? 'ms' : 'percent';
    const [warning, critical] = [`${name}_warning_${unit}`, `${name}_critical_${unit}`] as (keyof typeof alerts)[];
    atMost(`alerts.${warning}`, alerts[warning!] as number, `alerts.${critical}`, alerts[critical!] as number);
  }
  atMost('server.header_timeout_ms', server.header_timeout_ms, 'server.request_timeout_ms', server.request_timeout_ms);
  return found;
}

/**
 * `SIGHTLINE_SERVER__PORT`: the two underscores tell our variables from others that begin with the name, such as those
 * that Kubernetes makes for a service called sightline (`SIGHTLINE_PORT`).
 */
function envSettings(env: Readonly<Record<string, string | undefined>>): Given[] {
  const settings = new Map<string, Given>();
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

function flagSettings(flags: Readonly<Record<string, unknown>>): Given[] {
  return Object.entries(flags)
    .filter(([, value]) => value !== undefined)
    .map(([path, value]) => ({
      path,
      value: typeof value === 'string' ? fromText(path, value) : value,
      origin: 'flag',
    }));
}

/** Text as the key's type; text of another form stays text and is refused by the key's own check. */
function fromText(path: string, text: string): unknown {
  switch (placeAt(path)?.key?.kind) {
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

function readFile(file: string, intake: Intake): void {
  const text = readText(file);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const [error] = document.errors;
  if (error !== undefined) throw unreadable(file, error.message.split('\n')[0]!.replace(/:$/, ''));
  // Each is looked for in all of the file.
  let aliases = 0;
  visit(document, { Alias: () => (++aliases > ALIASES_MAX ? visit.BREAK : undefined) });
  if (aliases > ALIASES_MAX) throw unreadable(file, `it has more than ${ALIASES_MAX} aliases`);
  try {
    const top = new YamlTree(document.contents as Node | null, file, { document, file, lines });
    if (top.isEmpty) return;
    if (top.children === undefined) throw unreadable(file, 'the top must be sections with keys');
    intake.takeTree(CONFIG_ROOT, [], top);
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

interface YamlFile {
  readonly document: Document;
  readonly file: string;
  readonly lines: LineCounter;
}

class YamlTree implements Tree {
  readonly origin: string;
  /** An alias as it stands. */
  readonly #given: Node | null;
  readonly #node: Node | null;
  readonly #from: YamlFile;

  constructor(node: Node | null, origin: string, from: YamlFile) {
    this.#given = node;
    this.#node = isAlias(node) ? (node.resolve(from.document) ?? null) : node;
    this.origin = origin;
    this.#from = from;
  }

  /** `key:` with nothing behind it. */
  get isEmpty(): boolean {
    return this.#node === null || (isScalar(this.#node) && this.#node.value === null);
  }

  get children(): readonly (readonly [string, Tree])[] | undefined {
    if (!isMap(this.#node)) return undefined;
    return (this.#node.items as Pair<Node, Node | null>[]).map((pair) => {
      return [keyText(pair), new YamlTree(pair.value, at(pair, this.#from), this.#from)] as const;
    });
  }

  value(): unknown {
    // Maps stay maps: a plain object would let `__proto__` and the like act.
    return this.#given?.toJS(this.#from.document, { maxAliasCount: ALIASES_MAX, mapAsMap: true }) ?? null;
  }
}

/** As written: `1.50` is not a number there. */
function keyText({ key }: Pair<Node, unknown>): string {
  if (!isScalar(key)) return String(key);
  return typeof key.value === 'string' ? key.value : (key.source ?? String(key.value));
}

function at({ key }: Pair<Node, unknown>, { file, lines }: YamlFile): string {
  const offset = key.range?.[0];
  return offset === undefined ? file : `${file} line ${lines.linePos(offset).line}`;
}
