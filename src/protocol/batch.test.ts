import { deflateSync, inflateSync } from 'node:zlib';
import fc from 'fast-check';
import { compressSync } from 'lz4-napi';
import { describe, expect, test, vi } from 'vitest';
import { SightlineError } from '../base/errors.ts';
import type { Priority } from '../base/sample.ts';
import {
  BATCH_LIMITS,
  type BatchHead,
  type BatchMessage,
  type Compressors,
  COMPRESS_ABOVE_BYTES,
  decodeBatch,
  decodeBatchHeader,
  decodeColumns,
  type Decompressors,
  type SchemaLookup,
  encodeBatch,
  ENVELOPE_BYTES,
} from './batch.ts';
import { decompressLz4 } from './lz4.ts';
import { Payload } from './payload.ts';
import { schemaFor } from './schema.ts';
import type { PayloadCodec } from './telemetry.ts';

const compressors: Compressors = {
  // The library writes the size in front of the block.
  lz4: (plain) => compressSync(Buffer.from(plain)).subarray(4),
  zlib: (plain) => deflateSync(plain),
};
const inflate = (packed: Uint8Array, plainSize: number) => inflateSync(packed, { maxOutputLength: plainSize });
const decompressors: Decompressors = { lz4: decompressLz4, zlib: inflate };
const noSchema = () => undefined;
const utf8 = new TextEncoder();

const head = (codec: PayloadCodec, more: Partial<BatchHead> = {}): BatchHead => ({
  topicId: 7,
  epoch: 9,
  firstSeq: 2 ** 40,
  codec,
  compression: 'none',
  ...more,
});

const priorities = fc.constantFrom<Priority[]>(0, 1, 2, 3);
const times = fc.double({ noNaN: true, noDefaultInfinity: true });
const values = fc
  .jsonValue({ maxDepth: 3 })
  .map((value) => JSON.parse(JSON.stringify(value)) as unknown)
  .filter((value) => !JSON.stringify(value).includes('__proto__'));
const messagesOf = (payloads: fc.Arbitrary<Payload>) =>
  fc.array(fc.record({ timeMs: times, priority: priorities, payload: payloads }), { minLength: 1, maxLength: 20 });

function refusal(run: () => unknown): string | undefined {
  try {
    run();
  } catch (thrown) {
    if (!(thrown instanceof SightlineError)) throw thrown;
    expect(thrown.message.length).toBeLessThan(200);
    return thrown.code;
  }
  return undefined;
}

const plain = (messages: readonly BatchMessage[]) =>
  messages.map(({ timeMs, priority, payload }) => ({ timeMs, priority, value: payload.value() }));

const message = (value: unknown, timeMs = 1, priority: Priority = 1): BatchMessage => ({
  timeMs,
  priority,
  payload: Payload.of(value),
});
const row = (i: number) => ({ a: i, b: i / 8, c: 5, d: [1, 2, i], mode: 'auto' });
const rows = Array.from({ length: 30 }, (_, i) => message(row(i), i));
const schema = schemaFor([row(0)])!;
const columnsHead = head('columns', { schemaId: 3, schema });

