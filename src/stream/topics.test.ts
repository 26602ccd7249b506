import { describe, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { seededRandom } from '../base/random.ts';
import { Payload } from '../protocol/payload.ts';
import { MemoryLedger, type MemoryBounds } from '../fences/memory-ledger.ts';
import { Hub } from './hub.ts';
import { MESSAGE_BYTES, topicBytes, TopicPublisher } from './topic-publisher.ts';
import { Topics, type TopicsSettings } from './topics.ts';

const BOUNDLESS = { totalBytesMax: Infinity, clientBytesMax: Infinity };

function setUp(settings: Partial<TopicsSettings> = {}, history: MemoryBounds['history'] = BOUNDLESS) {
  const memory = new MemoryLedger({
    history,
    session: BOUNDLESS,
    incoming: BOUNDLESS,
    frames: BOUNDLESS,
    channels: BOUNDLESS,
  });
  const clock = new ManualClock(1_000);
  const hub = new Hub({ clock, streamsMax: 100, random: seededRandom(1) });
  const topics = new Topics({
    hub,
    clock,
    random: seededRandom(2),
    memory,
    settings: {
      topicsMax: 3,
      historyMessages: 4,
      historyBytesMax: 100 + 4 * MESSAGE_BYTES,
      historyDepartedBytesMax: Infinity,
      topicIdleMs: 60_000,
      readersMax: 10,
      ...settings,
    },
  });
  const publish = (topic: string, bytes = 1, publisher?: TopicPublisher) =>
    topics.publish(topic, { payload: Payload.bytes(new Uint8Array(bytes)) }, publisher).seq;
  const join = (client: string) => new TopicPublisher(memory.open('telemetry', client));
  return { clock, hub, topics, publish, memory, join };
}

describe('topics', () => {
  test('number their messages from 1 without gaps, each topic by itself', () => {
    const { publish, topics } = setUp();
    expect([publish('a'), publish('a'), publish('b'), publish('a')]).toEqual([1, 2, 1, 3]);
    expect(topics.get('a')).toMatchObject({ name: 'a', number: 1, lastSeq: 3 });
    expect(topics.get('b')!.epoch).not.toBe(topics.get('a')!.epoch);
    expect(topics.list().map(({ name }) => name)).toEqual(['a', 'b']);
  });

  test('fill in what a message does not say', () => {
    const { topics } = setUp();
    topics.publish('a', { payload: Payload.of(1) });
    topics.publish('a', { payload: Payload.of(2), timeMs: 7, priority: 3, ttlMs: 50 });
    const [first, second] = [...topics.get('a')!.stream.history(0)];
    expect(first).toMatchObject({
      seq: 1,
      priority: 1,
      deadlineMs: Infinity,
      data: { timeMs: 1_000 },
    });
    expect(second).toMatchObject({ seq: 2, priority: 3, deadlineMs: 1_050, data: { timeMs: 7, bytesBefore: 1 } });
  });

  test('remember as many messages and bytes as they may, and the newest message whatever its size', () => {
    const { publish, topics } = setUp();
    for (let i = 0; i < 6; i++) publish('a');
    const { stream } = topics.get('a')!;
    expect([stream.oldest, stream.head]).toEqual([2, 6]);
    publish('a', 98 + MESSAGE_BYTES);
    expect(topics.get('a')!.stats()).toMatchObject({
      history_messages: 3,
      history_bytes: 100 + 4 * MESSAGE_BYTES,
      published_bytes: 104 + MESSAGE_BYTES,
    });
    publish('a', 9_500);
    expect(topics.get('a')!.stats()).toMatchObject({ history_messages: 1, history_bytes: 9_500 + MESSAGE_BYTES });
  });

  test('there are only so many, and one that is bad is none', () => {
    const { publish, topics } = setUp();
    for (const name of ['a', 'b', 'c']) publish(name);
    expect(() => publish('d')).toThrow(expect.objectContaining({ code: 'TOPIC_LIMIT_REACHED' }));
    expect(() => publish('a/+')).toThrow(expect.objectContaining({ code: 'TOPIC_BAD' }));
    expect(topics.size).toBe(3);
  });

  test('one that nobody reads or publishes to is forgotten, and begins anew', () => {
    const { clock, publish, topics } = setUp();
    publish('used');
    publish('read');
    publish('idle');
    const { epoch } = topics.get('idle')!;
    const reader = topics.get('read')!.stream.subscribeRanges({ contract: { kind: 'all' } });
    clock.advance(59_999);
    publish('used');
    topics.sweep();
    expect(topics.size).toBe(3);
    clock.advance(1);
    topics.sweep();
    expect(topics.list().map(({ name }) => name)).toEqual(['used', 'read']);
    expect(topics.forgotten).toBe(1);
    expect(topics.historyBytes).toBe(3 * (1 + MESSAGE_BYTES) + topicBytes('used') + topicBytes('read'));
    expect(publish('idle')).toBe(1);
    expect(topics.get('idle')!.epoch).not.toBe(epoch);
    reader.close();
  });
});

test('a topic counts as its maker’s until it is forgotten, whoever else publishes on it', () => {
  const { clock, topics, join } = setUp();
  const [one, other] = [join('one'), join('other')];
  const input = { payload: Payload.of(1) };
  topics.publish('a', input, one);
  topics.publish('a', input, other);
  topics.publish('b', input, other);
  expect([one.topicsMade, other.topicsMade]).toEqual([1, 1]);
  clock.advance(60_000);
  topics.publish('b', input, one);
  topics.sweep();
  expect([one.topicsMade, other.topicsMade]).toEqual([0, 1]);
  topics.close();
  expect([one.topicsMade, other.topicsMade]).toEqual([0, 0]);
});

test('a message without a time of its own gets the time of day, also after the wall clock was set', () => {
  const { clock, topics, publish } = setUp();
  clock.stepWall(-900);
  publish('a');
  clock.stepWall(5_000);
  publish('a');
  const samples = [...topics.get('a')!.stream.history(0)];
  expect(samples.map(({ data }) => data.timeMs)).toEqual([100, 5_100]);
  expect(samples.map(({ publishedTimeMs }) => publishedTimeMs)).toEqual([1_000, 1_000]);
});

describe('watchers', () => {
  test('are told of the topics that are there, then of each new one before its first message', () => {
    const { publish, topics } = setUp();
    publish('a/1');
    publish('b');
    const seen: [string, number][] = [];
    const unwatch = topics.watch('a/+', (topic) => seen.push([topic.name, topic.lastSeq]));
    const unwatchPlain = topics.watch('a/2', (topic) => seen.push([`plain ${topic.name}`, topic.lastSeq]));
    expect(seen).toEqual([['a/1', 1]]);
    publish('a/2');
    expect(seen.slice(1)).toEqual([
      ['plain a/2', 0],
      ['a/2', 0],
    ]);
    unwatch();
    unwatchPlain();
    topics.get('a/2')!.stream.close();
    expect(seen).toHaveLength(3);
    expect(() => topics.watch('a/#/b', () => {})).toThrow(expect.objectContaining({ code: 'FILTER_BAD' }));
  });

  test('listeners are told after each message', () => {
    const { publish, topics } = setUp();
    const seen: number[] = [];
    const unlisten = topics.listen((topic, sample) => seen.push(sample.seq, topic.lastSeq));
    publish('a');
    publish('a');
    unlisten();
    publish('a');
    expect(seen).toEqual([1, 1, 2, 2]);
  });

  test('closing closes the streams, and is idempotent', () => {
    const { hub, publish, topics } = setUp();
    publish('a');
    topics.close();
    topics.close();
    expect([hub.list().length, topics.size, topics.historyBytes]).toEqual([0, 0, 0]);
  });
});

test('a reader that tells of its losses is told of what is trimmed', () => {
  const { publish, topics } = setUp();
  publish('a');
  const told: number[] = [];
  const { stream } = topics.get('a')!;
  const reader = stream.subscribe({ contract: { kind: 'all' }, from: 0, onLost: (seqs) => told.push(...seqs) });
  publish('a');
  publish('a', 99 + MESSAGE_BYTES);
  expect(told).toEqual([1]);
  expect([reader.next()!.seq, reader.next()!.seq, reader.next()]).toEqual([2, 3, undefined]);
  expect(reader.counts()).toMatchObject({ published: 3, delivered: 2, dropped: { overflow: 1 } });
});

describe('histories are charged to who has published', () => {
  const MESSAGE = 10_000 - MESSAGE_BYTES;

  test('and bounded for each: its larger topics are halved, other publishers keep theirs', () => {
    const { publish, join, memory } = setUp(
      { historyMessages: 100, historyBytesMax: Infinity },
      { totalBytesMax: Infinity, clientBytesMax: 102_500 },
    );
    const [quiet, loud] = [join('quiet'), join('loud')];
    publish('q', MESSAGE, quiet);
    for (let i = 0; i < 10; i++) publish('l', MESSAGE, loud);
    expect([quiet.memory.bytes('history'), loud.memory.bytes('history')]).toEqual([12_401, 102_401]);
    publish('l', MESSAGE, loud);
    expect([quiet.memory.bytes('history'), loud.memory.bytes('history')]).toEqual([12_401, 52_401]);
    expect(memory.bytes('history')).toBe(64_802);
  });

  test('also where each topic has its newest message alone', () => {
    const { publish, join, topics } = setUp(
      { topicsMax: 1_000, historyBytesMax: 1 },
      { totalBytesMax: 200_000, clientBytesMax: Infinity },
    );
    const [quiet, loud] = [join('quiet'), join('loud')];
    publish('q', MESSAGE, quiet);
    for (let i = 0; i < 30; i++) publish(`l/${i}`, MESSAGE, loud);
    expect(topics.historyBytes).toBeLessThanOrEqual(200_000);
    expect(topics.get('q')!.stats().history_messages).toBe(1);
    expect(topics.get('l/29')!.stats().history_messages).toBe(1);
  });

  test('whoever has most gives way, also where somebody else has published last on each of its topics', () => {
    const { publish, join, topics } = setUp(
      { topicsMax: 100, historyMessages: 100, historyBytesMax: Infinity },
      { totalBytesMax: 400_000, clientBytesMax: Infinity },
    );
    const [quiet, loud] = [join('quiet'), join('loud')];
    for (let i = 0; i < 36; i++) publish(`t/${i % 9}`, MESSAGE, loud);
    for (let i = 0; i < 9; i++) publish(`t/${i}`, 1, quiet);
    publish('q', MESSAGE, quiet);
    expect(topics.historyBytes).toBeGreaterThan(395_000);
    publish('q', MESSAGE, quiet);
    expect(topics.historyBytes).toBeLessThan(400_000);
    expect(topics.get('q')!.stats().history_messages).toBe(2);
  });

  test('who has gone leaves them to all that have gone, who have one bound together', () => {
    const { publish, join, topics, memory } = setUp({ historyBytesMax: Infinity, historyDepartedBytesMax: 40_000 });
    const [small, large] = [join('small'), join('large')];
    publish('s', 100, small);
    for (let i = 0; i < 4; i++) publish('l', MESSAGE, large);
    topics.depart(small);
    expect([small.memory.bytes('history'), memory.estate.bytes('history')]).toEqual([0, 2_401 + 100 + MESSAGE_BYTES]);
    topics.depart(large);
    expect(large.memory.bytes('history')).toBe(0);
    expect(memory.estate.bytes('history')).toBe(2 * 2_401 + 100 + MESSAGE_BYTES + 20_000);
    expect(topics.get('s')!.stats().history_messages).toBe(1);
  });

  test('of several publishers of one topic each has its own messages', () => {
    const { publish, join, topics } = setUp({ historyMessages: 2, historyBytesMax: Infinity });
    const [one, other] = [join('one'), join('other')];
    publish('a', 10, one);
    publish('a', 20, other);
    expect([one, other].map(({ memory }) => memory.bytes('history'))).toEqual([
      topicBytes('a') + 10 + MESSAGE_BYTES,
      20 + MESSAGE_BYTES,
    ]);
    publish('a', 30, one);
    publish('a', 40, one);
    expect([one, other].map(({ memory }) => memory.bytes('history'))).toEqual([
      topicBytes('a') + 70 + 2 * MESSAGE_BYTES,
      0,
    ]);
    publish('a', 50, other);
    expect(other.memory.bytes('history')).toBe(50 + MESSAGE_BYTES);
    topics.depart(one);
    topics.close();
    expect([one, other].map(({ memory }) => memory.bytes('history'))).toEqual([0, 0]);
    expect(topics.historyBytes).toBe(0);
  });

  test('where all topics are taken, one gives way that was left or whose maker has more than the newcomer', () => {
    const { clock, publish, join, topics } = setUp();
    const [one, other] = [join('one'), join('other')];
    for (const name of ['a', 'b', 'c']) {
      publish(name, 1, one);
      clock.advance(1);
    }
    publish('d', 1, other);
    expect(topics.list().map(({ name }) => name)).toEqual(['b', 'c', 'd']);
    expect(() => publish('e', 1, one)).toThrow(expect.objectContaining({ code: 'TOPIC_LIMIT_REACHED' }));
    topics.depart(one);
    publish('e', 1, other);
    expect(topics.list().map(({ name }) => name)).toEqual(['c', 'd', 'e']);
  });

  test('which one gives way is always the one that was not used for longest, of whom it may be', () => {
    const TOPICS = 90;
    const random = seededRandom(29);
    const { clock, publish, join, topics } = setUp({ topicsMax: TOPICS, topicIdleMs: Infinity });
    const ESTATE = 'estate';
    const publishers = Array.from({ length: 6 }, (_, i) => ({ name: `p${i}`, publisher: join(`p${i}`) }));
    const known = new Map<string, { maker: string; usedMs: number }>();
    const made = (maker: string) => [...known.values()].filter((topic) => topic.maker === maker).length;
    const idlest = (maker: string) =>
      [...known].filter(([, topic]) => topic.maker === maker).toSorted(([, a], [, b]) => a.usedMs - b.usedMs)[0]?.[0];
    const outcomes = { left: 0, most: 0, none: 0 };
    for (let i = 0; i < 5_000; i++) {
      clock.advance(1);
      const { name: maker, publisher } = publishers[Math.floor(random() ** 2 * publishers.length)]!;
      if (random() < 0.002) {
        topics.depart(publisher);
        for (const topic of known.values()) if (topic.maker === maker) topic.maker = ESTATE;
        continue;
      }
      const name = random() < 0.4 ? [...known.keys()][Math.floor(random() * known.size)] : undefined;
      if (name !== undefined) {
        publish(name, 1, publisher);
        known.get(name)!.usedMs = clock.now();
        continue;
      }
      let isRefused = false;
      if (known.size === TOPICS) {
        const most = Math.max(...publishers.map((one) => made(one.name)));
        const mayTake = most > made(maker) + 1;
        const richest = publishers.filter((one) => made(one.name) === most).map((one) => idlest(one.name)!);
        const left = idlest(ESTATE);
        const victims = left === undefined ? (mayTake ? richest : []) : [left];
        const before = new Set(known.keys());
        isRefused = victims.length === 0;
        if (isRefused) {
          expect(() => publish(`t${i}`, 1, publisher)).toThrow(
            expect.objectContaining({ code: 'TOPIC_LIMIT_REACHED' }),
          );
        } else {
          publish(`t${i}`, 1, publisher);
          const gone = [...before].filter((one) => topics.get(one) === undefined);
          expect(gone).toHaveLength(1);
          expect(victims).toContain(gone[0]);
          known.delete(gone[0]!);
        }
        outcomes[isRefused ? 'none' : left === undefined ? 'most' : 'left']++;
      } else publish(`t${i}`, 1, publisher);
      if (!isRefused) known.set(`t${i}`, { maker, usedMs: clock.now() });
    }
    for (const count of Object.values(outcomes)) expect(count).toBeGreaterThan(20);
  });
});
