import fc from 'fast-check';
import { pack } from 'msgpackr';
import { describe, expect, test } from 'vitest';
import { SightlineError } from '../base/errors.ts';
import { ColumnGatherer, decodeColumns } from './columns.ts';
import { Payload } from './payload.ts';
import { schemaFor } from './schema.ts';
import { DEPTH_MAX } from './wire-value.ts';

const utf8 = new TextEncoder();
/** JSON has no negative zero, and no key `__proto__` is taken. */
const values = fc
  .jsonValue({ maxDepth: 5 })
  .map((value) => JSON.parse(JSON.stringify(value)) as unknown)
  .filter((value) => !JSON.stringify(value).includes('__proto__'));

function refusal(make: () => unknown): string | undefined {
  try {
    make();
  } catch (thrown) {
    if (!(thrown instanceof SightlineError)) throw thrown;
    expect(thrown.message.length).toBeLessThan(200);
    return thrown.code;
  }
  return undefined;
}

const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);

test.each([0, 1, 8_191, 8_192, 8_193, 100_000])('%i bytes as base64', (length) => {
  const bytes = Uint8Array.from({ length }, (_, i) => i * 7);
  const text = new TextDecoder().decode(Payload.bytes(bytes).json());
  expect(JSON.parse(text)).toEqual({ base64: Buffer.from(bytes).toString('base64') });
});

