import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { WebSocket } from 'ws';
import { WebSocketServer } from 'ws';
import { ManualClock } from '../base/clock.ts';
import type { ErrorCode } from '../base/errors.ts';
import { Priority } from '../base/sample.ts';
import type { BatchHead } from '../protocol/batch.ts';
import { decodeBatch, encodeBatch } from '../protocol/batch.ts';
import { Payload } from '../protocol/payload.ts';
import { decodeTelemetryClientMessage, encodeTelemetryServerMessage } from '../protocol/telemetry-codec.ts';
import type {
  SubscribeMessage,
  TelemetryClientMessage,
  TelemetryServerMessage,
  TelemetrySubprotocol,
  TopicMessage,
} from '../protocol/telemetry.ts';
import { platformCompressors, platformDecompressors } from './compression.ts';
import type { ConnectTelemetryOptions, TelemetrySession } from './telemetry.ts';
import { connectTelemetry } from './telemetry.ts';
import type { Subscription, TelemetryBatch } from './telemetry-subscription.ts';

const EPOCH = 7;
const POSE = [
  { path: 'x', kind: 'f64' },
  { path: 'imu.accel.0', kind: 'f64' },
  { path: 'on', kind: 'bool' },
  { path: 'mode', kind: 'json' },
] as const;

const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

interface Published {
  readonly alias: number;
  readonly firstSeq: number;
  readonly values: unknown[];
  readonly priorities: number[];
}

/** A server that says what a test tells it to: sockets and bytes are real, the answers are the script's. */
class ScriptedLane {
  readonly #server: WebSocketServer;
  readonly url: string;
  readonly queries: URLSearchParams[] = [];
  readonly received: TelemetryClientMessage[] = [];
  readonly published: Published[] = [];
  socket!: WebSocket;
  resumes = false;
  publishRateMax = 1_000_000;

  private constructor(server: WebSocketServer) {
    this.#server = server;
    this.url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('connection', (socket, request) => this.#greet(socket, new URL(request.url!, 'ws://x').searchParams));
  }

  static async start(): Promise<ScriptedLane> {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
    await new Promise((resolve) => server.once('listening', resolve));
    const lane = new ScriptedLane(server);
    closers.push(async () => {
      for (const client of server.clients) client.terminate();
      await new Promise((resolve) => lane.#server.close(resolve));
    });
    return lane;
  }

  of<Type extends TelemetryClientMessage['type']>(type: Type): Extract<TelemetryClientMessage, { type: Type }>[] {
    return this.received.filter((message) => message.type === type) as never;
  }

  say(message: TelemetryServerMessage): void {
    this.socket.send(encodeTelemetryServerMessage(message, this.socket.protocol as TelemetrySubprotocol));
  }

  /** Makes a topic part of the last subscription; its next message is `seq` + 1. */
  topic(seq = 0, parts: Partial<TopicMessage> = {}): void {
    const { id } = this.of('subscribe').at(-1)!;
    this.say({ type: 'topic', id, topic: 'rover/pose', topic_id: 32, epoch: EPOCH, seq, recovered: true, ...parts });
  }

  batch(firstSeq: number, values: readonly unknown[], head: Partial<BatchHead> = {}): void {
    const messages = values.map((value, i) => ({
      timeMs: now() + i / 1000,
      priority: Priority.normal,
      payload: Payload.of(value),
    }));
    const common = { topicId: 32, epoch: EPOCH, firstSeq, codec: 'msgpack', compression: 'none' } as const;
    this.socket.send(encodeBatch({ ...common, ...head }, messages, platformCompressors()));
  }

  /** `count` messages whose value is their seq. */
  numbers(firstSeq: number, count: number): void {
    this.batch(firstSeq, range(firstSeq, count));
  }

  #greet(socket: WebSocket, query: URLSearchParams): void {
    this.socket = socket;
    this.queries.push(query);
    socket.on('message', (data: Buffer, isBinary) => this.#receive(data, isBinary));
    this.say({
      type: 'welcome',
      protocol: 1,
      client_id: query.get('client_id') ?? 'made-up',
      token: 'secret',
      resumed: this.resumes || query.has('token'),
      server_time: now(),
      limits: {
        message_bytes_max: 10_000,
        batch_messages_max: 50,
        subscriptions_max: 100,
        publish_rate_max: this.publishRateMax,
        history_messages: 1_000,
      },
    });
  }

  #receive(data: Buffer, isBinary: boolean): void {
    if (isBinary && this.socket.protocol === 'sightline.v1.binary') {
      const { envelope, messages } = decodeBatch(data, () => undefined, platformDecompressors());
      this.published.push({
        alias: envelope.topicId,
        firstSeq: envelope.firstSeq,
        values: messages.map(({ payload }) => payload.value()),
        priorities: messages.map(({ priority }) => priority),
      });
      return;
    }
    const message = decodeTelemetryClientMessage(isBinary ? data : data.toString());
    this.received.push(message);
    if (message.type === 'clock') this.say({ type: 'clock', t0: message.t0, t1: now(), t2: now() });
    if (message.type === 'subscribe') this.say({ type: 'subscribed', id: message.id, filter: message.filter });
    if (message.type === 'unsubscribe') this.say({ type: 'unsubscribed', id: message.id });
  }
}

function now(): number {
  return performance.timeOrigin + performance.now();
}

function range(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => from + i);
}

