/** When a child that has ended is started again. */
export interface RestartPolicy {
  /** Before the first restart. */
  readonly firstDelayMs: number;
  /** It doubles up to this. */
  readonly delayMaxMs: number;
  /** A life of this length ends a row of failures. */
  readonly healthyMs: number;
  /** Restarts in a row after which the supervisor gives up; default: never. */
  readonly restartsMax?: number;
}

export const RESTART_DEFAULTS: RestartPolicy = { firstDelayMs: 250, delayMaxMs: 30_000, healthyMs: 10_000 };

/** Random share of the delay, so that children that fell together do not rise together. */
const JITTER = 0.5;

/** Before restart number `restart` (from 1) of a row; `random` is 0 to 1. */
export function restartDelayMs(policy: RestartPolicy, restart: number, random: number): number {
  const delayMs = Math.min(policy.delayMaxMs, policy.firstDelayMs * 2 ** Math.min(restart - 1, 32));
  return delayMs * (1 - JITTER * random);
}
