import type { Clock } from '../base/clock.ts';
import { noLog, type Log } from '../log/log.ts';
import { Incoming } from './incoming.ts';
import { Penalties } from './penalties.ts';
import { boundless, MemoryLedger, SERVER_LANE, type MemoryBounds } from './memory-ledger.ts';
import { Refusals } from './refusals.ts';
import { afterTicks, scheduleTurn, Turns } from './turns.ts';

/** What keeps clients from taking from each other. */
export interface Fences {
  readonly memory: MemoryLedger;
  readonly turns: Turns;
  readonly incoming: Incoming;
  readonly refusals: Refusals;
  readonly penalties: Penalties;
}

export interface FencesOptions {
  readonly clock: Clock;
  /** Default: none. */
  readonly bounds?: MemoryBounds;
  /** Gets an entry, once in a while, for each client that meets a bound of memory. */
  readonly log?: Log;
  /** How long bans last, ms; default: a minute. */
  readonly banMs?: number;
  /** By which name an address is held to bounds, and can be banned; undefined (the default): others come from there, too, such as through a proxy. */
  readonly nameOfAddress?: (remoteAddress: string) => string | undefined;
}

const BAN_MS = 60_000;

export function openFences({
  clock,
  bounds = boundless().bounds,
  log = noLog(clock),
  banMs = BAN_MS,
  nameOfAddress = () => undefined,
}: FencesOptions): Fences {
  const isShared = (remoteAddress: string): boolean => nameOfAddress(remoteAddress) === undefined;
  const memory = new MemoryLedger(bounds, ({ account: { lane, client }, kind, isRefusal }) => {
    if (lane === SERVER_LANE) return;
    log.write('memory_bound_met', { lane, client_id: client, kind, outcome: isRefusal ? 'refused' : 'oldest_dropped' });
  });
  return {
    memory,
    incoming: new Incoming(memory),
    turns: new Turns({ clock, schedule: scheduleTurn, settle: afterTicks, isShared }),
    refusals: new Refusals(),
    penalties: new Penalties({ clock, log, banMs, nameOfAddress }),
  };
}
