/** When a child that has ended is started again. */
export interface RestartPolicy {
  /** Restarts of a row that are made without any delay; default: none. */
  readonly atOnce?: number;
  /** Before the first one after those. */
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
  const { atOnce = 0, firstDelayMs, delayMaxMs } = policy;
  if (restart <= atOnce) return 0;
  const delayMs = Math.min(delayMaxMs, firstDelayMs * 2 ** Math.min(restart - atOnce - 1, 32));
  return delayMs * (1 - JITTER * random);
}
