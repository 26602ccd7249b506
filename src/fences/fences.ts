import type { Clock } from '../base/clock.ts';
import { boundless, MemoryLedger, type MemoryBounds } from './memory-ledger.ts';
import { scheduleTurn, Turns } from './turns.ts';

/** What keeps clients from taking from each other. */
export interface Fences {
  readonly memory: MemoryLedger;
  readonly turns: Turns;
}

/** `bounds`: default none. */
export function openFences({ clock, bounds }: { readonly clock: Clock; readonly bounds?: MemoryBounds }): Fences {
  return {
    memory: bounds === undefined ? boundless() : new MemoryLedger(bounds),
    turns: new Turns({ clock, schedule: scheduleTurn }),
  };
}