describe('a payload', () => {
  test('is the same value in whatever form it comes and goes', () => {
    fc.assert(
      fc.property(values, (value) => {
        const all = [
          Payload.of(value),
          Payload.json(utf8.encode(JSON.stringify(value))),
          Payload.msgpack(Payload.of(value).msgpack()),
        ];
        for (const payload of all) {
          const { byteLength } = payload;
          expect(payload.value()).toEqual(value);
          expect(Payload.json(payload.json()).value()).toEqual(value);
          expect(Payload.msgpack(payload.msgpack()).value()).toEqual(value);
          // Forms that were made since do not change it.
          expect(payload.byteLength).toBe(byteLength);
        }
        expect(all[1]!.byteLength).toBe(all[1]!.json().length);
        expect(all[2]!.byteLength).toBe(all[2]!.msgpack().length);
      }),
    );
  });

  test('gives the bytes that came, not written anew', () => {
    const json = utf8.encode('{ "a" : 1.50 }');
    expect(Payload.json(json).json()).toBe(json);
    // 5 as a 32-bit integer.
    const msgpack = Uint8Array.of(0xce, 0, 0, 0, 5);
    expect(Payload.msgpack(msgpack).msgpack()).toBe(msgpack);
    expect(Payload.msgpack(msgpack).value()).toBe(5);
  });

  test('doubles are the same doubles in MessagePack', () => {
    fc.assert(
      fc.property(fc.double(), (value) => {
        fc.pre(!Object.is(value, -0));
        expect(Payload.msgpack(Payload.of(value).msgpack()).value()).toBe(value);
      }),
    );
  });

  test('of bytes is bytes, in JSON as base64', () => {
    const payload = Payload.bytes(Uint8Array.of(0, 1, 255));
    expect(payload.value()).toEqual(Uint8Array.of(0, 1, 255));
    expect(JSON.parse(Buffer.from(payload.json()).toString())).toEqual({ base64: 'AAH/' });
    expect(Buffer.from(Payload.msgpack(payload.msgpack()).raw!)).toEqual(Buffer.of(0, 1, 255));
    expect(Payload.of(Uint8Array.of(7)).raw).toEqual(Uint8Array.of(7));
    expect(Payload.of(1).raw).toBeUndefined();
    expect(payload.byteLength).toBe(3);
  });

  test('is a copy where its owner may go on and change it', () => {
    const value = { a: 1, list: [1, 2], deep: { er: 'x' } };
    const bytes = Buffer.of(1, 2, 3);
    const [copy, copyOfBytes] = [Payload.copyOf(value), Payload.copyOf(bytes)];
    value.a = 9;
    value.list.push(3);
    value.deep.er = 'y';
    bytes[0] = 9;
    expect(copy.value()).toEqual({ a: 1, list: [1, 2], deep: { er: 'x' } });
    expect(copyOfBytes.raw).toEqual(Uint8Array.of(1, 2, 3));
    expect(copy.byteLength).toBe(copy.msgpack().length);
  });

  test('a copy of whatever a program has at hand is what JSON makes of it, but that NaN and −0 stay', () => {
    const copy = Payload.copyOf({ at: new Date(0), left: undefined, list: [undefined, NaN, -0], f: () => 1 });
    expect(copy.value()).toEqual({ at: '1970-01-01T00:00:00.000Z', list: [null, NaN, -0] });
    expect(Payload.msgpack(copy.msgpack()).value()).toEqual(copy.value());
  });

  test.each<[string, unknown]>([
    ['nothing', undefined],
    ['a symbol', Symbol('s')],
    ['a map', { m: new Map() }],
    ['a whole number beyond 64 bits', 2n ** 70n],
    ['bytes inside', { bytes: Uint8Array.of(1) }],
    ['half a character', '\ud800'],
    ['too deep', JSON.parse(nested(DEPTH_MAX + 1))],
  ])('is no copy of %s', (_, value) => {
    expect(refusal(() => Payload.copyOf(value))).toBe('PAYLOAD_BAD');
  });

  test.each([
    ['no JSON', utf8.encode('{"a":')],
    ['nothing', new Uint8Array()],
    ['invalid UTF-8', Uint8Array.of(0x22, 0xff, 0x22)],
    ['a cut character', Uint8Array.of(0x22, 0xc3, 0x22)],
    ['too deep', utf8.encode(nested(DEPTH_MAX + 1))],
    ['far too deep', utf8.encode(nested(400_000))],
    ['a prototype', utf8.encode('{"a":[{"__proto__":{"b":1}}]}')],
    ['a prototype in escapes', utf8.encode('{"\\u005f_proto__":1}')],
    ['half a character', utf8.encode('["\\ud83d"]')],
    ['the other half', utf8.encode('{"a":"x\\ude00"}')],
    ['half a character as a key', utf8.encode('{"\\uD83D":1}')],
  ])('of JSON: %s is refused', (_, bytes) => {
    expect(refusal(() => Payload.json(bytes))).toBe('PAYLOAD_BAD');
  });

  test('of JSON may be written with escapes', () => {
    const text = '{"\\u0061":["\\ud83d\\ude00","\\n"]}';
    expect(Payload.json(utf8.encode(text)).value()).toEqual({ a: ['😀', '\n'] });
  });

  test('of JSON and MessagePack may be as deep as the limit', () => {
    const value = JSON.parse(nested(DEPTH_MAX)) as unknown;
    expect(refusal(() => Payload.json(utf8.encode(nested(DEPTH_MAX))))).toBeUndefined();
    expect(refusal(() => Payload.msgpack(pack(value)))).toBeUndefined();
    expect(refusal(() => Payload.msgpack(pack([value])))).toBe('PAYLOAD_BAD');
  });

  test.each([
    ['nothing', []],
    ['a list of four billion', [0xdd, 0xff, 0xff, 0xff, 0xff, 1]],
    ['a map of four billion', [0xdf, 0xff, 0xff, 0xff, 0xff, 0xa1, 0x61, 1]],
    ['a text of four billion', [0xdb, 0xff, 0xff, 0xff, 0xff, 0x61]],
    ['bytes of four billion', [0xc6, 0xff, 0xff, 0xff, 0xff, 0x61]],
    ['bytes inside', [0x91, 0xc4, 1, 7]],
    ['an extension', [0xd4, 0x72, 1]],
    ['a long extension', [0xc7, 1, 0x72, 1]],
    ['the unused type', [0xc1]],
    ['a cut double', [0xcb, 1, 2, 3]],
    ['two values', [1, 2]],
    ['a number as a key', [0x81, 1, 2]],
    ['invalid UTF-8', [0xa2, 0xc3, 0x28]],
    ['a prototype', [0x81, 0xa9, ...utf8.encode('__proto__'), 1]],
    ['a prototype with a long head', [0x81, 0xda, 0, 9, ...utf8.encode('__proto__'), 1]],
    ['far too deep', Array.from({ length: 100_000 }, () => 0x91)],
  ])('of MessagePack: %s is refused', (_, bytes) => {
    expect(refusal(() => Payload.msgpack(Uint8Array.from(bytes)))).toBe('PAYLOAD_BAD');
  });

  test('any bytes are a value or a refusal; cut values are refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        expect([undefined, 'PAYLOAD_BAD']).toContain(refusal(() => Payload.msgpack(bytes)));
        expect([undefined, 'PAYLOAD_BAD']).toContain(refusal(() => Payload.json(bytes)));
      }),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(values, (value) => {
        const whole = Payload.of(value).msgpack();
        for (let length = 0; length < whole.length; length++) {
          expect(refusal(() => Payload.msgpack(whole.subarray(0, length)))).toBe('PAYLOAD_BAD');
        }
      }),
    );
  });
});

