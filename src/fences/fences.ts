import type { Clock } from '../base/clock.ts';
import { Incoming } from './incoming.ts';
import { boundless, MemoryLedger, type MemoryBounds } from './memory-ledger.ts';
import { scheduleTurn, Turns } from './turns.ts';

/** What keeps clients from taking from each other. */
export interface Fences {
  readonly memory: MemoryLedger;
  readonly turns: Turns;
  readonly incoming: Incoming;
}

/** `bounds`: default none. */
export function openFences({ clock, bounds }: { readonly clock: Clock; readonly bounds?: MemoryBounds }): Fences {
  const memory = bounds === undefined ? boundless() : new MemoryLedger(bounds);
  return {
    memory,
    incoming: new Incoming(memory),
    turns: new Turns({ clock, schedule: scheduleTurn }),
  };
}