async function connect(lane: ScriptedLane, options: Partial<ConnectTelemetryOptions> = {}): Promise<TelemetrySession> {
  const reconnect = { delayMinMs: 1, delayMaxMs: 5 };
  const session = await connectTelemetry({ url: lane.url, reconnect, ...options });
  closers.push(() => session.close());
  return session;
}

/** A subscription that the lane has heard of. */
async function subscribed(
  lane: ScriptedLane,
  session: TelemetrySession,
  options: Parameters<TelemetrySession['subscribe']>[1] = { contract: 'all' },
): Promise<Subscription> {
  const subscription = session.subscribe('rover/#', options);
  await subscription.ready;
  lane.topic();
  return subscription;
}

/** Cuts the connection and waits until the session knows. */
async function cut(lane: ScriptedLane, session: TelemetrySession): Promise<void> {
  const lost = new Promise<void>((resolve) =>
    session.on('state', ({ state }) => state === 'reconnecting' && resolve()),
  );
  lane.socket.terminate();
  await lost;
}

function collect(subscription: Subscription): unknown[] {
  const values: unknown[] = [];
  subscription.onTelemetry((messages) => values.push(...messages.map(({ data }) => data)));
  return values;
}

describe('subscribing', () => {
  test.each(['binary', 'json', 'msgpack'] as const)('in %s: the messages of each batch, once', async (format) => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { format });
    const subscription = await subscribed(lane, session);
    const calls: [number[], number, number][] = [];
    subscription.onTelemetry((messages, timestamp, latencyMs) =>
      calls.push([messages.map(({ seq }) => seq), timestamp, latencyMs]),
    );
    const sent = now();
    const say = (seq: number, count: number) => {
      if (format === 'binary')
        return lane.batch(
          seq,
          range(seq, count).map((n) => ({ n })),
        );
      const messages = range(seq, count).map((n) => ({ time: now(), priority: Priority.high, data: { n } }));
      lane.say({ type: 'data', topic_id: 32, seq, messages });
    };
    say(1, 3);
    say(2, 3);
    await vi.waitFor(() => expect(calls.map(([seqs]) => seqs)).toEqual([[1, 2, 3], [4]]));
    const [, timestamp, latencyMs] = calls[0]!;
    expect(timestamp).toBeGreaterThanOrEqual(sent);
    expect(latencyMs).toBeLessThan(1_000);
    expect(latencyMs).toBeGreaterThan(-50);
    const metrics = subscription.metrics();
    expect(metrics).toMatchObject({ received: 4, batches: 2, duplicates: 2, conflated: 0, unread: 0 });
    expect(metrics.latencyMs.count).toBe(4);
    expect(metrics.bytesPerMessage).toBeGreaterThan(10);
  });

  test('the terms come from T8’s options unless the subscription has its own', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { targetFrequency: 20, maxLatency: 80 });
    session.subscribe('a');
    session.subscribe('b', { hz: 5, ttlMs: 9 });
    session.subscribe('c', { contract: 'reliable', since: [{ topic: 'c', epoch: 3, seq: 4 }] });
    await vi.waitFor(() => expect(lane.of('subscribe')).toHaveLength(3));
    const [a, b, c] = lane.of('subscribe') as [SubscribeMessage, SubscribeMessage, SubscribeMessage];
    expect(a).toEqual({ type: 'subscribe', id: 1, filter: 'a', contract: 'sampled', hz: 20, ttl_ms: 80 });
    expect(b).toEqual({ type: 'subscribe', id: 2, filter: 'b', contract: 'sampled', hz: 5, ttl_ms: 9 });
    expect(c).toMatchObject({ id: 3, contract: 'reliable', since: [{ topic: 'c', epoch: 3, seq: 4 }] });
    expect(c).not.toHaveProperty('ttl_ms');
    const plain = await connect(lane);
    expect(plain.subscribe('a').contract).toBe('all');
    expect(() => plain.subscribe('a', { contract: 'sampled' })).toThrow(
      expect.objectContaining({ code: 'MESSAGE_FIELD_BAD' }),
    );
    expect(() => plain.subscribe('a', { contract: 'reliable', group: 'g' })).toThrow(
      expect.objectContaining({ code: 'MESSAGE_FIELD_BAD' }),
    );
    expect(() => plain.subscribe('a/#/b')).toThrow(expect.objectContaining({ code: 'FILTER_BAD' }));
  });

  test('a loop gets batches until it unsubscribes; what waits is still read', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const subscription = await subscribed(lane, session);
    const seqs: number[] = [];
    lane.numbers(1, 2);
    lane.numbers(3, 1);
    for await (const batch of subscription) {
      expect(batch).toMatchObject({ topic: 'rover/pose', epoch: EPOCH });
      seqs.push(...batch.messages.map(({ data }) => data as number));
      if (seqs.length === 3) break;
    }
    lane.numbers(4, 1);
    await vi.waitFor(() => expect(subscription.metrics().received).toBe(4));
    subscription.unsubscribe();
    subscription.unsubscribe();
    lane.numbers(5, 1);
    for await (const batch of subscription) seqs.push(batch.seq);
    expect(seqs).toEqual([1, 2, 3, 4]);
    await vi.waitFor(() => expect(lane.of('unsubscribe')).toEqual([{ type: 'unsubscribe', id: 1 }]));
  });

  test('columns come as typed arrays, compressed or not, with or without a schema', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const subscription = await subscribed(lane, session);
    const columns = subscription.columns();
    lane.say({ type: 'schema', topic_id: 32, schema_id: 1, fields: [...POSE] });
    const values = range(0, 100).map((n) => ({ x: n / 4, imu: { accel: [Math.sin(n)] }, on: n > 50, mode: 'auto' }));
    lane.batch(1, values, { codec: 'columns', schemaId: 1, schema: POSE, compression: 'zlib' });
    lane.batch(101, [{ x: 3, on: true }, { y: 4 }]);
    const first = (await columns.next()).value!;
    expect(first).toMatchObject({ topic: 'rover/pose', seq: 1, count: 100 });
    expect(first.paths).toEqual(POSE.map(({ path }) => path));
    expect(Array.from(first.column('x')!)).toEqual(values.map(({ x }) => x));
    expect(Array.from(first.column('imu.accel.0')!)).toEqual(values.map(({ imu }) => imu.accel[0]));
    expect(first.texts('mode')![99]).toBe('auto');
    expect(first.times).toHaveLength(100);
    const second = (await columns.next()).value!;
    expect(Array.from(second.column('x')!)).toEqual([3, NaN]);
    expect(Array.from(second.column('on')!)).toEqual([1, NaN]);
    expect(second.column('z')).toBeUndefined();
    // A repetition in front is cut off the columns as well.
    lane.batch(102, [{ x: 1 }, { x: 2 }]);
    const third = (await columns.next()).value!;
    expect([third.seq, third.count, ...third.column('x')!]).toEqual([103, 1, 2]);
    expect(subscription.metrics().compressionRatio).toBeGreaterThan(1);
  });

  test('a refusal ends the subscription and nothing else', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const subscription = session.subscribe('rover/#');
    await subscription.ready;
    const [{ id }] = lane.of('subscribe') as [SubscribeMessage];
    const next = subscription[Symbol.asyncIterator]().next();
    lane.say({ type: 'error', code: 'SUBSCRIPTION_LIMIT_REACHED', message: 'too many', id });
    await expect(next).rejects.toMatchObject({ code: 'SUBSCRIPTION_LIMIT_REACHED' });
    expect(session.state).toBe('open');
    expect(session.metrics()).toMatchObject({ subscriptions: 0, errors: 1 });
  });
});