describe('batches', () => {
  test('have the layout of the documentation', () => {
    const bytes = encodeBatch(
      { topicId: 0x01020304, epoch: 5, firstSeq: 2, codec: 'json', compression: 'none' },
      [message('a', 1.5, 3), message(1, 0, 0)],
      {},
    );
    const envelope = 'b1010000 04030201 05000000 26000000 0000000000000040';
    const batch = '02000000 1e000000';
    const first = '000000000000f83f 03 03000000 226122';
    const second = '0000000000000000 00 01000000 31';
    expect(Buffer.from(bytes).toString('hex')).toBe(`${envelope}${batch}${first}${second}`.replaceAll(' ', ''));
  });

  test.each(['json', 'msgpack'] as const)('of %s give back what they were made of', (codec) => {
    fc.assert(
      fc.property(
        messagesOf(values.map(Payload.of)),
        fc.constantFrom('none', 'lz4', 'zlib'),
        (messages, compression) => {
          const bytes = encodeBatch(head(codec, { compression }), messages, compressors);
          const { envelope, messages: decoded } = decodeBatch(bytes, noSchema, decompressors);
          expect(envelope).toMatchObject({ topicId: 7, epoch: 9, firstSeq: 2 ** 40, codec, schemaId: 0 });
          expect(plain(decoded)).toEqual(plain(messages));
        },
      ),
    );
  });

  test('of bytes give back the bytes, borrowed from the message', () => {
    fc.assert(
      fc.property(messagesOf(fc.uint8Array({ maxLength: 50 }).map(Payload.bytes)), (messages) => {
        const bytes = encodeBatch(head('bytes'), messages, {});
        const decoded = decodeBatch(bytes, noSchema, {}).messages;
        expect(plain(decoded)).toEqual(plain(messages));
        expect(decoded.every(({ payload }) => payload.raw!.buffer === bytes.buffer)).toBe(true);
      }),
    );
    expect(refusal(() => encodeBatch(head('bytes'), [message(1)], {}))).toBe('PAYLOAD_BAD');
  });

  test('of columns give back objects, and columns without objects', () => {
    const bytes = encodeBatch(columnsHead, rows, {});
    const lookup = vi.fn<SchemaLookup>(() => schema);
    const { envelope, messages } = decodeBatch(bytes, lookup, {});
    expect(lookup).toHaveBeenCalledWith(7, 3);
    expect(envelope).toMatchObject({ codec: 'columns', schemaId: 3 });
    expect(plain(messages)).toEqual(plain(rows));
    const { columns } = decodeColumns(bytes, lookup, {});
    expect([...columns.column('d.2')!]).toEqual(rows.map((_, i) => i));
    expect(refusal(() => decodeColumns(encodeBatch(head('json'), rows, {}), lookup, {}))).toBe('BATCH_BAD');
  });

  test('of no messages, or of too many, are not made', () => {
    expect(refusal(() => encodeBatch(head('json'), [], {}))).toBe('BATCH_BAD');
    const many = Array.from({ length: BATCH_LIMITS.messagesMax + 1 }, () => message(1));
    expect(refusal(() => encodeBatch(head('json'), many, {}))).toBe('BATCH_TOO_LARGE');
    expect(refusal(() => encodeBatch(head('json'), many.slice(1), {}))).toBeUndefined();
    const full = Array.from({ length: BATCH_LIMITS.messagesMax }, (_, i) => message(row(i % 7)));
    const { messages } = decodeBatch(encodeBatch(columnsHead, full, {}), () => schema, {});
    expect(plain(messages)).toEqual(plain(full));
  });

  test('of columns need their schema on both sides', () => {
    expect(refusal(() => encodeBatch(head('columns'), rows, {}))).toBe('SCHEMA_UNKNOWN');
    expect(refusal(() => decodeBatch(encodeBatch(columnsHead, rows, {}), noSchema, {}))).toBe('SCHEMA_UNKNOWN');
    expect(refusal(() => encodeBatch(columnsHead, [...rows, message('other')], {}))).toBe('PAYLOAD_BAD');
  });

  test('in the middle of a larger buffer are read at their own place', () => {
    const lookup = () => schema;
    for (const before of [1, 2, 3, 4, 8]) {
      for (const bytes of [encodeBatch(columnsHead, rows, {}), encodeBatch(head('msgpack'), rows, {})]) {
        const all = Buffer.concat([Buffer.alloc(before, 1), bytes, Buffer.alloc(5, 2)]);
        const inside = all.subarray(before, before + bytes.length);
        expect(plain(decodeBatch(inside, lookup, {}).messages)).toEqual(plain(rows));
      }
    }
  });
});

