import type { Clock } from '../../base/clock.ts';
import { MemoryTier, type MemoryTierSettings } from './memory-tier.ts';
import { PrefetchThreshold } from './prefetch-threshold.ts';
import type { FarTier, FarTierName } from './tier.ts';

/** Where a fragment was found: in this process's memory; further away; or only where it is made or recorded. */
export const FOUND_IN = ['memory', 'redis', 'disk', 'source'] as const;
export type FoundIn = (typeof FOUND_IN)[number];

export interface FragmentRequest {
  /** What it stands for never changes: the same key is the same bytes for ever. */
  readonly key: string;
  /** Where it comes from if no tier has it. undefined: it is not there. */
  readonly fill: () => Promise<Uint8Array | undefined>;
  /** Tiers that are of no use for it: its source is as near. */
  readonly without?: readonly FarTierName[];
}

export interface FragmentCacheOptions {
  readonly clock: Clock;
  readonly settings: () => MemoryTierSettings;
  /** The nearest first. */
  readonly tiers: readonly FarTier[];
}

/** At every moment: asked = found (by place) + joined + missing + failed + those being filled. */
export interface CacheCounts {
  readonly asked: number;
  readonly found: Readonly<Record<FoundIn, number>>;
  /** Somebody else had asked for the same just before, and waited for it. */
  readonly joined: number;
  readonly missing: number;
  readonly failed: number;
  readonly filling: number;
}

/** At every moment: fetched = used + wasted + in memory. In bytes. */
export interface AheadCounts {
  readonly fetchedBytes: number;
  readonly usedBytes: number;
  readonly wastedBytes: number;
  /** Requests that found what was fetched ahead. */
  readonly hits: number;
  /** Fetches, and those for which there was no place. */
  readonly fetches: number;
  readonly refused: number;
}

const SWEEP_MS = 1_000;
/** Fetches ahead are begun while no more are filled than that. */
const FILLS_AHEAD_MAX = 8;

interface Fill {
  readonly bytes: Promise<Uint8Array | undefined>;
  /** Nobody has asked for it. */
  isAhead: boolean;
}

/**
 * Fragments of cameras by their keys: from memory, else from the far tiers, else from where they are made; whatever is found further away is put into the
 * nearer ones. Many that ask for the same at once cause one fill.
 */
export class FragmentCache {
  readonly #options: FragmentCacheOptions;
  readonly #memory: MemoryTier;
  readonly #fills = new Map<string, Fill>();
  readonly #counts = { asked: 0, joined: 0, missing: 0, failed: 0 };
  readonly #found: Record<FoundIn, number> = { memory: 0, redis: 0, disk: 0, source: 0 };
  readonly #threshold = new PrefetchThreshold();
  readonly #sweep: NodeJS.Timeout;
  readonly #ahead = { fetchedBytes: 0, usedBytes: 0, wastedBytes: 0, hits: 0, fetches: 0, refused: 0 };

