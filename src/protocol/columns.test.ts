import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SightlineError } from '../base/errors.ts';
import type { Priority } from '../base/sample.ts';
import { generatedBuilder, plainBuilder } from './column-objects.ts';
import { type ColumnBatch, decodeColumns, encodeColumns, payloadFits } from './columns.ts';
import { Payload } from './payload.ts';
import { FIELDS_MAX, fits, schemaFor, shapeOf } from './schema.ts';
import type { SchemaField } from './telemetry.ts';

const COUNT_MAX = 10_000;
const BYTES_MAX = 8 * 1024 * 1024;

const decode = (body: Uint8Array, fields: readonly SchemaField[]) => decodeColumns(body, fields, COUNT_MAX, BYTES_MAX);
const encode = (fields: readonly SchemaField[], rows: readonly unknown[], before = 0) =>
  encodeColumns(
    fields,
    rows.map((value, i) => ({ timeMs: 1000 + i * 5, priority: (i % 4) as Priority, payload: Payload.of(value) })),
    before,
    BYTES_MAX,
  );
const one: readonly SchemaField[] = [{ path: 'x', kind: 'f64' }];

function refusal(run: () => unknown): string | undefined {
  try {
    run();
  } catch (thrown) {
    if (!(thrown instanceof SightlineError)) throw thrown;
    return thrown.code;
  }
  return undefined;
}

/** One column there and back. */
function roundTrip(column: readonly number[]): Float64Array {
  return decode(
    encode(
      one,
      column.map((x) => ({ x })),
    ),
    one,
  ).column('x')!;
}

function expectSame(actual: ArrayLike<number>, expected: readonly number[]): void {
  expect(actual.length).toBe(expected.length);
  for (const [i, value] of expected.entries()) {
    if (!Object.is(actual[i], value)) throw new Error(`${i}: ${actual[i]} instead of ${value}`);
  }
}

const decimals = fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 52 })).chain(([places, bits]) =>
  fc.array(
    fc.double({ min: -(2 ** bits), max: 2 ** bits, noNaN: true }).map((n) => Math.round(n) / 10 ** places),
    { minLength: 1, maxLength: 80 },
  ),
);
const walks = fc
  .tuple(
    fc.integer(),
    fc.integer({ min: 0, max: 9 }),
    fc.array(fc.integer({ min: -5000, max: 5000 }), { maxLength: 80 }),
  )
  .map(([start, places, steps]) => {
    let sum = start;
    return [start, ...steps.map((step) => (sum += step))].map((n) => n / 10 ** places);
  });
const odd = fc.constantFrom(
  -0,
  Number.NaN,
  Infinity,
  -Infinity,
  2 ** 53,
  -(2 ** 53),
  2 ** 31,
  5e-324,
  1.7e308,
  0.1 + 0.2,
);
const columns = fc.oneof(
  decimals,
  walks,
  fc.array(fc.double(), { minLength: 1, maxLength: 80 }),
  fc.array(fc.oneof({ weight: 9, arbitrary: fc.integer() }, odd), { minLength: 1, maxLength: 80 }),
  fc.array(fc.double({ min: 1, max: 1.001 }), { minLength: 1, maxLength: 80 }),
  fc.tuple(fc.double(), fc.integer({ min: 1, max: 80 })).map(([x, n]) => Array.from({ length: n }, () => x)),
);

