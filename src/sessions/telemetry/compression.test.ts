import { describe, expect, test } from 'vitest';
import { ManualClock } from '../../base/clock.ts';
import { seededRandom } from '../../base/random.ts';
import type { BatchMessage, Compressors, Decompressors } from '../../protocol/batch.ts';
import { BatchDrafts } from '../../protocol/batch-drafts.ts';
import { Payload } from '../../protocol/payload.ts';
import { SchemaBook } from '../../protocol/schema-book.ts';
import type { PayloadCodec } from '../../protocol/telemetry.ts';
import { Hub } from '../../stream/hub.ts';
import { Topics, type Topic } from '../../stream/topics.ts';
import { compressors, decompressors } from '../compression.ts';
import { CompressionChoice, type CompressionSettings } from './compression.ts';

const SETTINGS: CompressionSettings = { compression: 'auto', compressionThresholdBytes: 512, nsPerByte: 80 };

/** Compression takes as long as is said here, so that no machine decides. */
function setUp(settings: Partial<CompressionSettings> = {}, costMs = { lz4: 0.01, zlib: 0.05 }) {
  const clock = new ManualClock(1_000);
  let tried = 0;
  const timed: { pack: Compressors; unpack: Decompressors } = { pack: {}, unpack: {} };
  for (const kind of ['lz4', 'zlib'] as const) {
    timed.pack[kind] = (plain) => {
      clock.advance(costMs[kind]);
      tried++;
      return compressors[kind]!(plain);
    };
    timed.unpack[kind] = (packed, size) => {
      clock.advance(costMs[kind]);
      return decompressors[kind]!(packed, size);
    };
  }
  const choice = new CompressionChoice({ ...SETTINGS, ...settings }, timed.pack, timed.unpack, () => clock.now());
  const topics = new Topics({
    hub: new Hub({ clock, streamsMax: 10 }),
    clock,
    random: seededRandom(1),
    settings: {
      topicsMax: 10,
      historyMessages: 10,
      historyBytesMax: 1e6,
      historyDepartedBytesMax: 1e6,
      topicIdleMs: 1e9,
      readersMax: 10,
    },
  });
  const topic = (name: string): Topic => {
    topics.publish(name, { payload: Payload.of(1) });
    return topics.get(name)!;
  };
  return { clock, choice, topic, tried: () => tried };
}

function draftOf(topic: Topic, values: readonly unknown[], codecs: readonly PayloadCodec[] = ['msgpack']) {
  const drafts = new BatchDrafts<Topic>(new SchemaBook(10), codecs);
  const messages = values.map((value): BatchMessage => ({ timeMs: 1, priority: 1, payload: Payload.of(value) }));
  drafts.add(topic, { topicId: 1, epoch: 1, firstSeq: 1 }, messages);
  return drafts.drafts[0]!;
}

const talk = Array.from({ length: 30 }, (_, i) => `something that is said again and again, the ${i}th time`);

describe('auto', () => {
  test('takes what costs a reader the least: more work for fewer bytes on a slow line', () => {
    const slow = setUp({ nsPerByte: 8_000 });
    expect(slow.choice.choose(slow.topic('a'), draftOf(slow.topic('a'), talk))).toBe('zlib');
    const middling = setUp({ nsPerByte: 100 });
    expect(middling.choice.choose(middling.topic('a'), draftOf(middling.topic('a'), talk))).toBe('lz4');
    const fast = setUp({ nsPerByte: 0.1 });
    expect(fast.choice.choose(fast.topic('a'), draftOf(fast.topic('a'), talk))).toBe('none');
  });

  test('leaves packed columns as they are', () => {
    const { choice, topic } = setUp({ nsPerByte: 8_000 });
    const random = seededRandom(5);
    const numbers = Array.from({ length: 40 }, () => ({ a: random(), b: random(), c: random(), d: random() }));
    const draft = draftOf(topic('a'), numbers, ['columns', 'msgpack']);
    expect(draft.codec).toBe('columns');
    expect(choice.choose(topic('a'), draft)).toBe('none');
  });

  test('tries again soon when batches have become larger: one message alone has little that repeats', () => {
    const { choice, topic, clock } = setUp();
    const random = seededRandom(5);
    const letters = () =>
      Array.from({ length: 600 }, () => String.fromCharCode(97 + Math.floor(random() * 26))).join('');
    const word = letters();
    expect(choice.choose(topic('a'), draftOf(topic('a'), [word]))).toBe('none');
    clock.advance(100);
    expect(choice.choose(topic('a'), draftOf(topic('a'), [word]))).toBe('none');
    expect(choice.choose(topic('a'), draftOf(topic('a'), [word, word, word]))).toBe('lz4');
  });

  test('tries each topic once in a while, and not all of them at once', () => {
    const { choice, topic, clock, tried } = setUp();
    const draft = draftOf(topic('a'), talk);
    choice.choose(topic('a'), draft);
    const once = tried();
    choice.choose(topic('a'), draft);
    expect(tried()).toBe(once);
    expect(choice.choose(topic('b'), draftOf(topic('b'), talk))).toBe('lz4');
    expect(tried()).toBe(once);
    clock.advance(1_000);
    choice.choose(topic('b'), draftOf(topic('b'), talk));
    expect(tried()).toBe(2 * once);
    clock.advance(30_000);
    choice.choose(topic('a'), draft);
    expect(tried()).toBe(3 * once);
  });
});

test('what is small is not compressed, whatever is set', () => {
  for (const compression of ['auto', 'lz4', 'zlib'] as const) {
    const { choice, topic, tried } = setUp({ compression });
    expect(choice.choose(topic('a'), draftOf(topic('a'), ['short']))).toBe('none');
    expect(tried()).toBe(0);
  }
});

test('what gains nothing rests, and is tried again', () => {
  const { choice, topic } = setUp({ compression: 'lz4' });
  const chosen: string[] = [];
  for (let i = 0; i < 80; i++) {
    const compression = choice.choose(topic('a'), draftOf(topic('a'), talk));
    chosen.push(compression);
    if (compression !== 'none') choice.learn(topic('a'), false);
  }
  expect(chosen.filter((compression) => compression === 'lz4')).toHaveLength(4 + Math.floor((80 - 4) / 65));
  choice.learn(topic('a'), true);
  expect(choice.choose(topic('b'), draftOf(topic('b'), talk))).toBe('lz4');
});
