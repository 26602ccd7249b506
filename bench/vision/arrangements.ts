/** How the cores are divided among copies of the limit loop. */
export interface Arrangement {
  readonly workers: number;
  /** Of ONNX Runtime in each worker. */
  readonly threads: number;
}

/**
 * What is tried to find the best one: one worker more than cores, every division of the cores by powers of two, all cores for
 * one worker, and one worker of one thread.
 */
export function arrangements(cores: number): Arrangement[] {
  const threads = [];
  for (let n = 1; n < cores; n *= 2) threads.push(n);
  const all = [...threads, cores].map((n) => ({ workers: Math.floor(cores / n), threads: n }));
  return [{ workers: cores + 1, threads: 1 }, ...all, ...(cores > 1 ? [{ workers: 1, threads: 1 }] : [])];
}
