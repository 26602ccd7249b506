import { Logins } from '../../src/auth/logins.ts';
import { ANYONE } from '../../src/auth/principal.ts';
import { systemClock } from '../../src/base/clock.ts';
import type { AccessParts } from '../../src/http/access.ts';

/** A server that asks nobody for a key. */
export function openAccess(): Pick<AccessParts, 'authenticator' | 'logins'> {
  return { authenticator: { principalOf: () => ANYONE }, logins: new Logins(systemClock) };
}
