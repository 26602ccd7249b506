import { describe, expect, test } from 'vitest';
import { ManualClock } from '../../base/clock.ts';
import { seededRandom } from '../../base/random.ts';
import { unframed } from '../../../test/support/frames.ts';
import { decodeBatch, decodeBatchHeader } from '../../protocol/batch.ts';
import { Payload } from '../../protocol/payload.ts';
import { Hub } from '../../stream/hub.ts';
import { Topics } from '../../stream/topics.ts';
import { compressors, decompressors } from '../compression.ts';
import { RangeEncoder } from './encoder.ts';
import { wireFormatOf } from './wire-format.ts';

function setUp(cacheBytesMax = 1e6) {
  const clock = new ManualClock(1_000);
  const topics = new Topics({
    hub: new Hub({ clock, streamsMax: 10 }),
    clock,
    random: seededRandom(1),
    settings: {
      topicsMax: 10,
      historyMessages: 1_000,
      historyBytesMax: 1e8,
      historyDepartedBytesMax: 1e9,
      topicIdleMs: 1e9,
      readersMax: 10,
    },
  });
  const tried: number[] = [];
  const counted = {
    lz4: (plain: Uint8Array) => {
      tried.push(plain.length);
      return compressors.lz4!(plain);
    },
  };
  const options = {
    compression: 'lz4',
    compressionThresholdBytes: 512,
    nsPerByte: 80,
    cacheBytesMax,
    decompressors,
    now: () => clock.now(),
  } as const;
  return { topics, tried, encoder: new RangeEncoder({ ...options, compressors: counted }) };
}

const BINARY = wireFormatOf('sightline.v1.binary');

