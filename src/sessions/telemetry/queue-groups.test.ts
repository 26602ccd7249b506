import { afterEach, beforeEach, expect, test } from 'vitest';
import { TelemetryBench } from '../../../test/support/telemetry-bench.ts';
import { TelemetryTestClient } from '../../../test/support/telemetry-client.ts';

const TOPICS_MAX = 20;

let bench: TelemetryBench;
beforeEach(async () => {
  bench = await new TelemetryBench({ topicsMax: TOPICS_MAX, subscriptionsMax: 200 }).start();
});
afterEach(() => bench.stop());

const readersOf = (topic: string) => bench.topics.get(topic)!.stream.readerCount;
const names = (count: number) => Array.from({ length: count }, (_, i) => `n/${i}`);

async function join(client: TelemetryTestClient, id: number, group: string, filter = '#') {
  client.send({ type: 'subscribe', id, filter, contract: 'all', group });
  await client.settled();
}

test('the topics of its groups are among those that a client may have', async () => {
  for (const name of names(8)) bench.publish(name, 0);
  const client = await TelemetryTestClient.open(bench.url('?client_id=greedy'));
  for (let id = 0; id < 5; id++) await join(client, id, `g${id}`);
  expect(bench.session('greedy')).toMatchObject({ subscriptions: 5, topics: TOPICS_MAX });
  expect(client.errors).toEqual(['TOPIC_LIMIT_REACHED', 'TOPIC_LIMIT_REACHED', 'TOPIC_LIMIT_REACHED']);
  expect(client.of('error').map(({ id }) => id)).toEqual([2, 3, 4]);
  // So a publication is read by no more groups than are counted.
  expect(names(8).reduce((sum, name) => sum + readersOf(name), 0)).toBe(TOPICS_MAX);
  client.send({ type: 'unsubscribe', id: 0 });
  await client.settled();
  expect(bench.session('greedy').topics).toBe(TOPICS_MAX - 8);
  await client.close();
  expect(names(8).map(readersOf)).toEqual(names(8).map(() => 0));
});

test('a member that has too many topics leaves the others of the group alone', async () => {
  const full = await TelemetryTestClient.open(bench.url());
  for (const name of names(TOPICS_MAX)) bench.publish(name, 0);
  await full.subscribe('n/#', 'all');
  await join(full, 2, 'workers', 'job/#');
  const other = await TelemetryTestClient.open(bench.url());
  await join(other, 1, 'workers', 'job/#');
  for (let n = 1; n <= 5; n++) bench.publish('job/x', n);
  await other.until(() => other.received.length === 5);
  expect(other.values).toEqual([1, 2, 3, 4, 5]);
  await full.settled();
  expect(full.errors).toEqual(['TOPIC_LIMIT_REACHED']);
  await other.close();
  // Nobody has it among its topics any more.
  expect(readersOf('job/x')).toBe(0);
  bench.publish('job/x', 6);
  await full.close();
});

test('a client may be in so many groups', async () => {
  const client = await TelemetryTestClient.open(bench.url('?client_id=greedy'));
  for (let id = 0; id < 102; id++) {
    client.send({ type: 'subscribe', id, filter: 'a', contract: 'all', group: `g${id}` });
  }
  await client.settled();
  expect(client.errors).toEqual(['SUBSCRIPTION_LIMIT_REACHED', 'SUBSCRIPTION_LIMIT_REACHED']);
  client.send({ type: 'unsubscribe', id: 0 });
  await join(client, 100, 'g100', 'a');
  expect(client.errors).toHaveLength(2);
  expect(bench.session('greedy').subscriptions).toBe(100);
  await client.close();
});

test('messages of a group wait for a member that does not read, and then go to it', async () => {
  const client = await TelemetryTestClient.open(bench.url('?client_id=slow'));
  await join(client, 1, 'workers', 'job/#');
  const text = 'x'.repeat(100_000);
  bench.publish('job/x', text);
  await client.until(() => client.received.length === 1);
  client.socket.pause();
  let published = 1;
  // More than the sockets of both sides take.
  while (bench.session('slow').unsent_bytes < 65_536) {
    for (let n = 0; n < 20; n++) bench.publish('job/x', `${++published} ${text}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  for (let n = 0; n < 50; n++) bench.publish('job/y', ++published);
  client.socket.resume();
  await client.until(() => client.received.length === published);
  expect(client.received.filter(({ topic }) => topic === 'job/y')).toHaveLength(50);
  await client.close();
});
