import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SightlineError } from '../base/errors.ts';
import type { Priority } from '../base/sample.ts';
import { generatedBuilder, pageBuilder, plainBuilder } from './column-objects.ts';
import { type ColumnBatch, ColumnGatherer, type ColumnMessage, columnSteps, decodeColumns } from './columns.ts';
import { ColumnReader } from './numeric-column.ts';
import { Payload } from './payload.ts';
import { FIELDS_MAX, fits, schemaFor, shapeOf } from './schema.ts';
import type { SchemaField } from './telemetry.ts';
import { DEPTH_MAX } from './wire-value.ts';

const COUNT_MAX = 10_000;
const BYTES_MAX = 8 * 1024 * 1024;

const decode = (body: Uint8Array, fields: readonly SchemaField[]) => decodeColumns(body, fields, COUNT_MAX, BYTES_MAX);
const decodeBriefly = (body: Uint8Array, fields: readonly SchemaField[]) =>
  decodeColumns(body, fields, COUNT_MAX, BYTES_MAX, 'brief');
const message = (payload: Payload, i = 0): ColumnMessage => ({
  timeMs: 1000 + i * 5,
  priority: (i % 4) as Priority,
  payload,
});
/** All of them have to fit. */
function gather(fields: readonly SchemaField[], messages: readonly ColumnMessage[]): ColumnGatherer {
  const gatherer = new ColumnGatherer(fields, BYTES_MAX);
  for (const [i, one] of messages.entries()) if (!gatherer.add(one)) throw new Error(`message ${i} is not taken`);
  return gatherer;
}
const takes = (fields: readonly SchemaField[], payload: Payload) =>
  new ColumnGatherer(fields, BYTES_MAX).add(message(payload));
const encode = (fields: readonly SchemaField[], rows: readonly unknown[], before = 0) =>
  gather(
    fields,
    rows.map((value, i) => message(Payload.of(value), i)),
  ).encode(before);
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

  test('of one message alone is read as any other, whatever the bytes are', () => {
    const head = fc.tuple(fc.nat(255), fc.nat(255), fc.uint8Array({ maxLength: 10 }));
    const constant = fc
      .tuple(fc.nat(15), fc.nat(3), fc.uint8Array({ minLength: 8, maxLength: 8 }))
      .map(([decimals, kind, base]) => [decimals << 4, kind << 6, base.slice(0, 1 << kind)] as const);
    const heads = fc
      .array(fc.oneof({ weight: 5, arbitrary: constant }, head), { maxLength: 8 })
      .map((all) => Uint8Array.from(all.flatMap(([first, second, more]) => [first, second, ...more])));
    const read = (bytes: Uint8Array, how: (reader: ColumnReader, out: Float64Array) => void) => {
      const out = new Float64Array(9);
      try {
        how(new ColumnReader(bytes, new Uint8Array(32), 1), out);
        return out;
      } catch (thrown) {
        return [out, (thrown as SightlineError).message];
      }
    };
    fc.assert(
      fc.property(heads, fc.nat(9), (bytes, columns) => {
        const together = read(bytes, (reader, out) => reader.columns(out, 0, columns));
        const apart = read(bytes, (reader, out) => {
          for (let i = 0; i < columns; i++) reader.numbers(out, i);
        });
        expect(together).toEqual(apart);
      }),
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
        expect(built(pageBuilder, batch)).toEqual(rows);
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
        const body = (payloads: Payload[]) =>
          gather(
            fields,
            payloads.map((payload, i) => message(payload, i)),
          ).encode(0);
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
    const batch = decode(gather(fields, [message(payload)]).encode(0), fields);
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
    const rows = [Payload.of(good), turned, unusual].map((payload, i) => message(payload, i));
    const batch = decode(gather(fields, rows).encode(0), fields);
    expect(batch.objects()).toEqual([good, { ...good, t: 'y' }, good]);
    for (const other of [{ ...good, t: 5 }, { ...good, a: 'x' }, { ...good, d: [4, 5] }, [1], 'x', { t: 'x' }]) {
      expect(takes(fields, Payload.msgpack(Payload.of(other).msgpack()))).toBe(false);
    }
    expect(takes(fields, Payload.bytes(Uint8Array.of(1)))).toBe(false);
  });

  test('keep the order of their keys', () => {
    const rows = [{ z: 1, a: { c: 2, b: 'x' }, list: [3, true] }];
    const fields = fieldsOf({ z: 'number', a: { c: 'number', b: 'text' }, list: ['number', 'bool'] }, '');
    const batch = decode(encode(fields, rows), fields);
    for (const make of [plainBuilder, generatedBuilder, pageBuilder]) {
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
      const gatherer = gather(fields, [message(Payload.of(good))]);
      expect(gatherer.add(message(Payload.of(other), 1))).toBe(false);
      expect(gatherer.count).toBe(1);
      expect(gatherer.encode(0)).toEqual(encode(fields, [good]));
    }
    expect(fits(fields, { e: 1, d: true, c: '', b: [0, 0], a: 0 })).toBe(true);
  });
});