describe('ranges', () => {
  test('are encoded once for all who want the same, and anew for who wants another form', () => {
    const { topics, encoder } = setUp();
    topics.publish('a', { payload: Payload.of(1) });
    const topic = topics.get('a')!;
    const span = { from: 0, to: 1 };
    const first = encoder.encode([{ topic, topicId: 16, ...span }], BINARY);
    expect(encoder.encode([{ topic, topicId: 16, ...span }], wireFormatOf('sightline.v1.binary'))).toBe(first);
    expect(encoder.encode([{ topic, topicId: 16, ...span }], wireFormatOf('sightline.v1.binary', ['json']))).not.toBe(
      first,
    );
    expect(encoder.encode([{ topic, topicId: 17, ...span }], BINARY)).not.toBe(first);
    expect(encoder.encode([{ topic, topicId: 16, ...span }], wireFormatOf('sightline.v1.json'))).not.toBe(first);
    expect([encoder.encoded, encoder.reused]).toEqual([4, 1]);
  });

  test('are forgotten, oldest first, when there are too many bytes', () => {
    const { topics, encoder } = setUp(250);
    for (let i = 0; i < 3; i++) topics.publish('a', { payload: Payload.bytes(new Uint8Array(80)) });
    const topic = topics.get('a')!;
    const at = (from: number) => encoder.encode([{ topic, topicId: 16, from, to: from + 1 }], BINARY);
    const [first, second] = [at(0), at(1)];
    expect([at(0), at(1)]).toEqual([first, second]);
    at(2);
    expect(at(1)).not.toBe(second);
  });

  test('are forgotten when nobody has made them anew for a while', () => {
    const { topics, encoder } = setUp();
    for (let i = 0; i < 2; i++) topics.publish('a', { payload: Payload.bytes(new Uint8Array(80)) });
    const topic = topics.get('a')!;
    const at = (from: number) => encoder.encode([{ topic, topicId: 16, from, to: from + 1 }], BINARY);
    const first = at(0);
    encoder.age();
    expect(at(0)).toBe(first);
    const second = at(1);
    encoder.age();
    expect([at(0) === first, at(1) === second]).toEqual([false, true]);
  });

  test('change their codec and layout in the middle, as the messages do', () => {
    const { topics, encoder } = setUp();
    const values = [
      { a: 1, b: 2, c: 3, d: 4 },
      { a: 2, b: 2, c: 3, d: 4 },
      'text',
      { a: 3, b: 2, c: 3, d: 4 },
      { w: 1, x: 2, y: 3, z: 4 },
      { w: 1, x: 2, y: 3, z: 5 },
      { w: 1, x: 2, y: 3, z: 6 },
    ];
    for (const value of values) topics.publish('a', { payload: Payload.of(value) });
    topics.publish('a', { payload: Payload.bytes(Uint8Array.of(9)) });
    const range = encoder.encode([{ topic: topics.get('a')!, topicId: 16, from: 0, to: 8 }], BINARY);
    const schemas = new Map(range.schemas.map(({ id, fields }) => [id, fields]));
    const batches = unframed(range.bytes).map((frame) => decodeBatch(frame, (id) => schemas.get(id), decompressors));
    expect(batches.flatMap(({ messages }) => messages.map(({ payload }) => payload.value()))).toMatchObject([
      ...values,
      Buffer.of(9),
    ]);
    let seq = 1;
    for (const { envelope, messages } of batches) {
      expect(envelope.sections).toMatchObject([{ topicId: 16, firstSeq: seq, count: messages.length }]);
      seq += messages.length;
    }
    expect(batches[0]!.envelope.codec).toBe('columns');
    expect(batches.at(-1)!.envelope.codec).toBe('bytes');
    expect(range.schemas.length).toBe(2);
  });

  test('of several topics share a batch where their messages have one shape', () => {
    const { topics, encoder } = setUp();
    const names = ['a', 'b', 'text', 'c'];
    for (const [i, name] of names.entries()) {
      const value = name === 'text' ? 'some text' : { a: i, b: 2, c: 3, d: 4 };
      for (let n = 0; n <= i; n++) topics.publish(name, { payload: Payload.of(value) });
    }
    const parts = names.map((name, i) => ({ topic: topics.get(name)!, topicId: i, from: 0, to: i + 1 }));
    const range = encoder.encode(parts, BINARY);
    const batches = unframed(range.bytes).map((frame) =>
      decodeBatch(frame, (id) => range.schemas.find((schema) => schema.id === id)?.fields, decompressors),
    );
    expect(range.schemas.length).toBe(1);
    expect(batches.map(({ envelope }) => envelope.codec)).toEqual(['columns', 'msgpack']);
    const sections = batches.flatMap(({ envelope }) => envelope.sections);
    expect(sections.map(({ topicId, count }) => [topicId, count])).toEqual([
      [0, 1],
      [1, 2],
      [3, 4],
      [2, 3],
    ]);
    expect(sections.every(({ topicId, epoch }) => epoch === parts[topicId]!.topic.epoch)).toBe(true);
    const apart = encoder.encodeApart(parts, BINARY).flatMap(({ bytes }) => unframed(bytes));
    expect(apart.map((frame) => decodeBatchHeader(frame).sections.length)).toEqual([1, 1, 1, 1]);
  });

  test('keep to the layouts that are in use: of 1,100 shapes the last ones go as they are', () => {
    const { encoder } = setUp();
    const ids = new Set<number>();
    let plain = 0;
    for (let i = 0; i < 1_100; i++) {
      // Each topic has a shape of its own.
      const { topics } = setUp();
      topics.publish('a', { payload: Payload.of({ [`k${i}`]: 1, b: 2, c: 3, d: 4 }) });
      const range = encoder.encode([{ topic: topics.get('a')!, topicId: i, from: 0, to: 1 }], BINARY);
      for (const schema of range.schemas) ids.add(schema.id);
      if (range.schemas.length === 0) plain++;
    }
    expect([ids.size, plain]).toEqual([1_024, 76]);
  });

  test('compression that gains nothing rests, and is tried again', () => {
    const { topics, encoder, tried } = setUp();
    const random = seededRandom(3);
    const noise = () => Uint8Array.from({ length: 1_000 }, () => Math.floor(random() * 256));
    for (let i = 0; i < 80; i++) {
      topics.publish('noise', { payload: Payload.bytes(noise()) });
      encoder.encode([{ topic: topics.get('noise')!, topicId: 16, from: i, to: i + 1 }], BINARY);
    }
    expect(tried.length).toBe(4 + Math.floor((80 - 4) / 65));
    topics.publish('calm', { payload: Payload.bytes(new Uint8Array(1_000)) });
    const [frame] = unframed(
      encoder.encode([{ topic: topics.get('calm')!, topicId: 32, from: 0, to: 1 }], BINARY).bytes,
    );
    expect(decodeBatchHeader(frame!).compression).toBe('lz4');
    expect(frame!.length).toBeLessThan(100);
  });
});
