import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { systemClock } from '../../src/base/clock.ts';
import type { ReadyModel } from '../../src/inference/manifest.ts';
import { offer } from '../support/children.ts';
import type { Pace, PictureTime } from '../support/pace.ts';
import type { Arrangement } from './arrangements.ts';
import type { LimitReply, LimitRequest, LimitWorkerData } from './limit-worker.ts';

/** The process of the limit loop: worker threads that know nothing of each other. */

/** Between the request and the span, so that every worker is at work when it begins. */
const LEAD_MS = 100;

let model: ReadyModel | undefined;
let pictures: readonly Uint8Array[] = [];
let workers: Worker[] = [];

const api = {
  prepare: (given: { model: ReadyModel; pictures: readonly Uint8Array[] }): void => {
    ({ model, pictures } = given);
  },

  /** Replaces the workers by others, ready and warm. */
  arrange: async (arrangement: Arrangement): Promise<void> => {
    await Promise.all(workers.map((worker) => worker.terminate()));
    const workerData: LimitWorkerData = { model: model!, threads: arrangement.threads, pictures };
    workers = Array.from(
      { length: arrangement.workers },
      () => new Worker(new URL('limit-worker.ts', import.meta.url), { workerData }),
    );
    await Promise.all(workers.map((worker) => replyOf(worker)));
  },

  /** Pictures per second of all workers together. */
  saturate: async ({ spanMs }: { spanMs: number }): Promise<number> => {
    const fromTimeMs = systemClock.now() + LEAD_MS;
    const request: LimitRequest = { kind: 'span', fromTimeMs, untilTimeMs: fromTimeMs + spanMs };
    const replies = await Promise.all(workers.map((worker) => ask(worker, request)));
    const count = replies.reduce((sum, reply) => sum + (reply.kind === 'span' ? reply.count : 0), 0);
    return (count * 1000) / spanMs;
  },

  /** One worker at a camera's pace; the others rest. */
  paced: async (pace: Pace): Promise<readonly PictureTime[]> => {
    const reply = await ask(workers[0]!, { kind: 'pace', pace });
    return reply.kind === 'pace' ? reply.times : [];
  },
};

function ask(worker: Worker, request: LimitRequest): Promise<LimitReply> {
  const reply = replyOf(worker);
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  worker.postMessage(request);
  return reply;
}

/** Rejects when the worker throws. */
async function replyOf(worker: Worker): Promise<LimitReply> {
  const [reply] = (await once(worker, 'message')) as [LimitReply];
  return reply;
}

export type LimitApi = typeof api;

offer(api);