describe('a column of numbers', () => {
  test('comes back as the very same doubles', () => {
    fc.assert(
      fc.property(columns, (column) => expectSame(roundTrip(column), column)),
      { numRuns: 3000 },
    );
  });

  test.each([
    ['negative zero among whole numbers', [0, 1, -0, 2, 3, 4, 5, 6, 7, 8]],
    ['negative zero first', [-0, 1, 2, 3, 4, 5, 6, 7]],
    ['negative zero alone', [-0]],
    ['nothing but NaN', [Number.NaN, Number.NaN]],
    ['NaN, then true doubles', [Number.NaN, Math.PI, Math.E]],
    ['infinities among decimals', [1.5, 1.25, Infinity, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, -Infinity]],
    ['whole numbers beyond 2^31', [2 ** 31, 2 ** 31 + 1, 2 ** 40]],
    ['whole numbers beyond 2^53', [2 ** 53, 2 ** 60]],
    ['steps of 2^30', [0, 2 ** 30, -(2 ** 30), 0]],
    ['offsets of 2^31', [-(2 ** 30), 2 ** 30, 2 ** 30]],
    ['a true double among decimals', [0.5, Math.PI, 0.25]],
    ['15 decimals', [0.123456789012345, 0.123456789012346]],
  ])('%s', (_, column) => expectSame(roundTrip(column), column));

  test.each(Array.from({ length: 33 }, (_, width) => width))('differences of %i bits', (width) => {
    const top = 2 ** width - 1;
    expectSame(roundTrip([0, top, 1, top]), [0, top, 1, top]);
    expectSame(roundTrip([-top, top, 0.5, 0]), [-top, top, 0.5, 0]);
    // Steadily upward by as much: deltas are shorter than offsets.
    const stairs = Array.from({ length: 40 }, (_, i) => (i * top) / 100);
    expectSame(roundTrip(stairs), stairs);
  });

  test('what changes little is small: bytes of 50 values with their time and priority', () => {
    const size = (column: number[]) =>
      encode(
        one,
        column.map((x) => ({ x })),
      ).length;
    const nothing = size(Array.from({ length: 50 }, () => 3));
    expect(nothing).toBeLessThan(90);
    const steps = size(Array.from({ length: 50 }, (_, i) => Math.round(Math.sin(i / 10) * 1000) / 1000));
    expect(steps - nothing).toBeLessThan(60);
    const doubles = size(Array.from({ length: 50 }, (_, i) => 1 + Math.sin(i) / 1e6));
    expect(doubles - nothing).toBeLessThan(50 * 7);
  });
});

/** Messages of one shape: a structure, and values for its leaves message by message. */
type Structure = 'number' | 'bool' | 'text' | Structure[] | { [key: string]: Structure };
const keys = fc.string({ minLength: 1, maxLength: 3 }).filter((key) => !/^\d+$|\.|^__proto__$/.test(key));
const { structure } = fc.letrec<{ structure: Structure }>((tie) => ({
  structure: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.constantFrom<Structure>('number', 'bool', 'text'),
    fc.array(tie('structure'), { minLength: 1, maxLength: 4 }),
    fc.dictionary(keys, tie('structure'), { minKeys: 1, maxKeys: 4, noNullPrototype: true }),
  ),
}));
const texts = fc.oneof(fc.string({ maxLength: 5 }), fc.constantFrom(null, [], {}, true));
const jsonNumbers = fc.double();

function valueOf(node: Structure): fc.Arbitrary<unknown> {
  if (node === 'number') return jsonNumbers;
  if (node === 'bool') return fc.boolean();
  if (node === 'text') return texts;
  if (Array.isArray(node)) return fc.tuple(...node.map(valueOf));
  return fc.record(Object.fromEntries(Object.entries(node).map(([key, child]) => [key, valueOf(child)])), {
    noNullPrototype: true,
  });
}

function fieldsOf(node: Structure, path: string): SchemaField[] {
  if (node === 'number') return [{ path, kind: 'f64' }];
  if (node === 'bool') return [{ path, kind: 'bool' }];
  if (node === 'text') return [{ path, kind: 'json' }];
  const prefix = path === '' ? '' : `${path}.`;
  return Object.entries(node).flatMap(([key, child]) => fieldsOf(child as Structure, prefix + key));
}

const batches = structure
  .filter((node) => typeof node !== 'string')
  .chain((node) =>
    fc.record({
      fields: fc.constant(fieldsOf(node, '')),
      rows: fc.array(valueOf(node), { minLength: 1, maxLength: 12 }),
    }),
  );

