import { afterEach, describe, expect, test } from 'vitest';
import { TelemetryBench } from '../../../test/support/telemetry-bench.ts';
import { TelemetryTestClient } from '../../../test/support/telemetry-client.ts';
import { systemClock } from '../../base/clock.ts';
import { openFences } from '../../fences/fences.ts';
import { sinceBytes, SUBSCRIBED_TOPIC_BYTES } from '../session-bytes.ts';
import { boundless, type MemoryBound } from '../../fences/memory-ledger.ts';

let bench: TelemetryBench;
afterEach(() => bench.stop());

async function begin(session: MemoryBound) {
  const fences = openFences({ clock: systemClock, bounds: { ...boundless().bounds, session } });
  const parts = { fences, topicsMax: 1_000 };
  bench = await new TelemetryBench({ topicsMax: 1_000, subscriptionsMax: 1_000 }, parts).start();
  const open = (name: string) => TelemetryTestClient.open(bench.url(`?client_id=${name}`));
  const bytesOf = (name: string) => [...fences.memory.accounts].find(({ client }) => client === name)!.bytes('session');
  return { memory: fences.memory, open, bytesOf };
}

const alone = (clientBytesMax: number) => ({ totalBytesMax: Infinity, clientBytesMax });
const positions = (count: number, prefix = '') =>
  Array.from({ length: count }, (_, i) => ({ topic: `${prefix}n/${i}`, epoch: 1, seq: 1 }));

describe('what a client tells of itself is refused over a bound, by name', () => {
  test('subscriptions, until others are given up', async () => {
    const { open, bytesOf, memory } = await begin(alone(10_000));
    const client = await open('x');
    for (let id = 1; id <= 20; id++) client.send({ type: 'subscribe', id, filter: `f/${id}`, contract: 'all' });
    await client.settled();
    const refused = client.of('error');
    expect(new Set(client.errors)).toEqual(new Set(['MEMORY_LIMIT_REACHED']));
    expect(client.of('subscribed')).toHaveLength(20 - refused.length);
    expect(refused.map(({ id }) => id)).toEqual(Array.from(refused, (_, i) => 21 - refused.length + i));
    expect(memory.refusals.session).toBe(refused.length);
    expect(bytesOf('x')).toBeGreaterThan(8_000);
    for (let id = 1; id <= 5; id++) client.send({ type: 'unsubscribe', id });
    client.send({ type: 'subscribe', id: 20, filter: 'f/20', contract: 'all' });
    await client.settled();
    expect(client.of('subscribed').at(-1)).toMatchObject({ id: 20 });
    client.socket.terminate();
    await expect.poll(() => bytesOf('x')).toBe(0);
  });

  test('topics of a subscription: those that there is memory for stay, and it is told once', async () => {
    const { open, bytesOf } = await begin(alone(20_000));
    for (let i = 0; i < 100; i++) bench.publish(`n/${i}`, i);
    const client = await open('x');
    await client.subscribe('n/#', 'latest');
    await client.settled();
    const told = client.of('topic').length;
    expect(told).toBeGreaterThan(10);
    expect(told).toBeLessThan(100);
    expect(client.of('error')).toMatchObject([{ code: 'MEMORY_LIMIT_REACHED', id: 1 }]);
    expect(bench.session('x')).toMatchObject({ subscriptions: 1, topics: told });
    await client.until(() => client.received.length === told);
    client.send({ type: 'unsubscribe', id: 1 });
    await client.settled();
    expect([bytesOf('x'), bench.session('x').topics]).toEqual([0, 0]);
    await client.close();
  });

  test('names, layouts and positions', async () => {
    const { open, bytesOf } = await begin(alone(6_000));
    const client = await open('x');
    await client.subscribe('a', 'all', { since: positions(5, 'elsewhere/') });
    const path = 'p'.repeat(500);
    client.send({ type: 'schema', schema_id: 1, fields: [{ path, kind: 'f64' }] });
    await client.settled();
    expect(client.errors).toEqual([]);
    const fields = Array.from({ length: 10 }, (_, i) => ({ path: `${i}${path}`.slice(0, 500), kind: 'f64' }));
    client.send({ type: 'schema', schema_id: 1, fields: [{ path: 'short', kind: 'f64' }] });
    client.send({
      type: 'schema',
      schema_id: 2,
      fields: fields.map(({ path: p, kind }) => ({ path: `p${p}`.slice(0, 500), kind })),
    });
    for (let alias = 0; alias < 100; alias++) client.send({ type: 'advertise', alias, topic: `t/${alias}` });
    client.send({ type: 'publish', topic: 'reliable', data: 1, seq: 1 });
    await client.settled();
    const refused = client.of('error');
    expect(new Set(client.errors)).toEqual(new Set(['MEMORY_LIMIT_REACHED']));
    expect(refused[0]).not.toHaveProperty('alias');
    expect(refused[1]).toMatchObject({ topic: `t/${101 - refused.length + 1}` });
    // It was not published: its number would be forgotten, and it would be published again.
    expect(refused.at(-1)).toMatchObject({ topic: 'reliable', seq: 1 });
    expect(bench.topics.get('reliable')).toBeUndefined();
    expect(bytesOf('x')).toBeLessThanOrEqual(6_000);
    client.socket.terminate();
    await expect.poll(() => bytesOf('x')).toBe(0);
  });
});

test('positions that a client gives are kept until their topic has come, and only where the subscription may come to it', async () => {
  const { open, bytesOf } = await begin(alone(1e6));
  bench.publish('n/0', 0);
  const client = await open('x');
  const base = async (since: object[]) => {
    await client.subscribe('n/#', 'all', { since });
    await client.settled();
    return bytesOf('x');
  };
  const without = await base([]);
  client.send({ type: 'unsubscribe', id: 1 });
  const others = await base(positions(100, 'elsewhere/'));
  expect(others).toBe(without);
  client.send({ type: 'unsubscribe', id: 1 });
  const kept = await base(positions(3));
  // That of a topic that was there already is not among them.
  expect(kept - without).toBe(2 * sinceBytes('n/1'));
  for (const name of ['n/1', 'n/2']) {
    const before = bytesOf('x');
    bench.publish(name, 1);
    await client.until(() => client.received.some(({ topic }) => topic === name));
    expect(bytesOf('x') - before).toBe(SUBSCRIBED_TOPIC_BYTES - sinceBytes(name));
  }
  expect(client.of('topic').slice(-2)).toMatchObject([
    { topic: 'n/1', recovered: false },
    { topic: 'n/2', recovered: false },
  ]);
  await client.close();
});

test('many clients that take all they can leave a newcomer its part', async () => {
  const { open, memory } = await begin({ totalBytesMax: 60_000, clientBytesMax: 20_000, reservedBytes: 5_000 });
  const greedy = await Promise.all(Array.from({ length: 4 }, (_, i) => open(`greedy${i}`)));
  for (const client of greedy) {
    for (let id = 0; id < 40; id++) client.send({ type: 'subscribe', id, filter: `f/${id}`, contract: 'all' });
    await client.settled();
    expect(client.errors).toContain('MEMORY_LIMIT_REACHED');
  }
  expect(memory.bytes('session')).toBeLessThanOrEqual(60_000 + 5_000);
  const newcomer = await open('newcomer');
  for (let id = 0; id < 6; id++) newcomer.send({ type: 'subscribe', id, filter: `f/${id}`, contract: 'all' });
  await newcomer.settled();
  expect(newcomer.errors).toEqual([]);
  await Promise.all([newcomer, ...greedy].map((client) => client.close()));
});
