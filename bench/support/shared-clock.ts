/**
 * One clock for all processes of a benchmark, as precise as the monotonic one that they share: Unix ms, with a fixed
 * distance from it that the benchmark's first process decides on and tells the others.
 */
export class SharedClock {
  readonly #shiftMs: number;

  /** `distanceMs`: what `SharedClock.distanceMs()` gave in one process, the same number for all. */
  constructor(distanceMs: number) {
    this.#shiftMs = distanceMs + Number(process.hrtime.bigint()) / 1e6 - performance.now();
  }

  /** From the machine's monotonic clock to the wall clock. */
  static distanceMs(): number {
    return Date.now() - Number(process.hrtime.bigint()) / 1e6;
  }

  now(): number {
    return this.#shiftMs + performance.now();
  }
}
