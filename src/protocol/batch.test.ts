import { readFileSync } from 'node:fs';
import { deflateSync, inflateSync } from 'node:zlib';
import fc from 'fast-check';
import { compressSync } from 'lz4-napi';
import { describe, expect, test, vi } from 'vitest';
import { messageValues } from '../../test/support/arbitraries.ts';
import { SightlineError } from '../base/errors.ts';
import type { Priority } from '../base/sample.ts';
import {
  BATCH_LIMITS,
  type BatchHead,
  type BatchMessage,
  type BatchSection,
  type Compressors,
  COMPRESS_ABOVE_BYTES,
  decodeBatch,
  decodeBatchHeader,
  decodeColumns,
  type Decompressors,
  type SchemaLookup,
  encodeBatch,
  envelopeBytes,
  messagesOfColumns,
} from './batch.ts';
import { ColumnGatherer } from './columns.ts';
import { decompressLz4 } from './lz4.ts';
import { Payload } from './payload.ts';
import { schemaFor } from './schema.ts';
import type { PayloadCodec, SchemaField } from './telemetry.ts';

const compressors: Compressors = {
  // The library writes the size in front of the block.
  lz4: (plain) => compressSync(Buffer.from(plain)).subarray(4),
  zlib: (plain) => deflateSync(plain),
};
// Not a Buffer, so that what is in it compares with what was made elsewhere.
const inflate = (packed: Uint8Array, plainSize: number) =>
  Uint8Array.from(inflateSync(packed, { maxOutputLength: plainSize }));
const decompressors: Decompressors = { lz4: decompressLz4, zlib: inflate };
const noSchema = () => undefined;
const utf8 = new TextEncoder();

const section = (count: number, more: Partial<BatchSection> = {}): BatchSection => ({
  topicId: 7,
  epoch: 9,
  firstSeq: 2 ** 40,
  count,
  ...more,
});
/** All messages in one section, unless `more` has others. */
function encode(
  codec: PayloadCodec,
  messages: readonly BatchMessage[],
  more: Partial<BatchHead> = {},
  use: Compressors = {},
): Uint8Array<ArrayBuffer> {
  return encodeBatch({ sections: [section(messages.length)], codec, compression: 'none', ...more }, messages, use);
}

const priorities = fc.constantFrom<Priority[]>(0, 1, 2, 3);
const times = fc.double({ noNaN: true, noDefaultInfinity: true });
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
const columnsHead = { schemaId: 3, schema } as const;

interface SectionOfMessages {
  readonly section: BatchSection;
  readonly messages: readonly BatchMessage[];
}

const u32 = fc.oneof(fc.constantFrom(0, 1, 2 ** 32 - 1), fc.nat(2 ** 32 - 1));
const sectionsOf = (payloads: fc.Arbitrary<Payload>): fc.Arbitrary<SectionOfMessages[]> =>
  fc.array(
    fc
      .record({ topicId: u32, epoch: u32, firstSeq: fc.nat(Number.MAX_SAFE_INTEGER), messages: messagesOf(payloads) })
      .map(({ topicId, epoch, firstSeq, messages }) => ({
        section: { topicId, epoch, firstSeq, count: messages.length },
        messages,
      })),
    { minLength: 1, maxLength: 8 },
  );
const rowValues = fc.record(
  {
    a: fc.double(),
    b: fc.double(),
    c: fc.integer(),
    d: fc.tuple(fc.double(), fc.nat(9), fc.float()),
    mode: fc.string(),
  },
  { noNullPrototype: true },
);
const payloadsOf: Readonly<Record<PayloadCodec, fc.Arbitrary<Payload>>> = {
  bytes: fc.uint8Array({ maxLength: 50 }).map(Payload.bytes),
  json: messageValues.map(Payload.of),
  msgpack: messageValues.map(Payload.of),
  columns: rowValues.map(Payload.of),
};

