import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { TelemetryBench } from '../../../test/support/telemetry-bench.ts';
import { TelemetryTestClient } from '../../../test/support/telemetry-client.ts';
import { seededRandom, type Random } from '../../base/random.ts';
import { Priority } from '../../base/sample.ts';

const TOPICS = ['r/a', 'r/b', 'r/c'];

let bench: TelemetryBench;
beforeEach(async () => {
  bench = await new TelemetryBench().start();
});
afterEach(() => bench.stop());

async function readers(count: number, filter = 'r/#', contract = 'all'): Promise<TelemetryTestClient[]> {
  const clients: TelemetryTestClient[] = [];
  for (let i = 0; i < count; i++) {
    const client = await TelemetryTestClient.open(bench.url(`?client_id=c${i}`), 'sightline.v1.binary');
    await client.subscribe(filter, contract);
    clients.push(client);
  }
  return clients;
}

const state = (n: number) => ({ n, a: n / 2, b: -n, c: 1, d: [n, 2] });

/** One message of each topic at the same instant; resolves when everybody has what there is. */
async function round(clients: readonly TelemetryTestClient[], n: number, topics: readonly string[] = TOPICS) {
  const before = clients.map(({ received }) => received.length);
  for (const topic of topics) bench.publish(topic, state(n));
  await Promise.all(
    clients.map((client, i) => client.until(() => client.received.length === before[i]! + topics.length)),
  );
}

async function rounds(clients: readonly TelemetryTestClient[], from: number, to: number) {
  for (let n = from; n <= to; n++) await round(clients, n);
}

const close = (clients: readonly TelemetryTestClient[]) => Promise.all(clients.map((client) => client.close()));
const ofTopic = (client: TelemetryTestClient, name: string) =>
  client.received.filter(({ topic }) => topic === name).map(({ seq }) => seq);
const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1);

describe('connections that keep up share a fan-out group', () => {
  test('and get all topics of a round in one batch that was made once', async () => {
    const clients = await readers(3);
    await rounds(clients, 1, 10);
    expect(bench.lane.report()).toMatchObject({ fanout_groups: 1, fanout_members: 3 });
    const before = clients.map(({ batches }) => batches);
    const { batches_encoded: encoded } = bench.lane.report();
    await rounds(clients, 11, 20);
    expect(clients.map(({ batches }, i) => batches - before[i]!)).toEqual([10, 10, 10]);
    expect(bench.lane.report().batches_encoded - encoded).toBe(10);
    for (const client of clients) {
      for (const topic of TOPICS) expect(ofTopic(client, topic)).toEqual(upTo(20));
      expect(client.of('schema')).toHaveLength(1);
    }
    expect(bench.session('c0').accounts).toMatchObject({ published: 60, delivered: 60, queued: 0 });
    bench.expectBalanced();
    await close(clients);
    expect(bench.lane.report()).toMatchObject({ fanout_groups: 0, fanout_members: 0 });
  });

  test.each(['latest', 'sampled'])('but not those with the contract %s', async (contract) => {
    const client = await TelemetryTestClient.open(bench.url(), 'sightline.v1.binary');
    await client.subscribe('r/#', contract, { hz: 10_000 });
    for (let n = 1; n <= 10; n++) {
      bench.publish('r/a', state(n));
      await client.until(() => client.received.length >= n);
    }
    expect(bench.lane.report().fanout_groups).toBe(0);
    await client.close();
  });

  test('and one that wants something else is in another one', async () => {
    const clients = await readers(2);
    const single = await TelemetryTestClient.open(bench.url(), 'sightline.v1.binary');
    await single.subscribe('r/a', 'all');
    for (let n = 1; n <= 10; n++) {
      await round(clients, n);
      await single.until(() => single.received.length === n);
    }
    expect(bench.lane.report()).toMatchObject({ fanout_groups: 2, fanout_members: 3 });
    await close([...clients, single]);
  });
});

