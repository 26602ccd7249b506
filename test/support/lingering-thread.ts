import { isMainThread, Worker } from 'node:worker_threads';

/** To be loaded before a command (`node --import`): a thread is in native code for hours, which is no reason to stay. */

if (isMainThread) {
  new Worker(`require('node:crypto').pbkdf2Sync('', '', 2 ** 31 - 1, 64, 'sha512')`, { eval: true }).unref();
}
