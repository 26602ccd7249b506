import { SightlineError, type ErrorCode } from '../base/errors.ts';
import { Priority } from '../base/sample.ts';
import type { BatchMessage } from './batch.ts';
import { writeMsgpack } from './msgpack-writer.ts';
import { quote } from './quote.ts';
import { shapeOf } from './schema.ts';
import type * as t from './telemetry.ts';
import { CLIENT_SCHEMAS_MAX, CONTRACTS, PAYLOAD_CODECS } from './telemetry.ts';
import { checkFilter, checkTopic } from './topic.ts';
import type { ClockReply, ClockRequest } from './video.ts';
import { checkMsgpack, parseCheckedMsgpack, parseJsonText } from './wire-value.ts';

/**
 * Control messages and `data` messages of the telemetry lane: JSON text, or MessagePack in binary messages. What comes in is
 * looked at field by field; what is not known of it is left behind.
 */

const U32_MAX = 0xffff_ffff;
const U16_MAX = 0xffff;
const HZ_MAX = 10_000;
const SINCE_MAX = 1_000;
const GROUP_CHARS_MAX = 64;
const TEXT_CHARS_MAX = 1_000;
const MESSAGES_MAX = 10_000;
/** Levels above a message's data: in `publish`, and in the list of a `data` message. */
const LEVELS_OF_PUBLISH = 1;
const LEVELS_OF_DATA = 3;

/** Gives a field's value or throws MESSAGE_FIELD_BAD; `undefined` leaves the field out. */
type Check<T> = (value: unknown, field: string) => T;
/** One check for each field; those of optional fields may give `undefined`. */
type Checks<T> = {
  readonly [K in Exclude<keyof T, 'type'>]-?: Check<undefined extends T[K] ? unknown : T[K]>;
};

const clientMessages: { readonly [K in t.TelemetryClientMessage as K['type']]: Checks<K> } = {
  subscribe: {
    id: integer(0, U32_MAX),
    filter: (value) => {
      checkFilter(value);
      return value;
    },
    contract: oneOf(CONTRACTS),
    hz: optional(positive(HZ_MAX)),
    ttl_ms: optional(positive(Number.MAX_SAFE_INTEGER)),
    codecs: optional(list(oneOf(PAYLOAD_CODECS), PAYLOAD_CODECS.length)),
    since: optional(
      list(
        record<t.TopicPosition>({
          topic,
          epoch: integer(0, U32_MAX),
          seq: integer(0, Number.MAX_SAFE_INTEGER),
        }),
        SINCE_MAX,
      ),
    ),
    group: optional(text(GROUP_CHARS_MAX)),
  },
  unsubscribe: { id: integer(0, U32_MAX) },
  advertise: { alias: integer(0, U32_MAX), topic },
  schema: { schema_id: integer(1, CLIENT_SCHEMAS_MAX), fields: schemaFields },
  publish: {
    topic,
    data: present,
    time: optional(finite),
    priority: optional(priority),
    ttl_ms: optional(positive(Number.MAX_SAFE_INTEGER)),
    seq: optional(integer(1, Number.MAX_SAFE_INTEGER)),
  },
  skip: { topic, seq: integer(0, Number.MAX_SAFE_INTEGER) },
  ack: { id: integer(0, U32_MAX), topic_id: integer(0, U32_MAX), seq: integer(0, Number.MAX_SAFE_INTEGER) },
  report: { lag_ms: notNegative },
  clock: { t0: finite } satisfies Checks<ClockRequest>,
};

const clockReply: Checks<ClockReply> = { t0: finite, t1: finite, t2: finite };

