import { Incoming } from '../../src/fences/incoming.ts';
import { MemoryAccount } from '../../src/fences/memory-ledger.ts';
import { Turns } from '../../src/fences/turns.ts';

/**
 * Loaded into a server before its own code (`--import`): takes the ledgers of memory and time out of it, so that what they cost can be
 * measured beside one that has them. The two readings of the clock for each message of a client stay. Nothing of it is part of Sightline.
 */

const nothing = (): void => {};

Object.assign(MemoryAccount.prototype, { add: nothing, release: nothing, charge: nothing, hasRoom: () => true });
Object.assign(Turns.prototype, { spent: nothing, admits: () => true });
Object.assign(Incoming.prototype, { update: nothing, forget: nothing });
