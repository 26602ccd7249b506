import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { FrameOutcome } from '../base/frame.ts';
import type { Picture } from '../base/picture.ts';
import { seededRandom } from '../base/random.ts';
import { Priority } from '../base/sample.ts';
import type {
  Engine,
  EngineStats,
  InferenceJob,
  ProgramCall,
  ProgramOutcome,
  ProviderReport,
} from '../inference/engine/types.ts';
import { Hub } from '../stream/hub.ts';
import type { Stream } from '../stream/stream.ts';
import { Dispatcher } from './dispatcher.ts';
import type { FrameLane } from './frame-lane.ts';

type End = (outcome: ProgramOutcome | SightlineError) => void;

interface SteeredJob {
  readonly mark: number;
  readonly isUrgent: boolean;
  readonly expectedMs: number | undefined;
  readonly programs: readonly ProgramCall[];
  /** All programs at once, or those that are left. */
  readonly end: End;
  /** One of them, which is ready before the others; with the last one the job is over. */
  readonly endOne: (index: number, outcome: ProgramOutcome | SightlineError) => void;
}

/** An engine whose jobs end when the test says so, and in which order. */
class SteeredEngine implements Engine {
  onFree: (() => void) | undefined;
  readonly jobs: SteeredJob[] = [];
  /** Of the first runs of models. */
  readonly costsMs: Record<string, number> = {};
  readonly #slots: number;
  /** Kept for urgent jobs. */
  readonly #extraSlots: number;

  constructor(slots: number, extraSlots: number) {
    this.#slots = slots;
    this.#extraSlots = extraSlots;
  }

