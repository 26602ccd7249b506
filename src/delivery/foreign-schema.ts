import { LARGE_BYTES, type Payload } from '../protocol/payload.ts';
import { isPlainObject } from '../protocol/schema.ts';
import type { MessageForm } from './recording-format.ts';

/**
 * JSON Schemas (2020-12) of messages, as far as the readers of Foxglove's world take them: an object at the root; below it objects,
 * lists, texts, numbers and booleans, each of one type; no list directly in a list; nothing that says "anything". One
 * field outside of this and they refuse the whole channel (Lichtblick, packages/mcap-support/src/parseJsonSchema.ts). So a
 * schema leaves out fields that it cannot describe: they are in the messages all the same.
 */
export interface JsonSchema {
  readonly type: 'object' | 'array' | 'string' | 'number' | 'integer' | 'boolean';
  readonly title?: string;
  readonly contentEncoding?: 'base64';
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
}

export interface ChannelSchema {
  readonly name: string;
  readonly schema: JsonSchema;
}

/** Deeper parts, and those beyond this many properties and list elements together, are left out: a schema helps a person find a field. */
const DEPTH_MAX = 12;
const PARTS_MAX = 2_000;
/** Of a schema's JSON, characters: about a thousand fields. Further ones, and those with longer names, are left out. */
export const SCHEMA_CHARS_MAX = 32 * 1024;
/** What a field takes of them without its name and what is in it: `{"type":"boolean"}`, `{"type":"array","items":}`, `{"type":"object","properties":{}}`. */
const LEAF_CHARS = 18;
const LIST_CHARS = 25;
const OBJECT_CHARS = 33;
/** With its name: quotes are those of JSON, a colon and a comma. */
const NAME_CHARS = 2;
/** Elements of a list that are looked at, spread over it. */
const ELEMENTS_MAX = 64;

const NUMBER: JsonSchema = { type: 'number' };
const INTEGER: JsonSchema = { type: 'integer' };
const STRING: JsonSchema = { type: 'string' };
const NUMBERS: JsonSchema = { type: 'array', items: NUMBER };
const BASE64: JsonSchema = { type: 'string', contentEncoding: 'base64' };
const TIMESTAMP: JsonSchema = { type: 'object', title: 'time', properties: { sec: INTEGER, nsec: INTEGER } };

function object(properties: Readonly<Record<string, JsonSchema>>): JsonSchema {
  return { type: 'object', properties };
}

/**
 * Foxglove's panels find their messages by the schema's name (https://docs.foxglove.dev/docs/sdk/schemas), and take one
 * definition for each name: two that differ are an error there.
 */
export const WELL_KNOWN = {
  'foxglove.CompressedImage': object({ timestamp: TIMESTAMP, frame_id: STRING, data: BASE64, format: STRING }),
  'foxglove.CompressedVideo': object({ timestamp: TIMESTAMP, frame_id: STRING, data: BASE64, format: STRING }),
  'foxglove.LocationFix': object({
    timestamp: TIMESTAMP,
    frame_id: STRING,
    latitude: NUMBER,
    longitude: NUMBER,
    altitude: NUMBER,
    position_covariance: NUMBERS,
    position_covariance_type: INTEGER,
  }),
  'foxglove.PoseInFrame': object({
    timestamp: TIMESTAMP,
    frame_id: STRING,
    pose: object({
      position: object({ x: NUMBER, y: NUMBER, z: NUMBER }),
      orientation: object({ x: NUMBER, y: NUMBER, z: NUMBER, w: NUMBER }),
    }),
  }),
} as const satisfies Readonly<Record<string, JsonSchema>>;

export type WellKnownName = keyof typeof WELL_KNOWN;

/** Fields that a message of this name must have. */
const REQUIRED: readonly (readonly [WellKnownName, JsonSchema])[] = [
  ['foxglove.LocationFix', object({ latitude: NUMBER, longitude: NUMBER })],
  ['foxglove.PoseInFrame', WELL_KNOWN['foxglove.PoseInFrame']],
  ['foxglove.CompressedVideo', WELL_KNOWN['foxglove.CompressedVideo']],
];
/** What else has its fields is a picture. */
const VIDEO_FORMATS: readonly unknown[] = ['h264', 'h265', 'vp9', 'av1'];
/** The beginning of a frame of a camera as `camera-recording.ts` writes it: a key frame may be too large to be looked into. */
const LARGE_VIDEO = /^\{"timestamp":\{"sec":\d+,"nsec":\d+\},"frame_id":"[^"\\]*","format":"h26[45]",/;
const LARGE_VIDEO_BYTES = 256;
const OPTIONAL = ['timestamp'];

/** A large message is not read to find out what is in it: its schema names no field. */
export function isLookedInto(payload: Payload): boolean {
  return payload.byteLength <= LARGE_BYTES;
}

/** The name and the layout of a channel's messages, judged by one of them. The work is bounded. */
export function channelSchema(topic: string, form: MessageForm, payload: Payload): ChannelSchema {
  if (form === 'jpeg') return wellKnown('foxglove.CompressedImage');
  if (form === 'bytes') return { name: 'sightline.Bytes', schema: object({ data: BASE64 }) };
  const isLarge = !isLookedInto(payload);
  if (isLarge && isLargeVideo(payload)) return wellKnown('foxglove.CompressedVideo');
  const value = isLarge ? {} : form === 'value' ? { value: payload.value() } : payload.value();
  const known = REQUIRED.find(
    ([name, required]) => has(value, required) && fits(value, WELL_KNOWN[name]) && isOf(name, value),
  );
  return known ? wellKnown(known[0]) : { name: topic, schema: inferSchema(value) };
}