describe('batches', () => {
  test('have the layout of the documentation', () => {
    const sections = [
      section(1, { topicId: 0x01020304, epoch: 5, firstSeq: 2 }),
      section(1, { topicId: 6, firstSeq: 3 }),
    ];
    const bytes = encode('json', [message('a', 1.5, 3), message(1, 0, 0)], { sections });
    const expected = [
      'b1 01 00 00 0000 0200 26000000',
      '04030201 05000000 0000000000000040 01000000',
      '06000000 09000000 0000000000000840 01000000',
      '02000000 1e000000',
      '000000000000f83f 03 03000000 226122',
      '0000000000000000 00 01000000 31',
    ];
    expect(Buffer.from(bytes).toString('hex')).toBe(expected.join('').replaceAll(' ', ''));
    expect(envelopeBytes(2)).toBe(52);
    const columns = encode('columns', rows, { schemaId: 0x0102, schema });
    expect(Buffer.from(columns.subarray(0, 8)).toString('hex')).toBe('b103000002010100');
  });

  test('of several topics in columns: the example of the documentation, byte by byte', () => {
    const fields: SchemaField[] = [
      { path: 'speed', kind: 'f64' },
      { path: 'on', kind: 'bool' },
      { path: 'mode', kind: 'json' },
    ];
    const messages = [
      message({ speed: 1.25, on: true, mode: 'auto' }, 1000),
      message({ speed: 1.5, on: true, mode: 'auto' }, 1005),
      message({ speed: 1.2, on: true, mode: 'stop' }, 1010),
    ];
    const sections = [
      section(2, { topicId: 7, epoch: 9, firstSeq: 1 }),
      section(1, { topicId: 8, epoch: 5, firstSeq: 5 }),
    ];
    const bytes = encode('columns', messages, { sections, schemaId: 1, schema: fields });
    const page = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8');
    const [, table] = page.slice(page.indexOf('*Example*')).split('\n\n');
    const told = table!
      .split('\n')
      .filter((line) => line.startsWith('| `'))
      .flatMap((line) => line.split('|')[1]!.match(/[0-9a-f]{2}/g));
    expect(Buffer.from(bytes).toString('hex')).toBe(told.join(''));
    expect(plain(decodeBatch(bytes, () => fields, {}).messages)).toEqual(plain(messages));
  });

  test.each(['bytes', 'json', 'msgpack', 'columns'] as const)('of %s give back sections and messages', (codec) => {
    fc.assert(
      fc.property(sectionsOf(payloadsOf[codec]), fc.constantFrom('none', 'lz4', 'zlib'), (parts, compression) => {
        const sections = parts.map((part) => part.section);
        const messages = parts.flatMap((part) => part.messages);
        const own = codec === 'columns' ? columnsHead : {};
        const bytes = encode(codec, messages, { sections, compression, ...own }, compressors);
        const { envelope, messages: decoded } = decodeBatch(bytes, () => schema, decompressors);
        const { schemaId = 0 } = own as Partial<BatchHead>;
        expect(envelope).toMatchObject({ codec, schemaId, sections, count: messages.length });
        expect(decodeBatchHeader(bytes)).toEqual(envelope);
        expect(plain(decoded)).toEqual(plain(messages));
        if (envelope.compression === 'none') {
          expect(bytes.length).toBe(envelopeBytes(sections.length) + envelope.plainSize);
        }
      }),
    );
  });

  test('of a thousand sections, and of a topic in several, are taken', () => {
    const sections = Array.from({ length: BATCH_LIMITS.sectionsMax }, (_, i) => section(10, { topicId: i % 400 }));
    const messages = Array.from({ length: BATCH_LIMITS.messagesMax }, (_, i) => message(i));
    const { envelope, messages: decoded } = decodeBatch(encode('json', messages, { sections }), noSchema, {});
    expect(envelope.sections).toEqual(sections);
    expect(plain(decoded)).toEqual(plain(messages));
  });

  test('whose sections are none, too many or do not add up are not made', () => {
    const two = [message(1), message(2)];
    const refused = (sections: BatchSection[], messages = two) => refusal(() => encode('json', messages, { sections }));
    expect(refused([])).toBe('BATCH_BAD');
    expect(refused([], [])).toBe('BATCH_BAD');
    expect(refused([section(1)])).toBe('BATCH_BAD');
    expect(refused([section(1), section(2)])).toBe('BATCH_BAD');
    const many = Array.from({ length: BATCH_LIMITS.sectionsMax + 1 }, () => section(1));
    const messages = many.map((_, i) => message(i));
    expect(refused(many, messages)).toBe('BATCH_TOO_LARGE');
    expect(refused(many.slice(1), messages.slice(1))).toBeUndefined();
  });

  test('of bytes give back the bytes, borrowed from the message', () => {
    fc.assert(
      fc.property(messagesOf(fc.uint8Array({ maxLength: 50 }).map(Payload.bytes)), (messages) => {
        const bytes = encode('bytes', messages);
        const decoded = decodeBatch(bytes, noSchema, {}).messages;
        expect(plain(decoded)).toEqual(plain(messages));
        expect(decoded.every(({ payload }) => payload.raw!.buffer === bytes.buffer)).toBe(true);
      }),
    );
    expect(refusal(() => encode('bytes', [message(1)]))).toBe('PAYLOAD_BAD');
  });

  test('of columns give back objects, and columns without objects', () => {
    const bytes = encode('columns', rows, columnsHead);
    const lookup = vi.fn<SchemaLookup>(() => schema);
    const { envelope, messages } = decodeBatch(bytes, lookup, {});
    expect(lookup).toHaveBeenCalledWith(3);
    expect(envelope).toMatchObject({ codec: 'columns', schemaId: 3 });
    expect(plain(messages)).toEqual(plain(rows));
    const { columns } = decodeColumns(bytes, lookup, {});
    expect([...columns.column('d.2')!]).toEqual(rows.map((_, i) => i));
    expect(columns.part(10, 5).objects()).toEqual(rows.slice(10, 15).map(({ payload }) => payload.value()));
    expect(refusal(() => decodeColumns(encode('json', rows), lookup, {}))).toBe('BATCH_BAD');
  });

  test('of no messages, or of too many, are not made', () => {
    expect(refusal(() => encode('json', []))).toBe('BATCH_BAD');
    const many = Array.from({ length: BATCH_LIMITS.messagesMax + 1 }, () => message(1));
    expect(refusal(() => encode('json', many))).toBe('BATCH_TOO_LARGE');
    expect(refusal(() => encode('json', many.slice(1)))).toBeUndefined();
    const full = Array.from({ length: BATCH_LIMITS.messagesMax }, (_, i) => message(row(i % 7)));
    const { messages } = decodeBatch(encode('columns', full, columnsHead), () => schema, {});
    expect(plain(messages)).toEqual(plain(full));
  });

  test('of columns need their schema on both sides', () => {
    expect(refusal(() => encode('columns', rows))).toBe('SCHEMA_UNKNOWN');
    expect(refusal(() => decodeBatch(encode('columns', rows, columnsHead), noSchema, {}))).toBe('SCHEMA_UNKNOWN');
    expect(refusal(() => encode('columns', [...rows, message('other')], columnsHead))).toBe('PAYLOAD_BAD');
  });

  test('of columns may be gathered before, and are the same batch', () => {
    const gatherer = new ColumnGatherer(schema, BATCH_LIMITS.plainBytesMax);
    for (const entry of rows) expect(gatherer.add(entry)).toBe(true);
    const sections = [section(10), section(20, { topicId: 8 })];
    const gathered = encodeBatch({ sections, codec: 'columns', compression: 'none', ...columnsHead }, gatherer, {});
    expect(gathered).toEqual(encode('columns', rows, { sections, ...columnsHead }));
    expect(
      refusal(() => encodeBatch({ sections: [section(29)], codec: 'columns', compression: 'none' }, gatherer, {})),
    ).toBe('BATCH_BAD');
  });

  test('of columns are not made larger than any reader would take', () => {
    const wide = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`f${i}`, 1]));
    const fields = schemaFor([wide])!;
    // Each of its values counts as 8 bytes, and so do time and priority.
    const countMax = Math.floor(BATCH_LIMITS.plainBytesMax / (502 * 8));
    const many = Array.from({ length: countMax + 1 }, () => message(wide));
    expect(refusal(() => encode('columns', many, { schemaId: 1, schema: fields }))).toBe('BATCH_TOO_LARGE');
    const bytes = encode('columns', many.slice(1), { schemaId: 1, schema: fields });
    expect(decodeColumns(bytes, () => fields, {}).columns.count).toBe(countMax);
  });

  test('one after the other do not disturb what those before gave', () => {
    const other = rows.map((_, i) => message({ ...row(-i), mode: 'stop' }));
    const [first, second] = [rows, other].map((messages) => encode('columns', messages, columnsHead));
    const { columns } = decodeColumns(first!, () => schema, {});
    const { messages } = decodeBatch(first!, () => schema, {});
    expect(plain(decodeBatch(second!, () => schema, {}).messages)).toEqual(plain(other));
    expect(plain(messages)).toEqual(plain(rows));
    expect([...columns.column('a')!]).toEqual(rows.map((_, i) => i));
    expect([...columns.times]).toEqual(rows.map(({ timeMs }) => timeMs));
  });

  test('in the middle of a larger buffer are read at their own place', () => {
    const lookup = () => schema;
    for (const before of [1, 2, 3, 4, 8]) {
      for (const bytes of [encode('columns', rows, columnsHead), encode('msgpack', rows)]) {
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
    const without = encode('json', long, {}, compressors);
    for (const compression of ['lz4', 'zlib'] as const) {
      const bytes = encode('json', long, { compression }, compressors);
      expect(compressionOf(bytes)).toBe(compression);
      expect(bytes.length).toBeLessThan(without.length / 3);
      expect(decodeBatchHeader(bytes).plainSize).toBe(without.length - envelopeBytes(1));
    }
  });

  test('is left out for what is small, does not shrink, cannot be done or fails', () => {
    const small = [message('x'.repeat(COMPRESS_ABOVE_BYTES - 40))];
    expect(compressionOf(encode('json', small, { compression: 'lz4' }, compressors))).toBe('none');
    const noise = [{ timeMs: 1, priority: 1, payload: Payload.bytes(deflateSync(Buffer.from(JSON.stringify(rows)))) }];
    const random = encode('bytes', noise as BatchMessage[], { compression: 'zlib' }, compressors);
    expect(compressionOf(random)).toBe('none');
    expect(compressionOf(encode('json', long, { compression: 'zstd' }, compressors))).toBe('none');
    const failing = {
      lz4: () => {
        throw new Error('no memory');
      },
    };
    const bytes = encode('json', long, { compression: 'lz4' }, failing);
    expect(compressionOf(bytes)).toBe('none');
    expect(plain(decodeBatch(bytes, noSchema, {}).messages)).toEqual(plain(long));
  });

  test('by LZ4 is tried on columns only where texts are most of them', () => {
    const lz4 = vi.fn<NonNullable<Compressors['lz4']>>(compressors.lz4!);
    const numbers = Array.from({ length: 400 }, (_, i) => message({ ...row(i), a: (i * 7919) % 1000 }));
    const columns = encode('columns', numbers, { ...columnsHead, compression: 'lz4' }, { lz4 });
    expect(columns.length).toBeGreaterThan(COMPRESS_ABOVE_BYTES * 1.5);
    expect(lz4).not.toHaveBeenCalled();
    const talk = rows.map((_, i) => message({ ...row(i), mode: `something that is said again and again, ${i}` }));
    const texts = encode('columns', talk, { ...columnsHead, compression: 'lz4' }, { lz4 });
    expect(compressionOf(texts)).toBe('lz4');
    expect(plain(decodeBatch(texts, () => schema, decompressors).messages)).toEqual(plain(talk));
  });

  test('that lies or is unknown is refused', () => {
    const bytes = encode('json', long, { compression: 'zlib' }, compressors);
    expect(refusal(() => decodeBatch(bytes, noSchema, {}))).toBe('COMPRESSION_BAD');
    const view = new DataView(bytes.buffer);
    const { plainSize } = decodeBatchHeader(bytes);
    for (const wrong of [plainSize - 1, plainSize + 1, 0]) {
      view.setUint32(8, wrong, true);
      expect(refusal(() => decodeBatch(bytes, noSchema, decompressors))).toBe('COMPRESSION_BAD');
    }
    view.setUint32(8, plainSize, true);
    bytes[40]! ^= 0xff;
    expect(['COMPRESSION_BAD', 'BATCH_BAD', 'PAYLOAD_BAD']).toContain(
      refusal(() => decodeBatch(bytes, noSchema, decompressors)),
    );
  });

  test('of a bomb is refused: by its claim, or at the size that it claims', () => {
    const bomb = deflateSync(Buffer.alloc(64 * 1024 * 1024));
    const bytes = new Uint8Array(envelopeBytes(1) + bomb.length);
    bytes.set(encode('json', long).subarray(0, envelopeBytes(1)));
    bytes.set(bomb, envelopeBytes(1));
    bytes[2] = 2;
    const view = new DataView(bytes.buffer);
    view.setUint32(8, 64 * 1024 * 1024, true);
    const unpack = vi.fn<typeof inflate>(inflate);
    expect(refusal(() => decodeBatch(bytes, noSchema, { zlib: unpack }))).toBe('BATCH_TOO_LARGE');
    expect(unpack).not.toHaveBeenCalled();
    view.setUint32(8, 1000, true);
    expect(refusal(() => decodeBatch(bytes, noSchema, { zlib: unpack }))).toBe('COMPRESSION_BAD');
    expect(unpack).toHaveBeenCalledWith(expect.anything(), 1000);
  });
});

