import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { TelemetryBench } from '../../../test/support/telemetry-bench.ts';
import { TelemetryTestClient } from '../../../test/support/telemetry-client.ts';
import { ManualClock, systemClock } from '../../base/clock.ts';
import { Priority } from '../../base/sample.ts';
import { encodeBatch, envelopeBytes, type BatchSection } from '../../protocol/batch.ts';
import { Payload } from '../../protocol/payload.ts';
import { schemaFor } from '../../protocol/schema.ts';
import { TELEMETRY_SUBPROTOCOLS } from '../../protocol/telemetry.ts';
import { compressors } from '../compression.ts';

const sequence = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

let bench: TelemetryBench;
beforeEach(async () => {
  bench = await new TelemetryBench().start();
});
afterEach(() => bench.stop());

describe.each(TELEMETRY_SUBPROTOCOLS)('%s', (protocol) => {
  test('what one client publishes another gets, with its time and priority, in order', async () => {
    const reader = await TelemetryTestClient.open(bench.url(), protocol);
    const writer = await TelemetryTestClient.open(bench.url(), protocol);
    await reader.subscribe('rover/+/pose', 'all');
    for (const n of sequence(1, 20)) {
      writer.send({
        type: 'publish',
        topic: 'rover/7/pose',
        data: { x: n, y: 0.5, z: [1, 2], ok: true, a: n / 3 },
        time: 1_000 + n,
        priority: 2,
      });
    }
    await reader.until(() => reader.received.length === 20);
    expect(reader.seqs).toEqual(sequence(1, 20));
    expect(reader.received[3]).toMatchObject({
      topic: 'rover/7/pose',
      id: 1,
      time: 1_004,
      priority: 2,
      data: { x: 4, y: 0.5, z: [1, 2], ok: true, a: 4 / 3 },
    });
    expect(reader.of('topic')).toMatchObject([{ id: 1, topic: 'rover/7/pose', seq: 0, recovered: true }]);
    await Promise.all([reader.close(), writer.close()]);
  });

  test('bytes, text, lists and numbers come as they are', async () => {
    const reader = await TelemetryTestClient.open(bench.url(), protocol);
    await reader.subscribe('any', 'all');
    const values = ['text', 3.5, [1, [2]], null, { deep: { er: 'x' } }];
    for (const value of values) bench.publish('any', value);
    await reader.until(() => reader.received.length === values.length);
    expect(reader.values).toEqual(values);
    await reader.close();
  });
});

describe('binary', () => {
  test('a batch is published under its alias; columns reach the reader with their schema', async () => {
    const reader = await TelemetryTestClient.open(bench.url(), 'sightline.v1.binary');
    const writer = await TelemetryTestClient.open(bench.url(), 'sightline.v1.binary');
    await reader.subscribe('imu', 'all');
    writer.send({ type: 'advertise', alias: 9, topic: 'imu' });
    const messages = sequence(1, 40).map((n) => ({
      timeMs: n,
      priority: Priority.normal,
      payload: Payload.of({ a: n, b: n / 2, c: -n, d: 7, e: 0.25 * n }),
    }));
    const sections = [{ topicId: 9, epoch: 0, firstSeq: 0, count: 40 }];
    const head = { sections, codec: 'json', compression: 'lz4' } as const;
    writer.send(encodeBatch(head, messages, compressors));
    await reader.until(() => reader.received.length === 40);
    expect(reader.values).toEqual(messages.map(({ payload }) => payload.value()));
    expect(reader.of('schema')).toHaveLength(1);
    expect(reader.batches).toBe(1);
    await Promise.all([reader.close(), writer.close()]);
  });

  test('bytes between objects', async () => {
    const reader = await TelemetryTestClient.open(bench.url(), 'sightline.v1.binary');
    await reader.subscribe('#', 'all');
    bench.publish('mixed', { a: 1, b: 2, c: 3, d: 4 });
    bench.topics.publish('mixed', { payload: Payload.bytes(Uint8Array.of(1, 2, 3)) });
    bench.publish('mixed', 'text');
    bench.publish('mixed', { a: 1, b: 2, c: 3, d: 5 });
    await reader.until(() => reader.received.length === 4);
    expect(reader.seqs).toEqual([1, 2, 3, 4]);
    expect(reader.values).toMatchObject([{ d: 4 }, Buffer.of(1, 2, 3), 'text', { d: 5 }]);
    await reader.close();
  });
});

