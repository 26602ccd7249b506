import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { SightlineError } from '../base/errors.ts';
import type { PipelineName } from '../base/result.ts';
import { decodeBinaryFrame, decodeTextMessage, encodeServerMessage } from '../protocol/video-codec.ts';
import type {
  ClientMessage,
  ErrorMessage,
  GrantFields,
  IncomingFrame,
  MessageFormat,
  ResultMessage,
  ServerMessage,
} from '../protocol/video.ts';
import type { ConnectVideoOptions, VideoSession } from './video.ts';
import { connectVideo } from './video.ts';

const JPEG = new Uint8Array([0xff, 0xd8, 1, 2, 3, 0xff, 0xd9]);
const SERVER_AHEAD_MS = 5_000_000;

const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

/** A lane that answers what a test tells it to: sockets and bytes are real, the answers are the script's. */
class ScriptedLane {
  readonly #server: WebSocketServer;
  readonly url: string;
  readonly queries: URLSearchParams[] = [];
  readonly received: ClientMessage[] = [];
  socket!: WebSocket;
  /** Takes everything and says nothing. */
  mute: WebSocket | undefined;
  format: MessageFormat = 'json';
  grant: GrantFields = {
    rate_fps: 1000,
    window: 3,
    width: 640,
    height: 480,
    quality: 60,
    pinned: null,
    level: 'fixed',
    reason: 'fixed',
  };
  welcome: object = {};
  /** What comes instead of a welcome. */
  refusal: { error: ErrorMessage; closeCode: number } | undefined;

