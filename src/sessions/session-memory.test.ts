import { describe, expect, test } from 'vitest';
import type { WebSocket } from 'ws';
import { ANYONE } from '../../test/support/access.ts';
import { usedBytes } from '../../test/support/heap.ts';
import { Sink } from '../../test/support/sink-socket.ts';
import { TelemetryBench, type BenchParts } from '../../test/support/telemetry-bench.ts';
import { ManualClock } from '../base/clock.ts';
import { openFences } from '../fences/fences.ts';
import { FoxgloveLane } from './foxglove.ts';

const MANY = 100_000;
const topicName = (n: number) => `fleet/rover/${String(n).padStart(6, '0')}/state`;
const times = (count: number, of: (i: number) => object) => Array.from({ length: count }, (_, i) => of(i));

interface Case {
  readonly lane?: 'telemetry' | 'foxglove';
  readonly clients: number;
  readonly topics?: number;
  /** Of each topic; default 1. */
  readonly published?: number;
  /** What is there before, such as subscriptions. */
  readonly before?: readonly object[];
  /** What one client says. */
  readonly messages: (client: number) => readonly object[];
}

/** Memory that the messages make the server keep, and what it charges for them, bytes. */
async function measure({ lane: kind = 'telemetry', clients, topics = 0, published = 1, before = [], messages }: Case) {
  const clock = new ManualClock(1_000);
  const fences = openFences({ clock });
  const parts: BenchParts = { clock, fences, topicsMax: MANY, readersMax: MANY };
  const bench = new TelemetryBench({ topicsMax: MANY, subscriptionsMax: MANY, sessionsMax: MANY }, parts);
  const foxglove = new FoxgloveLane({
    topics: bench.topics,
    clock,
    fences,
    version: '1',
    parameters: () => ({}),
    settings: {
      pingIntervalMs: 20_000,
      pongTimeoutMs: 10_000,
      messageBytesMax: 10_000_000,
      elementsMax: MANY,
      queueMax: 1_000,
      socketBytesMax: 64 * 1024,
      subscriptionsMax: MANY,
      sessionsMax: MANY,
      rate: { messagesPerS: 10_000, bytesPerS: 1 << 24, muteMs: 100 },
    },
  });
  for (let i = 0; i < topics * published; i++) bench.publish(topicName(i % topics), { i });
  const sockets = Array.from({ length: clients }, () => {
    return new Sink(kind === 'telemetry' ? 'sightline.v1.json' : 'foxglove.sdk.v1');
  });
  for (const socket of sockets) {
    const webSocket = socket as unknown as WebSocket;
    const request = { query: new URLSearchParams(), address: undefined, principal: ANYONE };
    await (kind === 'telemetry' ? bench.lane : foxglove).open(webSocket, request);
    // What is made once for each connection is not that of the messages.
    if (kind === 'telemetry') {
      socket.say({ type: 'subscribe', id: MANY, filter: 'none', contract: 'all' });
      socket.say({ type: 'advertise', alias: MANY, topic: 'none' });
    }
    for (const message of before) socket.say(message);
  }
  // Channels are made a few in each turn.
  if (kind === 'foxglove') {
    while (foxglove.channels < topics) await new Promise((resolve) => setImmediate(resolve));
  }
  const usedBefore = await usedBytes();
  const chargedBefore = fences.memory.bytes('session');
  for (const [client, socket] of sockets.entries()) for (const message of messages(client)) socket.say(message);
  const charged = fences.memory.bytes('session') - chargedBefore;
  const real = (await usedBytes()) - usedBefore;
  const { sessions } = bench.lane.report();
  const refused = [...sessions.map((one) => one.refused_messages), ...foxglove.report().map((one) => one.refused)];
  foxglove.close();
  await bench.stop();
  return {
    real,
    charged,
    refused: refused.reduce((sum, n) => sum + n, 0),
    left: fences.memory.bytes('session'),
  };
}

