import { workerData } from 'node:worker_threads';
import { DeviceMutex } from '../../src/inference/engine/device-mutex.ts';

/** Counts in memory that it shares with others, in two steps between which they could come in; or ends while it holds the mutex. */

export interface DeviceMutexWorkerData {
  readonly memory: SharedArrayBuffer;
  readonly me: number;
  readonly counter: SharedArrayBuffer;
  readonly counts: number;
  readonly staysLocked: boolean;
}

const { memory, me, counter, counts, staysLocked } = workerData as DeviceMutexWorkerData;
const mutex = new DeviceMutex(memory, me);
const cell = new Int32Array(counter);
const nobodyWakes = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
for (let i = 0; i < counts; i++) {
  await mutex.hold(async () => {
    const before = cell[0]!;
    Atomics.wait(nobodyWakes, 0, 0, 0.1);
    cell[0] = before + 1;
  });
}
if (staysLocked) mutex.lock();