  private constructor(server: WebSocketServer) {
    this.#server = server;
    this.url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('connection', (socket, request) => this.#greet(socket, new URL(request.url!, 'ws://x').searchParams));
  }

  static async start(port = 0): Promise<ScriptedLane> {
    const server = new WebSocketServer({ host: '127.0.0.1', port });
    await new Promise((resolve) => server.once('listening', resolve));
    const lane = new ScriptedLane(server);
    closers.push(() => lane.stop());
    return lane;
  }

  get frames(): IncomingFrame[] {
    return this.received.filter((message) => message.type === 'frame');
  }

  say(message: ServerMessage<PipelineName>): void {
    if (this.socket === this.mute) return;
    this.socket.send(encodeServerMessage(message, this.format));
  }

  answer(seq: number): void {
    this.say(result(seq));
  }

  async stop(): Promise<void> {
    for (const client of this.#server.clients) client.terminate();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #greet(socket: WebSocket, query: URLSearchParams): void {
    this.socket = socket;
    this.queries.push(query);
    if (this.refusal) {
      this.say(this.refusal.error);
      socket.close(this.refusal.closeCode);
      return;
    }
    this.format = (query.get('format') as MessageFormat | null) ?? 'json';
    socket.on('message', (data: Buffer, isBinary) => this.#receive(data, isBinary));
    this.say({
      type: 'welcome',
      protocol: 1,
      client_id: query.get('client_id') ?? 'made-up',
      token: 'secret',
      resumed: query.has('token'),
      last_seq: 0,
      pipeline: 'objects',
      model: 'ssd',
      format: this.format,
      server_time: serverNow(),
      limits: {
        message_bytes_max: 2_000_000,
        image_side_max: 8192,
        image_pixels_max: 1e8,
        frame_queue: 25,
        idle_timeout_s: 300,
      },
      budget_ms: 75,
      grant: this.grant,
      ...this.welcome,
    });
  }

  #receive(data: Buffer, isBinary: boolean): void {
    const message = isBinary ? decodeBinaryFrame(data) : decodeTextMessage(data.toString(), () => new Uint8Array());
    this.received.push(message);
    if (message.type === 'clock') this.say({ type: 'clock', t0: message.t0, t1: serverNow(), t2: serverNow() });
  }
}

function serverNow(): number {
  return performance.timeOrigin + performance.now() + SERVER_AHEAD_MS;
}

function result(seq: number): ResultMessage {
  const stages = { capture: 1, queue: 1, decode: 1, preprocess: 1, inference: 1, postprocess: 1, total: 6 };
  return {
    type: 'result',
    client_id: 'made-up',
    seq,
    capture_time: 0,
    pipeline: 'objects',
    width: 4,
    height: 4,
    detections: [],
    stages_ms: stages,
  };
}

async function connect(lane: ScriptedLane, options: Partial<ConnectVideoOptions> = {}): Promise<VideoSession> {
  const session = await connectVideo({
    url: lane.url,
    reconnect: { delayMinMs: 1, delayMaxMs: 5, attemptsMax: 200 },
    ...options,
  });
  closers.push(() => session.close());
  return session;
}

async function sendWhenReady(session: VideoSession): Promise<number> {
  await session.ready();
  return session.send({ jpeg: JPEG })!;
}

function invariant(session: VideoSession): void {
  const { sent, results, dropped, frameErrors, unanswered } = session.metrics();
  expect(results + Object.values(dropped).reduce((a, b) => a + b) + frameErrors + unanswered).toBe(sent);
}

const platforms = { 'Node’s own WebSocket': undefined, 'the package ws': WebSocket };

describe.each(Object.entries(platforms))('over %s', (_name, Socket) => {
  const options = Socket ? { WebSocket: Socket } : {};

  test.each(['json', 'msgpack'] as const)('a frame goes out and its result comes back (%s)', async (format) => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { ...options, format });
    expect(session.welcome.client_id).toBe('made-up');
    expect(session.state).toBe('open');
    const results = session.results();
    expect(session.send({ jpeg: JPEG, captureTimeMs: 1234, priority: 2 })).toBe(1);
    await vi.waitFor(() => expect(lane.frames).toHaveLength(1));
    expect(lane.frames[0]).toMatchObject({ seq: 1, priority: 2 });
    expect([...lane.frames[0]!.jpeg]).toEqual([...JPEG]);
    lane.answer(1);
    const { value } = await results.next();
    expect(value).toMatchObject({ result: { seq: 1 }, captureTimeMs: 1234 });
    expect(value.receivedTimeMs).toBeGreaterThanOrEqual(value.sentTimeMs);
    expect(session.metrics()).toMatchObject({ sent: 1, results: 1, unanswered: 0, roundTripMs: { count: 1 } });
    invariant(session);
  });

  test('what piles up in the socket holds back further frames', async () => {
    const lane = await ScriptedLane.start();
    lane.grant.window = 1000;
    const session = await connect(lane, { ...options, bufferedBytesMax: 100_000 });
    lane.socket.pause();
    const big = new Uint8Array(900_000);
    big.set([0xff, 0xd8]);
    await vi.waitFor(
      async () => {
        await new Promise((resolve) => setTimeout(resolve, 2));
        session.send({ jpeg: big });
        expect(session.metrics().skipped.buffer).toBeGreaterThan(0);
      },
      { timeout: 10_000, interval: 1 },
    );
    expect(session.canSend()).toBe(false);
    expect(session.nextSendInMs()).toBeGreaterThan(0);
    lane.socket.resume();
    expect(await session.ready()).toBe(true);
  });

  test('a server that is not there', async () => {
    const lane = await ScriptedLane.start();
    await lane.stop();
    await expect(connectVideo({ url: lane.url, ...options })).rejects.toMatchObject({ code: 'CONNECTION_FAILED' });
  });
});

