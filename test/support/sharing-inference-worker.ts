import { parentPort, workerData } from 'node:worker_threads';
import { InferenceSession } from 'onnxruntime-node';
import { WorkerLoop } from '../../src/inference/engine/worker-loop.ts';
import type { WorkerReply, WorkerRequest, WorkerSettings } from '../../src/inference/engine/messages.ts';
import { RunawayClock } from './runaway-clock.ts';

/**
 * The engine's worker on a device where a run takes equally long whatever the number of pictures. It dies in the run of a picture
 * that is grey of level 66.
 */

const DEADLY = Math.fround(66 / 255);

type Feeds = Parameters<InferenceSession['run']>[0];
const { prototype } = InferenceSession as unknown as {
  prototype: { run(feeds: Feeds, ...others: unknown[]): unknown };
};
const { run } = prototype;
prototype.run = function runOrDie(feeds, ...others) {
  const [input] = Object.values(feeds);
  if ((input!.data as Float32Array).includes(DEADLY)) process.exit(7);
  return run.call(this, feeds, ...others);
};

const port = parentPort!;
const reply = (message: WorkerReply) => port.postMessage(message);
const loop = new WorkerLoop(workerData as WorkerSettings, reply, () => port.close(), new RunawayClock());
port.on('message', (request: WorkerRequest) => loop.take(request));
reply({ kind: 'ready' });