describe('contracts', () => {
  test('latest: the value that is there, then what is new; of what comes at once only the newest', async () => {
    for (const n of sequence(1, 5)) bench.publish('pose', n);
    const reader = await TelemetryTestClient.open(bench.url('?client_id=r'));
    await reader.subscribe('pose', 'latest');
    await reader.until(() => reader.received.length === 1);
    for (const n of sequence(6, 9)) bench.publish('pose', n);
    await reader.until(() => reader.values.includes(9));
    expect(reader.values).toEqual([5, 9]);
    expect(bench.session('r').accounts).toMatchObject({ published: 5, delivered: 2, conflated: 3, queued: 0 });
    expect(reader.of('loss')).toEqual([]);
    await reader.close();
  });

  test('sampled: at most so many a second, the newest', async () => {
    const reader = await TelemetryTestClient.open(bench.url('?client_id=r'));
    await reader.subscribe('pose', 'sampled', { hz: 20 });
    const startMs = systemClock.now();
    let n = 0;
    const timer = setInterval(() => bench.publish('pose', ++n), 2);
    await reader.until(() => reader.received.length >= 6);
    clearInterval(timer);
    const elapsedMs = systemClock.now() - startMs;
    expect(reader.received.length).toBeLessThanOrEqual(elapsedMs / 50 + 2);
    const last = n;
    await reader.until(() => reader.values.at(-1) === last);
    expect(bench.session('r').accounts.conflated).toBe(last - reader.received.length);
    await reader.close();
  });

  test('all: ttl', async () => {
    const reader = await TelemetryTestClient.open(bench.url('?client_id=r'));
    // Long enough that the second one is in time beside busy neighbours as well.
    await reader.subscribe('pose', 'all', { ttl_ms: 200 });
    bench.publish('pose', 'late');
    const until = performance.now() + 210;
    while (performance.now() < until);
    bench.publish('pose', 'fresh');
    await reader.until(() => reader.received.length === 1);
    expect(reader.values).toEqual(['fresh']);
    expect(reader.of('loss')).toMatchObject([{ id: 1, from: 1, to: 1, count: 1, cause: 'expired' }]);
    expect(bench.session('r').accounts).toMatchObject({ delivered: 1, expired: 1 });
    await reader.close();
  });

  test('reliable: what was missed comes after a reconnection, from the position that the client names', async () => {
    for (const n of sequence(1, 10)) bench.publish('log', n);
    const { epoch } = bench.topics.get('log')!;
    const reader = await TelemetryTestClient.open(bench.url());
    await reader.subscribe('log', 'reliable', { since: [{ topic: 'log', epoch, seq: 6 }] });
    await reader.until(() => reader.received.length === 4);
    expect(reader.seqs).toEqual([7, 8, 9, 10]);
    expect(reader.of('topic')).toMatchObject([{ seq: 6, recovered: true }]);
    await reader.close();
  });

  test('reliable: a topic that was born while the reader was away is read from its first message', async () => {
    for (const n of sequence(1, 3)) bench.publish('log/old', n);
    for (const n of sequence(1, 5)) bench.publish('log/born', n);
    const { epoch } = bench.topics.get('log/old')!;
    const reader = await TelemetryTestClient.open(bench.url());
    await reader.subscribe('log/+', 'reliable', { since: [{ topic: 'log/old', epoch, seq: 3 }] });
    await reader.until(() => reader.received.length === 5);
    expect(reader.of('topic')).toMatchObject([
      { topic: 'log/old', seq: 3, recovered: true },
      { topic: 'log/born', seq: 0, recovered: true },
    ]);
    expect(reader.seqs).toEqual([1, 2, 3, 4, 5]);
    await reader.close();
  });

  test('reliable: from what was acknowledged, when the session is resumed and the client names nothing', async () => {
    const first = await TelemetryTestClient.open(bench.url('?client_id=r'));
    await first.subscribe('log', 'reliable');
    for (const n of sequence(1, 10)) bench.publish('log', n);
    await first.until(() => first.received.length === 10);
    const { topic_id } = first.of('topic')[0]!;
    first.send({ type: 'ack', id: 1, topic_id, seq: 8 });
    await first.settled();
    first.socket.terminate();
    await first.until(() => first.closed !== undefined);
    const second = await TelemetryTestClient.open(bench.url(`?client_id=r&token=${first.welcome.token}`));
    expect(second.welcome.resumed).toBe(true);
    await second.subscribe('log', 'reliable');
    await second.until(() => second.received.length === 2);
    expect(second.seqs).toEqual([9, 10]);
    await second.close();
  });

  test('reliable: of another epoch, or no longer held: an honest new beginning with the latest value', async () => {
    for (const n of sequence(1, 2_100)) bench.publish('log', n);
    const { epoch } = bench.topics.get('log')!;
    const reader = await TelemetryTestClient.open(bench.url());
    await reader.subscribe('log', 'reliable', { since: [{ topic: 'log', epoch, seq: 50 }] });
    await reader.subscribe('log', 'reliable', { id: 2, since: [{ topic: 'log', epoch: epoch + 1, seq: 2_099 }] });
    await reader.until(() => reader.received.length === 2);
    expect(reader.received.map(({ id, seq }) => [id, seq]).toSorted()).toEqual([
      [1, 2_100],
      [2, 2_100],
    ]);
    expect(reader.of('topic').map(({ recovered }) => recovered)).toEqual([false, false]);
    await reader.close();
  });

  test('after a long gap the newest come first, then all of the missed ones', async () => {
    for (const n of sequence(1, 2_000)) bench.publish('log', n);
    const { epoch } = bench.topics.get('log')!;
    const reader = await TelemetryTestClient.open(bench.url('?client_id=r'));
    await reader.subscribe('log', 'all', { since: [{ topic: 'log', epoch, seq: 500 }] });
    await reader.until(() => reader.received.length === 1_500);
    expect(reader.of('topic')).toMatchObject([{ seq: 1_999, recovered: true }]);
    expect(reader.seqs).toEqual([2_000, ...sequence(501, 1_999)]);
    expect(bench.session('r').accounts).toMatchObject({ published: 1_500, delivered: 1_500 });
    await reader.close();
  });
});

