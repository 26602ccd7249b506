import type { Clock } from '../base/clock.ts';
import type { ErrorCode } from '../base/errors.ts';
import { readHostName, readOrigin } from '../config/origins.ts';
import type { AddressRules } from './guard.ts';

/** Values that are remembered at once, and so the lines that a flood of refusals can cause in a window. */
const VALUES_MAX = 16;
const WINDOW_MS = 600_000;
const VALUE_CHARS_MAX = 100;

export interface RefusalLogOptions {
  readonly clock: Clock;
  readonly rules: AddressRules;
  /** Told in a line. */
  readonly say: (line: string) => void;
}

interface Entry {
  toldMs: number;
  untold: number;
}

/**
 * Tells of requests whose `Origin` or `Host` was refused, with the line of configuration that would allow it: each value at
 * once, and then, as long as it goes on, how often, once in ten minutes.
 */
export class RefusalLog {
  readonly #options: RefusalLogOptions;
  readonly #entries = new Map<string, Entry>();
  /** Of values for which there was no room. */
  #others: Entry = { toldMs: -Infinity, untold: 0 };

  constructor(options: RefusalLogOptions) {
    this.#options = options;
  }

  /** What a request was refused with; other codes than those of addresses are no matter of this log. */
  add(code: ErrorCode, headers: { host?: string | undefined; origin?: string | undefined }): void {
    if (code === 'ORIGIN_FORBIDDEN' && headers.origin !== undefined) this.#add('Origin', headers.origin);
    if (code === 'HOST_FORBIDDEN') this.#add('Host', headers.host ?? '');
  }

  #add(header: 'Origin' | 'Host', value: string): void {
    const nowMs = this.#options.clock.now();
    const key = `${header} ${JSON.stringify(value.slice(0, VALUE_CHARS_MAX))}`;
    const entry = this.#entryOf(key, nowMs);
    if (entry === undefined) {
      this.#tell(this.#others, nowMs, 'Origin and Host', 'among them values that are not told one by one');
      return;
    }
    this.#tell(entry, nowMs, key, this.#remedy(header, value));
  }

  #entryOf(key: string, nowMs: number): Entry | undefined {
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    if (this.#entries.size >= VALUES_MAX) {
      for (const [old, { toldMs }] of this.#entries) if (nowMs - toldMs >= WINDOW_MS) this.#entries.delete(old);
    }
    if (this.#entries.size >= VALUES_MAX) return undefined;
    const entry = { toldMs: -Infinity, untold: 0 };
    this.#entries.set(key, entry);
    return entry;
  }

  #tell(entry: Entry, nowMs: number, what: string, remedy: string): void {
    entry.untold++;
    if (nowMs - entry.toldMs < WINDOW_MS) return;
    const often = entry.untold === 1 ? '' : `, ${entry.untold} times`;
    this.#options.say(`refused${often}: ${what}; ${remedy}`);
    entry.toldMs = nowMs;
    entry.untold = 0;
  }

  #remedy(header: 'Origin' | 'Host', value: string): string {
    const { origins, allowedHosts = [] } = this.#options.rules;
    const [name, known, read] =
      header === 'Origin'
        ? (['allowed_origins', origins, readOrigin(value)] as const)
        : // The port of a Host header counts for nothing.
          (['allowed_hosts', allowedHosts, readHostName(value.replace(/:\d*$/, ''))] as const);
    if (read.fault !== undefined) return `it cannot be allowed: ${read.fault}`;
    return `if it is yours, this allows it: server: { ${name}: ${JSON.stringify([...known, read.value])} }`;
  }
}