describe('accounts', () => {
  test('what was overtaken is let in later; what is told lost is counted by cause; the rest is unexplained', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const subscription = await subscribed(lane, session);
    const got = collect(subscription);
    const losses: object[] = [];
    subscription.on('loss', (loss) => losses.push(loss));
    lane.numbers(1, 2);
    lane.numbers(10, 1);
    lane.numbers(3, 2);
    const { id } = lane.of('subscribe')[0]!;
    lane.say({ type: 'loss', id, topic_id: 32, from: 5, to: 7, count: 3, cause: 'expired' });
    await vi.waitFor(() => expect(losses).toHaveLength(1));
    expect(got).toEqual([1, 2, 10, 3, 4]);
    expect(losses).toEqual([{ topic: 'rover/pose', from: 5, to: 7, count: 3, cause: 'expired' }]);
    expect(subscription.metrics()).toMatchObject({ received: 5, lost: { expired: 3, unexplained: 2 }, conflated: 0 });
  });

  test('what `latest` leaves out is conflated, not lost', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const subscription = await subscribed(lane, session, { contract: 'latest' });
    const got = collect(subscription);
    lane.numbers(5, 1);
    lane.numbers(9, 1);
    await vi.waitFor(() => expect(got).toEqual([5, 9]));
    expect(subscription.metrics()).toMatchObject({ received: 2, conflated: 7, lost: { unexplained: 0 } });
  });

  test('a slow loop loses the oldest and is told how many', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const subscription = await subscribed(lane, session, { contract: 'all', queueMax: 4 });
    lane.numbers(1, 3);
    lane.numbers(4, 3);
    await vi.waitFor(() => expect(subscription.metrics().received).toBe(6));
    const { value } = await subscription[Symbol.asyncIterator]().next();
    expect(value.seq).toBe(4);
    expect(subscription.metrics().unread).toBe(3);
  });

  test('a batch that cannot be read is told and counted, and the session goes on', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const subscription = await subscribed(lane, session);
    const got = collect(subscription);
    const codes: ErrorCode[] = [];
    session.on('error', ({ error }) => codes.push(error.code));
    lane.socket.send(new Uint8Array([0xb1, 2, 3]));
    const unknown = { codec: 'columns', schemaId: 9, schema: POSE.slice(0, 1) } as const;
    lane.batch(1, [{ x: 1 }], unknown);
    lane.numbers(1, 1);
    await vi.waitFor(() => expect(got).toEqual([1]));
    expect(codes).toEqual(['BATCH_BAD', 'SCHEMA_UNKNOWN']);
    expect(session.metrics().damagedBatches).toBe(2);
  });

  test('the program’s lag is reported, and a sampled subscription gives up rate', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { targetFrequency: 100, maxLatency: 20 });
    const subscription = await subscribed(lane, session, {});
    // A loop that does not come for the next batch.
    void subscription[Symbol.asyncIterator]();
    lane.numbers(1, 1);
    await vi.waitFor(() => expect(lane.of('report').length).toBeGreaterThan(0), { timeout: 5_000 });
    expect(lane.of('report')[0]!.lag_ms).toBeGreaterThan(20);
    expect(subscription.metrics().hz).toBeLessThan(100);
    await vi.waitFor(() => expect(lane.of('subscribe').at(-1)).toMatchObject({ contract: 'sampled', hz: 50 }));
    expect(session.metrics().lagMs).toBeGreaterThan(20);
  });
});