describe('foreign batches', () => {
  const whole = [
    encode('bytes', [{ timeMs: 1, priority: 1, payload: Payload.bytes(Uint8Array.of(1, 2, 3)) }]),
    encode('json', rows.slice(0, 3)),
    encode('msgpack', rows.slice(0, 3)),
    encode('json', rows, { compression: 'lz4' }, compressors),
    encode('columns', rows, columnsHead),
    encode('json', rows.slice(0, 3), { sections: [section(1), section(2, { topicId: 8 })] }),
    encode('columns', rows, { ...columnsHead, sections: [section(10), section(19, { topicId: 8 }), section(1)] }),
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

  const altered = (at: number, value: number, size: 1 | 2 | 4 | 8 = 1, from = whole[1]!) => {
    const copy = from.slice();
    const view = new DataView(copy.buffer);
    if (size === 1) view.setUint8(at, value);
    else if (size === 2) view.setUint16(at, value, true);
    else if (size === 4) view.setUint32(at, value, true);
    else view.setFloat64(at, value, true);
    return copy;
  };

  test.each([
    ['another kind', altered(0, 0xb0), 'BATCH_BAD'],
    ['an unknown codec', altered(1, 4), 'BATCH_BAD'],
    ['an unknown compression', altered(2, 4), 'BATCH_BAD'],
    ['a schema without columns', altered(4, 1, 2), 'BATCH_BAD'],
    ['no sections', altered(6, 0, 2), 'BATCH_BAD'],
    ['more sections than may be', altered(6, BATCH_LIMITS.sectionsMax + 1, 2), 'BATCH_TOO_LARGE'],
    ['65,535 sections', altered(6, 0xffff, 2), 'BATCH_TOO_LARGE'],
    ['a thousand sections that are not there', altered(6, BATCH_LIMITS.sectionsMax, 2), 'BATCH_BAD'],
    ['a section that ends in its middle', altered(6, 2, 2).subarray(0, envelopeBytes(2) - 1), 'BATCH_BAD'],
    ['a section taken for the batch', altered(6, 1, 2, whole[5]), 'BATCH_BAD'],
    ['a size that is another', altered(8, 5, 4), 'BATCH_BAD'],
    ['a size of four billion', altered(8, 0xffff_ffff, 4), 'BATCH_TOO_LARGE'],
    ['a negative sequence', altered(20, -1, 8), 'BATCH_BAD'],
    ['half a sequence', altered(20, 0.5, 8), 'BATCH_BAD'],
    ['a sequence that is none', altered(20, Number.NaN, 8), 'BATCH_BAD'],
    ['a sequence beyond 2^53', altered(20, 2 ** 53, 8), 'BATCH_BAD'],
    ['a bad sequence in the second section', altered(40, -1, 8, whole[5]), 'BATCH_BAD'],
    ['a section of no messages', altered(28, 0, 4), 'BATCH_BAD'],
    ['a section of no messages beside a whole one', altered(48, 0, 4, altered(28, 3, 4, whole[5])), 'BATCH_BAD'],
    ['a section that lacks a message', altered(28, 2, 4), 'BATCH_BAD'],
    ['a section with a message too many', altered(28, 4, 4), 'BATCH_BAD'],
    ['a section of four billion messages', altered(28, 0xffff_ffff, 4), 'BATCH_TOO_LARGE'],
    [
      'sections that are too many messages together',
      altered(48, BATCH_LIMITS.messagesMax, 4, whole[5]),
      'BATCH_TOO_LARGE',
    ],
    ['sections that lack a message', altered(48, 1, 4, whole[5]), 'BATCH_BAD'],
    ['sections with a message too many', altered(48, 3, 4, whole[5]), 'BATCH_BAD'],
    ['sections that lack a message of columns', altered(48, 18, 4, whole[6]), 'BATCH_BAD'],
    ['sections with too many messages for columns', altered(48, 20, 4, whole[6]), 'BATCH_BAD'],
    ['no messages', altered(32, 0, 4), 'BATCH_BAD'],
    ['fewer messages', altered(32, 2, 4), 'BATCH_BAD'],
    ['more messages', altered(32, 4, 4), 'BATCH_BAD'],
    ['four billion messages', altered(32, 0xffff_ffff, 4), 'BATCH_TOO_LARGE'],
    ['another total', altered(36, 1, 4), 'BATCH_BAD'],
    ['a time that is none', altered(40, Number.NaN, 8), 'BATCH_BAD'],
    ['priority 4', altered(48, 4), 'BATCH_BAD'],
    ['a message longer than the rest', altered(49, 100_000, 4), 'BATCH_BAD'],
    ['a message of four billion bytes', altered(49, 0xffff_ffff, 4), 'BATCH_TOO_LARGE'],
    ['data that is not JSON', altered(53, 0x7d), 'PAYLOAD_BAD'],
    ['a count that no bytes follow', altered(32, 0xffff_ffff, 4, whole[4]), 'BATCH_TOO_LARGE'],
    ['nothing behind the envelope', altered(8, 0, 4).subarray(0, envelopeBytes(1)), 'BATCH_BAD'],
  ])('with %s are refused', (_, bytes, code) => {
    expect(refusal(() => decodeBatch(bytes, lookup, decompressors))).toBe(code);
  });

  test('that claim four billion messages in each of a thousand sections are refused, and nothing is unpacked', () => {
    const sections = Array.from({ length: BATCH_LIMITS.sectionsMax }, () => section(1));
    const messages = sections.map((_, i) => message(i));
    const bytes = encode('json', messages, { sections, compression: 'lz4' }, compressors);
    const lz4 = vi.fn<NonNullable<Decompressors['lz4']>>(decompressLz4);
    expect(refusal(() => decodeBatch(bytes, lookup, { lz4 }))).toBeUndefined();
    expect(lz4).toHaveBeenCalledTimes(1);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < sections.length; i++) view.setUint32(envelopeBytes(i) + 16, 0xffff_ffff, true);
    expect(refusal(() => decodeBatch(bytes, lookup, { lz4 }))).toBe('BATCH_TOO_LARGE');
    expect(refusal(() => decodeBatchHeader(bytes))).toBe('BATCH_TOO_LARGE');
    expect(lz4).toHaveBeenCalledTimes(1);
  });

  test('are held to the limits that are given', () => {
    const bytes = encode('json', rows, { sections: [section(10), section(20)] });
    const limited = (limits: Partial<typeof BATCH_LIMITS>) =>
      refusal(() => decodeBatch(bytes, lookup, {}, { ...BATCH_LIMITS, ...limits }));
    expect(limited({ sectionsMax: 1 })).toBe('BATCH_TOO_LARGE');
    expect(limited({ messagesMax: 29 })).toBe('BATCH_TOO_LARGE');
    expect(limited({ plainBytesMax: 100 })).toBe('BATCH_TOO_LARGE');
    expect(limited({ messageBytesMax: 10 })).toBe('BATCH_TOO_LARGE');
    expect(limited({ sectionsMax: 2, messagesMax: 30 })).toBeUndefined();
  });

  test('with data in invalid UTF-8 are refused', () => {
    const bytes = encode('json', [message('ab')]);
    bytes[bytes.indexOf(utf8.encode('a')[0]!, 40)] = 0xff;
    expect(refusal(() => decodeBatch(bytes, lookup, {}))).toBe('PAYLOAD_BAD');
  });
});

