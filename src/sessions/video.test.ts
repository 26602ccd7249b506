import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { ANYONE } from '../../test/support/access.ts';
import { expectFiguresBalanced, sumsOf } from '../../test/support/figure-accounts.ts';
import { SocketClient } from '../../test/support/socket-client.ts';
import { ManualClock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { FrameOutcome } from '../base/frame.ts';
import type { Picture } from '../base/picture.ts';
import { seededRandom } from '../base/random.ts';
import type { Hand } from '../base/hand.ts';
import type { PipelineName, PipelineResult } from '../base/result.ts';
import { Priority, type Sample } from '../base/sample.ts';
import { builtInLadder } from '../flow/ladder.ts';
import { checkJpeg, encodeJpeg } from '../media/jpeg.ts';
import { Admission } from '../pipelines/admission.ts';
import { FigureRegistry } from '../observe/figures.ts';
import { framesPart } from '../observe/frame-accounts.ts';
import type { TracedFrame } from '../observe/traces/frame-trace.ts';
import { FrameTracer } from '../observe/traces/tracer.ts';
import { costlyJpeg } from '../../test/support/costly-jpegs.ts';
import { collectingLog } from '../../test/support/log.ts';
import { encodeFrame } from '../protocol/video-codec.ts';
import { openFences } from '../fences/fences.ts';
import { boundless, MemoryLedger, type MemoryBound } from '../fences/memory-ledger.ts';
import { FrameStreams } from '../stream/frame-streams.ts';
import { Hub } from '../stream/hub.ts';
import type { Reader } from '../stream/reader.ts';
import { videoParts } from './video-figures.ts';
import { VideoLane, type VideoLaneOptions } from './video.ts';

const JPEG = encodeJpeg({ data: new Uint8Array(16 * 8 * 3).fill(90), width: 16, height: 8 }, 80);

const SETTINGS: VideoLaneOptions['settings'] = {
  control: {
    rungs: builtInLadder('levels', 30),
    startRung: 2,
    width: 640,
    height: 480,
    firstFps: 15,
    minFps: 5,
    maxFps: 30,
    sourceFps: 30,
    stabilityMs: 5_000,
    isAdaptive: false,
    fixedQuality: 50,
    windowMin: 4,
    budgetMs: 2_000,
    priority: Priority.normal,
  },
  process: { busyShareMax: 0.8, rssBytesMax: 2 ** 33 },
  frameQueue: 25,
  messageBytesMax: 100_000,
  imageSideMax: 4_096,
  imagePixelsMax: 4_000_000,
  idleTimeoutMs: 300_000,
  sendBufferBytesMax: 65_536,
  pingIntervalMs: 20_000,
  pongTimeoutMs: 10_000,
  resumeWindowMs: 30_000,
  sessionsMax: 3,
};

/** The lane behind a real WebSocket server; what a pipeline would do, the test does by hand or lets happen at once. */
const HAND: Hand = {
  handedness: 'left',
  score: 0.98765,
  landmarks: Array.from({ length: 21 }, (_, i) => ({ x: i / 21, y: 0.123456, z: -0.5 })),
  world: Array.from({ length: 21 }, () => ({ x: 0.01, y: -0.02, z: 0 })),
};

class Bench {
  readonly memory: MemoryLedger;
  readonly lane: VideoLane;
  readonly figures: FigureRegistry<object>;
  readonly clock = new ManualClock();
  readonly log = collectingLog({ clock: this.clock });
  readonly hub = new Hub({ clock: this.clock, random: seededRandom(3), streamsMax: 100 });
  readonly frames = new Map<string, Reader<Picture>>();
  readonly traced: TracedFrame[] = [];
  tracer: FrameTracer | undefined;
  /** Answer each frame as soon as it comes. */
  prompt = true;
  readonly server: Server = createServer();
  readonly sockets = new WebSocketServer({ server: this.server, maxPayload: 2 * SETTINGS.messageBytesMax });

  constructor(frames: MemoryBound = boundless().bounds.frames) {
    this.memory = new MemoryLedger({ ...boundless().bounds, frames });
    this.lane = new VideoLane({
      streams: new FrameStreams(this.hub, this.memory),
      clock: this.clock,
      log: this.log.log,
      fences: { ...openFences({ clock: this.clock }), memory: this.memory },
      settings: SETTINGS,
      observer: { frame: () => false, encoded: () => {}, transmitted: () => {} },
      tracing: () => this.tracer,
      readJpeg: (bytes) => checkJpeg(bytes, { sideMax: SETTINGS.imageSideMax, pixelsMax: SETTINGS.imagePixelsMax }),
      admission: new Admission(() => ({ completed: 0, workMs: 0, busyMs: 0, workers: 1, waitMs: 0 })),
      process: () => ({ busyMs: 0, rssBytes: 0 }),
      attach: async ({ pipelines, model, clientId, frames }) => {
        const names = pipelines.map((name): PipelineName => {
          if (name === 'objects' || name === 'hands') return name;
          throw new SightlineError('PIPELINE_UNKNOWN', `pipeline "${name}" is unknown`);
        });
        if (model === 'gone') throw new SightlineError('MODEL_UNKNOWN', 'model "gone" is unknown');
        const streams = names.map((name) => {
          return { name, outcomes: this.hub.create<FrameOutcome>(`${clientId}/${name}`, { capacity: 64 }) };
        });
        const reader = frames.subscribe({
          contract: { kind: 'all' },
          onReady: () => {
            while (this.prompt && reader.ready) this.answer(clientId);
          },
          onLost: (seqs, cause) => {
            for (const { outcomes } of streams)
              for (const seq of seqs)
                outcomes.publish({
                  seq,
                  data: { kind: 'dropped', cause: cause === 'overflow' ? 'queue_full' : 'disconnected' },
                });
          },
        });
        this.frames.set(clientId, reader);
        return {
          pipelines: streams.map((stream) => ({ ...stream, model: model ?? 'any', inFlight: () => 0 })),
          queued: () => reader.queued,
          serviceMs: () => 10,
          costMs: () => 10,
          isCostly: () => false,
          isDear: (picture) => picture.kind === 'jpeg' && (picture.decodeMs ?? 0) > 1,
          discardQueued: () => reader.drop('disconnected'),
          detach: () => {
            reader.close();
            for (const { outcomes } of streams) outcomes.close();
          },
        };
      },
    });
    this.figures = new FigureRegistry({}, [framesPart(() => this.lane.accounts()), videoParts(this.lane).accounts]);
  }

  async start(): Promise<void> {
    this.sockets.on('connection', (socket, request) => {
      const query = new URL(request.url!, 'http://x').searchParams;
      void this.lane.open(socket, { query, address: request.socket.remoteAddress, principal: ANYONE });
    });
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
  }

  url(query = ''): string {
    return `ws://127.0.0.1:${(this.server.address() as AddressInfo).port}/${query}`;
  }

  /** Every pipeline of the session answers its next frame. */
  answer(clientId: string, text = 'thing'): void {
    const sample = this.frames.get(clientId)!.next()!;
    const detections = [{ label: text, classId: 0, score: 0.5, box: { x: 0, y: 0, width: 1, height: 1 } }];
    this.publish(clientId, sample, { pipeline: 'objects', detections });
    this.publish(clientId, sample, { pipeline: 'hands', hands: [HAND] });
  }

  publish(
    clientId: string,
    { seq, captureTimeMs, publishedTimeMs, data }: Sample<Picture>,
    result: PipelineResult,
  ): void {
    this.hub.get<FrameOutcome>(`${clientId}/${result.pipeline}`)?.publish({
      seq,
      captureTimeMs,
      data: {
        kind: 'result',
        width: data.width,
        height: data.height,
        result,
        receivedTimeMs: publishedTimeMs,
        startedTimeMs: this.clock.now(),
        stagesMs: { decode: 1, preprocess: 2, inference: 3, postprocess: 4 },
      },
    });
  }

  accounts(clientId: string) {
    return this.lane.report().find((session) => session.client_id === clientId)!.accounts;
  }

  expectBalanced(clientId: string): void {
    const { received, results, errors, dropped, queued, in_flight, unsent } = this.accounts(clientId);
    const lost = Object.values(dropped).reduce((sum, n) => sum + n, 0);
    expect(received).toBe(results + errors + lost + queued + in_flight + unsent);
    expectFiguresBalanced(this.figures.read());
  }

  async stop(): Promise<void> {
    const { received } = this.lane.totals();
    this.lane.close();
    // Of sessions that have ended nothing is forgotten, and nothing waits.
    const readings = this.figures.read();
    expectFiguresBalanced(readings);
    const sums = sumsOf(readings);
    expect(sums.get('sightline_frames_received_total')).toBe(received);
    expect(sums.get('sightline_frames_queued')! + sums.get('sightline_frames_unsent')!).toBe(0);
    for (const socket of this.sockets.clients) socket.terminate();
    this.sockets.close();
    this.server.close();
    this.hub.close();
  }
}

let bench: Bench;
beforeEach(async () => {
  bench = new Bench();
  await bench.start();
});
afterEach(() => bench.stop());

describe('traces', () => {
  const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
  const json = (seq: number, traceparent: unknown) => {
    return { type: 'frame', seq, traceparent, image_data: Buffer.from(JPEG).toString('base64') };
  };
  beforeEach(() => {
    bench.tracer = new FrameTracer({ sampleRate: 1, sink: { push: (frame) => void bench.traced.push(frame) } });
  });

  test('a frame goes on in the trace that it brings, in each of the forms; one that brings nonsense is answered all the same', async () => {
    const client = await SocketClient.open(bench.url('?client_id=cam&budget_ms=900'));
    client.send(json(1, `00-${TRACE}-00f067aa0ba902b7-01`));
    const header = encodeFrame({ seq: 2, captureTimeMs: bench.clock.now() - 9, jpeg: new Uint8Array() });
    header[2] = 3;
    const parent = Buffer.from(`${TRACE}00f067aa0ba902b701000000`, 'hex');
    client.send(Buffer.concat([header, parent, JPEG]));
    client.send(JPEG);
    client.send(json(4, { no: 'text' }));
    await expect.poll(() => bench.traced.length).toBe(4);
    expect(client.answers()).toEqual(['1:result', '2:result', '3:result', '4:result']);
    const [first, second, ...others] = bench.traced;
    for (const frame of [first, second]) {
      expect(frame!.trace).toMatchObject({ traceId: TRACE, parent: { spanId: '00f067aa0ba902b7' }, isSampled: true });
    }
    expect(second).toMatchObject({
      clientId: 'cam',
      pipeline: 'objects',
      model: 'any',
      seq: 2,
      budgetMs: 900,
      answeredTimeMs: second!.captureTimeMs + 9,
      outcome: { kind: 'result', width: 16, height: 8, stagesMs: { inference: 3 } },
    });
    for (const frame of others) expect(frame.trace).toMatchObject({ parent: undefined });
    expect(bench.tracer!.report().parentsIgnored).toBe(1);
  });

  test('each pipeline has its answer in the trace of the frame; losses and errors are told', async () => {
    bench.prompt = false;
    const client = await SocketClient.open<PipelineName>(bench.url('?client_id=two&pipeline=objects,hands'));
    for (let seq = 1; seq <= 3; seq++) client.send(JPEG);
    await expect.poll(() => bench.frames.get('two')?.queued).toBe(3);
    bench.answer('two');
    for (const seq of [2, 3]) expect(bench.frames.get('two')!.next()!.seq).toBe(seq);
    for (const pipeline of ['objects', 'hands']) {
      const outcomes = bench.hub.get<FrameOutcome>(`two/${pipeline}`)!;
      outcomes.publish({ seq: 2, data: { kind: 'dropped', cause: 'expired' } });
      outcomes.publish({ seq: 3, data: { kind: 'error', code: 'WORKER_LOST', message: 'gone' } });
    }
    await expect.poll(() => bench.traced.length).toBe(6);
    const told = bench.traced.map(({ seq, pipeline, outcome }) => {
      return [seq, pipeline, outcome.kind === 'result' ? 'result' : outcome.reason].join(' ');
    });
    expect(told.toSorted()).toEqual([
      '1 hands result',
      '1 objects result',
      '2 hands expired',
      '2 objects expired',
      '3 hands WORKER_LOST',
      '3 objects WORKER_LOST',
    ]);
    for (const seq of [1, 2, 3]) {
      const ids = bench.traced.filter((frame) => frame.seq === seq).map(({ trace }) => trace.traceId);
      expect(new Set(ids).size).toBe(1);
    }
  });
});

describe('memory', () => {
  test('a picture that waits takes what it has, not what came with it', async () => {
    bench.prompt = false;
    const client = await SocketClient.open(bench.url('?client_id=cam'));
    const read = Buffer.alloc(64 * 1024);
    read.set(JPEG, 100);
    bench.lane.get('cam').onMessage(read.subarray(100, 100 + JPEG.length), true, bench.clock.now());
    const { bytes } = bench.frames.get('cam')!.peek()!.data;
    expect(Buffer.from(bytes)).toEqual(Buffer.from(JPEG));
    expect(bytes.buffer.byteLength).toBeLessThan(2 * JPEG.length);
    expect(bench.memory.bytes('frames')).toBeGreaterThan(JPEG.length);
    await client.close();
  });

  test('frames over the bound of a session are dropped, the oldest first, and the client is told', async () => {
    const own = new Bench({ totalBytesMax: Infinity, clientBytesMax: 3 * (JPEG.length + 500) });
    await own.start();
    own.prompt = false;
    const client = await SocketClient.open(own.url('?client_id=cam'));
    for (let i = 0; i < 6; i++) client.send(JPEG);
    await client.until(() => client.of('dropped').flatMap(({ seqs }) => seqs).length >= 3);
    expect(
      client
        .of('dropped')
        .flatMap(({ seqs }) => seqs)
        .slice(0, 3),
    ).toEqual([1, 2, 3]);
    expect(client.of('dropped')[0]).toMatchObject({ cause: 'queue_full' });
    const account = [...own.memory.accounts].find(({ client: name }) => name === 'cam')!;
    expect(account.bytes('frames')).toBeLessThanOrEqual(own.memory.bounds.frames.clientBytesMax);
    client.socket.close(1000);
    await expect.poll(() => own.lane.report()).toEqual([]);
    expect(own.memory.bytes('frames')).toBe(0);
    await own.stop();
  });
});

describe('frames', () => {
  test('a bare JPEG gets its number from 1, and a result with every field', async () => {
    const client = await SocketClient.open(bench.url('?client_id=cam'));
    client.send(JPEG);
    client.send(JPEG);
    await client.until(() => client.of('result').length === 2);
    expect(client.answers()).toEqual(['1:result', '2:result']);
    expect(client.of('result')[0]).toEqual({
      type: 'result',
      client_id: 'cam',
      seq: 1,
      capture_time: bench.clock.now(),
      pipeline: 'objects',
      width: 16,
      height: 8,
      detections: [{ label: 'thing', class_id: 0, score: 0.5, box: { x: 0, y: 0, width: 1, height: 1 } }],
      stages_ms: { capture: 0, queue: 0, decode: 1, preprocess: 2, inference: 3, postprocess: 4, total: 0 },
    });
  });

  test('the three forms may be mixed; a header and JSON carry number and capture time', async () => {
    const client = await SocketClient.open(bench.url());
    const captured = bench.clock.now() - 40;
    client.send(encodeFrame({ seq: 7, captureTimeMs: captured, jpeg: JPEG }));
    client.send(JPEG);
    client.send({ type: 'frame', seq: 20, timestamp: captured, image_data: Buffer.from(JPEG).toString('base64') });
    client.send({ type: 'frame', image_data: `data:image/jpeg;base64,${Buffer.from(JPEG).toString('base64')}` });
    await client.until(() => client.of('result').length === 4);
    expect(client.answers()).toEqual(['7:result', '8:result', '20:result', '21:result']);
    expect(client.of('result')[0]).toMatchObject({ capture_time: captured, stages_ms: { capture: 40, total: 40 } });
  });

  test('frames sent before the welcome are not lost', async () => {
    const client = new SocketClient(bench.url());
    client.socket.on('open', () => client.send(JPEG));
    await client.until(() => client.of('result').length === 1);
    expect(client.messages.map((message) => message.type)).toEqual(['welcome', 'result']);
  });

  test('a capture time that cannot be true is replaced by the arrival, and counted', async () => {
    const client = await SocketClient.open(bench.url());
    const now = bench.clock.now();
    client.send(encodeFrame({ seq: 1, captureTimeMs: now + 20, jpeg: JPEG }));
    client.send(encodeFrame({ seq: 2, captureTimeMs: now + 5_000, jpeg: JPEG }));
    client.send(encodeFrame({ seq: 3, captureTimeMs: now - 3_600_000, jpeg: JPEG }));
    await client.until(() => client.of('result').length === 3);
    expect(client.of('result').map((result) => result.capture_time)).toEqual([now, now, now]);
    expect(bench.lane.report()[0]!.capture_times_replaced).toBe(2);
  });

  test('MessagePack carries the same message', async () => {
    const json = await SocketClient.open(bench.url('?client_id=a'));
    const packed = await SocketClient.open(bench.url('?client_id=b&format=msgpack'));
    for (const client of [json, packed]) {
      client.send(JPEG);
      await client.until(() => client.of('result').length === 1);
    }
    expect(packed.of('result')[0]).toEqual({ ...json.of('result')[0], client_id: 'b' });
    expect(packed.welcome.format).toBe('msgpack');
  });
});

describe('pictures that cost far more than others', () => {
  const DEAR = costlyJpeg({
    width: 640,
    height: 480,
    scans: [{ of: [0], band: [0, 0] }, ...Array.from({ length: 40 }, () => ({ of: [0], band: [1, 63] }) as const)],
  });
  const sendAll = async (client: SocketClient, count: number) => {
    const answered = client.answers().length + count;
    for (let i = 0; i < count; i++) client.send(DEAR);
    await client.until(() => client.answers().length === answered);
    // An error goes out at once, results once the turn of the event loop is over.
    return client.answers().slice(-count).toSorted();
  };

  test('are refused, told and counted, of a client that sends more of them than it is granted', async () => {
    const [client, other] = await Promise.all(
      ['culprit', 'other'].map((name) => SocketClient.open(bench.url(`?client_id=${name}`))),
    );
    // 15 a second are granted. Being over that is let be for two seconds.
    expect(new Set(await sendAll(client!, 20))).toEqual(
      new Set(Array.from({ length: 20 }, (_, i) => `${i + 1}:result`)),
    );
    bench.clock.advance(2_100);
    expect(await sendAll(client!, 5)).toEqual([
      '21:result',
      '22:result',
      '23:SESSION_COSTLY',
      '24:SESSION_COSTLY',
      '25:SESSION_COSTLY',
    ]);
    // What does not cost much is let in, and so is everybody else.
    client!.send(JPEG);
    await client!.until(() => client!.answers().length === 26);
    expect(client!.answers().at(-1)).toBe('26:result');
    expect(await sendAll(other!, 2)).toEqual(['1:result', '2:result']);
    const [culprit, innocent] = bench.lane.report();
    expect([culprit!.refused_costly, innocent!.refused_costly]).toEqual([3, 0]);
    expect(culprit!.accounts).toMatchObject({ received: 26, results: 23, errors: 3 });
    bench.expectBalanced('culprit');
    expect(sumsOf(bench.figures.read()).get('sightline_frames_costly_refused_total')).toBe(3);
    const told = bench.log.entries.filter(({ event }) => event === 'session_costly');
    expect(told).toHaveLength(1);
    expect(told[0]!.fields).toMatchObject({ client_id: 'culprit', code: 'SESSION_COSTLY', granted_fps: 15 });

    bench.clock.advance(5_000);
    expect(await sendAll(client!, 5)).not.toContain('27:SESSION_COSTLY');
    expect(bench.lane.report()[0]!.refused_costly).toBe(3);
    // Those of sessions that have ended count, too.
    client!.socket.close(1000);
    await expect.poll(() => bench.lane.report()).toHaveLength(1);
    expect(sumsOf(bench.figures.read()).get('sightline_frames_costly_refused_total')).toBe(3);
  });
});

describe('several pipelines', () => {
  const told = (client: SocketClient<PipelineName>) =>
    client.messages.flatMap((message) => {
      if (message.type === 'result') return [`${message.seq} ${message.pipeline}`];
      if (message.type === 'dropped') return message.seqs.map((seq) => `${seq} ${message.pipeline} ${message.cause}`);
      if (message.type === 'error') return [`${message.seq} ${message.pipeline ?? 'all'} ${message.code}`];
      return [];
    });
  const open = (query = '') =>
    SocketClient.open<PipelineName>(bench.url(`?client_id=cam&pipeline=objects,hands${query}`));

  test('each has its result of every frame, and its accounts', async () => {
    const client = await open();
    expect(client.welcome).toMatchObject({ pipeline: 'objects,hands', model: 'any,any' });
    client.send(JPEG);
    client.send(JPEG);
    await client.until(() => client.of('result').length === 4);
    expect(told(client).toSorted()).toEqual(['1 hands', '1 objects', '2 hands', '2 objects']);
    const hands = client.of('result').find(({ pipeline }) => pipeline === 'hands');
    expect(hands).toMatchObject({ width: 16, height: 8, hands: [{ handedness: 'left', score: 0.98765 }] });
    expect(hands).not.toHaveProperty('detections');
    const [report] = bench.lane.report();
    expect(report).toMatchObject({ pipeline: 'objects,hands', accounts: { received: 4, results: 4, errors: 0 } });
    expect(report!.pipelines).toMatchObject([
      { pipeline: 'objects', model: 'any', accounts: { received: 2, results: 2 } },
      { pipeline: 'hands', model: 'any', accounts: { received: 2, results: 2 } },
    ]);
  });

  test('one that comes later, or not at all, holds up nobody', async () => {
    bench.prompt = false;
    const client = await open();
    for (let i = 0; i < 3; i++) client.send(JPEG);
    await expect.poll(() => bench.frames.get('cam')?.queued).toBe(3);
    const [first, second, third] = Array.from({ length: 3 }, () => bench.frames.get('cam')!.next()!);
    for (const sample of [first!, second!, third!])
      bench.publish('cam', sample, { pipeline: 'objects', detections: [] });
    await client.until(() => client.of('result').length === 3);
    const outcomes = bench.hub.get<FrameOutcome>('cam/hands')!;
    outcomes.publish({ seq: 1, data: { kind: 'dropped', cause: 'stale' } });
    outcomes.publish({ seq: 2, data: { kind: 'error', code: 'WORKER_LOST', message: 'gone' } });
    bench.publish('cam', third!, { pipeline: 'hands', hands: [] });
    await client.until(() => told(client).length === 6);
    expect(told(client)).toEqual([
      '1 objects',
      '2 objects',
      '3 objects',
      '1 hands stale',
      '2 hands WORKER_LOST',
      '3 hands',
    ]);
    bench.expectBalanced('cam');
  });

  test('a picture that cannot be used is one error, for all of them', async () => {
    const client = await open();
    client.send(Uint8Array.of(1, 2, 3));
    client.send(JPEG);
    await client.until(() => client.of('result').length === 2);
    expect(told(client)[0]).toBe('1 all FRAME_NOT_JPEG');
    expect(client.of('error')).toHaveLength(1);
    expect(bench.lane.report()[0]!.pipelines!.map(({ accounts }) => [accounts.received, accounts.errors])).toEqual([
      [2, 1],
      [2, 1],
    ]);
    bench.expectBalanced('cam');
  });

  test('results for server-sent events are those of the pipeline that is named, else of the first', async () => {
    await open();
    const session = bench.lane.get('cam');
    expect(session.outcomesOf()).toBe(bench.hub.get('cam/objects'));
    expect(session.outcomesOf('hands')).toBe(bench.hub.get('cam/hands'));
    expect(() => session.outcomesOf('dance')).toThrow('it has objects, hands');
  });
});

describe('bad input: one clear error, and the session lives on', () => {
  const truncated = JPEG.subarray(0, JPEG.length - 20);
  const huge = Uint8Array.from(JPEG);
  const sof = huge.findIndex((byte, i) => byte === 0xff && huge[i + 1] === 0xc0);
  huge.set([50_000 >> 8, 50_000 & 255, 50_000 >> 8, 50_000 & 255], sof + 5);

  test.each<[string, string | Uint8Array | object, string]>([
    ['an empty frame', new Uint8Array(0), '2:FRAME_EMPTY'],
    ['a truncated frame', truncated, '2:FRAME_TRUNCATED'],
    ['no JPEG', new TextEncoder().encode('GIF89a and more'), '2:FRAME_NOT_JPEG'],
    ['a huge picture', huge, '2:FRAME_TOO_LARGE'],
    ['half a header', Uint8Array.of(0x53, 0x4c, 1), '2:FRAME_HEADER_BAD'],
    [
      'an unknown header version',
      encodeFrame({ seq: 9, captureTimeMs: 0, jpeg: JPEG }).fill(9, 2, 3),
      '9:FRAME_HEADER_BAD',
    ],
    ['a header whose time is no number', encodeFrame({ seq: 9, captureTimeMs: NaN, jpeg: JPEG }), '9:FRAME_HEADER_BAD'],
    ['a number twice', encodeFrame({ seq: 1, captureTimeMs: 0, jpeg: JPEG }), '1:FRAME_SEQUENCE_BAD'],
    ['number zero', encodeFrame({ seq: 0, captureTimeMs: 0, jpeg: JPEG }), '0:FRAME_SEQUENCE_BAD'],
    ['a large message', new Uint8Array(SETTINGS.messageBytesMax + 1), '2:MESSAGE_TOO_LARGE'],
    ['no JSON', '{"type":', '-:MESSAGE_NOT_JSON'],
    ['a list', '[1]', '-:MESSAGE_NOT_JSON'],
    ['deep JSON', '['.repeat(50_000), '-:MESSAGE_NOT_JSON'],
    ['an unknown type', { type: 'dance' }, '-:MESSAGE_TYPE_UNKNOWN'],
    ['no type', {}, '-:MESSAGE_TYPE_UNKNOWN'],
    ['a prototype key', '{"__proto__":{"type":"clock"}}', '-:MESSAGE_TYPE_UNKNOWN'],
    ['a frame without picture', { type: 'frame', seq: 5 }, '5:MESSAGE_FIELD_BAD'],
    ['wrong base64', { type: 'frame', seq: 5, image_data: '***' }, '5:MESSAGE_FIELD_BAD'],
    ['a seq that is text', { type: 'frame', seq: 'x', image_data: '' }, '2:MESSAGE_FIELD_BAD'],
    ['an empty picture in JSON', { type: 'frame', image_data: '' }, '2:FRAME_EMPTY'],
    ['a clock without t0', { type: 'clock' }, '-:MESSAGE_FIELD_BAD'],
    ['an unknown level', { type: 'pin', level: 'best' }, '-:MESSAGE_FIELD_BAD'],
    ['level and mode', { type: 'pin', level: 'low', mode: 'balanced' }, '-:MESSAGE_FIELD_BAD'],
    ['a skip ratio of 0', { type: 'pin', skip_ratio: 0 }, '-:MESSAGE_FIELD_BAD'],
  ])('%s', async (_name, message, answer) => {
    const client = await SocketClient.open(bench.url('?client_id=cam'));
    client.send(JPEG);
    client.send(message);
    client.send(encodeFrame({ seq: 100, captureTimeMs: bench.clock.now(), jpeg: JPEG }));
    await client.until(() => client.of('result').length === 2);
    expect(client.answers().toSorted()).toEqual(['1:result', '100:result', answer].toSorted());
    bench.expectBalanced('cam');
  });

  test.each([
    ['?pipeline=dance', 'PIPELINE_UNKNOWN', 4404],
    ['?pipeline=objects,dance', 'PIPELINE_UNKNOWN', 4404],
    ['?pipeline=', 'QUERY_BAD', 4400],
    ['?pipeline=objects,', 'QUERY_BAD', 4400],
    ['?pipeline=objects,hands,objects', 'QUERY_BAD', 4400],
    [`?pipeline=${Array.from({ length: 30 }, (_, i) => `p${i}`).join()}`, 'QUERY_BAD', 4400],
    ['?pipeline=objects,hands&model=any', 'QUERY_BAD', 4400],
    ['?pipeline=objects,hands&confidence=0.5', 'QUERY_BAD', 4400],
    ['?model=gone', 'MODEL_UNKNOWN', 4404],
    ['?format=xml', 'QUERY_BAD', 4400],
    ['?confidence=7', 'QUERY_BAD', 4400],
    ['?confidence=', 'QUERY_BAD', 4400],
    ['?client_id=a%20b', 'QUERY_BAD', 4400],
    ['?client_id=a&client_id=b', 'QUERY_BAD', 4400],
    ['?speed=1', 'QUERY_BAD', 4400],
  ])('the query %s ends in %s', async (query, code, closeCode) => {
    const client = await SocketClient.open(bench.url(query));
    await client.until(() => client.closed !== undefined);
    expect(client.answers()).toEqual([`-:${code}`]);
    expect(client.closed).toBe(closeCode);
    expect(bench.lane.report()).toEqual([]);
    expect(bench.hub.list()).toEqual([]);
  });

  test('a message over twice the limit is not read: 1009', async () => {
    const client = await SocketClient.open(bench.url());
    client.send(new Uint8Array(3 * SETTINGS.messageBytesMax));
    await client.until(() => client.closed !== undefined);
    expect(client.closed).toBe(1009);
  });
});

describe('sessions', () => {
  test('a name in use is refused without its token, and taken over with it', async () => {
    const first = await SocketClient.open(bench.url('?client_id=cam'));
    first.send(JPEG);
    await first.until(() => first.of('result').length === 1);
    const stranger = await SocketClient.open(bench.url('?client_id=cam&token=guess'));
    await stranger.until(() => stranger.closed !== undefined);
    expect(stranger.answers()).toEqual(['-:SESSION_NAME_IN_USE']);
    expect(stranger.closed).toBe(4409);

    const second = await SocketClient.open(bench.url(`?client_id=cam&token=${first.welcome.token}`));
    await first.until(() => first.closed !== undefined);
    expect(first.answers().at(-1)).toBe('-:SESSION_TAKEN_OVER');
    expect(second.welcome).toMatchObject({ resumed: true, last_seq: 1, token: first.welcome.token });
    second.send(JPEG);
    await second.until(() => second.of('result').length === 1);
    expect(second.answers()).toEqual(['2:result']);
    bench.expectBalanced('cam');
  });

  test('a lost client finds its session again; what was under way is counted', async () => {
    bench.prompt = false;
    const first = await SocketClient.open(bench.url('?client_id=cam'));
    for (let i = 0; i < 3; i++) first.send(JPEG);
    await expect.poll(() => bench.accounts('cam').queued).toBe(3);
    first.socket.terminate();
    await expect.poll(() => bench.lane.report()[0]!.connected).toBe(false);
    expect(bench.accounts('cam')).toMatchObject({ received: 3, queued: 0, dropped: { disconnected: 3 } });
    const second = await SocketClient.open(bench.url(`?client_id=cam&token=${first.welcome.token}`));
    expect(second.welcome).toMatchObject({ resumed: true, last_seq: 3 });
    second.send(JPEG);
    await expect.poll(() => bench.accounts('cam').queued).toBe(1);
    bench.answer('cam');
    await second.until(() => second.of('result').length === 1);
    expect(second.answers()).toEqual(['4:result']);
    bench.expectBalanced('cam');
  });

  test('a name goes to a newcomer after 3 s and back to the old token, with streams of its own each time', async () => {
    const first = await SocketClient.open(bench.url('?client_id=cam'));
    first.send(JPEG);
    await first.until(() => first.of('result').length === 1);
    first.socket.terminate();
    await expect.poll(() => bench.lane.report()[0]!.connected).toBe(false);
    bench.clock.advance(3_000);
    const newcomer = await SocketClient.open(bench.url('?client_id=cam'));
    expect(newcomer.welcome).toMatchObject({ resumed: false, last_seq: 0 });
    newcomer.send(JPEG);
    await newcomer.until(() => newcomer.of('result').length === 1);
    const back = await SocketClient.open(bench.url(`?client_id=cam&token=${first.welcome.token}`));
    expect(back.welcome).toMatchObject({ resumed: false, client_id: 'cam' });
    await newcomer.until(() => newcomer.closed !== undefined);
    expect([newcomer.answers().at(-1), newcomer.closed]).toEqual(['-:SESSION_TAKEN_OVER', 4409]);
    back.send(JPEG);
    await back.until(() => back.of('result').length === 1);
    bench.expectBalanced('cam');
    expect(bench.lane.totals()).toMatchObject({ sessions: 3, received: 3, results: 3 });
  });

  test('a client that closes with 1000 is done: its session and streams go, and its name is free', async () => {
    const client = await SocketClient.open(bench.url('?client_id=cam'));
    client.send(JPEG);
    await client.until(() => client.of('result').length === 1);
    client.socket.close(1000);
    await client.until(() => client.closed !== undefined);
    const next = await SocketClient.open(bench.url(`?client_id=cam&token=${client.welcome.token}&resume=true`));
    expect(next.welcome.resumed).toBe(false);
    next.socket.close(1000);
    await expect.poll(() => bench.lane.report(), { timeout: 5_000 }).toEqual([]);
    expect(bench.hub.list()).toEqual([]);
  });

  test('with resume=false the token proves the name, and the session begins anew', async () => {
    const first = await SocketClient.open(bench.url('?client_id=cam'));
    first.send(JPEG);
    await first.until(() => first.of('result').length === 1);
    const again = await SocketClient.open(bench.url(`?client_id=cam&token=${first.welcome.token}&resume=false`));
    expect(again.welcome).toMatchObject({ resumed: false, last_seq: 0 });
    const bad = await SocketClient.open(bench.url('?resume=perhaps'));
    await bad.until(() => bad.closed !== undefined);
    expect(bad.answers()).toEqual(['-:QUERY_BAD']);
  });

  test('the server’s clock is set: capture times are read by what the client was told, and follow with the next exchange', async () => {
    const client = await SocketClient.open(bench.url('?client_id=cam'));
    const startMs = bench.clock.now();
    const ask = async (t0: number) => {
      client.send({ type: 'clock', t0 });
      await client.until(() => client.of('clock').some((reply) => reply.t0 === t0));
      return client.of('clock').at(-1)!;
    };
    const send = async (seq: number, captureTimeMs: number) => {
      client.send({ type: 'frame', seq, timestamp: captureTimeMs, image_data: Buffer.from(JPEG).toString('base64') });
      await client.until(() => client.of('result').at(-1)?.seq === seq);
      return client.of('result').at(-1)!;
    };
    expect(await ask(1)).toMatchObject({ t1: startMs, t2: startMs });
    bench.clock.stepWall(-86_400_000);
    bench.clock.advance(30);
    // It does not know yet.
    expect(await send(1, startMs)).toMatchObject({ capture_time: startMs, stages_ms: { capture: 30 } });
    expect(await ask(2)).toMatchObject({ t1: startMs + 30 - 86_400_000 });
    expect(await send(2, startMs + 10 - 86_400_000)).toMatchObject({
      capture_time: startMs + 10 - 86_400_000,
      stages_ms: { capture: 20 },
    });
    expect(bench.lane.report()[0]!.capture_times_replaced).toBe(0);
  });

  test('after the resume window the session and its streams are gone', async () => {
    const client = await SocketClient.open(bench.url('?client_id=cam'));
    await client.close();
    await expect.poll(() => bench.lane.report()[0]?.connected).toBe(false);
    bench.clock.advance(SETTINGS.resumeWindowMs + 1);
    await expect.poll(() => bench.lane.report(), { timeout: 5_000 }).toEqual([]);
    expect(bench.hub.list()).toEqual([]);
  });

  test('an idle session is ended with its reason', async () => {
    const client = await SocketClient.open(bench.url());
    bench.clock.advance(SETTINGS.idleTimeoutMs + 1);
    await client.until(() => client.closed !== undefined);
    expect(client.answers()).toEqual(['-:SESSION_IDLE']);
    expect(client.closed).toBe(4408);
  });

  test('a client that answers no ping is given up', async () => {
    const client = await SocketClient.open(bench.url('?client_id=cam'), { autoPong: false });
    bench.clock.advance(SETTINGS.pingIntervalMs + 1);
    await once(client.socket, 'ping');
    bench.clock.advance(SETTINGS.pongTimeoutMs + 1);
    await client.until(() => client.closed !== undefined);
    expect(client.closed).toBe(4408);
    expect(bench.lane.report()[0]!.connected).toBe(false);
  });

  test('with all places taken, lost sessions give way first, then strangers are refused', async () => {
    const clients = await Promise.all(
      ['a', 'b', 'c'].map((name) => SocketClient.open(bench.url(`?client_id=${name}`))),
    );
    const refused = await SocketClient.open(bench.url('?client_id=d'));
    await refused.until(() => refused.closed !== undefined);
    expect(refused.answers()).toEqual(['-:CONNECTIONS_EXHAUSTED']);
    await clients[1]!.close();
    await expect.poll(() => bench.lane.connected).toBe(2);
    const welcomed = await SocketClient.open(bench.url('?client_id=d'));
    expect(welcomed.welcome.client_id).toBe('d');
    expect(bench.lane.report().map((session) => session.client_id)).toEqual(['a', 'c', 'd']);
  });

  test('on shutdown every client is told', async () => {
    const client = await SocketClient.open(bench.url());
    bench.lane.close();
    await client.until(() => client.closed !== undefined);
    expect(client.answers()).toEqual(['-:SHUTTING_DOWN']);
    expect(client.closed).toBe(1001);
    const late = await SocketClient.open(bench.url());
    await late.until(() => late.closed !== undefined);
    expect(late.answers()).toEqual(['-:SHUTTING_DOWN']);
  });
});

describe('pin and clock', () => {
  test('the budget is the one that the session asked for, else the server’s', async () => {
    expect((await SocketClient.open(bench.url())).welcome.budget_ms).toBe(2_000);
    expect((await SocketClient.open(bench.url('?budget_ms=300'))).welcome.budget_ms).toBe(300);
  });

  test('a pin is answered by a grant, and let go again', async () => {
    const client = await SocketClient.open(bench.url());
    expect(client.welcome.grant).toMatchObject({
      rate_fps: 15,
      window: 4,
      width: 640,
      height: 480,
      quality: 50,
      pinned: null,
    });
    client.send({ type: 'pin', level: 'low', skip_ratio: 3 });
    client.send({ type: 'pin' });
    await client.until(() => client.of('grant').length === 2);
    expect(client.of('grant')).toMatchObject([
      { rate_fps: 5, width: 416, quality: 40, pinned: { level: 'low', skip_ratio: 3 } },
      { rate_fps: 15, pinned: null },
    ]);
  });

  test('a clock question is answered with the times of arrival and answer', async () => {
    const client = await SocketClient.open(bench.url());
    client.send({ type: 'clock', t0: 12.5 });
    await client.until(() => client.of('clock').length === 1);
    expect(client.of('clock')[0]).toEqual({ type: 'clock', t0: 12.5, t1: bench.clock.now(), t2: bench.clock.now() });
  });
});

describe('load', () => {
  test('10,000 frames at once: the oldest are dropped, every one is answered, another session notices nothing', async () => {
    bench.prompt = false;
    const flood = await SocketClient.open(bench.url('?client_id=flood'));
    const calm = await SocketClient.open(bench.url('?client_id=calm'));
    for (let i = 0; i < 10_000; i++) flood.send(JPEG);
    calm.send(JPEG);
    await flood.until(() => flood.answers().length >= 10_000 - SETTINGS.frameQueue);
    await expect.poll(() => bench.accounts('flood').queued).toBe(25);
    await expect.poll(() => bench.frames.get('calm')!.queued).toBe(1);
    bench.answer('calm');
    await calm.until(() => calm.of('result').length === 1);
    for (let i = 0; i < 25; i++) bench.answer('flood');
    await flood.until(() => flood.answers().length === 10_000);
    expect(new Set(flood.answers().map((answer) => answer.split(':')[0])).size).toBe(10_000);
    expect(flood.answers().slice(-25)).toEqual(Array.from({ length: 25 }, (_, i) => `${9_976 + i}:result`));
    bench.expectBalanced('flood');
  });

  test('a client that never reads loses its own results, is told once it reads, and holds up nobody', async () => {
    const deaf = await SocketClient.open(bench.url('?client_id=deaf'));
    const other = await SocketClient.open(bench.url('?client_id=other'));
    bench.prompt = false;
    deaf.socket.pause();
    const long = 'x'.repeat(40_000);
    let sent = 0;
    while (bench.accounts('deaf').dropped.slow_reader < 10) {
      deaf.send(JPEG);
      sent++;
      await expect.poll(() => bench.frames.get('deaf')!.queued, { interval: 1 }).toBe(1);
      bench.answer('deaf', long);
    }
    bench.expectBalanced('deaf');
    // Meanwhile it is asked for less.
    bench.clock.advance(300);
    const quality = () => bench.lane.report().find((session) => session.client_id === 'deaf')!.quality;
    await expect.poll(() => quality().grant.reason).toBe('client');
    expect(quality().unread_ms).toBe(300);
    other.send(JPEG);
    await expect.poll(() => bench.frames.get('other')!.queued, { interval: 1 }).toBe(1);
    bench.answer('other');
    await other.until(() => other.of('result').length === 1);
    deaf.socket.resume();
    await deaf.until(() => deaf.answers().length === sent);
    const results = deaf.of('result').map((result) => result.seq);
    expect(results).toEqual(results.toSorted((a, b) => a - b));
    expect(deaf.answers().filter((answer) => answer.endsWith('slow_reader')).length).toBe(sent - results.length);
    await expect.poll(() => quality().unread_ms).toBe(0);
    bench.clock.advance(1_000);
    await expect.poll(() => quality().grant.reason).not.toBe('client');
    bench.expectBalanced('deaf');
  });

  test('a client that sends for ever and never reads is not read any more; once it reads, it goes on', async () => {
    const deaf = await SocketClient.open(bench.url('?client_id=deaf'));
    const isPaused = (): boolean => [...bench.sockets.clients].some((socket) => socket.isPaused);
    deaf.socket.pause();
    let sent = 0;
    while (!isPaused()) {
      for (let i = 0; i < 500; i++) deaf.send(JPEG);
      sent += 500;
      await new Promise((done) => setImmediate(done));
    }
    bench.expectBalanced('deaf');
    deaf.socket.resume();
    await deaf.until(() => deaf.answers().length === sent);
    expect(isPaused()).toBe(false);
    bench.expectBalanced('deaf');
  });

  test('at the end of a session its frames are told before the reason', async () => {
    bench.prompt = false;
    const client = await SocketClient.open(bench.url('?client_id=cam'));
    for (let i = 0; i < 3; i++) client.send(JPEG);
    await expect.poll(() => bench.accounts('cam').queued).toBe(3);
    bench.answer('cam');
    bench.lane.close();
    await client.until(() => client.closed !== undefined);
    expect(client.answers()).toEqual(['1:result', '2:disconnected', '3:disconnected', '-:SHUTTING_DOWN']);
  });
});
