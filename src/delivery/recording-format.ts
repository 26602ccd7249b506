import { Buffer } from 'node:buffer';
import { Payload } from '../protocol/payload.ts';

/**
 * How a telemetry message is written for the world of Foxglove, live and in MCAP files: as a JSON object beside a JSON
 * Schema. Both want an object at the root, so that what is none is put into one; the `form` tells how to get it back.
 *
 * - `object`: the message as it is
 * - `value`: `{ "value": <the message> }`
 * - `jpeg`: a `foxglove.CompressedImage` with the picture in base64
 * - `bytes`: `{ "data": <base64> }`
 */
export type MessageForm = 'object' | 'value' | 'jpeg' | 'bytes';

/** Under this key a channel of a recording tells its form. */
export const FORM_KEY = 'sightline.form';

export interface ForeignMessage {
  readonly form: MessageForm;
  /** UTF-8. */
  readonly json: Uint8Array;
}

/** A JSON Schema (2020-12), as far as it is used here. */
export interface JsonSchema {
  readonly type?: string;
  readonly title?: string;
  readonly contentEncoding?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
}

export interface ChannelSchema {
  readonly name: string;
  readonly schema: JsonSchema;
}

/** Deeper, and beyond so many properties, a schema says "anything": it is to help a person find a field. */
const SCHEMA_DEPTH_MAX = 12;
const SCHEMA_PROPERTIES_MAX = 2_000;
const NS_PER_MS = 1_000_000;

const TIMESTAMP: JsonSchema = {
  type: 'object',
  title: 'time',
  properties: { sec: { type: 'integer' }, nsec: { type: 'integer' } },
};
/** https://docs.foxglove.dev/docs/sdk/schemas/compressed-image */
const COMPRESSED_IMAGE: ChannelSchema = {
  name: 'foxglove.CompressedImage',
  schema: {
    type: 'object',
    properties: {
      timestamp: TIMESTAMP,
      frame_id: { type: 'string' },
      data: { type: 'string', contentEncoding: 'base64' },
      format: { type: 'string' },
    },
  },
};
const BYTES: ChannelSchema = {
  name: 'sightline.Bytes',
  schema: { type: 'object', properties: { data: { type: 'string', contentEncoding: 'base64' } } },
};

/** Unix milliseconds with a fraction as nanoseconds, without the loss that a product of doubles would have. */
export function toNs(ms: number): bigint {
  const whole = Math.floor(ms);
  return BigInt(whole) * BigInt(NS_PER_MS) + BigInt(Math.round((ms - whole) * NS_PER_MS));
}

export function toMs(ns: bigint): number {
  return Number(ns / BigInt(NS_PER_MS)) + Number(ns % BigInt(NS_PER_MS)) / NS_PER_MS;
}

/** `timeMs`: the message's own time, Unix ms. `source`: whose picture it is, for `frame_id`. */
export function toForeign(payload: Payload, timeMs: number, source: string): ForeignMessage {
  const { raw } = payload;
  if (raw !== undefined) return isJpeg(raw) ? picture(raw, timeMs, source) : encode('bytes', { data: base64(raw) });
  return isObject(payload.value())
    ? { form: 'object', json: payload.json() }
    : { form: 'value', json: wrapped(payload.json()) };
}

/** The message that `toForeign` was given. `form` undefined: a file of somebody else. Throws PAYLOAD_BAD. */
export function fromForeign(form: string | undefined, encoding: string, data: Uint8Array): Payload {
  if (encoding !== 'json') return Payload.bytes(data);
  if (form === undefined || form === 'object') return Payload.json(data);
  const wrapper = Payload.json(data).value();
  return form === 'value'
    ? Payload.of(field(wrapper, 'value'))
    : Payload.bytes(Buffer.from(String(field(wrapper, 'data')), 'base64'));
}

/** What a channel is called and how its messages are laid out, judged by one message of it. */
export function channelSchema(topic: string, form: MessageForm, payload: Payload): ChannelSchema {
  if (form === 'jpeg') return COMPRESSED_IMAGE;
  if (form === 'bytes') return BYTES;
  const value = form === 'value' ? { value: payload.value() } : payload.value();
  return { name: wellKnownName(value) ?? topic, schema: inferSchema(value) };
}

/** Integers are called numbers: the next message may hold a fraction. A list is described by its first element. */
export function inferSchema(value: unknown): JsonSchema {
  let propertiesLeft = SCHEMA_PROPERTIES_MAX;
  const infer = (part: unknown, depth: number): JsonSchema => {
    if (typeof part === 'number' || typeof part === 'string' || typeof part === 'boolean') return { type: typeof part };
    if (part === null || part === undefined || depth >= SCHEMA_DEPTH_MAX) return {};
    if (Array.isArray(part)) return { type: 'array', items: part.length > 0 ? infer(part[0], depth + 1) : {} };
    const entries = Object.entries(part).slice(0, propertiesLeft);
    propertiesLeft -= entries.length;
    // `fromEntries` defines properties: a key `__proto__` stays a key.
    return { type: 'object', properties: Object.fromEntries(entries.map(([key, v]) => [key, infer(v, depth + 1)])) };
  };
  return infer(value, 0);
}

/**
 * Foxglove's panels find what they can show by the schema's name (https://docs.foxglove.dev/docs/sdk/schemas): a message
 * that has the fields of such a schema gets its name.
 */
function wellKnownName(value: unknown): string | undefined {
  if (hasNumbers(value, ['latitude', 'longitude'])) return 'foxglove.LocationFix';
  const pose = field(value, 'pose');
  const isPose =
    hasNumbers(field(pose, 'position'), ['x', 'y', 'z']) &&
    hasNumbers(field(pose, 'orientation'), ['x', 'y', 'z', 'w']);
  return isPose && typeof field(value, 'frame_id') === 'string' ? 'foxglove.PoseInFrame' : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function field(value: unknown, key: string): unknown {
  return isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

function hasNumbers(value: unknown, keys: readonly string[]): boolean {
  return keys.every((key) => typeof field(value, key) === 'number');
}

function picture(bytes: Uint8Array, timeMs: number, source: string): ForeignMessage {
  const sec = Math.floor(timeMs / 1000);
  const nsec = Math.floor((timeMs - sec * 1000) * NS_PER_MS);
  return encode('jpeg', { timestamp: { sec, nsec }, frame_id: source, data: base64(bytes), format: 'jpeg' });
}

function encode(form: MessageForm, value: object): ForeignMessage {
  return { form, json: Buffer.from(JSON.stringify(value)) };
}

function wrapped(json: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from('{"value":'), json, Buffer.from('}')]);
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

function isJpeg(bytes: Uint8Array): boolean {
  return bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff;
}
