import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Payload } from '../protocol/payload.ts';
import { channelSchema, inferSchema, SCHEMA_CHARS_MAX, WELL_KNOWN, type JsonSchema } from './foreign-schema.ts';
import { formOf } from './recording-format.ts';

/**
 * What Lichtblick (packages/mcap-support/src/parseJsonSchema.ts) and the last open Foxglove Studio (1.87) refuse: there it costs the
 * whole channel. Where the two differ, the stricter one counts: Studio wants `properties` in every object.
 */
function refusal(schema: JsonSchema, path = ''): string | undefined {
  if (schema.type !== 'object') return `${path}: ${schema.type} is no object`;
  if (schema.properties === undefined) return `${path}: an object without properties`;
  for (const [key, field] of Object.entries(schema.properties)) {
    const at = `${path}.${key}`;
    const leaf = field.type === 'array' ? field.items : field;
    if (leaf === undefined) return `${at}: a list without items`;
    if (field.type === 'array' && leaf.contentEncoding !== undefined) return `${at}: bytes in a list`;
    if (leaf.type === 'object') {
      const inside = refusal(leaf, at);
      if (inside !== undefined) return inside;
    } else if (!['boolean', 'string', 'number', 'integer'].includes(leaf.type)) return `${at}: ${leaf.type}`;
  }
  return undefined;
}

/** Whether a JSON value satisfies a schema, as far as schemas are used here. */
function isValid(value: unknown, { type, properties = {}, items }: JsonSchema): boolean {
  if (type === 'array') return Array.isArray(value) && value.every((element) => isValid(element, items!));
  if (type !== 'object') return type === 'integer' ? Number.isInteger(value) : typeof value === type;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.entries(properties).every(
    ([key, part]) => !Object.hasOwn(value, key) || isValid((value as Record<string, unknown>)[key], part),
  );
}

const schemaOf = (value: unknown) => {
  const payload = Payload.of(value);
  return channelSchema('t', formOf(payload), payload);
};

test('of whatever message, a schema is one that Foxglove and Lichtblick take, and the message satisfies it', () => {
  const list = fc.array(fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constant(null), fc.constant([])), { maxLength: 5 });
  const value = fc.oneof(fc.jsonValue({ maxDepth: 6 }), list, fc.dictionary(fc.string(), list));
  fc.assert(
    fc.property(value, (message) => {
      const { schema } = schemaOf(message);
      expect(refusal(schema)).toBeUndefined();
      const isObject = typeof message === 'object' && message !== null && !Array.isArray(message);
      expect(isValid(isObject ? message : { value: message }, schema)).toBe(true);
    }),
    { numRuns: 500 },
  );
});

test.each<[string, unknown]>([
  ['many keys', Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`k${i}${'z'.repeat(480)}`, 1]))],
  ['one long key', { ['z'.repeat(1e5)]: 1, short: 2 }],
  ['keys that grow when they are written', { ['\u0001'.repeat(16_000)]: 1, short: 2 }],
  [
    'deep parts',
    Array.from({ length: 400 }, (_, i) => `k${i}`.repeat(20)).reduce((all, k) => ({ [k]: { a: { b: all } } }), {}),
  ],
  ['many lists', Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`list${i}`, [{ a: 1, b: [2] }]]))],
])('a schema is bounded: %s', (_, value) => {
  const { schema } = schemaOf(value);
  expect(JSON.stringify(schema).length).toBeLessThanOrEqual(SCHEMA_CHARS_MAX);
  expect(refusal(schema)).toBeUndefined();
  if (Object.hasOwn(value as object, 'short')) expect(schema.properties).toEqual({ short: { type: 'number' } });
  else expect(Object.keys(schema.properties!).length).toBeGreaterThan(0);
});

test('elements of a list that have the same fields take the room of one', () => {
  const detections = Array.from({ length: 64 }, () =>
    Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`key${i}`, i])),
  );
  const items = schemaOf({ detections, n: 1 }).schema.properties!['detections']!.items!;
  expect(Object.keys(items.properties!)).toHaveLength(20);
});

test.each<[string, unknown, object]>([
  ['null', { lat: null, fix: 0 }, { fix: { type: 'number' } }],
  ['an empty list', { detections: [], n: 0 }, { n: { type: 'number' } }],
  ['a list of lists', { cov: [[1, 0]], n: 0 }, { n: { type: 'number' } }],
  [
    'a list of several types',
    { a: [1, 'x'], b: [1, null], c: [true] },
    { c: { type: 'array', items: { type: 'boolean' } } },
  ],
  [
    'a key of list elements that is null in one, or of two types',
    { p: [{ x: 1, t: null, m: 1 }, { x: 2, t: 3, m: 'x', y: 1 }, { m: 1 }] },
    {
      p: {
        type: 'array',
        items: { type: 'object', properties: { x: { type: 'number' }, y: { type: 'number' } } },
      },
    },
  ],
  ['an empty object', { o: {} }, { o: { type: 'object', properties: {} } }],
  ['null alone', null, {}],
  ['a list alone', [1, 2], { value: { type: 'array', items: { type: 'number' } } }],
  ['what JSON cannot say', { bytes: new Uint8Array(5), at: new Date(0), n: 1 }, { n: { type: 'number' } }],
  [
    'a key of prototypes',
    JSON.parse('{"__proto__":{"a":1}}'),
    {
      ['__proto__']: { type: 'object', properties: { a: { type: 'number' } } },
    },
  ],
])('%s', (_, message, properties) => {
  const { schema } = schemaOf(message);
  expect(schema).toEqual({ type: 'object', properties });
  expect(refusal(schema)).toBeUndefined();
});