describe('compression', () => {
  const long = Array.from({ length: 40 }, () => message({ text: 'again and again and again' }));
  const compressionOf = (bytes: Uint8Array) => decodeBatchHeader(bytes).compression;

  test('is used where it saves bytes', () => {
    const without = encodeBatch(head('json'), long, compressors);
    for (const compression of ['lz4', 'zlib'] as const) {
      const bytes = encodeBatch(head('json', { compression }), long, compressors);
      expect(compressionOf(bytes)).toBe(compression);
      expect(bytes.length).toBeLessThan(without.length / 3);
      expect(decodeBatchHeader(bytes).plainSize).toBe(without.length - ENVELOPE_BYTES);
    }
  });

  test('is left out for what is small, does not shrink, cannot be done or fails', () => {
    const small = [message('x'.repeat(COMPRESS_ABOVE_BYTES - 40))];
    expect(compressionOf(encodeBatch(head('json', { compression: 'lz4' }), small, compressors))).toBe('none');
    const noise = [{ timeMs: 1, priority: 1, payload: Payload.bytes(deflateSync(Buffer.from(JSON.stringify(rows)))) }];
    const random = encodeBatch(head('bytes', { compression: 'zlib' }), noise as BatchMessage[], compressors);
    expect(compressionOf(random)).toBe('none');
    expect(compressionOf(encodeBatch(head('json', { compression: 'zstd' }), long, compressors))).toBe('none');
    const failing = {
      lz4: () => {
        throw new Error('no memory');
      },
    };
    const bytes = encodeBatch(head('json', { compression: 'lz4' }), long, failing);
    expect(compressionOf(bytes)).toBe('none');
    expect(plain(decodeBatch(bytes, noSchema, {}).messages)).toEqual(plain(long));
  });

  test('by LZ4 is tried on columns only where texts are most of them', () => {
    const lz4 = vi.fn<NonNullable<Compressors['lz4']>>(compressors.lz4!);
    const numbers = Array.from({ length: 400 }, (_, i) => message({ ...row(i), a: (i * 7919) % 1000 }));
    const columns = encodeBatch({ ...columnsHead, compression: 'lz4' }, numbers, { lz4 });
    expect(columns.length).toBeGreaterThan(COMPRESS_ABOVE_BYTES * 1.5);
    expect(lz4).not.toHaveBeenCalled();
    const talk = rows.map((_, i) => message({ ...row(i), mode: `something that is said again and again, ${i}` }));
    const texts = encodeBatch({ ...columnsHead, compression: 'lz4' }, talk, { lz4 });
    expect(compressionOf(texts)).toBe('lz4');
    expect(plain(decodeBatch(texts, () => schema, decompressors).messages)).toEqual(plain(talk));
  });

  test('that lies or is unknown is refused', () => {
    const bytes = encodeBatch(head('json', { compression: 'zlib' }), long, compressors);
    expect(refusal(() => decodeBatch(bytes, noSchema, {}))).toBe('COMPRESSION_BAD');
    const view = new DataView(bytes.buffer);
    const { plainSize } = decodeBatchHeader(bytes);
    for (const wrong of [plainSize - 1, plainSize + 1, 0]) {
      view.setUint32(12, wrong, true);
      expect(refusal(() => decodeBatch(bytes, noSchema, decompressors))).toBe('COMPRESSION_BAD');
    }
    view.setUint32(12, plainSize, true);
    bytes[40]! ^= 0xff;
    expect(['COMPRESSION_BAD', 'BATCH_BAD', 'PAYLOAD_BAD']).toContain(
      refusal(() => decodeBatch(bytes, noSchema, decompressors)),
    );
  });

  test('of a bomb is refused: by its claim, or at the size that it claims', () => {
    const bomb = deflateSync(Buffer.alloc(64 * 1024 * 1024));
    const bytes = new Uint8Array(ENVELOPE_BYTES + bomb.length);
    bytes.set(encodeBatch(head('json'), long, {}).subarray(0, ENVELOPE_BYTES));
    bytes.set(bomb, ENVELOPE_BYTES);
    bytes[2] = 2;
    const view = new DataView(bytes.buffer);
    view.setUint32(12, 64 * 1024 * 1024, true);
    const unpack = vi.fn<typeof inflate>(inflate);
    expect(refusal(() => decodeBatch(bytes, noSchema, { zlib: unpack }))).toBe('BATCH_TOO_LARGE');
    expect(unpack).not.toHaveBeenCalled();
    view.setUint32(12, 1000, true);
    expect(refusal(() => decodeBatch(bytes, noSchema, { zlib: unpack }))).toBe('COMPRESSION_BAD');
    expect(unpack).toHaveBeenCalledWith(expect.anything(), 1000);
  });
});

