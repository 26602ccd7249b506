import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { TelemetryTestClient } from '../../test/support/telemetry-client.ts';
import { systemClock } from '../base/clock.ts';
import { Priority } from '../base/sample.ts';
import { seededRandom } from '../base/random.ts';
import { encodeBatch } from '../protocol/batch.ts';
import { Payload } from '../protocol/payload.ts';
import { TELEMETRY_SUBPROTOCOLS } from '../protocol/telemetry.ts';
import { Hub } from '../stream/hub.ts';
import type { ReaderCounts } from '../stream/reader.ts';
import { Topics, type TopicInput } from '../stream/topics.ts';
import { compressors } from './compression.ts';
import { TelemetryLane, type TelemetryLaneOptions } from './telemetry.ts';

type Settings = TelemetryLaneOptions['settings'];

const SETTINGS: Settings = {
  targetLatencyMs: 50,
  batchDelayMs: 5,
  batchMessagesMax: 50,
  batchBytesMax: 262_144,
  socketBytesMax: 65_536,
  queueBytesMax: 1_000_000,
  criticalMessagesMax: 20,
  slowConsumerMs: 30_000,
  compression: 'lz4',
  compressionThresholdBytes: 512,
  rate: { messagesPerS: 100_000, bytesPerS: 100_000_000, muteMs: 5_000 },
  banMs: 60_000,
  messageBytesMax: 1_000_000,
  subscriptionsMax: 10,
  topicsMax: 20,
  historyMessages: 2_000,
  idleTimeoutMs: 300_000,
  resumeWindowMs: 30_000,
  sessionsMax: 100,
  pingIntervalMs: 20_000,
  pongTimeoutMs: 10_000,
};

/** The lane behind a real WebSocket server. */
class Bench {
  readonly topics: Topics;
  readonly lane: TelemetryLane;
  readonly server: Server = createServer();
  readonly sockets: WebSocketServer;

  constructor(settings: Partial<Settings> = {}) {
    const hub = new Hub({ clock: systemClock, random: seededRandom(1), streamsMax: 1_000 });
    this.topics = new Topics({
      hub,
      clock: systemClock,
      random: seededRandom(2),
      settings: {
        topicsMax: 100,
        historyMessages: settings.historyMessages ?? SETTINGS.historyMessages,
        historyBytesMax: 64_000_000,
        historyTotalBytesMax: 256_000_000,
        topicIdleMs: 60_000,
        readersMax: 1_000,
      },
    });
    this.lane = new TelemetryLane({
      topics: this.topics,
      clock: systemClock,
      settings: { ...SETTINGS, ...settings },
    });
    this.sockets = new WebSocketServer({
      server: this.server,
      handleProtocols: (offered) => TELEMETRY_SUBPROTOCOLS.find((known) => offered.has(known)) ?? false,
    });
    this.sockets.on('connection', (socket, request) => {
      void this.lane.open(socket, new URL(request.url!, 'http://x').searchParams);
    });
  }

  async start(): Promise<this> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return this;
  }

  url(query = ''): string {
    return `ws://127.0.0.1:${(this.server.address() as AddressInfo).port}/${query}`;
  }

  publish(topic: string, value: unknown, more: Partial<TopicInput> = {}): number {
    return this.topics.publish(topic, { payload: Payload.of(value), ...more }).seq;
  }

  session(clientId: string) {
    return this.lane.report().sessions.find((session) => session.client_id === clientId)!;
  }

  expectBalanced(): void {
    const { sessions, topics } = this.lane.report();
    for (const { accounts } of [...sessions, ...topics]) expectBalance(accounts);
  }

  async stop(): Promise<void> {
    this.expectBalanced();
    this.lane.close();
    for (const socket of this.sockets.clients) socket.terminate();
    this.server.close();
  }
}

