import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { WebSocket } from 'ws';
import { WebSocketServer } from 'ws';
import { ManualClock } from '../base/clock.ts';
import type { ErrorCode } from '../base/errors.ts';
import { Priority } from '../base/sample.ts';
import type { BatchHead, BatchSection } from '../protocol/batch.ts';
import { decodeBatch, encodeBatch } from '../protocol/batch.ts';
import { isMsgpackMap } from '../protocol/message-about.ts';
import { Payload } from '../protocol/payload.ts';
import { decodeTelemetryClientMessage, encodeTelemetryServerMessage } from '../protocol/telemetry-codec.ts';
import {
  CLIENT_SCHEMAS_MAX,
  type PayloadCodec,
  type SchemaField,
  type SubscribeMessage,
  type TelemetryClientMessage,
  type TelemetryServerMessage,
  type TelemetrySubprotocol,
  type TopicMessage,
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

/** A binary batch of the client. */
interface Published {
  readonly codec: PayloadCodec;
  readonly schemaId: number;
  /** On the wire. */
  readonly bytes: number;
  /** What it says of each topic, by its name. */
  readonly sections: { readonly topic: string | undefined; readonly firstSeq: number; readonly count: number }[];
  /** Of its first section. */
  readonly firstSeq: number;
  readonly values: unknown[];
  readonly priorities: number[];
}

/** What a batch of the server holds of one topic. */
interface Part {
  readonly topicId: number;
  readonly firstSeq: number;
  readonly values: readonly unknown[];
}

/** A server that says what a test tells it to: sockets and bytes are real, the answers are the script's. */
class ScriptedLane {
  readonly #server: WebSocketServer;
  readonly url: string;
  readonly queries: URLSearchParams[] = [];
  readonly received: TelemetryClientMessage[] = [];
  readonly published: Published[] = [];
  /** That the present connection was told of, by number. */
  readonly schemas = new Map<number, readonly SchemaField[]>();
  socket!: WebSocket;
  resumes = false;
  /** It does not answer a `subscribe` by itself. */
  isSilent = false;
  /** Every connection is a new session, whatever token it brings. */
  forgets = false;
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

  batch(firstSeq: number, values: readonly unknown[], head: Partial<BatchHead> & { topicId?: number } = {}): void {
    const { topicId = 32, ...more } = head;
    this.batchOf([{ topicId, firstSeq, values }], more);
  }

  /** One batch with a section for each part. */
  batchOf(parts: readonly Part[], head: Partial<BatchHead> = {}): number {
    const messages = parts
      .flatMap(({ values }) => values)
      .map((value, i) => ({ timeMs: now() + i / 1000, priority: Priority.normal, payload: Payload.of(value) }));
    const sections = parts.map(({ topicId, firstSeq, values }): BatchSection => ({
      topicId,
      epoch: EPOCH,
      firstSeq,
      count: values.length,
    }));
    const common = { sections, codec: 'msgpack', compression: 'none' } as const;
    const bytes = encodeBatch({ ...common, ...head }, messages, platformCompressors());
    this.socket.send(bytes);
    return bytes.length;
  }

  /** `count` messages whose value is their seq. */
  numbers(firstSeq: number, count: number): void {
    this.batch(firstSeq, range(firstSeq, count));
  }

  #greet(socket: WebSocket, query: URLSearchParams): void {
    this.socket = socket;
    this.schemas.clear();
    this.queries.push(query);
    socket.on('message', (data: Buffer, isBinary) => this.#receive(data, isBinary));
    this.say({
      type: 'welcome',
      protocol: 1,
      client_id: query.get('client_id') ?? 'made-up',
      token: 'secret',
      resumed: !this.forgets && (this.resumes || query.has('token')),
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
    if (isBinary && this.socket.protocol === 'sightline.v1.binary' && !isMsgpackMap(data)) {
      const { envelope, messages } = decodeBatch(data, (id) => this.schemas.get(id), platformDecompressors());
      const topics = new Map(this.of('advertise').map(({ alias, topic }) => [alias, topic]));
      this.published.push({
        codec: envelope.codec,
        schemaId: envelope.schemaId,
        bytes: data.length,
        sections: envelope.sections.map(({ topicId, firstSeq, count }) => ({
          topic: topics.get(topicId),
          firstSeq,
          count,
        })),
        firstSeq: envelope.sections[0]!.firstSeq,
        values: messages.map(({ payload }) => payload.value()),
        priorities: messages.map(({ priority }) => priority),
      });
      return;
    }
    const message = decodeTelemetryClientMessage(isBinary ? data : data.toString());
    this.received.push(message);
    if (message.type === 'schema') this.schemas.set(message.schema_id, message.fields);
    if (message.type === 'clock') this.say({ type: 'clock', t0: message.t0, t1: now(), t2: now() });
    if (message.type === 'subscribe' && !this.isSilent) {
      this.say({ type: 'subscribed', id: message.id, filter: message.filter });
    }
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
    lane.say({ type: 'schema', schema_id: 1, fields: [...POSE] });
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

  test('a batch of several topics: each subscription gets its own, and its share of the bytes', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const poses = await subscribed(lane, session);
    lane.topic(0, { topic: 'rover/arm', topic_id: 48 });
    const arms = session.subscribe('rover/arm', { contract: 'all' });
    await arms.ready;
    lane.topic(0, { topic: 'rover/arm', topic_id: 64 });
    const got: [string, number, unknown][] = [];
    poses.onTelemetry((messages) =>
      got.push(...messages.map(({ topic, seq, data }): [string, number, unknown] => [topic, seq, data])),
    );
    const ofArms = collect(arms);
    const bytes = lane.batchOf([
      { topicId: 32, firstSeq: 1, values: ['a', 'b'] },
      { topicId: 48, firstSeq: 1, values: ['c'] },
      { topicId: 64, firstSeq: 1, values: ['c'] },
      // Of a subscription that has ended.
      { topicId: 999, firstSeq: 1, values: ['d', 'e'] },
      { topicId: 32, firstSeq: 3, values: ['f'] },
    ]);
    await vi.waitFor(() => expect(got).toHaveLength(4));
    expect(got).toEqual([
      ['rover/pose', 1, 'a'],
      ['rover/pose', 2, 'b'],
      ['rover/arm', 1, 'c'],
      ['rover/pose', 3, 'f'],
    ]);
    expect(ofArms).toEqual(['c']);
    expect(poses.metrics()).toMatchObject({ received: 4, duplicates: 0, lost: { unexplained: 0 } });
    expect(poses.metrics().bytesPerMessage).toBeCloseTo(bytes / 7, 6);
    expect(arms.metrics().bytesPerMessage).toBeCloseTo(bytes / 7, 6);
  });

  test('topics of one layout share a batch of columns, and a layout its number with a later one', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const subscription = await subscribed(lane, session);
    lane.topic(0, { topic: 'rover/arm', topic_id: 48 });
    const columns = subscription.columns();
    const value = (n: number) => ({ x: n, imu: { accel: [n / 3] }, on: n > 1, mode: `m${n}` });
    lane.say({ type: 'schema', schema_id: 1, fields: [...POSE] });
    const head = { codec: 'columns', schemaId: 1, schema: POSE } as const;
    const parts = [
      { topicId: 32, firstSeq: 1, values: [value(1), value(2)] },
      { topicId: 48, firstSeq: 1, values: [value(3)] },
    ];
    lane.batchOf(parts, head);
    const other = POSE.toReversed();
    lane.say({ type: 'schema', schema_id: 1, fields: other });
    lane.batch(3, [value(4)], { ...head, schema: other });
    const read = [];
    for (let i = 0; i < 3; i++) read.push((await columns.next()).value!);
    expect(read.map(({ topic, seq, count }) => [topic, seq, count])).toEqual([
      ['rover/pose', 1, 2],
      ['rover/arm', 1, 1],
      ['rover/pose', 3, 1],
    ]);
    expect(read.map((batch) => [...batch.column('x')!])).toEqual([[1, 2], [3], [4]]);
    expect(read.map((batch) => batch.texts('mode'))).toEqual([['m1', 'm2'], ['m3'], ['m4']]);
    expect(read.map((batch) => batch.times.length)).toEqual([2, 1, 1]);
    expect(read[2]!.paths).toEqual(other.map(({ path }) => path));
  });

  test.each(['MESSAGE_TOO_LARGE', 'INTERNAL', 'TOPIC_LIMIT_REACHED'] as const)(
    'a subscription that is refused before it was taken is at its end: %s',
    async (code) => {
      const lane = await ScriptedLane.start();
      lane.isSilent = true;
      const session = await connect(lane);
      const subscription = session.subscribe('rover/#');
      await vi.waitFor(() => expect(lane.of('subscribe')).toHaveLength(1));
      lane.say({ type: 'error', code, message: 'no', id: lane.of('subscribe')[0]!.id });
      await expect(subscription.ready).rejects.toMatchObject({ code });
      expect(session.metrics().subscriptions).toBe(0);
      const late = session.subscribe('rover/#');
      late.unsubscribe();
      await expect(late.ready).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
    },
  );

  test.each([
    { contract: 'newest' },
    { ttlMs: NaN },
    { ttlMs: 0 },
    { hz: 20_000, contract: 'sampled' },
    { group: '' },
    { group: 'g'.repeat(65) },
    { queueMax: NaN },
    { since: [{ topic: 'a', epoch: -1, seq: 0 }] },
    { since: [{ topic: 'a//b', epoch: 1, seq: 0 }] },
    { since: Array.from({ length: 1_001 }, () => ({ topic: 'a', epoch: 1, seq: 0 })) },
  ])('terms that no server takes are refused at once: %o', async (terms) => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    expect(() => session.subscribe('a', terms as never)).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^(MESSAGE_FIELD|TOPIC)_BAD$/) }),
    );
    expect(session.metrics().subscriptions).toBe(0);
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

