import fc from 'fast-check';
import { pack } from 'msgpackr';
import { describe, expect, test } from 'vitest';
import { messageValues } from '../../test/support/arbitraries.ts';
import { SightlineError } from '../base/errors.ts';
import type { Priority } from '../base/sample.ts';
import { Payload } from './payload.ts';
import {
  decodeTelemetryClientMessage,
  decodeTelemetryServerMessage,
  encodeData,
  encodeTelemetryClientMessage,
  encodeTelemetryServerMessage,
} from './telemetry-codec.ts';
import {
  CONTRACTS,
  PAYLOAD_CODECS,
  TELEMETRY_SUBPROTOCOLS,
  type TelemetryClientMessage,
  type TelemetryServerMessage,
} from './telemetry.ts';
import { DEPTH_MAX } from './wire-value.ts';

const U32_MAX = 2 ** 32 - 1;
const U16_MAX = 2 ** 16 - 1;
const SAFE = Number.MAX_SAFE_INTEGER;
const utf8 = new TextEncoder();

function refusal(run: () => unknown): SightlineError | undefined {
  try {
    run();
  } catch (thrown) {
    if (!(thrown instanceof SightlineError)) throw thrown;
    expect(thrown.message.length).toBeLessThan(400);
    return thrown;
  }
  return undefined;
}

const u32 = fc.nat(U32_MAX);
const seqs = fc.integer({ min: 1, max: SAFE });
/** JSON has no negative zero. */
const numbers = fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => (Object.is(n, -0) ? 0 : n));
const positive = fc.double({ min: 0.001, max: 10_000, noNaN: true });
const priorities = fc.constantFrom<Priority[]>(0, 1, 2, 3);
const topics = fc.constantFrom('a', 'rover/7/pose', 'é/b');
const texts = fc.string({ minLength: 1, maxLength: 30 });
const record = <T>(required: { [K in keyof T]: fc.Arbitrary<T[K]> }, optional: Record<string, fc.Arbitrary<unknown>>) =>
  fc.record({ ...required, ...optional } as Record<string, fc.Arbitrary<unknown>>, {
    requiredKeys: Object.keys(required),
    noNullPrototype: true,
  });

const clientMessages = fc.oneof(
  record(
    {
      type: fc.constant('subscribe'),
      id: u32,
      filter: fc.constantFrom('a', '#', 'a/+/b'),
      contract: fc.constantFrom(...CONTRACTS),
      hz: positive,
    },
    {
      ttl_ms: positive,
      codecs: fc.uniqueArray(fc.constantFrom(...PAYLOAD_CODECS), { maxLength: 4 }),
      since: fc.array(fc.record({ topic: topics, epoch: u32, seq: fc.nat(SAFE) }, { noNullPrototype: true }), {
        maxLength: 3,
      }),
      group: texts,
    },
  ),
  record({ type: fc.constant('unsubscribe'), id: u32 }, {}),
  record({ type: fc.constant('advertise'), alias: u32, topic: topics }, {}),
  record(
    { type: fc.constant('publish'), topic: topics, data: messageValues },
    { time: numbers, priority: priorities, ttl_ms: positive, seq: seqs },
  ),
  record({ type: fc.constant('ack'), id: u32, topic_id: u32, seq: fc.nat(SAFE) }, {}),
  record({ type: fc.constant('report'), lag_ms: fc.double({ min: 0, max: 1e9, noNaN: true }) }, {}),
  record({ type: fc.constant('clock'), t0: numbers }, {}),
) as unknown as fc.Arbitrary<TelemetryClientMessage>;

