import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import type { Config } from '../../config/schema.ts';
import type { DiskTierSettings } from './disk-tier.ts';
import type { MemoryTierSettings } from './memory-tier.ts';
import type { RedisTierSettings } from './redis-tier.ts';

/** The configuration's part for this room, in the room's own terms. */

export interface CacheSettings {
  readonly memory: MemoryTierSettings;
  /** undefined: there is none. */
  readonly redis: RedisTierSettings | undefined;
  readonly disk: DiskTierSettings | undefined;
  readonly prefetches: boolean;
}

/** Of this process: another one, or this one after its next start, does not know what the keys stand for. */
const PROCESS_NAME = randomBytes(9).toString('base64url');

export function cacheSettings({ cache }: Pick<Config, 'cache'>): CacheSettings {
  const { redis_url: url, disk_folder: folder } = cache;
  return {
    memory: { bytesMax: cache.memory_bytes_max, idleMs: cache.memory_s * 1000 },
    redis:
      url === undefined
        ? undefined
        : {
            url,
            prefix: `${cache.redis_prefix}${PROCESS_NAME}:`,
            keepMs: cache.redis_s * 1000,
            bytesMax: cache.redis_bytes_max,
            connections: cache.redis_connections,
            timeoutMs: cache.redis_timeout_ms,
          },
    disk:
      folder === undefined
        ? undefined
        : { folder: resolve(folder), bytesMax: cache.disk_bytes_max, keepMs: cache.disk_s * 1000 },
    prefetches: cache.prefetch,
  };
}