describe('subscriptions', () => {
  test('wildcards take in topics that come later; unsubscribing ends them', async () => {
    const reader = await TelemetryTestClient.open(bench.url());
    await reader.subscribe('a/#', 'all');
    bench.publish('a', 1);
    bench.publish('a/b/c', 2);
    bench.publish('b', 3);
    await reader.until(() => reader.received.length === 2);
    reader.send({ type: 'unsubscribe', id: 1 });
    await reader.until(() => reader.of('unsubscribed').length === 1);
    bench.publish('a', 4);
    await reader.settled();
    expect(reader.values).toEqual([1, 2]);
    expect([...bench.topics.get('a')!.stream.rangeReaders]).toEqual([]);
    await reader.close();
  });

  test('two on one topic are told apart by their numbers', async () => {
    const reader = await TelemetryTestClient.open(bench.url());
    await reader.subscribe('a', 'all');
    await reader.subscribe('#', 'latest', { id: 2 });
    for (const n of sequence(1, 3)) bench.publish('a', n);
    await reader.until(() => reader.received.length === 4);
    const of = (id: number) => reader.received.filter((message) => message.id === id).map(({ data }) => data);
    expect([of(1), of(2)]).toEqual([[1, 2, 3], [3]]);
    await reader.close();
  });

  test('a batch is encoded once for all who want it', async () => {
    const readers = await Promise.all(sequence(1, 5).map(() => TelemetryTestClient.open(bench.url())));
    await Promise.all(readers.map((reader) => reader.subscribe('a', 'all')));
    for (const n of sequence(1, 10)) bench.publish('a', n);
    await Promise.all(readers.map((reader) => reader.until(() => reader.received.length === 10)));
    expect(bench.lane.report()).toMatchObject({ batches_encoded: 1, batches_reused: 4 });
    expect(readers.every(({ batches }) => batches === 1)).toBe(true);
    await Promise.all(readers.map((reader) => reader.close()));
  });

  test('a queue group shares: each message goes to one of its members', async () => {
    const names = ['a', 'b', 'c'];
    const members = await Promise.all(names.map(() => TelemetryTestClient.open(bench.url())));
    await Promise.all(members.map((member) => member.subscribe('job/#', 'all', { group: 'workers' })));
    for (const n of sequence(1, 90)) {
      bench.publish('job/x', n);
      if (n % 10 === 0) await members[0]!.settled();
    }
    const all = () => members.flatMap(({ values }) => values as number[]);
    while (all().length < 90) await Promise.all(members.map((member) => member.settled()));
    expect(all().toSorted((a, b) => a - b)).toEqual(sequence(1, 90));
    for (const { received } of members) expect(received.length).toBeGreaterThan(15);
    await members[0]!.close();
    bench.publish('job/x', 91);
    await members[1]!.until(() => all().includes(91));
    await Promise.all(members.slice(1).map((member) => member.close()));
    expect([...bench.topics.get('job/x')!.stream.rangeReaders]).toEqual([]);
  });
});

