import { describe, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { FrameOutcome, VideoFrame } from '../base/frame.ts';
import { seededRandom } from '../base/random.ts';
import { Priority } from '../base/sample.ts';
import type { Engine, EngineStats, InferenceJob, InferenceOutcome, ProviderReport } from '../inference/engine/types.ts';
import { Hub } from '../stream/hub.ts';
import type { Stream } from '../stream/stream.ts';
import { DetectPipeline, type DetectLane } from './detect.ts';

/** An engine whose jobs end when the test says so, and in which order. */
class SteeredEngine implements Engine {
  onFree: (() => void) | undefined;
  readonly jobs: { mark: number; end: (outcome: InferenceOutcome | SightlineError) => void }[] = [];
  readonly #slots: number;

  constructor(slots: number) {
    this.#slots = slots;
  }

  get freeSlots(): number {
    return this.#slots - this.jobs.length;
  }

  run(job: InferenceJob): Promise<InferenceOutcome> {
    return new Promise((resolve, reject) => {
      const entry = {
        mark: job.picture.kind === 'jpeg' ? job.picture.bytes[0]! : -1,
        end: (outcome: InferenceOutcome | SightlineError) => {
          this.jobs.splice(this.jobs.indexOf(entry), 1);
          if (outcome instanceof Error) reject(outcome);
          else resolve(outcome);
        },
      };
      this.jobs.push(entry);
    });
  }

  load(): Promise<ProviderReport> {
    throw new Error('not in these tests');
  }

  stats(): EngineStats {
    throw new Error('not in these tests');
  }

  async close(): Promise<void> {}
}

const DONE: InferenceOutcome = {
  detections: [],
  width: 8,
  height: 8,
  stagesMs: { decode: 1, preprocess: 1, inference: 1, postprocess: 1 },
  startedTimeMs: 0,
};

/** Promises that the engine resolved have run their continuations. */
const settled = () => new Promise((done) => setImmediate(done));

function setUp(options: { slots: number; laneInFlightMax?: number; queue?: number }) {
  const clock = new ManualClock();
  const hub = new Hub({ clock, random: seededRandom(7), streamsMax: 100 });
  const engine = new SteeredEngine(options.slots);
  const pipeline = new DetectPipeline({
    engine,
    clock,
    laneInFlightMax: options.laneInFlightMax ?? 3,
    stallTimeoutMs: 500,
  });
  const lane = (name: string) => {
    const frames = hub.create<VideoFrame>(`${name}/frames`, { capacity: options.queue ?? 25 });
    const outcomes = hub.create<FrameOutcome>(`${name}/objects`, { capacity: 256 });
    const seen: string[] = [];
    const reader = outcomes.subscribe({ contract: { kind: 'all' } });
    const attached = pipeline.attach({ frames, outcomes, modelId: 'any' });
    const outcomesSeen = () => {
      for (let sample = reader.next(); sample; sample = reader.next()) {
        const { data } = sample;
        seen.push(
          `${sample.seq}:${data.kind === 'dropped' ? data.cause : data.kind === 'error' ? data.code : 'result'}`,
        );
      }
      return seen;
    };
    return { frames, outcomes, attached, outcomesSeen };
  };
  return { clock, hub, engine, pipeline, lane };
}

function publish(
  frames: Stream<VideoFrame>,
  seq: number,
  more: { priority?: Priority; deadlineMs?: number; mark?: number } = {},
) {
  const { mark = seq, ...rest } = more;
  frames.publish({ seq, data: { jpeg: Uint8Array.of(mark), width: 8, height: 8 }, ...rest });
}

/** Every frame that entered is somewhere, exactly once. */
function expectBalanced(attached: DetectLane) {
  const { published, delivered, queued, dropped, expired } = attached.reader.counts();
  const counts = attached.counts();
  const told = counts.results + counts.errors + Object.values(counts.dropped).reduce((sum, n) => sum + n, 0);
  expect(published).toBe(told + counts.inFlight + queued);
  expect(published).toBe(delivered + queued + expired + Object.values(dropped).reduce((sum, n) => sum + n, 0));
}

describe('DetectPipeline', () => {
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
    const { engine, pipeline, lane } = setUp({ slots: 1 });
    const [a, b] = [lane('a'), lane('b')];
    publish(a.frames, 1);
    publish(a.frames, 2);
    publish(b.frames, 1, { mark: 101 });
    pipeline.detach(a.attached);
    pipeline.detach(a.attached);
    expect(a.attached.counts().dropped.disconnected).toBe(2);
    expect(a.outcomes.closed).toBe(true);
    engine.jobs[0]!.end(DONE);
    await settled();
    expect(engine.jobs.map((job) => job.mark)).toEqual([101]);
    expect(b.outcomesSeen()).toEqual([]);
  });
});
