import { pbkdf2Sync } from 'node:crypto';
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import type { WorkerRequest, WorkerSettings } from '../../src/inference/engine/messages.ts';

/** To be loaded before a server (`node --import`): its inference workers are stuck in native code from their first frame on, for hours. */

const isInference = !isMainThread && (workerData as Partial<WorkerSettings> | null)?.session !== undefined;
if (isInference) {
  parentPort!.on('message', (request: WorkerRequest) => {
    if (request.kind === 'run') pbkdf2Sync('', '', 2 ** 31 - 1, 64, 'sha512');
  });
}
