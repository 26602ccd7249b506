import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { CuttingProxy } from '../../test/support/cutting-proxy.ts';
import { seededRandom } from '../base/random.ts';
import type { Sightline } from '../app.ts';
import { createSightline } from '../index.ts';
import type { TelemetryFormat } from './telemetry.ts';
import { connectTelemetry } from './telemetry.ts';

/** The client against the real server: in one process, over real sockets. */

const CUTS = 100;
const CUT_AFTER_BYTES_MAX = 6_000;
const cacheDir = mkdtempSync(join(tmpdir(), 'sightline-client-'));
let server: Sightline;

const start = (port = 0) =>
  createSightline({ settings: { 'server.port': port, 'models.cache_dir': cacheDir, 'inference.workers': 1 } });

beforeAll(async () => {
  server = await start();
});
afterAll(async () => {
  await server?.close();
  rmSync(cacheDir, { recursive: true });
});

function rover(n: number) {
  return {
    n,
    pose: { x: Math.sin(n), y: Math.cos(n), heading: n / 10 },
    wheels: [n, n + 1, n + 2, n + 3],
    moving: true,
  };
}

const tick = (ms = 0) => new Promise((resolve) => setTimeout(resolve, ms));

describe.each(['binary', 'msgpack', 'json'] satisfies TelemetryFormat[])('in %s', (format) => {
  test('every message arrives, in order, as it was published', async () => {
    const topic = `every/${format}`;
    await using publisher = await connectTelemetry({ url: server.url, format });
    await using reader = await connectTelemetry({ url: server.url, format });
    const subscription = reader.subscribe('every/+', { contract: 'all' });
    await subscription.ready;
    const got: unknown[] = [];
    const seqs: number[] = [];
    subscription.onTelemetry((messages) => {
      got.push(...messages.map(({ data }) => data));
      seqs.push(...messages.map(({ seq }) => seq));
    });
    const sent = Array.from({ length: 300 }, (_, n) => rover(n));
    for (const [n, message] of sent.entries()) {
      publisher.publish(topic, message);
      if (n % 40 === 0) await tick(1);
    }
    await vi.waitFor(() => expect(got).toHaveLength(300), { timeout: 5_000 });
    expect(got).toEqual(sent);
    expect(seqs).toEqual(sent.map((_, n) => n + 1));
    expect(subscription.metrics()).toMatchObject({ received: 300, duplicates: 0, lost: { unexplained: 0 } });
  });
});

test('columns of a numeric topic: the very same numbers, without objects', async () => {
  await using publisher = await connectTelemetry({ url: server.url });
  await using reader = await connectTelemetry({ url: server.url });
  const subscription = reader.subscribe('columns/rover', { contract: 'all' });
  await subscription.ready;
  const columns = subscription.columns();
  for (let n = 0; n < 100; n++) publisher.publish('columns/rover', rover(n));
  const xs: number[] = [];
  const wheels: number[] = [];
  while (xs.length < 100) {
    const batch = (await columns.next()).value!;
    xs.push(...batch.column('pose.x')!);
    wheels.push(...batch.column('wheels.3')!);
  }
  expect(xs).toEqual(Array.from({ length: 100 }, (_, n) => Math.sin(n)));
  expect(wheels).toEqual(Array.from({ length: 100 }, (_, n) => n + 3));
});

test('several subscriptions take in the same topic, each by its own contract', async () => {
  await using publisher = await connectTelemetry({ url: server.url });
  await using reader = await connectTelemetry({ url: server.url });
  const all = reader.subscribe('shared/#', { contract: 'all' });
  const slow = reader.subscribe('shared/pose', { hz: 5 });
  await Promise.all([all.ready, slow.ready]);
  const counts = { all: 0, slow: 0 };
  all.onTelemetry((messages) => (counts.all += messages.length));
  slow.onTelemetry((messages) => (counts.slow += messages.length));
  for (let n = 0; n < 60; n++) {
    publisher.publish('shared/pose', n);
    await tick(5);
  }
  await vi.waitFor(() => expect(counts.all).toBe(60));
  expect(counts.slow).toBeLessThan(10);
  expect(counts.slow).toBeGreaterThan(0);
  expect(slow.metrics().lost.unexplained).toBe(0);
});

test('after a long gap the newest come first, then what was missed, each once', async () => {
  const topic = 'gap/pose';
  await using publisher = await connectTelemetry({ url: server.url });
  await publisher.publish(topic, 0, { reliable: true });
  const { epoch } = server.topics.get(topic)!;
  for (let n = 1; n < 2_500; n++) publisher.publish(topic, n);
  await vi.waitFor(() => expect(server.topics.get(topic)!.lastSeq).toBe(2_500));
  await using reader = await connectTelemetry({ url: server.url });
  const subscription = reader.subscribe(topic, { contract: 'reliable', since: [{ topic, epoch, seq: 1 }] });
  const got: number[] = [];
  subscription.onTelemetry((messages) => got.push(...messages.map(({ data }) => data as number)));
  await vi.waitFor(() => expect(got).toHaveLength(2_499));
  expect(got[0]).toBeGreaterThan(1_000);
  expect(got.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 2_499 }, (_, n) => n + 1));
  expect(subscription.positions()).toEqual([{ topic, epoch, seq: 2_500 }]);
  expect(subscription.metrics()).toMatchObject({ received: 2_499, duplicates: 0, lost: { unexplained: 0 } });
});

