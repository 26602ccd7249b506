import { describe, expect, test } from 'vitest';
import { ManualClock, systemClock } from '../base/clock.ts';
import { seededRandom } from '../base/random.ts';
import { boundless, MemoryLedger, type MemoryAccount, type MemoryBound } from '../fences/memory-ledger.ts';
import { Payload } from '../protocol/payload.ts';
import { Hub } from '../stream/hub.ts';
import { TopicPublisher } from '../stream/topic-publisher.ts';
import { Topics } from '../stream/topics.ts';
import { CHANNEL_BYTES, ChannelCatalogue, type CatalogueCursor } from './foxglove-channels.ts';
import type { FoxgloveChannel } from './foxglove-wire.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

function setUp(channels: MemoryBound = boundless().bounds.channels, topicsMax = 1_000) {
  const clock = new ManualClock(1_000);
  const memory = new MemoryLedger({ ...boundless().bounds, channels });
  const topics = new Topics({
    hub: new Hub({ clock, streamsMax: 2 * topicsMax }),
    clock,
    random: seededRandom(1),
    memory,
    settings: {
      topicsMax,
      historyMessages: 10,
      historyBytesMax: 1e9,
      historyDepartedBytesMax: 1e9,
      topicIdleMs: 10_000,
      readersMax: 10,
    },
  });
  const removed: number[] = [];
  let news = 0;
  const catalogue = new ChannelCatalogue(topics, memory, () => systemClock.now(), {
    onNews: () => news++,
    onRemoved: (ids) => removed.push(...ids),
  });
  const join = (name: string) => {
    const account = memory.open('telemetry', name);
    return { account, publisher: new TopicPublisher(account) };
  };
  const publish = (name: string, value: unknown, publisher?: TopicPublisher) =>
    topics.publish(name, { payload: Payload.of(value) }, publisher);
  /** All topics have been looked at. */
  const settled = async () => {
    for (let before = -1; before !== news;) {
      before = news;
      await turn();
    }
  };
  const forgetAll = () => {
    clock.advance(10_000);
    topics.sweep();
    catalogue.sweep();
  };
  return { clock, memory, topics, catalogue, removed, join, publish, settled, forgetAll };
}

interface Told {
  readonly op: string;
  readonly channels?: FoxgloveChannel[];
  readonly channelIds?: number[];
}

/** What a viewer is told until there is nothing new. */
function read(catalogue: ChannelCatalogue, cursor: CatalogueCursor): Told[] {
  const told: Told[] = [];
  for (let message = catalogue.next(cursor); message !== undefined; message = catalogue.next(cursor)) {
    told.push(message === 'lost' ? { op: 'lost' } : (JSON.parse(message.toString()) as Told));
    if (message === 'lost') break;
  }
  return told;
}

const namesIn = (told: readonly Told[]) => told.flatMap(({ channels = [] }) => channels.map(({ topic }) => topic));
const long = (n: number) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`key${i}${'z'.repeat(400)}`, i]));

describe('a viewer', () => {
  test('is told of all channels, page by page, and then of what is new', async () => {
    const { catalogue, publish, settled } = setUp();
    catalogue.open();
    for (let i = 0; i < 30; i++) publish(`t/${i}`, long(20));
    await settled();
    const cursor = catalogue.begin();
    const pages = read(catalogue, cursor);
    expect(namesIn(pages)).toEqual(Array.from({ length: 30 }, (_, i) => `t/${i}`));
    expect(pages.length).toBeGreaterThan(5);
    expect(Math.max(...pages.map((page) => JSON.stringify(page).length))).toBeLessThan(64 * 1024);
    publish('new', { gps: { lat: 1, lon: 2 } });
    await settled();
    expect(namesIn(read(catalogue, cursor))).toEqual(['new', 'new.gps']);
    expect(read(catalogue, cursor)).toEqual([]);
  });

  test('shares its messages with others that stand where it does, also when more has come meanwhile', async () => {
    const { catalogue, publish, settled } = setUp();
    catalogue.open();
    const [one, other] = [catalogue.begin(), catalogue.begin()];
    publish('a', { n: 1 });
    await settled();
    const message = catalogue.next(one);
    expect(catalogue.next(other)).toBe(message);
    publish('b', { n: 1 });
    await settled();
    const late = catalogue.begin();
    expect(namesIn(read(catalogue, late))).toEqual(['a', 'b']);
    expect(namesIn(read(catalogue, one))).toEqual(['b']);
  });

  test('that was away is told what has gone of what it knew, and nothing of what came and went meanwhile', async () => {
    const { catalogue, publish, settled, forgetAll, removed } = setUp();
    catalogue.open();
    publish('a', { n: 1 });
    await settled();
    const cursor = catalogue.begin();
    const [{ channels }] = read(catalogue, cursor) as [Told];
    forgetAll();
    publish('b', { n: 1 });
    await settled();
    forgetAll();
    publish('c', { n: 1 });
    await settled();
    expect(removed).toHaveLength(2);
    const told = read(catalogue, cursor);
    expect(told[0]).toEqual({ op: 'unadvertise', channelIds: [channels![0]!.id] });
    expect(namesIn(told)).toEqual(['c']);
    expect(read(catalogue, cursor)).toEqual([]);
  });

  test('that lags behind more removals than are remembered is lost; one that has followed is not', async () => {
    const { catalogue, publish, settled, forgetAll } = setUp(undefined, 6_000);
    catalogue.open();
    const [deaf, awake] = [catalogue.begin(), catalogue.begin()];
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 5_000; i++) publish(`${round}/${i}`, i);
      await settled();
      read(catalogue, awake);
      forgetAll();
    }
    expect(read(catalogue, deaf)).toEqual([{ op: 'lost' }]);
    expect(read(catalogue, awake).map(({ op, channelIds }) => [op, channelIds!.length])).toEqual([
      ['unadvertise', 5_000],
    ]);
    expect(read(catalogue, awake)).toEqual([]);
  });
});

