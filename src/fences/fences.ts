import type { Clock } from '../base/clock.ts';
import { noLog, type Log } from '../log/log.ts';
import { Incoming } from './incoming.ts';
import { boundless, MemoryLedger, SERVER_LANE, type MemoryBounds } from './memory-ledger.ts';
import { Refusals } from './refusals.ts';
import { scheduleTurn, Turns } from './turns.ts';

/** What keeps clients from taking from each other. */
export interface Fences {
  readonly memory: MemoryLedger;
  readonly turns: Turns;
  readonly incoming: Incoming;
  readonly refusals: Refusals;
}

export interface FencesOptions {
  readonly clock: Clock;
  /** Default: none. */
  readonly bounds?: MemoryBounds;
  /** Gets an entry, once in a while, for each client that meets a bound of memory. */
  readonly log?: Log;
}

export function openFences({ clock, bounds = boundless().bounds, log = noLog(clock) }: FencesOptions): Fences {
  const memory = new MemoryLedger(bounds, ({ account: { lane, client }, kind, isRefusal }) => {
    if (lane === SERVER_LANE) return;
    log.write('memory_bound_met', { lane, client_id: client, kind, outcome: isRefusal ? 'refused' : 'oldest_dropped' });
  });
  return {
    memory,
    incoming: new Incoming(memory),
    turns: new Turns({ clock, schedule: scheduleTurn }),
    refusals: new Refusals(),
  };
}
