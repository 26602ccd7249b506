import { workerData } from 'node:worker_threads';

/** A thread that ends its process when the parent has gone, which shows in the orphan's new parent. */

const INTERVAL_MS = 500;

setInterval(() => {
  if (process.ppid !== workerData) process.kill(process.pid, 'SIGKILL');
}, INTERVAL_MS);
