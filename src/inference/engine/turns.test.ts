import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import type { TurnsWorkerData } from '../../../test/support/turns-worker.ts';
import { Turns } from './turns.ts';

const SCRIPT = new URL('../../../test/support/turns-worker.ts', import.meta.url);
const COUNTS = 200;

function table() {
  const memory = new SharedArrayBuffer(Turns.BYTES);
  const counter = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  const worker = async (me: number, keepsTurn = false): Promise<void> => {
    const data: TurnsWorkerData = { memory, me, counter, counts: COUNTS, keepsTurn };
    const [code] = await once(new Worker(SCRIPT, { workerData: data }), 'exit');
    expect(code).toBe(0);
  };
  return {
    turnsOf: (me: number) => new Turns(memory, me),
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

test('the turn of a thread that has ended with it is given by its owner, and by nobody else', async () => {
  const { worker, turnsOf, count, holder } = table();
  await worker(1, true);
  turnsOf(2).give();
  expect(holder()).toBe(1);
  const next = worker(3);
  turnsOf(1).give();
  await next;
  expect(count()).toBe(2 * COUNTS);
});

test('what fails gives the turn all the same', async () => {
  const { turnsOf } = table();
  await expect(turnsOf(1).in(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(await turnsOf(2).in(() => Promise.resolve('mine'))).toBe('mine');
});
