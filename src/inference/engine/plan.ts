/** The layout of an engine where the settings leave it open. */

export interface EnginePlan {
  readonly workers: number;
  readonly intraOpThreads: number;
}

/** For one frame of a small detector; a user with more cores and a larger model sets `threads_per_worker`. */
const THREADS_PER_FRAME_MAX = 4;

/** One worker at a time uses a device; the others decode and scale meanwhile, which takes as long again. */
const DEVICE_WORKERS_MAX = 3;

/**
 * For throughput every core runs frames of its own, one thread each: two sessions of one thread beat one of two. For latency a
 * frame gets several threads, and there are as many workers as that leaves room for. With a device there are a few workers, which
 * share the cores for the work that the device leaves to the processor. A given number is kept.
 */
export function planEngine(
  hint: 'latency' | 'throughput',
  cores: number,
  given: { readonly workers?: number; readonly intraOpThreads?: number; readonly providers?: readonly string[] },
): EnginePlan {
  if (usesDevice(given.providers)) {
    const workers = given.workers ?? Math.min(DEVICE_WORKERS_MAX, cores);
    return { workers, intraOpThreads: given.intraOpThreads ?? Math.max(1, Math.floor(cores / workers)) };
  }
  const intraOpThreads = given.intraOpThreads ?? (hint === 'latency' ? Math.min(THREADS_PER_FRAME_MAX, cores) : 1);
  const workers = given.workers ?? Math.max(1, Math.floor(cores / intraOpThreads));
  return { workers, intraOpThreads };
}

/** Do the settings ask for anything but the processor? */
export function usesDevice(providers: readonly string[] = []): boolean {
  return providers.some((provider) => provider !== 'cpu');
}

export const DEATHS_IN_A_ROW_MAX = 5;
const RESTART_DELAY_MS = 100;
const RESTART_DELAY_MS_MAX = 30_000;

/** How long to wait before replacing a worker that died `deaths` times without finishing a job: the first one at once. */
export function restartDelayMs(deaths: number): number {
  return deaths <= 1 ? 0 : Math.min(RESTART_DELAY_MS_MAX, RESTART_DELAY_MS * 2 ** (deaths - 2));
}

/**
 * Pictures of a model that a worker may hold, the running ones included, when up to `batchMax` share a run: with `prefetch` pictures
 * ahead at least, and a whole batch if any, so that the next run is as large as this one.
 */
export function slotsFor(batchMax: number, prefetch: number): number {
  return batchMax + (prefetch === 0 ? 0 : Math.max(prefetch, batchMax));
}