  constructor(options: FragmentCacheOptions) {
    this.#options = options;
    this.#memory = new MemoryTier({
      clock: options.clock,
      settings: options.settings,
      onWasted: (bytes) => {
        this.#ahead.wastedBytes += bytes;
        this.#threshold.wasted(bytes);
      },
    });
    this.#sweep = setInterval(() => this.sweep(), SWEEP_MS).unref();
  }

  /** What is less likely to be asked for is not worth a fetch ahead: 0 to 1. */
  get worthAhead(): number {
    return this.#threshold.value;
  }

  /** undefined: it is nowhere. Errors: those of `fill`, for all who wait for it. */
  async get(request: FragmentRequest): Promise<Uint8Array | undefined> {
    this.#counts.asked++;
    const near = this.#memory.get(request.key);
    if (near) {
      this.#found.memory++;
      if (near.isAhead) this.#used(near.bytes);
      return near.bytes;
    }
    const running = this.#fills.get(request.key);
    if (running) {
      this.#counts.joined++;
      const { isAhead } = running;
      running.isAhead = false;
      const bytes = await running.bytes;
      if (isAhead && bytes) this.#used(bytes);
      return bytes;
    }
    return await this.#fill(request, (found) => {
      if (found === 'failed' || found === 'missing') this.#counts[found]++;
      else this.#found[found]++;
    });
  }

  /** Somebody asked for one that is in memory elsewhere, or waited for one that was to be made (`joined`). */
  count(found: 'memory' | 'joined'): void {
    this.#counts.asked++;
    if (found === 'memory') this.#found.memory++;
    else this.#counts.joined++;
  }

  /** One that is in memory elsewhere, such as a segment of a live channel, is put further away. */
  offer(key: string, bytes: Uint8Array): void {
    for (const tier of this.#options.tiers) tier.put(key, bytes);
  }

  /** Somebody may ask for it soon. It waits for nobody: where too many are being filled, it is left. */
  async ahead(request: FragmentRequest): Promise<void> {
    const { key } = request;
    if (this.#memory.has(key) || this.#fills.has(key)) return;
    if (this.#fills.size >= FILLS_AHEAD_MAX) {
      this.#ahead.refused++;
      return;
    }
    this.#ahead.fetches++;
    // Whoever needs it asks again, and is told why.
    await this.#fill(request, () => undefined, true).catch(() => undefined);
  }

  /** What is too old goes. Each second. */
  sweep(): void {
    this.#memory.sweep();
    for (const tier of this.#options.tiers) tier.sweep();
  }

  report() {
    const counts: CacheCounts = {
      ...this.#counts,
      found: this.#found,
      filling: this.#counts.asked - sum([...Object.values(this.#found), ...this.#outcomes()]),
    };
    const ahead: AheadCounts = this.#ahead;
    const tiers = this.#options.tiers.map((tier) => ({ name: tier.name, ...tier.report() }));
    return { ...counts, ahead, memory: this.#memory.report(), tiers };
  }

  /** Idempotent. */
  async close(): Promise<void> {
    clearInterval(this.#sweep);
    await Promise.all(this.#options.tiers.map((tier) => tier.close()));
  }

  #outcomes(): number[] {
    const { joined, missing, failed } = this.#counts;
    return [joined, missing, failed];
  }

  #used(bytes: Uint8Array): void {
    this.#ahead.hits++;
    this.#ahead.usedBytes += bytes.length;
    this.#threshold.used(bytes.length);
  }

  async #fill(
    request: FragmentRequest,
    onFound: (found: FoundIn | 'missing' | 'failed') => void,
    isAhead = false,
  ): Promise<Uint8Array | undefined> {
    const { key } = request;
    const find = this.#find(request);
    const fill: Fill = { bytes: find.then((found) => found?.bytes), isAhead };
    // Whoever began it is told; that nobody has joined is no fault.
    fill.bytes.catch(() => undefined);
    this.#fills.set(key, fill);
    try {
      const found = await find;
      onFound(found?.place ?? 'missing');
      if (!found) return undefined;
      if (isAhead) this.#ahead.fetchedBytes += found.bytes.length;
      this.#memory.put(key, found.bytes, fill.isAhead);
      return found.bytes;
    } catch (thrown) {
      onFound('failed');
      throw thrown;
    } finally {
      this.#fills.delete(key);
    }
  }

  async #find({ key, fill, without = [] }: FragmentRequest) {
    const tiers = this.#options.tiers.filter(({ name }) => !without.includes(name));
    for (const [i, tier] of tiers.entries()) {
      const bytes = await tier.get(key);
      if (!bytes) continue;
      for (const nearer of tiers.slice(0, i)) nearer.put(key, bytes);
      return { place: tier.name, bytes } as const;
    }
    const bytes = await fill();
    if (!bytes) return undefined;
    for (const tier of tiers) tier.put(key, bytes);
    return { place: 'source', bytes } as const;
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