const serverMessages: { readonly [K in t.TelemetryServerMessage as K['type']]: Checks<K> } = {
  welcome: {
    protocol: integer(1, U32_MAX),
    client_id: text(TEXT_CHARS_MAX),
    token: text(TEXT_CHARS_MAX),
    resumed: truth,
    server_time: finite,
    limits: record<t.TelemetryLimits>({
      message_bytes_max: notNegative,
      batch_messages_max: notNegative,
      subscriptions_max: notNegative,
      publish_rate_max: notNegative,
      history_messages: notNegative,
    }),
  },
  subscribed: { id: integer(0, U32_MAX), filter: text(TEXT_CHARS_MAX) },
  unsubscribed: { id: integer(0, U32_MAX) },
  topic: {
    id: integer(0, U32_MAX),
    topic,
    topic_id: integer(0, U32_MAX),
    epoch: integer(0, U32_MAX),
    seq: integer(0, Number.MAX_SAFE_INTEGER),
    recovered: truth,
  },
  schema: { schema_id: integer(1, U16_MAX), fields: schemaFields },
  published: { topic, seq: integer(0, Number.MAX_SAFE_INTEGER) },
  loss: {
    id: integer(0, U32_MAX),
    topic_id: integer(0, U32_MAX),
    from: integer(1, Number.MAX_SAFE_INTEGER),
    to: integer(1, Number.MAX_SAFE_INTEGER),
    count: integer(0, Number.MAX_SAFE_INTEGER),
    cause: oneOf<t.TelemetryLossCause>(['overflow', 'expired', 'slow_reader', 'disconnected']),
  },
  notice: {
    reason: oneOf<t.NoticeMessage['reason']>(['queue', 'rate', 'drain']),
    message: text(TEXT_CHARS_MAX),
    penalty: optional(oneOf(['warn', 'slow', 'mute'])),
    reconnect_after_ms: optional(notNegative),
  },
  error: {
    // A newer server may have codes that this client does not know.
    code: (value, field) => text(TEXT_CHARS_MAX)(value, field) as ErrorCode,
    message: text(TEXT_CHARS_MAX),
    id: optional(integer(0, U32_MAX)),
    topic: optional(text(TEXT_CHARS_MAX)),
    seq: optional(integer(0, Number.MAX_SAFE_INTEGER)),
    count: optional(integer(0, Number.MAX_SAFE_INTEGER)),
    alias: optional(integer(0, U32_MAX)),
    expected: optional(integer(0, Number.MAX_SAFE_INTEGER)),
    retry_after_ms: optional(notNegative),
  },
  data: {
    topic_id: integer(0, U32_MAX),
    seq: integer(1, Number.MAX_SAFE_INTEGER),
    messages: list(sample, MESSAGES_MAX),
  },
  clock: clockReply,
};

/**
 * A client's message: a JSON text, or bytes that are MessagePack. Throws SightlineError MESSAGE_NOT_JSON,
 * MESSAGE_TYPE_UNKNOWN, MESSAGE_FIELD_BAD, TOPIC_BAD or FILTER_BAD.
 */
export function decodeTelemetryClientMessage(data: string | Uint8Array): t.TelemetryClientMessage {
  return checkTelemetryClientMessage(parse(data, LEVELS_OF_PUBLISH));
}

/** The fields of a client's message, as its server will look at them. Throws as `decodeTelemetryClientMessage`. */
export function checkTelemetryClientMessage(message: Record<string, unknown>): t.TelemetryClientMessage {
  const decoded = decode<t.TelemetryClientMessage>(message, clientMessages);
  if (decoded.type === 'subscribe' && decoded.contract === 'sampled' && decoded.hz === undefined) {
    throw new SightlineError('MESSAGE_FIELD_BAD', 'hz is missing: the contract sampled needs it');
  }
  return decoded;
}

/** A server's message: see `decodeTelemetryClientMessage`. */
export function decodeTelemetryServerMessage(data: string | Uint8Array): t.TelemetryServerMessage {
  return decode<t.TelemetryServerMessage>(parse(data, LEVELS_OF_DATA), serverMessages);
}

/** Text for the subprotocols of JSON and binary batches, bytes for MessagePack. */
export function encodeTelemetryClientMessage(
  message: t.TelemetryClientMessage,
  protocol: t.TelemetrySubprotocol,
): string | Uint8Array {
  return encode(message, protocol);
}