export function wellKnown(name: WellKnownName): ChannelSchema {
  return { name, schema: WELL_KNOWN[name] };
}

function isOf(name: WellKnownName, value: unknown): boolean {
  return name !== 'foxglove.CompressedVideo' || VIDEO_FORMATS.includes((value as { readonly format: unknown }).format);
}

/** Only where its text is at hand. */
function isLargeVideo(payload: Payload): boolean {
  if (payload.form !== 'json' && payload.form !== 'value') return false;
  const { buffer, byteOffset } = payload.json();
  return LARGE_VIDEO.test(Buffer.from(buffer, byteOffset, LARGE_VIDEO_BYTES).toString('latin1'));
}

/** Known type of a part: a type, `undefined` while there is no evidence, `mixed` when no one type fits. */
type Draft = 'mixed' | 'number' | 'string' | 'boolean' | { items: Draft | undefined } | Map<string, Draft>;

/**
 * The schema of an object; for anything else that of an object without properties. Integers are called numbers: the next
 * message may hold a fraction. Parts that are null, empty, of several types or a list of lists are left out, and those for which
 * there is no room.
 */
export function inferSchema(value: unknown): JsonSchema {
  const draft = draftOf(value, 0, { parts: PARTS_MAX });
  return (draft instanceof Map ? settle(draft, { chars: SCHEMA_CHARS_MAX }) : undefined) ?? object({});
}

function draftOf(value: unknown, depth: number, left: { parts: number }): Draft {
  if (typeof value === 'number' || typeof value === 'string' || typeof value === 'boolean') {
    return typeof value as 'number' | 'string' | 'boolean';
  }
  if (depth >= DEPTH_MAX) return 'mixed';
  if (Array.isArray(value)) return { items: elementDraft(value, depth + 1, left) };
  if (!isPlainObject(value)) return 'mixed';
  const draft = new Map<string, Draft>();
  for (const key in value) {
    if (--left.parts < 0) break;
    draft.set(key, draftOf(value[key], depth + 1, left));
  }
  return draft;
}

function elementDraft(list: readonly unknown[], depth: number, left: { parts: number }): Draft | undefined {
  const step = Math.max(1, list.length / ELEMENTS_MAX);
  let draft: Draft | undefined;
  for (let i = 0; i < list.length; i += step) {
    if (--left.parts < 0) break;
    draft = join(draft, draftOf(list[Math.floor(i)], depth, left));
    if (draft === 'mixed') break;
  }
  return draft;
}

/** The type that covers both. */
function join(a: Draft | undefined, b: Draft | undefined): Draft | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  if (a instanceof Map && b instanceof Map) {
    for (const [key, draft] of b) a.set(key, join(a.get(key), draft)!);
    return a;
  }
  if (isList(a) && isList(b)) return { items: join(a.items, b.items) };
  return a === b ? a : 'mixed';
}

function isList(draft: Draft): draft is { items: Draft | undefined } {
  return typeof draft === 'object' && !(draft instanceof Map);
}

/** Takes what it needs from the room that is left, also for parts that turn out to be left out. */
function settle(draft: Draft | undefined, left: { chars: number }): JsonSchema | undefined {
  if (draft === undefined || draft === 'mixed') return undefined;
  left.chars -= typeof draft === 'string' ? LEAF_CHARS : draft instanceof Map ? OBJECT_CHARS : LIST_CHARS;
  if (left.chars < 0) return undefined;
  if (typeof draft === 'string') return { type: draft };
  if (draft instanceof Map) {
    const properties: [string, JsonSchema][] = [];
    for (const [key, part] of draft) {
      // A long key is not written out to find out how long it is.
      const keyChars = key.length > left.chars ? Infinity : JSON.stringify(key).length + NAME_CHARS;
      if (keyChars > left.chars) continue;
      left.chars -= keyChars;
      const schema = settle(part, left);
      if (schema) properties.push([key, schema]);
    }
    // `fromEntries` defines properties: a key `__proto__` stays a key.
    return object(Object.fromEntries(properties));
  }
  const items = settle(draft.items, left);
  return items && items.type !== 'array' ? { type: 'array', items } : undefined;
}

/** Whether all that the schema names is there. */
function has(value: unknown, { properties = {} }: JsonSchema): boolean {
  return Object.entries(properties).every(([key, schema]) => {
    if (!isPlainObject(value)) return false;
    return OPTIONAL.includes(key) || (Object.hasOwn(value, key) && has(value[key], schema));
  });
}

/** Whether nothing of the value contradicts the schema. */
function fits(value: unknown, { type, properties = {}, items }: JsonSchema): boolean {
  if (type === 'object') {
    if (!isPlainObject(value)) return false;
    return Object.entries(properties).every(([key, part]) => !Object.hasOwn(value, key) || fits(value[key], part));
  }
  if (type === 'array') {
    return Array.isArray(value) && value.length <= ELEMENTS_MAX && value.every((element) => fits(element, items!));
  }
  return type === 'integer' ? Number.isInteger(value) : typeof value === type;
}
