import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { brightnessManifest, brightnessModel } from '../../../test/support/brightness-model.ts';
import { JPEGS, turnedJpeg, withBytesBefore } from '../../../test/support/jpegs.ts';
import { RunawayClock } from '../../../test/support/runaway-clock.ts';
import type { ScriptResult, ScriptSettings, ScriptStep } from '../../../test/support/scripted-program.ts';
import type { Clock } from '../../base/clock.ts';
import type { ResultContents } from '../../base/result.ts';
import { encodeJpeg } from '../../media/jpeg.ts';
import { OBJECTS_PROGRAM } from '../../pipelines/objects/call.ts';
import type { ObjectsSettings } from '../../pipelines/objects/program.ts';
import type { ModelManifest, ReadyModel } from '../manifest.ts';
import { WorkerLoop } from './worker-loop.ts';
import type { BatchSettings, RunRequest, WorkerReply, WorkerRequest, WorkerSettings } from './messages.ts';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-loop-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function ready(id: string, change?: Partial<ModelManifest>, bytes = brightnessModel()): Promise<ReadyModel> {
  const onnxPath = join(folder, `${id}.onnx`);
  await writeFile(onnxPath, bytes);
  return { manifest: brightnessManifest(id, change), onnxPath };
}

/** A loop, and the replies that it gave. */
function open(session: Partial<WorkerSettings['session']> = {}, batch: Partial<BatchSettings> = {}, clock?: Clock) {
  const replies: WorkerReply[] = [];
  let wake: (() => void) | undefined;
  let isClosed = false;
  const loop = new WorkerLoop(
    {
      session: { providers: ['cpu'], intraOpThreads: 1, warmUpRuns: 1, spinning: false, ...session },
      batch: { max: 1, delayMs: 0, runMsMax: 5000, ...batch },
      imageLimits: { sideMax: 1000, pixelsMax: 1e6 },
    },
    (reply) => {
      replies.push(reply);
      wake?.();
    },
    () => {
      isClosed = true;
      wake?.();
    },
    clock,
  );
  const until = async (met: () => boolean) => {
    while (!met()) await new Promise<void>((resolve) => (wake = resolve));
  };
  return {
    replies,
    until,
    take: (request: WorkerRequest) => loop.take(request),
    ask: async (request: WorkerRequest): Promise<WorkerReply> => {
      const count = replies.length;
      loop.take(request);
      await until(() => replies.length > count);
      return replies[count]!;
    },
    close: async () => {
      loop.take({ kind: 'close' });
      await until(() => isClosed);
    },
  };
}

/** Of the event loop. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise<void>((resolve) => setImmediate(resolve));
}

const WHITE = new Uint8Array(16 * 16 * 3).fill(255);

interface RunChange extends Partial<Omit<RunRequest, 'calls'>> {
  readonly modelId?: string;
  readonly settings?: ObjectsSettings;
}

/** A frame with the objects program, in a slot of its own; a JPEG unless it is said to be pixels. */
function runRequest(id: number, bytes: Uint8Array, { modelId = 'bright', settings = {}, ...change }: RunChange = {}) {
  const memory = new SharedArrayBuffer(bytes.length + 10);
  new Uint8Array(memory).set(bytes);
  const call = { id, program: OBJECTS_PROGRAM.href, models: { detector: modelId }, settings };
  const picture = { kind: 'jpeg', width: 16, height: 16 } as const;
  const rest = { slot: 0, memory, bytes: bytes.length, captureTimeMs: 0 };
  return { kind: 'run', calls: [call], picture, ...rest, ...change } satisfies RunRequest;
}

/** How a picture of pixels is told of. */
const rgb = (width: number, height: number) => ({
  picture: { kind: 'rgb', width, height, source: { width, height } } as const,
});

const SCRIPTED = new URL('../../../test/support/scripted-program.ts', import.meta.url).href;
const RUN = { run: 'light' } as const;
const scripted = (request: RunRequest, steps: readonly ScriptStep[]): RunRequest => {
  const settings: ScriptSettings = { steps };
  return { ...request, calls: [{ ...request.calls[0]!, program: SCRIPTED, models: { light: 'many' }, settings }] };
};

const idOf = (reply: WorkerReply) => reply.kind !== 'ready' && reply.id;
type Done = WorkerReply & { readonly kind: 'done' };
const detectionsOf = ({ outcome }: Done) => (outcome.result as ResultContents['objects']).detections;

