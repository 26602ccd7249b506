import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { NativeGuard } from './native-guard.ts';

const make = () => {
  const memory = new SharedArrayBuffer(NativeGuard.BYTES);
  return { thread: new NativeGuard(memory), owner: new NativeGuard(memory) };
};

test('a thread is claimed only outside of native calls, also where they overlap', () => {
  const { thread, owner } = make();
  thread.enter();
  thread.enter();
  expect(owner.claim()).toBe(false);
  thread.leave();
  expect(owner.claim()).toBe(false);
  thread.leave();
  expect([owner.claim(), owner.claim()]).toEqual([true, true]);
});

test('a call that fails counts as over', async () => {
  const { thread, owner } = make();
  const failing = thread.within(() => Promise.reject(new Error('no')));
  expect(owner.claim()).toBe(false);
  await expect(failing).rejects.toThrow('no');
  expect(owner.claim()).toBe(true);
});

test('a thread that is claimed enters no library any more, and can be terminated', async () => {
  const { owner } = make();
  expect(owner.claim()).toBe(true);
  const code = `
    const { parentPort, workerData } = require('node:worker_threads');
    import(workerData.url).then(({ NativeGuard }) => {
      const guard = new NativeGuard(workerData.memory);
      parentPort.postMessage('begins');
      guard.enter();
      parentPort.postMessage('is inside');
    });`;
  const url = new URL('./native-guard.ts', import.meta.url).href;
  const worker = new Worker(code, { eval: true, workerData: { url, memory: owner.memory } });
  const heard: unknown[] = [];
  worker.on('message', (message) => heard.push(message));
  await expect.poll(() => heard, { timeout: 10_000 }).toEqual(['begins']);
  expect(await worker.terminate()).toBe(1);
  expect(heard).toEqual(['begins']);
});