  get freeSlots(): number {
    return Math.max(0, this.#slots - this.jobs.length);
  }

  get urgentSlots(): number {
    return this.#slots + this.#extraSlots - this.jobs.length;
  }

  run({ picture, programs, urgent = false, expectedMs }: InferenceJob): Promise<ProgramOutcome>[] {
    const waiting = programs.map(() => Promise.withResolvers<ProgramOutcome>());
    const open = new Set(waiting.keys());
    const endOne = (index: number, outcome: ProgramOutcome | SightlineError) => {
      open.delete(index);
      if (open.size === 0) this.jobs.splice(this.jobs.indexOf(entry), 1);
      if (outcome instanceof Error) waiting[index]!.reject(outcome);
      else waiting[index]!.resolve(outcome);
    };
    const entry: SteeredJob = {
      mark: picture.bytes[0]!,
      isUrgent: urgent,
      expectedMs,
      programs,
      end: (outcome) => {
        for (const index of open) endOne(index, outcome);
      },
      endOne,
    };
    this.jobs.push(entry);
    return waiting.map(({ promise }) => promise);
  }

  load(): Promise<ProviderReport> {
    throw new Error('not in these tests');
  }

  stats(): EngineStats {
    return {
      workers: 1,
      busy: 0,
      restarts: 0,
      completed: 0,
      failed: 0,
      decodes: 0,
      workerMs: 0,
      busyMs: 0,
      work: [],
      models: Object.entries(this.costsMs).map(([id, costMs]) => {
        const providers = { requested: [], effective: 'cpu', refused: [], nodes: {} };
        return { id, providers, warmUpMs: 0, batch: { max: 1, costsMs: { '1': costMs }, runs: {} } };
      }),
    };
  }

  async close(): Promise<void> {}
}

const BOTH_KINDS = ['objects', 'hands'] as const;

/** As much as work is taken to cost of which nothing is known: turns are whole frames. */
const COST_MS = 10;

const done = (more: Partial<ProgramOutcome> = {}): ProgramOutcome => ({
  result: { detections: [] },
  width: 8,
  height: 8,
  stagesMs: { decode: 1, preprocess: 1, inference: 1, postprocess: 1 },
  startedTimeMs: 0,
  workerMs: COST_MS,
  ...more,
});
const DONE = done();

/** Promises that the engine resolved have run their continuations. */
const settled = () => new Promise((done) => setImmediate(done));

interface LaneMore {
  readonly isWithinGrant?: () => boolean;
  /** Default: one, of objects. */
  readonly programs?: readonly { readonly program: string; readonly isOrdered?: boolean }[];
}

function setUp(options: { slots: number; extraSlots?: number; laneInFlightMax?: number; queue?: number }) {
  const clock = new ManualClock();
  const hub = new Hub({ clock, random: seededRandom(7), streamsMax: 100 });
  const engine = new SteeredEngine(options.slots, options.extraSlots ?? 0);
  const dispatcher = new Dispatcher({
    engine,
    clock,
    laneInFlightMax: options.laneInFlightMax ?? 3,
    stallTimeoutMs: 500,
  });
  const lane = (name: string, { isWithinGrant, programs = [{ program: 'objects' }] }: LaneMore = {}) => {
    const frames = hub.create<Picture>(`${name}/frames`, { capacity: options.queue ?? 25 });
    const pipelines = programs.map(({ program, isOrdered = false }) => {
      const outcomes = hub.create<FrameOutcome>(`${name}/${program}`, { capacity: 256 });
      // Which names there are is nothing to the dispatcher; what a program does is in its module.
      const pipelineName = program === 'hands' ? ('hands' as const) : ('objects' as const);
      return {
        name: pipelineName,
        program,
        models: { model: program },
        settings: { of: program },
        outcomes,
        isOrdered,
      };
    });
    const views = pipelines.map(({ outcomes }) => {
      const reader = outcomes.subscribe({ contract: { kind: 'all' } });
      const seen: string[] = [];
      return () => {
        for (let sample = reader.next(); sample; sample = reader.next()) {
          const { data } = sample;
          seen.push(
            `${sample.seq}:${data.kind === 'dropped' ? data.cause : data.kind === 'error' ? data.code : 'result'}`,
          );
        }
        return seen;
      };
    });
    const [first, ...others] = pipelines;
    const attached = dispatcher.attach({
      frames,
      pipelines: [first!, ...others],
      ...(isWithinGrant && { isWithinGrant }),
    });
    return { frames, outcomes: first!.outcomes, attached, outcomesSeen: views[0]!, outcomesOf: views };
  };
  return { clock, hub, engine, dispatcher, lane };
}

function publish(
  frames: Stream<Picture>,
  seq: number,
  more: { priority?: Priority; deadlineMs?: number; captureTimeMs?: number; mark?: number; decodeMs?: number } = {},
) {
  const { mark = seq, decodeMs, ...rest } = more;
  const data: Picture = {
    kind: 'jpeg',
    bytes: Uint8Array.of(mark),
    width: 8,
    height: 8,
    ...(decodeMs !== undefined && { decodeMs }),
  };
  frames.publish({ seq, data, ...rest });
}

/** Every frame that entered is somewhere, exactly once. */
function expectBalanced(attached: FrameLane) {
  const { published, delivered, queued, dropped, expired } = attached.reader.counts();
  for (const output of attached.outputs) {
    const counts = output.counts();
    const told = counts.results + counts.errors + Object.values(counts.dropped).reduce((sum, n) => sum + n, 0);
    expect(published).toBe(told + counts.inFlight + queued);
  }
  expect(published).toBe(delivered + queued + expired + Object.values(dropped).reduce((sum, n) => sum + n, 0));
}

describe('Dispatcher', () => {
  test('outcomes leave in the order of the frames, whichever worker is done first', async () => {
    const { engine, lane } = setUp({ slots: 3 });
    const cam = lane('cam');
    for (const seq of [1, 2, 3]) publish(cam.frames, seq);
    const [first, second, third] = [...engine.jobs];
    third!.end(DONE);
    first!.end(DONE);
    await settled();
    expect(cam.outcomesSeen()).toEqual(['1:result']);
    expectBalanced(cam.attached);
    second!.end(DONE);
    await settled();
    expect(cam.outcomesSeen()).toEqual(['1:result', '2:result', '3:result']);
    expectBalanced(cam.attached);
  });

  test('a frame leaves its stream once a newer one is with the engine, unless somebody else reads the stream too', async () => {
    const { engine, lane } = setUp({ slots: 1 });
    const cam = lane('cam');
    const held = () => [...cam.frames.history(0)].map(({ seq }) => seq);
    for (const seq of [1, 2, 3]) publish(cam.frames, seq);
    expect(held()).toEqual([1, 2, 3]);
    engine.jobs[0]!.end(DONE);
    await settled();
    expect(held()).toEqual([2, 3]);
    const recorder = cam.frames.subscribe({ contract: { kind: 'all' } });
    publish(cam.frames, 4);
    for (let i = 0; i < 3; i++) {
      engine.jobs[0]!.end(DONE);
      await settled();
    }
    expect(held()).toEqual([2, 3, 4]);
    expect(recorder.next()?.seq).toBe(4);
    recorder.close();
    publish(cam.frames, 5);
    expect(held()).toEqual([5]);
    expect(cam.outcomesSeen()).toEqual(['1:result', '2:result', '3:result', '4:result']);
    expectBalanced(cam.attached);
  });

  test('a full queue drops the oldest frames and says so', async () => {
    const { engine, lane } = setUp({ slots: 1, queue: 2 });
    const cam = lane('cam');
    for (const seq of [1, 2, 3, 4, 5]) publish(cam.frames, seq);
    expect(cam.outcomesSeen()).toEqual(['2:queue_full', '3:queue_full']);
    expectBalanced(cam.attached);
    for (let i = 0; i < 3; i++) {
      engine.jobs[0]!.end(DONE);
      await settled();
    }
    expect(cam.outcomesSeen().slice(2)).toEqual(['1:result', '4:result', '5:result']);
  });

  test('a frame that waited too long is expired, not processed', async () => {
    const { clock, engine, lane } = setUp({ slots: 1 });
    const cam = lane('cam');
    publish(cam.frames, 1);
    publish(cam.frames, 2, { deadlineMs: clock.now() + 100 });
    publish(cam.frames, 3);
    clock.advance(101);
    engine.jobs[0]!.end(DONE);
    await settled();
    expect(engine.jobs.map((job) => job.mark)).toEqual([3]);
    expect(cam.outcomesSeen().toSorted()).toEqual(['1:result', '2:expired']);
    expectBalanced(cam.attached);
  });

  test('lanes take turns, and none fills the engine alone', () => {
    const { engine, lane } = setUp({ slots: 4, laneInFlightMax: 3 });
    const [a, b] = [lane('a'), lane('b')];
    for (const seq of [1, 2, 3, 4, 5]) publish(a.frames, seq);
    expect(engine.jobs.map((job) => job.mark)).toEqual([1, 2, 3]);
    publish(b.frames, 1, { mark: 101 });
    publish(b.frames, 2, { mark: 102 });
    expect(engine.jobs.map((job) => job.mark)).toEqual([1, 2, 3, 101]);
  });

  test('after each frame it is the next lane that is served', async () => {
    const { engine, lane } = setUp({ slots: 1 });
    const [a, b] = [lane('a'), lane('b')];
    for (const seq of [1, 2, 3]) {
      publish(a.frames, seq);
      publish(b.frames, seq, { mark: 100 + seq });
    }
    const order: number[] = [];
    while (engine.jobs[0]) {
      order.push(engine.jobs[0].mark);
      engine.jobs[0].end(DONE);
      await settled();
    }
    expect(order).toEqual([1, 101, 2, 102, 3, 103]);
  });

  test('a higher priority goes first', async () => {
    const { engine, lane } = setUp({ slots: 1 });
    const [a, b] = [lane('a'), lane('b')];
    publish(a.frames, 1);
    publish(a.frames, 2);
    publish(b.frames, 1, { mark: 101, priority: Priority.critical });
    engine.jobs[0]!.end(DONE);
    await settled();
    expect(engine.jobs.map((job) => job.mark)).toEqual([101]);
  });

  test('the place that is kept for urgent frames is for critical ones, also when others wait for longer', async () => {
    const bench = setUp({ slots: 1, extraSlots: 1, laneInFlightMax: 1 });
    const [busy, normal, critical] = ['busy', 'normal', 'critical'].map((name) => bench.lane(name));
    publish(busy!.frames, 1, { mark: 1 });
    publish(normal!.frames, 1, { mark: 2, priority: Priority.high });
    bench.clock.advance(5_000);
    for (const seq of [1, 2]) publish(critical!.frames, seq, { mark: 100 + seq, priority: Priority.critical });
    expect(bench.engine.jobs.map(({ mark, isUrgent }) => [mark, isUrgent])).toEqual([
      [1, false],
      [101, true],
    ]);
    bench.engine.jobs[1]!.end(DONE);
    await settled();
    expect(bench.engine.jobs.map(({ mark }) => mark)).toEqual([1, 102]);
    await finish(bench);
    expect(bench.engine.jobs.map(({ mark }) => mark)).toEqual([102]);
    await finish(bench);
    expect(bench.engine.jobs.map(({ mark }) => mark)).toEqual([2]);
    for (const { attached } of [busy!, normal!, critical!]) expectBalanced(attached);
  });

  test('a failed frame becomes an error and the lane goes on', async () => {
    const { engine, lane } = setUp({ slots: 1 });
    const cam = lane('cam');
    publish(cam.frames, 1);
    publish(cam.frames, 2);
    engine.jobs[0]!.end(new SightlineError('WORKER_LOST', 'the worker died'));
    await settled();
    engine.jobs[0]!.end(DONE);
    await settled();
    expect(cam.outcomesSeen()).toEqual(['1:WORKER_LOST', '2:result']);
    expectBalanced(cam.attached);
  });

  test('a stalled frame does not hold up the newer ones for ever, and comes too late afterwards', async () => {
    const { clock, engine, lane } = setUp({ slots: 2 });
    const cam = lane('cam');
    publish(cam.frames, 1);
    publish(cam.frames, 2);
    const [stalled, quick] = [...engine.jobs];
    clock.advance(501);
    quick!.end(DONE);
    await settled();
    expect(cam.outcomesSeen()).toEqual(['1:stale', '2:result']);
    stalled!.end(DONE);
    await settled();
    expect(cam.outcomesSeen()).toEqual(['1:stale', '2:result']);
    expectBalanced(cam.attached);
  });

  test('detaching accounts for what was queued and in flight, and the engine serves the others', async () => {
    const { engine, dispatcher, lane } = setUp({ slots: 1 });
    const [a, b] = [lane('a'), lane('b')];
    publish(a.frames, 1);
    publish(a.frames, 2);
    publish(b.frames, 1, { mark: 101 });
    dispatcher.detach(a.attached);
    dispatcher.detach(a.attached);
    expect(a.attached.outputs[0]!.counts().dropped.disconnected).toBe(2);
    expect(a.outcomes.closed).toBe(true);
    engine.jobs[0]!.end(DONE);
    await settled();
    expect(engine.jobs.map((job) => job.mark)).toEqual([101]);
    expect(b.outcomesSeen()).toEqual([]);
  });
});

/** Ends the oldest job so long after the one before; returns the mark of its frame. */
async function finish({ clock, engine }: Pick<ReturnType<typeof setUp>, 'clock' | 'engine'>, afterMs = 0) {
  clock.advance(afterMs);
  const [job] = engine.jobs;
  job!.end(DONE);
  await settled();
  return job!.mark;
}

describe('superseded frames', () => {
  test('of a lane that is behind the newest goes in time, older ones that it would wait for are left out', async () => {
    const bench = setUp({ slots: 1 });
    const cam = bench.lane('cam');
    const young = (seq: number) => publish(cam.frames, seq, { deadlineMs: bench.clock.now() + 400 });
    for (const seq of [1, 2, 3]) young(seq);
    await finish(bench, 50);
    // A worker every 50 ms: 100 of the 400 ms are two frames.
    for (const seq of [4, 5, 6]) young(seq);
    await finish(bench, 50);
    expect(bench.engine.jobs.map(({ mark }) => mark)).toEqual([4]);
    expect(cam.outcomesSeen()).toEqual(['1:result', '2:result', '3:superseded']);
    expectBalanced(cam.attached);
    await finish(bench, 50);
    await finish(bench, 50);
    await finish(bench, 50);
    expect(cam.outcomesSeen().slice(3)).toEqual(['4:result', '5:result', '6:result']);
    expect(cam.attached.outputs[0]!.counts()).toMatchObject({ results: 5, dropped: { superseded: 1 } });
  });

  test('a budget too short for one frame to wait for another leaves the newest alone', async () => {
    const bench = setUp({ slots: 1 });
    const cam = bench.lane('cam');
    for (const seq of [1, 2, 3, 4, 5]) publish(cam.frames, seq, { deadlineMs: bench.clock.now() + 390 });
    await finish(bench, 100);
    await finish(bench, 100);
    expect(bench.engine.jobs.map(({ mark }) => mark)).toEqual([5]);
    expect(cam.attached.outputs[0]!.counts().dropped.superseded).toBe(2);
    expectBalanced(cam.attached);
  });

  test('how often a lane gets a worker is learned by three tenths with each of its frames', async () => {
    const bench = setUp({ slots: 1 });
    const cam = bench.lane('cam');
    for (const seq of [1, 2, 3]) publish(cam.frames, seq);
    for (const seq of [4, 5, 6, 7]) publish(cam.frames, seq, { deadlineMs: bench.clock.now() + 400 });
    await finish(bench, 50);
    await finish(bench, 150);
    // 50 ms, then 80: of 100 ms that is one frame.
    await finish(bench, 80);
    expect(bench.engine.jobs.map(({ mark }) => mark)).toEqual([6]);
    expect(cam.attached.outputs[0]!.counts().dropped.superseded).toBe(2);
  });

  test('a pause of the source is no slowness of the engine', async () => {
    const bench = setUp({ slots: 1 });
    const [cam, other] = [bench.lane('cam'), bench.lane('other')];
    publish(cam.frames, 1);
    await finish(bench, 10);
    bench.clock.advance(60_000);
    publish(other.frames, 1, { mark: 100 });
    for (const seq of [2, 3, 4]) publish(cam.frames, seq, { deadlineMs: bench.clock.now() + 200 });
    await finish(bench, 10);
    await finish(bench, 10);
    expect(bench.engine.jobs.map(({ mark }) => mark)).toEqual([3]);
    expect(cam.attached.outputs[0]!.counts().dropped.superseded).toBe(0);
  });

  test('who has lost its connection is not behind when it comes back', async () => {
    const bench = setUp({ slots: 1 });
    const [cam, other] = [bench.lane('cam'), bench.lane('other')];
    for (const seq of [1, 2, 3]) publish(cam.frames, seq);
    await finish(bench, 5_000);
    cam.attached.discardQueued();
    await finish(bench);
    publish(other.frames, 1, { mark: 100 });
    for (const seq of [4, 5, 6]) publish(cam.frames, seq, { deadlineMs: bench.clock.now() + 200 });
    await finish(bench, 10);
    expect(bench.engine.jobs.map(({ mark }) => mark)).toEqual([4]);
    expect(cam.attached.outputs[0]!.counts().dropped).toMatchObject({ superseded: 0, disconnected: 1 });
  });

  test('no frame that may be as late as it likes, and none of a lane that is not behind', async () => {
    const patient = setUp({ slots: 1 });
    const slow = patient.lane('slow');
    for (const seq of [1, 2, 3, 4]) publish(slow.frames, seq);
    for (let i = 0; i < 4; i++) await finish(patient, 10_000);
    expect(slow.outcomesSeen()).toEqual(['1:result', '2:result', '3:result', '4:result']);

    const idle = setUp({ slots: 1 });
    const cam = idle.lane('cam');
    for (const seq of [1, 2, 3]) publish(cam.frames, seq, { deadlineMs: idle.clock.now() + 10_000 });
    for (let i = 0; i < 3; i++) await finish(idle, 1_000);
    // A lane that has caught up is not taken for slow when its next frames come together.
    idle.clock.advance(60_000);
    for (const seq of [4, 5, 6]) publish(cam.frames, seq, { deadlineMs: idle.clock.now() + 100 });
    await finish(idle, 1);
    expect(idle.engine.jobs.map(({ mark }) => mark)).toEqual([5]);
    expect(cam.attached.outputs[0]!.counts().dropped.superseded).toBe(0);
  });
});

describe('a frame that came too late', () => {
  /** A lane that is behind and has one good frame, and behind it one that has expired when it comes. */
  async function lateFrame() {
    const bench = setUp({ slots: 1 });
    const cam = bench.lane('cam');
    for (const seq of [1, 2, 3]) publish(cam.frames, seq, { deadlineMs: bench.clock.now() + 300 });
    await finish(bench, 100);
    publish(cam.frames, 4, { deadlineMs: bench.clock.now() - 1 });
    return { ...bench, cam };
  }

  test('supersedes none that is in time', async () => {
    const bench = await lateFrame();
    await finish(bench, 100);
    expect(bench.engine.jobs.map(({ mark }) => mark)).toEqual([3]);
    await finish(bench);
    expect(bench.cam.outcomesSeen()).toEqual(['1:result', '2:result', '3:result', '4:expired']);
    expectBalanced(bench.cam.attached);
  });

  test('leaves no worker idle while another lane waits', async () => {
    const bench = await lateFrame();
    const other = bench.lane('other');
    for (const seq of [1, 2]) publish(other.frames, seq, { mark: 100 + seq });
    const order: number[] = [];
    while (bench.engine.jobs.length > 0) order.push(await finish(bench, 1));
    expect(order).toEqual([2, 101, 102, 3]);
  });
});

describe('lanes that wait for each other', () => {
  test('one that gets nothing for a second is let through now and then, then the higher class goes on', async () => {
    const bench = setUp({ slots: 1 });
    const [high, low] = [bench.lane('high'), bench.lane('low')];
    const more = (seq: number) => publish(high.frames, seq, { priority: Priority.critical, mark: 1 });
    let seq = 0;
    for (let i = 0; i < 3; i++) more(++seq);
    for (let i = 1; i <= 20; i++) publish(low.frames, i, { priority: Priority.low, mark: 100 + i });
    const order: boolean[] = [];
    for (let i = 0; i < 120; i++) {
      more(++seq);
      order.push((await finish(bench, 50)) > 100);
    }
    const served = order.flatMap((isLow, i) => (isLow ? [i] : []));
    // After more than a second without one, of fifty milliseconds a frame.
    expect(served.length).toBeGreaterThanOrEqual(5);
    for (const [i, at] of served.entries()) {
      const gap = at - (served[i - 1] ?? 0);
      expect(gap).toBeGreaterThanOrEqual(20);
      expect(gap).toBeLessThanOrEqual(23);
    }
    expectBalanced(low.attached);
  });

  test('of an engine so slow that even critical lanes wait for a second, others get something too', async () => {
    const bench = setUp({ slots: 1 });
    const [one, other, low] = ['one', 'other', 'low'].map((name) => bench.lane(name));
    let seq = 0;
    const fill = () => {
      seq++;
      for (const lane of [one!, other!]) publish(lane.frames, seq, { priority: Priority.critical, mark: 1 });
    };
    fill();
    for (let i = 1; i <= 20; i++) publish(low!.frames, i, { mark: 2 });
    const order: number[] = [];
    for (let i = 0; i < 50; i++) {
      fill();
      order.push(await finish(bench, 600));
    }
    expect(order.filter((mark) => mark === 2).length).toBeGreaterThanOrEqual(5);
  });

  test('who only ever has young frames, which expire unseen, starves all the same, and is let through', async () => {
    const bench = setUp({ slots: 1 });
    const [high, low] = [bench.lane('high'), bench.lane('low')];
    const more = (seq: number) => publish(high.frames, seq, { priority: Priority.critical });
    for (let seq = 1; seq <= 3; seq++) more(seq);
    for (let i = 0; i < 120; i++) {
      more(4 + i);
      if (i % 12 === 0) publish(low.frames, 1 + i, { mark: 200, deadlineMs: bench.clock.now() + 500 });
      await finish(bench, 50);
    }
    const { results, dropped } = low.attached.outputs[0]!.counts();
    expect(results).toBeGreaterThanOrEqual(3);
    expect(results + dropped.expired).toBe(10);
  });

  test('who was away for an hour, or lost its connection, is not one that starves', async () => {
    for (const isBackBy of ['time', 'connection']) {
      const bench = setUp({ slots: 1 });
      const [busy, back, starved] = ['busy', 'back', 'starved'].map((name) => bench.lane(name));
      let seq = 0;
      const critical = () => publish(busy!.frames, ++seq, { priority: Priority.critical, mark: 1 });
      const go = async (times: number, eachMs: number) => {
        for (let i = 0; i < times; i++) {
          await finish(bench, eachMs);
          critical();
        }
      };
      for (let i = 0; i < 8; i++) critical();
      publish(back!.frames, 1, { mark: 2, deadlineMs: bench.clock.now() + (isBackBy === 'time' ? 10 : 1e9) });
      await go(6, 20);
      if (isBackBy === 'time') bench.clock.advance(3_600_000);
      else back!.attached.discardQueued();
      await go(8, 20);
      publish(starved!.frames, 1, { mark: 3 });
      await go(3, 300);
      publish(back!.frames, 2, { mark: 2 });
      while (bench.engine.jobs[0]!.mark === 1) await go(1, 300);
      expect(bench.engine.jobs[0]!.mark).toBe(3);
    }
  });

  test('property: of lanes that always have frames none is more than one frame ahead of another', async () => {
    const benches = fc.record({
      slots: fc.integer({ min: 1, max: 5 }),
      laneInFlightMax: fc.integer({ min: 1, max: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(benches, fc.integer({ min: 2, max: 5 }), async (options, count) => {
        const bench = setUp(options);
        const lanes = Array.from({ length: count }, (_, i) => bench.lane(`l${i}`));
        for (let seq = 1; seq <= 20; seq++) for (const { frames } of lanes) publish(frames, seq);
        while (lanes.every(({ attached }) => attached.reader.queued > 0)) {
          await finish(bench, 1);
          const taken = lanes.map(({ attached }) => attached.reader.counts().delivered);
          expect(Math.max(...taken) - Math.min(...taken)).toBeLessThanOrEqual(1);
        }
      }),
      { numRuns: 40 },
    );
  });

  test('who was idle has no claim to what was left to others, but for one frame', async () => {
    const bench = setUp({ slots: 1, queue: 100 });
    const [busy, idle] = [bench.lane('busy'), bench.lane('idle')];
    for (let seq = 1; seq <= 60; seq++) publish(busy.frames, seq, { mark: 1 });
    for (let i = 0; i < 40; i++) await finish(bench, 1);
    for (let seq = 1; seq <= 15; seq++) publish(idle.frames, seq, { mark: 2 });
    await finish(bench, 1);
    const order: number[] = [];
    for (let i = 0; i < 10; i++) order.push(await finish(bench, 1));
    expect(order).toEqual([2, 2, 1, 2, 1, 2, 1, 2, 1, 2]);
  });

  test('of lanes that were idle a dear one does not go before a cheap one: both have a claim to the same worker time', async () => {
    const bench = setUp({ slots: 1 });
    Object.assign(bench.engine.costsMs, { dear: 30, cheap: 10, objects: 10 });
    const [busy, dear, cheap] = ['objects', 'dear', 'cheap'].map((program) =>
      bench.lane(program, { programs: [{ program }] }),
    );
    for (let seq = 1; seq <= 22; seq++) publish(busy!.frames, seq, { mark: 1 });
    for (let i = 0; i < 20; i++) await finish(bench, 1);
    publish(dear!.frames, 1, { mark: 2, deadlineMs: bench.clock.now() + 900 });
    publish(cheap!.frames, 1, { mark: 3, deadlineMs: bench.clock.now() + 800 });
    expect([await finish(bench), await finish(bench), await finish(bench)]).toEqual([1, 3, 2]);
  });

  test('among lanes that have had the same the earliest deadline goes first', async () => {
    const bench = setUp({ slots: 1 });
    const [first, late, soon] = ['first', 'late', 'soon'].map((name) => bench.lane(name));
    publish(first!.frames, 1, { mark: 1 });
    publish(late!.frames, 1, { mark: 2, deadlineMs: bench.clock.now() + 900 });
    publish(soon!.frames, 1, { mark: 3, deadlineMs: bench.clock.now() + 100 });
    expect([await finish(bench), await finish(bench), await finish(bench)]).toEqual([1, 3, 2]);
  });
});

describe('a picture that holds a worker for far longer than its kind of work does', () => {
  /** Of a worker for half a second. */
  const DEAR = { decodeMs: 500 };
  const marks = ({ engine }: ReturnType<typeof setUp>) => engine.jobs.map(({ mark }) => mark);
  const decoded = (ms: number) => done({ workerMs: COST_MS + ms, stagesMs: { ...DONE.stagesMs, decode: ms } });

  test('never has more than one worker of two while another lane has work, whoever sends it', async () => {
    const bench = setUp({ slots: 4 });
    const [cam, one, other] = ['cam', 'one', 'other'].map((name) => bench.lane(name));
    publish(cam!.frames, 1, { mark: 1 });
    for (const seq of [1, 2]) publish(one!.frames, seq, { mark: 10 + seq, ...DEAR });
    publish(other!.frames, 1, { mark: 21, ...DEAR });
    publish(cam!.frames, 2, { mark: 2 });
    expect(marks(bench)).toEqual([1, 11, 2]);
    // The next one has its turn when that one is done, and is of the lane that has had nothing.
    bench.engine.jobs[1]!.end(decoded(500));
    await settled();
    expect(marks(bench)).toEqual([1, 2, 21]);
    // A lane that brings nothing any more needs no worker.
    bench.clock.advance(10_001);
    publish(other!.frames, 2, { mark: 22, ...DEAR });
    expect(marks(bench)).toEqual([1, 2, 21, 22]);
    for (const { attached } of [cam!, one!, other!]) expectBalanced(attached);
  });

  test('has every worker where it is alone', () => {
    const bench = setUp({ slots: 3 });
    const one = bench.lane('one');
    for (const seq of [1, 2, 3]) publish(one.frames, seq, DEAR);
    expect(marks(bench)).toEqual([1, 2, 3]);
    expect([one.attached.isCostly, bench.lane('other').attached.isCostly]).toEqual([true, false]);
    bench.clock.advance(10_001);
    expect(one.attached.isCostly).toBe(false);
  });

  test('has no class above normal; the engine is told how long it takes', async () => {
    const bench = setUp({ slots: 1, extraSlots: 1 });
    const [busy, cam, dear] = ['busy', 'cam', 'dear'].map((name) => bench.lane(name));
    publish(busy!.frames, 1, { mark: 1 });
    publish(dear!.frames, 1, { mark: 2, priority: Priority.critical, ...DEAR });
    expect(marks(bench)).toEqual([1]);
    publish(cam!.frames, 1, { mark: 3, priority: Priority.high });
    expect([await finish(bench), await finish(bench)]).toEqual([1, 3]);
    const [job] = bench.engine.jobs;
    expect(job).toMatchObject({ mark: 2, isUrgent: false });
    expect(job!.expectedMs).toBeGreaterThanOrEqual(500);
    job!.end(decoded(700));
    await settled();
    publish(cam!.frames, 2);
    expect(bench.engine.jobs[0]!.expectedMs).toBeUndefined();
  });

  test('is dear by the first runs of its models: a picture is not dear beside a long one', () => {
    const bench = setUp({ slots: 1 });
    Object.assign(bench.engine.costsMs, { objects: 30, hands: 300 });
    const [objects, hands] = BOTH_KINDS.map((program) => bench.lane(program, { programs: [{ program }] }));
    const picture = (decodeMs: number): Picture => ({
      kind: 'jpeg',
      bytes: new Uint8Array(1),
      width: 8,
      height: 8,
      decodeMs,
    });
    expect([59, 61, 599].map((ms) => objects!.attached.isDear(picture(ms)))).toEqual([false, true, true]);
    expect([61, 599, 601].map((ms) => hands!.attached.isDear(picture(ms)))).toEqual([false, false, true]);
  });

  test('costs its own lane: others are expected to cost what they did', async () => {
    const bench = setUp({ slots: 1 });
    const [cam, large, dear] = ['cam', 'large', 'dear'].map((name) => bench.lane(name));
    const runs: [typeof cam, number][] = [
      [cam, 1],
      [large, 30],
      [dear, 500],
    ];
    for (let seq = 1; seq <= 30; seq++) {
      for (const [one, decodeMs] of runs) {
        publish(one!.frames, seq, { decodeMs });
        bench.engine.jobs[0]!.end(decoded(decodeMs));
        await settled();
      }
    }
    expect(runs.map(([one]) => one!.attached.work.costMs)).toEqual([
      expect.closeTo(COST_MS + 1),
      expect.closeTo(COST_MS + 30),
      expect.closeTo(COST_MS + 500),
    ]);
    // A new lane begins with the mean of ordinary ones.
    const late = bench.lane('late').attached.work.costMs!;
    expect(late).toBeGreaterThan(COST_MS + 1);
    expect(late).toBeLessThan(COST_MS + 30);
  });

  test('does not get in by the cheap one in front of it, which it supersedes', async () => {
    const bench = setUp({ slots: 2, laneInFlightMax: 1, queue: 100 });
    const [cam, mixed, dear] = ['cam', 'mixed', 'dear'].map((name) => bench.lane(name));
    publish(cam!.frames, 1, { mark: 1 });
    publish(dear!.frames, 1, { mark: 2, deadlineMs: 1e15, ...DEAR });
    let seq = 0;
    const deadlineMs = () => bench.clock.now() + 100;
    // So far behind that each frame supersedes those before it.
    publish(mixed!.frames, ++seq, { mark: 3, deadlineMs: deadlineMs() });
    publish(mixed!.frames, ++seq, { mark: 3, deadlineMs: deadlineMs() });
    bench.clock.advance(90);
    bench.engine.jobs.find(({ mark }) => mark === 1)!.end(DONE);
    await settled();
    bench.clock.advance(90);
    publish(mixed!.frames, ++seq, { mark: 3, deadlineMs: deadlineMs() });
    publish(mixed!.frames, ++seq, { mark: 4, deadlineMs: deadlineMs(), ...DEAR });
    for (const job of bench.engine.jobs.filter(({ mark }) => mark === 3)) job.end(DONE);
    await settled();
    expect(marks(bench)).toContain(2);
    expect(marks(bench)).not.toContain(4);
    expect(mixed!.attached.outputs[0]!.counts().dropped.superseded).toBeGreaterThan(0);
    expectBalanced(mixed!.attached);
  });
});

describe('what the dispatcher tells of the engine', () => {
  /** Late one day. */
  const soon: typeof publish = (frames, seq, more) => publish(frames, seq, { deadlineMs: 1e15, ...more });

  test('the mean wait of the frames that got a worker since it was last asked', async () => {
    const bench = setUp({ slots: 1 });
    const cam = bench.lane('cam');
    for (const seq of [1, 2, 3]) soon(cam.frames, seq);
    await finish(bench, 30);
    await finish(bench, 30);
    // 0, 30 and 60 ms.
    expect(bench.dispatcher.takeWaitMs()).toBeCloseTo(30);
    await finish(bench, 30);
    expect(bench.dispatcher.takeWaitMs()).toBe(0);
  });

  test('the wait of a dear one among its like is none for the engine', async () => {
    const bench = setUp({ slots: 4 });
    const [cam, dear] = [bench.lane('cam'), bench.lane('dear')];
    soon(cam.frames, 1);
    for (const seq of [1, 2]) soon(dear.frames, seq, { decodeMs: 500 });
    bench.clock.advance(600);
    expect(bench.dispatcher.takeWaitMs()).toBe(0);
    expect(bench.dispatcher.takeWaitMs()).toBe(0);
    bench.engine.jobs[1]!.end(DONE);
    await settled();
    expect(bench.engine.jobs).toHaveLength(2);
    expect(bench.dispatcher.takeWaitMs()).toBe(0);
  });

  test('while none gets one, how long the first in line waits', () => {
    const { clock, dispatcher, lane } = setUp({ slots: 1 });
    const [first, high, last] = ['first', 'high', 'last'].map((name) => lane(name));
    soon(first!.frames, 1);
    expect(dispatcher.takeWaitMs()).toBe(0);
    soon(first!.frames, 2);
    clock.advance(20);
    soon(last!.frames, 1);
    clock.advance(20);
    expect([dispatcher.takeWaitMs(), dispatcher.takeWaitMs()]).toEqual([40, 40]);
    // What lower classes wait for is the higher one, not the engine; behind a frame of a lower class a higher one is none.
    soon(last!.frames, 2, { priority: Priority.critical });
    expect(dispatcher.takeWaitMs()).toBe(40);
    soon(high!.frames, 1, { priority: Priority.critical });
    clock.advance(5);
    expect(dispatcher.takeWaitMs()).toBe(5);
  });

  test('nothing of sources that do not keep to their grants: their queues are their own', async () => {
    let isWithin = false;
    const bench = setUp({ slots: 1 });
    const [flood, fair] = [
      bench.lane('flood', { isWithinGrant: () => isWithin }),
      bench.lane('fair', { isWithinGrant: () => true }),
    ];
    for (const seq of [1, 2, 3]) soon(flood.frames, seq);
    await finish(bench, 80);
    expect(bench.dispatcher.takeWaitMs()).toBe(0);
    soon(fair.frames, 1);
    await finish(bench, 10);
    await finish(bench, 10);
    // The frame of the fair one waited for 10 ms, that of the other for 100.
    expect(bench.dispatcher.takeWaitMs()).toBeCloseTo(10);
    isWithin = true;
    soon(flood.frames, 4);
    await finish(bench, 40);
    expect(bench.dispatcher.takeWaitMs()).toBeCloseTo(40);
  });

  test('nothing of a frame that was let through although it is of a lower class', async () => {
    const bench = setUp({ slots: 1 });
    const [high, low] = [bench.lane('high'), bench.lane('low')];
    for (let seq = 1; seq <= 3; seq++) soon(high.frames, seq, { priority: Priority.critical });
    soon(low.frames, 1, { priority: Priority.low, mark: 100 });
    const waitsMs: number[] = [];
    for (let seq = 4, mark = 0; mark !== 100; seq++) {
      soon(high.frames, seq, { priority: Priority.critical });
      mark = await finish(bench, 60);
      waitsMs.push(bench.dispatcher.takeWaitMs());
    }
    expect(waitsMs.length).toBeGreaterThan(16);
    expect(Math.max(...waitsMs)).toBeLessThan(300);
  });

  test('how long a worker takes for a frame, of late; failures say nothing of it', async () => {
    const bench = setUp({ slots: 1 });
    const cam = bench.lane('cam');
    for (const seq of [1, 2, 3]) soon(cam.frames, seq);
    expect(bench.dispatcher.serviceMs).toBe(0);
    await finish(bench, 40);
    expect(bench.dispatcher.serviceMs).toBe(40);
    await finish(bench, 60);
    expect(bench.dispatcher.serviceMs).toBeCloseTo(42);
    bench.clock.advance(1_000);
    bench.engine.jobs[0]!.end(new SightlineError('WORKER_LOST', 'the worker died'));
    await settled();
    expect(bench.dispatcher.serviceMs).toBeCloseTo(42);
  });

  test('nothing of frames that may be as late as they like: their queue is no sign of anything', async () => {
    const bench = setUp({ slots: 1 });
    const cam = bench.lane('cam');
    for (const seq of [1, 2, 3]) publish(cam.frames, seq);
    bench.clock.advance(50);
    expect(bench.dispatcher.takeWaitMs()).toBe(0);
    await finish(bench, 50);
    expect(bench.dispatcher.takeWaitMs()).toBe(0);
  });
});

test('property: every frame has one outcome or a place, no slot is idle while a lane may have it, and results are in order', async () => {
  const steps = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant('publish' as const),
        lane: fc.nat(2),
        priority: fc.constantFrom<Priority[]>(0, 1, 1, 3),
        count: fc.integer({ min: 1, max: 4 }),
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({ do: fc.constant('end' as const), nth: fc.nat(5), fails: fc.integer({ min: 0, max: 5 }) }),
    },
    {
      weight: 3,
      arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(1, 20, 90, 600, 5_000) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constantFrom('detach' as const, 'discard' as const), lane: fc.nat(2) }),
    },
  );
  const setUps = fc.record({
    slots: fc.integer({ min: 1, max: 4 }),
    laneInFlightMax: fc.integer({ min: 1, max: 3 }),
    queue: fc.integer({ min: 1, max: 6 }),
    lifeMs: fc.constantFrom(50, 400, Infinity),
    /** One frame in so many comes when it has expired already. */
    lateEvery: fc.constantFrom(2, 5, Infinity),
  });
  await fc.assert(
    fc.asyncProperty(setUps, fc.array(steps, { maxLength: 50 }), async ({ lifeMs, lateEvery, ...options }, all) => {
      const { clock, engine, dispatcher, lane } = setUp(options);
      const lanes = [lane('a'), lane('b', { isWithinGrant: () => false }), lane('c')];
      const published = [0, 0, 0];
      const check = () => {
        for (const { attached } of lanes) expectBalanced(attached);
        if (engine.freeSlots === 0) return;
        for (const { attached, outcomes } of lanes) {
          if (outcomes.closed || attached.busy >= options.laneInFlightMax) continue;
          expect(attached.reader.peek()).toBeUndefined();
        }
      };
      for (const step of all) {
        if (step.do === 'publish') {
          for (let i = 0; i < step.count; i++) {
            const isLate = ++published[step.lane]! % lateEvery === 0;
            const deadlineMs = clock.now() + (isLate ? -1 : lifeMs);
            publish(lanes[step.lane]!.frames, published[step.lane]!, { priority: step.priority, deadlineMs });
          }
        } else if (step.do === 'end') {
          const job = engine.jobs[step.nth % Math.max(1, engine.jobs.length)];
          job?.end(step.fails === 0 ? new SightlineError('WORKER_LOST', 'the worker died') : DONE);
          await settled();
        } else if (step.do === 'wait') clock.advance(step.ms);
        else if (step.do === 'detach') dispatcher.detach(lanes[step.lane]!.attached);
        else lanes[step.lane]!.attached.discardQueued();
        check();
        const waitMs = dispatcher.takeWaitMs();
        expect(waitMs >= 0 && waitMs < Infinity).toBe(true);
      }
      for (const { attached } of lanes) dispatcher.detach(attached);
      while (engine.jobs.length > 0) {
        engine.jobs[0]!.end(DONE);
        await settled();
      }
      for (const [i, { attached, outcomesSeen }] of lanes.entries()) {
        expectBalanced(attached);
        expect([attached.busy, attached.outputs[0]!.counts().inFlight]).toEqual([0, 0]);
        const seen = outcomesSeen().map((text) => text.split(':') as [string, string]);
        const worked = seen
          .filter(([, kind]) => kind === 'result' || kind === 'WORKER_LOST')
          .map(([seq]) => Number(seq));
        expect(worked).toEqual(worked.toSorted((a, b) => a - b));
        const seqs = seen.map(([seq]) => Number(seq));
        expect(new Set(seqs).size).toBe(seqs.length);
        const { results, errors, dropped } = attached.outputs[0]!.counts();
        expect(results + errors + Object.values(dropped).reduce((sum, n) => sum + n, 0)).toBe(
          attached.reader.counts().published,
        );
        expect(seqs.length).toBeLessThanOrEqual(published[i]!);
      }
    }),
    { numRuns: 60 },
  );
});

