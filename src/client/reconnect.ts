import { ERRORS } from '../base/errors.ts';
import type { Random } from '../base/random.ts';

export interface ReconnectPolicy {
  /** Attempts in a row before the session gives up, `Infinity` for never; a connection that lasts `delayMaxMs` starts the count anew. */
  readonly attemptsMax: number;
  /** Ceiling of the first delay, ms; it doubles from attempt to attempt. */
  readonly delayMinMs: number;
  /** Ceiling of every delay, ms. */
  readonly delayMaxMs: number;
}

export const RECONNECT_DEFAULTS: ReconnectPolicy = { attemptsMax: Infinity, delayMinMs: 250, delayMaxMs: 8_000 };

/** Far beyond any ceiling, and finite: nothing at all, doubled for years, stays nothing. */
const DOUBLINGS_MAX = 40;

/**
 * Exponential backoff with full jitter (Brooker, "Exponential Backoff And Jitter", AWS 2015): anything from 0 to the
 * ceiling, so that the clients of a restarted server do not all come back at the same moment. `attempt` counts from 0.
 */
export function reconnectDelayMs(attempt: number, policy: ReconnectPolicy, random: Random): number {
  return random() * Math.min(policy.delayMaxMs, policy.delayMinMs * 2 ** Math.min(attempt, DOUBLINGS_MAX));
}

/**
 * Would the server refuse this client again? True for the codes of a client's fault (status 400 to 499): a bad query, an
 * unknown model, a session that another program has taken over. Not for idleness and rate limits (408, 429), which pass, nor for a
 * name that is in use at present: that may be a connection of this very session which the server takes for alive. `code`
 * may be one of a newer server that this client does not know; then the close code (4000 + status) decides.
 */
export function isFinalRefusal(code: string, closeCode: number): boolean {
  if (code === 'SESSION_NAME_IN_USE') return false;
  const known = Object.hasOwn(ERRORS, code) ? ERRORS[code as keyof typeof ERRORS] : undefined;
  const status = closeCode >= 4000 ? closeCode - 4000 : (known ?? 0);
  return status >= 400 && status < 500 && status !== 408 && status !== 429;
}