describe('messages that came in columns', () => {
  const many = Array.from({ length: 2_000 }, (_, i) => message(row(i), i));
  const whole = (messages: readonly BatchMessage[]) => {
    const sections = [{ topicId: 1, epoch: 1, firstSeq: 1, count: messages.length }];
    return encodeBatch({ sections, codec: 'columns', compression: 'none', schemaId: 3, schema }, messages, {});
  };
  const received = (bytes: Uint8Array) => {
    const { columns } = decodeColumns(bytes, () => schema, {}, BATCH_LIMITS, 'relay');
    const { sections } = decodeBatchHeader(bytes);
    return { columns, messages: [...messagesOfColumns(columns, sections)] };
  };

  test('keep little beside themselves in memory, and go on as they came while their batch is there', () => {
    const bytes = whole(many);
    const { columns, messages } = received(bytes);
    expect(plain(messages)).toEqual(plain(many));
    for (const { payload } of messages) expect(payload.row!.batch.values.byteLength).toBeLessThanOrEqual(64 * 1024);
    const gatherer = new ColumnGatherer(schema, BATCH_LIMITS.plainBytesMax);
    for (const one of messages) expect(gatherer.add(one)).toBe(true);
    expect(Buffer.from(gatherer.encode(0))).toEqual(Buffer.from(bytes.subarray(envelopeBytes(1))));
    expect(columns.count).toBe(2_000);
  });

  test('of several topics share no memory across them', () => {
    const sections = [1, 2, 3].map((topicId) => ({ topicId, epoch: 1, firstSeq: 1, count: 10 }));
    const bytes = encodeBatch({ sections, codec: 'columns', compression: 'none', schemaId: 3, schema }, rows, {});
    const { messages } = received(bytes);
    expect(plain(messages)).toEqual(plain(rows));
    expect(new Set(messages.map(({ payload }) => payload.row!.batch)).size).toBe(3);
    const gatherer = new ColumnGatherer(schema, BATCH_LIMITS.plainBytesMax);
    for (const one of messages) gatherer.add(one);
    expect(Buffer.from(gatherer.encode(0))).toEqual(Buffer.from(bytes.subarray(envelopeBytes(3))));
  });

  test('stay in their batch where that is small', () => {
    const { columns, messages } = received(whole(many.slice(0, 10)));
    expect(messages.every(({ payload }) => payload.row!.batch === columns)).toBe(true);
  });
});