describe('a connection leaves its group', () => {
  test('when it does not read, and holds nobody up', async () => {
    const clients = await readers(3);
    await rounds(clients, 1, 10);
    const [deaf, ...others] = clients;
    deaf!.socket.pause();
    let sent = 0;
    while (bench.lane.report().fanout_members === 3) {
      bench.publish('r/a', randomBytes(60_000));
      sent++;
      await Promise.all(others.map((client) => client.until(() => ofTopic(client, 'r/a').length === 10 + sent)));
      bench.expectBalanced();
    }
    expect(bench.lane.report()).toMatchObject({ fanout_groups: 1, fanout_members: 2 });
    await rounds(others, 11, 20);
    bench.expectBalanced();
    deaf!.socket.resume();
    await deaf!.until(() => ofTopic(deaf!, 'r/c').length === 20);
    await deaf!.until(() => {
      const lost = deaf!.of('loss').reduce((sum, { count }) => sum + count, 0);
      return ofTopic(deaf!, 'r/a').length + lost === 20 + sent;
    });
    await rounds(clients, 21, 30);
    expect(bench.lane.report()).toMatchObject({ fanout_groups: 1, fanout_members: 3 });
    await close(clients);
  });

  test('for a critical message, gets it ahead, and is back soon', async () => {
    const clients = await readers(3);
    await rounds(clients, 1, 10);
    bench.publish('r/a', state(11));
    bench.publish('r/a', state(12), { priority: Priority.critical });
    expect(bench.lane.report().fanout_members).toBe(0);
    await Promise.all(clients.map((client) => client.until(() => ofTopic(client, 'r/a').length === 12)));
    for (const client of clients) expect(ofTopic(client, 'r/a').slice(-2)).toEqual([12, 11]);
    await rounds(clients, 13, 22);
    expect(bench.lane.report().fanout_members).toBe(3);
    bench.expectBalanced();
    await close(clients);
  });

  test('when a topic is new, or it subscribes or unsubscribes, and misses nothing', async () => {
    const clients = await readers(2);
    await rounds(clients, 1, 10);
    await round(clients, 1, ['r/new']);
    await rounds(clients, 11, 20);
    expect(bench.lane.report().fanout_members).toBe(2);
    await clients[0]!.subscribe('r/a', 'all', { id: 2 });
    expect(bench.lane.report().fanout_members).toBe(1);
    bench.publish('r/a', state(21));
    await clients[0]!.until(() => clients[0]!.received.filter(({ id }) => id === 2).length === 1);
    await clients[1]!.until(() => ofTopic(clients[1]!, 'r/a').length === 21);
    clients[1]!.send({ type: 'unsubscribe', id: 1 });
    await clients[1]!.settled();
    expect(bench.lane.report().fanout_groups).toBe(0);
    for (const topic of TOPICS) expect(ofTopic(clients[0]!, topic).slice(0, 20)).toEqual(upTo(20));
    await close(clients);
  });

  test('when messages have a time to live, and is told what expired', async () => {
    const clients = await readers(2);
    await rounds(clients, 1, 10);
    bench.publish('r/a', state(11), { ttlMs: 60_000 });
    await Promise.all(clients.map((client) => client.until(() => ofTopic(client, 'r/a').length === 11)));
    await rounds(clients, 12, 20);
    for (const client of clients) expect(ofTopic(client, 'r/a')).toEqual(upTo(20));
    await close(clients);
  });
});

const seed = Math.floor(Math.random() * 2 ** 31);

test(`whatever happens, every reader gets every message once (seed ${seed})`, async () => {
  const random = seededRandom(seed);
  const clients = await readers(6, 'r/#', 'reliable');
  const published = new Map<string, number>();
  for (let step = 0; step < 400; step++) {
    const client = clients[Math.floor(random() * clients.length)]!;
    const what = random();
    if (what < 0.05) client.socket.pause();
    else if (what < 0.15) client.socket.resume();
    else if (what < 0.18) client.send({ type: 'subscribe', id: 100 + step, filter: 'r/a', contract: 'latest' });
    else publishSome(random, published);
    if (step % 5 === 0) await clients.find(({ socket }) => !socket.isPaused)?.settled();
    if (step % 50 === 0) bench.expectBalanced();
  }
  for (const { socket } of clients) socket.resume();
  const total = [...published.values()].reduce((sum, count) => sum + count, 0);
  const own = (client: TelemetryTestClient) => client.received.filter(({ id }) => id === 1);
  await Promise.all(clients.map((client) => client.until(() => own(client).length >= total)));
  for (const client of clients) {
    for (const [topic, count] of published) {
      const seqs = own(client).filter((message) => message.topic === topic);
      expect(seqs.map(({ seq }) => seq).toSorted((a, b) => a - b)).toEqual(upTo(count));
      const plain = seqs.filter(({ priority }) => priority !== Priority.critical).map(({ seq }) => seq);
      expect(plain).toEqual(plain.toSorted((a, b) => a - b));
    }
  }
  bench.expectBalanced();
  await close(clients);
});

/** Some messages on some topics, few of them critical or of another shape. */
function publishSome(random: Random, published: Map<string, number>): void {
  for (const topic of ['r/a', 'r/b', 'r/c', 'r/d/e']) {
    if (random() < 0.5) continue;
    for (let i = Math.ceil(random() * 3); i > 0; i--) {
      const n = (published.get(topic) ?? 0) + 1;
      published.set(topic, n);
      const value = random() < 0.05 ? { text: 'x'.repeat(20_000) } : state(n);
      bench.publish(topic, value, random() < 0.02 ? { priority: Priority.critical } : {});
    }
  }
}
