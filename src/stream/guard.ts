/**
 * Runs callbacks of others. Their exceptions are counted and the last one kept, for health and log, and go no further:
 * one reader's fault must not reach the publisher or another reader.
 */
export class Guard {
  /** Callbacks that threw. */
  faults = 0;
  lastFault: unknown = undefined;

  run(callback: () => void): void {
    try {
      callback();
    } catch (thrown) {
      this.faults++;
      this.lastFault = thrown;
    }
  }
}
