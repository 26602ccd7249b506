import { expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import type { Picture } from '../base/picture.ts';
import { loadConfig } from '../config/load.ts';
import { SightlineError } from '../base/errors.ts';
import type { Engine, InferenceJob } from '../inference/engine/types.ts';
import { boundless } from '../fences/memory-ledger.ts';
import { FrameStreams } from '../stream/frame-streams.ts';
import { Hub } from '../stream/hub.ts';
import { Dispatcher } from './dispatcher.ts';
import { FrameOutcomes } from './frame-outcomes.ts';
import type { PipelineChoice } from './pipeline.ts';
import { PipelineHost } from './pipeline-host.ts';

const DROPPED = { kind: 'dropped', cause: 'disconnected' };
const PICTURE: Picture = { kind: 'jpeg', bytes: Uint8Array.of(0xff, 0xd8), width: 4, height: 4 };

/** It takes jobs and never ends one. */
class EndlessEngine implements Engine {
  onFree: (() => void) | undefined;
  readonly jobs: InferenceJob[] = [];
  readonly freeSlots = 2;
  readonly urgentSlots = 2;

  run(job: InferenceJob) {
    this.jobs.push(job);
    return job.programs.map(() => new Promise<never>(() => {}));
  }

  load(): never {
    throw new Error('not in these tests');
  }

  stats() {
    const counts = { workers: 1, busy: 0, restarts: 0, completed: 0, failed: 0, decodes: 0, workerMs: 0, busyMs: 0 };
    return { ...counts, models: [], work: [] };
  }

  async close(): Promise<void> {}
}

function setUp(streamsMax = 10) {
  const clock = new ManualClock();
  const hub = new Hub({ clock, streamsMax });
  const engine = new EndlessEngine();
  const asked: string[] = [];
  const dispatcher = new Dispatcher({ engine, clock, laneInFlightMax: 2, stallTimeoutMs: 1_000 });
  const memory = boundless();
  const streams = new FrameStreams(hub, memory);
  const account = () => memory.server;
  const host = new PipelineHost({
    streams,
    dispatcher,
    models: {
      detector: async (id = 'ssd-oidv4') => {
        if (id === 'gone') throw new SightlineError('MODEL_UNKNOWN', 'no model gone');
        asked.push(id);
        return id;
      },
      model: async (id) => {
        asked.push(id);
        return { id };
      },
    },
    config: () => loadConfig({ env: {}, flags: { 'detection.confidence_threshold': 0.25 } }),
  });
  const frames = streams.frames('cam/frames', 4, account);
  const open = (pipelines: readonly string[], choice: PipelineChoice = {}, isChoiceForSome = false) =>
    host.open({ source: 'cam', frames, account, pipelines, choice, isChoiceForSome });
  return { hub, engine, asked, dispatcher, frames, open };
}

test('a source has a stream of outcomes for each pipeline; a frame is one job of all of them', async () => {
  const { hub, engine, asked, dispatcher, frames, open } = setUp();
  const { lane, pipelines } = await open(['objects', 'hands']);
  expect([...new Set(asked)].toSorted()).toEqual(['hand-lite', 'palm-lite', 'ssd-oidv4']);
  expect(pipelines.map(({ name, model }) => [name, model])).toEqual([
    ['objects', 'ssd-oidv4'],
    ['hands', 'hand-lite'],
  ]);
  for (const { name, outcomes } of pipelines) expect(hub.get(`cam/${name}`)).toBe(outcomes);
  using outcomes = new FrameOutcomes(pipelines);
  const waiting = outcomes.of(1);
  frames.publish({ seq: 1, data: PICTURE });
  expect(engine.jobs).toHaveLength(1);
  expect(engine.jobs[0]!.programs.map(({ models }) => models)).toEqual([
    { detector: 'ssd-oidv4' },
    { palm: 'palm-lite', landmarks: 'hand-lite' },
  ]);
  expect(engine.jobs[0]!.programs[0]!.settings).toEqual({ confidence: 0.25 });
  expect(pipelines.map(({ inFlight }) => inFlight())).toEqual([1, 1]);
  dispatcher.detach(lane);
  expect(await Promise.all(waiting)).toEqual([DROPPED, DROPPED]);
  expect(hub.list().map(({ name }) => name)).toEqual(['cam/frames']);
});

test('what a pipeline has no choice of is refused, and the choice of a source beats the configuration', async () => {
  const { engine, frames, open } = setUp();
  await expect(open(['hands'], { model: 'ssd-oidv4' })).rejects.toMatchObject({ code: 'QUERY_BAD' });
  await expect(open(['dance'])).rejects.toMatchObject({ code: 'PIPELINE_UNKNOWN' });
  await expect(open(['objects'], { model: 'gone' })).rejects.toMatchObject({ code: 'MODEL_UNKNOWN' });
  await open(['objects'], { model: 'mine', confidence: 0.75, iou: 0.5 });
  frames.publish({ seq: 1, data: PICTURE });
  expect(engine.jobs[0]!.programs[0]).toMatchObject({
    models: { detector: 'mine' },
    settings: { confidence: 0.75, iou: 0.5 },
  });
});

test('with no room for all of its streams a source leaves none behind', async () => {
  const { hub, open } = setUp(2);
  await expect(open(['objects', 'hands'])).rejects.toMatchObject({ code: 'STREAM_LIMIT_REACHED' });
  expect(hub.list().map(({ name }) => name)).toEqual(['cam/frames']);
});

test('an option may be for those pipelines alone that take it, but not for none', async () => {
  const { asked, dispatcher, open } = setUp();
  const { lane } = await open(['objects', 'hands'], { model: 'mine' }, true);
  expect(asked).toContain('mine');
  dispatcher.detach(lane);
  await expect(open(['hands'], { model: 'mine' }, true)).rejects.toMatchObject({ code: 'QUERY_BAD' });
});