describe('columns by a callback', () => {
  const HEAD = { codec: 'columns', schemaId: 1, schema: POSE } as const;
  const pose = (n: number) => ({ x: n, imu: { accel: [n / 3] }, on: n % 2 === 0, mode: `m${n}` });
  const poses = (from: number, count: number) => range(from, count).map(pose);
  const isOn = (n: number) => (n % 2 === 0 ? 1 : 0);

  async function begin(
    options?: Parameters<TelemetrySession['subscribe']>[1],
    more?: Partial<ConnectTelemetryOptions>,
  ) {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, more);
    const subscription = await subscribed(lane, session, options);
    lane.say({ type: 'schema', schema_id: 1, fields: [...POSE] });
    return { lane, session, subscription };
  }

  test('are the values of each batch, without a queue and without objects', async () => {
    const { lane, subscription } = await begin();
    const calls: object[] = [];
    subscription.onColumns(({ topic, epoch, seq, count, times, paths, column, texts, timestamp, latencyMs }) => {
      expect(paths).toEqual(POSE.map(({ path }) => path));
      expect(times).toHaveLength(count);
      expect(timestamp).toBe(times[count - 1]);
      expect(latencyMs).toBeLessThan(1_000);
      expect(column('nowhere')).toBeUndefined();
      calls.push({
        topic,
        epoch,
        seq,
        x: [...column('x')!],
        accel: [...column('imu.accel.0')!],
        on: [...column('on')!],
        mode: [...texts('mode')!],
      });
    });
    lane.batch(1, poses(1, 40), HEAD);
    lane.batch(41, poses(41, 3), { ...HEAD, compression: 'zlib' });
    // A part of it came before.
    lane.batch(42, poses(42, 4), HEAD);
    await vi.waitFor(() => expect(calls).toHaveLength(3));
    const expected = (from: number, count: number) => {
      const ns = range(from, count);
      const own = { x: ns, accel: ns.map((n) => n / 3), on: ns.map(isOn), mode: ns.map((n) => `m${n}`) };
      return { topic: 'rover/pose', epoch: EPOCH, seq: from, ...own };
    };
    expect(calls).toEqual([expected(1, 40), expected(41, 3), expected(44, 2)]);
    expect(subscription.metrics()).toMatchObject({ received: 45, duplicates: 2, unread: 0, lagMs: 0 });
  });

  test.each(['json', 'msgpack'] as const)('in %s come from the objects', async (format) => {
    const { lane, subscription } = await begin(undefined, { format });
    const calls: number[][] = [];
    subscription.onColumns(({ times, column }) => calls.push([...times, ...column('x')!, ...column('imu.accel.0')!]));
    const messages = [1, 2].map((n) => ({ time: n, priority: Priority.high, data: pose(n) }));
    lane.say({ type: 'data', topic_id: 32, seq: 1, messages });
    await vi.waitFor(() => expect(calls).toEqual([[1, 2, 1, 2, 1 / 3, 2 / 3]]));
  });

  test('are lent for the call: what is copied lasts, and so do those of `columns()` beside it', async () => {
    const { lane, session, subscription } = await begin();
    const lent: Float64Array[] = [];
    const copied: number[][] = [];
    subscription.onColumns(({ column }) => {
      lent.push(column('x')!);
      copied.push([...column('x')!]);
    });
    for (const n of [1, 11, 21]) lane.batch(n, poses(n, 10), HEAD);
    await vi.waitFor(() => expect(copied).toHaveLength(3));
    expect(copied).toEqual([1, 11, 21].map((n) => range(n, 10)));
    // Nobody kept them: one place served for all.
    expect(new Set(lent.map(({ buffer }) => buffer)).size).toBe(1);
    const kept = subscription.columns();
    for (const n of [31, 41]) lane.batch(n, poses(n, 10), HEAD);
    await vi.waitFor(() => expect(copied).toHaveLength(5));
    for (const n of [31, 41]) expect([...(await kept.next()).value!.column('x')!]).toEqual(range(n, 10));
    expect(session.metrics().damagedBatches).toBe(0);
  });

  test('beside the messages of the same topic, and beside a loop over columns', async () => {
    const { lane, session, subscription } = await begin();
    const other = session.subscribe('rover/pose', { contract: 'all' });
    await other.ready;
    lane.topic(0, { topic_id: 48 });
    const lists = { lent: [] as number[], kept: [] as number[], messages: [] as unknown[], of: [] as unknown[] };
    subscription.onColumns(({ column }) => lists.lent.push(...column('x')!));
    subscription.onTelemetry((messages) => lists.messages.push(...messages.map(({ data }) => data)));
    const kept = subscription.columns();
    other.onTelemetry((messages) => lists.of.push(...messages.map(({ data }) => data)));
    for (const n of [1, 6, 11]) {
      const parts = [32, 48].map((topicId) => ({ topicId, firstSeq: n, values: poses(n, 5) }));
      lane.batchOf(parts, HEAD);
    }
    for (let i = 0; i < 3; i++) lists.kept.push(...(await kept.next()).value!.column('x')!);
    expect(lists).toEqual({
      lent: range(1, 15),
      kept: range(1, 15),
      messages: poses(1, 15),
      of: poses(1, 15),
    });
  });

  test('asked for by `columns()` in such a call begin with the next batch', async () => {
    const { lane, subscription } = await begin();
    lane.topic(0, { topic: 'rover/arm', topic_id: 48 });
    let kept: ReturnType<typeof subscription.columns> | undefined;
    subscription.onColumns(() => (kept ??= subscription.columns()));
    const send = (n: number) =>
      lane.batchOf(
        [
          { topicId: 32, firstSeq: n, values: [pose(n)] },
          { topicId: 48, firstSeq: n, values: [pose(-n)] },
        ],
        HEAD,
      );
    for (const n of [1, 2, 3]) send(n);
    await vi.waitFor(() => expect(subscription.metrics().received).toBe(6));
    const read: number[] = [];
    for (let i = 0; i < 4; i++) read.push(...(await kept!.next()).value!.column('x')!);
    expect(read).toEqual([2, -2, 3, -3]);
  });

  test('of a reliable subscription are acknowledged', async () => {
    const { lane, subscription } = await begin({ contract: 'reliable' });
    let received = 0;
    const off = subscription.onColumns(({ count }) => (received += count));
    lane.batch(1, poses(1, 5), HEAD);
    lane.batch(6, poses(6, 2), HEAD);
    await vi.waitFor(() => expect(lane.of('ack').at(-1)).toEqual({ type: 'ack', id: 1, topic_id: 32, seq: 7 }));
    expect(received).toBe(7);
    // Who takes it away stands where somebody stood who reads by a loop.
    off();
    lane.batch(8, poses(8, 1), HEAD);
    const { value } = await subscription[Symbol.asyncIterator]().next();
    expect(value).toMatchObject({ seq: 8, messages: [{ data: pose(8) }] });
    expect(received).toBe(7);
  });

  test('given to a callback that throws hold up nobody', async () => {
    const { lane, subscription } = await begin({ contract: 'reliable' });
    const surfaced: unknown[] = [];
    const queue = vi.spyOn(globalThis, 'queueMicrotask').mockImplementation((task) => {
      try {
        task();
      } catch (error) {
        surfaced.push(error);
      }
    });
    closers.push(() => queue.mockRestore());
    const fault = new Error('mine');
    const got: number[] = [];
    subscription.onColumns(() => {
      throw fault;
    });
    subscription.onColumns(({ column }) => got.push(...column('x')!));
    const objects = collect(subscription);
    lane.batch(1, poses(1, 2), HEAD);
    lane.batch(3, poses(3, 1), HEAD);
    await vi.waitFor(() => expect(lane.of('ack').at(-1)).toMatchObject({ seq: 3 }));
    expect([got, objects]).toEqual([[1, 2, 3], poses(1, 3)]);
    expect(surfaced).toEqual([fault, fault]);
  });

  test('end with the subscription', async () => {
    const { lane, session, subscription } = await begin();
    const seqs: number[] = [];
    subscription.onColumns(({ seq }) => seqs.push(seq));
    lane.batch(1, poses(1, 1), HEAD);
    await vi.waitFor(() => expect(seqs).toEqual([1]));
    subscription.unsubscribe();
    lane.batch(2, poses(2, 1), HEAD);
    await vi.waitFor(() => expect(lane.of('unsubscribe')).toHaveLength(1));
    await session.close();
    expect(seqs).toEqual([1]);
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

  test('asks again for what a batch that cannot be read held of its topics', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const poses = await subscribed(lane, session, { contract: 'reliable' });
    lane.topic(0, { topic: 'rover/arm', topic_id: 48 });
    const other = session.subscribe('rover/other', { contract: 'reliable' });
    await other.ready;
    lane.topic(0, { topic: 'rover/other', topic_id: 64 });
    const arms = session.subscribe('rover/arm', { contract: 'reliable' });
    await arms.ready;
    lane.topic(0, { topic: 'rover/arm', topic_id: 96 });
    const got = [collect(poses), collect(other)];
    lane.batchOf([
      { topicId: 48, firstSeq: 1, values: ['a'] },
      { topicId: 64, firstSeq: 1, values: ['b'] },
    ]);
    const unknown = { codec: 'columns', schemaId: 9, schema: POSE.slice(0, 1) } as const;
    lane.batchOf(
      [
        { topicId: 32, firstSeq: 1, values: [{ x: 1 }] },
        { topicId: 48, firstSeq: 2, values: [{ x: 2 }] },
        { topicId: 96, firstSeq: 1, values: [{ x: 3 }] },
      ],
      unknown,
    );
    await vi.waitFor(() => expect(lane.of('subscribe')).toHaveLength(5));
    expect(lane.of('subscribe').slice(3)).toMatchObject([
      {
        filter: 'rover/#',
        since: [
          { topic: 'rover/pose', epoch: EPOCH, seq: 0 },
          { topic: 'rover/arm', epoch: EPOCH, seq: 1 },
        ],
      },
      { filter: 'rover/arm', since: [{ topic: 'rover/arm', epoch: EPOCH, seq: 0 }] },
    ]);
    // What nobody has is not even looked at.
    lane.batch(1, [{ x: 4 }], { ...unknown, topicId: 999 });
    lane.batch(2, ['c'], { topicId: 64 });
    await vi.waitFor(() => expect(got).toEqual([['a'], ['b', 'c']]));
    expect([poses, other, arms].map((subscription) => subscription.metrics().refetches)).toEqual([1, 0, 1]);
    expect(session.metrics().damagedBatches).toBe(1);
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
    expect(lane.published.map(({ sections }) => sections)).toEqual([
      [{ topic: 'c', firstSeq: 0, count: 1 }],
      [{ topic: 'a', firstSeq: 0, count: 10 }],
      [{ topic: 'b', firstSeq: 0, count: 1 }],
    ]);
    expect(lane.published[0]).toMatchObject({ firstSeq: 0, priorities: [3], values: ['stop'] });
    expect(lane.published[2]!.values).toEqual([Buffer.from([1, 2, 3])]);
    expect(session.metrics().publish).toMatchObject({ published: 12, sent: 12, waiting: 0, batches: 3 });
  });

  test('topics of one turn share a batch, a section each, of 50 messages at most', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const done = range(1, 3).map((n) => session.publish('a', `a${n}`, { reliable: true }));
    for (const n of range(1, 4)) session.publish('b', `b${n}`);
    for (const n of range(1, 45)) done.push(session.publish('c', `c${n}`, { reliable: true }));
    done.push(session.publish('d', 'd1', { reliable: true }));
    await vi.waitFor(() => expect(lane.published).toHaveLength(2));
    const [first, second] = lane.published as [Published, Published];
    expect(first.sections).toEqual([
      { topic: 'a', firstSeq: 1, count: 3 },
      { topic: 'b', firstSeq: 0, count: 4 },
      { topic: 'c', firstSeq: 1, count: 43 },
    ]);
    expect(second.sections).toEqual([
      { topic: 'c', firstSeq: 44, count: 2 },
      { topic: 'd', firstSeq: 1, count: 1 },
    ]);
    const all = [
      ...range(1, 3).map((n) => `a${n}`),
      ...range(1, 4).map((n) => `b${n}`),
      ...range(1, 45).map((n) => `c${n}`),
      'd1',
    ];
    expect([...first.values, ...second.values]).toEqual(all);
    lane.say({ type: 'published', topic: 'a', seq: 3 });
    lane.say({ type: 'published', topic: 'c', seq: 45 });
    lane.say({ type: 'published', topic: 'd', seq: 1 });
    await Promise.all(done);
    expect(session.metrics().publish).toMatchObject({ sent: 4, confirmed: 49, batches: 2 });
  });

  test('what does not follow in its topic’s numbers begins a section of its own', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    void session.publish('a', 1, { reliable: true })!.catch(() => {});
    session.publish('a', 2);
    void session.publish('a', 3, { reliable: true })!.catch(() => {});
    void session.publish('a', 4, { reliable: true })!.catch(() => {});
    await vi.waitFor(() => expect(lane.published).toHaveLength(1));
    expect(lane.published[0]).toMatchObject({
      sections: [
        { topic: 'a', firstSeq: 1, count: 1 },
        { topic: 'a', firstSeq: 0, count: 1 },
        { topic: 'a', firstSeq: 2, count: 2 },
      ],
      values: [1, 2, 3, 4],
    });
  });

  test('a batch of several topics is no larger than the server takes', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { enableCompression: false });
    const text = 'x'.repeat(3_000);
    for (const topic of ['a', 'b', 'c', 'd']) session.publish(topic, text + topic);
    // Alone it is as large as a message may be: the envelope has to go along.
    session.publish('e', 'y'.repeat(9_940));
    session.publish('f', 'z');
    await vi.waitFor(() => expect(lane.published.flatMap(({ values }) => values)).toHaveLength(6));
    expect(lane.published.flatMap(({ sections }) => sections.map(({ topic }) => topic)).toSorted()).toEqual([
      ...'abcdef',
    ]);
    for (const { values } of lane.published) {
      expect(values.length === 1 || (values as string[]).join('').length < 10_000).toBe(true);
    }
    expect(lane.published.length).toBeLessThan(5);
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
    const other = session.publish('b', 4, { reliable: true });
    await vi.waitFor(() => expect(lane.published.slice(1).flatMap(({ values }) => values)).toEqual([1, 2, 3, 4]));
    expect(lane.published.slice(1).map(({ sections }) => sections)).toEqual([
      [
        { topic: 'a', firstSeq: 1, count: 1 },
        { topic: 'a', firstSeq: 0, count: 1 },
        { topic: 'a', firstSeq: 2, count: 1 },
        { topic: 'b', firstSeq: 1, count: 1 },
      ],
    ]);
    lane.say({ type: 'published', topic: 'a', seq: 2 });
    lane.say({ type: 'published', topic: 'b', seq: 1 });
    await Promise.all([first, third, other]);
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

  test('in a session that another program began it goes on behind that one’s numbers', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { clientId: 'me', token: 'secret' });
    const done = [1, 2].map((n) => session.publish('a', n, { reliable: true }));
    session.publish('a', 'plain');
    await vi.waitFor(() => expect(lane.of('skip')).toEqual([{ type: 'skip', topic: 'a', seq: 0 }]));
    lane.say({ type: 'published', topic: 'a', seq: 57 });
    await vi.waitFor(() => expect(lane.published).toHaveLength(2));
    expect(lane.published.map(({ firstSeq, values }) => [firstSeq, values])).toEqual([
      [0, ['plain']],
      [58, [1, 2]],
    ]);
    lane.say({ type: 'published', topic: 'a', seq: 59 });
    await Promise.all(done);
    const next = session.publish('a', 3, { reliable: true });
    await vi.waitFor(() => expect(lane.published.at(-1)).toMatchObject({ firstSeq: 60, values: [3] }));
    lane.say({ type: 'published', topic: 'a', seq: 60 });
    await next;
  });

  test('one message that is refused for good rejects alone: its number is given up, and the others go on', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { format: 'json' });
    const [first, bad, last] = ['a', 'b', 'c'].map((data) => session.publish('t', data, { reliable: true }));
    await vi.waitFor(() => expect(lane.of('publish')).toHaveLength(3));
    lane.say({ type: 'published', topic: 't', seq: 1 });
    lane.say({ type: 'error', code: 'MESSAGE_TOO_LARGE', message: 'no', topic: 't', seq: 2 });
    await first;
    await expect(bad).rejects.toMatchObject({ code: 'MESSAGE_TOO_LARGE' });
    await vi.waitFor(() => expect(lane.of('publish')).toHaveLength(4));
    expect(lane.of('skip')).toEqual([{ type: 'skip', topic: 't', seq: 2 }]);
    expect(lane.of('publish').at(-1)).toMatchObject({ data: 'c', seq: 3 });
    // A repetition that was on its way is refused once more: no other message is meant.
    lane.say({ type: 'error', code: 'MESSAGE_TOO_LARGE', message: 'no', topic: 't', seq: 2 });
    lane.say({ type: 'published', topic: 't', seq: 3 });
    await last;
    expect(session.metrics().publish).toMatchObject({ reliable: 3, confirmed: 2, refused: 1, unconfirmed: 0 });
  });

  test('an alias that is refused rejects all that waits for it', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const refused = [1, 2].map((n) => session.publish('t', n, { reliable: true }));
    await vi.waitFor(() => expect(lane.published).toHaveLength(1));
    lane.say({ type: 'error', code: 'TOPIC_LIMIT_REACHED', message: 'no', topic: 't', alias: 1 });
    for (const promise of refused) await expect(promise).rejects.toMatchObject({ code: 'TOPIC_LIMIT_REACHED' });
    const unknown = session.publish('u', 3, { reliable: true });
    await vi.waitFor(() => expect(lane.published).toHaveLength(2));
    lane.say({ type: 'error', code: 'ALIAS_UNKNOWN', message: 'no', alias: 2, seq: 1, count: 1 });
    await expect(unknown).rejects.toMatchObject({ code: 'ALIAS_UNKNOWN' });
    expect(session.metrics().publish).toMatchObject({ reliable: 3, refused: 3, unconfirmed: 0 });
  });

  test('a server that has forgotten the session gets numbers from 1, one that has forgotten a topic from where it waits', async () => {
    const lane = await ScriptedLane.start();
    lane.forgets = true;
    const session = await connect(lane);
    const publish = async (n: number, seq: number) => {
      const done = session.publish('t', n, { reliable: true })!;
      await vi.waitFor(() => expect(lane.published.at(-1)).toMatchObject({ firstSeq: seq, values: [n] }));
      return done;
    };
    const first = publish(1, 1);
    await vi.waitFor(() => expect(lane.published).toHaveLength(1));
    lane.say({ type: 'published', topic: 't', seq: 1 });
    await first;
    await cut(lane, session);
    const second = publish(2, 1);
    await vi.waitFor(() => expect(lane.published).toHaveLength(2));
    lane.say({ type: 'published', topic: 't', seq: 1 });
    await second;
    const third = session.publish('t', 3, { reliable: true });
    await vi.waitFor(() => expect(lane.published).toHaveLength(3));
    expect(lane.published.at(-1)).toMatchObject({ firstSeq: 2 });
    lane.say({
      type: 'error',
      code: 'PUBLISH_SEQUENCE_BAD',
      message: 'gap',
      topic: 't',
      seq: 2,
      count: 1,
      expected: 1,
    });
    await vi.waitFor(() => expect(lane.published.at(-1)).toMatchObject({ firstSeq: 1, values: [3] }));
    lane.say({ type: 'published', topic: 't', seq: 1 });
    await third;
  });

  test('what a server refuses of messages without numbers is taken back from what was sent', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    for (const n of range(1, 5)) session.publish('t', n);
    await vi.waitFor(() => expect(lane.published).toHaveLength(1));
    lane.say({ type: 'error', code: 'RATE_EXCEEDED', message: 'later', topic: 't', count: 3 });
    // Not of publications.
    lane.say({ type: 'error', code: 'SUBSCRIPTION_UNKNOWN', message: 'no', id: 9 });
    await vi.waitFor(() => expect(session.metrics().errors).toBe(2));
    expect(session.metrics().publish).toMatchObject({ published: 5, sent: 2, dropped: { refused: 3 }, waiting: 0 });
  });

  const wrongOptions = [
    ['timeMs', NaN],
    ['timeMs', Infinity],
    ['timeMs', '2026-01-01T00:00:00Z'],
    ['timeMs', new Date(0)],
    ['timeMs', 5n],
    ['timeMs', null],
    ['ttlMs', NaN],
    ['ttlMs', 0],
    ['ttlMs', -1],
    ['ttlMs', '5'],
    ['ttlMs', 1e300],
    ['priority', 4],
    ['priority', 'high'],
    ['priority', 1.5],
    ['priority', null],
  ] as const;
  test.each(wrongOptions)(
    '%s %o is refused by name, costs nothing else, and rejects where it is reliable',
    async (field, value) => {
      const lane = await ScriptedLane.start();
      const session = await connect(lane);
      const refusal = expect.objectContaining({ code: 'MESSAGE_FIELD_BAD', message: expect.stringContaining(field) });
      session.publish('a', 1);
      expect(() => session.publish('a', 2, { [field]: value } as object)).toThrow(refusal);
      await expect(session.publish('a', 3, { [field]: value, reliable: true } as never)).rejects.toEqual(refusal);
      const last = session.publish('a', 4, { reliable: true });
      await vi.waitFor(() => expect(lane.published.flatMap(({ values }) => values)).toEqual([1, 4]));
      expect(lane.published.at(-1)!.sections.at(-1)).toMatchObject({ firstSeq: 1 });
      lane.say({ type: 'published', topic: 'a', seq: 1 });
      await last;
      expect(session.metrics().publish).toMatchObject({ published: 1, sent: 1, reliable: 1, confirmed: 1, refused: 0 });
    },
  );

  test('with a time to live, too, the data stays what it is: NaN, infinities, −0, bytes', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    session.publish('a', { x: [NaN, Infinity, -Infinity, -0] }, { ttlMs: 1_000 });
    session.publish('a', Uint8Array.of(1, 2), { ttlMs: 1_000 });
    await vi.waitFor(() => expect(lane.of('publish')).toHaveLength(2));
    expect(lane.of('publish')[0]!.data).toEqual({ x: [NaN, Infinity, -Infinity, -0] });
    expect(lane.of('publish')[1]!.data).toEqual(Buffer.of(1, 2));
  });

  test.each(['binary', 'msgpack', 'json'] as const)('in %s the data is taken as it is at the call', async (format) => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { format });
    const data = { n: 1, at: new Date(0), left: undefined, list: [1, undefined] };
    session.publish('a', data);
    data.n = 2;
    const arrived = () => [...lane.published.flatMap(({ values }) => values), ...lane.of('publish').map((m) => m.data)];
    await vi.waitFor(() => expect(arrived()).toHaveLength(1));
    expect(arrived()[0]).toEqual({ n: 1, at: '1970-01-01T00:00:00.000Z', list: [1, null] });
  });
});

