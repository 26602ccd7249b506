import { Packr } from 'msgpackr';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { TelemetryBench } from '../../../test/support/telemetry-bench.ts';
import { TelemetryTestClient } from '../../../test/support/telemetry-client.ts';
import { encodeBatch, envelopeBytes, type BatchHead, type BatchSection } from '../../protocol/batch.ts';
import { writeMsgpack } from '../../protocol/msgpack-writer.ts';
import { Payload } from '../../protocol/payload.ts';
import { schemaFor } from '../../protocol/schema.ts';
import { compressors } from '../compression.ts';

let bench: TelemetryBench;
beforeEach(async () => {
  bench = await new TelemetryBench().start();
});
afterEach(() => bench.stop());

const values = (topic: string): unknown[] =>
  [...(bench.topics.get(topic)?.stream.history(0) ?? [])].map(({ data }) => data.payload.value());

/** What is told of a refusal, but for the words. */
function refusals(client: TelemetryTestClient): object[] {
  const isSaid = (key: string) => key !== 'type' && key !== 'message';
  return client.of('error').map((error) => Object.fromEntries(Object.entries(error).filter(([key]) => isSaid(key))));
}

const packr = new Packr({ useRecords: false });

describe.each(['sightline.v1.json', 'sightline.v1.msgpack'] as const)(
  '%s: a refusal names what it refuses',
  (protocol) => {
    const publish = { type: 'publish', topic: 'a', data: 1, seq: 4 };
    const cases: [string, object, object][] = [
      [
        'a time that is text',
        { ...publish, time: '2026-01-01T00:00:00Z' },
        { code: 'MESSAGE_FIELD_BAD', topic: 'a', seq: 4 },
      ],
      ['a priority by name', { ...publish, priority: 'high' }, { code: 'MESSAGE_FIELD_BAD', topic: 'a', seq: 4 }],
      ['no data', { type: 'publish', topic: 'a', seq: 4 }, { code: 'MESSAGE_FIELD_BAD', topic: 'a', seq: 4 }],
      ['a number before the first', { ...publish, seq: 0 }, { code: 'MESSAGE_FIELD_BAD', topic: 'a', seq: 0 }],
      ['a number that is none', { ...publish, seq: 1.5 }, { code: 'MESSAGE_FIELD_BAD', topic: 'a' }],
      [
        'a first number that is not 1',
        publish,
        { code: 'PUBLISH_SEQUENCE_BAD', topic: 'a', seq: 4, count: 1, expected: 1 },
      ],
      ['a bad topic', { ...publish, topic: 'a//b' }, { code: 'TOPIC_BAD', topic: 'a//b', seq: 4 }],
      ['a topic that is a number', { ...publish, topic: 5 }, { code: 'TOPIC_BAD', seq: 4 }],
      ["the server's own", { ...publish, topic: '$sys/x' }, { code: 'TOPIC_FORBIDDEN', topic: '$sys/x', seq: 4 }],
      [
        'the advertisement of one',
        { type: 'advertise', alias: 1, topic: '$s' },
        { code: 'TOPIC_FORBIDDEN', topic: '$s', alias: 1 },
      ],
      [
        'an alias that is text',
        { type: 'advertise', alias: 'x', topic: 'b' },
        { code: 'MESSAGE_FIELD_BAD', topic: 'b' },
      ],
      ['too large', { ...publish, data: 'x'.repeat(1_100_000) }, { code: 'MESSAGE_TOO_LARGE', topic: 'a', seq: 4 }],
      ['a type that is none', { ...publish, type: 'pub' }, { code: 'MESSAGE_TYPE_UNKNOWN', topic: 'a', seq: 4 }],
      ['a bad filter', { type: 'subscribe', id: 7, filter: 'a/#/b', contract: 'all' }, { code: 'FILTER_BAD', id: 7 }],
      ['no contract', { type: 'subscribe', id: 7, filter: 'a' }, { code: 'MESSAGE_FIELD_BAD', id: 7 }],
      ['no rate', { type: 'subscribe', id: 7, filter: 'a', contract: 'sampled' }, { code: 'MESSAGE_FIELD_BAD', id: 7 }],
      ['the end of none', { type: 'unsubscribe', id: 7 }, { code: 'SUBSCRIPTION_UNKNOWN', id: 7 }],
      [
        'a gap given up',
        { type: 'skip', topic: 'a', seq: 3 },
        { code: 'PUBLISH_SEQUENCE_BAD', topic: 'a', seq: 3, count: 1, expected: 1 },
      ],
    ];
    test.each(cases)('%s', async (_, message, about) => {
      const client = await TelemetryTestClient.open(bench.url(), protocol);
      client.send(message);
      await client.settled();
      expect(refusals(client)).toEqual([about]);
      expect(bench.topics.size).toBe(0);
      await client.close();
    });

    test('data that no message may hold', async () => {
      const client = await TelemetryTestClient.open(bench.url(), protocol);
      if (protocol === 'sightline.v1.json') {
        for (const data of ['NaN', '{"__proto__":1}', '"\\ud800"', '['.repeat(70) + ']'.repeat(70), "{'x':1}"]) {
          client.send(`{"type":"publish","data":${data},"topic":"a","seq":1}`);
        }
      } else {
        const rest = { type: 'publish', topic: 'a', seq: 1 };
        const foreign = [new Date(0), undefined, { bytes: Uint8Array.of(1) }, { ['__proto__']: 1 }];
        // Text that is no UTF-8, and values that the library writes and the protocol has no place for.
        for (const data of [Uint8Array.of(0xa1, 0xff), ...foreign.map((value) => packr.pack(value))]) {
          const fields = Object.entries(rest).flatMap(([key, value]) => [writeMsgpack(key), writeMsgpack(value)]);
          client.send(Buffer.concat([Uint8Array.of(0x84), writeMsgpack('data'), data, ...fields]));
        }
      }
      await client.settled();
      expect(refusals(client)).toHaveLength(5);
      for (const about of refusals(client)) expect(about).toEqual({ code: 'MESSAGE_NOT_JSON', topic: 'a', seq: 1 });
      await client.close();
    });
  },
);

