import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import type { DeviceMutexWorkerData } from '../../../test/support/device-mutex-worker.ts';
import { DeviceMutex } from './device-mutex.ts';

const SCRIPT = new URL('../../../test/support/device-mutex-worker.ts', import.meta.url);
const COUNTS = 200;

function table() {
  const memory = new SharedArrayBuffer(DeviceMutex.BYTES);
  const counter = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  const worker = async (me: number, staysLocked = false): Promise<void> => {
    const data: DeviceMutexWorkerData = { memory, me, counter, counts: COUNTS, staysLocked };
    const [code] = await once(new Worker(SCRIPT, { workerData: data }), 'exit');
    expect(code).toBe(0);
  };
  return {
    mutexOf: (me: number) => new DeviceMutex(memory, me),
    count: () => new Int32Array(counter)[0],
    holder: () => new Int32Array(memory)[0],
    worker,
  };
}

test('threads come one after the other', async () => {
  const { worker, count } = table();
  await Promise.all([worker(1), worker(2), worker(3)]);
  expect(count()).toBe(3 * COUNTS);
});

test('what a thread held when it ended is unlocked by its owner, and by nobody else', async () => {
  const { worker, mutexOf, count, holder } = table();
  await worker(1, true);
  mutexOf(2).unlock();
  expect(holder()).toBe(1);
  const next = worker(3);
  mutexOf(1).unlock();
  await next;
  expect(count()).toBe(2 * COUNTS);
});

test('what fails unlocks all the same', async () => {
  const { mutexOf } = table();
  await expect(mutexOf(1).hold(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(await mutexOf(2).hold(() => Promise.resolve('mine'))).toBe('mine');
});