describe('a message of a batch of columns', () => {
  const rows = Array.from({ length: 5 }, (_, i) => ({
    pose: { x: i / 3, y: 1 - i, on: i % 2 === 0 },
    cells: [i, 7],
    mode: i < 3 ? 'auto' : null,
    empty: [],
  }));
  const fields = schemaFor(rows)!;
  const gatherer = new ColumnGatherer(fields, 1_000_000);
  for (const [i, row] of rows.entries()) gatherer.add({ timeMs: i, priority: 1, payload: Payload.of(row) });
  const batch = decodeColumns(gatherer.encode(0), fields, 100, 1_000_000);

  test('is its value, in whatever form somebody asks for', () => {
    for (const [i, row] of rows.entries()) {
      const payload = Payload.row(batch, i);
      expect(payload.row).toEqual({ batch, index: i });
      expect([payload.raw, payload.packed]).toEqual([undefined, undefined]);
      const { byteLength } = payload;
      expect(JSON.parse(Buffer.from(payload.json()).toString())).toEqual(row);
      expect(Payload.msgpack(payload.msgpack()).value()).toEqual(row);
      expect(payload.value()).toEqual(row);
      // Made once, and then kept.
      expect(payload.value()).toBe(payload.value());
      expect(payload.packed).toBeUndefined();
      expect(payload.byteLength).toBe(byteLength);
    }
    // Forms are made of it in whatever order.
    expect(Payload.row(batch, 1).value()).toEqual(rows[1]);
    expect(Payload.msgpack(Payload.row(batch, 2).msgpack()).value()).toEqual(rows[2]);
  });

  test('of a part of a batch is the message at its place in the part', () => {
    const part = batch.part(2, 3);
    expect([0, 1, 2].map((i) => Payload.row(part, i).value())).toEqual(rows.slice(2));
    expect(Payload.row(part, 2).byteLength).toBe(Payload.row(batch, 4).byteLength);
  });

  test('counts its numbers as doubles, with its time and priority, and its texts by their length', () => {
    const bytesOf = (log: unknown) => {
      const value = { a: 1, b: 2, c: 3, on: true, d: 4, log };
      const message = { timeMs: 1, priority: 1, payload: Payload.of(value) } as const;
      return Payload.row(ColumnGatherer.row(schemaFor([value])!, message)!, 0).byteLength;
    };
    expect(bytesOf(null)).toBe((2 + 5) * 8 + 8);
    expect(bytesOf([])).toBe(bytesOf(null));
    for (const text of ['x', 'é'.repeat(30), '€'.repeat(64), 'x'.repeat(65), '€'.repeat(5_000), '\n'.repeat(5_000)]) {
      expect(bytesOf(text)).toBeGreaterThanOrEqual((2 + 5) * 8 + utf8.encode(JSON.stringify(text)).length);
    }
    expect(bytesOf('x'.repeat(100_000))).toBeLessThan(100_100);
  });
});
