import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { brightnessManifest, brightnessModel } from '../../../test/support/brightness-model.ts';
import { encodeJpeg } from '../../media/jpeg.ts';
import type { ModelManifest, ReadyModel } from '../manifest.ts';
import { Desk } from './desk.ts';
import type { RunRequest, WorkerReply, WorkerRequest, WorkerSettings } from './messages.ts';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-desk-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function ready(id: string, change?: Partial<ModelManifest>, bytes = brightnessModel()): Promise<ReadyModel> {
  const onnxPath = join(folder, `${id}.onnx`);
  await writeFile(onnxPath, bytes);
  return { manifest: brightnessManifest(id, change), onnxPath };
}

/** A desk, and the replies that it gave. */
function open(session: Partial<WorkerSettings['session']> = {}) {
  const replies: WorkerReply[] = [];
  let wake: (() => void) | undefined;
  let isClosed = false;
  const desk = new Desk(
    {
      session: { providers: ['cpu'], intraOpThreads: 1, warmUpRuns: 1, spinning: false, ...session },
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
  );
  const until = async (met: () => boolean) => {
    while (!met()) await new Promise<void>((resolve) => (wake = resolve));
  };
  return {
    replies,
    until,
    take: (request: WorkerRequest) => desk.take(request),
    ask: async (request: WorkerRequest): Promise<WorkerReply> => {
      const count = replies.length;
      desk.take(request);
      await until(() => replies.length > count);
      return replies[count]!;
    },
    close: async () => {
      desk.take({ kind: 'close' });
      await until(() => isClosed);
    },
  };
}

const WHITE = new Uint8Array(16 * 16 * 3).fill(255);

/** A run of a picture in a slot of its own. */
function runRequest(id: number, bytes: Uint8Array, change: Partial<RunRequest> = {}): RunRequest {
  const memory = new SharedArrayBuffer(bytes.length + 10);
  new Uint8Array(memory).set(bytes);
  return { kind: 'run', id, modelId: 'bright', slot: 0, memory, bytes: bytes.length, ...change };
}

describe('desk', () => {
  test('loads, runs a JPEG and raw pixels, and reuses a slot', async () => {
    const desk = open();
    const loaded = await desk.ask({ kind: 'load', id: 1, model: await ready('bright'), profile: true });
    expect(loaded).toMatchObject({ kind: 'loaded', id: 1, report: { effective: 'cpu', refused: [] } });
    expect(loaded.kind === 'loaded' && loaded.report.nodes['cpu']).toBeGreaterThanOrEqual(1);
    const jpeg = encodeJpeg({ data: WHITE, width: 16, height: 16 }, 90).slice();
    expect(await desk.ask(runRequest(2, jpeg))).toMatchObject({
      kind: 'done',
      id: 2,
      outcome: { width: 16, height: 16, capped: 0, detections: [{ label: 'light', score: 1 }] },
    });
    const { memory: _, ...again } = runRequest(3, jpeg);
    expect(await desk.ask(again)).toMatchObject({ kind: 'done', id: 3 });
    expect(await desk.ask(runRequest(4, WHITE, { rgb: { width: 16, height: 16 } }))).toMatchObject({
      kind: 'done',
      id: 4,
    });
    await desk.close();
  });

  test('replies in the order of the requests, and closing drops what has not begun', async () => {
    const desk = open();
    const model = await ready('bright');
    const white = (id: number) => runRequest(id, WHITE, { rgb: { width: 16, height: 16 } });
    desk.take({ kind: 'load', id: 1, model, profile: false });
    desk.take(white(2));
    desk.take({ kind: 'load', id: 3, model, profile: false });
    desk.take(white(4));
    await desk.until(() => desk.replies.length === 4);
    desk.take(white(5));
    desk.take(white(6));
    await desk.close();
    expect(desk.replies.map((reply) => reply.kind !== 'ready' && reply.id)).toEqual([1, 2, 3, 4, 5]);
  });

  test('an urgent run goes before the others that have not begun, which are overtaken three times at the most', async () => {
    const desk = open();
    await desk.ask({ kind: 'load', id: 1, model: await ready('bright'), profile: false });
    const run = (id: number, urgent: boolean) =>
      desk.take(runRequest(id, WHITE, { rgb: { width: 16, height: 16 }, ...(urgent && { urgent }) }));
    run(2, false);
    for (const id of [3, 4]) run(id, false);
    for (const id of [5, 6, 7, 8, 9]) run(id, true);
    await desk.until(() => desk.replies.length === 9);
    expect(desk.replies.map((reply) => reply.kind !== 'ready' && reply.id)).toEqual([1, 2, 5, 6, 7, 3, 4, 8, 9]);
    await desk.close();
  });

  test('tells faults by their code and goes on', async () => {
    const desk = open({ warmUpRuns: 0 });
    expect(await desk.ask(runRequest(1, WHITE))).toMatchObject({ kind: 'failed', id: 1, code: 'MODEL_UNKNOWN' });
    await desk.ask({ kind: 'load', id: 2, model: await ready('bright'), profile: false });
    expect(await desk.ask(runRequest(3, WHITE))).toMatchObject({ kind: 'failed', id: 3, code: 'FRAME_NOT_JPEG' });
    const gone = { ...(await ready('gone')), onnxPath: join(folder, 'nothing.onnx') };
    expect(await desk.ask({ kind: 'load', id: 4, model: gone, profile: false })).toMatchObject({
      kind: 'failed',
      id: 4,
      code: 'MODEL_UNAVAILABLE',
    });
    expect(
      await desk.ask(runRequest(5, WHITE, { rgb: { width: 16, height: 16 }, confidence: 0.9, iou: 0.1 })),
    ).toMatchObject({
      kind: 'done',
      id: 5,
    });
    await desk.close();
  });

  test.each<[string, Partial<ModelManifest>]>([
    ['takes [1, 3, 8, 8]', { input: { ...brightnessManifest('x').input, layout: 'nhwc' } }],
    ['has no output scores', { head: { kind: 'detr', logits: 'scores', boxes: 'output0', activation: 'sigmoid' } }],
    ['1 classes in the output but 0 labels', { labels: [] }],
  ])('refuses a model that %s', async (message, change) => {
    const desk = open({ providers: ['cpu', 'cpu'] });
    expect(await desk.ask({ kind: 'load', id: 1, model: await ready('odd', change), profile: false })).toMatchObject({
      code: 'MODEL_UNSUPPORTED',
      message: expect.stringContaining(message),
    });
    await desk.close();
  });

  test('a provider that cannot be had is passed over, and said', async () => {
    const desk = open({
      providers: ['directml', 'cpu'],
      deviceMemoryBytesMax: 1,
      threadBinding: '1',
      intraOpThreads: 2,
    });
    const reply = await desk.ask({ kind: 'load', id: 1, model: await ready('bright'), profile: false });
    expect(reply).toMatchObject({
      report: { effective: 'cpu', refused: [{ provider: 'directml' }], nodes: {}, notes: [] },
    });
    await desk.close();
  });

  test('an output whose length nobody declares is read anew each time', async () => {
    const desk = open({ warmUpRuns: 0 });
    const model = await ready('bright', {}, brightnessModel('n', 'boxes'));
    expect(await desk.ask({ kind: 'load', id: 1, model, profile: false })).toMatchObject({ kind: 'loaded' });
    for (const level of [51, 255]) {
      const request = runRequest(
        level,
        WHITE.map(() => level),
        { rgb: { width: 16, height: 16 }, confidence: 0.1 },
      );
      const reply = await desk.ask(request);
      expect(reply.kind === 'done' && reply.outcome.detections[0]!.score).toBeCloseTo(level / 255, 5);
    }
    await desk.close();
  });
});
