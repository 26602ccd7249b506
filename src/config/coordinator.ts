import { isDeepStrictEqual } from 'node:util';
import { SightlineError } from '../base/errors.ts';
import { CONFIG_KEYS, ENTRY_SECTIONS, nameFault, placeAt, valueAt } from './keys.ts';
import { buildConfig, ConfigSources, type OverriddenSetting, type ResolvedConfig } from './load.ts';
import type { Applies, Config } from './schema.ts';
import type { STRATEGIES } from './strategies.ts';
import { suggest } from './suggest.ts';

const NAME_SHOWN_CHARS_MAX = 80;

/** A change at run time. Keys that are left out stay as they are; `null` undoes an earlier change. */
export interface ConfigRequest {
  readonly strategy?: keyof typeof STRATEGIES | null | undefined;
  /** `none`: no profile, whatever the file says. */
  readonly profile?: string | null | undefined;
  /** By dotted key. */
  readonly settings?: Readonly<Record<string, unknown>> | undefined;
  /** One named entry, which is set as a whole, or removed by `null`, whatever the file says. */
  readonly entry?: EntryRequest | undefined;
  /** Several, as one change. */
  readonly entries?: readonly EntryRequest[] | undefined;
}

export interface EntryRequest {
  /** `profiles`. */
  readonly section: string;
  readonly name: string;
  readonly value: Readonly<Record<string, unknown>> | null;
}

/** A key, or an entry as a whole. */
export interface ChangedSetting {
  readonly path: string;
  readonly from: unknown;
  readonly to: unknown;
}

/** `undefined` in a value: not set. */
export interface ConfigChange {
  /** In force now, for sessions that are open too. */
  readonly atOnce: readonly ChangedSetting[];
  /** In force now for sessions that begin from now on. */
  readonly newSessions: readonly ChangedSetting[];
  /** Not in force; a server started with this strategy and profile would have these values. */
  readonly needsRestart: readonly ChangedSetting[];
  readonly overridden: readonly OverriddenSetting[];
}

export interface ConfigState {
  /** In force. */
  readonly config: Config;
  readonly origins: ReadonlyMap<string, string>;
  /** Values set at run time, by key or entry; `undefined`: removed. */
  readonly pins: ReadonlyMap<string, unknown>;
  readonly needsRestart: readonly ChangedSetting[];
  readonly overridden: readonly OverriddenSetting[];
}

/**
 * The configuration of a running server: strategies, profiles and single settings change here and nowhere else. Each change is
 * resolved anew from all sources, checked as a whole, and applied as a whole or not at all.
 */
export class ConfigCoordinator {
  #sources: ConfigSources;
  readonly #started: ResolvedConfig;
  readonly #apply: (config: Config) => void;
  #pins: ReadonlyMap<string, unknown> = new Map();
  /** The configuration of a server that is started now, with the pins. */
  #wanted: ResolvedConfig;
  /** The same, without the keys that need a start. */
  #config: Config;

  /** `apply` passes the configuration on to the rooms; when it throws, nothing has changed. */
  constructor(config: Config, apply: (config: Config) => void) {
    this.#sources = ConfigSources.of(config);
    this.#started = this.#sources.resolve();
    this.#apply = apply;
    this.#wanted = this.#started;
    this.#config = config;
  }

  /** In force, frozen; another object after a change. */
  get config(): Config {
    return this.#config;
  }

  /** Values set at run time, by key or entry; `undefined`: removed. */
  get pins(): ReadonlyMap<string, unknown> {
    return this.#pins;
  }

  /** Whether the defaults, the file, the environment or a flag have the entry, such as `cameras.gate`. */
  hasOwn(entryPath: string): boolean {
    return this.#sources.hasEntry(entryPath);
  }