describe('messages of one shape', () => {
  test('come back as the same objects, whether code is generated for them or not', () => {
    fc.assert(
      fc.property(batches, fc.nat(3), ({ fields, rows }, before) => {
        expect(rows.every((row) => fits(fields, row))).toBe(true);
        const batch = decode(encode(fields, rows, before).subarray(before), fields);
        expect([...batch.times]).toEqual(rows.map((_, i) => 1000 + i * 5));
        expect([...batch.priorities]).toEqual(rows.map((_, i) => i % 4));
        expect(batch.objects()).toEqual(rows);
        expect(built(plainBuilder, batch)).toEqual(rows);
        expect(built(generatedBuilder, batch)).toEqual(rows);
      }),
      { numRuns: 400 },
    );
  });

  test('in MessagePack are taken without being unpacked, and are the same batch', () => {
    fc.assert(
      fc.property(batches, ({ fields, rows }) => {
        // JSON numbers: MessagePack writes a negative zero as 0.
        const plain = rows.map((row) => Payload.msgpack(Payload.of(row).msgpack()).value());
        const packed = plain.map((row) => Payload.msgpack(Uint8Array.from(Payload.of(row).msgpack())));
        expect(packed.every((payload) => payloadFits(fields, payload))).toBe(true);
        const body = (payloads: Payload[]) =>
          encodeColumns(
            fields,
            payloads.map((payload, i) => ({ timeMs: i, priority: 1, payload })),
            0,
            BYTES_MAX,
          );
        expect(body(packed)).toEqual(body(plain.map(Payload.of)));
        expect(packed.every((payload) => payload.packed !== undefined)).toBe(true);
      }),
      { numRuns: 400 },
    );
  });

  test.each([
    [
      'all types of numbers',
      [[0xca, 0x3f, 0xc0, 0, 0], [0xcc, 200], [0xd3, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], [0xe0]],
    ],
    ['more of them', [[0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0], [0xcd, 1, 0], [0xcf, 0, 0, 0, 1, 0, 0, 0, 2], [0x7f]]],
    [
      'and more',
      [
        [0xce, 0xff, 0xff, 0xff, 0xff],
        [0xd0, 0x80],
        [0xd1, 0x80, 0],
        [0xd2, 0x80, 0, 0, 0],
      ],
    ],
  ])('in MessagePack of other languages: %s', (_, numbers) => {
    const fields = schemaFor([[1, 2, 3, 4]])!;
    const bytes = Uint8Array.from([0x94, ...numbers.flat()]);
    const values = Payload.msgpack(bytes).value() as number[];
    const payload = Payload.msgpack(bytes);
    const batch = decode(encodeColumns(fields, [{ timeMs: 1, priority: 1, payload }], 0, BYTES_MAX), fields);
    expect(payload.packed).toBeDefined();
    expectSame(batch.objects()[0] as number[], values);
  });

  test('in MessagePack in another order, of unusual heads or of another shape are looked at as values', () => {
    const fields = schemaFor([{ t: 'x', a: 1, b: 2, c: 3, d: [4] }])!;
    const good = { t: 'x', a: 1, b: 2, c: 3, d: [4] };
    const turned = Payload.msgpack(Payload.of({ t: 'y', d: [4], c: 3, b: 2, a: 1 }).msgpack());
    // The same map with a 16-bit head, its list with a 32-bit one.
    const usual = Payload.of(good).msgpack();
    const unusual = Payload.msgpack(Uint8Array.of(0xde, 0, 5, ...usual.subarray(1, -2), 0xdd, 0, 0, 0, 1, 4));
    const rows = [Payload.of(good), turned, unusual].map((payload, i) => ({
      timeMs: i,
      priority: 1 as const,
      payload,
    }));
    expect(rows.every(({ payload }) => payloadFits(fields, payload))).toBe(true);
    const batch = decode(encodeColumns(fields, rows, 0, BYTES_MAX), fields);
    expect(batch.objects()).toEqual([good, { ...good, t: 'y' }, good]);
    for (const other of [{ ...good, t: 5 }, { ...good, a: 'x' }, { ...good, d: [4, 5] }, [1], 'x', { t: 'x' }]) {
      expect(payloadFits(fields, Payload.msgpack(Payload.of(other).msgpack()))).toBe(false);
    }
    expect(payloadFits(fields, Payload.bytes(Uint8Array.of(1)))).toBe(false);
  });

  test('keep the order of their keys', () => {
    const rows = [{ z: 1, a: { c: 2, b: 'x' }, list: [3, true] }];
    const fields = fieldsOf({ z: 'number', a: { c: 'number', b: 'text' }, list: ['number', 'bool'] }, '');
    const batch = decode(encode(fields, rows), fields);
    for (const make of [plainBuilder, generatedBuilder]) {
      expect(JSON.stringify(built(make, batch))).toBe(JSON.stringify(rows));
    }
  });

  test('are given by field without objects', () => {
    const fields = schemaFor([{ imu: { accel: [1, 2, 3] }, gps: { fix: true, lat: 46.5 }, mode: 'auto' }])!;
    const rows = [
      { imu: { accel: [1, 2, 3] }, gps: { fix: true, lat: 46.5 }, mode: 'auto' },
      { imu: { accel: [1.5, 2, -3] }, gps: { fix: false, lat: 46.25 }, mode: 'stop' },
    ];
    const batch = decode(encode(fields, rows), fields);
    expect([...batch.column('imu.accel.2')!]).toEqual([3, -3]);
    expect([...batch.column('gps.fix')!]).toEqual([1, 0]);
    expect(batch.texts('mode')).toEqual(['auto', 'stop']);
    expect(batch.column('mode')).toBeUndefined();
    expect(batch.texts('gps.lat')).toBeUndefined();
    expect(batch.column('nowhere')).toBeUndefined();
  });

  test('one of another shape does not fit, and is not encoded', () => {
    const fields = schemaFor([{ a: 1, b: [1, 2], c: 'x', d: true, e: 5 }])!;
    const good = { a: 2, b: [3, 4], c: null, d: false, e: 6 };
    expect(fits(fields, good)).toBe(true);
    const others: unknown[] = [
      { ...good, a: '2' },
      { ...good, a: undefined },
      { ...good, b: [1] },
      { ...good, b: [1, 2, 3] },
      { ...good, b: { 0: 1, 1: 2 } },
      { ...good, c: 7 },
      { ...good, c: ['x'] },
      { ...good, c: new Date(0) },
      { ...good, d: 1 },
      { ...good, f: 1 },
      { a: 2, b: [3, 4], c: null, d: false, toString: 6 },
      [1, 2],
      null,
      5,
      new Uint8Array(3),
    ];
    for (const other of others) {
      expect(fits(fields, other)).toBe(false);
      expect(refusal(() => encode(fields, [good, other]))).toBe('PAYLOAD_BAD');
    }
    expect(fits(fields, { e: 1, d: true, c: '', b: [0, 0], a: 0 })).toBe(true);
  });
});