describe('a reliable subscription', () => {
  test('acknowledges what its loop has taken over, in one message for many', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const subscription = await subscribed(lane, session, { contract: 'reliable' });
    const loop = subscription[Symbol.asyncIterator]();
    for (const seq of [1, 2, 3]) lane.numbers(seq, 1);
    for (const seq of [1, 2, 3]) expect((await loop.next()).value.seq).toBe(seq);
    // The third is in the loop's hands.
    await vi.waitFor(() => expect(lane.of('ack').at(-1)).toEqual({ type: 'ack', id: 1, topic_id: 32, seq: 2 }));
    await loop.return!();
    await vi.waitFor(() => expect(lane.of('ack').at(-1)!.seq).toBe(3));
    expect(lane.of('ack').length).toBeLessThanOrEqual(3);
  });

  test('does not wait for what the server has told lost', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const subscription = await subscribed(lane, session, { contract: 'reliable' });
    collect(subscription);
    lane.numbers(3, 1);
    lane.say({ type: 'loss', id: 1, topic_id: 32, from: 1, to: 2, count: 2, cause: 'expired' });
    await vi.waitFor(() => expect(lane.of('ack').at(-1)).toMatchObject({ seq: 3 }));
  });

  test('comes back with its positions, and gets nothing twice', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const subscription = await subscribed(lane, session, { contract: 'reliable' });
    const got = collect(subscription);
    lane.numbers(1, 3);
    await vi.waitFor(() => expect(got).toHaveLength(3));
    lane.socket.terminate();
    await vi.waitFor(() => expect(lane.of('subscribe')).toHaveLength(2));
    expect(lane.of('subscribe')[1]).toMatchObject({ since: [{ topic: 'rover/pose', epoch: EPOCH, seq: 3 }] });
    expect(Object.fromEntries(lane.queries[1]!)).toEqual({ client_id: 'made-up', token: 'secret' });
    lane.topic(3, { topic_id: 48 });
    lane.batch(3, [3, 4, 5], { topicId: 48 });
    await vi.waitFor(() => expect(got).toEqual([1, 2, 3, 4, 5]));
    expect(subscription.metrics()).toMatchObject({ duplicates: 1, lost: { unrecovered: 0 } });
  });

  test('says what could not be recovered', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const subscription = await subscribed(lane, session, { contract: 'reliable' });
    const got = collect(subscription);
    const topics: object[] = [];
    lane.numbers(1, 1);
    await vi.waitFor(() => expect(got).toEqual([1]));
    subscription.on('topic', (topic) => topics.push(topic));
    lane.socket.terminate();
    await vi.waitFor(() => expect(lane.of('subscribe')).toHaveLength(2));
    lane.topic(90, { recovered: false });
    lane.numbers(91, 1);
    await vi.waitFor(() => expect(got).toEqual([1, 91]));
    expect(topics).toEqual([{ topic: 'rover/pose', epoch: EPOCH, seq: 90, recovered: false }]);
    expect(subscription.metrics().lost.unrecovered).toBe(89);
    expect(subscription.positions()).toEqual([{ topic: 'rover/pose', epoch: EPOCH, seq: 91 }]);
  });

  test('stops taking when its queue is full and asks again from there, so that nothing is dropped', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const subscription = await subscribed(lane, session, { contract: 'reliable', queueMax: 4 });
    lane.numbers(1, 3);
    lane.numbers(4, 3);
    lane.numbers(7, 1);
    await vi.waitFor(() => expect(subscription.metrics().received).toBe(3));
    const loop = subscription[Symbol.asyncIterator]();
    const next = async () => ((await loop.next()).value as TelemetryBatch).messages.map(({ seq }) => seq);
    expect(await next()).toEqual([1, 2, 3]);
    const later = next();
    await vi.waitFor(() => expect(lane.of('subscribe')).toHaveLength(2));
    expect(lane.of('subscribe')[1]).toMatchObject({ id: 2, since: [{ seq: 3 }] });
    // Of the old subscription: no number of it counts any more.
    lane.numbers(8, 1);
    lane.topic(3);
    lane.numbers(4, 4);
    expect(await later).toEqual([4, 5, 6, 7]);
    expect(subscription.metrics()).toMatchObject({ received: 7, refetches: 1, unread: 0, duplicates: 0 });
  });
});