describe('foreign batches', () => {
  const whole = [
    encodeBatch(head('bytes'), [{ timeMs: 1, priority: 1, payload: Payload.bytes(Uint8Array.of(1, 2, 3)) }], {}),
    encodeBatch(head('json'), rows.slice(0, 3), {}),
    encodeBatch(head('msgpack'), rows.slice(0, 3), {}),
    encodeBatch(head('json', { compression: 'lz4' }), rows, compressors),
    encodeBatch(columnsHead, rows, {}),
  ];
  const lookup = () => schema;

  test('cut at any byte are refused', () => {
    for (const bytes of whole) {
      for (let length = 0; length < bytes.length; length++) {
        const code = refusal(() => decodeBatch(bytes.subarray(0, length), lookup, decompressors));
        expect(['BATCH_BAD', 'COMPRESSION_BAD']).toContain(code);
      }
    }
  });

  test('with bytes changed, or of any bytes, are a batch or a refusal', () => {
    const codes = [undefined, 'BATCH_BAD', 'BATCH_TOO_LARGE', 'COMPRESSION_BAD', 'PAYLOAD_BAD', 'SCHEMA_UNKNOWN'];
    const changed = fc
      .tuple(fc.constantFrom(...whole), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 5 }))
      .map(([bytes, changes]) => {
        const copy = bytes.slice();
        for (const [at, byte] of changes) copy[at % copy.length] = byte;
        return copy;
      });
    const any = fc.uint8Array({ maxLength: 120 }).map((bytes) => Uint8Array.of(0xb1, ...bytes));
    fc.assert(
      fc.property(fc.oneof(changed, any), (bytes) => {
        expect(codes).toContain(refusal(() => decodeBatch(bytes, lookup, decompressors)));
      }),
      { numRuns: 4000 },
    );
  });

  const altered = (at: number, value: number, size: 1 | 4 | 8 = 1, from = whole[1]!) => {
    const copy = from.slice();
    const view = new DataView(copy.buffer);
    if (size === 1) view.setUint8(at, value);
    else if (size === 4) view.setUint32(at, value, true);
    else view.setFloat64(at, value, true);
    return copy;
  };

  test.each([
    ['another kind', altered(0, 0xb0), 'BATCH_BAD'],
    ['an unknown codec', altered(1, 4), 'BATCH_BAD'],
    ['an unknown compression', altered(2, 4), 'BATCH_BAD'],
    ['a schema without columns', altered(3, 1), 'BATCH_BAD'],
    ['a size that is another', altered(12, 5, 4), 'BATCH_BAD'],
    ['a size of four billion', altered(12, 0xffff_ffff, 4), 'BATCH_TOO_LARGE'],
    ['a negative sequence', altered(16, -1, 8), 'BATCH_BAD'],
    ['half a sequence', altered(16, 0.5, 8), 'BATCH_BAD'],
    ['a sequence that is none', altered(16, Number.NaN, 8), 'BATCH_BAD'],
    ['no messages', altered(24, 0, 4), 'BATCH_BAD'],
    ['fewer messages', altered(24, 2, 4), 'BATCH_BAD'],
    ['more messages', altered(24, 4, 4), 'BATCH_BAD'],
    ['four billion messages', altered(24, 0xffff_ffff, 4), 'BATCH_TOO_LARGE'],
    ['another total', altered(28, 1, 4), 'BATCH_BAD'],
    ['a time that is none', altered(32, Number.NaN, 8), 'BATCH_BAD'],
    ['priority 4', altered(40, 4), 'BATCH_BAD'],
    ['a message longer than the rest', altered(41, 100_000, 4), 'BATCH_BAD'],
    ['a message of four billion bytes', altered(41, 0xffff_ffff, 4), 'BATCH_TOO_LARGE'],
    ['data that is not JSON', altered(45, 0x7d), 'PAYLOAD_BAD'],
    ['a count that no bytes follow', altered(24, 0xffff_ffff, 4, whole[4]), 'BATCH_TOO_LARGE'],
    ['nothing behind the envelope', altered(12, 0, 4).subarray(0, ENVELOPE_BYTES), 'BATCH_BAD'],
  ])('with %s are refused', (_, bytes, code) => {
    expect(refusal(() => decodeBatch(bytes, lookup, decompressors))).toBe(code);
  });

  test('are held to the limits that are given', () => {
    const bytes = encodeBatch(head('json'), rows, {});
    const limited = (limits: Partial<typeof BATCH_LIMITS>) =>
      refusal(() => decodeBatch(bytes, lookup, {}, { ...BATCH_LIMITS, ...limits }));
    expect(limited({ messagesMax: 29 })).toBe('BATCH_TOO_LARGE');
    expect(limited({ plainBytesMax: 100 })).toBe('BATCH_TOO_LARGE');
    expect(limited({ messageBytesMax: 10 })).toBe('BATCH_TOO_LARGE');
    expect(limited({ messagesMax: 30 })).toBeUndefined();
  });

  test('with data in invalid UTF-8 are refused', () => {
    const bytes = encodeBatch(head('json'), [message('ab')], {});
    bytes[bytes.indexOf(utf8.encode('a')[0]!, 40)] = 0xff;
    expect(refusal(() => decodeBatch(bytes, lookup, {}))).toBe('PAYLOAD_BAD');
  });
});
