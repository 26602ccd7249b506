import { z } from 'zod';
import { answer, type Route } from './route.ts';

/** What the fragment cache holds, and how often it had what was asked for. */

const FOUND_IN = ['memory', 'redis', 'disk', 'source'] as const;
const DROP_CAUSES = ['queue', 'failed', 'off'] as const;
type Counts<K extends string> = Readonly<Record<K, number>>;

/** `channels/cache/fragment-cache.ts` has what these count. */
export interface CacheReport {
  readonly asked: number;
  readonly found: Counts<(typeof FOUND_IN)[number]>;
  readonly joined: number;
  readonly missing: number;
  readonly failed: number;
  readonly filling: number;
  readonly ahead: Counts<'fetchedBytes' | 'usedBytes' | 'wastedBytes' | 'hits' | 'fetches' | 'refused'>;
  readonly memory: {
    readonly entries: number;
    readonly bytes: number;
    readonly bytesMax: number;
    readonly evicted: Counts<'idle' | 'bytes'>;
  };
  readonly tiers: readonly {
    readonly name: 'redis' | 'disk';
    readonly state: 'working' | 'failing';
    readonly reason: string | undefined;
    readonly entries: number;
    readonly bytes: number;
    readonly bytesMax: number;
    readonly offered: number;
    readonly kept: number;
    readonly dropped: Counts<(typeof DROP_CAUSES)[number]>;
    readonly waiting: number;
    readonly damaged: number;
    readonly failures: number;
  }[];
}

const count = () => z.int().min(0);
const countsOf = <K extends string>(names: readonly K[]) => z.record(z.enum(names), count());

const cacheSchema = z
  .object({
    requests: z
      .object({
        asked: count(),
        found: countsOf(FOUND_IN).describe('by where; `source`: where it is made or recorded'),
        joined: count().describe('somebody else had asked for the same just before'),
        missing: count().describe('it was nowhere'),
        failed: count(),
        filling: count().describe('that are being fetched'),
      })
      .describe('asked = found + joined + missing + failed + filling'),
    hit_ratio: z
      .number()
      .nullable()
      .describe('found in memory, or joined, of all that were found; null: nobody has asked'),
    memory: z.object({
      fragments: count(),
      bytes: count(),
      bytes_max: count(),
      evicted: countsOf(['idle', 'bytes']),
    }),
    tiers: z
      .array(
        z.object({
          name: z.enum(['redis', 'disk']),
          state: z.enum(['working', 'failing']),
          reason: z.string().nullable().describe('why it fails; it is tried again by itself'),
          fragments: count(),
          bytes: count(),
          bytes_max: count(),
          offered: count(),
          kept: count(),
          dropped: countsOf(DROP_CAUSES),
          waiting: count(),
          damaged: count().describe('came back as something else'),
          failures: count(),
        }),
      )
      .describe('beyond memory, the nearest first; of each offered = kept + dropped + waiting'),
    ahead: z
      .object({
        fetches: count(),
        hits: count().describe('requests that found what they had brought'),
        refused: count().describe('there was no place for them'),
        fetched_bytes: count(),
        used_bytes: count(),
        wasted_bytes: count().describe('they went, and nobody had asked'),
      })
      .describe('what was fetched before anybody had asked for it'),
  })
  .meta({ id: 'FragmentCache', description: 'the fragment cache' });

export function cacheRoutes(report: () => CacheReport): Route[] {
  return [
    answer({
      method: 'GET',
      url: '/api/cache',
      permission: { action: 'read', resource: 'cache' },
      tag: 'recordings',
      summary: 'what the fragment cache holds, and how often it had what was asked for',
      response: cacheSchema,
      handle: () => documentOf(report()),
    }),
  ];
}

function documentOf({ ahead, memory, tiers, ...requests }: CacheReport): z.output<typeof cacheSchema> {
  const found = Object.values(requests.found).reduce((sum, one) => sum + one, 0) + requests.joined;
  return {
    requests,
    hit_ratio: found === 0 ? null : (requests.found.memory + requests.joined) / found,
    memory: {
      fragments: memory.entries,
      bytes: memory.bytes,
      bytes_max: memory.bytesMax,
      evicted: memory.evicted,
    },
    tiers: tiers.map(({ entries, bytesMax, reason, ...tier }) => {
      return { ...tier, reason: reason ?? null, fragments: entries, bytes_max: bytesMax };
    }),
    ahead: {
      fetches: ahead.fetches,
      hits: ahead.hits,
      refused: ahead.refused,
      fetched_bytes: ahead.fetchedBytes,
      used_bytes: ahead.usedBytes,
      wasted_bytes: ahead.wastedBytes,
    },
  };
}