describe('reliable publications', () => {
  const send = (client: TelemetryTestClient, seq: number, data: unknown = seq) =>
    client.send({ type: 'publish', topic: 'log', data, seq });

  test('a confirmation never covers a message that is not in the topic', async () => {
    const client = await TelemetryTestClient.open(bench.url());
    client.send({ type: 'publish', topic: 'log', data: 'fire', seq: 1, time: 'now' });
    send(client, 2);
    await client.settled();
    expect(client.of('published')).toEqual([]);
    expect(refusals(client)).toEqual([
      { code: 'MESSAGE_FIELD_BAD', topic: 'log', seq: 1 },
      { code: 'PUBLISH_SEQUENCE_BAD', topic: 'log', seq: 2, count: 1, expected: 1 },
    ]);
    send(client, 1);
    send(client, 2);
    await client.until(() => client.of('published').at(-1)?.seq === 2);
    expect(values('log')).toEqual([1, 2]);
    await client.close();
  });

  test('a number that was given up is passed over, and stays so on the next connection', async () => {
    const client = await TelemetryTestClient.open(bench.url('?client_id=w'));
    send(client, 1);
    send(client, 2, 'x'.repeat(1_100_000));
    client.send({ type: 'skip', topic: 'log', seq: 2 });
    send(client, 3);
    await client.until(() => client.of('published').at(-1)?.seq === 3);
    expect(refusals(client)).toEqual([{ code: 'MESSAGE_TOO_LARGE', topic: 'log', seq: 2 }]);
    client.socket.terminate();
    await client.until(() => client.closed !== undefined);
    const again = await TelemetryTestClient.open(bench.url(`?client_id=w&token=${client.welcome.token}`));
    // Also how a client learns how far its session has come.
    again.send({ type: 'skip', topic: 'log', seq: 0 });
    await again.until(() => again.of('published').length === 1);
    expect(again.of('published')).toMatchObject([{ topic: 'log', seq: 3 }]);
    for (const seq of [2, 3, 4]) send(again, seq);
    await again.until(() => again.of('published').at(-1)?.seq === 4);
    expect(values('log')).toEqual([1, 3, 4]);
    await again.close();
  });

  test('what is in the history is confirmed, however its repetition looks', async () => {
    const client = await TelemetryTestClient.open(bench.url());
    send(client, 1);
    await client.until(() => client.of('published').length === 1);
    send(client, 1, 'x'.repeat(1_100_000));
    await client.until(() => client.of('published').length === 2);
    expect(client.errors).toEqual([]);
    expect(values('log')).toEqual([1]);
    await client.close();
  });

  test('a topic that the server has forgotten goes on with its numbers', async () => {
    const client = await TelemetryTestClient.open(bench.url());
    send(client, 1);
    await client.until(() => client.of('published').length === 1);
    bench.topics.close();
    send(client, 2);
    await client.until(() => client.of('published').at(-1)?.seq === 2);
    expect(values('log')).toEqual([2]);
    await client.close();
  });

  test('two publishers on one topic have numbers of their own', async () => {
    const clients = [await TelemetryTestClient.open(bench.url()), await TelemetryTestClient.open(bench.url())];
    for (const client of clients) for (const seq of [1, 2]) send(client, seq);
    for (const client of clients) await client.until(() => client.of('published').at(-1)?.seq === 2);
    expect(values('log').toSorted()).toEqual([1, 1, 2, 2]);
    for (const client of clients) await client.close();
  });
});