describe('work of unlike cost', () => {
  const BOTH = ['cheap', 'dear'] as const;
  const costOf = { cheap: 10, dear: 40 };

  /** Ends the oldest job as its program has it. */
  async function finishOne({ engine, clock }: Pick<ReturnType<typeof setUp>, 'clock' | 'engine'>) {
    const [job] = engine.jobs;
    const program = String(job!.programs[0]!.program) as (typeof BOTH)[number];
    clock.advance(costOf[program]);
    job!.end(done({ workerMs: costOf[program] }));
    await settled();
    return program;
  }

  test('two lanes share the workers’ time evenly, not the frames', async () => {
    const bench = setUp({ slots: 1, queue: 300 });
    const lanes = BOTH.map((program) => bench.lane(program, { programs: [{ program }] }));
    for (let seq = 1; seq <= 200; seq++) for (const { frames } of lanes) publish(frames, seq);
    const hadMs = { cheap: 0, dear: 0 };
    for (let i = 0; i < 200; i++) {
      const program = await finishOne(bench);
      hadMs[program] += costOf[program];
      // From the first frames on, whose cost nothing was known of: they pay when they are done.
      expect(Math.abs(hadMs.cheap - hadMs.dear)).toBeLessThanOrEqual(1.5 * costOf.dear);
    }
    expect(hadMs.cheap + hadMs.dear).toBeGreaterThan(3_000);
  });

  test('each kind has its own time that a worker takes, and its cost; a second lane of the kind knows them', async () => {
    const bench = setUp({ slots: 2 });
    const [cheap, dear] = BOTH.map((program) => bench.lane(program, { programs: [{ program }] }));
    expect(cheap!.attached.work.costMs).toBeUndefined();
    publish(cheap!.frames, 1);
    publish(dear!.frames, 1);
    await finishOne(bench);
    await finishOne(bench);
    expect([cheap!.attached.work.costMs, cheap!.attached.work.serviceMs]).toEqual([10, 10]);
    expect([dear!.attached.work.costMs, dear!.attached.work.serviceMs]).toEqual([40, 50]);
    expect(bench.dispatcher.serviceMs).toBeCloseTo(14);
    expect(bench.lane('late', { programs: [{ program: 'dear' }] }).attached.work.costMs).toBe(40);
    const both = bench.lane('both', { programs: [{ program: 'cheap' }, { program: 'dear' }] });
    expect(both.attached.work.costMs).toBeUndefined();
  });

  test('before anything is known the first runs of the models are what is expected', () => {
    const bench = setUp({ slots: 1 });
    Object.assign(bench.engine.costsMs, { objects: 15, hands: 30 });
    expect(bench.lane('one').attached.work.costMs).toBeCloseTo(20);
    const two = bench.lane('two', { programs: [{ program: 'objects' }, { program: 'hands' }] });
    expect(two.attached.work.costMs).toBeCloseTo(60);
    expect(bench.lane('three', { programs: [{ program: 'unheard' }] }).attached.work.costMs).toBeUndefined();
  });

  test('a frame that hangs is paid for, by who sent it, but not for ever', async () => {
    const bench = setUp({ slots: 1 });
    const [hanging, fine] = [bench.lane('hanging'), bench.lane('fine')];
    publish(hanging.frames, 1);
    for (let seq = 2; seq <= 20; seq++) publish(hanging.frames, seq);
    for (let seq = 1; seq <= 20; seq++) publish(fine.frames, seq, { mark: 100 });
    bench.clock.advance(10_000);
    bench.engine.jobs[0]!.end(new SightlineError('WORKER_LOST', 'the worker hung'));
    await settled();
    // It has had half a second, as long as a lane waits for a frame, not ten.
    expect(hanging.attached.turns[Priority.normal]).toBe(500);
    expect(bench.engine.jobs[0]!.mark).toBe(100);
    for (const { attached } of [hanging, fine]) expectBalanced(attached);
  });

  test('a class that gets little keeps its own account: what it has had is even, too', async () => {
    const bench = setUp({ slots: 1, queue: 300 });
    const high = bench.lane('high', { programs: [{ program: 'cheap' }] });
    const low = BOTH.map((program) =>
      bench.lane(`low-${program}`, { programs: [{ program }], isWithinGrant: () => true }),
    );
    for (let seq = 1; seq <= 200; seq++) for (const { frames } of low) publish(frames, seq, { priority: Priority.low });
    const hadMs = { cheap: 0, dear: 0 };
    for (let i = 0; i < 100; i++) {
      publish(high.frames, 2 * i + 1, { priority: Priority.high, mark: 255 });
      publish(high.frames, 2 * i + 2, { priority: Priority.high, mark: 255 });
      while (bench.engine.jobs[0]!.mark === 255) await finishOne(bench);
      const program = await finishOne(bench);
      hadMs[program] += costOf[program];
    }
    expect(Math.abs(hadMs.cheap - hadMs.dear)).toBeLessThanOrEqual(2 * costOf.dear);
  });
});

