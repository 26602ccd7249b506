import { totalmem } from 'node:os';

/** Memory that this process may have: of the machine, or of its cgroup where that is less, bytes. */
export function machineBytes(): number {
  // 0 where nothing is known, and 2^64 or so where there is no constraint.
  return Math.min(totalmem(), process.constrainedMemory() || Infinity);
}