const cases: Record<string, Case> = {
  'subscriptions to one topic each': {
    clients: 5,
    messages: (c) => times(1_000, (i) => ({ type: 'subscribe', id: i, filter: `some/${c}/${i}`, contract: 'all' })),
  },
  'subscriptions with wildcards': {
    clients: 5,
    messages: (c) =>
      times(1_000, (i) => ({ type: 'subscribe', id: i, filter: `some/${c}/${i}/#`, contract: 'latest' })),
  },
  'many topics of one subscription': {
    clients: 1,
    topics: 4_000,
    messages: () => [{ type: 'subscribe', id: 1, filter: '#', contract: 'all' }],
  },
  'many subscriptions to the same topics': {
    clients: 5,
    topics: 100,
    messages: () => times(16, (i) => ({ type: 'subscribe', id: i, filter: '#', contract: 'latest' })),
  },
  'topics with missed messages': {
    clients: 40,
    topics: 20,
    published: 1_500,
    messages: () => [{ type: 'subscribe', id: 1, filter: '#', contract: 'all', since: [] }],
  },
  'topics of groups': {
    clients: 5,
    topics: 100,
    messages: (c) => times(16, (i) => ({ type: 'subscribe', id: i, filter: '#', contract: 'all', group: `${c} ${i}` })),
  },
  'topics of one group': {
    clients: 1,
    topics: 4_000,
    messages: () => [{ type: 'subscribe', id: 1, filter: '#', contract: 'all', group: 'workers' }],
  },
  'positions of topics that are not there': {
    clients: 5,
    messages: (c) => {
      const since = times(1_000, (i) => ({ topic: `some/${c}/${topicName(i)}`, epoch: 2 ** 32 - 1, seq: 1 }));
      return [{ type: 'subscribe', id: 1, filter: '#', contract: 'all', since }];
    },
  },
  acknowledgements: {
    clients: 5,
    topics: 500,
    before: [{ type: 'subscribe', id: 1, filter: '#', contract: 'reliable' }],
    messages: () => times(500, (i) => ({ type: 'ack', id: 1, topic_id: 16 * (i + 1), seq: 1 })),
  },
  'numbers of reliable publications': {
    clients: 5,
    messages: (c) => times(1_000, (i) => ({ type: 'skip', topic: `some/${c}/${i}`, seq: 1 })),
  },
  'names for topics': {
    clients: 5,
    messages: (c) => times(1_000, (i) => ({ type: 'advertise', alias: i, topic: `some/${c}/${i}` })),
  },
  'names for topics in two bytes a character': {
    clients: 5,
    messages: (c) => times(1_000, (i) => ({ type: 'advertise', alias: i, topic: `${'ж'.repeat(100)}/${c}/${i}` })),
  },
  'layouts of short paths': {
    clients: 4,
    messages: (c) => times(60, (i) => layout(i, 200, (k) => `c${c}s${i}f${k}`)),
  },
  // The server knows some of them for its readers, too: few beside all of these.
  'layouts of long paths': {
    clients: 5,
    messages: (c) => times(60, (i) => layout(i, 300, (k) => `c${c}s${i}f${k}${'x'.repeat(400)}`)),
  },
  'layouts of deep paths': {
    clients: 2,
    messages: (c) => times(30, (i) => layout(i, 100, (k) => `c${c}s${i}f${k}${'.a'.repeat(60)}`)),
  },
  'subscriptions of viewers': {
    lane: 'foxglove',
    clients: 5,
    topics: 1_000,
    messages: () => times(1_000, (i) => ({ op: 'subscribe', subscriptions: [{ id: i, channelId: i + 1 }] })),
  },
  'channels of viewers': {
    lane: 'foxglove',
    clients: 5,
    messages: (c) => [
      { op: 'advertise', channels: times(1_000, (i) => ({ id: i, topic: `some/${c}/${i}`, encoding: 'json' })) },
    ],
  },
};

function layout(number: number, count: number, pathOf: (k: number) => string): object {
  const fields = times(count, (k) => ({ path: pathOf(k), kind: 'f64' }));
  return { type: 'schema', schema_id: number + 1, fields };
}

describe('what is charged is what is taken, within a factor of 1.5, and nothing is left of it', () => {
  test.each(Object.entries(cases))('%s', async (_, one) => {
    // Once for what is made once.
    await measure({ ...one, clients: 1, topics: Math.min(one.topics ?? 0, 20) });
    const { real, charged, refused, left } = await measure(one);
    expect(left).toBe(0);
    expect(real / charged).toBeLessThan(1.5);
    expect(real / charged).toBeGreaterThan(1 / 1.5);
    expect(refused).toBe(0);
  });
});