describe('several pipelines on a frame', () => {
  const TWO = [{ program: 'objects' }, { program: 'hands' }];

  test('one job with all of its programs; each pipeline has its outcome when it is ready', async () => {
    const { engine, lane } = setUp({ slots: 1 });
    const cam = lane('cam', { programs: TWO });
    publish(cam.frames, 1);
    expect(engine.jobs.length).toBe(1);
    expect(engine.jobs[0]!.programs).toEqual([
      { program: 'objects', models: { model: 'objects' }, settings: { of: 'objects' } },
      { program: 'hands', models: { model: 'hands' }, settings: { of: 'hands' } },
    ]);
    engine.jobs[0]!.endOne(1, done({ result: { hands: [] } }));
    await settled();
    expect(cam.outcomesOf.map((seen) => seen())).toEqual([[], ['1:result']]);
    expect(cam.attached.busy).toBe(1);
    expectBalanced(cam.attached);
    engine.jobs[0]!.endOne(0, DONE);
    await settled();
    expect(cam.outcomesOf.map((seen) => seen())).toEqual([['1:result'], ['1:result']]);
    expect(cam.attached.busy).toBe(0);
    expectBalanced(cam.attached);
  });

  test('the result is told with the name of its pipeline', async () => {
    const { engine, lane, hub } = setUp({ slots: 1 });
    const cam = lane('cam', { programs: TWO });
    publish(cam.frames, 1);
    engine.jobs[0]!.endOne(0, done({ result: { detections: [] }, width: 640, height: 480 }));
    engine.jobs[0]!.endOne(1, done({ result: { hands: [] } }));
    await settled();
    const of = (name: string) => hub.get<FrameOutcome>(`cam/${name}`)!.at(0)!.data;
    expect(of('objects')).toMatchObject({
      kind: 'result',
      width: 640,
      height: 480,
      result: { pipeline: 'objects', detections: [] },
    });
    expect(of('hands')).toMatchObject({ kind: 'result', result: { pipeline: 'hands', hands: [] } });
  });

  test('one that fails does not hold up the other, and neither does one that hangs', async () => {
    const bench = setUp({ slots: 3 });
    const cam = bench.lane('cam', { programs: TWO });
    for (const seq of [1, 2, 3]) publish(cam.frames, seq);
    const [first, second, third] = [...bench.engine.jobs];
    first!.endOne(1, new SightlineError('INFERENCE_FAILED', 'no'));
    for (const job of [first, second, third]) job!.endOne(0, DONE);
    await settled();
    expect(cam.outcomesOf.map((seen) => seen())).toEqual([
      ['1:result', '2:result', '3:result'],
      ['1:INFERENCE_FAILED'],
    ]);
    // The second one hangs: the third waits for it for half a second.
    third!.endOne(1, DONE);
    await settled();
    expect(cam.outcomesOf[1]!()).toEqual(['1:INFERENCE_FAILED']);
    bench.clock.advance(501);
    publish(cam.frames, 4);
    bench.engine.jobs.at(-1)!.end(DONE);
    await settled();
    expect(cam.outcomesOf[1]!()).toEqual(['1:INFERENCE_FAILED', '2:stale', '3:result', '4:result']);
    second!.endOne(1, new SightlineError('WORKER_LOST', 'it hung'));
    await settled();
    expect(cam.outcomesOf[1]!()).toHaveLength(4);
    expect(cam.attached.outputs.map((output) => output.counts())).toMatchObject([
      { results: 4, errors: 0, inFlight: 0, dropped: { stale: 0 } },
      { results: 2, errors: 1, inFlight: 0, dropped: { stale: 1 } },
    ]);
    expectBalanced(cam.attached);
  });

  test('what never came to the engine is lost for each of them', async () => {
    const { engine, dispatcher, lane } = setUp({ slots: 1, queue: 1 });
    const cam = lane('cam', { programs: TWO });
    for (const seq of [1, 2, 3]) publish(cam.frames, seq);
    engine.jobs[0]!.endOne(0, DONE);
    await settled();
    expect(cam.outcomesOf.map((seen) => seen())).toEqual([['2:queue_full', '1:result'], ['2:queue_full']]);
    dispatcher.detach(cam.attached);
    expect(cam.attached.outputs.map((output) => output.counts())).toMatchObject([
      { results: 1, inFlight: 0, dropped: { queue_full: 1, disconnected: 1 } },
      { results: 0, inFlight: 0, dropped: { queue_full: 1, disconnected: 2 } },
    ]);
    expectBalanced(cam.attached);
  });

  test('it costs what all of them cost', async () => {
    const { engine, lane } = setUp({ slots: 1 });
    const cam = lane('cam', { programs: TWO });
    publish(cam.frames, 1);
    engine.jobs[0]!.endOne(0, done({ workerMs: 12 }));
    engine.jobs[0]!.endOne(1, done({ workerMs: 30 }));
    await settled();
    expect(cam.attached.work.costMs).toBe(42);
    expect(cam.attached.turns[Priority.normal]).toBe(42);
  });
});

