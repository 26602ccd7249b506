import type { Principal } from '../auth/principal.ts';
import type { SightlineError } from '../base/errors.ts';

/** Class critical goes before all others: a key that lists its permissions needs one for it. */
const RESOURCE = 'priority/critical';

/** undefined: it may. */
export function faultOfCritical(principal: Principal): SightlineError | undefined {
  return principal.allows('publish', RESOURCE) ? undefined : principal.denied('publish', RESOURCE);
}

/** Throws PERMISSION_DENIED. */
export function requireCritical(principal: Principal): void {
  principal.require('publish', RESOURCE);
}
