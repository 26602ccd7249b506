import { expect, test } from 'vitest';
import { ManualClock } from '../../base/clock.ts';
import { seededRandom } from '../../base/random.ts';
import { TimeAccount, Turns } from '../../fences/turns.ts';
import { Payload } from '../../protocol/payload.ts';
import { Hub } from '../../stream/hub.ts';
import { Topics } from '../../stream/topics.ts';
import { RangeEncoder, type EncodedRange } from './encoder.ts';
import { FanoutGroup, FanoutMember, type MemberOutbox } from './fanout-group.ts';
import { QueueGroups } from './queue-groups.ts';
import { Rounds } from './rounds.ts';
import type { SocketWriter } from './socket-writer.ts';
import { SubscribedTopic } from './subscribed-topic.ts';
import { wireFormatOf } from './wire-format.ts';

function setUp() {
  const clock = new ManualClock(0);
  const encoder = new RangeEncoder({
    compression: 'none',
    compressionThresholdBytes: 0,
    nsPerByte: 80,
    compressors: {},
    decompressors: {},
    now: () => 0,
    cacheBytesMax: 1e6,
  });
  const settings = { batchMessagesMax: 50, batchBytesMax: 1e6, socketBytesMax: 1e6, batchDelayMs: 5 };
  const queueGroups = new QueueGroups({ clock, encoder, settings });
  const turns = new Turns({ clock, schedule: () => undefined });
  const rounds = new Rounds({ clock, turns, encoder, settings, queueGroups });
  const topics = new Topics({
    hub: new Hub({ clock, streamsMax: 10 }),
    clock,
    random: seededRandom(1),
    settings: {
      topicsMax: 10,
      historyMessages: 100,
      historyBytesMax: 1e6,
      historyDepartedBytesMax: 1e6,
      topicIdleMs: 1e9,
      readersMax: 10,
    },
  });
  topics.listen((topic, sample) => rounds.onPublished(topic, sample));
  const publish = (name: string): void => void topics.publish(name, { payload: Payload.of('x') });
  return { rounds, topics, queueGroups, publish, encoder, settings };
}

test('a publication marks the groups that read its topic itself: a round finds them marked', () => {
  const { rounds, topics, queueGroups, publish } = setUp();
  publish('a');
  publish('b');
  const sent: number[] = [];
  const writer = { canTake: true, unsentBytes: 0, control: () => undefined, send: () => void sent.push(1) };
  const subscription = { id: 1, filter: '#', contract: 'all', format: wireFormatOf('sightline.v1.json') } as const;
  const member = queueGroups.join('workers', { subscription, writer: writer as unknown as SocketWriter });
  member.take(topics.get('a')!, 1);
  expect(queueGroups.hasWork).toBe(false);
  publish('b');
  expect(queueGroups.hasWork).toBe(false);
  publish('a');
  expect([queueGroups.hasWork, sent]).toEqual([true, []]);
  rounds.flushAll();
  expect([queueGroups.hasWork, sent]).toEqual([false, [1]]);
  rounds.close();
});

test('a fan-out group that has got everything in the middle of a round sends no batch of no messages in the next one', () => {
  const { topics, publish, encoder, settings } = setUp();
  publish('a');
  const topic = topics.get('a')!;
  const sent: string[] = [];
  const outbox = {
    time: new TimeAccount(),
    writer: { send: ({ bytes }: EncodedRange) => void sent.push(bytes.toString()) },
    isIdle: () => true,
  } as unknown as MemberOutbox;
  const subscription = { id: 1, filter: 'a', contract: 'all', format: wireFormatOf('sightline.v1.json') } as const;
  const reader = topic.stream.subscribeRanges({ contract: { kind: 'all' } });
  const parts = { subscription, sender: outbox, topic, topicId: 1, isBackfill: false, needsOwnBatches: false, reader };
  const member = new FanoutMember(outbox);
  member.add(new SubscribedTopic(parts));
  const group = new FanoutGroup({ encoder, settings, leave: () => {} }, member.key!, member.topics);
  expect(group.join(member)).toBe(true);
  publish('a');
  for (let round = 0; round < 2; round++) {
    group.mark(topic, topic.stream.head);
    group.flush(0);
  }
  expect(sent).toEqual([expect.stringContaining('"seq":2')]);
});
