import { parentPort, workerData } from 'node:worker_threads';
import { WorkerLoop } from './worker-loop.ts';
import type { WorkerReply, WorkerRequest, WorkerSettings } from './messages.ts';

/** The worker thread of `OnnxEngine`. */

const port = parentPort!;
const reply = (message: WorkerReply) => port.postMessage(message);
const loop = new WorkerLoop(workerData as WorkerSettings, reply, () => port.close());
port.on('message', (request: WorkerRequest) => loop.take(request));
reply({ kind: 'ready' });