/** Text for the subprotocols of JSON and binary batches, bytes for MessagePack. */
export function encodeTelemetryServerMessage(
  message: t.TelemetryServerMessage,
  protocol: t.TelemetrySubprotocol,
): string | Uint8Array {
  return encode(message, protocol);
}

/**
 * A `data` message in one piece, as the bytes of a JSON text or of MessagePack. Payloads that came in that form are put in as
 * they are. `seq`: of the first message.
 */
export function encodeData(
  topicId: number,
  seq: number,
  messages: readonly BatchMessage[],
  form: 'json' | 'msgpack',
): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] =
    form === 'json' ? jsonParts(topicId, seq, messages) : msgpackParts(topicId, seq, messages);
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const encoder = new TextEncoder();
const JSON_END = encoder.encode(']}');
const JSON_MESSAGE_END = encoder.encode('}');
const KEY_DATA = writeMsgpack('data');

function jsonParts(topicId: number, seq: number, messages: readonly BatchMessage[]): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let between = `{"type":"data","topic_id":${topicId},"seq":${seq},"messages":[`;
  for (const { timeMs, priority, payload } of messages) {
    const rank = priority === Priority.normal ? '' : `"priority":${priority},`;
    parts.push(encoder.encode(`${between}{"time":${timeMs},${rank}"data":`), payload.json(), JSON_MESSAGE_END);
    between = ',';
  }
  parts.push(JSON_END);
  return parts;
}

function msgpackParts(topicId: number, seq: number, messages: readonly BatchMessage[]): Uint8Array[] {
  // What stands in front of the list is written as if the list were empty; its head, the last byte, is written anew.
  const head = writeMsgpack({ type: 'data', topic_id: topicId, seq, messages: [] });
  const parts: Uint8Array[] = [head.slice(0, -1), listHead(messages.length)];
  for (const { timeMs, priority, payload } of messages) {
    const fields = priority === Priority.normal ? { time: timeMs } : { time: timeMs, priority };
    const own = writeMsgpack(fields);
    // A map of so many entries (0x80 + n) gets one more.
    own[0]! += 1;
    parts.push(own, KEY_DATA, payload.msgpack());
  }
  return parts;
}

function listHead(count: number): Uint8Array {
  return count < 16 ? Uint8Array.of(0x90 | count) : Uint8Array.of(0xdc, count >>> 8, count & 0xff);
}

function encode(message: object, protocol: t.TelemetrySubprotocol): string | Uint8Array {
  return protocol === 'sightline.v1.msgpack' ? writeMsgpack(message) : JSON.stringify(message);
}

function parse(data: string | Uint8Array, levelsAbove: number): Record<string, unknown> {
  let value: unknown;
  try {
    if (typeof data === 'string') value = parseJsonText(data, levelsAbove);
    else {
      checkMsgpack(data, levelsAbove);
      value = parseCheckedMsgpack(data);
    }
  } catch (cause) {
    // What begins with a brace is JSON all the same.
    const hint = typeof data !== 'string' && data[0] === 0x7b ? '; JSON goes in text messages' : '';
    const why = `the message cannot be read: ${(cause as Error).message}${hint}`;
    throw new SightlineError('MESSAGE_NOT_JSON', why, { cause });
  }
  if (!isRecord(value))
    throw new SightlineError('MESSAGE_NOT_JSON', `the message is ${quote(value)} instead of an object`);
  return value;
}

function decode<M extends { type: string }>(
  message: Record<string, unknown>,
  table: Readonly<Record<M['type'], object>>,
): M {
  const type = message['type'];
  if (typeof type !== 'string' || !Object.hasOwn(table, type)) {
    throw new SightlineError(
      'MESSAGE_TYPE_UNKNOWN',
      `message type ${quote(type)} is none of ${Object.keys(table).join(', ')}`,
    );
  }
  const checks = table[type as M['type']] as Record<string, Check<unknown>>;
  return readFields(message, checks, '', { type }) as unknown as M;
}