  get state(): ConfigState {
    const origins = new Map(this.#wanted.origins);
    for (const key of CONFIG_KEYS.values()) {
      const origin = key.applies === 'restart' ? this.#started.origins.get(key.path) : origins.get(key.path);
      if (origin === undefined) origins.delete(key.path);
      else origins.set(key.path, origin);
    }
    return {
      config: this.#config,
      origins,
      pins: this.#pins,
      needsRestart: differences(this.#started.config, this.#wanted.config, 'restart'),
      overridden: this.#wanted.overridden,
    };
  }

  /** Errors: CONFIG_KEY_UNKNOWN, CONFIG_ENTRY_UNKNOWN, CONFIG_KEY_FIXED, CONFIG_VALUE_BAD, CONFIG_CONTRADICTION, and those of `apply`. */
  change(request: ConfigRequest): ConfigChange {
    const pins = new Map(this.#pins);
    for (const [path, value] of requested(request)) this.#pin(pins, path, value);
    if (request.entry) this.#pinEntry(pins, request.entry);
    for (const entry of request.entries ?? []) this.#pinEntry(pins, entry);
    return this.#adopt(this.#sources, pins);
  }

  /** Takes up pins of an earlier run, as they were then. Errors: those of `change`; then nothing has changed. */
  restore(pins: ReadonlyMap<string, unknown>): void {
    this.#adopt(this.#sources, new Map([...this.#pins, ...pins]));
  }

  /**
   * Reads the file again. Values that were set at run time stay, and beat it. Errors: CONFIG_UNREADABLE, CONFIG_KEY_UNKNOWN,
   * CONFIG_VALUE_BAD, CONFIG_CONTRADICTION, and those of `apply`: then nothing has changed.
   */
  reload(): ConfigChange {
    return this.#adopt(this.#sources.reread(), this.#pins);
  }

  #adopt(sources: ConfigSources, pins: ReadonlyMap<string, unknown>): ConfigChange {
    const wanted = sources.resolve(pins);
    const before = this.#config;
    const config = hold(this.#started.config, wanted.config);
    this.#apply(config);
    this.#sources = sources;
    this.#pins = pins;
    this.#wanted = wanted;
    this.#config = config;
    return {
      atOnce: differences(before, config, 'at_once'),
      newSessions: differences(before, config, 'new_sessions'),
      needsRestart: differences(this.#started.config, wanted.config, 'restart'),
      overridden: wanted.overridden,
    };
  }

  #pin(pins: Map<string, unknown>, path: string, value: unknown): void {
    const place = placeAt(path);
    if (place?.entry === undefined && place?.key?.applies === 'restart') throw fixed(path);
    const isEntry = place?.entry?.path === path;
    if (isEntry && value === null && !this.#has(pins, path))
      throw unknownEntry(place.entry.section.path, place.entry.name);
    // Keys of the entry that were set go with it.
    if (isEntry) letGoOfKeys(pins, path);
    // The resolver reports a key that does not exist, with a guess.
    if (place && value === null) pins.delete(path);
    else pins.set(path, value);
  }

  #has(pins: ReadonlyMap<string, unknown>, entryPath: string): boolean {
    return this.#sources.hasEntry(entryPath) || [...pins.keys()].some((path) => isOfEntry(path, entryPath));
  }

  #pinEntry(pins: Map<string, unknown>, { section: sectionPath, name, value }: EntryRequest): void {
    const section = ENTRY_SECTIONS.get(sectionPath);
    if (!section) throw unknownSection(sectionPath);
    const path = `${sectionPath}.${name}`;
    if (value !== null) {
      const fault = nameFault(section, name);
      if (fault !== undefined) throw badName(sectionPath, name, fault);
      return this.#pin(pins, path, value);
    }
    if (valueAt(this.#config, [...section.steps, name]) === undefined) throw unknownEntry(sectionPath, name);
    // Only an entry that would exist otherwise needs a pin: names that come and go leave nothing behind.
    this.#pin(pins, path, this.#sources.hasEntry(path) ? undefined : null);
  }
}

function letGoOfKeys(pins: Map<string, unknown>, entryPath: string): void {
  for (const path of pins.keys()) if (isOfEntry(path, entryPath)) pins.delete(path);
}

/** Whether a pin is of this entry, as a whole or by one of its keys. There may be a thousand: most differ by their beginning. */
function isOfEntry(path: string, entryPath: string): boolean {
  if (path === entryPath) return true;
  return path.startsWith(`${entryPath}.`) && placeAt(path)?.entry?.path === entryPath;
}

function requested({ strategy, profile, settings = {} }: ConfigRequest): [string, unknown][] {
  const asked = Object.entries(settings).filter(([, value]) => value !== undefined);
  if (strategy !== undefined) asked.push(['performance.strategy', strategy]);
  if (profile !== undefined) asked.push(['performance.profile', profile === 'none' ? undefined : profile]);
  return asked;
}

function unknownEntry(section: string, name: string): SightlineError {
  return new SightlineError('CONFIG_ENTRY_UNKNOWN', `${section} has no entry ${quoted(name)}`);
}

function badName(section: string, name: string, fault: string): SightlineError {
  return new SightlineError('CONFIG_KEY_UNKNOWN', `${section} can have no entry ${quoted(name)}: ${fault}`);
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, NAME_SHOWN_CHARS_MAX));
}

function unknownSection(section: string): SightlineError {
  const meant = suggest(section, ENTRY_SECTIONS.keys());
  const hint = meant === undefined ? '' : `, did you mean ${meant}?`;
  return new SightlineError('CONFIG_KEY_UNKNOWN', `there is no section ${quoted(section)} of named entries${hint}`);
}

function fixed(path: string): SightlineError {
  const changeable = [...CONFIG_KEYS.values()].filter(({ applies }) => applies !== 'restart').map((key) => key.path);
  return new SightlineError(
    'CONFIG_KEY_FIXED',
    `${path} cannot change while the server runs; these can: ${changeable.join(', ')}`,
  );
}

/** `wanted`, with the keys that need a start as they were at the start. */
function hold(started: Config, wanted: Config): Config {
  const keys = [...CONFIG_KEYS.values()].map(({ steps, applies }) => {
    return [steps, valueAt(applies === 'restart' ? started : wanted, steps)] as const;
  });
  const entries = [...ENTRY_SECTIONS.values()].map(({ steps }) => [steps, valueAt(wanted, steps)] as const);
  return buildConfig([...keys, ...entries].filter(([, value]) => value !== undefined));
}

/** Entries change at once, each as a whole. */
function differences(from: Config, to: Config, applies: Applies): ChangedSetting[] {
  const keys = [...CONFIG_KEYS.values()].filter((key) => key.applies === applies).map(({ steps }) => steps);
  const entries =
    applies === 'at_once' ? [...ENTRY_SECTIONS.values()].flatMap(({ steps }) => entriesOf(steps, from, to)) : [];
  return [...keys, ...entries].flatMap((steps) => {
    const change = { path: steps.join('.'), from: valueAt(from, steps), to: valueAt(to, steps) };
    return isDeepStrictEqual(change.from, change.to) ? [] : [change];
  });
}

function entriesOf(section: readonly string[], ...configs: readonly Config[]): string[][] {
  const names = configs.flatMap((config) => Object.keys(valueAt(config, section) ?? {}));
  return [...new Set(names)].map((name) => section.concat(name));
}
