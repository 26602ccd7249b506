import { describe, expect, test } from 'vitest';
import { ManualClock } from '../../base/clock.ts';
import type { FrameDropCause, FrameOutcome } from '../../base/frame.ts';
import { Priority } from '../../base/sample.ts';
import { spansOf } from '../../observe/traces/spans.ts';
import type { TracedFrame } from '../../observe/traces/frame-trace.ts';
import { FrameTracer } from '../../observe/traces/tracer.ts';
import type { StagesMs } from '../../protocol/video.ts';
import { PictureAccounts, type NamedPicture } from './picture-accounts.ts';

const OBJECTS = { name: 'objects', model: 'ssd' } as const;
/** A camera's own clock says 300 ms before the arrival; decoding ends 20 ms after it, of which 12 were work. */
const BEFORE_MS = 300;
const LATE_MS = 100;

function world(sampleRate?: number) {
  const clock = new ManualClock();
  const seen: { name: string; stages: StagesMs; ownStages: StagesMs }[] = [];
  const traced: TracedFrame[] = [];
  const tracer =
    sampleRate === undefined
      ? undefined
      : new FrameTracer({ sampleRate, sink: { push: (one) => void traced.push(one) } });
  const accounts = new PictureAccounts({
    camera: 'gate',
    clock,
    observer: {
      frame: ({ client_id, pipeline, epoch, seq }, priority, stages, ownStages) => {
        seen.push({ name: `${client_id} ${pipeline} ${epoch}/${seq} ${priority}`, stages, ownStages });
        return ownStages.total > LATE_MS;
      },
      budgetMs: () => LATE_MS,
    },
    tracer: () => tracer,
  });
  let [queued, inFlight] = [0, 0];
  const work = { pipelines: [{ ...OBJECTS, inFlight: () => inFlight }], queued: () => queued };
  return {
    clock,
    seen,
    traced,
    accounts,
    read: () => accounts.read(work),
    holds: (waiting: number, withWorkers: number) => {
      [queued, inFlight] = [waiting, withWorkers];
    },
    come: (
      seq: number,
      priority: Priority = Priority.normal,
      clockOf: NamedPicture['clock'] = 'camera',
    ): NamedPicture => ({
      frame: { camera: 'gate', epoch: 5, seq },
      clock: clockOf,
      captureTimeMs: clock.now() - (clockOf === 'camera' ? BEFORE_MS : 0),
      arrivedTimeMs: clock.now(),
      decodeMs: 12,
      priority,
      trace: accounts.came(priority, work.pipelines),
    }),
    /** Received 20 ms after its arrival, 30 in the queue, 25 with a worker, and there 5 later. */
    result: (): FrameOutcome => {
      const arrivedMs = clock.now();
      clock.advance(80);
      return {
        kind: 'result',
        width: 8,
        height: 8,
        result: { pipeline: 'objects', detections: [] },
        receivedTimeMs: arrivedMs + 20,
        startedTimeMs: arrivedMs + 50,
        stagesMs: { decode: 0, preprocess: 4, inference: 20, postprocess: 1 },
      };
    },
  };
}

const dropped = (cause: FrameDropCause): FrameOutcome => ({ kind: 'dropped', cause });

function expectBalanced(all: ReturnType<PictureAccounts['read']>): void {
  for (const one of all) {
    const lost = Object.values(one.dropped).reduce((sum, count) => sum + count, 0);
    expect(one.results + one.errors + lost + one.queued + one.in_flight + one.unsent, one.class).toBe(one.received);
  }
}

describe('stages of a frame', () => {
  test('are told from its capture, and from its arrival; decoding is a part of its own', () => {
    const { come, result, accounts, seen } = world();
    const picture = come(7);
    accounts.settled(OBJECTS, picture, result(), false);
    const own = { capture: 8, decode: 12, queue: 30, preprocess: 4, inference: 20, postprocess: 1, total: 80 };
    expect(seen).toEqual([
      {
        name: `camera:gate objects 5/7 ${Priority.normal}`,
        ownStages: own,
        stages: { ...own, capture: 8 + BEFORE_MS, total: 80 + BEFORE_MS },
      },
    ]);
  });

  test('a camera’s own clock, network and encoder make no frame late', () => {
    const { come, result, accounts, clock } = world();
    accounts.settled(OBJECTS, come(1), result(), false);
    expect(accounts.tally()).toEqual({ frames: 1, bad: 0 });
    const late = come(2);
    clock.advance(30);
    accounts.settled(OBJECTS, late, result(), false);
    expect(accounts.tally()).toEqual({ frames: 2, bad: 1 });
  });
});

