import { setTimeout as sleep } from 'node:timers/promises';
import { roverMessages, sign, type RoverMessage } from '../../src/load/rover-messages.ts';
import { offer } from '../support/children.ts';
import { SharedClock } from '../support/shared-clock.ts';
import type { PublisherLink } from './peer.ts';
import { PEERS, type PeerName } from './peers.ts';

/** The one publisher of a benchmark, in a process of its own. */

export interface PublisherOptions {
  readonly team: string;
  readonly peer: PeerName;
  readonly url: string;
  readonly form: string;
  readonly topics: readonly string[];
  /** Of what is published: see `roverMessages`. */
  readonly restlessness: number;
}

export interface Run {
  readonly team: string;
  /** Of each topic; all topics at the same instants. */
  readonly hz: number;
  readonly fromMs: number;
  readonly untilMs: number;
  /** Of these, messages from here on are counted. */
  readonly countFromMs: number;
}

export interface Ran {
  readonly sent: number;
  /** Of these from `countFromMs` on, and how long that took. */
  readonly counted: number;
  readonly countedMs: number;
  /** The socket did not take what was sent: the publisher gave up. */
  readonly isOverrun: boolean;
}

const MESSAGES = 2_048;
/** Far more than a burst needs; a server that cannot follow must not fill the machine's memory. */
const BACKLOG_BYTES_MAX = 16 * 2 ** 20;

interface Team {
  readonly link: PublisherLink;
  readonly seqs: number[];
  readonly messages: readonly RoverMessage[];
}

const teams = new Map<string, Team>();
let clock = new SharedClock(0);
let seed = 0;

const api = {
  prepare: (given: { distanceMs: number; seed: number }): void => {
    clock = new SharedClock(given.distanceMs);
    seed = given.seed;
  },

  connect: async ({ team, peer, url, form, topics, restlessness }: PublisherOptions): Promise<void> => {
    const messages = roverMessages(MESSAGES, seed, restlessness);
    const link = await PEERS[peer].connectPublisher(url, topics, form);
    teams.set(team, { link, seqs: topics.map(() => 0), messages });
  },

  run: async ({ team, hz, fromMs, untilMs, countFromMs }: Run): Promise<Ran> => {
    const { link, seqs, messages } = teams.get(team)!;
    const beats = Math.round(((untilMs - fromMs) * hz) / 1_000);
    let beat = 0;
    let counted = 0;
    let isOverrun = false;
    await sleep(Math.max(0, fromMs - clock.now()));
    while (beat < beats && !isOverrun) {
      const due = Math.min(beats, Math.floor(((clock.now() - fromMs) * hz) / 1_000) + 1);
      for (; beat < due; beat += 1) {
        for (const topic of seqs.keys()) counted += publish({ link, seqs, messages }, topic) >= countFromMs ? 1 : 0;
      }
      link.flush();
      isOverrun = link.backlogBytes() > BACKLOG_BYTES_MAX;
      await sleep(Math.max(1, fromMs + (beat * 1_000) / hz - clock.now()));
    }
    return { sent: beat * seqs.length, counted, countedMs: clock.now() - countFromMs, isOverrun };
  },

  close: async (team: string): Promise<void> => {
    await teams.get(team)!.link.close();
    teams.delete(team);
  },
};

/** Gives the message's time. Topics are vehicles of their own: each is at another place of the walk. */
function publish({ link, seqs, messages }: Team, topic: number): number {
  const seq = seqs[topic]! + 1;
  seqs[topic] = seq;
  const message = messages[(seq + topic * 173) % messages.length]!;
  sign(message, seq);
  const timeMs = clock.now();
  link.publish(topic, message, timeMs);
  return timeMs;
}

export type PublisherApi = typeof api;

offer(api);