function expectBalance({ published, delivered, conflated, dropped, expired, queued }: ReaderCounts): void {
  const lost = Object.values(dropped).reduce((sum, n) => sum + n, 0);
  expect(delivered + conflated + lost + expired + queued).toBe(published);
}

const sequence = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

let bench: Bench;
beforeEach(async () => {
  bench = await new Bench().start();
});
afterEach(() => bench.stop());

describe.each(TELEMETRY_SUBPROTOCOLS)('%s', (protocol) => {
  test('what one client publishes another gets, with its time and priority, in order', async () => {
    const reader = await TelemetryTestClient.open(bench.url(), protocol);
    const writer = await TelemetryTestClient.open(bench.url(), protocol);
    await reader.subscribe('rover/+/pose', 'all');
    for (const n of sequence(1, 20)) {
      writer.send({
        type: 'publish',
        topic: 'rover/7/pose',
        data: { x: n, y: 0.5, z: [1, 2], ok: true, a: n / 3 },
        time: 1_000 + n,
        priority: 2,
      });
    }
    await reader.until(() => reader.received.length === 20);
    expect(reader.seqs).toEqual(sequence(1, 20));
    expect(reader.received[3]).toMatchObject({
      topic: 'rover/7/pose',
      id: 1,
      time: 1_004,
      priority: 2,
      data: { x: 4, y: 0.5, z: [1, 2], ok: true, a: 4 / 3 },
    });
    expect(reader.of('topic')).toMatchObject([{ id: 1, topic: 'rover/7/pose', seq: 0, recovered: true }]);
    await Promise.all([reader.close(), writer.close()]);
  });

  test('bytes, text, lists and numbers come as they are', async () => {
    const reader = await TelemetryTestClient.open(bench.url(), protocol);
    await reader.subscribe('any', 'all');
    const values = ['text', 3.5, [1, [2]], null, { deep: { er: 'x' } }];
    for (const value of values) bench.publish('any', value);
    await reader.until(() => reader.received.length === values.length);
    expect(reader.values).toEqual(values);
    await reader.close();
  });
});

describe('binary', () => {
  test('a batch is published under its alias; columns reach the reader with their schema', async () => {
    const reader = await TelemetryTestClient.open(bench.url(), 'sightline.v1.binary');
    const writer = await TelemetryTestClient.open(bench.url(), 'sightline.v1.binary');
    await reader.subscribe('imu', 'all');
    writer.send({ type: 'advertise', alias: 9, topic: 'imu' });
    const messages = sequence(1, 40).map((n) => ({
      timeMs: n,
      priority: Priority.normal,
      payload: Payload.of({ a: n, b: n / 2, c: -n, d: 7, e: 0.25 * n }),
    }));
    const head = { topicId: 9, epoch: 0, firstSeq: 0, codec: 'json', compression: 'lz4' } as const;
    writer.send(encodeBatch(head, messages, compressors));
    await reader.until(() => reader.received.length === 40);
    expect(reader.values).toEqual(messages.map(({ payload }) => payload.value()));
    expect(reader.of('schema')).toHaveLength(1);
    expect(reader.batches).toBe(1);
    await Promise.all([reader.close(), writer.close()]);
  });

  test('bytes between objects', async () => {
    const reader = await TelemetryTestClient.open(bench.url(), 'sightline.v1.binary');
    await reader.subscribe('#', 'all');
    bench.publish('mixed', { a: 1, b: 2, c: 3, d: 4 });
    bench.topics.publish('mixed', { payload: Payload.bytes(Uint8Array.of(1, 2, 3)) });
    bench.publish('mixed', 'text');
    bench.publish('mixed', { a: 1, b: 2, c: 3, d: 5 });
    await reader.until(() => reader.received.length === 4);
    expect(reader.seqs).toEqual([1, 2, 3, 4]);
    expect(reader.values).toMatchObject([{ d: 4 }, Buffer.of(1, 2, 3), 'text', { d: 5 }]);
    await reader.close();
  });
});