function built(make: typeof plainBuilder, batch: ColumnBatch): unknown[] {
  const shape = shapeOf(batch.fields);
  const paths = batch.fields.filter(({ kind }) => kind === 'json').map(({ path }) => path);
  const columnsOfTexts = paths.map((path) => batch.texts(path)!.slice());
  return make(shape)(batch.values.subarray(2 * batch.count), columnsOfTexts, batch.count);
}

describe('a schema', () => {
  test.each([
    ['a number', 5],
    ['text', 'x'],
    ['nothing', undefined],
    ['bytes', new Uint8Array(10)],
    ['too few numbers', { a: 1, b: 2, c: 3 }],
    ['more texts than numbers', { a: 1, b: 2, c: 3, d: 4, e: 'a', f: 'b', g: 'c', h: 'd', i: 'e' }],
    ['a key with a dot', { 'a.b': 1, c: 2, d: 3, e: 4 }],
    ['a number as a key', { 7: 1, c: 2, d: 3, e: 4 }],
    ['an empty key', { '': 1, c: 2, d: 3, e: 4 }],
    ['a prototype', JSON.parse('{"__proto__":1,"c":2,"d":3,"e":4}')],
    ['a date', { a: new Date(0), b: 1, c: 2, d: 3, e: 4 }],
    ['too many leaves', Array.from({ length: FIELDS_MAX + 1 }, () => 1)],
  ])('is not made for %s', (_, value) => expect(schemaFor([value])).toBeUndefined());

  test('is not made for messages of different shapes', () => {
    expect(
      schemaFor([
        [1, 2, 3, 4],
        [1, 2, 3],
      ]),
    ).toBeUndefined();
    expect(
      schemaFor([
        [1, 2, 3, 4],
        [1, 2, 3, 5],
      ]),
    ).toHaveLength(4);
  });

  test.each([
    ['no fields', []],
    ['too many fields', Array.from({ length: FIELDS_MAX + 1 }, (_, i) => ({ path: `f${i}`, kind: 'f64' }))],
    ['a kind that is not known', [{ path: 'a', kind: 'i128' }]],
    [
      'a path twice',
      [
        { path: 'a', kind: 'f64' },
        { path: 'a', kind: 'f64' },
      ],
    ],
    [
      'a leaf with leaves',
      [
        { path: 'a', kind: 'f64' },
        { path: 'a.b', kind: 'f64' },
      ],
    ],
    [
      'leaves that become one',
      [
        { path: 'a.b', kind: 'f64' },
        { path: 'a', kind: 'f64' },
      ],
    ],
    ['an empty path', [{ path: '', kind: 'f64' }]],
    ['an empty part', [{ path: 'a..b', kind: 'f64' }]],
    ['a prototype', [{ path: 'a.__proto__.b', kind: 'f64' }]],
    [
      'a list with a hole',
      [
        { path: 'a.0', kind: 'f64' },
        { path: 'a.2', kind: 'f64' },
      ],
    ],
    [
      'a list with a key',
      [
        { path: 'a.0', kind: 'f64' },
        { path: 'a.b', kind: 'f64' },
      ],
    ],
    ['a place written with a zero', [{ path: 'a.00', kind: 'f64' }]],
    ['a path that is too deep', [{ path: Array.from({ length: 65 }, () => 'a').join('.'), kind: 'f64' }]],
    ['a path that is too long', [{ path: 'a'.repeat(1000), kind: 'f64' }]],
  ])('is refused with %s', (_, fields) => {
    expect(refusal(() => shapeOf(fields as SchemaField[]))).toBe('MESSAGE_FIELD_BAD');
  });
});