describe('reliable publishing', () => {
  test('is confirmed; what comes twice is published once; a gap is refused', async () => {
    const writer = await TelemetryTestClient.open(bench.url('?client_id=w'));
    const send = (seq: number) => writer.send({ type: 'publish', topic: 'log', data: seq, seq });
    for (const seq of [1, 2, 3, 2, 3, 4]) send(seq);
    await writer.until(() => writer.of('published').at(-1)?.seq === 4);
    expect(bench.topics.get('log')!.lastSeq).toBe(4);
    expect(bench.session('w')).toMatchObject({ published: 4, duplicates: 2 });
    send(6);
    await writer.until(() => writer.errors.length === 1);
    expect(writer.of('error')).toMatchObject([{ code: 'PUBLISH_SEQUENCE_BAD', topic: 'log', seq: 6 }]);
    writer.socket.terminate();
    await writer.until(() => writer.closed !== undefined);
    const again = await TelemetryTestClient.open(bench.url(`?client_id=w&token=${writer.welcome.token}`));
    again.send({ type: 'publish', topic: 'log', data: 4, seq: 4 });
    again.send({ type: 'publish', topic: 'log', data: 5, seq: 5 });
    await again.until(() => again.of('published').at(-1)?.seq === 5);
    expect([...bench.topics.get('log')!.stream.history(0)].map(({ data }) => data.payload.value())).toEqual([
      1, 2, 3, 4, 5,
    ]);
    await again.close();
  });
});

test('a client that was cut off before it was welcomed is not locked out of its name', async () => {
  const url = bench.url('?client_id=me');
  const first = await TelemetryTestClient.open(url);
  const second = await TelemetryTestClient.open(url);
  expect(second.errors).toEqual(['SESSION_NAME_IN_USE']);
  await first.close();
  const third = await TelemetryTestClient.open(url);
  expect(third.welcome.resumed).toBe(false);
  await third.settled();
  await third.close();
  const fourth = await TelemetryTestClient.open(url);
  expect(fourth.errors).toEqual(['SESSION_NAME_IN_USE']);
});

