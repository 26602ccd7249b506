import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { WebSocketServer, type WebSocket } from 'ws';
import { systemClock } from '../../base/clock.ts';
import { decodeBinaryFrame } from '../../protocol/video-codec.ts';
import type { GrantFields, VideoClockRequest } from '../../protocol/video.ts';
import { PictureBook } from './clip.ts';
import { runSpan, SpanMeter } from './span.ts';

const GRANT = { rate_fps: 50, window: 2, width: 32, height: 32, quality: 50, pinned: null };
const frames = [10, 200].map((value) => ({ data: new Uint8Array(32 * 32 * 3).fill(value), width: 32, height: 32 }));
const STAGES = { capture: 1, queue: 1, decode: 1, preprocess: 1, inference: 8, postprocess: 1, total: 13 };

type Answer = (socket: WebSocket, seq: number) => void;

const open: { close(): void }[] = [];
afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

/** As much of a server as the video lane's clients see, and what it saw of them. */
class FakeServer {
  readonly arrivals: { socket: WebSocket; seq: number; timeMs: number }[] = [];
  /** The most frames of one socket that were unanswered at once. */
  unansweredMax = 0;
  url = '';
  readonly #http: Server;
  readonly clocks: VideoClockRequest[] = [];
  readonly #answer: Answer;
  readonly #grant: Partial<GrantFields>;
  readonly #unanswered = new Map<WebSocket, number>();