function built(make: typeof plainBuilder, batch: ColumnBatch, from = 0, count = batch.count): unknown[] {
  const shape = shapeOf(batch.fields);
  const paths = batch.fields.filter(({ kind }) => kind === 'json').map(({ path }) => path);
  const columnsOfTexts = paths.map((path) => batch.texts(path)!.slice());
  return make(shape)(batch.values, columnsOfTexts, batch.count, from, count);
}

describe('messages on their way into columns', () => {
  /** The same with something else in the place of its last leaf, so that all the others are taken out first. */
  function spoiled(value: unknown): unknown {
    if (typeof value !== 'object' || value === null || Object.keys(value).length === 0) return ['misfit'];
    if (Array.isArray(value)) return [...value.slice(0, -1), spoiled(value.at(-1))];
    const [last, child] = Object.entries(value).at(-1)!;
    return { ...value, [last]: spoiled(child) };
  }
  const packed = (value: unknown) => Payload.msgpack(Uint8Array.from(Payload.of(value).msgpack()));

  test('that do not fit leave nothing behind, however they came', () => {
    fc.assert(
      fc.property(batches, fc.array(fc.nat(2), { minLength: 13, maxLength: 13 }), ({ fields, rows }, kinds) => {
        const gatherer = new ColumnGatherer(fields, BYTES_MAX);
        for (const [i, kind] of kinds.entries()) {
          const misfit = spoiled(rows[i % rows.length]);
          if (kind > 0) expect(gatherer.add(message(kind === 1 ? Payload.of(misfit) : packed(misfit), i))).toBe(false);
          if (i < rows.length) expect(gatherer.add(message(Payload.of(rows[i]), i))).toBe(true);
          expect(gatherer.count).toBe(Math.min(i + 1, rows.length));
        }
        expect(gatherer.encode(0)).toEqual(encode(fields, rows));
      }),
      { numRuns: 300 },
    );
  });

  test('of several gatherers lie apart, also where one has what another one had', () => {
    const several = fc.array(batches, { minLength: 2, maxLength: 5 });
    fc.assert(
      fc.property(several, (all) => {
        const pairs = all.map(({ fields, rows }) => {
          const gatherer = new ColumnGatherer(fields, BYTES_MAX);
          const fill = () => {
            for (const [i, row] of rows.entries()) expect(gatherer.add(message(Payload.of(row), i))).toBe(true);
          };
          fill();
          return { gatherer, fill, expected: encode(fields, rows) };
        });
        for (const { gatherer, fill, expected } of pairs) {
          expect(gatherer.encode(0)).toEqual(expected);
          expect(gatherer.count).toBe(0);
          fill();
        }
        for (const { gatherer, expected } of pairs) expect(gatherer.encode(0)).toEqual(expected);
      }),
      { numRuns: 200 },
    );
  });

  test('that do not fit leave no texts behind', () => {
    const fields: readonly SchemaField[] = [
      { path: 's', kind: 'json' },
      { path: 't', kind: 'json' },
      { path: 'x', kind: 'f64' },
    ];
    const gatherer = new ColumnGatherer(fields, BYTES_MAX);
    for (const payloadOf of [Payload.of, packed]) {
      expect(gatherer.add(message(payloadOf({ s: 'left', t: 'behind', x: 'no number' })))).toBe(false);
      expect(gatherer.add(message(payloadOf({ s: 'left', t: 5, x: 1 })))).toBe(false);
      expect(gatherer.add(message(payloadOf({ s: 'good', t: 'text', x: 1 })))).toBe(true);
    }
    const batch = decode(gatherer.encode(0), fields);
    expect(batch.texts('s')).toEqual(['good', 'good']);
    expect(batch.texts('t')).toEqual(['text', 'text']);
  });

  test('are taken until their columns would be larger than a reader takes', () => {
    const field = fc.constantFrom<SchemaField['kind']>('f64', 'bool', 'json');
    const kindValues = { f64: 1.5, bool: true, json: 'x' };
    fc.assert(
      fc.property(fc.array(field, { minLength: 1, maxLength: 6 }), fc.nat(2000), (kinds, bytesMax) => {
        const fields = kinds.map((kind, i) => ({ path: `f${i}`, kind }));
        const payload = Payload.of(Object.fromEntries(fields.map(({ path, kind }) => [path, kindValues[kind]])));
        const bytesOfOne = (2 + kinds.length) * 8;
        const countMax = Math.floor(bytesMax / bytesOfOne);
        const gatherer = new ColumnGatherer(fields, bytesMax);
        for (let i = 0; i < countMax; i++) {
          expect(gatherer.isFull).toBe(false);
          expect(gatherer.add(message(payload, i))).toBe(true);
        }
        expect(gatherer.isFull).toBe(true);
        expect(gatherer.add(message(payload))).toBe(false);
        expect(gatherer.count).toBe(countMax);
        if (countMax === 0) return;
        const body = gatherer.encode(0);
        expect(decodeColumns(body, fields, COUNT_MAX, bytesMax).objects()).toHaveLength(countMax);
        const less = countMax * bytesOfOne - 1;
        expect(refusal(() => decodeColumns(body, fields, COUNT_MAX, less))).toBe('BATCH_TOO_LARGE');
      }),
    );
  });

  test('may be many', () => {
    const rows = Array.from({ length: 3_000 }, (_, i) => ({
      a: i,
      b: i % 7 === 0,
      c: `text ${i % 5}`,
      d: Math.sqrt(i),
    }));
    const fields = fieldsOf({ a: 'number', b: 'bool', c: 'text', d: 'number' }, '');
    const gatherer = gather(
      fields,
      rows.map((row, i) => message(Payload.of(row), i)),
    );
    expect(gatherer.count).toBe(3_000);
    const body = gatherer.encode(0);
    expect(decode(body, fields).objects()).toEqual(rows);
    // It begins anew.
    expect(gatherer.count).toBe(0);
    expect(gatherer.add(message(Payload.of(rows[7])))).toBe(true);
    expect(decode(gatherer.encode(0), fields).objects()).toEqual([rows[7]]);
  });
});

