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

/** One set of workers for each arrangement that is tried; those that have nothing to do sleep. */
let teams: Worker[][] = [];

const api = {
  /** Resolves when every worker of every team is ready and warm. */
  prepare: async (given: {
    model: ReadyModel;
    pictures: readonly Uint8Array[];
    arrangements: readonly Arrangement[];
  }): Promise<void> => {
    const { model, pictures } = given;
    const script = new URL('limit-worker.ts', import.meta.url);
    for (const { workers, threads } of given.arrangements) {
      const workerData: LimitWorkerData = { model, threads, pictures };
      const team = Array.from({ length: workers }, () => new Worker(script, { workerData }));
      await Promise.all(team.map((worker) => replyOf(worker)));
      teams.push(team);
    }
  },

  /** Ends every team but one, which is number 0 from now on. */
  keep: async ({ team }: { team: number }): Promise<void> => {
    const [kept] = teams.splice(team, 1);
    await Promise.all(teams.flat().map((worker) => worker.terminate()));
    teams = [kept!];
  },

  /** Pictures per second of all workers of a team together. */
  saturate: async ({ team, spanMs }: { team: number; spanMs: number }): Promise<number> => {
    const fromTimeMs = systemClock.now() + LEAD_MS;
    const request: LimitRequest = { kind: 'span', fromTimeMs, untilTimeMs: fromTimeMs + spanMs };
    const replies = await Promise.all(teams[team]!.map((worker) => ask(worker, request)));
    const count = replies.reduce((sum, reply) => sum + (reply.kind === 'span' ? reply.count : 0), 0);
    return (count * 1000) / spanMs;
  },

  /** One worker of team 0 at a camera's pace; the others rest. */
  paced: async (pace: Pace): Promise<readonly PictureTime[]> => {
    const reply = await ask(teams[0]![0]!, { kind: 'pace', pace });
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