test('lost is what the server left without a result; not what the next picture takes the place of, nor what was given up on request', () => {
  const { come, accounts, read } = world();
  for (const [cause, isPutOff] of [
    ['expired', true],
    ['expired', false],
    ['queue_full', false],
    ['superseded', false],
    ['stale', false],
    ['disconnected', false],
  ] as const) {
    accounts.settled(OBJECTS, come(1), dropped(cause), isPutOff);
  }
  accounts.settled(OBJECTS, come(1), { kind: 'error', code: 'WORKER_LOST', message: 'gone' }, false);
  const [one] = read();
  expect(one).toMatchObject({ received: 7, errors: 1, failed: 1, lost: 4, late: 0 });
  expect(one!.dropped).toMatchObject({ expired: 2, queue_full: 1, superseded: 1, stale: 1, disconnected: 1 });
  expect(accounts.tally()).toEqual({ frames: 5, bad: 5 });
  expectBalanced(read());
});

test('accounts balance for each class while the camera’s class is changed', () => {
  const { come, accounts, read, holds, result } = world();
  const old = come(1, Priority.low);
  holds(0, 1);
  expectBalanced(read());
  const oldQueued = come(2, Priority.low);
  holds(1, 1);
  expectBalanced(read());
  const newest = come(3, Priority.high);
  accounts.settled(OBJECTS, oldQueued, dropped('queue_full'), false);
  expectBalanced(read());
  expect(read()).toMatchObject([
    { class: 'low', received: 2, queued: 0, in_flight: 1 },
    { class: 'high', received: 1, queued: 1, in_flight: 0 },
  ]);
  holds(0, 2);
  expectBalanced(read());
  accounts.settled(OBJECTS, old, result(), false);
  accounts.settled(OBJECTS, newest, result(), false);
  holds(0, 0);
  expectBalanced(read());
  expect(read()).toMatchObject([
    { results: 1, in_flight: 0 },
    { results: 1, in_flight: 0 },
  ]);
});

describe('traces', () => {
  test('a frame has its name, and stages one after the other; nothing is sent', () => {
    const { come, result, accounts, traced } = world(1);
    const picture = come(7);
    accounts.settled(OBJECTS, picture, result(), false);
    const [whole, ...stages] = spansOf(traced[0]!, () => '');
    expect(whole.attributes).toMatchObject({
      'sightline.client_id': 'camera:gate',
      'sightline.model': 'ssd',
      'sightline.epoch': 5,
      'sightline.seq': 7,
      'sightline.budget_ms': LATE_MS,
      'sightline.slow': false,
    });
    const from = picture.captureTimeMs;
    expect(stages.map(({ name, startMs, endMs }) => [name, startMs - from, endMs - from])).toEqual([
      ['capture', 0, 308],
      ['decode', 308, 320],
      ['queue', 320, 350],
      ['preprocess', 350, 354],
      ['inference', 354, 374],
      ['postprocess', 374, 375],
    ]);
    expect([whole.startMs - from, whole.endMs - from]).toEqual([0, 380]);
  });

  test('one that is late from its arrival is kept at a rate of 0; losses are told by their cause', () => {
    const { come, result, accounts, traced, clock } = world(0);
    accounts.settled(OBJECTS, come(1), result(), false);
    const late = come(2);
    clock.advance(50);
    accounts.settled(OBJECTS, late, result(), false);
    expect(traced.map(({ seq }) => seq)).toEqual([2]);
    const all = world(1);
    all.accounts.settled(OBJECTS, all.come(3), dropped('expired'), true);
    expect(all.traced[0]!.outcome).toEqual({ kind: 'dropped', reason: 'expired' });
  });
});