describe('a program that keeps state', () => {
  const ORDERED = { programs: [{ program: 'hands', isOrdered: true }] };
  const stateOf = (engine: SteeredEngine, index = 0) => engine.jobs[0]!.programs[index]!.state;

  test('its frames go one after the other, each with what the one before gave', async () => {
    const { engine, clock, lane } = setUp({ slots: 3 });
    const cam = lane('cam', ORDERED);
    for (const seq of [1, 2, 3]) publish(cam.frames, seq, { captureTimeMs: clock.now() + seq });
    expect(engine.jobs.map(({ mark }) => mark)).toEqual([1]);
    expect(stateOf(engine)).toBeUndefined();
    engine.jobs[0]!.end(done({ state: { after: 1 } }));
    await settled();
    expect(engine.jobs.map(({ mark }) => mark)).toEqual([2]);
    expect(stateOf(engine)).toEqual({ after: 1 });
    engine.jobs[0]!.end(done());
    await settled();
    // What gives none has none.
    expect(stateOf(engine)).toBeUndefined();
    expectBalanced(cam.attached);
  });

  test('the state survives a lost worker and a frame that failed', async () => {
    const { engine, lane } = setUp({ slots: 1 });
    const cam = lane('cam', ORDERED);
    for (const seq of [1, 2, 3]) publish(cam.frames, seq);
    engine.jobs[0]!.end(done({ state: 'kept' }));
    await settled();
    engine.jobs[0]!.end(new SightlineError('WORKER_LOST', 'the worker died'));
    await settled();
    expect(stateOf(engine)).toBe('kept');
    expect(cam.outcomesSeen()).toEqual(['1:result', '2:WORKER_LOST']);
  });

  test.each([
    [1_000, 'kept'],
    [1_001, undefined],
    [60_000, undefined],
    [-1_001, undefined],
  ])('%i ms after its frame it is %s', async (afterMs, expected) => {
    const { engine, clock, lane } = setUp({ slots: 1 });
    const cam = lane('cam', ORDERED);
    const nowMs = clock.now();
    publish(cam.frames, 1, { captureTimeMs: nowMs });
    engine.jobs[0]!.end(done({ state: 'kept' }));
    await settled();
    publish(cam.frames, 2, { captureTimeMs: nowMs + afterMs });
    expect(stateOf(engine)).toBe(expected);
  });

  test('one that hangs is waited for no longer than its state would be of use, and its late one is none', async () => {
    const { engine, clock, lane } = setUp({ slots: 3 });
    const cam = lane('cam', ORDERED);
    publish(cam.frames, 1);
    const [hung] = engine.jobs;
    clock.advance(500);
    publish(cam.frames, 2);
    expect(engine.jobs.length).toBe(1);
    // Nothing else happens: the lane looks by itself.
    clock.advance(1);
    await expect.poll(() => engine.jobs.map(({ mark }) => mark), { timeout: 10_000 }).toEqual([1, 2]);
    publish(cam.frames, 3);
    engine.jobs[1]!.end(done({ state: 'of 2' }));
    await settled();
    expect(cam.outcomesSeen()).toEqual(['1:stale', '2:result']);
    expect(engine.jobs.map(({ mark }) => mark)).toEqual([1, 3]);
    hung!.end(done({ state: 'of 1' }));
    await settled();
    engine.jobs[0]!.end(new SightlineError('INFERENCE_FAILED', 'no'));
    await settled();
    publish(cam.frames, 4);
    expect(stateOf(engine)).toBe('of 2');
    expectBalanced(cam.attached);
  });

  test('beside one that keeps none it bounds the lane, and each has its own', async () => {
    const { engine, lane } = setUp({ slots: 3 });
    const cam = lane('cam', { programs: [{ program: 'objects' }, { program: 'hands', isOrdered: true }] });
    for (const seq of [1, 2]) publish(cam.frames, seq);
    expect(engine.jobs.length).toBe(1);
    engine.jobs[0]!.endOne(0, DONE);
    engine.jobs[0]!.endOne(1, done({ state: 'mine' }));
    await settled();
    expect(engine.jobs[0]!.programs.map(({ state }) => state)).toEqual([undefined, 'mine']);
  });

  test('another lane goes meanwhile', async () => {
    const { engine, lane } = setUp({ slots: 2 });
    const [one, other] = [lane('one', ORDERED), lane('other', ORDERED)];
    for (const seq of [1, 2]) publish(one.frames, seq);
    publish(other.frames, 1, { mark: 101 });
    expect(engine.jobs.map(({ mark }) => mark)).toEqual([1, 101]);
  });
});

test('a second engine has a dispatcher of its own, and takes nothing from the first', async () => {
  const [first, second] = [setUp({ slots: 1 }), setUp({ slots: 2 })];
  const [one, other] = [first.lane('one'), second.lane('other')];
  for (const seq of [1, 2]) publish(one.frames, seq);
  for (const seq of [1, 2, 3]) publish(other.frames, seq);
  expect([first.engine.jobs.length, second.engine.jobs.length]).toEqual([1, 2]);
  second.engine.onFree!();
  first.engine.onFree!();
  expect([first.engine.jobs.length, second.engine.jobs.length]).toEqual([1, 2]);
  await finish(first, 30);
  expect([first.dispatcher.serviceMs, second.dispatcher.serviceMs]).toEqual([30, 0]);
  expect([one.outcomesSeen(), other.outcomesSeen()]).toEqual([['1:result'], []]);
  expect([first.engine.jobs.length, second.engine.jobs.length]).toEqual([1, 2]);
});