describe('a batch', () => {
  const message = (value: unknown, parts: object = {}) =>
    ({ timeMs: 1, priority: 1, payload: Payload.of(value), ...parts }) as const;
  const section = (topicId: number, count: number, firstSeq = 0): BatchSection => ({
    topicId,
    epoch: 0,
    firstSeq,
    count,
  });
  let client: TelemetryTestClient;
  beforeEach(async () => {
    client = await TelemetryTestClient.open(bench.url('?client_id=w'), 'sightline.v1.binary');
    for (const alias of [1, 2, 3]) client.send({ type: 'advertise', alias, topic: `t/${alias}` });
  });
  afterEach(() => client.close());
  const send = (sections: BatchSection[], messages: readonly unknown[], head: Partial<BatchHead> = {}) =>
    client.send(
      encodeBatch({ sections, codec: 'msgpack', compression: 'none', ...head }, messages as never, compressors),
    );

  test('one bad message costs neither its section nor the others', async () => {
    send(
      [section(1, 2), section(2, 3), section(3, 1, 1)],
      [message(1), message(2), message(3), message(4, { timeMs: NaN }), message(5), message(6)],
    );
    await client.until(() => client.of('published').length === 1);
    expect([values('t/1'), values('t/2'), values('t/3')]).toEqual([[1, 2], [3, 5], [6]]);
    expect(refusals(client)).toEqual([{ code: 'BATCH_BAD', topic: 't/2', count: 1 }]);
    expect(bench.session('w')).toMatchObject({ published: 5 });
  });

  test('of numbered ones those before it are in, and it is the one that is waited for', async () => {
    const bad = [message(2, { priority: 9 }), message(2, { payload: Payload.json(Buffer.from('1')) })];
    send([section(1, 4, 1), section(2, 1)], [message(1), bad[0], message(3), message(4), message('other')]);
    await client.until(() => client.of('published').length === 1);
    expect(client.of('published')).toMatchObject([{ topic: 't/1', seq: 1 }]);
    expect(refusals(client)).toEqual([
      { code: 'BATCH_BAD', topic: 't/1', seq: 2 },
      { code: 'PUBLISH_SEQUENCE_BAD', topic: 't/1', seq: 3, count: 2, expected: 2 },
    ]);
    expect([values('t/1'), values('t/2')]).toEqual([[1], ['other']]);
    expect(bench.session('w')).toMatchObject({ published: 2, refused_messages: 3 });
    // A repetition of what is in needs to be no message any more.
    send([section(1, 2, 1)], [message(1, { timeMs: NaN }), message('two')]);
    await client.until(() => client.of('published').at(-1)?.seq === 2);
    expect(values('t/1')).toEqual([1, 'two']);
  });

  test('one bad section among ten', async () => {
    const sections = Array.from({ length: 10 }, (_, i) => section((i % 3) + 1, 1, i === 4 ? 1.5 : 0));
    const bytes = encodeBatch(
      { sections, codec: 'msgpack', compression: 'none' },
      sections.map((_, i) => message(i)),
      compressors,
    );
    client.send(bytes);
    await client.settled();
    expect([...values('t/1'), ...values('t/2'), ...values('t/3')]).toEqual([0, 3, 6, 9, 1, 7, 2, 5, 8]);
    expect(refusals(client)).toEqual([{ code: 'BATCH_BAD', topic: 't/2', count: 1 }]);
  });

  test('a topic that is the server’s own is refused by its name, with its numbers, and no other one', async () => {
    client.send({ type: 'advertise', alias: 9, topic: '$sys/x' });
    send([section(9, 2, 1), section(1, 1), section(77, 1, 3)], [message(1), message(2), message(3), message(4)]);
    await client.settled();
    expect(refusals(client)).toEqual([
      { code: 'TOPIC_FORBIDDEN', topic: '$sys/x', alias: 9 },
      { code: 'TOPIC_FORBIDDEN', topic: '$sys/x', seq: 1, count: 2 },
      { code: 'ALIAS_UNKNOWN', alias: 77, seq: 3, count: 1 },
    ]);
    expect(values('t/1')).toEqual([3]);
  });

  test('what cannot be taken apart is refused whole, each section by name', async () => {
    const sections = [section(1, 1, 1), section(2, 1)];
    const whole = encodeBatch({ sections, codec: 'json', compression: 'none' }, [message(1), message(2)], compressors);
    const packed = whole.slice();
    packed[2] = 3;
    const unknown = whole.slice();
    unknown[1] = 9;
    const large = new Uint8Array(1_000_001);
    large.set(whole);
    for (const bytes of [packed, unknown, whole.subarray(0, -1), large, whole.subarray(0, envelopeBytes(2) - 1)])
      client.send(bytes);
    await client.settled();
    const both = (code: string) => [
      { code, topic: 't/1', seq: 1, count: 1 },
      { code, topic: 't/2', count: 1 },
    ];
    expect(refusals(client)).toEqual([
      ...both('COMPRESSION_BAD'),
      ...both('BATCH_BAD'),
      ...both('BATCH_BAD'),
      ...both('MESSAGE_TOO_LARGE'),
      { code: 'BATCH_BAD' },
    ]);
    expect(bench.topics.size).toBe(0);
  });

  test('a message in MessagePack stands beside batches: NaN, −0 and bytes with a time to live', async () => {
    const reader = await TelemetryTestClient.open(bench.url(), 'sightline.v1.binary');
    await reader.subscribe('m', 'all');
    const data = { x: [NaN, -Infinity, -0], n: 1 };
    client.send(writeMsgpack({ type: 'publish', topic: 'm', data, ttl_ms: 5_000 }));
    client.send(writeMsgpack({ type: 'publish', topic: 'm', data: Uint8Array.of(1, 2), ttl_ms: 5_000 }));
    client.send(writeMsgpack({ type: 'publish', topic: 'm', data: 1, time: 'x', seq: 1 }));
    await reader.until(() => reader.received.length === 2);
    expect(reader.values).toEqual([data, Buffer.of(1, 2)]);
    await client.settled();
    expect(refusals(client)).toEqual([{ code: 'MESSAGE_FIELD_BAD', topic: 'm', seq: 1 }]);
    await reader.close();
  });

  describe('in columns', () => {
    const schema = schemaFor([{ a: 1, b: 2, c: 3, d: 4, on: true, mode: 'x' }])!;
    const value = (n: number) => ({ a: n, b: n / 2, c: -n, d: n % 2 === 0 ? -0 : NaN, on: n > 2, mode: `m${n}` });
    const columns = { codec: 'columns', schemaId: 5, schema } as const;
    beforeEach(() => client.send({ type: 'schema', schema_id: 5, fields: schema }));

    test('one bad message is refused alone, and no reader gets it with the others', async () => {
      const reader = await TelemetryTestClient.open(bench.url(), 'sightline.v1.binary');
      await reader.subscribe('#', 'all');
      const messages = [1, 2, 3, 4, 5, 6].map((n) => message(value(n)));
      messages[1] = message(value(2), { timeMs: Infinity });
      messages[5] = message(value(6), { priority: 2.5 });
      send([section(1, 3), section(2, 2, 1), section(3, 1)], messages, columns);
      await reader.until(() => reader.received.length === 4);
      await client.settled();
      expect(reader.values).toEqual([value(1), value(3), value(4), value(5)]);
      expect(client.of('published')).toMatchObject([{ topic: 't/2', seq: 2 }]);
      expect(refusals(client)).toEqual([
        { code: 'BATCH_BAD', topic: 't/1', count: 1 },
        { code: 'BATCH_BAD', topic: 't/3', count: 1 },
      ]);
      await reader.close();
    });

    test('a text that is none', async () => {
      const bytes = Buffer.from(
        encodeBatch(
          { sections: [section(1, 3)], compression: 'none', ...columns },
          [1, 2, 3].map((n) => message(value(n))),
          compressors,
        ),
      );
      bytes.write('[7] ', bytes.indexOf('"m2"'));
      client.send(bytes);
      await client.settled();
      expect(values('t/1')).toEqual([value(1), value(3)]);
      expect(refusals(client)).toEqual([{ code: 'PAYLOAD_BAD', topic: 't/1', count: 1 }]);
    });

    test('−0 and NaN reach every reader that can read them, also as MessagePack', async () => {
      const binary = await TelemetryTestClient.open(bench.url(), 'sightline.v1.binary');
      const packed = await TelemetryTestClient.open(bench.url(), 'sightline.v1.msgpack');
      const plain = await TelemetryTestClient.open(bench.url(), 'sightline.v1.binary');
      await binary.subscribe('#', 'all');
      await packed.subscribe('#', 'all');
      await plain.subscribe('#', 'all', { codecs: ['msgpack'] });
      send([section(1, 2)], [message(value(1)), message(value(2))], columns);
      for (const reader of [binary, packed, plain]) {
        await reader.until(() => reader.received.length === 2);
        expect(reader.values).toEqual([value(1), value(2)]);
        await reader.close();
      }
    });
  });
});
