import { unpack } from 'msgpackr/unpack';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { TelemetryBench } from '../../test/support/telemetry-bench.ts';
import { seededRandom } from '../base/random.ts';
import { writeMsgpack } from '../protocol/msgpack-writer.ts';
import type { TelemetryFormat, TelemetrySession } from './telemetry.ts';
import { connectTelemetry } from './telemetry.ts';
import type { WebSocketConstructor } from './socket.ts';

/** The client against the real lane, where the server refuses for good what the client takes to be sound. */

const BYTES_MAX = 3_000;
let bench: TelemetryBench;
const sessions: TelemetrySession[] = [];
afterEach(async () => {
  for (const session of sessions.splice(0)) await session.close();
  await bench.stop();
});

/** Told of a larger limit than there is, a client sends messages that its server refuses. */
class Misled extends WebSocket {
  override emit(name: string | symbol, ...args: unknown[]): boolean {
    if (name !== 'message') return super.emit(name, ...args);
    const [bytes, isBinary] = args as [Buffer, boolean];
    if (!bytes.includes('message_bytes_max')) return super.emit(name, ...args);
    const message = (isBinary ? unpack(bytes) : JSON.parse(bytes.toString())) as {
      limits: { message_bytes_max: number };
    };
    message.limits.message_bytes_max = 100_000;
    const changed = Buffer.from(isBinary ? writeMsgpack(message) : JSON.stringify(message));
    return super.emit(name, changed, isBinary);
  }
}

async function connect(format: TelemetryFormat, misled: boolean, query = ''): Promise<TelemetrySession> {
  const session = await connectTelemetry({
    url: bench.url(query),
    format,
    enableCompression: false,
    reconnect: { delayMinMs: 5, delayMaxMs: 20 },
    ...(misled && { WebSocket: Misled as unknown as WebSocketConstructor }),
  });
  sessions.push(session);
  return session;
}

const held = (topic: string): unknown[] =>
  [...(bench.topics.get(topic)?.stream.history(0) ?? [])].map(({ data }) => (data.payload.value() as { n: number }).n);

describe.each(['json', 'msgpack'] as const)('%s', (format) => {
  test.each([1, 2, 3])(
    'refusals for good and lost connections: what is confirmed is in the topic, once and in order, and nothing else (seed %d)',
    async (seed) => {
      bench = await new TelemetryBench({ messageBytesMax: BYTES_MAX }).start();
      const random = seededRandom(seed);
      const session = await connect(format, true);
      const topics = ['a', 'b'];
      const outcomes = topics.map(() => new Map<number, 'confirmed' | 'refused'>());
      const all: Promise<void>[] = [];
      for (let n = 0; n < 200; n++) {
        const which = n % 2;
        const data = { n, text: 'x'.repeat(random() < 0.15 ? 4_000 : 10) };
        const settled = session.publish(topics[which]!, data, { reliable: true });
        all.push(
          settled.then(
            () => void outcomes[which]!.set(n, 'confirmed'),
            () => void outcomes[which]!.set(n, 'refused'),
          ),
        );
        if (random() < 0.2) await new Promise((resolve) => setTimeout(resolve, 2));
        if (random() < 0.04) for (const client of bench.sockets.clients) client.terminate();
      }
      await Promise.all(all);
      for (const [i, topic] of topics.entries()) {
        const confirmed = [...outcomes[i]!].filter(([, outcome]) => outcome === 'confirmed').map(([n]) => n);
        expect(held(topic)).toEqual(confirmed.toSorted((a, b) => a - b));
        expect(confirmed.length).toBeGreaterThan(5);
        expect(confirmed.length).toBeLessThan(100);
      }
      const { reliable, confirmed, refused, unconfirmed } = session.metrics().publish;
      expect([reliable, confirmed + refused, unconfirmed]).toEqual([200, 200, 0]);
    },
  );
});

test('a batch that is refused whole rejects what is in it, and what comes after it goes on', async () => {
  bench = await new TelemetryBench({ messageBytesMax: BYTES_MAX }).start();
  const session = await connect('binary', true);
  const publish = (n: number, text = '') => session.publish('a', { n, text }, { reliable: true });
  await publish(1);
  const refused = await Promise.allSettled([publish(2), publish(3, 'x'.repeat(4_000))]);
  for (const outcome of refused) expect(outcome).toMatchObject({ reason: { code: 'MESSAGE_TOO_LARGE' } });
  await Promise.all([publish(4), publish(5)]);
  expect(held('a')).toEqual([1, 4, 5]);
  expect(session.metrics().publish).toMatchObject({ reliable: 5, confirmed: 3, refused: 2, unconfirmed: 0 });
});

test.each(['binary', 'json', 'msgpack'] as const)(
  'in %s a topic that is the server’s own: reliable ones reject, others are taken back from what was sent',
  async (format) => {
    bench = await new TelemetryBench().start();
    const session = await connect(format, false);
    const refused = [1, 2, 3].map((n) => session.publish('$sys/x', n, { reliable: true }));
    const fine = session.publish('fine', { n: 1 }, { reliable: true });
    session.publish('$sys/x', 4);
    session.publish('$sys/y', 5);
    session.publish('fine', { n: 2 });
    const outcomes = await Promise.allSettled(refused);
    for (const outcome of outcomes) expect(outcome).toMatchObject({ reason: { code: 'TOPIC_FORBIDDEN' } });
    await fine;
    await vi.waitFor(() =>
      expect(session.metrics().publish).toMatchObject({
        published: 3,
        sent: 1,
        dropped: { refused: 2 },
        unconfirmed: 0,
      }),
    );
    await expect(session.publish('$sys/x', 6, { reliable: true })).rejects.toMatchObject({ code: 'TOPIC_FORBIDDEN' });
    expect(held('fine')).toEqual([1, 2]);
  },
);

test('as many subscriptions as there may be are taken, and the others told so', async () => {
  bench = await new TelemetryBench().start();
  const session = await connect('binary', false);
  const subscriptions = Array.from({ length: 13 }, (_, i) => session.subscribe(`t/${i}`));
  const outcomes = await Promise.allSettled(subscriptions.map(({ ready }) => ready));
  expect(outcomes.map(({ status }) => status)).toEqual(
    Array.from({ length: 13 }, (_, i) => (i < 10 ? 'fulfilled' : 'rejected')),
  );
  expect((outcomes[12] as PromiseRejectedResult).reason).toMatchObject({ code: 'SUBSCRIPTION_LIMIT_REACHED' });
  expect(session.metrics().subscriptions).toBe(10);
});

test('a session that is taken up goes on behind the numbers that it has', async () => {
  bench = await new TelemetryBench().start();
  const first = await connect('json', false, '?client_id=robot');
  for (const n of [1, 2]) await first.publish('log', { n }, { reliable: true });
  const { token } = first.welcome;
  const second = await connect('binary', false, `?client_id=robot&token=${token}`);
  expect(second.welcome.resumed).toBe(true);
  await Promise.all([3, 4].map((n) => second.publish('log', { n }, { reliable: true })));
  await second.publish('new', { n: 1 }, { reliable: true, priority: 3 });
  expect([held('log'), held('new')]).toEqual([[1, 2, 3, 4], [1]]);
});