describe('a part of a batch', () => {
  function expectPart(part: ColumnBatch, whole: ColumnBatch, from: number, count: number): void {
    const to = from + count;
    expect(part.count).toBe(count);
    expect(part.fields).toBe(whole.fields);
    expectSame(part.times, [...whole.times.subarray(from, to)]);
    expectSame(part.priorities, [...whole.priorities.subarray(from, to)]);
    for (const { path, kind } of whole.fields) {
      if (kind === 'json') expect(part.texts(path)).toEqual(whole.texts(path)!.slice(from, to));
      else expectSame(part.column(path)!, [...whole.column(path)!.subarray(from, to)]);
    }
    expect(part.objects()).toEqual(whole.objects().slice(from, to));
  }
  const places = (length: number) =>
    fc.nat(length).chain((from) => fc.record({ from: fc.constant(from), count: fc.nat(length - from) }));

  test('is what slicing the whole gives, and so is a part of a part', () => {
    const cut = batches.chain(({ fields, rows }) =>
      places(rows.length).chain((outer) => places(outer.count).map((inner) => ({ fields, rows, outer, inner }))),
    );
    fc.assert(
      fc.property(cut, ({ fields, rows, outer, inner }) => {
        const whole = decode(encode(fields, rows), fields);
        const part = whole.part(outer.from, outer.count);
        expectPart(part, whole, outer.from, outer.count);
        expectPart(part.part(inner.from, inner.count), whole, outer.from + inner.from, inner.count);
        const objects = rows.slice(outer.from, outer.from + outer.count);
        expect(part.objects()).toEqual(objects);
        for (const make of [plainBuilder, generatedBuilder, pageBuilder]) {
          expect(built(make, whole, outer.from, outer.count)).toEqual(objects);
        }
      }),
      { numRuns: 400 },
    );
  });

  test('is a view: nothing is copied', () => {
    const rows = Array.from({ length: 10 }, (_, i) => ({ x: i, y: i / 3 }));
    const fields = fieldsOf({ x: 'number', y: 'number' }, '');
    const whole = decode(encode(fields, rows), fields);
    const part = whole.part(3, 4);
    for (const view of [part.times, part.priorities, part.column('x')!, part.column('y')!]) {
      expect(view.buffer).toBe(whole.values.buffer);
    }
    whole.column('y')![3] = -1;
    expect(part.column('y')![0]).toBe(-1);
    expect(part.objects()[0]).toEqual({ x: 3, y: -1 });
    expect(whole.part(0, 10)).toBe(whole);
  });
});