describe('bad input', () => {
  const cases: [string, object | string, string][] = [
    ['text that is no JSON', '{"type":', 'MESSAGE_NOT_JSON'],
    ['an unknown type', { type: 'nonsense' }, 'MESSAGE_TYPE_UNKNOWN'],
    ['a bad filter', { type: 'subscribe', id: 1, filter: 'a/#/b', contract: 'all' }, 'FILTER_BAD'],
    ['a bad topic', { type: 'publish', topic: 'a//b', data: 1 }, 'TOPIC_BAD'],
    ['an oversize topic', { type: 'publish', topic: 'x'.repeat(257), data: 1 }, 'TOPIC_BAD'],
    ["a topic of the server's own", { type: 'publish', topic: '$sys/x', data: 1 }, 'TOPIC_FORBIDDEN'],
    ['the advertisement of one', { type: 'advertise', alias: 1, topic: '$sys/x' }, 'TOPIC_FORBIDDEN'],
    ['an acknowledgement of nothing', { type: 'ack', id: 1, topic_id: 1, seq: 1 }, 'SUBSCRIPTION_UNKNOWN'],
    ['the end of no subscription', { type: 'unsubscribe', id: 5 }, 'SUBSCRIPTION_UNKNOWN'],
    ['a message that is too large', { type: 'publish', topic: 'a', data: 'x'.repeat(1_000_000) }, 'MESSAGE_TOO_LARGE'],
  ];
  test.each(cases)('%s is refused, and the session goes on', async (_, message, code) => {
    const client = await TelemetryTestClient.open(bench.url());
    client.send(message);
    await client.until(() => client.errors.length === 1);
    expect(client.errors).toEqual([code]);
    await client.settled();
    expect(client.closed).toBeUndefined();
    await client.close();
  });

  test('binary rubbish, and a batch whose alias was not advertised', async () => {
    const client = await TelemetryTestClient.open(bench.url(), 'sightline.v1.binary');
    client.send(Uint8Array.of(1, 2, 3));
    const sections = [{ topicId: 1, epoch: 0, firstSeq: 0, count: 1 }];
    const head = { sections, codec: 'json', compression: 'none' } as const;
    client.send(encodeBatch(head, [{ timeMs: 1, priority: 1, payload: Payload.of(1) }], compressors));
    await client.until(() => client.errors.length === 2);
    expect(client.errors).toEqual(['BATCH_BAD', 'ALIAS_UNKNOWN']);
    await client.close();
  });

  describe('in columns', () => {
    const schema = schemaFor([{ a: 1, b: 2, c: 3, d: 4, mode: 'x' }])!;
    const value = (n: number) => ({ a: n, b: n / 2, c: -n, d: 7, mode: n < 3 ? 'x' : 'y' });
    const messages = (from: number, to: number) =>
      sequence(from, to).map((n) => ({ timeMs: 1_000 + n, priority: Priority.high, payload: Payload.of(value(n)) }));
    const section = (topicId: number, count: number, firstSeq = 0) => ({ topicId, epoch: 0, firstSeq, count });
    const batch = (sections: readonly BatchSection[], schemaId = 5) => {
      const count = sections.reduce((sum, { count: own }) => sum + own, 0);
      const head = { sections, codec: 'columns', compression: 'none', schemaId, schema } as const;
      return encodeBatch(head, messages(1, count), {});
    };
    let writer: TelemetryTestClient;
    beforeEach(async () => {
      writer = await TelemetryTestClient.open(bench.url('?client_id=w'), 'sightline.v1.binary');
      for (const alias of [1, 2]) writer.send({ type: 'advertise', alias, topic: `t/${alias}` });
    });
    afterEach(() => writer.close());
    const tell = (schemaId: unknown, fields: unknown = schema) =>
      writer.send({ type: 'schema', schema_id: schemaId, fields });
    const published = (topic: string) =>
      [...(bench.topics.get(topic)?.stream.history(0) ?? [])].map(({ data, priority }) => {
        expect(data.timeMs).toBeGreaterThan(1_000);
        expect(priority).toBe(Priority.high);
        return data.payload.value();
      });
    /** The session goes on: a good batch is published. */
    async function expectToGoOn(): Promise<void> {
      const before = published('t/1').length;
      tell(9);
      writer.send(batch([section(1, 2)], 9));
      await writer.settled();
      expect(writer.closed).toBeUndefined();
      expect(published('t/1').slice(before)).toEqual([value(1), value(2)]);
    }

    test('a layout that was not told is refused, and the session goes on', async () => {
      writer.send(batch([section(1, 3)]));
      await writer.settled();
      expect(writer.errors).toEqual(['SCHEMA_UNKNOWN']);
      expect(published('t/1')).toEqual([]);
      await expectToGoOn();
    });

    test.each([
      ['number 0', 0, schema],
      ['number 65', 65, schema],
      ['a number that is none', '1', schema],
      ['a path twice', 1, [...schema, schema[0]]],
      ['a leaf with leaves', 1, [...schema, { path: 'a.b', kind: 'f64' }]],
      [
        'a list with a hole',
        1,
        [
          { path: '0', kind: 'f64' },
          { path: '2', kind: 'f64' },
        ],
      ],
      ['a prototype', 1, [{ path: 'a.__proto__', kind: 'f64' }]],
      ['a kind that is not known', 1, [{ path: 'a', kind: 'i64' }]],
      ['no fields', 1, []],
      ['fields that are no list', 1, {}],
    ])('a layout with %s is refused, and the session goes on', async (_, schemaId, fields) => {
      tell(schemaId, fields);
      await writer.settled();
      expect(writer.errors).toEqual(['MESSAGE_FIELD_BAD']);
      writer.send(batch([section(1, 1)], 1));
      await writer.settled();
      expect(writer.errors).toEqual(['MESSAGE_FIELD_BAD', 'SCHEMA_UNKNOWN']);
      await expectToGoOn();
    });

    test('a refused layout leaves the one that its number has', async () => {
      tell(5);
      tell(5, [...schema, schema[0]]);
      writer.send(batch([section(1, 2)]));
      await writer.settled();
      expect(writer.errors).toEqual(['MESSAGE_FIELD_BAD']);
      expect(published('t/1')).toEqual([value(1), value(2)]);
    });

    test('a number may be given to another layout: batches after it mean the new one', async () => {
      const reader = await TelemetryTestClient.open(bench.url(), 'sightline.v1.binary');
      await reader.subscribe('#', 'all');
      tell(5);
      writer.send(batch([section(1, 2)]));
      const turned = schema.toReversed();
      tell(5, turned);
      const head = { sections: [section(1, 2)], codec: 'columns', compression: 'lz4', schemaId: 5 } as const;
      writer.send(encodeBatch({ ...head, schema: turned }, messages(3, 4), compressors));
      await reader.until(() => reader.received.length === 4);
      expect(reader.values).toEqual([1, 2, 3, 4].map(value));
      expect(writer.errors).toEqual([]);
      await reader.close();
    });

    test('cut short, or with more behind it, a batch is refused whole, and the session goes on', async () => {
      tell(5);
      const whole = batch([section(1, 10), section(2, 5)]);
      const before = envelopeBytes(2);
      const damaged = [whole.subarray(0, before), whole.subarray(0, before + 20), whole.subarray(0, -1)].map((body) => {
        const cut = body.slice();
        new DataView(cut.buffer).setUint32(8, cut.length - before, true);
        return cut;
      });
      damaged.push(whole.subarray(0, 20), whole.subarray(0, -4), Buffer.concat([whole, Buffer.alloc(4)]));
      for (const bytes of damaged) writer.send(bytes);
      // One message more than the columns have.
      const wrong = whole.slice();
      new DataView(wrong.buffer).setUint32(12 + 16, 11, true);
      writer.send(wrong);
      await writer.settled();
      // Every section by name, but where the envelope itself is cut.
      const named = writer.of('error').map(({ code, topic, count }) => [code, topic, count]);
      const [first, second] = [['BATCH_BAD', 't/1', 10] as const, ['BATCH_BAD', 't/2', 5] as const];
      const rest = [first, second, first, second, ['BATCH_BAD', 't/1', 11], second];
      expect(named).toEqual([
        first,
        second,
        first,
        second,
        first,
        second,
        ['BATCH_BAD', undefined, undefined],
        ...rest,
      ]);
      expect(bench.topics.size).toBe(0);
      await expectToGoOn();
    });

    test('texts that are none are refused', async () => {
      tell(5);
      const bytes = Buffer.from(batch([section(1, 5)]));
      const at = bytes.indexOf('"x"');
      for (const text of ['[7]', '123', '{}}', '"\\"']) {
        const changed = Buffer.from(bytes);
        changed.write(text, at);
        writer.send(changed);
      }
      await writer.settled();
      expect(writer.errors).toEqual(['PAYLOAD_BAD', 'PAYLOAD_BAD', 'PAYLOAD_BAD', 'PAYLOAD_BAD']);
      await expectToGoOn();
    });

    test('one bad section among good ones holds up none of them', async () => {
      const reader = await TelemetryTestClient.open(bench.url(), 'sightline.v1.binary');
      await reader.subscribe('#', 'all');
      tell(5);
      writer.send(batch([section(1, 3), section(7, 2), section(2, 4, 1), section(1, 1)]));
      await reader.until(() => reader.received.length === 8);
      await writer.settled();
      const of = (topic: string) => reader.received.filter((one) => one.topic === topic);
      expect(of('t/1').map(({ data }) => data)).toEqual([1, 2, 3, 10].map(value));
      expect(of('t/2').map(({ data, seq }) => [data, seq])).toEqual([6, 7, 8, 9].map((n, i) => [value(n), i + 1]));
      expect(of('t/1').map(({ time, priority }) => [time, priority])).toEqual(
        [1, 2, 3, 10].map((n) => [1_000 + n, Priority.high]),
      );
      expect(writer.of('error')).toMatchObject([{ code: 'ALIAS_UNKNOWN' }]);
      expect(writer.of('published')).toMatchObject([{ topic: 't/2', seq: 4 }]);
      expect(bench.session('w')).toMatchObject({ published: 8 });
      await reader.close();
    });

    test('layouts belong to the connection', async () => {
      tell(5);
      await writer.settled();
      const { token } = writer.welcome;
      writer.socket.terminate();
      await writer.until(() => writer.closed !== undefined);
      writer = await TelemetryTestClient.open(bench.url(`?client_id=w&token=${token}`), 'sightline.v1.binary');
      expect(writer.welcome.resumed).toBe(true);
      writer.send({ type: 'advertise', alias: 1, topic: 't/1' });
      writer.send(batch([section(1, 1)]));
      await writer.settled();
      expect(writer.errors).toEqual(['SCHEMA_UNKNOWN']);
      await expectToGoOn();
    });

    test('every reader gets the same values, in its own form', async () => {
      const readers = await Promise.all(
        TELEMETRY_SUBPROTOCOLS.map((protocol) => TelemetryTestClient.open(bench.url(), protocol)),
      );
      await Promise.all(readers.map((reader) => reader.subscribe('t/+', 'all')));
      tell(5);
      for (let i = 0; i < 3; i++) writer.send(batch([section(1, 20), section(2, 20)]));
      await Promise.all(readers.map((reader) => reader.until(() => reader.received.length === 120)));
      for (const reader of readers) {
        for (const topic of ['t/1', 't/2']) {
          const values = reader.received.filter((one) => one.topic === topic).map(({ data }) => data);
          const [from, to] = topic === 't/1' ? [1, 20] : [21, 40];
          expect(values).toEqual([1, 2, 3].flatMap(() => sequence(from, to).map(value)));
        }
        await reader.close();
      }
    });
  });

  test('a storm of subscriptions and of topics ends at the limits', async () => {
    const client = await TelemetryTestClient.open(bench.url('?client_id=c'));
    for (const id of sequence(1, 200)) client.send({ type: 'subscribe', id, filter: `f/${id}`, contract: 'all' });
    for (const n of sequence(1, 500)) client.send({ type: 'publish', topic: `t/${n}`, data: n });
    await client.settled();
    expect(client.of('subscribed')).toHaveLength(10);
    expect(client.errors.filter((code) => code === 'SUBSCRIPTION_LIMIT_REACHED')).toHaveLength(190);
    expect(client.errors.filter((code) => code === 'TOPIC_LIMIT_REACHED')).toHaveLength(480);
    expect(bench.topics.size).toBe(20);
    await client.close();
  });

  test('topics that were forgotten count no more: a robot may make new ones for years', async () => {
    const clock = new ManualClock();
    const own = await new TelemetryBench({}, { clock }).start();
    const client = await TelemetryTestClient.open(own.url('?client_id=c'));
    for (const year of sequence(1, 5)) {
      for (const n of sequence(1, 25)) client.send({ type: 'publish', topic: `job/${year}/${n}`, data: n });
      await client.settled();
      expect(client.errors).toHaveLength(year * 5);
      expect(own.topics.size).toBe(20);
      clock.advance(60_000);
      own.topics.sweep();
      expect(own.topics.size).toBe(0);
    }
    await client.close();
    await own.stop();
  });

  test('a wildcard takes in as many topics as a connection may have', async () => {
    for (const n of sequence(1, 30)) bench.publish(`t/${n}`, n);
    const client = await TelemetryTestClient.open(bench.url());
    await client.subscribe('#', 'latest');
    await client.until(() => client.received.length === 20);
    await client.settled();
    expect(client.of('error')).toMatchObject([{ code: 'TOPIC_LIMIT_REACHED', id: 1 }]);
    await client.close();
  });

  test('a query that is not understood', async () => {
    const client = await TelemetryTestClient.open(bench.url('?pipeline=objects'));
    await client.until(() => client.closed !== undefined);
    expect([client.closed, client.errors]).toEqual([4400, ['QUERY_BAD']]);
  });
});