  constructor(answer: Answer, grant: Partial<GrantFields> = {}) {
    this.#answer = answer;
    this.#grant = grant;
    this.#http = createServer((_request, response) =>
      response.end(JSON.stringify({ process: { cpu_percent: 42, rss_bytes: 64 * 2 ** 20 } })),
    );
    const sockets = new WebSocketServer({ server: this.#http });
    sockets.on('connection', (socket) => this.#accept(socket));
    open.push({
      close: () => {
        for (const socket of sockets.clients) socket.terminate();
        this.#http.close();
      },
    });
  }

  async listen(): Promise<string> {
    this.#http.listen(0, '127.0.0.1');
    await once(this.#http, 'listening');
    this.url = `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
    return this.url;
  }

  result(socket: WebSocket, seq: number): void {
    this.#done(socket);
    const result = { pipeline: 'objects', seq, detections: [], width: 32, height: 32, stages_ms: STAGES };
    socket.send(JSON.stringify({ type: 'result', ...result }));
  }

  dropped(socket: WebSocket, seq: number): void {
    this.#done(socket);
    socket.send(JSON.stringify({ type: 'dropped', seqs: [seq], cause: 'expired' }));
  }

  refused(socket: WebSocket, seq: number): void {
    this.#done(socket);
    socket.send(JSON.stringify({ type: 'error', code: 'INFERENCE_FAILED', message: 'no', seq }));
  }

  #onClock(socket: WebSocket, bytes: Buffer): void {
    const request = JSON.parse(bytes.toString()) as VideoClockRequest;
    this.clocks.push(request);
    const nowMs = systemClock.now();
    socket.send(JSON.stringify({ type: 'clock', t0: request.t0, t1: nowMs, t2: nowMs }));
  }

  #accept(socket: WebSocket): void {
    socket.send(
      JSON.stringify({
        type: 'welcome',
        client_id: 'client',
        token: 'secret',
        server_time: systemClock.now(),
        last_seq: 0,
        limits: { message_bytes_max: 2_000_000 },
        grant: { ...GRANT, ...this.#grant },
      }),
    );
    socket.on('message', (bytes: Buffer, isBinary: boolean) => {
      if (!isBinary) return this.#onClock(socket, bytes);
      const { seq } = decodeBinaryFrame(bytes);
      this.arrivals.push({ socket, seq: seq!, timeMs: systemClock.now() });
      this.#unanswered.set(socket, (this.#unanswered.get(socket) ?? 0) + 1);
      this.unansweredMax = Math.max(this.unansweredMax, this.#unanswered.get(socket)!);
      this.#answer(socket, seq!);
    });
  }

  #done(socket: WebSocket): void {
    this.#unanswered.set(socket, this.#unanswered.get(socket)! - 1);
  }
}

async function span(url: string, change: Partial<Parameters<typeof runSpan>[0]> = {}) {
  return await runSpan({
    url,
    book: new PictureBook({ frames }),
    sessions: 2,
    settleMs: 50,
    spanMs: 400,
    drainMs: 1_000,
    targetMs: 300,
    clock: systemClock,
    signal: new AbortController().signal,
    ...change,
  });
}

describe('a span of load', () => {
  test('keeps to the rate, and tells what came of it', async () => {
    const server = new FakeServer((socket, seq) => server.result(socket, seq), { rate_fps: 20 });
    const figures = await span(await server.listen());
    // Two sessions of 20 frames a second; the ends of a short span make a frame or two. A busy machine sends fewer.
    expect(figures.results_per_s).toBeGreaterThan(0);
    expect(figures.results_per_s).toBeLessThan(55);
    expect(figures).toMatchObject({ loss_percent: 0, cpu_percent: 42, memory_mb: 64, work_p95_ms: 11 });
    expect(figures.p50_ms).toBeLessThanOrEqual(figures.p95_ms);
    expect(new Set(server.arrivals.map(({ socket }) => socket)).size).toBe(2);
    for (const { socket } of server.arrivals) {
      const seqs = server.arrivals.filter((one) => one.socket === socket).map(({ seq }) => seq);
      expect(seqs).toEqual(seqs.map((_, i) => i + 1));
    }
  });

  test('tells its round trip, as the SDK does: without it the server would grant less than a user gets', async () => {
    const server = new FakeServer((socket, seq) => server.result(socket, seq));
    await span(await server.listen());
    const told = server.clocks.filter(({ round_trip_ms }) => round_trip_ms !== undefined);
    expect(told.length).toBeGreaterThanOrEqual(2);
    for (const { round_trip_ms } of told) expect(round_trip_ms).toBeGreaterThanOrEqual(0);
  });

  test('keeps to the window: an answer late by 100 ms lets two frames go in that time', async () => {
    const server = new FakeServer((socket, seq) => void setTimeout(() => server.result(socket, seq), 100));
    const figures = await span(await server.listen());
    expect(server.unansweredMax).toBe(2);
    // Two sessions with two frames out, each for 100 ms: 40 a second at most, although 100 are granted.
    expect(figures.results_per_s).toBeLessThanOrEqual(50);
    expect(figures.p50_ms).toBeGreaterThanOrEqual(99);
  });

  test('follows a grant that changes on the way', async () => {
    const server = new FakeServer((socket, seq) => {
      server.result(socket, seq);
      if (seq === 1) socket.send(JSON.stringify({ type: 'grant', ...GRANT, rate_fps: 5 }));
    });
    const { results_per_s: rate } = await span(await server.listen());
    expect(rate).toBeLessThan(20);
  });

  test('counts every frame without a result as lost, for whatever reason', async () => {
    const answers: Answer[] = [
      (socket, seq) => server.result(socket, seq),
      (socket, seq) => server.dropped(socket, seq),
      (socket, seq) => server.refused(socket, seq),
      (socket, seq) => server.result(socket, seq),
    ];
    const server = new FakeServer((socket, seq) => answers[seq % 4]!(socket, seq));
    const { loss_percent: lost } = await span(await server.listen());
    expect(lost).toBeGreaterThan(35);
    expect(lost).toBeLessThan(65);
  });

  test('late results are no results in time', async () => {
    const server = new FakeServer((socket, seq) => void setTimeout(() => server.result(socket, seq), 60));
    const figures = await span(await server.listen(), { targetMs: 40 });
    expect(figures.results_per_s).toBeGreaterThan(0);
    expect(figures.in_time_per_s).toBe(0);
  });

  test('a server that never answers gives no results, and does not hold it up for long', async () => {
    const server = new FakeServer(() => undefined);
    const figures = await span(await server.listen(), { settleMs: 0, spanMs: 300 });
    expect(figures).toMatchObject({ results_per_s: 0, p95_ms: Infinity, loss_percent: 100 });
  });
});

describe('what cannot be', () => {
  test('nobody listens', async () => {
    const server = new FakeServer(() => undefined);
    const url = await server.listen();
    open.splice(0).forEach((one) => one.close());
    await expect(span(url)).rejects.toMatchObject({
      code: 'CONNECTION_FAILED',
      message: expect.stringContaining(new URL(url).host) as string,
    });
  });

  test('a server that goes away meanwhile', async () => {
    const server = new FakeServer((socket, seq) => (seq === 3 ? socket.terminate() : server.result(socket, seq)));
    const url = await server.listen();
    await expect(span(url)).rejects.toMatchObject({
      code: 'CONNECTION_LOST',
      message: expect.stringContaining(new URL(url).host) as string,
    });
  });

  test('a server that refuses the session', async () => {
    const server = new FakeServer((socket) => {
      socket.send(JSON.stringify({ type: 'error', code: 'SHUTTING_DOWN', message: 'it is over' }));
      socket.close(4503);
    });
    await expect(span(await server.listen())).rejects.toMatchObject({ code: 'SHUTTING_DOWN', message: 'it is over' });
  });

  test('a server that says nothing, and the user who stops it meanwhile', async () => {
    const silent = createTcpServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const controller = new AbortController();
    const connected = once(silent, 'connection');
    const spanning = span(`http://127.0.0.1:${(silent.address() as AddressInfo).port}`, { signal: controller.signal });
    const [socket] = (await connected) as [Socket];
    open.push(silent, { close: () => socket.destroy() });
    controller.abort(new Error('enough'));
    await expect(spanning).rejects.toThrow('enough');
  });

  test('stopped on the way', async () => {
    const controller = new AbortController();
    const server = new FakeServer((socket, seq) => {
      server.result(socket, seq);
      if (seq === 2) controller.abort(new Error('enough'));
    });
    await expect(span(await server.listen(), { signal: controller.signal })).rejects.toThrow('enough');
  });
});

test('the meter: frames count by capture, results a second by arrival', () => {
  const meter = new SpanMeter({ targetMs: 50 });
  meter.begin(1_000, 2_000);
  const result = (captureMs: number, receivedMs: number) => meter.result(captureMs, receivedMs, { stages_ms: STAGES });
  for (const captureMs of [900, 1_100, 1_200, 1_990, 2_100]) meter.sent(captureMs);
  result(900, 1_050);
  result(1_100, 1_140);
  result(1_990, 2_090);
  result(2_100, 2_150);
  // 1,200 never came; of 1,100 and 1,990 the latter was late.
  expect(meter.figures()).toEqual({
    results_per_s: 2,
    in_time_per_s: 1,
    p50_ms: 40,
    p95_ms: 100,
    loss_percent: 100 / 3,
    work_p95_ms: 11,
  });
});