const limits = record<Record<string, number>>(
  Object.fromEntries(
    ['message_bytes_max', 'batch_messages_max', 'subscriptions_max', 'publish_rate_max', 'history_messages'].map(
      (name) => [name, fc.nat()],
    ),
  ),
  {},
);
const serverMessages = fc.oneof(
  record(
    {
      type: fc.constant('welcome'),
      protocol: fc.constant(1),
      client_id: texts,
      token: texts,
      resumed: fc.boolean(),
      server_time: numbers,
      limits,
    },
    {},
  ),
  record({ type: fc.constant('subscribed'), id: u32, filter: texts }, {}),
  record({ type: fc.constant('unsubscribed'), id: u32 }, {}),
  record(
    {
      type: fc.constant('topic'),
      id: u32,
      topic: topics,
      topic_id: u32,
      epoch: u32,
      seq: fc.nat(SAFE),
      recovered: fc.boolean(),
    },
    {},
  ),
  record(
    {
      type: fc.constant('schema'),
      schema_id: fc.integer({ min: 1, max: U16_MAX }),
      fields: fc.constant([
        { path: 'a.b', kind: 'f64' },
        { path: 'c', kind: 'json' },
      ]),
    },
    {},
  ),
  record({ type: fc.constant('published'), topic: topics, seq: fc.nat(SAFE) }, {}),
  record(
    {
      type: fc.constant('loss'),
      id: u32,
      topic_id: u32,
      from: seqs,
      to: seqs,
      count: fc.nat(),
      cause: fc.constantFrom('overflow', 'expired', 'slow_reader', 'disconnected'),
    },
    {},
  ),
  record(
    { type: fc.constant('notice'), reason: fc.constantFrom('queue', 'rate', 'drain'), message: texts },
    { penalty: fc.constantFrom('warn', 'slow', 'mute'), reconnect_after_ms: fc.nat() },
  ),
  record(
    { type: fc.constant('error'), code: fc.constantFrom('TOPIC_BAD', 'INTERNAL'), message: texts },
    { id: u32, topic: topics, seq: fc.nat() },
  ),
  record(
    {
      type: fc.constant('data'),
      topic_id: u32,
      seq: seqs,
      messages: fc.array(
        fc.record({ time: numbers, priority: priorities, data: messageValues }, { noNullPrototype: true }),
        {
          maxLength: 3,
        },
      ),
    },
    {},
  ),
  record({ type: fc.constant('clock'), t0: numbers, t1: numbers, t2: numbers }, {}),
) as unknown as fc.Arbitrary<TelemetryServerMessage>;

describe.each(TELEMETRY_SUBPROTOCOLS)('%s', (protocol) => {
  test('what a client sends comes through', () => {
    fc.assert(
      fc.property(clientMessages, (message) => {
        const encoded = encodeTelemetryClientMessage(message, protocol);
        expect(typeof encoded === 'string').toBe(protocol !== 'sightline.v1.msgpack');
        expect(decodeTelemetryClientMessage(encoded)).toEqual(message);
      }),
      { numRuns: 300 },
    );
  });

  test('what a server sends comes through', () => {
    fc.assert(
      fc.property(serverMessages, (message) => {
        expect(decodeTelemetryServerMessage(encodeTelemetryServerMessage(message, protocol))).toEqual(message);
      }),
      { numRuns: 300 },
    );
  });
});

