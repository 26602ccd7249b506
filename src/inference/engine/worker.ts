import { parentPort, workerData } from 'node:worker_threads';
import { lowerThisThread } from '../../supervise/thread-priority.ts';
import { WorkerLoop } from './worker-loop.ts';
import type { WorkerReply, WorkerRequest, WorkerSettings } from './messages.ts';

/** The worker thread of `OnnxEngine`. */

// Before it loads a library that starts threads of its own.
lowerThisThread();

const port = parentPort!;
const reply = (message: WorkerReply) => port.postMessage(message);
const loop = new WorkerLoop(workerData as WorkerSettings, reply, () => port.close());
port.on('message', (request: WorkerRequest) => loop.take(request));
reply({ kind: 'ready' });
