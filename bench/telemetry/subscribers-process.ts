import { offer } from '../support/children.ts';
import { SharedClock } from '../support/shared-clock.ts';
import { Meter, type Measured } from './meter.ts';
import type { Decode, SubscriberLink } from './peer.ts';
import { PEERS, type PeerName } from './peers.ts';

/** All subscribers of a benchmark, in one process. */

export interface TeamOptions {
  readonly team: string;
  readonly peer: PeerName;
  readonly url: string;
  readonly form: string;
  readonly topics: readonly string[];
  readonly count: number;
  /** What the first ones do; the others decode as `decode` says. */
  readonly readOnly: number;
  readonly decode: Decode;
}

interface Team {
  readonly meter: Meter;
  readonly links: readonly SubscriberLink[];
  /** Before the span. */
  bytesBefore: number;
}

const CONNECTING_MAX = 50;

const teams = new Map<string, Team>();
let clock = new SharedClock(0);

const api = {
  setClock: (distanceMs: number): void => {
    clock = new SharedClock(distanceMs);
  },

  connect: async ({ team, peer, url, form, topics, count, readOnly, decode }: TeamOptions): Promise<void> => {
    const current = clock;
    const meter = new Meter(() => current.now());
    meter.expect(count * topics.length);
    const links: SubscriberLink[] = [];
    for (let from = 0; from < count; from += CONNECTING_MAX) {
      const group = Array.from({ length: Math.min(CONNECTING_MAX, count - from) }, (_, i) => from + i);
      const connected = group.map((i) =>
        PEERS[peer].connectSubscriber({
          url,
          topics,
          form,
          decode: i < readOnly ? 'read' : decode,
          firstPair: i * topics.length,
          meter,
        }),
      );
      links.push(...(await Promise.all(connected)));
    }
    teams.set(team, { meter, links, bytesBefore: 0 });
  },

  /** The latencies of what is published from `fromMs` on count. */
  begin: ({ team: name, fromMs }: { team: string; fromMs: number }): void => {
    const team = teams.get(name)!;
    team.bytesBefore = bytesOf(team);
    team.meter.begin(fromMs);
  },

  end: (name: string): Measured & { readonly bytes: number } => {
    const team = teams.get(name)!;
    return { ...team.meter.end(), bytes: bytesOf(team) - team.bytesBefore };
  },

  /** Decoded messages since the team was connected. */
  total: (team: string): number => teams.get(team)!.meter.total,

  close: async (team: string): Promise<void> => {
    await Promise.all(teams.get(team)!.links.map((link) => link.close()));
    teams.delete(team);
  },
};

function bytesOf({ links }: Team): number {
  return links.reduce((sum, link) => sum + link.bytes(), 0);
}

export type SubscribersApi = typeof api;

offer(api);
