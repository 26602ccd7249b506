import { parentPort, workerData } from 'node:worker_threads';
import { Desk } from './desk.ts';
import type { WorkerReply, WorkerRequest, WorkerSettings } from './messages.ts';

/** The worker thread of `OnnxEngine`. */

const port = parentPort!;
const reply = (message: WorkerReply) => port.postMessage(message);
const desk = new Desk(workerData as WorkerSettings, reply, () => port.close());
port.on('message', (request: WorkerRequest) => desk.take(request));
reply({ kind: 'ready' });
