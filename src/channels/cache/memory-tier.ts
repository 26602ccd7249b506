import type { Clock } from '../../base/clock.ts';

/** Fragments in memory: the ones that were used last, up to a number of bytes. */

export interface MemoryTierSettings {
  readonly bytesMax: number;
  /** One that nobody has asked for so long goes. */
  readonly idleMs: number;
}

interface Entry {
  readonly bytes: Uint8Array;
  usedMs: number;
  /** It was fetched before anybody asked for it, and nobody has. */
  isAhead: boolean;
}

/** Why a fragment has gone: nobody asked for it, or there was no room. */
export type MemoryEviction = 'idle' | 'bytes';

/** For an entry of the map, its key and the object. */
const ENTRY_BYTES = 300;

export class MemoryTier {
  readonly #clock: Clock;
  readonly #settings: () => MemoryTierSettings;
  /** The one that was used least lately comes first. */
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;
  readonly #evicted: Record<MemoryEviction, number> = { idle: 0, bytes: 0 };
  readonly #onWasted: (bytes: number) => void;

  /** `onWasted`: one that was fetched ahead goes, and nobody has asked for it. */
  constructor(parts: {
    readonly clock: Clock;
    readonly settings: () => MemoryTierSettings;
    readonly onWasted: (bytes: number) => void;
  }) {
    this.#clock = parts.clock;
    this.#settings = parts.settings;
    this.#onWasted = parts.onWasted;
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /** `isAhead`: nobody had asked for it before. */
  get(key: string): { readonly bytes: Uint8Array; readonly isAhead: boolean } | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    const { bytes, isAhead } = entry;
    entry.usedMs = this.#clock.now();
    entry.isAhead = false;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return { bytes, isAhead };
  }

  /** One that has more than all may have is not kept. */
  put(key: string, bytes: Uint8Array, isAhead = false): void {
    this.#remove(key);
    const { bytesMax } = this.#settings();
    const size = sizeOf(bytes);
    if (size > bytesMax) {
      if (isAhead) this.#onWasted(bytes.length);
      return;
    }
    this.#entries.set(key, { bytes, usedMs: this.#clock.now(), isAhead });
    this.#bytes += size;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= bytesMax) break;
      this.#evict(oldest, 'bytes');
    }
  }

  /** To be called now and then. */
  sweep(): void {
    const { idleMs, bytesMax } = this.#settings();
    const sinceMs = this.#clock.now() - idleMs;
    for (const [key, { usedMs }] of this.#entries) {
      if (usedMs <= sinceMs) this.#evict(key, 'idle');
      else if (this.#bytes > bytesMax) this.#evict(key, 'bytes');
      else break;
    }
  }

  report() {
    return {
      entries: this.#entries.size,
      bytes: this.#bytes,
      bytesMax: this.#settings().bytesMax,
      evicted: this.#evicted,
    };
  }

  #evict(key: string, why: MemoryEviction): void {
    const { bytes, isAhead } = this.#entries.get(key)!;
    this.#remove(key);
    this.#evicted[why]++;
    if (isAhead) this.#onWasted(bytes.length);
  }

  #remove(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    this.#bytes -= sizeOf(entry.bytes);
  }
}

function sizeOf(bytes: Uint8Array): number {
  return bytes.length + ENTRY_BYTES;
}
