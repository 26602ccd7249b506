/** Entries of one event that are counted together: all of them, or those with one value of a field. */
interface Window<T> {
  /** When an entry was written last, ms. */
  writtenMs: number;
  readonly intervalMs: number;
  /** Entries since then. */
  suppressed: number;
  last: T | undefined;
}

/** Values of one event that are counted by themselves; further ones share a window. */
export const VALUES_MAX = 16;
const VALUE_CHARS_MAX = 100;
const OTHERS = 'others';

/** One of many entries, and how many more there were. */
export interface Summary<T> {
  readonly entry: T;
  readonly suppressed: number;
}

/**
 * At most one entry in an interval, however often something happens; suppressed entries are counted. It remembers at most
 * `VALUES_MAX` + 1 windows for each event.
 */
export class EntryLimiter<T> {
  readonly #windows = new Map<string, Map<string, Window<T>>>();

  /** How many such entries were suppressed since the last one that was written; `undefined`: so is this one. */
  take(entry: T, event: string, value: string | undefined, intervalMs: number, nowMs: number): number | undefined {
    const window = this.#windowOf(event, value, intervalMs, nowMs);
    if (nowMs - window.writtenMs < intervalMs) {
      window.suppressed++;
      window.last = entry;
      return undefined;
    }
    return reset(window, nowMs);
  }

  /** Suppressed entries of intervals that are over: no further entry may come that would report them. */
  due(nowMs: number): Summary<T>[] {
    const found: Summary<T>[] = [];
    for (const window of this.#all()) {
      const { last } = window;
      if (last === undefined || nowMs - window.writtenMs < window.intervalMs) continue;
      // The entry stands for itself.
      found.push({ entry: last, suppressed: reset(window, nowMs) - 1 });
    }
    return found;
  }

  /** When something is due the next time, ms; `Infinity`: nothing was suppressed. */
  get nextDueMs(): number {
    let nextMs = Infinity;
    for (const { last, writtenMs, intervalMs } of this.#all()) {
      if (last !== undefined) nextMs = Math.min(nextMs, writtenMs + intervalMs);
    }
    return nextMs;
  }

  get size(): number {
    return [...this.#all()].length;
  }

  *#all(): Iterable<Window<T>> {
    for (const windows of this.#windows.values()) yield* windows.values();
  }

  #windowOf(event: string, value: string | undefined, intervalMs: number, nowMs: number): Window<T> {
    const windows = this.#windows.get(event) ?? new Map<string, Window<T>>();
    this.#windows.set(event, windows);
    const known = windows.get(keyOf(value));
    if (known) return known;
    if (windows.size >= VALUES_MAX) {
      for (const [key, old] of windows) {
        if (old.last === undefined && nowMs - old.writtenMs >= intervalMs) windows.delete(key);
      }
    }
    const key = windows.size >= VALUES_MAX ? OTHERS : keyOf(value);
    const window = windows.get(key) ?? { writtenMs: -Infinity, intervalMs, suppressed: 0, last: undefined };
    windows.set(key, window);
    return window;
  }
}

/** Returns the entries suppressed until now. */
function reset<T>(window: Window<T>, nowMs: number): number {
  const { suppressed } = window;
  window.writtenMs = nowMs;
  window.suppressed = 0;
  window.last = undefined;
  return suppressed;
}

function keyOf(value: string | undefined): string {
  return value === undefined ? '' : `=${value.slice(0, VALUE_CHARS_MAX)}`;
}