describe('batches that are decoded one after the other', () => {
  test('do not disturb the objects of those before, nor the columns of those that keep them', () => {
    const several = fc.array(fc.tuple(batches, fc.boolean()), { minLength: 2, maxLength: 4 });
    fc.assert(
      fc.property(several, (all) => {
        const kept = all.map(([{ fields, rows }, isBrief]) => {
          const body = encode(fields, rows);
          if (!isBrief) return { rows, objects: undefined, batch: decode(body, fields) };
          const batch = decodeBriefly(body, fields);
          expectSame(
            batch.times,
            rows.map((_, i) => 1000 + i * 5),
          );
          return { rows, objects: batch.objects(), batch: undefined };
        });
        for (const { rows, objects, batch } of kept) expect(objects ?? batch!.objects()).toEqual(rows);
      }),
      { numRuns: 200 },
    );
  });

  test.each([
    ['a large one, then a small one', [12_000, 3]],
    ['a small one, then a large one', [3, 12_000]],
    ['one that has just room, then one that has not', [65_536 / 8, 65_536 / 8 + 1]],
  ])('%s', (_, counts) => {
    const fields = fieldsOf(['number', 'number', 'number', 'number', 'number', 'number'], '');
    const all = counts.map((count, n) =>
      Array.from({ length: count }, (_, i) => fields.map((_, f) => (n + i) / (f + 3))),
    );
    const read = all.map((rows) => decodeColumns(encode(fields, rows), fields, 20_000, BYTES_MAX, 'brief').objects());
    expect(read).toEqual(all);
  });

  test('a large one that is passed on is decoded in steps, whatever is read and written in between', () => {
    const rows = Array.from({ length: 1_000 }, (_, i) => ({
      numbers: Array.from({ length: 60 }, (_, f) => (f % 3 === 0 ? f : f % 3 === 1 ? Math.sin(i * f) : (i * f) / 8)),
      texts: [`text ${i}`, null, []],
      truths: [i % 2 === 0, true],
    }));
    const fields = schemaFor(rows)!;
    const body = encode(fields, rows);
    const small = rows.slice(0, 2);
    let count = 0;
    const steps = columnSteps(body, fields, COUNT_MAX, BYTES_MAX, 'relay');
    let step = steps.next();
    for (; !step.done; step = steps.next()) {
      count++;
      expect(decodeBriefly(encode(fields, small), fields).objects()).toEqual(small);
    }
    expect(step.value.objects()).toEqual(rows);
    expect(step.value.body).toBe(body);
    // Four times as many values as a step has, texts and what is checked row by row.
    expect(count).toBeGreaterThan(8);
  });

  test('have memory of their own unless they are brief: a worker hands it over', () => {
    const fields = fieldsOf({ x: 'number', on: 'bool' }, '');
    const body = encode(fields, [{ x: 1, on: true }]);
    const [first, second] = [decode(body, fields), decode(body, fields)];
    expect(first!.values).toHaveLength(4);
    expect(first!.values.buffer.byteLength).toBe(32);
    expect(second!.values.buffer).not.toBe(first!.values.buffer);
  });
});

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
    const body = gather(
      schema,
      values.map((value, i) => ({ timeMs: 1000 + 5 * i, priority: 1, payload: Payload.of(value) })),
    ).encode(0);
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
  });

  test('times and priorities have to be some', () => {
    const body = (timeMs: number, priority: number) =>
      gather(one, [{ timeMs, priority: priority as Priority, payload: Payload.of({ x: 1 }) }]).encode(0);
    expect(refusal(() => decode(body(Number.NaN, 1), one))).toBe('BATCH_BAD');
    expect(refusal(() => decode(body(1, 4), one))).toBe('BATCH_BAD');
    expect(refusal(() => decode(body(1, 0.5), one))).toBe('BATCH_BAD');
    expect(refusal(() => decode(body(1, 3), one))).toBeUndefined();
  });
});