describe('bad messages', () => {
  const whole = { type: 'subscribe', id: 1, filter: 'a', contract: 'sampled', hz: 5 };
  const publish = { type: 'publish', topic: 'a', data: 1 };
  const since = (entry: unknown) => ({ ...whole, since: [entry] });
  test.each([
    ['id', { ...whole, id: -1 }],
    ['id', { ...whole, id: 1.5 }],
    ['id', { ...whole, id: '1' }],
    ['id', { ...whole, id: U32_MAX + 1 }],
    ['id', { ...whole, id: null }],
    ['filter', { ...whole, filter: 'a/#/b' }, 'FILTER_BAD'],
    ['filter', { ...whole, filter: undefined }, 'FILTER_BAD'],
    ['contract', { ...whole, contract: 'some' }],
    ['contract', { ...whole, contract: ['all'] }],
    ['hz', { ...whole, hz: 0 }],
    ['hz', { ...whole, hz: 1e9 }],
    ['hz', { ...whole, hz: undefined }],
    ['ttl_ms', { ...whole, ttl_ms: -5 }],
    ['codecs', { ...whole, codecs: 'json' }],
    ['codecs', { ...whole, codecs: ['xml'] }],
    ['codecs', { ...whole, codecs: ['json', 'json', 'json', 'json', 'json'] }],
    ['since', { ...whole, since: {} }],
    ['since', { ...whole, since: Array.from({ length: 1001 }, () => 1) }],
    ['since', since(5)],
    ['topic', since({ epoch: 1, seq: 1 }), 'TOPIC_BAD'],
    ['since.epoch', since({ topic: 'a', epoch: -1, seq: 1 })],
    ['since.seq', since({ topic: 'a', epoch: 1, seq: 0.5 })],
    ['group', { ...whole, group: '' }],
    ['group', { ...whole, group: 'x'.repeat(65) }],
    ['alias', { type: 'advertise', alias: 'x', topic: 'a' }],
    ['topic', { type: 'advertise', alias: 1, topic: 'a/#' }, 'TOPIC_BAD'],
    ['topic', { ...publish, topic: 'x'.repeat(100_000) }, 'TOPIC_BAD'],
    ['data', { type: 'publish', topic: 'a' }],
    ['time', { ...publish, time: 'now' }],
    ['time', { ...publish, time: null }],
    ['priority', { ...publish, priority: 4 }],
    ['seq', { ...publish, seq: 0 }],
    ['seq', { ...publish, seq: 2 ** 60 }],
    ['topic_id', { type: 'ack', id: 1, topic_id: {}, seq: 1 }],
    ['lag_ms', { type: 'report', lag_ms: -1 }],
    ['t0', { type: 'clock' }],
  ])('%s is named: %j', (field, message, code = 'MESSAGE_FIELD_BAD') => {
    for (const encoded of [JSON.stringify(message), pack(JSON.parse(JSON.stringify(message)))]) {
      const error = refusal(() => decodeTelemetryClientMessage(encoded));
      expect(error).toMatchObject({ code, message: expect.stringContaining(field) });
    }
  });

  test.each([
    ['of no type', '{}', 'MESSAGE_TYPE_UNKNOWN'],
    ['of a type that is inherited', '{"type":"toString"}', 'MESSAGE_TYPE_UNKNOWN'],
    ['of a type that is no text', '{"type":["ack"]}', 'MESSAGE_TYPE_UNKNOWN'],
    ['of the server', '{"type":"welcome"}', 'MESSAGE_TYPE_UNKNOWN'],
    ['that are lists', '[]', 'MESSAGE_NOT_JSON'],
    ['that are null', 'null', 'MESSAGE_NOT_JSON'],
    ['that are cut', '{"type":"clock"', 'MESSAGE_NOT_JSON'],
    ['that are empty', '', 'MESSAGE_NOT_JSON'],
    ['with a prototype', '{"type":"publish","topic":"a","data":{"__proto__":{}}}', 'MESSAGE_NOT_JSON'],
    ['that are a prototype', '{"__proto__":{"type":"clock","t0":1}}', 'MESSAGE_NOT_JSON'],
    ['that are deep', `{"type":"publish","topic":"a","data":${'['.repeat(1e5)}${']'.repeat(1e5)}}`, 'MESSAGE_NOT_JSON'],
  ])('%s', (_, text, code) => {
    expect(refusal(() => decodeTelemetryClientMessage(text))).toMatchObject({ code });
  });

  test('whose data is as deep as it may be are taken in every form', () => {
    for (const [levels, code] of [
      [DEPTH_MAX, undefined],
      [DEPTH_MAX + 1, 'MESSAGE_NOT_JSON'],
    ] as const) {
      const value = JSON.parse('['.repeat(levels) + ']'.repeat(levels)) as unknown;
      const publish = { type: 'publish', topic: 'a', data: value };
      const data = { type: 'data', topic_id: 1, seq: 1, messages: [{ time: 1, data: value }] };
      for (const write of [JSON.stringify, pack]) {
        expect(refusal(() => decodeTelemetryClientMessage(write(publish)))?.code).toBe(code);
        expect(refusal(() => decodeTelemetryServerMessage(write(data)))?.code).toBe(code);
      }
    }
  });

  test('in MessagePack: whatever the bytes are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        expect(refusal(() => decodeTelemetryClientMessage(bytes))?.code).toMatch(/^MESSAGE_/);
        expect(refusal(() => decodeTelemetryServerMessage(bytes))?.code).toMatch(/^MESSAGE_/);
      }),
      { numRuns: 1000 },
    );
  });

  test('what is not known of a message is left behind', () => {
    expect(decodeTelemetryClientMessage('{"type":"clock","t0":1,"x":2}')).toEqual({ type: 'clock', t0: 1 });
    // Layouts belong to the connection, whatever topic somebody names.
    const schema = { type: 'schema', schema_id: U16_MAX, fields: [{ path: 'a', kind: 'f64' }] };
    expect(decodeTelemetryServerMessage(JSON.stringify({ ...schema, topic_id: 1 }))).toEqual(schema);
  });

  test('from a server are refused too', () => {
    const bad = [
      { type: 'schema', schema_id: 1, fields: [{ path: 'a' }] },
      { type: 'schema', schema_id: 1, fields: [5] },
      { type: 'schema', schema_id: 1, fields: {} },
      { type: 'schema', schema_id: 0, fields: [{ path: 'a', kind: 'f64' }] },
      { type: 'schema', schema_id: U16_MAX + 1, fields: [{ path: 'a', kind: 'f64' }] },
      { type: 'schema', schema_id: 1.5, fields: [{ path: 'a', kind: 'f64' }] },
      { type: 'schema', fields: [{ path: 'a', kind: 'f64' }] },
      { type: 'data', topic_id: 1, seq: 1, messages: [{ time: 1 }] },
      { type: 'data', topic_id: 1, seq: 1, messages: [7] },
      { type: 'data', topic_id: 1, seq: 0, messages: [] },
      { type: 'topic', id: 1, topic: 'a', topic_id: 1, epoch: 1, seq: 1, recovered: 1 },
      { type: 'welcome', limits: 5 },
      { type: 'loss', id: 1, topic_id: 1, from: 1, to: 2, count: 1, cause: 'magic' },
    ];
    for (const message of bad) {
      expect(refusal(() => decodeTelemetryServerMessage(JSON.stringify(message)))).toMatchObject({
        code: 'MESSAGE_FIELD_BAD',
      });
    }
  });
});