describe('publishing too fast', () => {
  test('is warned of, slowed down, and goes on', async () => {
    await bench.stop();
    bench = await new TelemetryBench({ rate: { messagesPerS: 50, bytesPerS: 1e9, muteMs: 1_000 } }).start();
    const writer = await TelemetryTestClient.open(bench.url('?client_id=w'));
    for (const n of sequence(1, 60)) writer.send({ type: 'publish', topic: 'a', data: n });
    await writer.until(() => writer.of('notice').length === 1);
    expect(writer.of('notice')).toMatchObject([{ reason: 'rate', penalty: 'warn' }]);
    await writer.settled();
    expect(bench.session('w').published).toBe(60);
    await writer.close();
  });
});

describe('load', () => {
  test('a flood waits in its own socket: every reader gets every message, in batches made once', async () => {
    const [a, b] = await Promise.all(
      ['a', 'b'].map((name) => TelemetryTestClient.open(bench.url(`?client_id=${name}`), 'sightline.v1.binary')),
    );
    await Promise.all([a, b].map((reader) => reader!.subscribe('flood', 'all')));
    const writer = await TelemetryTestClient.open(bench.url(), 'sightline.v1.binary');
    writer.send({ type: 'advertise', alias: 1, topic: 'flood' });
    for (let first = 1; first <= 20_000; first += 100) {
      const messages = sequence(first, first + 99).map((n) => ({
        timeMs: n,
        priority: Priority.normal,
        payload: Payload.of({ n, a: n / 2, b: -n, c: 1 }),
      }));
      const sections = [{ topicId: 1, epoch: 0, firstSeq: 0, count: 100 }];
      writer.send(encodeBatch({ sections, codec: 'json', compression: 'none' }, messages, {}));
    }
    await Promise.all([a, b].map((reader) => reader!.until(() => reader!.received.length === 20_000)));
    expect(a!.seqs).toEqual(sequence(1, 20_000));
    expect(b!.seqs).toEqual(sequence(1, 20_000));
    expect(bench.session('a').accounts).toMatchObject({ published: 20_000, delivered: 20_000 });
    expect(writer.errors).toEqual([]);
    await Promise.all([a, b, writer].map((client) => client!.close()));
  });

  test('a client that reads nothing loses its own messages, is told, and holds up nobody', async () => {
    await bench.stop();
    bench = await new TelemetryBench({ historyMessages: 300 }).start();
    const deaf = await TelemetryTestClient.open(bench.url('?client_id=deaf'));
    const well = await TelemetryTestClient.open(bench.url());
    await Promise.all([deaf, well].map((reader) => reader.subscribe('big', 'all')));
    deaf.socket.pause();
    for (const n of sequence(1, 1_000)) {
      bench.publish('big', `${n} ${'x'.repeat(20_000)}`);
      if (n % 20 === 0) await well.until(() => well.received.length === n);
    }
    expect(well.seqs).toEqual(sequence(1, 1_000));
    bench.expectBalanced();
    deaf.socket.resume();
    await deaf.until(() => deaf.seqs.at(-1) === 1_000);
    const lost = deaf.of('loss').reduce((sum, { count }) => sum + count, 0);
    expect(lost).toBeGreaterThan(0);
    expect(deaf.received.length + lost).toBe(1_000);
    await Promise.all([deaf.close(), well.close()]);
  });

  test('a storm of reconnections of 1,000 clients leaves nothing behind', async () => {
    await bench.stop();
    bench = await new TelemetryBench({ sessionsMax: 2_000, resumeWindowMs: 0 }).start();
    bench.publish('pose', 1);
    for (let wave = 0; wave < 10; wave++) {
      const clients = await Promise.all(sequence(1, 100).map(() => TelemetryTestClient.open(bench.url())));
      await Promise.all(clients.map((client) => client.subscribe('#', 'latest')));
      for (const client of clients) client.socket.terminate();
    }
    const { stream } = bench.topics.get('pose')!;
    while (stream.readerCount > 0) await new Promise<void>((resolve) => setImmediate(resolve));
    expect(
      bench.lane.report().sessions.every(({ connected, subscriptions }) => !connected && subscriptions === 0),
    ).toBe(true);
  });
});

describe('shutting down', () => {
  test('critical messages leave first, then clients are told to go elsewhere, then 1001', async () => {
    const reader = await TelemetryTestClient.open(bench.url());
    await reader.subscribe('alarm', 'all');
    bench.publish('alarm', 'fire', { priority: Priority.critical });
    bench.lane.close();
    bench.lane.close();
    await reader.until(() => reader.closed !== undefined);
    expect(reader.values).toEqual(['fire']);
    expect(reader.of('notice')).toMatchObject([{ reason: 'drain', reconnect_after_ms: 1_000 }]);
    expect([reader.closed, reader.errors]).toEqual([1001, ['SHUTTING_DOWN']]);
  });
});
