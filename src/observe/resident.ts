let lastBytes = 0;

/**
 * Resident size of this process, bytes. Node reads it from a file and throws where no descriptor is left for that; then it is
 * that of the last reading.
 */
export function residentBytes(): number {
  try {
    lastBytes = process.memoryUsage.rss();
  } catch {
    // It is read in timers, where no caller could catch an error.
  }
  return lastBytes;
}