describe('data', () => {
  const messages = fc.array(fc.record({ timeMs: numbers, priority: priorities, data: messageValues }), {
    minLength: 1,
    maxLength: 40,
  });

  test.each(['json', 'msgpack'] as const)('in %s is put together from payloads of any form', (form) => {
    fc.assert(
      fc.property(u32, seqs, messages, fc.nat(2), (topicId, seq, all, came) => {
        const payloadOf = (value: unknown) => {
          if (came === 0) return Payload.of(value);
          return came === 1
            ? Payload.json(utf8.encode(JSON.stringify(value)))
            : Payload.msgpack(Uint8Array.from(pack(value)));
        };
        const batch = all.map(({ timeMs, priority, data }) => ({ timeMs, priority, payload: payloadOf(data) }));
        const bytes = encodeData(topicId, seq, batch, form);
        expect(decodeTelemetryServerMessage(form === 'json' ? Buffer.from(bytes).toString() : bytes)).toEqual({
          type: 'data',
          topic_id: topicId,
          seq,
          messages: all.map(({ timeMs, priority, data }) => ({ time: timeMs, priority, data })),
        });
      }),
      { numRuns: 200 },
    );
  });

  test('that came as text goes as the very same text', () => {
    const payload = Payload.json(utf8.encode('{ "a":1.0e0 }'));
    const bytes = encodeData(
      5,
      6,
      [
        { timeMs: 7, priority: 1, payload },
        { timeMs: 8, priority: 2, payload },
      ],
      'json',
    );
    expect(Buffer.from(bytes).toString()).toBe(
      '{"type":"data","topic_id":5,"seq":6,"messages":[{"time":7,"data":{ "a":1.0e0 }},{"time":8,"priority":2,"data":{ "a":1.0e0 }}]}',
    );
  });

  test('may be bytes: a byte string in MessagePack, base64 in JSON', () => {
    const batch = [{ timeMs: 1, priority: 1, payload: Payload.bytes(Uint8Array.of(0, 255)) }] as const;
    const [packed] = decodeData(encodeData(1, 1, batch, 'msgpack'));
    expect(Buffer.from(packed as Uint8Array)).toEqual(Buffer.of(0, 255));
    const [text] = decodeData(Buffer.from(encodeData(1, 1, batch, 'json')).toString());
    expect(text).toEqual({ base64: 'AP8=' });
    const publish = decodeTelemetryClientMessage(pack({ type: 'publish', topic: 'a', data: Uint8Array.of(9) }));
    expect(publish).toMatchObject({ data: expect.any(Uint8Array) });
    expect(
      refusal(() => decodeTelemetryClientMessage(pack({ type: 'publish', topic: 'a', data: [Uint8Array.of(9)] }))),
    ).toMatchObject({ code: 'MESSAGE_NOT_JSON' });
  });

  function decodeData(encoded: string | Uint8Array): unknown[] {
    const message = decodeTelemetryServerMessage(encoded);
    return message.type === 'data' ? message.messages.map((sample) => sample.data) : [];
  }
});
