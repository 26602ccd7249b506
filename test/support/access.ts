import { Logins } from '../../src/auth/logins.ts';
import { ALL_GRANTS } from '../../src/auth/grants.ts';
import { Tickets } from '../../src/auth/tickets.ts';
import { Principal } from '../../src/auth/principal.ts';
import { systemClock } from '../../src/base/clock.ts';
import type { AccessParts } from '../../src/http/access.ts';

/** Everybody, where nobody is asked who they are. */
export const ANYONE = new Principal({ id: 'anyone', name: 'anyone', grants: ALL_GRANTS });

/** A server that asks nobody for a key. */
export function openAccess(): Pick<AccessParts, 'authenticator' | 'logins' | 'tickets'> {
  return {
    authenticator: { principalOf: () => ANYONE },
    logins: new Logins(systemClock),
    tickets: new Tickets(systemClock),
  };
}
