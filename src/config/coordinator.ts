import { isDeepStrictEqual } from 'node:util';
import { SightlineError } from '../base/errors.ts';
import { buildConfig, ConfigSources, configValue, type OverriddenSetting, type ResolvedConfig } from './load.ts';
import type { PROFILES } from './profiles.ts';
import { CONFIG_KEYS, type Applies, type Config, type ConfigKey } from './schema.ts';
import type { STRATEGIES } from './strategies.ts';

/** What is asked for at run time. What is left out stays as it is; `null` lets go of what was asked for earlier. */
export interface ConfigRequest {
  readonly strategy?: keyof typeof STRATEGIES | null | undefined;
  /** `none`: no profile, whatever the file says. */
  readonly profile?: keyof typeof PROFILES | 'none' | null | undefined;
  /** By dotted key. */
  readonly settings?: Readonly<Record<string, unknown>> | undefined;
}

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
  /** Not in force: what a server that is started with this strategy and profile has otherwise. */
  readonly needsRestart: readonly ChangedSetting[];
  readonly overridden: readonly OverriddenSetting[];
}

export interface ConfigState {
  /** In force. */
  readonly config: Config;
  readonly origins: ReadonlyMap<string, string>;
  /** What was set at run time, by key. */
  readonly pins: ReadonlyMap<string, unknown>;
  readonly needsRestart: readonly ChangedSetting[];
  readonly overridden: readonly OverriddenSetting[];
}

/**
 * The configuration of a running server: strategies, profiles and single settings change here and nowhere else. Each change is
 * resolved anew from all sources, checked as a whole, and applied as a whole or not at all.
 */
export class ConfigCoordinator {
  readonly #sources: ConfigSources;
  readonly #started: ResolvedConfig;
  readonly #apply: (config: Config) => void;
  #pins: ReadonlyMap<string, unknown> = new Map();
  /** What a server that is started now, with the pins, would have. */
  #wanted: ResolvedConfig;
  /** The same, but for what needs a start. */
  #config: Config;

  /** `apply` hands the configuration on to whom it concerns; when it throws, nothing has changed. */
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

  /** Errors: CONFIG_KEY_UNKNOWN, CONFIG_KEY_FIXED, CONFIG_VALUE_BAD, CONFIG_CONTRADICTION, and those of `apply`. */
  change(request: ConfigRequest): ConfigChange {
    const pins = pinsAfter(this.#pins, request);
    const wanted = this.#sources.resolve(pins);
    const before = this.#config;
    const config = hold(this.#started.config, wanted.config);
    this.#apply(config);
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
}

function pinsAfter(pins: ReadonlyMap<string, unknown>, request: ConfigRequest): Map<string, unknown> {
  const after = new Map(pins);
  for (const [path, value] of requested(request)) {
    const key = CONFIG_KEYS.get(path);
    if (key?.applies === 'restart') throw fixed(path);
    // A key that does not exist is told with a guess by whoever resolves it.
    if (key && value === null) after.delete(path);
    else after.set(path, value);
  }
  return after;
}

function requested({ strategy, profile, settings = {} }: ConfigRequest): [string, unknown][] {
  const asked = Object.entries(settings).filter(([, value]) => value !== undefined);
  if (strategy !== undefined) asked.push(['performance.strategy', strategy]);
  if (profile !== undefined) asked.push(['performance.profile', profile === 'none' ? undefined : profile]);
  return asked;
}

function fixed(path: string): SightlineError {
  const changeable = [...CONFIG_KEYS.values()].filter(({ applies }) => applies !== 'restart').map((key) => key.path);
  return new SightlineError(
    'CONFIG_KEY_FIXED',
    `${path} cannot change while the server runs; these can: ${changeable.join(', ')}`,
  );
}

/** `wanted`, with what needs a start as it was at the start. */
function hold(started: Config, wanted: Config): Config {
  const values = [...CONFIG_KEYS.values()].map((key) => {
    return [key.path, configValue(key.applies === 'restart' ? started : wanted, key)] as const;
  });
  return buildConfig(values.filter(([, value]) => value !== undefined));
}

function differences(from: Config, to: Config, applies: Applies): ChangedSetting[] {
  const found: ChangedSetting[] = [];
  for (const key of CONFIG_KEYS.values()) {
    const change = key.applies === applies ? differenceOf(key, from, to) : undefined;
    if (change) found.push(change);
  }
  return found;
}

function differenceOf(key: ConfigKey, from: Config, to: Config): ChangedSetting | undefined {
  const change = { path: key.path, from: configValue(from, key), to: configValue(to, key) };
  return isDeepStrictEqual(change.from, change.to) ? undefined : change;
}