describe('worker loop', () => {
  test('loads, runs a JPEG and raw pixels, and reuses a slot', async () => {
    const loop = open();
    const loaded = await loop.ask({ kind: 'load', id: 1, model: await ready('bright'), profile: true });
    expect(loaded).toMatchObject({ kind: 'loaded', id: 1, report: { effective: 'cpu', refused: [] } });
    expect(loaded.kind === 'loaded' && loaded.report.nodes['cpu']).toBeGreaterThanOrEqual(1);
    const jpeg = encodeJpeg({ data: WHITE, width: 16, height: 16 }, 90).slice();
    expect(await loop.ask(runRequest(2, jpeg))).toMatchObject({
      kind: 'done',
      id: 2,
      outcome: { width: 16, height: 16, capped: 0, result: { detections: [{ label: 'light', score: 1 }] } },
    });
    const { memory: _, ...again } = runRequest(3, jpeg);
    expect(await loop.ask(again)).toMatchObject({ kind: 'done', id: 3 });
    expect(await loop.ask(runRequest(4, WHITE, rgb(16, 16)))).toMatchObject({
      kind: 'done',
      id: 4,
    });
    await loop.close();
  });

  test('turns a JPEG upright as its EXIF says, and takes one that libjpeg only warns of', async () => {
    const loop = open();
    await loop.ask({ kind: 'load', id: 1, model: await ready('bright'), profile: false });
    const sizes = [];
    for (const [i, orientation] of [1, 3, 6, 8, 5, 2].entries()) {
      const reply = await loop.ask(runRequest(2 + i, turnedJpeg(orientation)));
      sizes.push(reply.kind === 'done' && `${reply.outcome.width}×${reply.outcome.height}`);
    }
    expect(sizes).toEqual(['16×8', '16×8', '8×16', '8×16', '8×16', '16×8']);
    expect(await loop.ask(runRequest(8, withBytesBefore(turnedJpeg(6), 0xd9, [1, 2, 3])))).toMatchObject({
      kind: 'done',
      outcome: { width: 8, height: 16 },
    });
    expect(await loop.ask(runRequest(9, JPEGS.sampling311))).toMatchObject({
      code: 'FRAME_UNDECODABLE',
      message: expect.stringContaining('sampling 3×1'),
    });
    await loop.close();
  });

  test('replies in the order of the requests, and closing drops what has not begun', async () => {
    const loop = open();
    const model = await ready('bright');
    const white = (id: number) => runRequest(id, WHITE, rgb(16, 16));
    loop.take({ kind: 'load', id: 1, model, profile: false });
    loop.take(white(2));
    loop.take({ kind: 'load', id: 3, model, profile: false });
    loop.take(white(4));
    await loop.until(() => loop.replies.length === 4);
    await turns(1);
    loop.take(white(5));
    loop.take(white(6));
    await loop.close();
    expect(loop.replies.map(idOf)).toEqual([1, 2, 3, 4, 5]);
  });

  test('an urgent run goes before the others that have not begun, which are overtaken three times at the most', async () => {
    const loop = open();
    await loop.ask({ kind: 'load', id: 1, model: await ready('bright'), profile: false });
    const run = (id: number, urgent: boolean) =>
      loop.take(runRequest(id, WHITE, { ...rgb(16, 16), ...(urgent && { urgent }) }));
    run(2, false);
    for (const id of [3, 4]) run(id, false);
    for (const id of [5, 6, 7, 8, 9]) run(id, true);
    await loop.until(() => loop.replies.length === 9);
    expect(loop.replies.map(idOf)).toEqual([1, 2, 5, 6, 7, 3, 4, 8, 9]);
    await loop.close();
  });

  test('tells faults by their code and goes on', async () => {
    const loop = open({ warmUpRuns: 0 });
    expect(await loop.ask(runRequest(1, WHITE))).toMatchObject({ kind: 'failed', id: 1, code: 'MODEL_UNKNOWN' });
    await loop.ask({ kind: 'load', id: 2, model: await ready('bright'), profile: false });
    expect(await loop.ask(runRequest(3, WHITE))).toMatchObject({ kind: 'failed', id: 3, code: 'FRAME_NOT_JPEG' });
    const gone = { ...(await ready('gone')), onnxPath: join(folder, 'nothing.onnx') };
    expect(await loop.ask({ kind: 'load', id: 4, model: gone, profile: false })).toMatchObject({
      kind: 'failed',
      id: 4,
      code: 'MODEL_UNAVAILABLE',
    });
    expect(
      await loop.ask(runRequest(5, WHITE, { ...rgb(16, 16), settings: { confidence: 0.9, iou: 0.1 } })),
    ).toMatchObject({
      kind: 'done',
      id: 5,
    });
    await loop.close();
  });

  test.each<[string, Partial<ModelManifest>]>([
    ['takes [1, 3, 8, 8]', { input: { ...brightnessManifest('x').input, layout: 'nhwc' } }],
    ['has no output scores', { head: { kind: 'detr', logits: 'scores', boxes: 'output0', activation: 'sigmoid' } }],
    ['1 classes in the output but 0 labels', { labels: [] }],
  ])('refuses a model that %s', async (message, change) => {
    const loop = open({ providers: ['cpu', 'cpu'] });
    expect(await loop.ask({ kind: 'load', id: 1, model: await ready('odd', change), profile: false })).toMatchObject({
      code: 'MODEL_UNSUPPORTED',
      message: expect.stringContaining(message),
    });
    await loop.close();
  });

  test('a provider that cannot be had is passed over, and said', async () => {
    const loop = open({
      providers: ['directml', 'cpu'],
      deviceMemoryBytesMax: 1,
      threadBinding: '1',
      intraOpThreads: 2,
    });
    const reply = await loop.ask({ kind: 'load', id: 1, model: await ready('bright'), profile: false });
    expect(reply).toMatchObject({
      report: { effective: 'cpu', refused: [{ provider: 'directml' }], nodes: {}, notes: [] },
    });
    await loop.close();
  });

  test('an output whose length nobody declares is read anew each time', async () => {
    const loop = open({ warmUpRuns: 0 });
    const model = await ready('bright', {}, brightnessModel('n', 'boxes'));
    expect(await loop.ask({ kind: 'load', id: 1, model, profile: false })).toMatchObject({ kind: 'loaded' });
    for (const level of [51, 255]) {
      const request = runRequest(
        level,
        WHITE.map(() => level),
        { ...rgb(16, 16), settings: { confidence: 0.1 } },
      );
      const reply = await loop.ask(request);
      expect(reply.kind === 'done' && detectionsOf(reply)[0]!.score).toBeCloseTo(level / 255, 5);
    }
    await loop.close();
  });
});