describe('connecting', () => {
  test('the query carries the options, and only those', async () => {
    const lane = await ScriptedLane.start();
    await connect(lane, { pipeline: 'objects', model: 'm', confidence: 0.4, clientId: 'me', format: 'json' });
    await connect(lane);
    expect(Object.fromEntries(lane.queries[0]!)).toEqual({
      pipeline: 'objects',
      model: 'm',
      confidence: '0.4',
      client_id: 'me',
      format: 'json',
    });
    expect(lane.queries[1]!.size).toBe(0);
  });

  test('a refusal rejects with the code of the server', async () => {
    const lane = await ScriptedLane.start();
    lane.refusal = {
      error: { type: 'error', code: 'MODEL_UNKNOWN', message: 'there is no model "x"' },
      closeCode: 4404,
    };
    const error = await connectVideo({ url: lane.url }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(SightlineError);
    expect(error).toMatchObject({ code: 'MODEL_UNKNOWN', message: 'there is no model "x"' });
    expect(lane.queries).toHaveLength(1);
  });

  test('an address that is none', async () => {
    await expect(connectVideo({ url: 'no address' })).rejects.toMatchObject({ code: 'CONNECTION_FAILED' });
    await expect(connectVideo({ url: 'ftp://x' })).rejects.toMatchObject({ code: 'CONNECTION_FAILED' });
  });

  test('a server that speaks another language', async () => {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
    closers.push(() => server.close());
    await new Promise((resolve) => server.once('listening', resolve));
    server.on('connection', (socket) => socket.send('hello'));
    const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await expect(connectVideo({ url })).rejects.toMatchObject({ code: 'MESSAGE_NOT_JSON' });
  });

  test('a sequence goes on after that of the session that is taken up', async () => {
    const lane = await ScriptedLane.start();
    lane.welcome = { last_seq: 41 };
    const session = await connect(lane, { clientId: 'me', token: 'secret' });
    expect(session.send({ jpeg: JPEG })).toBe(42);
  });
});

describe('sending', () => {
  test('the window closes and an answer opens it', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    for (const seq of [1, 2, 3]) expect(await sendWhenReady(session)).toBe(seq);
    expect(session.canSend()).toBe(false);
    expect(session.nextSendInMs()).toBe(Infinity);
    expect(session.send({ jpeg: JPEG })).toBeUndefined();
    expect(session.metrics().skipped).toMatchObject({ window: 1 });
    const ready = session.ready();
    lane.say({ type: 'dropped', seqs: [1, 2], cause: 'queue_full' });
    expect(await ready).toBe(true);
    lane.say({ type: 'error', code: 'FRAME_UNDECODABLE', message: 'no', seq: 3 });
    await vi.waitFor(() => expect(session.metrics()).toMatchObject({ frameErrors: 1, errors: 1, unanswered: 0 }));
    expect(session.metrics().dropped).toMatchObject({ queue_full: 2, lost: 0 });
    invariant(session);
  });

  test('a grant changes the pace', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { random: () => 0 });
    const grants: number[] = [];
    session.on('grant', ({ rate_fps }) => grants.push(rate_fps));
    lane.say({ type: 'grant', ...lane.grant, rate_fps: 0.5 });
    await vi.waitFor(() => expect(grants).toEqual([0.5]));
    expect(session.grant.rate_fps).toBe(0.5);
    session.send({ jpeg: JPEG });
    expect(session.send({ jpeg: JPEG })).toBeUndefined();
    expect(session.metrics().skipped.rate).toBe(1);
    expect(session.nextSendInMs()).toBeGreaterThan(500);
  });

  test('pictures that no server would take are refused by name', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const big = new Uint8Array(1_000_000);
    big.set([0xff, 0xd8]);
    expect(() => session.send({ jpeg: new Uint8Array() })).toThrow(expect.objectContaining({ code: 'FRAME_EMPTY' }));
    expect(() => session.send({ jpeg: new ArrayBuffer(9) })).toThrow(
      expect.objectContaining({ code: 'FRAME_NOT_JPEG' }),
    );
    expect(() => session.send({ jpeg: big })).toThrow(
      expect.objectContaining({ code: 'MESSAGE_TOO_LARGE', message: expect.stringContaining('1000000') }),
    );
    expect(session.metrics().sent).toBe(0);
    lane.welcome = { limits: { ...session.welcome.limits, message_bytes_max: 20 } };
    const small = await connect(lane);
    expect(() => small.send({ jpeg: JPEG })).toThrow(expect.objectContaining({ code: 'MESSAGE_TOO_LARGE' }));
  });

  test('pictures of any size arrive as they were, though their messages are written into one memory', async () => {
    const lane = await ScriptedLane.start();
    lane.grant.window = 100;
    const session = await connect(lane);
    const sent = vi.spyOn(WebSocket.prototype, 'send');
    const buffered = vi.spyOn(WebSocket.prototype, 'bufferedAmount', 'get').mockReturnValue(0);
    closers.push(
      () => sent.mockRestore(),
      () => buffered.mockRestore(),
    );
    const pictures = [1_000, 7, 900, 60_000, 3, 60_000].map((length, i) => {
      const picture = new Uint8Array(length).fill(i + 1);
      picture.set([0xff, 0xd8]);
      return picture;
    });
    for (const jpeg of pictures) {
      await session.ready();
      session.send({ jpeg });
    }
    await vi.waitFor(() => expect(lane.frames).toHaveLength(pictures.length));
    expect(lane.frames.map(({ jpeg }) => Buffer.from(jpeg))).toEqual(pictures.map((picture) => Buffer.from(picture)));
    const memories = () =>
      new Set(sent.mock.calls.flatMap(([data]) => (data instanceof Uint8Array ? [data.buffer] : []))).size;
    expect(memories()).toBe(2);

    // What a socket has not sent yet it may read once more.
    buffered.mockReturnValue(1);
    for (let i = 0; i < 2; i++) {
      await session.ready();
      session.send({ jpeg: JPEG });
    }
    expect(memories()).toBe(4);
  });

  test('a socket of the program’s own gets each message in a memory of its own', async () => {
    const lane = await ScriptedLane.start();
    const kept: Uint8Array[] = [];
    class Keeping extends WebSocket {
      override send(data: Uint8Array | string): void {
        if (typeof data !== 'string') kept.push(data);
        super.send(data);
      }
    }
    const session = await connect(lane, { WebSocket: Keeping as never });
    await sendWhenReady(session);
    await sendWhenReady(session);
    expect(new Set(kept.map(({ buffer }) => buffer)).size).toBe(2);
  });

  test('capture times go out in the server’s time', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    await vi.waitFor(() => expect(lane.received.filter(({ type }) => type === 'clock')).toHaveLength(5));
    const captureTimeMs = performance.timeOrigin + performance.now();
    session.send({ jpeg: JPEG, captureTimeMs });
    await vi.waitFor(() => expect(lane.frames).toHaveLength(1));
    const { clock } = session.metrics();
    expect(Math.abs(clock.offsetMs - SERVER_AHEAD_MS)).toBeLessThanOrEqual(clock.uncertaintyMs + 0.01);
    expect(lane.frames[0]!.captureTimeMs! - captureTimeMs - SERVER_AHEAD_MS).toBeCloseTo(
      clock.offsetMs - SERVER_AHEAD_MS,
      0,
    );
  });

  test('a pin goes out, and again to a server that does not know it', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    session.pin({ level: 'low', skip_ratio: 2 });
    const pins = () => lane.received.filter(({ type }) => type === 'pin');
    await vi.waitFor(() => expect(pins()).toEqual([{ type: 'pin', level: 'low', skip_ratio: 2 }]));
    lane.socket.terminate();
    await vi.waitFor(() => expect(pins()).toHaveLength(2));
  });
});