test('a group shares the messages of a topic', async () => {
  await using publisher = await connectTelemetry({ url: server.url });
  await using one = await connectTelemetry({ url: server.url });
  await using other = await connectTelemetry({ url: server.url });
  const got: number[] = [];
  const members = [one, other].map((session) => session.subscribe('group/#', { contract: 'all', group: 'workers' }));
  const counts = members.map((member) => {
    const count = { messages: 0 };
    member.onTelemetry((messages) => {
      count.messages += messages.length;
      got.push(...messages.map(({ data }) => data as number));
    });
    return count;
  });
  await Promise.all(members.map(({ ready }) => ready));
  for (let n = 0; n < 100; n++) {
    publisher.publish('group/jobs', n);
    if (n % 5 === 0) await tick(1);
  }
  await vi.waitFor(() => expect(got).toHaveLength(100));
  expect(got.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, n) => n));
  for (const [i, { messages }] of counts.entries()) {
    expect(messages).toBeGreaterThan(0);
    expect(members[i]!.metrics()).toMatchObject({ received: messages, lost: { unexplained: 0 }, conflated: 0 });
  }
  expect([one, other].map((session) => session.metrics().errors)).toEqual([0, 0]);
});

test('a server that is restarted is found again: its new history is told as such, nothing stays unconfirmed', async () => {
  const first = await start();
  const port = Number(new URL(first.url).port);
  await using session = await connectTelemetry({ url: first.url, reconnect: { delayMinMs: 20, delayMaxMs: 50 } });
  const subscription = session.subscribe('restart/#', { contract: 'reliable' });
  const got: unknown[] = [];
  subscription.onTelemetry((messages) => got.push(...messages.map(({ data }) => data)));
  await session.publish('restart/pose', 'before', { reliable: true });
  await vi.waitFor(() => expect(got).toEqual(['before']));
  const topics: boolean[] = [];
  subscription.on('topic', ({ recovered }) => topics.push(recovered));
  await first.close();
  const pending = session.publish('restart/pose', 'while away', { reliable: true });
  const second = await start(port);
  try {
    await pending;
    await session.publish('restart/pose', 'after', { reliable: true });
    await vi.waitFor(() => expect(got.at(-1)).toBe('after'));
    expect(topics).toEqual([false]);
    expect(session.metrics()).toMatchObject({ publish: { confirmed: 3, unconfirmed: 0 } });
    expect(session.metrics().reconnects).toBeGreaterThan(0);
  } finally {
    await session.close();
    await second.close();
  }
});

test(`links that are cut ${CUTS} times lose nothing and repeat nothing, in both directions`, async () => {
  const seed = Number(process.env['SIGHTLINE_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  const random = seededRandom(seed);
  const port = Number(new URL(server.url).port);
  const proxies = [
    new CuttingProxy(random, port, CUT_AFTER_BYTES_MAX),
    new CuttingProxy(random, port, CUT_AFTER_BYTES_MAX),
  ];
  const [up, down] = await Promise.all(proxies.map(async (proxy) => `ws://127.0.0.1:${await proxy.listen()}`));
  try {
    // The first welcome must come through: after it the session brings itself back.
    for (const proxy of proxies) proxy.isHealed = true;
    const reconnect = { delayMinMs: 1, delayMaxMs: 4, attemptsMax: 10_000 };
    await using publisher = await connectTelemetry({ url: up!, reconnect });
    await using reader = await connectTelemetry({ url: down!, reconnect });
    await publisher.publish('cut/pose', rover(-1), { reliable: true });
    const subscription = reader.subscribe('cut/#', { contract: 'reliable' });
    await subscription.ready;
    const got: number[] = [];
    const reading = (async () => {
      for await (const { messages } of subscription) {
        for (const { data } of messages) got.push((data as ReturnType<typeof rover>).n);
      }
    })();
    for (const proxy of proxies) proxy.isHealed = false;
    const confirmed: Promise<void>[] = [];
    while (proxies[0]!.cuts + proxies[1]!.cuts < CUTS) {
      if (publisher.metrics().publish.unconfirmed < 500) {
        confirmed.push(publisher.publish('cut/pose', rover(confirmed.length), { reliable: true }));
      }
      await tick(random() * 4);
    }
    for (const proxy of proxies) proxy.isHealed = true;
    await Promise.all(confirmed);
    const numbers = confirmed.map((_, n) => n);
    const isAllThere = () => expect(got.length, `seed ${seed}`).toBeGreaterThanOrEqual(numbers.length);
    await vi.waitFor(isAllThere, { timeout: 10_000 });
    expect(got, `seed ${seed}`).toEqual(numbers);
    expect(subscription.metrics(), `seed ${seed}`).toMatchObject({
      received: numbers.length,
      lost: { unrecovered: 0, unexplained: 0 },
      unread: 0,
    });
    expect(publisher.metrics().publish, `seed ${seed}`).toMatchObject({
      confirmed: numbers.length + 1,
      refused: 0,
      unconfirmed: 0,
    });
    expect(server.topics.get('cut/pose')!.lastSeq, `seed ${seed}`).toBe(numbers.length + 1);
    subscription.unsubscribe();
    await reading;
  } finally {
    for (const proxy of proxies) proxy.close();
  }
}, 60_000);