describe('publishing in columns', () => {
  const pose = (n: number) => ({ x: n, y: n / 3, z: -n, heading: n / 10, mode: n < 5 ? 'auto' : 'stop' });
  const other = (n: number) => ({ volts: [n, n + 1, n + 2], amps: n / 7 });
  const arrived = (lane: ScriptedLane) => lane.published.flatMap(({ values }) => values);
  const codecs = (lane: ScriptedLane) => lane.published.map(({ codec }) => codec);
  /** Everything that was published is out. */
  const turn = () => new Promise((resolve) => setTimeout(resolve));

  test('what has one shape goes in columns, topics together, under a number that is told once', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    for (const n of range(1, 3)) {
      for (const topic of ['a', 'b']) session.publish(topic, pose(n), { timeMs: n, priority: Priority.high });
      session.publish('text', `t${n}`);
    }
    session.publish('c', other(1));
    await vi.waitFor(() => expect(arrived(lane)).toHaveLength(10));
    expect(codecs(lane)).toEqual(['columns', 'msgpack', 'columns']);
    expect(lane.published[0]).toMatchObject({
      schemaId: 1,
      sections: [
        { topic: 'a', firstSeq: 0, count: 3 },
        { topic: 'b', firstSeq: 0, count: 3 },
      ],
      values: [pose(1), pose(2), pose(3), pose(1), pose(2), pose(3)],
      priorities: Array.from({ length: 6 }, () => Priority.high),
    });
    session.publish('b', pose(4));
    session.publish('c', other(2));
    await vi.waitFor(() => expect(arrived(lane)).toHaveLength(12));
    expect(lane.published.slice(3)).toMatchObject([
      { codec: 'columns', schemaId: 1, values: [pose(4)] },
      { codec: 'columns', schemaId: 2, values: [other(2)] },
    ]);
    expect(lane.of('schema').map(({ schema_id, fields }) => [schema_id, fields.map(({ path }) => path)])).toEqual([
      [1, ['x', 'y', 'z', 'heading', 'mode']],
      [2, ['volts.0', 'volts.1', 'volts.2', 'amps']],
    ]);
    expect(session.metrics().publish).toMatchObject({ published: 12, sent: 12, batches: 5 });
  });

  test('a topic that changes its shape goes on in the new one, or as it is', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const values = [
      pose(1),
      pose(2),
      { ...pose(3), more: 1 },
      { ...pose(4), more: 2 },
      'text',
      { ...pose(5), more: 3 },
    ];
    for (const value of values) {
      session.publish('a', value);
      await turn();
    }
    await vi.waitFor(() => expect(arrived(lane)).toEqual(values));
    expect(codecs(lane)).toEqual(['columns', 'columns', 'msgpack', 'columns', 'msgpack', 'columns']);
    expect(lane.published.map(({ schemaId }) => schemaId)).toEqual([1, 1, 0, 2, 0, 2]);
    // Of many shapes, in one turn: in their order.
    const many = range(1, 30).map((n) => Object.assign(pose(n), { [`key${n % 7}`]: n }));
    for (const value of many) session.publish('a', value);
    await vi.waitFor(() => expect(arrived(lane).slice(values.length)).toEqual(many));
  });

  test('data is sent as it was when it was published, whatever becomes of it', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const wanted: unknown[] = [];
    const state = { ...pose(0), list: [] as number[], at: { x: 0 } };
    const publish = (topic: string, data: unknown) => {
      session.publish(topic, data);
      wanted.push(structuredClone(data));
    };
    // At first the topic's shape is not known, later it is.
    for (const n of range(1, 6)) {
      Object.assign(state, pose(n));
      state.at.x = n;
      publish('a', state);
      if (n % 2 === 0) await turn();
    }
    state.list.push(1);
    const bytes = Uint8Array.of(1);
    const words = { text: 'before' };
    await vi.waitFor(() => expect(arrived(lane)).toHaveLength(6));
    for (const data of [bytes, words]) publish('b', data);
    bytes[0] = 2;
    words.text = 'after';
    await vi.waitFor(() =>
      expect(arrived(lane)).toEqual(wanted.map((value) => (value instanceof Uint8Array ? Buffer.from(value) : value))),
    );
    expect(new Set(codecs(lane).slice(0, -2))).toEqual(new Set(['columns']));
  });

  test('in MessagePack as well', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { format: 'msgpack' });
    const data = { n: 1 };
    session.publish('a', data);
    data.n = 2;
    await vi.waitFor(() => expect(lane.of('publish')).toMatchObject([{ data: { n: 1 } }]));
  });

  test('messages of a topic stay in their order, bytes and texts between them included', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const values = [pose(1), Buffer.of(2), pose(3), 'text', pose(5), pose(6), Buffer.of(7)];
    const done = values.map((value) => session.publish('a', value, { reliable: true }));
    await vi.waitFor(() => expect(arrived(lane)).toEqual(values));
    expect(lane.published.flatMap(({ sections }) => sections.map(({ firstSeq, count }) => [firstSeq, count]))).toEqual([
      [1, 1],
      [2, 1],
      [3, 1],
      [4, 1],
      [5, 2],
      [7, 1],
    ]);
    lane.say({ type: 'published', topic: 'a', seq: 7 });
    await Promise.all(done);
    expect(session.metrics().publish).toMatchObject({ confirmed: 7, retried: 0 });
  });

  test('a new connection is told of the layouts anew', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { reconnect: { delayMinMs: 20, delayMaxMs: 20 }, random: () => 1 });
    session.publish('a', pose(1));
    const second = session.publish('b', other(2), { reliable: true });
    await vi.waitFor(() => expect(arrived(lane)).toHaveLength(2));
    await cut(lane, session);
    session.publish('a', pose(3));
    await vi.waitFor(() => expect(arrived(lane)).toEqual([pose(1), other(2), pose(3), other(2)]));
    lane.say({ type: 'published', topic: 'b', seq: 1 });
    await second;
    expect(codecs(lane)).toEqual(['columns', 'columns', 'columns', 'columns']);
    expect(lane.of('schema').map(({ schema_id }) => schema_id)).toEqual([1, 2, 1, 2]);
  });

  test('of more layouts than a server remembers the last ones go as MessagePack', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    const value = (i: number, n: number) => ({ [`field${i}`]: n, b: n / 2, c: 1, d: i });
    const topics = range(0, CLIENT_SCHEMAS_MAX + 6);
    for (const n of [1, 2]) {
      for (const i of topics) {
        session.publish(`t${i}`, value(i, n));
        if (i % 10 === 9) await turn();
      }
      await turn();
    }
    await vi.waitFor(() => expect(arrived(lane)).toHaveLength(2 * topics.length));
    const expected = [1, 2].flatMap((n) => topics.map((i) => value(i, n)));
    const sorted = (values: unknown[]) => values.map((one) => JSON.stringify(one)).toSorted();
    expect(sorted(arrived(lane))).toEqual(sorted(expected));
    for (const { schema_id: id } of lane.of('schema')) expect(id).toBeLessThanOrEqual(CLIENT_SCHEMAS_MAX);
    expect(lane.of('schema')).toHaveLength(CLIENT_SCHEMAS_MAX);
    expect(new Set(codecs(lane))).toEqual(new Set(['columns', 'msgpack']));
  });

  test('texts count: a message or a batch is no larger than the server takes', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane, { enableCompression: false });
    const logged = (n: number, chars: number) => ({ ...pose(n), log: `${n}${'é'.repeat(chars)}` });
    session.publish('a', logged(0, 1));
    await vi.waitFor(() => expect(arrived(lane)).toHaveLength(1));
    expect(() => session.publish('a', logged(1, 5_000))).toThrow(
      expect.objectContaining({ code: 'MESSAGE_TOO_LARGE' }),
    );
    for (const n of range(1, 40)) session.publish('a', logged(n, 1_000));
    await vi.waitFor(() => expect(arrived(lane)).toHaveLength(41));
    expect(new Set(codecs(lane))).toEqual(new Set(['columns']));
    for (const { bytes } of lane.published) expect(bytes).toBeLessThan(10_000);
    // Longer in MessagePack than in JSON: what is sent counts.
    const long = Array.from({ length: 1_200 }, () => 1.5);
    expect(() => session.publish('b', long)).toThrow(expect.objectContaining({ code: 'MESSAGE_TOO_LARGE' }));
  });

  test('what no message can say is refused at once, and alone', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    for (const data of [undefined, { n: 5n }, { bytes: Uint8Array.of(1) }, { m: new Map() }]) {
      expect(() => session.publish('a', data)).toThrow(expect.objectContaining({ code: 'PAYLOAD_BAD' }));
    }
    session.publish('a', pose(1));
    await vi.waitFor(() => expect(arrived(lane)).toEqual([pose(1)]));
    expect(session.metrics().publish).toMatchObject({ published: 1, sent: 1, waiting: 0 });
  });

  test('with a time to live it goes alone, as an object', async () => {
    const lane = await ScriptedLane.start();
    const session = await connect(lane);
    session.publish('a', pose(1));
    await vi.waitFor(() => expect(arrived(lane)).toHaveLength(1));
    session.publish('a', pose(2), { ttlMs: 1_000 });
    await vi.waitFor(() => expect(lane.of('publish')).toMatchObject([{ topic: 'a', data: pose(2), ttl_ms: 1_000 }]));
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