describe('a session of several pipelines', () => {
  const both = async () => {
    const lane = await ScriptedLane.start();
    lane.grant = { ...lane.grant, window: 1 };
    const session = await connectVideo({ url: lane.url, pipeline: ['objects', 'hands'] });
    closers.push(() => session.close());
    const told: string[] = [];
    session.on('result', ({ result: { pipeline, seq } }) => told.push(`${seq} ${pipeline}`));
    session.on('dropped', ({ seqs, pipeline = 'all' }) => told.push(`${seqs.join()} ${pipeline} dropped`));
    session.on('error', ({ seq, pipeline = 'all' }) => told.push(`${seq} ${pipeline} failed`));
    session.on('answered', ({ seqs }) => told.push(`${seqs.join()} answered`));
    const send = () => session.send({ jpeg: JPEG });
    const hears = async (last: string) => await vi.waitFor(() => expect(told.at(-1)).toBe(last));
    return { lane, session, told, send, hears };
  };
  const hands = (seq: number): ResultMessage<'hands'> => {
    const { detections: _, ...rest } = result(seq);
    return { ...rest, pipeline: 'hands', hands: [] };
  };

  test('a frame is answered by the last of them, whatever its answer is', async () => {
    const { lane, session, told, send, hears } = await both();
    expect(lane.queries[0]!.get('pipeline')).toBe('objects,hands');
    expect(send()).toBe(1);
    lane.say(hands(1));
    await hears('1 hands');
    expect(send()).toBeUndefined();
    lane.answer(1);
    await hears('1 answered');
    expect(send()).toBe(2);
    lane.say({ type: 'dropped', seqs: [2], cause: 'expired', pipeline: 'objects' });
    lane.say({ type: 'error', code: 'WORKER_LOST', message: 'gone', seq: 2, pipeline: 'hands' });
    await hears('2 answered');
    expect(send()).toBe(3);
    lane.answer(3);
    lane.say({ type: 'error', code: 'FRAME_UNDECODABLE', message: 'broken', seq: 3 });
    await hears('3 answered');
    expect(told).toEqual([
      '1 hands',
      '1 objects',
      '1 answered',
      '2 objects dropped',
      '2 hands failed',
      '2 answered',
      '3 objects',
      '3 all failed',
      '3 answered',
    ]);
    const none = { queue_full: 0, expired: 0, superseded: 0, stale: 0, slow_reader: 0, disconnected: 0, lost: 0 };
    expect(session.metrics()).toMatchObject({
      sent: 3,
      results: 3,
      frameErrors: 2,
      unanswered: 0,
      late: 0,
      pipelines: {
        objects: { results: 2, dropped: { ...none, expired: 1 }, frameErrors: 0, unanswered: 0 },
        hands: { results: 1, dropped: none, frameErrors: 2, unanswered: 0 },
      },
    });
  });

  test('what comes twice, or for nobody, is counted and changes nothing', async () => {
    const { lane, session, send, hears } = await both();
    send();
    lane.answer(1);
    lane.answer(1);
    lane.say(hands(7));
    lane.say({ type: 'dropped', seqs: [1], cause: 'stale', pipeline: 'objects' });
    lane.say(hands(1));
    await hears('1 answered');
    expect(session.metrics()).toMatchObject({ results: 2, late: 3, unanswered: 0 });
  });

  test('with the connection each of them loses what it was owed', async () => {
    const { lane, session, send, hears } = await both();
    send();
    lane.answer(1);
    await hears('1 objects');
    expect(session.metrics().pipelines).toMatchObject({ objects: { unanswered: 0 }, hands: { unanswered: 1 } });
    lane.socket.terminate();
    await hears('1 answered');
    expect(session.metrics().pipelines).toMatchObject({
      objects: { results: 1, dropped: { lost: 0 } },
      hands: { results: 0, dropped: { lost: 1 }, unanswered: 0 },
    });
  });
});