describe('foreign columns', () => {
  const fields: readonly SchemaField[] = [
    { path: 'a', kind: 'f64' },
    { path: 'b', kind: 'bool' },
    { path: 'c', kind: 'json' },
    { path: 'd', kind: 'f64' },
  ];
  const rows = Array.from({ length: 20 }, (_, i) => ({
    a: i === 3 ? -0 : i / 10,
    b: i % 3 === 0,
    c: i < 7 ? 'one' : null,
    d: Math.sqrt(i),
  }));
  const whole = encode(fields, rows);

  test('the example of the documentation, byte by byte', () => {
    const schema: SchemaField[] = [
      { path: 'speed', kind: 'f64' },
      { path: 'on', kind: 'bool' },
      { path: 'mode', kind: 'json' },
    ];
    const values = [
      { speed: 1.25, on: true, mode: 'auto' },
      { speed: 1.5, on: true, mode: 'auto' },
      { speed: 1.2, on: true, mode: 'stop' },
    ];
    const body = encodeColumns(
      schema,
      values.map((value, i) => ({ timeMs: 1000 + 5 * i, priority: 1, payload: Payload.of(value) })),
      0,
      BYTES_MAX,
    );
    const expected = [
      '03000000 2c000000',
      '0144e803 000001 2105 78 000001',
      '0500 0200 0200 06000000 226175746f22 0100 06000000 2273746f7022',
      '000000',
      '500a0000 c5030000',
    ];
    expect(Buffer.from(body).toString('hex')).toBe(expected.join('').replaceAll(' ', ''));
    expect(decode(body, schema).objects()).toEqual(values);
  });

  test('cut at any byte, or with one more, they are refused', () => {
    for (let length = 0; length < whole.length; length++) {
      expect(refusal(() => decode(whole.subarray(0, length), fields))).toBe('BATCH_BAD');
    }
    expect(refusal(() => decode(Uint8Array.of(...whole, 0), fields))).toBe('BATCH_BAD');
    expect(refusal(() => decode(Uint8Array.of(...whole, 0, 0, 0, 0), fields))).toBe('BATCH_BAD');
  });

  test('with any byte changed they are a batch or a refusal', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        (changes) => {
          const changed = whole.slice();
          for (const [at, byte] of changes) changed[at] = byte;
          const code = refusal(() => decode(changed, fields).objects());
          expect([undefined, 'BATCH_BAD', 'BATCH_TOO_LARGE', 'PAYLOAD_BAD']).toContain(code);
        },
      ),
      { numRuns: 3000 },
    );
  });

  test('counts that cannot be are refused before anything is allocated', () => {
    const changed = whole.slice();
    const view = new DataView(changed.buffer);
    view.setUint32(0, 0, true);
    expect(refusal(() => decode(changed, fields))).toBe('BATCH_BAD');
    view.setUint32(0, 0xffff_ffff, true);
    expect(refusal(() => decode(changed, fields))).toBe('BATCH_TOO_LARGE');
  });

  test('columns of equal values are held to the limit as what they become', () => {
    const wide = Array.from({ length: 500 }, (_, i): SchemaField => ({ path: `f${i}`, kind: 'f64' }));
    const body = encode(wide, [Object.fromEntries(wide.map(({ path }) => [path, 1]))]);
    new DataView(body.buffer).setUint32(0, 5000, true);
    expect(refusal(() => decode(body, wide))).toBe('BATCH_TOO_LARGE');
    expect(
      refusal(() =>
        encodeColumns(
          wide,
          Array.from({ length: 5000 }, () => rowOf(wide)),
          0,
          BYTES_MAX,
        ),
      ),
    ).toBe('BATCH_TOO_LARGE');
  });

  test('times and priorities have to be some', () => {
    const body = (timeMs: number, priority: number) =>
      encodeColumns(one, [{ timeMs, priority: priority as Priority, payload: Payload.of({ x: 1 }) }], 0, BYTES_MAX);
    expect(refusal(() => decode(body(Number.NaN, 1), one))).toBe('BATCH_BAD');
    expect(refusal(() => decode(body(1, 4), one))).toBe('BATCH_BAD');
    expect(refusal(() => decode(body(1, 0.5), one))).toBe('BATCH_BAD');
    expect(refusal(() => decode(body(1, 3), one))).toBeUndefined();
  });
});

function rowOf(fields: readonly SchemaField[]) {
  return {
    timeMs: 1,
    priority: 1 as Priority,
    payload: Payload.of(Object.fromEntries(fields.map(({ path }) => [path, 1]))),
  };
}
