import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const STEADY_BYTES = 32 * 1024;
const READINGS_MAX = 10;

/**
 * Memory of this process that is in use, bytes: the heap after a collection, and what objects hold outside of it. Read until it is steady: what
 * earlier tests have left may go meanwhile.
 */
export async function usedBytes(): Promise<number> {
  let before = Infinity;
  for (let reading = 0; ; reading++) {
    collect();
    const { heapUsed, external } = process.memoryUsage();
    const used = heapUsed + external;
    if (Math.abs(before - used) < STEADY_BYTES || reading === READINGS_MAX) return used;
    before = used;
    await turn();
  }
}