describe('a lost connection', () => {
  test('comes back under its name with its token; unanswered frames are lost and counted', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const events: string[] = [];
    session.on('state', ({ state, error }) => events.push(`${state} ${error?.code ?? ''}`.trim()));
    session.on('dropped', ({ seqs, cause }) => events.push(`${cause} ${seqs}`));
    await sendWhenReady(session);
    await sendWhenReady(session);
    await vi.waitFor(() => expect(lane.frames).toHaveLength(2));
    lane.socket.terminate();
    await vi.waitFor(() => expect(events).toEqual(['lost 1,2', 'reconnecting CONNECTION_LOST', 'open']));
    expect(Object.fromEntries(lane.queries[1]!)).toEqual({ client_id: 'made-up', token: 'secret' });
    expect(session.welcome.resumed).toBe(true);
    // An answer to a frame that was given up changes nothing but its counter.
    lane.answer(2);
    await vi.waitFor(() => expect(session.metrics().late).toBe(1));
    expect(await sendWhenReady(session)).toBe(3);
    expect(session.metrics()).toMatchObject({ reconnects: 1, sent: 3, unanswered: 1, dropped: { lost: 2 } });
    invariant(session);
  });

  test('by a server that stops is not sought again before the server has said, and then it is', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const states: string[] = [];
    session.on('state', ({ state, error }) => states.push(`${state} ${error?.code ?? ''}`.trim()));
    lane.say({ type: 'error', code: 'SHUTTING_DOWN', message: 'the server shuts down', retry_after_ms: 150 });
    const beganMs = performance.now();
    lane.socket.close(1001);
    await vi.waitFor(() => expect(states).toEqual(['reconnecting SHUTTING_DOWN', 'open']));
    expect(performance.now() - beganMs).toBeGreaterThan(149);
  });

  test('is waited for as long as the server is away', async () => {
    const first = await ScriptedLane.start();
    const session = await connect(first);
    const results = session.results();
    await first.stop();
    await vi.waitFor(() => expect(session.state).toBe('reconnecting'));
    expect(session.send({ jpeg: JPEG })).toBeUndefined();
    expect(session.metrics().skipped.not_open).toBe(1);
    expect(session.nextSendInMs()).toBe(Infinity);
    const again = await ScriptedLane.start(Number(new URL(first.url).port));
    expect(await session.ready()).toBe(true);
    const seq = session.send({ jpeg: JPEG })!;
    await vi.waitFor(() => expect(again.frames).toHaveLength(1));
    again.answer(seq);
    expect((await results.next()).value.result.seq).toBe(seq);
  });

  test('is given up after so many attempts', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { reconnect: { attemptsMax: 3, delayMinMs: 1, delayMaxMs: 5_000 } });
    const results = session.results();
    const ready = session.ready();
    await lane.stop();
    await expect(results.next()).rejects.toMatchObject({
      code: 'CONNECTION_LOST',
      message: expect.stringContaining('3 attempts'),
    });
    expect(session.state).toBe('closed');
    void ready;
  });

  test.each([
    ['SESSION_TAKEN_OVER', 4409],
    ['MESSAGE_TOO_LARGE', 1009],
    ['FROM_THE_FUTURE', 4400],
  ] as const)('is not sought again after %s', async (code, closeCode) => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const ended = new Promise((resolve) =>
      session.on('state', ({ state, error }) => state === 'closed' && resolve(error)),
    );
    lane.say({ type: 'error', code: code as ErrorMessage['code'], message: 'over' });
    lane.socket.close(closeCode);
    expect(await ended).toMatchObject({ code, message: 'over' });
    expect(lane.queries).toHaveLength(1);
    expect(await session.ready()).toBe(false);
  });

  test.each([
    ['SHUTTING_DOWN', 1001],
    ['SESSION_IDLE', 4408],
    ['INFERENCE_FAILED', 4500],
  ] as const)('is sought again after %s', async (code, closeCode) => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    lane.say({ type: 'error', code, message: 'for now' });
    lane.socket.close(closeCode);
    await vi.waitFor(() => expect(session.metrics().reconnects).toBe(1));
  });

  test('is sought for as long as it takes, and the reason is told when it changes', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { reconnect: { delayMinMs: 0, delayMaxMs: 1 } });
    const told: (string | undefined)[] = [];
    session.on('state', ({ error }) => told.push(error?.code));
    lane.refusal = {
      error: { type: 'error', code: 'SESSION_NAME_IN_USE', message: 'somebody has it' },
      closeCode: 4409,
    };
    lane.socket.terminate();
    await vi.waitFor(() => expect(lane.queries.length).toBeGreaterThan(60), { timeout: 5_000 });
    lane.refusal = undefined;
    await vi.waitFor(() => expect(session.state).toBe('open'));
    expect(told).toEqual(['CONNECTION_LOST', 'SESSION_NAME_IN_USE', undefined]);
  });

  test('that says nothing any more is given up: its frames are lost, and the next ones go another way', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { lineTimeoutMs: 50 });
    const [states, lost]: [string[], number[]] = [[], []];
    session.on('state', ({ state }) => states.push(state));
    session.on('dropped', ({ seqs, cause }) => cause === 'lost' && lost.push(...seqs));
    await sendWhenReady(session);
    lane.mute = lane.socket;
    await vi.waitFor(() => expect(states).toEqual(['reconnecting', 'open']), { timeout: 10_000 });
    expect(lost).toEqual([1]);
    const seq = await sendWhenReady(session);
    lane.answer(seq);
    await vi.waitFor(() => expect(session.metrics()).toMatchObject({ results: 1, unanswered: 0 }));
  });

  test('ends the session when reconnecting is off', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { reconnect: false });
    const results = session.results();
    lane.socket.terminate();
    await expect(results.next()).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
  });
});