/** Pictures of different sizes and levels of grey, each in a slot of its own. */
function greyRequests(levels: readonly number[], change: RunChange = {}) {
  return levels.map((level, i) => {
    const { picture } = rgb(8 + 3 * i, 20 - i);
    const bytes = new Uint8Array(picture.width * picture.height * 3).fill(level);
    return runRequest(100 + i, bytes, { modelId: 'many', slot: i, picture, settings: { confidence: 0 }, ...change });
  });
}

const doneOf = (replies: readonly WorkerReply[]) => replies.filter((reply) => reply.kind === 'done');
/** How many pictures each run had, in their order. */
const runsOf = (replies: readonly WorkerReply[]) =>
  doneOf(replies).flatMap(({ work }) => work.runs.map(({ pictures }) => pictures));

describe('pictures that share a run', () => {
  const LEVELS = [10, 250, 90, 0, 255, 130, 47];

  /** A loop for which every run takes equally long, with a model that takes any number of pictures. */
  async function openShared(
    batch: Partial<BatchSettings> = {},
    change?: Partial<ModelManifest>,
    bytes = brightnessModel('n'),
  ) {
    const clock = new RunawayClock();
    const loop = open({}, { max: 8, ...batch }, clock);
    const loaded = await loop.ask({ kind: 'load', id: 1, model: await ready('many', change, bytes), profile: false });
    return { ...loop, clock, loaded };
  }

  test.each<[string, Partial<ModelManifest>]>([
    ['stretched', {}],
    ['letterboxed', { input: { ...brightnessManifest('x').input, fit: 'letterbox', padValue: 114 } }],
  ])('have the same results as alone, picture by picture (%s)', async (_, change) => {
    const alone = await openShared({ max: 1 }, change);
    const shared = await openShared({}, change);
    expect(alone.loaded).toMatchObject({ batchMax: 1, costsMs: {} });
    expect(shared.loaded).toMatchObject({ batchMax: 8, costsMs: { 1: 1, 2: 1, 4: 1, 8: 1 } });
    for (const { take } of [alone, shared]) for (const request of greyRequests(LEVELS)) take(request);
    await alone.until(() => alone.replies.length === 1 + LEVELS.length);
    await shared.until(() => shared.replies.length === 1 + LEVELS.length);
    expect(runsOf(alone.replies)).toEqual(LEVELS.map(() => 1));
    expect(runsOf(shared.replies)).toEqual([7]);
    const results = (replies: readonly WorkerReply[]) =>
      doneOf(replies).map((reply) => {
        const { width, height, capped } = reply.outcome;
        return { id: reply.id, detections: detectionsOf(reply), width, height, capped };
      });
    expect(results(shared.replies)).toEqual(results(alone.replies));
    expect(new Set(results(shared.replies).map(({ detections }) => detections[0]!.score)).size).toBe(LEVELS.length);
    await alone.close();
    await shared.close();
  });

  test('are as many as there are, up to the largest number; stages tell where the time went', async () => {
    const loop = await openShared({ max: 4 });
    for (const request of greyRequests(LEVELS)) loop.take(request);
    await loop.until(() => loop.replies.length === 1 + LEVELS.length);
    expect(runsOf(loop.replies)).toEqual([4, 3]);
    const [first, second] = doneOf(loop.replies).map(({ outcome }) => outcome);
    const sum = ({ startedTimeMs, stagesMs }: NonNullable<typeof first>) =>
      startedTimeMs + Object.values(stagesMs).reduce((total, ms) => total + ms, 0);
    expect(second!.startedTimeMs).toBeGreaterThanOrEqual(first!.startedTimeMs + first!.stagesMs.decode);
    expect(sum(second!)).toBeGreaterThan(sum(first!));
    await loop.close();
  });

  test('of programs of several steps share each of them; the time of the worker is divided among them', async () => {
    const loop = await openShared();
    const steps = (i: number): ScriptStep[] => (i === 1 ? [RUN] : i === 2 ? [RUN, 'throw'] : [RUN, RUN]);
    const requests = greyRequests([1, 2, 3, 4]).map((request, i) => scripted(request, steps(i)));
    const startMs = loop.clock.now();
    for (const request of requests) loop.take(request);
    await loop.until(() => loop.replies.length === 5);
    const elapsedMs = loop.clock.now() - startMs;
    expect(loop.replies.flatMap((reply) => ('work' in reply && reply.work ? reply.work.runs : []))).toMatchObject([
      { modelId: 'many', pictures: 4 },
      { modelId: 'many', pictures: 2 },
    ]);
    // Who is done first has its result first.
    expect(loop.replies.slice(1).map((reply) => [reply.kind, idOf(reply)])).toEqual([
      ['done', 101],
      ['failed', 102],
      ['done', 100],
      ['done', 103],
    ]);
    const spentMs = doneOf(loop.replies).reduce((sum, { outcome }) => sum + outcome.workerMs, 0);
    expect(spentMs).toBeGreaterThan(0.5 * elapsedMs);
    expect(spentMs).toBeLessThan(elapsedMs);
    for (const { outcome } of doneOf(loop.replies)) {
      const { decode, preprocess, inference, postprocess } = outcome.stagesMs;
      expect(Math.min(decode, preprocess, inference)).toBeGreaterThan(0);
      expect(outcome.workerMs).toBeLessThan(decode + preprocess + inference + postprocess);
      expect((outcome.result as ScriptResult).runs.every(({ output0 }) => output0!.length === 5)).toBe(true);
    }
    await loop.close();
  });

  test('do not wait for one that takes far longer: it runs alone', async () => {
    const loop = await openShared();
    for (const request of greyRequests(LEVELS))
      loop.take({ ...request, ...(request.calls[0]!.id === 102 && { isLong: true }) });
    await loop.until(() => loop.replies.length === 1 + LEVELS.length);
    expect(runsOf(loop.replies)).toEqual([6, 1]);
    expect(doneOf(loop.replies).at(-1)!.id).toBe(102);
    await loop.close();
  });

  test('take no more memory together than one large one', async () => {
    const loop = await openShared();
    const large = { picture: { kind: 'jpeg', width: 8000, height: 4500 } } as const;
    const jpeg = encodeJpeg({ data: WHITE, width: 16, height: 16 }, 90).slice();
    for (const id of [1, 2, 3]) loop.take(runRequest(200 + id, jpeg, { modelId: 'many', slot: id, ...large }));
    await loop.until(() => loop.replies.length === 4);
    expect(runsOf(loop.replies)).toEqual([1, 1, 1]);
    await loop.close();
  });

  test('with a broken JPEG among them: that one fails alone', async () => {
    const loop = await openShared();
    const requests = greyRequests(LEVELS);
    const jpeg = encodeJpeg({ data: WHITE, width: 16, height: 16 }, 90).slice();
    const broken = runRequest(102, jpeg.subarray(0, 60), { slot: 2, modelId: 'many', settings: { confidence: 0 } });
    const whole = runRequest(103, jpeg, { slot: 3, modelId: 'many', settings: { confidence: 0 } });
    for (const request of [...requests.slice(0, 2), broken, whole, ...requests.slice(4)]) loop.take(request);
    await loop.until(() => loop.replies.length === 1 + LEVELS.length);
    expect(loop.replies.filter(({ kind }) => kind === 'failed')).toMatchObject([{ id: 102, code: 'FRAME_TRUNCATED' }]);
    expect(runsOf(loop.replies)).toEqual([6]);
    const scores = new Map(doneOf(loop.replies).map((reply) => [reply.id, detectionsOf(reply)[0]?.score]));
    LEVELS.forEach((level, i) => {
      if (i === 2) expect(scores.has(102)).toBe(false);
      else expect(scores.get(100 + i)).toBeCloseTo(i === 3 ? 1 : level / 255, 5);
    });
    await loop.close();
  });

  test('of other models keep their places in line, and loading divides them', async () => {
    const loop = await openShared();
    await loop.ask({ kind: 'load', id: 2, model: await ready('bright'), profile: false });
    const many = greyRequests([1, 2, 3, 4, 5]);
    const other = (id: number) => runRequest(id, WHITE, { ...rgb(16, 16), slot: id });
    loop.take(many[0]!);
    loop.take(other(50));
    loop.take(many[1]!);
    loop.take(many[2]!);
    loop.take({ kind: 'load', id: 3, model: await ready('bright'), profile: false });
    loop.take(many[3]!);
    loop.take(many[4]!);
    await loop.until(() => loop.replies.length === 9);
    expect(loop.replies.slice(2).map(idOf)).toEqual([100, 101, 102, 50, 3, 103, 104]);
    expect(runsOf(loop.replies)).toEqual([3, 1, 2]);
    await loop.close();
  });

  test('are only so many as their deadlines allow', async () => {
    const loop = await openShared();
    for (const request of greyRequests([1, 2])) loop.take(request);
    await loop.until(() => loop.replies.length === 3);
    // It has seen what decoding takes: with it a run of 4 takes 1.8 and one of 8 takes 2.6.
    loop.clock.stepMs = 0;
    const deadlineMs = loop.clock.now() + 2.2;
    for (const request of greyRequests([...LEVELS, 77], { deadlineMs })) loop.take(request);
    await loop.until(() => loop.replies.length === 11);
    expect(runsOf(loop.replies)).toEqual([2, 4, 4]);
    await loop.close();
  });

  describe('wait for one more where that pays', () => {
    /** A loop that has learned that runs take long, and that pictures come quickly. From now on its clock stands still. */
    async function openBusy(change: Partial<BatchSettings> = {}) {
      const clock = new RunawayClock();
      clock.stepMs = 10;
      const loop = open({}, { max: 8, delayMs: 100, ...change }, clock);
      await loop.ask({ kind: 'load', id: 1, model: await ready('many', {}, brightnessModel('n')), profile: false });
      clock.stepMs = 0;
      for (let lot = 0; lot < 6; lot++)
        for (const request of greyRequests([1, 2, 3, 4, 5, 6, 7, 8])) loop.take(request);
      await loop.until(() => loop.replies.length === 49);
      loop.replies.length = 0;
      return { ...loop, clock };
    }
    const [one, another] = greyRequests([1, 2]) as readonly RunRequest[] as [RunRequest, RunRequest];
    const idsOf = ({ calls }: RunRequest) => calls[0]!.id;

    test('and run with it', async () => {
      const loop = await openBusy();
      loop.take(one);
      await turns(10);
      expect(loop.replies).toEqual([]);
      loop.take(another);
      loop.clock.stepMs = 1000;
      await loop.until(() => loop.replies.length === 2);
      expect(runsOf(loop.replies)).toEqual([2]);
      await loop.close();
    });

    test('until it is overdue', async () => {
      const loop = await openBusy();
      loop.take(one);
      await turns(10);
      expect(loop.replies).toEqual([]);
      loop.clock.stepMs = 1000;
      await loop.until(() => loop.replies.length === 1);
      expect(runsOf(loop.replies)).toEqual([1]);
      await loop.close();
    });

    test.each<[string, Partial<BatchSettings>, Partial<RunRequest>]>([
      ['not when they may not', { delayMs: 0 }, {}],
      ['not for an urgent one', {}, { urgent: true }],
      ['not beyond a deadline', {}, { deadlineMs: 1_000_005 }],
    ])('%s', async (_, settings, change) => {
      const loop = await openBusy(settings);
      loop.take({ ...one, ...change });
      await loop.until(() => loop.replies.length === 1);
      loop.take({ ...another, ...change });
      await loop.until(() => loop.replies.length === 2);
      expect(runsOf(loop.replies)).toEqual([1, 1]);
      await loop.close();
    });

    test('not when an urgent one comes, which takes them along', async () => {
      const loop = await openBusy();
      loop.take(one);
      await turns(10);
      loop.take({ ...another, urgent: true });
      await loop.until(() => loop.replies.length === 2);
      expect(runsOf(loop.replies)).toEqual([2]);
      expect(loop.replies.map(idOf)).toEqual([idsOf(another), idsOf(one)]);
      await loop.close();
    });

    test('not when another model is to run, or the loop closes', async () => {
      const loop = await openBusy();
      loop.take(one);
      await turns(10);
      loop.take(runRequest(60, WHITE, { modelId: 'unknown', slot: 60 }));
      await loop.until(() => loop.replies.length === 2);
      expect(loop.replies).toMatchObject([
        { kind: 'done', id: idsOf(one) },
        { kind: 'failed', id: 60, code: 'MODEL_UNKNOWN' },
      ]);
      loop.take(another);
      await turns(10);
      await loop.close();
      expect(loop.replies).toHaveLength(2);
    });
  });

  test.each([
    ['one', /^no more than 1 at a time: .*Reshape/],
    ['mixed', /^no more than 1 at a time: the results of a picture depend on the others$/],
  ] as const)('are none when the model is not made for it (%s), which its report tells', async (sharing, note) => {
    const loop = await openShared({}, {}, brightnessModel('n', 1, sharing));
    expect(loop.loaded).toMatchObject({ batchMax: 1, report: { notes: [expect.stringMatching(note)] } });
    for (const request of greyRequests([10, 200])) loop.take(request);
    await loop.until(() => loop.replies.length === 3);
    expect(runsOf(loop.replies)).toEqual([1, 1]);
    await loop.close();
  });

  test.each<[string, Parameters<typeof open>[0], Uint8Array]>([
    ['declares one', {}, brightnessModel()],
    ['is not warmed up', { warmUpRuns: 0 }, brightnessModel('n')],
  ])('are none when the model %s', async (_, session, bytes) => {
    const loop = open(session, { max: 8 }, new RunawayClock());
    const loaded = await loop.ask({ kind: 'load', id: 1, model: await ready('many', {}, bytes), profile: false });
    expect(loaded).toMatchObject({ batchMax: 1, costsMs: {}, report: { notes: [] } });
    await loop.close();
  });

  test('may have outputs whose length nobody declares', async () => {
    const loop = await openShared({}, {}, brightnessModel('n', 'boxes'));
    expect(loop.loaded).toMatchObject({ batchMax: 8 });
    for (const request of greyRequests(LEVELS)) loop.take(request);
    await loop.until(() => loop.replies.length === 1 + LEVELS.length);
    doneOf(loop.replies).forEach((reply, i) => {
      expect(detectionsOf(reply)[0]!.score).toBeCloseTo(LEVELS[i]! / 255, 5);
    });
    await loop.close();
  });
});
