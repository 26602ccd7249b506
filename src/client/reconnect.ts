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

/** These count also where the close code is another one, or was lost on the way: two programs must not take a session from each other for ever. */
const FINAL_CODES: ReadonlySet<string> = new Set(['MESSAGE_TOO_LARGE', 'SESSION_TAKEN_OVER']);

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
 * name that is in use at present: that may be a connection of this very session which the server takes for alive. The close code
 * (4000 + status) decides, so that it counts for codes of newer servers as well.
 */
export function isFinalRefusal(code: string, closeCode: number): boolean {
  if (code === 'SESSION_NAME_IN_USE') return false;
  if (FINAL_CODES.has(code)) return true;
  const status = closeCode - 4000;
  return status >= 400 && status < 500 && status !== 408 && status !== 429;
}
