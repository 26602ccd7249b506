import { labelled, part, type Part } from '../../observe/figures.ts';
import type { FragmentCache } from './fragment-cache.ts';

type Report = ReturnType<FragmentCache['report']>;

/** At every moment: requests = found (by place) + joined + missing + failed + being filled. Of each far tier: offered = kept + dropped (by cause) + waiting. */
export function cachePart(cache: FragmentCache): Part<Report> {
  return part(
    () => cache.report(),
    [
      {
        name: 'sightline_cache_requests_total',
        kind: 'counter',
        help: 'Fragments that somebody asked for, by where they were found: in memory, in Redis, on the disk, where they are made (source); joined: somebody else had asked just before; missing: nowhere; failed',
        labels: ['found'],
        read: ({ found, joined, missing, failed }) => labelled({ ...found, joined, missing, failed }),
      },
      {
        name: 'sightline_cache_filling',
        kind: 'gauge',
        help: 'Of these, those that are being fetched',
        read: ({ filling }) => filling,
      },
      {
        name: 'sightline_cache_bytes',
        kind: 'gauge',
        unit: 'bytes',
        help: 'What each tier holds',
        labels: ['tier'],
        read: ({ memory, tiers }) => [
          [['memory'], memory.bytes] as const,
          ...tiers.map(({ name, bytes }) => [[name], bytes] as const),
        ],
      },
      {
        name: 'sightline_cache_fragments',
        kind: 'gauge',
        help: 'The same in fragments',
        labels: ['tier'],
        read: ({ memory, tiers }) => [
          [['memory'], memory.entries] as const,
          ...tiers.map(({ name, entries }) => [[name], entries] as const),
        ],
      },
      {
        name: 'sightline_cache_evicted_total',
        kind: 'counter',
        help: 'Fragments that memory holds no more, by why: nobody asked for them (idle), no room (bytes)',
        labels: ['why'],
        read: ({ memory }) => labelled(memory.evicted),
      },
      {
        name: 'sightline_cache_tier_working',
        kind: 'gauge',
        help: 'Whether Redis, or the disk, works: 1 or 0',
        labels: ['tier'],
        read: ({ tiers }) => tiers.map(({ name, state }) => [[name], state === 'working' ? 1 : 0] as const),
      },
      {
        name: 'sightline_cache_puts_total',
        kind: 'counter',
        help: 'Fragments for Redis, or the disk, by what became of them: kept; too much waited (queue), it could not be written (failed), the tier did not work (off)',
        labels: ['tier', 'outcome'],
        read: ({ tiers }) =>
          tiers.flatMap(({ name, kept, dropped }) =>
            Object.entries({ kept, ...dropped }).map(([outcome, count]) => [[name, outcome], count] as const),
          ),
      },
      {
        name: 'sightline_cache_puts_waiting',
        kind: 'gauge',
        help: 'Of these, those that wait',
        labels: ['tier'],
        read: ({ tiers }) => tiers.map(({ name, waiting }) => [[name], waiting] as const),
      },
      {
        name: 'sightline_cache_faults_total',
        kind: 'counter',
        help: 'Questions that Redis, or the disk, did not answer (failure), and fragments that came back damaged, or were not ours',
        labels: ['tier', 'fault'],
        read: ({ tiers }) =>
          tiers.flatMap(({ name, failures, damaged }) => [
            [[name, 'failure'], failures] as const,
            [[name, 'damaged'], damaged] as const,
          ]),
      },
      {
        name: 'sightline_cache_ahead_bytes_total',
        kind: 'counter',
        help: 'What was fetched before anybody had asked for it, in bytes: fetched; of these used, or wasted',
        labels: ['what'],
        read: ({ ahead }) =>
          labelled({ fetched: ahead.fetchedBytes, used: ahead.usedBytes, wasted: ahead.wastedBytes }),
      },
      {
        name: 'sightline_cache_ahead_total',
        kind: 'counter',
        help: 'Fetches of this kind, requests that found what they had brought (hits), and those for which there was no place (refused)',
        labels: ['what'],
        read: ({ ahead }) => labelled({ fetches: ahead.fetches, hits: ahead.hits, refused: ahead.refused }),
      },
    ],
  );
}