describe('closing', () => {
  test('from within the first thing that a new connection tells leaves nothing behind', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { lineTimeoutMs: 10 });
    const states: string[] = [];
    session.on('state', ({ state }) => states.push(state));
    session.on('grant', () => void session.close());
    lane.socket.terminate();
    await vi.waitFor(() => expect(states).toEqual(['reconnecting', 'closed']));
    const asked = lane.received.length;
    await session.close();
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(lane.received.length).toBe(asked);
  });

  test('ends what is read and waited for, once', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const states: string[] = [];
    session.on('state', ({ state }) => states.push(state));
    await sendWhenReady(session);
    lane.say({ type: 'grant', ...lane.grant, rate_fps: 0 });
    await vi.waitFor(() => expect(session.grant.rate_fps).toBe(0));
    const ready = session.ready();
    const read = (async () => {
      let count = 0;
      for await (const _ of session.results()) count++;
      return count;
    })();
    const gone = new Promise((resolve) => lane.socket.once('close', resolve));
    await Promise.all([session.close(), session.close()]);
    await session[Symbol.asyncDispose]();
    expect(await gone).toBe(1000);
    expect(await ready).toBe(false);
    expect(await read).toBe(0);
    expect(states).toEqual(['closed']);
    expect(session.send({ jpeg: JPEG })).toBeUndefined();
    expect(session.metrics()).toMatchObject({ unanswered: 0, dropped: { lost: 1 } });
    expect((await session.results().next()).done).toBe(true);
    invariant(session);
  });

  test('while reconnecting stops the attempts', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { random: () => 1, reconnect: { delayMinMs: 20, delayMaxMs: 20 } });
    const lost = new Promise((resolve) => session.on('state', resolve));
    lane.socket.terminate();
    expect(await lost).toMatchObject({ state: 'reconnecting' });
    await session.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(lane.queries).toHaveLength(1);
  });

  test('a slow reader loses the oldest results and is told how many', async () => {
    const lane = await ScriptedLane.start();
    lane.grant.window = 100;
    const session = await connect(lane);
    const results = session.results({ queueMax: 2 });
    for (let i = 0; i < 5; i++) lane.answer(await sendWhenReady(session));
    await vi.waitFor(() => expect(session.metrics().results).toBe(5));
    expect(session.metrics().unread).toBe(3);
    expect((await results.next()).value.result.seq).toBe(4);
    await results.return!();
    expect(session.metrics().unread).toBe(3);
  });
});
