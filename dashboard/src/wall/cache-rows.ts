import type { FragmentCache } from '../fleet/api.ts';
import { bytesText } from '../fleet/words.ts';

/** What the fragment cache holds, in words. Pure. */

const NAMES = { redis: 'Redis', disk: 'Disk' } as const;

export interface CacheRow {
  readonly name: string;
  readonly text: string;
  readonly isFailing: boolean;
}

/** undefined: nobody has asked for a fragment, and there is no tier to look after. */
export function cacheRows({ requests, hit_ratio, memory, tiers, ahead }: FragmentCache): CacheRow[] | undefined {
  if (requests.asked === 0 && tiers.length === 0) return undefined;
  const rows: CacheRow[] = [];
  const row = (name: string, text: string, isFailing = false): void => void rows.push({ name, text, isFailing });
  if (hit_ratio !== null) row('Found in memory', `${(100 * hit_ratio).toFixed(1)} % of requests`);
  row('Memory', keptText(memory));
  for (const { name, state, reason, ...kept } of tiers) {
    if (state === 'working') row(NAMES[name], keptText(kept));
    else row(NAMES[name], `Does not work: ${reason ?? 'no reason is known'}`, true);
  }
  if (ahead.hits > 0) row('Read ahead', `${ahead.hits} requests found what had been read before`);
  return rows;
}

function keptText({ fragments, bytes }: { readonly fragments: number; readonly bytes: number }): string {
  if (fragments === 0) return 'Nothing';
  return `${fragments} ${fragments === 1 ? 'fragment' : 'fragments'}, ${bytesText(bytes)}`;
}