describe('texts of strangers', () => {
  const fields: readonly SchemaField[] = [
    { path: 'x', kind: 'f64' },
    { path: 't', kind: 'json' },
  ];
  /** Two messages whose texts are written so. */
  function body(texts: readonly [string, string]): Uint8Array {
    const long = texts.map((_, i) => `${i}${'x'.repeat(30)}`);
    const bytes = Buffer.from(
      encode(
        fields,
        long.map((t, i) => ({ x: i, t })),
      ),
    );
    for (const [i, text] of texts.entries()) {
      const written = JSON.stringify(long[i]);
      Buffer.from(text.padEnd(written.length)).copy(bytes, bytes.indexOf(written));
    }
    return bytes;
  }

  test.each(['"a"', 'null', 'true', 'false', '[]', '{}', '"\\u00e9"'])('may be %s', (text) => {
    const value: unknown = JSON.parse(text);
    expect(decode(body([text, '"b"']), fields).objects()).toEqual([
      { x: 0, t: value },
      { x: 1, t: 'b' },
    ]);
  });

  // Two of them in a row would be taken for one text when they are put together anew.
  test.each(['5', '{"a":1}', '[0]', '[[]]', '{"a":{}}', 'nothing', '{"__proto__":1}', '1e999', '"\\ud800"'])(
    'are refused when they are %s',
    (text) => expect(refusal(() => decode(body(['"a"', text]), fields))).toBe('PAYLOAD_BAD'),
  );

  test('in the deepest place are no deeper than a message may be', () => {
    const path = (levels: number) => Array.from({ length: levels }, () => 'a').join('.');
    const layout = (levels: number) => [{ path: path(levels), kind: 'json' }] as const;
    expect(refusal(() => shapeOf(layout(DEPTH_MAX)))).toBe('MESSAGE_FIELD_BAD');
    const fields = layout(DEPTH_MAX - 1);
    const value = JSON.parse(`${'{"a":'.repeat(DEPTH_MAX - 1)}[]${'}'.repeat(DEPTH_MAX - 1)}`) as unknown;
    const batch = decode(encode(fields, [value]), fields);
    expect(Payload.msgpack(Payload.row(batch, 0).msgpack()).value()).toEqual(value);
  });
});

describe('a message by itself', () => {
  const value = { a: 1, b: [2, -0], on: true, mode: 'x', empty: [], none: {} };
  const fields = schemaFor([{ ...value, c: 1 }])!.filter(({ path }) => path !== 'c');

  test('is a batch of one, as it was when it was taken', () => {
    const changing = structuredClone(value) as { a: number; b: number[]; empty: unknown[]; none: object };
    const row = ColumnGatherer.row(fields, { timeMs: 5, priority: 3, payload: Payload.of(changing) })!;
    changing.a = 9;
    changing.b[0] = 9;
    changing.empty.push(9);
    Object.assign(changing.none, { nine: 9 });
    expect(row.count).toBe(1);
    expect([row.times[0], row.priorities[0]]).toEqual([5, 3]);
    expect(row.object(0)).toEqual(value);
    expect(row.fields).toBe(fields);
    const gatherer = new ColumnGatherer(fields, BYTES_MAX);
    for (let i = 0; i < 3; i++) expect(gatherer.add(message(Payload.row(row, 0), i))).toBe(true);
    const batch = decode(gatherer.encode(0), fields);
    expect(batch.objects()).toEqual([value, value, value]);
    expect([...batch.times]).toEqual([1000, 1005, 1010]);
  });

  test('of another shape is none', () => {
    const others: unknown[] = [
      { ...value, a: 'x' },
      { ...value, more: 1 },
      { ...value, b: [1] },
      // No text that UTF-8 could say.
      { ...value, mode: '\ud800' },
      'x',
      value.b,
    ];
    for (const other of others) {
      const payload = Payload.of(other);
      expect(ColumnGatherer.row(fields, { timeMs: 5, priority: 3, payload })).toBeUndefined();
    }
  });
});