function readFields(
  message: Record<string, unknown>,
  checks: Record<string, Check<unknown>>,
  prefix: string,
  read: Record<string, unknown> = {},
): Record<string, unknown> {
  for (const field in checks) {
    const value = checks[field]!(message[field], prefix + field);
    if (value !== undefined) read[field] = value;
  }
  return read;
}

function record<T>(checks: Checks<T>): Check<T> {
  return (value, field) => {
    if (!isRecord(value)) throw badField(field, value, 'an object');
    return readFields(value, checks as Record<string, Check<unknown>>, `${field}.`) as T;
  };
}

function list<T>(check: Check<T>, lengthMax: number): Check<T[]> {
  return (value, field) => {
    if (!Array.isArray(value) || value.length > lengthMax)
      throw badField(field, value, `a list of at most ${lengthMax}`);
    return value.map((element: unknown) => check(element, field));
  };
}

function optional<T>(check: Check<T>): Check<T | undefined> {
  return (value, field) => (value === undefined ? undefined : check(value, field));
}

function integer(min: number, max: number): Check<number> {
  return (value, field) => {
    if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max) return value as number;
    throw badField(field, value, `a whole number from ${min} to ${max}`);
  };
}

function positive(max: number): Check<number> {
  return (value, field) => {
    if (typeof value === 'number' && value > 0 && value <= max) return value;
    throw badField(field, value, `a number over 0 and up to ${max}`);
  };
}

function notNegative(value: unknown, field: string): number {
  if (typeof value === 'number' && value >= 0 && value < Infinity) return value;
  throw badField(field, value, 'a number from 0 on');
}

function finite(value: unknown, field: string): number {
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw badField(field, value, 'a number');
}

function truth(value: unknown, field: string): boolean {
  if (typeof value === 'boolean') return value;
  throw badField(field, value, 'true or false');
}

function text(charsMax: number): Check<string> {
  return (value, field) => {
    if (typeof value === 'string' && value.length > 0 && value.length <= charsMax) return value;
    throw badField(field, value, `a text of 1 to ${charsMax} characters`);
  };
}

function topic(value: unknown): string {
  checkTopic(value);
  return value;
}

function present(value: unknown, field: string): unknown {
  if (value === undefined) throw new SightlineError('MESSAGE_FIELD_BAD', `${field} is missing`);
  return value;
}

function priority(value: unknown, field: string): Priority {
  if (value === 0 || value === 1 || value === 2 || value === 3) return value;
  throw badField(field, value, '0 to 3');
}

function oneOf<T extends string>(allowed: readonly T[]): Check<T> {
  return (value, field) => {
    if (allowed.includes(value as T)) return value as T;
    throw badField(field, value, `one of ${allowed.join(', ')}`);
  };
}

/** A hot path: every message of a JSON or MessagePack reader comes through here. */
function sample(value: unknown, field: string): t.TelemetrySample {
  if (!isRecord(value)) throw badField(field, value, 'a list of objects');
  const { time, priority: rank = Priority.normal, data } = value;
  return { time: finite(time, 'time'), priority: priority(rank, 'priority'), data: present(data, 'data') };
}

function schemaFields(value: unknown, field: string): t.SchemaField[] {
  if (!Array.isArray(value)) throw badField(field, value, 'a list');
  const fields = value.map((entry: unknown) => {
    if (!isRecord(entry) || typeof entry['path'] !== 'string')
      throw badField(field, entry, 'a list of paths and kinds');
    return { path: entry['path'], kind: entry['kind'] as t.FieldKind };
  });
  // Making it ready is what finds out whether it is sound; the result is kept for the first batch.
  shapeOf(fields);
  return fields;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}

function badField(field: string, value: unknown, expected: string): SightlineError {
  return new SightlineError('MESSAGE_FIELD_BAD', `${field} ${quote(value)} is not ${expected}`);
}
