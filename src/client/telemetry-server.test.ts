import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { CuttingProxy } from '../../test/support/cutting-proxy.ts';
import { openServer, type Sightline } from '../app.ts';
import { seededRandom } from '../base/random.ts';
import type { Priority } from '../base/sample.ts';
import { loadConfig } from '../config/load.ts';
import type { TelemetryFormat } from './telemetry.ts';
import { connectTelemetry } from './telemetry.ts';
import type { TelemetryMessage } from './telemetry-subscription.ts';

/** The client against the real server: in one process, over real sockets. */

const CUTS = 100;
const CUT_AFTER_BYTES_MAX = 6_000;
const cacheDir = mkdtempSync(join(tmpdir(), 'sightline-client-'));
let server: Sightline;

const start = (port = 0) =>
  openServer({
    config: loadConfig({ flags: { 'server.port': port, 'models.cache_dir': cacheDir, 'inference.workers': 1 } }),
  });

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

describe('a subscription that is drained', () => {
  test.each([
    ['the package ws', {}],
    ['the platform’s own WebSocket', { WebSocket: globalThis.WebSocket as never }],
  ])('gives what the server had sent by then, over %s, and nothing of later', async (_, options) => {
    await using publisher = await connectTelemetry({ url: server.url, ...options });
    await using reader = await connectTelemetry({ url: server.url, ...options });
    const other = reader.subscribe('drained/+', { contract: 'all' });
    const subscription = reader.subscribe('drained/+', { contract: 'all' });
    const [got, others]: [number[], number[]] = [[], []];
    subscription.onTelemetry((messages) => got.push(...messages.map(({ data }) => data as number)));
    other.onTelemetry((messages) => others.push(...messages.map(({ data }) => data as number)));
    await subscription.ready;
    for (let n = 0; n < 50; n++) publisher.publish('drained/a', n, { reliable: true }).catch(() => {});
    // In the server's history, so that it is on its way to the reader.
    await publisher.publish('drained/a', 50, { reliable: true });
    await tick();
    const drained = subscription.drain();
    expect(subscription.drain()).toBe(drained);
    await drained;
    expect(got).toEqual(Array.from({ length: 51 }, (__, n) => n));
    await publisher.publish('drained/a', 51, { reliable: true });
    await vi.waitFor(() => expect(others).toHaveLength(52), { timeout: 5_000 });
    expect(got).toHaveLength(51);
    await subscription.drain();
  });

  test('ends with the connection, and with the session', async () => {
    const proxy = new CuttingProxy(seededRandom(1), Number(new URL(server.url).port), Infinity);
    const url = `http://127.0.0.1:${await proxy.listen()}`;
    await using reader = await connectTelemetry({ url, reconnect: { delayMinMs: 60_000, delayMaxMs: 60_000 } });
    const [first, second] = [reader.subscribe('drained/a'), reader.subscribe('drained/b')];
    await second.ready;
    const drained = first.drain();
    proxy.close();
    await drained;
    await vi.waitFor(() => expect(reader.state).toBe('reconnecting'), { timeout: 5_000 });
    await second.drain();
    const third = reader.subscribe('drained/c');
    await reader.close();
    await third.drain();
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

/** Which messages of a topic's history came in columns. */
function cameInColumns(topic: string): boolean[] {
  const { stream } = server.topics.get(topic)!;
  return [...stream.history(0)].map(({ data }) => data.payload.row !== undefined);
}

test('what is published in columns reaches readers of every format, with its time and priority', async () => {
  const topics = ['sdk/rover', 'sdk/other'];
  await using publisher = await connectTelemetry({ url: server.url });
  const formats = ['binary', 'json', 'msgpack'] satisfies TelemetryFormat[];
  const readers = await Promise.all(formats.map((format) => connectTelemetry({ url: server.url, format })));
  try {
    const subscriptions = readers.map((reader) => reader.subscribe('sdk/+', { contract: 'all' }));
    await Promise.all(subscriptions.map(({ ready }) => ready));
    const got = subscriptions.map((subscription) => {
      const messages: TelemetryMessage[] = [];
      subscription.onTelemetry((some) => messages.push(...some));
      return messages;
    });
    const startMs = performance.timeOrigin + performance.now();
    const sent = Array.from({ length: 120 }, (_, n) => ({ ...rover(n), mode: n < 50 ? 'auto' : 'stop' }));
    for (const [n, message] of sent.entries()) {
      const priority = (n % 3) as Priority;
      for (const topic of topics) publisher.publish(topic, message, { timeMs: startMs + n * 7.25, priority });
      if (n % 9 === 0) await tick(1);
    }
    await vi.waitFor(() => expect(got.map(({ length }) => length)).toEqual([240, 240, 240]), { timeout: 5_000 });
    const of = (i: number, topic: string) => got[i]!.filter((message) => message.topic === topic);
    for (const topic of topics) {
      expect(cameInColumns(topic)).not.toContain(false);
      for (const i of got.keys()) {
        expect(of(i, topic).map(({ data }) => data)).toEqual(sent);
        expect(of(i, topic).map(({ seq, priority }) => [seq, priority])).toEqual(sent.map((_, n) => [n + 1, n % 3]));
        // The same for all of them, and those that were told, on the server's clock.
        expect(of(i, topic).map(({ timeMs }) => timeMs)).toEqual(of(0, topic).map(({ timeMs }) => timeMs));
      }
      for (const [n, { timeMs }] of of(0, topic).entries()) {
        expect(Math.abs(timeMs - publisher.toServerTimeMs(startMs + n * 7.25))).toBeLessThan(100);
      }
    }
    expect(publisher.metrics().errors).toBe(0);
  } finally {
    await Promise.all(readers.map((reader) => reader.close()));
  }
});

test('columns by a callback: the numbers of several topics, borrowed for the call', async () => {
  await using publisher = await connectTelemetry({ url: server.url });
  await using reader = await connectTelemetry({ url: server.url });
  const subscription = reader.subscribe('lent/+', { contract: 'reliable' });
  await subscription.ready;
  const got = new Map<string, { xs: number[]; wheels: number[]; moving: number[] }>();
  subscription.onColumns(({ topic, column }) => {
    const own = got.get(topic) ?? { xs: [], wheels: [], moving: [] };
    got.set(topic, own);
    own.xs.push(...column('pose.x')!);
    own.wheels.push(...column('wheels.3')!);
    own.moving.push(...column('moving')!);
  });
  const ns = Array.from({ length: 200 }, (_, n) => n);
  for (const n of ns) {
    for (const topic of ['lent/a', 'lent/b']) publisher.publish(topic, { ...rover(n), moving: n % 2 === 0 });
    if (n % 7 === 0) await tick(1);
  }
  await vi.waitFor(() => expect(subscription.metrics().received).toBe(400), { timeout: 5_000 });
  for (const topic of ['lent/a', 'lent/b']) {
    expect(got.get(topic)).toEqual({
      xs: ns.map((n) => Math.sin(n)),
      wheels: ns.map((n) => n + 3),
      moving: ns.map((n) => (n % 2 === 0 ? 1 : 0)),
    });
  }
  expect(subscription.metrics()).toMatchObject({ duplicates: 0, unread: 0, lost: { unexplained: 0 } });
});

test('data that its owner goes on changing, in shape as well, arrives as it was published', async () => {
  await using publisher = await connectTelemetry({ url: server.url });
  await using reader = await connectTelemetry({ url: server.url });
  const subscription = reader.subscribe('changing', { contract: 'all' });
  await subscription.ready;
  const got: unknown[] = [];
  subscription.onTelemetry((messages) => got.push(...messages.map(({ data }) => data)));
  const state: Record<string, unknown> & { wheels: number[] } = { ...rover(0), list: [], text: '' };
  const sent: unknown[] = [];
  for (let n = 0; n < 300; n++) {
    Object.assign(state, { n, text: `m${n % 4}`, moving: n % 5 === 0 });
    state.wheels[n % 4] = n / 7;
    // Now and then a shape of its own, and from the middle on another one.
    if (n === 150) state['more'] = { deep: [1, 2] };
    if (n % 50 === 49) state['odd'] = `only ${n}`;
    else delete state['odd'];
    publisher.publish('changing', state);
    sent.push(structuredClone(state));
    if (n % 11 === 0) await tick(1);
  }
  await vi.waitFor(() => expect(got).toHaveLength(300), { timeout: 5_000 });
  expect(got).toEqual(sent);
  const inColumns = cameInColumns('changing').filter(Boolean).length;
  expect(inColumns).toBeGreaterThan(280);
});

test('after a reconnection what is published goes in columns again, told of anew', async () => {
  const proxy = new CuttingProxy(() => 0, Number(new URL(server.url).port), 1);
  proxy.isHealed = true;
  const reconnect = { delayMinMs: 1, delayMaxMs: 4, attemptsMax: 1_000 };
  try {
    await using publisher = await connectTelemetry({ url: `ws://127.0.0.1:${await proxy.listen()}`, reconnect });
    for (let n = 0; n < 3; n++) await publisher.publish('again/pose', rover(n), { reliable: true });
    proxy.isHealed = false;
    const pending = publisher.publish('again/pose', rover(3), { reliable: true });
    await vi.waitFor(() => expect(proxy.cuts).toBeGreaterThan(0));
    proxy.isHealed = true;
    await pending;
    await publisher.publish('again/pose', rover(4), { reliable: true });
    const { stream } = server.topics.get('again/pose')!;
    const values = [...stream.history(0)].map(({ data }) => data.payload.value());
    expect(values).toEqual([0, 1, 2, 3, 4].map(rover));
    expect(cameInColumns('again/pose')).toEqual([true, true, true, true, true]);
    expect(publisher.metrics()).toMatchObject({ errors: 0, publish: { confirmed: 5 } });
    expect(publisher.metrics().reconnects).toBeGreaterThan(0);
  } finally {
    proxy.close();
  }
});

test('many topics, published in one turn, reach each reader whole and in order', async () => {
  const topics = Array.from({ length: 30 }, (_, i) => `many/${i}`);
  await using publisher = await connectTelemetry({ url: server.url });
  await using one = await connectTelemetry({ url: server.url });
  await using other = await connectTelemetry({ url: server.url });
  const subscriptions = [
    one.subscribe('many/#', { contract: 'all' }),
    one.subscribe('many/7', { contract: 'all' }),
    other.subscribe('many/#', { contract: 'all' }),
  ];
  await Promise.all(subscriptions.map(({ ready }) => ready));
  const got = subscriptions.map((subscription) => {
    const values = new Map<string, unknown[]>();
    subscription.onTelemetry((messages) => {
      for (const { topic, data } of messages) values.set(topic, [...(values.get(topic) ?? []), data]);
    });
    return values;
  });
  // Of three shapes, one of which has no layout.
  const valueOf = (i: number, n: number) => {
    if (i % 3 === 0) return rover(i + n);
    return i % 3 === 1 ? { a: i, b: n, c: 0.5, d: n / 3, text: `m${n}` } : [n, `of ${i}`];
  };
  const sent = topics.map((_, i) => Array.from({ length: 20 }, (_, n) => valueOf(i, n)));
  for (let n = 0; n < 20; n++) {
    for (const [i, topic] of topics.entries()) publisher.publish(topic, sent[i]![n]);
    await tick(n % 3);
  }
  const counts = () => subscriptions.map((subscription) => subscription.metrics().received);
  await vi.waitFor(() => expect(counts()).toEqual([600, 20, 600]), { timeout: 5_000 });
  for (const [i, topic] of topics.entries()) {
    expect(got[0]!.get(topic)).toEqual(sent[i]);
    expect(got[2]!.get(topic)).toEqual(sent[i]);
  }
  expect([...got[1]!]).toEqual([['many/7', sent[7]]]);
  for (const subscription of subscriptions) {
    expect(subscription.metrics()).toMatchObject({ duplicates: 0, lost: { unexplained: 0 } });
  }
  expect([one, other].map((session) => session.metrics().damagedBatches)).toEqual([0, 0]);
  expect(publisher.metrics().publish.batches).toBeLessThan(100);
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