describe('a batch that is passed on', () => {
  const fields = schemaFor([{ a: 1, b: 2, c: 3, d: 4, mode: 'x' }])!;
  const values = Array.from({ length: 9 }, (_, i) => ({ a: i, b: i / 3, c: -i, d: 7, mode: i < 5 ? 'x' : 'y' }));
  const body = () => {
    const gatherer = new ColumnGatherer(fields, BYTES_MAX);
    for (const [i, value] of values.entries()) gatherer.add(message(Payload.of(value), i));
    return gatherer.encode(0);
  };
  const relayed = (bytes = body()) => {
    const batch = decodeColumns(bytes, fields, COUNT_MAX, BYTES_MAX, 'relay');
    return values.map((_, i) => message(Payload.row(batch, i), i));
  };
  const gather = (messages: readonly ColumnMessage[], layout: readonly SchemaField[] = fields) => {
    const gatherer = new ColumnGatherer(layout, BYTES_MAX);
    for (const one of messages) expect(gatherer.add(one)).toBe(true);
    return gatherer.encode(0);
  };

  test('has truth values that are some', () => {
    const truths = [{ path: 'on', kind: 'bool' }] as const;
    // The same columns, if the other side means numbers.
    const numbers = [{ path: 'on', kind: 'f64' }] as const;
    for (const [on, code] of [
      [0, undefined],
      [1, undefined],
      [2, 'BATCH_BAD'],
      [Number.NaN, 'BATCH_BAD'],
      [0.5, 'BATCH_BAD'],
    ] as const) {
      const bytes = encode(numbers, [{ on: 1 }, { on }]);
      expect(refusal(() => decodeColumns(bytes, truths, COUNT_MAX, BYTES_MAX, 'relay'))).toBe(code);
      expect(refusal(() => decodeColumns(bytes, truths, COUNT_MAX, BYTES_MAX))).toBeUndefined();
    }
  });

  test('goes out as the very bytes that came', () => {
    const bytes = body();
    // A base that no encoder here would choose, and yet the same values.
    expect(gather(relayed(bytes))).toEqual(bytes);
    expect(relayed().map(({ payload }) => payload.value())).toEqual(values);
  });

  test.each([
    ['a part of it', (rows: ColumnMessage[]) => rows.slice(0, 4)],
    ['its end', (rows: ColumnMessage[]) => rows.slice(3)],
    ['another order', (rows: ColumnMessage[]) => rows.toReversed()],
    ['two of them', (rows: ColumnMessage[]) => [...rows, ...relayed()]],
    ['something behind it', (rows: ColumnMessage[]) => [...rows, message(Payload.of(values[3]), 99)]],
    ['other times', (rows: ColumnMessage[]) => rows.map((row, i) => ({ ...row, timeMs: i }))],
    ['another priority', (rows: ColumnMessage[]) => rows.map((row) => ({ ...row, priority: 3 as const }))],
  ])('or, with %s, is put together anew', (_, change) => {
    const wanted = change(relayed());
    const batch = decode(gather(wanted), fields);
    expect([...batch.times]).toEqual(wanted.map(({ timeMs }) => timeMs));
    expect([...batch.priorities]).toEqual(wanted.map(({ priority }) => priority));
    expect(batch.objects()).toEqual(wanted.map(({ payload }) => payload.value()));
  });

  test('to a layout that is equal, and another object, is put together anew', () => {
    const equal = fields.map(({ path, kind }) => ({ path, kind }));
    expect(decode(gather(relayed(), equal), equal).objects()).toEqual(values);
  });
});