describe('publishing', () => {
  test('what is published in one breath is one batch; a critical message goes at once', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    for (const n of range(1, 10)) session.publish('a', { n });
    session.publish('b', new Uint8Array([1, 2, 3]));
    session.publish('c', 'stop', { priority: Priority.critical });
    await vi.waitFor(() => expect(lane.published).toHaveLength(3));
    expect(lane.of('advertise').map(({ topic }) => topic)).toEqual(['c', 'a', 'b']);
    expect(lane.published.map(({ values }) => values.length)).toEqual([1, 10, 1]);
    expect(lane.published[0]).toMatchObject({ firstSeq: 0, priorities: [3], values: ['stop'] });
    expect(lane.published[2]!.values).toEqual([Buffer.from([1, 2, 3])]);
    expect(session.metrics().publish).toMatchObject({ published: 12, sent: 12, waiting: 0, batches: 3 });
  });

  test.each(['json', 'msgpack'] as const)('in %s one message each', async (format) => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { format, enableBatching: false });
    session.publish('a', { n: 1 }, { timeMs: now(), ttlMs: 50 });
    const done = session.publish('a', { n: 2 }, { reliable: true });
    await vi.waitFor(() => expect(lane.of('publish')).toHaveLength(2));
    expect(lane.of('publish')).toMatchObject([
      { topic: 'a', data: { n: 1 }, ttl_ms: 50 },
      { topic: 'a', data: { n: 2 }, seq: 1 },
    ]);
    lane.say({ type: 'published', topic: 'a', seq: 1 });
    await done;
    if (format === 'json') {
      expect(() => session.publish('a', new Uint8Array(1))).toThrow(expect.objectContaining({ code: 'PAYLOAD_BAD' }));
    }
  });

  test('a batch has no room for a time to live: such a message goes alone', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    session.publish('a', 1);
    session.publish('a', 2, { ttlMs: 1_000 });
    session.publish('a', 3);
    await vi.waitFor(() => expect(lane.published).toHaveLength(2));
    expect(lane.of('publish')).toMatchObject([{ topic: 'a', data: 2, ttl_ms: 1_000 }]);
  });

  test('what no server would take is refused', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const refusal = (code: ErrorCode) => expect.objectContaining({ code });
    expect(() => session.publish('a/+', 1)).toThrow(refusal('TOPIC_BAD'));
    expect(() => session.publish('a', 'x'.repeat(20_000))).toThrow(refusal('MESSAGE_TOO_LARGE'));
    for (const n of range(0, 1_000)) session.publish('full', n, { reliable: true }).catch(() => {});
    expect(() => session.publish('full', 0, { reliable: true })).toThrow(refusal('PUBLISH_QUEUE_FULL'));
    await session.close();
    expect(() => session.publish('a', 1)).toThrow(refusal('CONNECTION_LOST'));
  });

  test('what is reliable is repeated until it is confirmed, with its own numbers', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { random: () => 0 });
    const done = [1, 2, 3].map((n) => session.publish('a', n, { reliable: true }));
    await vi.waitFor(() => expect(lane.published).toHaveLength(1));
    lane.say({ type: 'published', topic: 'a', seq: 1 });
    await done[0];
    await vi.waitFor(() => expect(lane.published).toHaveLength(2), { timeout: 3_000 });
    expect(lane.published[1]).toMatchObject({ firstSeq: 2, values: [2, 3] });
    lane.say({ type: 'published', topic: 'a', seq: 3 });
    await Promise.all(done);
    expect(session.metrics().publish).toMatchObject({ reliable: 3, confirmed: 3, unconfirmed: 0, retried: 2 });
  });

  test('a topic that is never quiet is repeated as well', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { random: () => 0 });
    const first = session.publish('a', 0, { reliable: true });
    const others: Promise<void>[] = [];
    const timer = setInterval(() => others.push(session.publish('a', others.length + 1, { reliable: true })), 20);
    const repeated = () => lane.published.filter(({ firstSeq }) => firstSeq === 1).length;
    await vi.waitFor(() => expect(repeated()).toBeGreaterThan(1), { timeout: 3_000 });
    clearInterval(timer);
    lane.say({ type: 'published', topic: 'a', seq: others.length + 1 });
    await Promise.all([first, ...others]);
  });

  test('a lost connection is made good: what is not confirmed goes out again, what waits follows', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { reconnect: { delayMinMs: 50, delayMaxMs: 50 }, random: () => 1 });
    const first = session.publish('a', 1, { reliable: true });
    await vi.waitFor(() => expect(lane.published).toHaveLength(1));
    await cut(lane, session);
    session.publish('a', 2);
    const third = session.publish('a', 3, { reliable: true });
    await vi.waitFor(() => expect(lane.published.slice(1).flatMap(({ values }) => values)).toEqual([1, 2, 3]));
    expect(lane.published.slice(1).map(({ firstSeq }) => firstSeq)).toEqual([1, 0, 2]);
    lane.say({ type: 'published', topic: 'a', seq: 2 });
    await Promise.all([first, third]);
  });

  test('a refusal for good reaches whoever waits, and its numbers are free again', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const refused = session.publish('$server/x', 1, { reliable: true });
    await vi.waitFor(() => expect(lane.published).toHaveLength(1));
    lane.say({ type: 'error', code: 'TOPIC_FORBIDDEN', message: 'no', topic: '$server/x', seq: 1 });
    await expect(refused).rejects.toMatchObject({ code: 'TOPIC_FORBIDDEN' });
    const again = session.publish('$server/x', 2, { reliable: true });
    await vi.waitFor(() => expect(lane.published.at(-1)).toMatchObject({ firstSeq: 1, values: [2] }));
    lane.say({ type: 'error', code: 'RATE_EXCEEDED', message: 'later', topic: '$server/x', seq: 1 });
    lane.say({ type: 'published', topic: '$server/x', seq: 1 });
    await again;
    expect(session.metrics().publish).toMatchObject({ refused: 1, confirmed: 1, unconfirmed: 0 });
  });

  test('a full queue sheds low classes first and never what is critical', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { reconnect: { delayMinMs: 200, delayMaxMs: 200 }, random: () => 1 });
    await cut(lane, session);
    session.publish('a', 'stop', { priority: Priority.critical });
    for (const n of range(0, 500)) session.publish('a', n, { priority: Priority.low });
    for (const n of range(0, 9_600)) session.publish('a', n);
    expect(session.metrics().publish).toMatchObject({
      published: 10_101,
      waiting: 9_101,
      dropped: { queue_full: 1_000 },
    });
    await vi.waitFor(() => expect(lane.published.flatMap(({ values }) => values)).toHaveLength(9_101), {
      timeout: 5_000,
    });
    const { values, priorities } = lane.published[0]!;
    expect(values.slice(0, 2)).toEqual(['stop', 500]);
    expect(priorities.slice(0, 2)).toEqual([Priority.critical, Priority.normal]);
    expect(session.metrics().publish).toMatchObject({ sent: 9_101, waiting: 0 });
  });

  test('stays within the rate that the server grants; what is critical does not wait for it', async () => {
    const lane = await ScriptedLane.start();
    lane.publishRateMax = 1_000;
    const clock = new ManualClock(now());
    const session = await connect(lane, { clock });
    for (const n of range(0, 950)) session.publish(n % 2 === 0 ? 'a' : 'b', n);
    const arrived = () => lane.published.flatMap(({ values }) => values);
    await vi.waitFor(() => expect(arrived()).toHaveLength(900));
    expect(session.metrics().publish).toMatchObject({ sent: 900, waiting: 50 });
    session.publish('a', 'stop', { priority: Priority.critical });
    await vi.waitFor(() => expect(arrived().at(-1)).toBe('stop'));
    clock.advance(100);
    await vi.waitFor(() => expect(arrived()).toHaveLength(951));
    expect(session.metrics().publish).toMatchObject({ sent: 951, waiting: 0 });
    const values = arrived();
    const ofA = values.filter((value) => typeof value === 'number' && value % 2 === 0);
    expect(ofA).toEqual(ofA.toSorted((x, y) => (x as number) - (y as number)));
  });

  test('what waits too long is not sent', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { reconnect: { delayMinMs: 50, delayMaxMs: 50 }, random: () => 1 });
    await cut(lane, session);
    session.publish('a', 1, { ttlMs: 5 });
    session.publish('a', 2);
    await vi.waitFor(() => expect(lane.published).toHaveLength(1));
    expect(lane.published[0]!.values).toEqual([2]);
    expect(session.metrics().publish).toMatchObject({ dropped: { expired: 1 }, waiting: 0 });
  });

  test('is not reliable in a session that another program began', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { clientId: 'me', token: 'secret' });
    expect(() => session.publish('a', 1, { reliable: true })).toThrow(
      expect.objectContaining({ code: 'PUBLISH_SEQUENCE_BAD' }),
    );
    expect(session.publish('a', 1)).toBeUndefined();
  });
});

