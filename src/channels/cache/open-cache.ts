import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../log/log.ts';
import { DiskTier } from './disk-tier.ts';
import { FragmentCache } from './fragment-cache.ts';
import { RedisTier } from './redis-tier.ts';
import type { CacheSettings } from './settings.ts';
import type { FarTier, FarTierName } from './tier.ts';

/** A cache with the tiers that the settings name. Which ones there are stays as it is; their bounds may change. */
export function openCache(parts: {
  readonly clock: Clock;
  readonly log: Log;
  readonly settings: () => CacheSettings;
}): FragmentCache {
  const { clock, log, settings } = parts;
  const onChanged = (tier: FarTierName) => (reason: string | undefined) => {
    if (reason === undefined) log.write('cache_resumed', { tier });
    else log.write('cache_failed', { tier, reason });
  };
  const { redis, disk } = settings();
  const tiers: FarTier[] = [];
  if (redis) {
    const tier = new RedisTier({ clock, settings: redis, onChanged: onChanged('redis') });
    void tier.open();
    tiers.push(tier);
  }
  if (disk) tiers.push(new DiskTier({ clock, settings: () => settings().disk ?? disk, onChanged: onChanged('disk') }));
  return new FragmentCache({ clock, settings: () => settings().memory, tiers });
}