test('the definitions of Foxglove’s own names are taken, too, and are always the same', () => {
  for (const schema of Object.values(WELL_KNOWN)) expect(refusal(schema)).toBeUndefined();
  const position = { x: 0, y: 0, z: 0 };
  const pose = { position, orientation: { ...position, w: 1 } };
  expect(schemaOf({ latitude: 1, longitude: 2 })).toEqual(
    schemaOf({ latitude: 1, longitude: 2, altitude: 3, speed: 1 }),
  );
  expect(schemaOf({ latitude: 1, longitude: 2 }).name).toBe('foxglove.LocationFix');
  expect(schemaOf({ frame_id: 'map', pose }).name).toBe('foxglove.PoseInFrame');
  // Fields that contradict the definition: it has another one.
  expect(schemaOf({ latitude: 1, longitude: null }).name).toBe('t');
  expect(schemaOf({ latitude: 1, longitude: 2, timestamp: 5 }).name).toBe('t');
  expect(schemaOf({ frame_id: 'map', pose: { position } }).name).toBe('t');
});

test('a frame of a video is known by its form, however large it is; a picture is none', () => {
  const frame = (bytes: number, format = 'h264') => {
    return { timestamp: { sec: 1, nsec: 2 }, frame_id: 'gate', format, epoch: 3, data: 'A'.repeat(bytes) };
  };
  const nameOf = (payload: Payload) => channelSchema('t', formOf(payload), payload).name;
  for (const bytes of [100, 1_000_000]) {
    for (const format of ['h264', 'h265']) {
      expect(nameOf(Payload.of(frame(bytes, format)))).toBe('foxglove.CompressedVideo');
      expect(nameOf(Payload.json(Payload.of(frame(bytes, format)).json()))).toBe('foxglove.CompressedVideo');
    }
    expect(nameOf(Payload.of(frame(bytes, 'jpeg')))).toBe('t');
    expect(nameOf(Payload.of({ text: 'x'.repeat(bytes) }))).toBe('t');
  }
});

describe('the work is bounded', () => {
  /** Counts what is read of an object, however wide, long or deep it is. */
  const counted = <T extends object>(target: T, reads: { count: number }): T =>
    new Proxy(target, {
      get: (object, key) => {
        reads.count++;
        return Reflect.get(object, key) as unknown;
      },
    });

  test.each([
    ['a long list', () => Array.from({ length: 300_000 }, (_, i) => i), 1_000],
    ['a list of long lists', () => Array.from({ length: 500 }, () => Array.from({ length: 500 }, () => 1)), 1_000],
    ['a wide object', () => Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`k${i}`, i])), 2_100],
  ])('%s', (_, make, readsMax) => {
    const reads = { count: 0 };
    inferSchema({ part: counted(make(), reads) });
    expect(reads.count).toBeGreaterThan(0);
    expect(reads.count).toBeLessThan(readsMax);
  });

  test('a wide and a deep message have a schema, up to a limit', () => {
    const wide = inferSchema(Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`k${i}`, i])));
    const fields = Object.keys(wide.properties!).length;
    expect(fields).toBeGreaterThan(1_000);
    expect(fields).toBeLessThan(2_000);
    let deep: unknown = 1;
    for (let i = 0; i < 30; i++) deep = { deep };
    expect(JSON.stringify(inferSchema(deep)).match(/deep/g)!.length).toBeLessThan(13);
    expect(refusal(inferSchema(deep))).toBeUndefined();
  });

  test('bytes are not looked into, nor is a large message in MessagePack unpacked', () => {
    const bytes = Payload.bytes(counted(new Uint8Array(1_000_000), { count: 0 }));
    expect(channelSchema('t', 'bytes', bytes)).toEqual({
      name: 'sightline.Bytes',
      schema: { type: 'object', properties: { data: { type: 'string', contentEncoding: 'base64' } } },
    });
    const large = Payload.copyOf({ text: 'x'.repeat(300_000), n: 1 });
    expect(formOf(large)).toBe('object');
    expect(channelSchema('t', 'object', large).schema).toEqual({ type: 'object', properties: {} });
    expect(large.packed).toBeDefined();
    const small = Payload.copyOf({ n: 1 });
    expect(channelSchema('t', formOf(small), small).schema.properties).toEqual({ n: { type: 'number' } });
  });
});

test.each([
  [{ a: 1 }, true],
  [{}, true],
  [Object.fromEntries(Array.from({ length: 70_000 }, (_, i) => [`k${i}`, 0])), true],
  [Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`k${i}`, 0])), true],
  [[1], false],
  [null, false],
  ['x', false],
  [new Uint8Array(3), false],
])('whether it is an object is told without unpacking it', (value, isObject) => {
  const packed = Payload.copyOf(value);
  const isSaidToBe = (payload: Payload) => formOf(payload) === 'object';
  expect(isSaidToBe(packed)).toBe(isObject);
  expect(packed.packed === undefined).toBe(value instanceof Uint8Array);
  expect(isSaidToBe(Payload.of(value))).toBe(isObject);
  expect(isSaidToBe(Payload.json(Payload.of(value).json()))).toBe(isObject || value instanceof Uint8Array);
});