describe('memory', () => {
  const bound = { totalBytesMax: 40_000, clientBytesMax: 15_000 };
  const schemasOf = (told: readonly Told[]) =>
    told.flatMap(({ channels = [] }) => channels.map(({ topic, schema }) => [topic, schema.length > 100] as const));

  test('is charged to who made the topic; over a bound further topics have no schema and no views', async () => {
    const { catalogue, publish, settled, join, memory } = setUp(bound);
    const [greedy, modest] = [join('greedy'), join('modest')];
    catalogue.open();
    for (let i = 0; i < 10; i++) publish(`greedy/${i}`, { ...long(5), gps: { lat: 1, lon: 2 } }, greedy.publisher);
    publish('modest', { gps: { lat: 1, lon: 2 }, pose: { x: 1, y: 2, heading: 3 } }, modest.publisher);
    await settled();
    const told = schemasOf(read(catalogue, catalogue.begin()));
    const withSchema = told.filter(([topic, hasSchema]) => topic.startsWith('greedy/') && hasSchema);
    expect(withSchema.length).toBeGreaterThan(2);
    expect(told.filter(([topic]) => /^greedy\/\d$/.test(topic))).toHaveLength(10);
    expect(told.at(-4)).toEqual(['greedy/9', false]);
    expect(told.slice(-3)).toEqual([
      ['modest', true],
      ['modest.gps', true],
      ['modest.pose', true],
    ]);
    expect(greedy.account.bytes('channels')).toBeLessThan(bound.clientBytesMax + 10 * (CHANNEL_BYTES + 100));
    expect(memory.refusals.channels).toBeGreaterThan(0);
    expect(memory.bytes('channels')).toBe(greedy.account.bytes('channels') + modest.account.bytes('channels'));
    catalogue.close();
    expect(memory.bytes('channels')).toBe(0);
  });

  test('goes to the estate with the topics of a client that has gone, and is given back with them', async () => {
    const { catalogue, publish, settled, join, memory, topics, forgetAll } = setUp();
    const one = join('one');
    catalogue.open();
    publish('a', { n: 1 }, one.publisher);
    await settled();
    const bytes = one.account.bytes('channels');
    expect(bytes).toBeGreaterThan(CHANNEL_BYTES);
    topics.depart(one.publisher);
    one.account.close();
    publish('b', { n: 1 });
    await settled();
    expect([memory.estate.bytes('channels'), memory.bytes('channels')]).toEqual([bytes, 2 * bytes]);
    forgetAll();
    expect([memory.estate.bytes('channels'), memory.bytes('channels')]).toEqual([0, 0]);
  });
});

test('an account that is closed is not that of a topic any more', () => {
  const { join, publish, topics } = setUp();
  const one = join('one');
  publish('a', 1, one.publisher);
  const keeperOf = (): MemoryAccount => topics.get('a')!.keeper;
  expect(keeperOf()).toBe(one.account);
  topics.depart(one.publisher);
  one.account.close();
  expect(keeperOf().isClosed).toBe(false);
});