describe('the session', () => {
  test('moves when the server drains, after the told time', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { reconnect: { delayMinMs: 60_000, delayMaxMs: 60_000 } });
    const notices: string[] = [];
    session.on('notice', ({ reason }) => notices.push(reason));
    await subscribed(lane, session);
    lane.say({ type: 'notice', reason: 'drain', message: 'move', reconnect_after_ms: 10 });
    await vi.waitFor(() => expect(lane.of('subscribe')).toHaveLength(2));
    expect(notices).toEqual(['drain']);
    expect(session.metrics().reconnects).toBe(1);
  });

  test('a newer server may say more than this client knows, but not what is no message', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const subscription = await subscribed(lane, session);
    const got = collect(subscription);
    lane.socket.send('{"type":"from_the_future"}');
    lane.numbers(1, 1);
    await vi.waitFor(() => expect(got).toEqual([1]));
    const ended = new Promise((resolve) => session.on('state', ({ error }) => resolve(error)));
    lane.socket.send('{');
    expect(await ended).toMatchObject({ code: 'MESSAGE_NOT_JSON' });
    expect(session.state).toBe('closed');
  });

  test('a server that refuses rejects `connectTelemetry`', async () => {
    await expect(connectTelemetry({ url: 'ws://127.0.0.1:1', reconnect: { attemptsMax: 0 } })).rejects.toMatchObject({
      code: 'CONNECTION_FAILED',
    });
  });

  test('closing ends what is read and waited for', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const subscription = await subscribed(lane, session);
    const read = (async () => {
      for await (const _ of subscription);
      return 'over';
    })();
    const columns = subscription.columns().next();
    const outcome = session.publish('a', 1, { reliable: true }).catch((error: unknown) => error);
    await Promise.all([session.close(), session.close()]);
    expect(await outcome).toMatchObject({ code: 'CONNECTION_LOST' });
    expect(await read).toBe('over');
    expect((await columns).done).toBe(true);
    // It was sent before the socket was closed.
    expect(lane.published).toHaveLength(1);
    expect(() => session.subscribe('a')).toThrow(expect.objectContaining({ code: 'CONNECTION_LOST' }));
  });

  test('a connection lost for good ends the loops with its error', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { reconnect: false });
    const subscription = await subscribed(lane, session);
    const next = subscription[Symbol.asyncIterator]().next();
    lane.socket.terminate();
    await expect(next).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
    expect(session.state).toBe('closed');
  });
});
